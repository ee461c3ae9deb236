//! What must survive a crash, and why.

use crate::ballot::{Ballot, Payload};
use crate::config::QuorumSizes;
use quorate_protocol::SnapshotId;
use quorate_types::{Membership, Slot};
use quorate_wire::{Reader, Wire, WireError};
use std::collections::BTreeMap;

/// Stands for a decided prefix that is no longer kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Anchor {
    /// The last slot of the prefix.
    pub slot: Slot,
    /// The members of the configuration.
    pub members: Membership,
    /// The quorum sizes, by number of voters, that the cluster was founded with ([`crate::Config::quorums`]). What a quorum of one size
    /// chose, one of another size need not meet: so they are not changed while the cluster lives, and this is how a replica knows.
    pub quorums: BTreeMap<usize, QuorumSizes>,
}

/// One durable record. They are replayed in the order written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// Nothing is accepted in a lower ballot any more, in any slot. A node that forgot it would let an old leader choose another
    /// value beside the one that a new leader's phase 1 found.
    Promised(Ballot),
    /// These were accepted, which promises their ballot too. What is accepted may be chosen, so it may not be forgotten.
    Accepted {
        /// The ballot.
        ballot: Ballot,
        /// The first slot.
        first: Slot,
        /// What it and the ones behind it were accepted to be.
        payloads: Vec<Payload>,
    },
    /// Everything up to the anchor is decided, durably applied, and no longer kept. What is accepted behind it stays.
    Anchor(Anchor),
    /// A snapshot that arrived stands for everything up to the anchor. What is accepted behind it stays, and so do promises.
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
        self.members.encode(out);
        self.quorums.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Anchor { slot: Slot::decode(input)?, members: Membership::decode(input)?, quorums: Wire::decode(input)? })
    }
}

impl Wire for Record {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Record::Promised(ballot) => {
                out.push(0);
                ballot.encode(out);
            }
            Record::Accepted { ballot, first, payloads } => {
                out.push(1);
                ballot.encode(out);
                first.encode(out);
                payloads.encode(out);
            }
            Record::Anchor(anchor) => {
                out.push(2);
                anchor.encode(out);
            }
            Record::Snapshot { id, anchor } => {
                out.push(3);
                id.0.encode(out);
                anchor.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("multi-paxos record kind")? {
            0 => Ok(Record::Promised(Ballot::decode(input)?)),
            1 => Ok(Record::Accepted {
                ballot: Ballot::decode(input)?,
                first: Slot::decode(input)?,
                payloads: Vec::decode(input)?,
            }),
            2 => Ok(Record::Anchor(Anchor::decode(input)?)),
            3 => Ok(Record::Snapshot { id: SnapshotId(input.u64("snapshot")?), anchor: Anchor::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "multi-paxos record", kind }),
        }
    }
}
