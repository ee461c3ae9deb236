//! Transaction ids, places in the history, and what a transaction is.

use bytes::Bytes;
use quorate_protocol::Decision;
use quorate_types::{Membership, Slot};
use quorate_wire::{Reader, Wire, WireError, put_bytes};
use std::fmt;

/// A transaction id: which primary made it, and as its how many-th. (0, 0) stands before all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zxid {
    /// Of one established leader.
    pub epoch: u32,
    /// From 1 on in each epoch.
    pub counter: u32,
}

impl Zxid {
    /// Before everything.
    pub const ZERO: Zxid = Zxid { epoch: 0, counter: 0 };

    /// As one number, in the same order: the epoch in the upper half.
    #[must_use]
    pub fn number(self) -> u64 {
        u64::from(self.epoch) << 32 | u64::from(self.counter)
    }

    /// Whether `next` may stand right behind this one in a history: the next of the same primary, or the first of a later one.
    #[must_use]
    pub fn is_followed_by(self, next: Zxid) -> bool {
        match next.epoch == self.epoch {
            true => Some(next.counter) == self.counter.checked_add(1),
            false => next.epoch > self.epoch && next.counter == 1,
        }
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "({}, {})", self.epoch, self.counter)
    }
}

/// A place in the history: the zxid and the slot it has there. Two histories with the same mark are the same up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Which slot.
    pub slot: Slot,
    /// What has it.
    pub zxid: Zxid,
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at slot {}", self.zxid, self.slot)
    }
}

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// A batch of commands, as proposed.
    Command(Bytes),
    /// The stop-sign: these are the members of the next configuration.
    Stop(Membership),
    /// Nothing: it makes a history better than those without it.
    Nothing,
}

impl Payload {
    /// What it is decided to be.
    #[must_use]
    pub fn decision(&self) -> Decision {
        match self {
            Payload::Command(commands) => Decision::Commands(commands.clone()),
            Payload::Stop(members) => Decision::Members(members.clone()),
            Payload::Nothing => Decision::Nothing,
        }
    }

    /// Whether it ends its configuration.
    #[must_use]
    pub fn is_stop(&self) -> bool {
        matches!(self, Payload::Stop(_))
    }
}

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Txn {
    /// Its id.
    pub zxid: Zxid,
    /// What it does.
    pub payload: Payload,
}

impl Txn {
    /// About what it weighs in memory and on the wire.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        /// Of zxid and kind.
        const FIXED: u64 = 16;
        match &self.payload {
            Payload::Command(commands) => FIXED + commands.len() as u64,
            Payload::Stop(members) => FIXED + 64 * members.members().len() as u64,
            Payload::Nothing => FIXED,
        }
    }
}

impl Wire for Zxid {
    fn encode(&self, out: &mut Vec<u8>) {
        self.epoch.encode(out);
        self.counter.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Zxid { epoch: u32::decode(input)?, counter: u32::decode(input)? })
    }
}

impl Wire for Mark {
    fn encode(&self, out: &mut Vec<u8>) {
        self.slot.encode(out);
        self.zxid.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Mark { slot: Slot::decode(input)?, zxid: Zxid::decode(input)? })
    }
}

impl Wire for Payload {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Payload::Command(commands) => {
                out.push(0);
                put_bytes(commands, out);
            }
            Payload::Stop(members) => {
                out.push(1);
                members.encode(out);
            }
            Payload::Nothing => out.push(2),
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("payload kind")? {
            0 => Ok(Payload::Command(input.bytes("commands")?)),
            1 => Ok(Payload::Stop(Membership::decode(input)?)),
            2 => Ok(Payload::Nothing),
            kind => Err(WireError::UnknownKind { what: "payload", kind }),
        }
    }
}

impl Wire for Txn {
    fn encode(&self, out: &mut Vec<u8>) {
        self.zxid.encode(out);
        self.payload.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Txn { zxid: Zxid::decode(input)?, payload: Payload::decode(input)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zxid(epoch: u32, counter: u32) -> Zxid {
        Zxid { epoch, counter }
    }

    #[test]
    fn the_first_of_epoch_1_is_0x1_0000_0001() {
        assert_eq!(zxid(1, 1).number(), 0x1_0000_0001);
        assert!(zxid(1, u32::MAX) < zxid(2, 1));
    }

    #[test]
    fn a_history_leaves_nothing_out() {
        assert!(zxid(1, 1).is_followed_by(zxid(1, 2)));
        assert!(zxid(1, 7).is_followed_by(zxid(3, 1)));
        assert!(!zxid(1, 1).is_followed_by(zxid(1, 3)));
        assert!(!zxid(1, 1).is_followed_by(zxid(2, 2)));
        assert!(!zxid(2, 1).is_followed_by(zxid(1, 1)));
        assert!(!zxid(1, u32::MAX).is_followed_by(zxid(1, 0)));
    }
}
