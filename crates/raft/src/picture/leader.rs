//! What a leader knows, as bytes.

use crate::leading::Leadership;
use crate::membership::Farewell;
use crate::progress::{Pace, Progress, Transfer, Window};
use crate::promotion::CatchUp;
use crate::transfer::{Cause, DiskState, DiskWatch, Handover, HeartbeatMarks};
use crate::witness::Attendance;
use quorate_types::Slot;
use quorate_wire::{Reader, Wire, WireError};
use std::collections::VecDeque;

impl Wire for Leadership {
    fn encode(&self, out: &mut Vec<u8>) {
        self.peers.encode(out);
        self.first_of_term.encode(out);
        self.round.encode(out);
        self.heard.encode(out);
        self.reads.encode(out);
        self.undecided_bytes.encode(out);
        self.disk.encode(out);
        self.handover.encode(out);
        self.lease.encode(out);
        self.tenure_heartbeats.encode(out);
        self.last_heartbeat.encode(out);
        self.heartbeat_before.encode(out);
        self.recount.encode(out);
        self.farewells.encode(out);
        self.learners.encode(out);
        self.promotion_due.encode(out);
        self.attendance.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Leadership, WireError> {
        Ok(Leadership {
            peers: Wire::decode(input)?,
            first_of_term: Wire::decode(input)?,
            round: Wire::decode(input)?,
            heard: Wire::decode(input)?,
            reads: Wire::decode(input)?,
            undecided_bytes: Wire::decode(input)?,
            disk: Wire::decode(input)?,
            handover: Wire::decode(input)?,
            lease: Wire::decode(input)?,
            tenure_heartbeats: Wire::decode(input)?,
            last_heartbeat: Wire::decode(input)?,
            heartbeat_before: Wire::decode(input)?,
            recount: Wire::decode(input)?,
            farewells: Wire::decode(input)?,
            learners: Wire::decode(input)?,
            promotion_due: Wire::decode(input)?,
            attendance: Wire::decode(input)?,
        })
    }
}

impl Wire for Progress {
    fn encode(&self, out: &mut Vec<u8>) {
        self.matched.encode(out);
        self.next.encode(out);
        self.pace.encode(out);
        self.answered_round.encode(out);
        self.told_commit.encode(out);
        self.due.encode(out);
        self.is_witness.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Progress, WireError> {
        Ok(Progress {
            matched: Wire::decode(input)?,
            next: Wire::decode(input)?,
            pace: Wire::decode(input)?,
            answered_round: Wire::decode(input)?,
            told_commit: Wire::decode(input)?,
            due: Wire::decode(input)?,
            is_witness: Wire::decode(input)?,
        })
    }
}

impl Wire for Pace {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Pace::Probe { under_way } => {
                out.push(0);
                under_way.encode(out);
            }
            Pace::Replicate(window) => {
                out.push(1);
                window.unanswered.encode(out);
            }
            Pace::Snapshot(transfer) => {
                out.push(2);
                transfer.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Pace, WireError> {
        match input.byte("pace")? {
            0 => Ok(Pace::Probe { under_way: Wire::decode(input)? }),
            1 => {
                let unanswered: VecDeque<(Slot, u64)> = Wire::decode(input)?;
                let bytes = unanswered.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
                Ok(Pace::Replicate(Window { unanswered, bytes }))
            }
            2 => Ok(Pace::Snapshot(Wire::decode(input)?)),
            kind => Err(WireError::UnknownKind { what: "pace", kind }),
        }
    }
}

impl Wire for Transfer {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Transfer::Wanted => out.push(0),
            Transfer::Pinning => out.push(1),
            Transfer::Sending { id, through } => {
                out.push(2);
                id.encode(out);
                through.encode(out);
            }
            Transfer::Paused { heartbeats } => {
                out.push(3);
                heartbeats.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Transfer, WireError> {
        match input.byte("snapshot transfer")? {
            0 => Ok(Transfer::Wanted),
            1 => Ok(Transfer::Pinning),
            2 => Ok(Transfer::Sending { id: Wire::decode(input)?, through: Wire::decode(input)? }),
            3 => Ok(Transfer::Paused { heartbeats: Wire::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "snapshot transfer", kind }),
        }
    }
}

impl Wire for DiskWatch {
    fn encode(&self, out: &mut Vec<u8>) {
        self.moved.encode(out);
        out.push(match self.state {
            DiskState::Idle => 0,
            DiskState::Watched => 1,
            DiskState::Stalled => 2,
        });
    }
    fn decode(input: &mut Reader) -> Result<DiskWatch, WireError> {
        let moved = Wire::decode(input)?;
        let state = match input.byte("disk watch")? {
            0 => DiskState::Idle,
            1 => DiskState::Watched,
            2 => DiskState::Stalled,
            kind => return Err(WireError::UnknownKind { what: "disk watch", kind }),
        };
        Ok(DiskWatch { moved, state })
    }
}

impl Wire for Handover {
    fn encode(&self, out: &mut Vec<u8>) {
        self.to.encode(out);
        match self.cause {
            Cause::Request(request) => {
                out.push(0);
                request.encode(out);
            }
            Cause::StalledDisk => out.push(1),
            Cause::Priority => out.push(2),
        }
        self.told.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Handover, WireError> {
        let to = Wire::decode(input)?;
        let cause = match input.byte("cause of a transfer")? {
            0 => Cause::Request(Wire::decode(input)?),
            1 => Cause::StalledDisk,
            2 => Cause::Priority,
            kind => return Err(WireError::UnknownKind { what: "cause of a transfer", kind }),
        };
        Ok(Handover { to, cause, told: Wire::decode(input)? })
    }
}

impl Wire for HeartbeatMarks {
    fn encode(&self, out: &mut Vec<u8>) {
        self.round.encode(out);
        self.commit.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<HeartbeatMarks, WireError> {
        Ok(HeartbeatMarks { round: Wire::decode(input)?, commit: Wire::decode(input)? })
    }
}

impl Wire for Farewell {
    fn encode(&self, out: &mut Vec<u8>) {
        self.slot.encode(out);
        self.round.encode(out);
        self.heartbeats_left.encode(out);
        self.knows.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Farewell, WireError> {
        Ok(Farewell {
            slot: Wire::decode(input)?,
            round: Wire::decode(input)?,
            heartbeats_left: Wire::decode(input)?,
            knows: Wire::decode(input)?,
        })
    }
}

impl Wire for Attendance {
    fn encode(&self, out: &mut Vec<u8>) {
        self.voters.encode(out);
        self.lacking.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Attendance, WireError> {
        Ok(Attendance { voters: Wire::decode(input)?, lacking: Wire::decode(input)? })
    }
}

impl Wire for CatchUp {
    fn encode(&self, out: &mut Vec<u8>) {
        self.target.encode(out);
        self.round.encode(out);
        self.heartbeats.encode(out);
        self.in_sync.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<CatchUp, WireError> {
        Ok(CatchUp {
            target: Wire::decode(input)?,
            round: Wire::decode(input)?,
            heartbeats: Wire::decode(input)?,
            in_sync: Wire::decode(input)?,
        })
    }
}
