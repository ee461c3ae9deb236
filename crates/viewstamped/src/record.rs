//! What must survive a crash, and why.
//!
//! The paper keeps everything in memory and recovers from the others; that loses committed operations when a replica comes
//! back into a view that its earlier self had left (*Recovering Shared Objects Without Stable Storage*, 2017). Here views
//! and log are durable before anything that rests on them is said, and recovery is reading them back.

use crate::entry::Entries;
use crate::view::{Configuration, View};
use quorate_protocol::SnapshotId;
use quorate_types::{Membership, Slot};
use quorate_wire::{Reader, Wire, WireError};

/// Describes a decided prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Anchor {
    /// Its last slot.
    pub slot: Slot,
    /// The configuration in force behind it: the prefix may have held the entry that brought it.
    pub configuration: Configuration,
}

/// One durable record. They are replayed in the order written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// The members the cluster was founded with; written once, at the very first opening.
    Founded {
        /// The founding members.
        membership: Membership,
    },
    /// This replica left its view for that one and is changing views. What it was asked in an earlier one it will never
    /// answer again.
    Changing {
        /// The view it is going to.
        view: View,
    },
    /// Entries behind the end of the log, in the view that is normal here.
    Append {
        /// The slot of the first of them.
        first: Slot,
        /// The entries, in order.
        entries: Entries,
    },
    /// This view is normal here from now on, and the log from `first` on is what it began with. One record, so that no crash
    /// leaves a short log under a high view (the published defect of state transfer), nor the other way round.
    Entered {
        /// The view.
        view: View,
        /// What was in the log from here on is void.
        first: Slot,
        /// What there is instead.
        entries: Entries,
    },
    /// Everything up to the anchor is decided, durably applied and no longer in the log.
    Anchor(Anchor),
    /// A snapshot that arrived stands for everything up to its anchor. What is behind it in the log stays, for it may have been
    /// acknowledged, but where it begins an epoch.
    Snapshot {
        /// Its name on this node. Its bytes are durable; until the store has installed them they are the only copy here.
        id: SnapshotId,
        /// What it describes.
        anchor: Anchor,
        /// It is of a later epoch than this replica was in: the first view of that is normal here from now on, and the whole
        /// log is void. Said here and not concluded, as compaction may have dropped what told the epoch before.
        begins_epoch: bool,
    },
}

impl Wire for Anchor {
    fn encode(&self, out: &mut Vec<u8>) {
        self.slot.encode(out);
        self.configuration.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Anchor { slot: Slot::decode(input)?, configuration: Configuration::decode(input)? })
    }
}

impl Wire for Record {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Record::Founded { membership } => {
                out.push(0);
                membership.encode(out);
            }
            Record::Changing { view } => {
                out.push(1);
                view.encode(out);
            }
            Record::Append { first, entries } => {
                out.push(2);
                first.encode(out);
                entries.encode(out);
            }
            Record::Entered { view, first, entries } => {
                out.push(3);
                view.encode(out);
                first.encode(out);
                entries.encode(out);
            }
            Record::Anchor(anchor) => {
                out.push(4);
                anchor.encode(out);
            }
            Record::Snapshot { id, anchor, begins_epoch } => {
                out.push(5);
                id.0.encode(out);
                anchor.encode(out);
                begins_epoch.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("viewstamped record kind")? {
            0 => Ok(Record::Founded { membership: Membership::decode(input)? }),
            1 => Ok(Record::Changing { view: View::decode(input)? }),
            2 => Ok(Record::Append { first: Slot::decode(input)?, entries: Entries::decode(input)? }),
            3 => Ok(Record::Entered {
                view: View::decode(input)?,
                first: Slot::decode(input)?,
                entries: Entries::decode(input)?,
            }),
            4 => Ok(Record::Anchor(Anchor::decode(input)?)),
            5 => Ok(Record::Snapshot {
                id: SnapshotId(input.u64("snapshot")?),
                anchor: Anchor::decode(input)?,
                begins_epoch: bool::decode(input)?,
            }),
            kind => Err(WireError::UnknownKind { what: "viewstamped record", kind }),
        }
    }
}
