//! What must survive a crash, and why.

use crate::zxid::{Mark, Txn, Zxid};
use quorate_protocol::SnapshotId;
use quorate_types::{Membership, Slot};
use quorate_wire::{Reader, Wire, WireError};

/// Stands for a decided prefix that is no longer held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Anchor {
    /// The last slot of the prefix.
    pub slot: Slot,
    /// Its zxid; (0, 0) where the prefix ends before the configuration begins.
    pub zxid: Zxid,
    /// The members of the configuration.
    pub members: Membership,
}

impl Anchor {
    /// Its end.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { slot: self.slot, zxid: self.zxid }
    }
}

/// One durable record. They are replayed in the order written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// No leader of an earlier epoch is followed any more. A node that forgot it would acknowledge for a leader whose successor has
    /// already taken its history.
    AcceptedEpoch(u32),
    /// The history is that of this epoch's leader, up to what was synchronised. Written behind all of that: a node that had this
    /// and lacked some of it would win an election with a history that lacks what is committed.
    CurrentEpoch(u32),
    /// These were appended, from this slot on. What is acknowledged may be committed, so it may not be forgotten.
    Txns {
        /// The slot of the first.
        first: Slot,
        /// In order.
        txns: Vec<Txn>,
    },
    /// Everything behind this slot went: an established leader's history does not have it.
    Truncated {
        /// The last slot that stays.
        after: Slot,
    },
    /// Everything up to the anchor is decided, durably applied, and no longer held. What lies behind it stays.
    Anchor(Anchor),
    /// A snapshot that arrived stands for everything up to the anchor. Nothing else stays of the history: it was another one, or
    /// ended before.
    Snapshot {
        /// Its name on this node.
        id: SnapshotId,
        /// What it describes.
        anchor: Anchor,
    },
}

impl Wire for Anchor {
    fn encode(&self, out: &mut Vec<u8>) {
        self.slot.encode(out);
        self.zxid.encode(out);
        self.members.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Anchor { slot: Slot::decode(input)?, zxid: Zxid::decode(input)?, members: Membership::decode(input)? })
    }
}

impl Wire for Record {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Record::AcceptedEpoch(epoch) => {
                out.push(0);
                epoch.encode(out);
            }
            Record::CurrentEpoch(epoch) => {
                out.push(1);
                epoch.encode(out);
            }
            Record::Txns { first, txns } => {
                out.push(2);
                first.encode(out);
                txns.encode(out);
            }
            Record::Truncated { after } => {
                out.push(3);
                after.encode(out);
            }
            Record::Anchor(anchor) => {
                out.push(4);
                anchor.encode(out);
            }
            Record::Snapshot { id, anchor } => {
                out.push(5);
                id.encode(out);
                anchor.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("zab record kind")? {
            0 => Ok(Record::AcceptedEpoch(u32::decode(input)?)),
            1 => Ok(Record::CurrentEpoch(u32::decode(input)?)),
            2 => Ok(Record::Txns { first: Slot::decode(input)?, txns: Vec::decode(input)? }),
            3 => Ok(Record::Truncated { after: Slot::decode(input)? }),
            4 => Ok(Record::Anchor(Anchor::decode(input)?)),
            5 => Ok(Record::Snapshot { id: SnapshotId::decode(input)?, anchor: Anchor::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "zab record", kind }),
        }
    }
}
