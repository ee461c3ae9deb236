//! What must survive a crash, and why.

use crate::entry::{Configuration, Entries};
use quorate_protocol::SnapshotId;
use quorate_types::{Membership, NodeId, Slot};
use quorate_wire::{Reader, Wire, WireError};

/// Stands for a decided prefix of the log that is no longer kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Anchor {
    /// The last slot of the prefix.
    pub slot: Slot,
    /// The term of the entry in it, for the consistency check of the entry behind it.
    pub term: u64,
    /// The configuration in force at that slot, for the prefix may have held the entry that brought it.
    pub configuration: Configuration,
}

/// One durable record. They are replayed in the order written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// The members the cluster was founded with; written once, at the very first opening. A node that forgot them
    /// would count other majorities.
    Founded {
        /// The founding members.
        membership: Membership,
    },
    /// Term and vote, in one record: a vote that outlives its term, or a term that outlives its vote, lets a node vote
    /// twice (Raft §5.2).
    TermVote {
        /// The latest term seen.
        term: u64,
        /// Whom it voted for in that term.
        voted_for: Option<NodeId>,
    },
    /// Entries behind the end of the log. What is acknowledged may not be forgotten (Raft §5.3).
    Append {
        /// The slot of the first of them.
        first: Slot,
        /// The entries, in order.
        entries: Entries,
    },
    /// The log from this slot on conflicts with the leader's and is void (Raft §5.3).
    Truncate {
        /// The first slot that is void.
        from: Slot,
    },
    /// Everything up to the anchor is decided, durably applied and no longer in the log (Raft §7).
    Anchor(Anchor),
    /// A snapshot that arrived replaces the whole log: everything up to the anchor is decided, and whatever was appended
    /// before this record is void (Raft §7). One record, so that no crash leaves the new prefix beside the old entries.
    Snapshot {
        /// Its name on this node. Its bytes are durable; until the store has installed them they are the only copy here.
        id: SnapshotId,
        /// What it describes.
        anchor: Anchor,
    },
}

impl Wire for Anchor {
    fn encode(&self, out: &mut Vec<u8>) {
        self.slot.encode(out);
        self.term.encode(out);
        self.configuration.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Anchor {
            slot: Slot::decode(input)?,
            term: input.u64("anchor term")?,
            configuration: Configuration::decode(input)?,
        })
    }
}

impl Wire for Record {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Record::Founded { membership } => {
                out.push(0);
                membership.encode(out);
            }
            Record::TermVote { term, voted_for } => {
                out.push(1);
                term.encode(out);
                voted_for.encode(out);
            }
            Record::Append { first, entries } => {
                out.push(2);
                first.encode(out);
                entries.encode(out);
            }
            Record::Truncate { from } => {
                out.push(3);
                from.encode(out);
            }
            Record::Anchor(anchor) => {
                out.push(4);
                anchor.encode(out);
            }
            Record::Snapshot { id, anchor } => {
                out.push(5);
                id.0.encode(out);
                anchor.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("raft record kind")? {
            0 => Ok(Record::Founded { membership: Membership::decode(input)? }),
            1 => Ok(Record::TermVote { term: input.u64("term")?, voted_for: Option::decode(input)? }),
            2 => Ok(Record::Append { first: Slot::decode(input)?, entries: Entries::decode(input)? }),
            3 => Ok(Record::Truncate { from: Slot::decode(input)? }),
            4 => Ok(Record::Anchor(Anchor::decode(input)?)),
            5 => Ok(Record::Snapshot { id: SnapshotId(input.u64("snapshot")?), anchor: Anchor::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "raft record", kind }),
        }
    }
}
