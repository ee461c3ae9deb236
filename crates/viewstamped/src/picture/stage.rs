//! What a replica is doing, as bytes.

use crate::epoch::Farewell;
use crate::normal::{Backup, Leadership, Progress};
use crate::replica::Stage;
use crate::state_transfer::Asking;
use crate::view_change::{Change, Offer};
use quorate_wire::{Reader, Wire, WireError};

impl Wire for Stage {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Stage::Primary(inner) => {
                out.push(0);
                inner.encode(out);
            }
            Stage::Backup(inner) => {
                out.push(1);
                inner.encode(out);
            }
            Stage::Changing(inner) => {
                out.push(2);
                inner.encode(out);
            }
            Stage::Leaving(inner) => {
                out.push(3);
                inner.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Stage, WireError> {
        match input.byte("stage")? {
            0 => Ok(Stage::Primary(Wire::decode(input)?)),
            1 => Ok(Stage::Backup(Wire::decode(input)?)),
            2 => Ok(Stage::Changing(Wire::decode(input)?)),
            3 => Ok(Stage::Leaving(Wire::decode(input)?)),
            kind => Err(WireError::UnknownKind { what: "stage", kind }),
        }
    }
}

impl Wire for Leadership {
    fn encode(&self, out: &mut Vec<u8>) {
        self.peers.encode(out);
        self.inherited.encode(out);
        self.round.encode(out);
        self.reads.encode(out);
        self.farewells.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Leadership, WireError> {
        Ok(Leadership {
            peers: Wire::decode(input)?,
            inherited: Wire::decode(input)?,
            round: Wire::decode(input)?,
            reads: Wire::decode(input)?,
            farewells: Wire::decode(input)?,
        })
    }
}

impl Wire for Progress {
    fn encode(&self, out: &mut Vec<u8>) {
        self.next.encode(out);
        self.matched.encode(out);
        self.unanswered.encode(out);
        self.answered_round.encode(out);
        self.told_commit.encode(out);
        self.told_round.encode(out);
        self.due.encode(out);
        self.heard.encode(out);
        self.heard_before.encode(out);
        self.keeps_up.encode(out);
        self.matched_before.encode(out);
        self.last_before.encode(out);
        self.silent.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Progress, WireError> {
        Ok(Progress {
            next: Wire::decode(input)?,
            matched: Wire::decode(input)?,
            unanswered: Wire::decode(input)?,
            answered_round: Wire::decode(input)?,
            told_commit: Wire::decode(input)?,
            told_round: Wire::decode(input)?,
            due: Wire::decode(input)?,
            heard: Wire::decode(input)?,
            heard_before: Wire::decode(input)?,
            keeps_up: Wire::decode(input)?,
            matched_before: Wire::decode(input)?,
            last_before: Wire::decode(input)?,
            silent: Wire::decode(input)?,
        })
    }
}

impl Wire for Backup {
    fn encode(&self, out: &mut Vec<u8>) {
        self.owes.encode(out);
        self.round.encode(out);
        self.answered_round.encode(out);
        self.awaits_primary.encode(out);
        self.asked_behind.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Backup, WireError> {
        Ok(Backup {
            owes: Wire::decode(input)?,
            round: Wire::decode(input)?,
            answered_round: Wire::decode(input)?,
            awaits_primary: Wire::decode(input)?,
            asked_behind: Wire::decode(input)?,
        })
    }
}

impl Wire for Change {
    fn encode(&self, out: &mut Vec<u8>) {
        self.heard.encode(out);
        self.offers.encode(out);
        self.given_up.encode(out);
        self.asking.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Change, WireError> {
        Ok(Change {
            heard: Wire::decode(input)?,
            offers: Wire::decode(input)?,
            given_up: Wire::decode(input)?,
            asking: Wire::decode(input)?,
        })
    }
}

impl Wire for Offer {
    fn encode(&self, out: &mut Vec<u8>) {
        self.last_normal.encode(out);
        self.last.encode(out);
        self.commit.encode(out);
        self.first.encode(out);
        self.entries.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Offer, WireError> {
        Ok(Offer {
            last_normal: Wire::decode(input)?,
            last: Wire::decode(input)?,
            commit: Wire::decode(input)?,
            first: Wire::decode(input)?,
            entries: Wire::decode(input)?,
        })
    }
}

impl Wire for Asking {
    fn encode(&self, out: &mut Vec<u8>) {
        self.view.encode(out);
        self.source.encode(out);
        self.others.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Asking, WireError> {
        Ok(Asking { view: Wire::decode(input)?, source: Wire::decode(input)?, others: Wire::decode(input)? })
    }
}

impl Wire for Farewell {
    fn encode(&self, out: &mut Vec<u8>) {
        self.serves.encode(out);
        self.started.encode(out);
        self.lingers.encode(out);
        self.goes.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Farewell, WireError> {
        Ok(Farewell {
            serves: Wire::decode(input)?,
            started: Wire::decode(input)?,
            lingers: Wire::decode(input)?,
            goes: Wire::decode(input)?,
        })
    }
}
