//! Ballots, and what a slot can be proposed to be.

use bytes::Bytes;
use quorate_protocol::Decision;
use quorate_types::{Membership, NodeId};
use quorate_wire::{Reader, Wire, WireError, put_bytes};
use std::fmt;

/// A proposal number: unique to its node, ordered by round first. (0, 0) stands before all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// Greater than any its node has seen.
    pub round: u64,
    /// Whose it is.
    pub node: NodeId,
}

impl fmt::Display for Ballot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "({}, {})", self.round, self.node)
    }
}

/// What a slot is proposed to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// A batch of commands, as proposed.
    Command(Bytes),
    /// Nothing: fills a slot of which phase 1 learned nothing, below one of which it did.
    NoOp,
    /// The stop-sign: these are the members of the next configuration.
    Stop(Membership),
}

impl Payload {
    /// What it is decided to be.
    #[must_use]
    pub fn decision(&self) -> Decision {
        match self {
            Payload::Command(commands) => Decision::Commands(commands.clone()),
            Payload::NoOp => Decision::Nothing,
            Payload::Stop(members) => Decision::Members(members.clone()),
        }
    }

    /// About what it weighs in memory and on the wire.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        /// Of slot, ballot and kind.
        const FIXED: u64 = 24;
        match self {
            Payload::Command(commands) => FIXED + commands.len() as u64,
            Payload::NoOp => FIXED,
            Payload::Stop(members) => FIXED + 64 * members.members().len() as u64,
        }
    }
}

impl Wire for Ballot {
    fn encode(&self, out: &mut Vec<u8>) {
        self.round.encode(out);
        self.node.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Ballot { round: input.u64("ballot round")?, node: NodeId::decode(input)? })
    }
}

impl Wire for Payload {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Payload::Command(commands) => {
                out.push(0);
                put_bytes(commands, out);
            }
            Payload::NoOp => out.push(1),
            Payload::Stop(members) => {
                out.push(2);
                members.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("payload kind")? {
            0 => Ok(Payload::Command(input.bytes("commands")?)),
            1 => Ok(Payload::NoOp),
            2 => Ok(Payload::Stop(Membership::decode(input)?)),
            kind => Err(WireError::UnknownKind { what: "payload", kind }),
        }
    }
}
