//! What goes between the members of one configuration.

use crate::ballot::{Ballot, Payload};
use quorate_protocol::ReadToken;
use quorate_types::Slot;
use quorate_wire::{Reader, Wire, WireError};

/// What an acceptor accepted last in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reported {
    /// The slot.
    pub slot: Slot,
    /// In which ballot.
    pub ballot: Ballot,
    /// What.
    pub payload: Payload,
}

/// How far an acceptor is, in the words of one ballot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reach {
    /// Everything up to here it knows chosen, and has.
    pub chosen: Slot,
    /// Everything behind that and up to here it has accepted in the ballot, durably.
    pub through: Slot,
}

/// One message. The table on the crate's first page says what must be durable first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Candidate to voters, phase 1a: promise to accept in no lower ballot, and say what you accepted from this slot on.
    Prepare {
        /// The candidate's ballot.
        ballot: Ballot,
        /// The first slot that the candidate does not know chosen.
        from: Slot,
        /// The leader of this ballot wished for it, and has given up the lease of that ballot.
        asked_in: Option<Ballot>,
    },
    /// Acceptor to candidate, phase 1b.
    Promise {
        /// The ballot promised.
        ballot: Ballot,
        /// Slots from the one asked for on in which it accepted anything: every one, or every one before `more`.
        accepted: Vec<Reported>,
        /// The rest is to be asked for from here on; only then the promise counts.
        more: Option<Slot>,
        /// Everything up to here it knows chosen.
        chosen: Slot,
        /// Everything up to here it no longer keeps: chosen, and not reported.
        trim: Slot,
    },
    /// Acceptor to whoever came with too low a ballot.
    Nack {
        /// The ballot refused.
        refused: Ballot,
        /// The ballot promised.
        promised: Ballot,
    },
    /// Leader to all, phase 2a: these, from this slot on.
    Accept {
        /// The leader's ballot.
        ballot: Ballot,
        /// The first slot.
        first: Slot,
        /// What it and the ones behind it are to be.
        payloads: Vec<Payload>,
        /// Everything up to here is chosen.
        chosen: Slot,
        /// Everything up to here every member has durably.
        everyone: Slot,
    },
    /// Acceptor or learner to leader, phase 2b.
    Accepted {
        /// The ballot accepted in.
        ballot: Ballot,
        /// How far.
        reach: Reach,
    },
    /// Leader to all.
    Heartbeat {
        /// The leader's ballot.
        ballot: Ballot,
        /// To be confirmed; 0 for mere news of what is chosen.
        round: u64,
        /// Everything up to here is chosen.
        chosen: Slot,
        /// Everything up to here every member has durably.
        everyone: Slot,
        /// Everything up to here was sent to the receiver in this ballot, or may be there already.
        sent: Slot,
    },
    /// The answer: nothing higher is promised here.
    Alive {
        /// The leader's ballot.
        ballot: Ballot,
        /// The round confirmed.
        round: u64,
        /// How far it is, durably.
        reach: Reach,
        /// The first slot that had been sent and did not arrive: it and what lies behind are to be sent again.
        lacks: Option<Slot>,
    },
    /// Anybody to anybody: whoever has these slots as accepted in that ballot knows them chosen.
    Chosen {
        /// A ballot in whose leader's knowledge they are chosen.
        ballot: Ballot,
        /// Everything up to here.
        through: Slot,
    },
    /// Candidate to an acceptor that no longer keeps what it asked for: please send a snapshot.
    NeedSnapshot,
    /// Reader to leader.
    ReadIndex {
        /// The read.
        token: ReadToken,
    },
    /// Leader to reader.
    ReadAnswer {
        /// The read.
        token: ReadToken,
        /// Where it may be read; `None` by a node that cannot say, as it leads no more.
        slot: Option<Slot>,
    },
    /// Leader to the one that shall lead: campaign now.
    TakeOver {
        /// The leader's ballot.
        ballot: Ballot,
    },
}

impl Message {
    /// What it is called in scenarios and traces.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Message::Prepare { .. } => "prepare",
            Message::Promise { .. } => "promise",
            Message::Nack { .. } => "nack",
            Message::Accept { .. } => "accept",
            Message::Accepted { .. } => "accepted",
            Message::Heartbeat { .. } => "heartbeat",
            Message::Alive { .. } => "alive",
            Message::Chosen { .. } => "chosen",
            Message::NeedSnapshot => "need-snapshot",
            Message::ReadIndex { .. } => "read-index",
            Message::ReadAnswer { .. } => "read-answer",
            Message::TakeOver { .. } => "take-over",
        }
    }
}

/// The kind, and the first two fields.
fn put(kind: u8, fields: impl Wire, out: &mut Vec<u8>) {
    out.push(kind);
    fields.encode(out);
}

impl Wire for Reported {
    fn encode(&self, out: &mut Vec<u8>) {
        self.slot.encode(out);
        self.ballot.encode(out);
        self.payload.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Reported { slot: Slot::decode(input)?, ballot: Ballot::decode(input)?, payload: Payload::decode(input)? })
    }
}

impl Wire for Reach {
    fn encode(&self, out: &mut Vec<u8>) {
        self.chosen.encode(out);
        self.through.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Reach { chosen: Slot::decode(input)?, through: Slot::decode(input)? })
    }
}

impl Wire for Message {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Message::Prepare { ballot, from, asked_in } => put(0, (*ballot, *from, *asked_in), out),
            Message::Promise { ballot, accepted, more, chosen, trim } => {
                out.push(1);
                ballot.encode(out);
                accepted.encode(out);
                more.encode(out);
                chosen.encode(out);
                trim.encode(out);
            }
            Message::Nack { refused, promised } => put(2, (*refused, *promised), out),
            Message::Accept { ballot, first, payloads, chosen, everyone } => {
                put(3, (*ballot, *first), out);
                payloads.encode(out);
                chosen.encode(out);
                everyone.encode(out);
            }
            Message::Accepted { ballot, reach } => put(4, (*ballot, *reach), out),
            Message::Heartbeat { ballot, round, chosen, everyone, sent } => {
                put(5, (*ballot, *round), out);
                chosen.encode(out);
                everyone.encode(out);
                sent.encode(out);
            }
            Message::Alive { ballot, round, reach, lacks } => {
                put(6, (*ballot, *round), out);
                reach.encode(out);
                lacks.encode(out);
            }
            Message::Chosen { ballot, through } => put(7, (*ballot, *through), out),
            Message::NeedSnapshot => out.push(8),
            Message::ReadIndex { token } => {
                out.push(9);
                token.encode(out);
            }
            Message::ReadAnswer { token, slot } => put(10, (*token, *slot), out),
            Message::TakeOver { ballot } => {
                out.push(11);
                ballot.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("multi-paxos message kind")? {
            0 => {
                let (ballot, from) = Wire::decode(input)?;
                Ok(Message::Prepare { ballot, from, asked_in: Wire::decode(input)? })
            }
            1 => Ok(Message::Promise {
                ballot: Ballot::decode(input)?,
                accepted: Vec::decode(input)?,
                more: Wire::decode(input)?,
                chosen: Slot::decode(input)?,
                trim: Slot::decode(input)?,
            }),
            2 => Ok(Message::Nack { refused: Ballot::decode(input)?, promised: Ballot::decode(input)? }),
            3 => Ok(Message::Accept {
                ballot: Ballot::decode(input)?,
                first: Slot::decode(input)?,
                payloads: Vec::decode(input)?,
                chosen: Slot::decode(input)?,
                everyone: Slot::decode(input)?,
            }),
            4 => Ok(Message::Accepted { ballot: Ballot::decode(input)?, reach: Reach::decode(input)? }),
            5 => Ok(Message::Heartbeat {
                ballot: Ballot::decode(input)?,
                round: input.u64("round")?,
                chosen: Slot::decode(input)?,
                everyone: Slot::decode(input)?,
                sent: Slot::decode(input)?,
            }),
            6 => Ok(Message::Alive {
                ballot: Ballot::decode(input)?,
                round: input.u64("round")?,
                reach: Reach::decode(input)?,
                lacks: Option::decode(input)?,
            }),
            7 => Ok(Message::Chosen { ballot: Ballot::decode(input)?, through: Slot::decode(input)? }),
            8 => Ok(Message::NeedSnapshot),
            9 => Ok(Message::ReadIndex { token: ReadToken::decode(input)? }),
            10 => Ok(Message::ReadAnswer { token: ReadToken::decode(input)?, slot: Option::decode(input)? }),
            11 => Ok(Message::TakeOver { ballot: Ballot::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "multi-paxos message", kind }),
        }
    }
}
