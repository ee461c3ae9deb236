//! What must survive a crash, and why.

use crate::{Ballot, Proposal};
use bytes::Bytes;
use quorate_types::Membership;
use quorate_wire::{Reader, Wire, WireError};

/// One durable fact. Later records of a kind replace earlier ones, and repeating one changes nothing: that is what
/// makes every crash point of a compaction harmless.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// Who the members are and how many make each quorum. Written once, first: quorums counted by two
    /// different sizes need not meet.
    Founded {
        /// The members, for good.
        members: Membership,
        /// How many promises make a phase-1 quorum.
        phase1: u64,
        /// How many acceptances make a phase-2 quorum.
        phase2: u64,
    },
    /// This proposer has used rounds up to here. Forgotten, a restarted proposer could send another value at a
    /// ballot it has used already, and old promises would count for it.
    Round(u64),
    /// This acceptor accepts nothing below this ballot. Forgotten, a value chosen later could be missed.
    Promised(Ballot),
    /// This acceptor accepted this and so promises its ballot. One record for both, so that no crash parts them.
    Accepted(Proposal),
    /// This value is chosen. Written so that `Decide` repeats after a restart without asking anyone.
    Chosen(Bytes),
}

impl Wire for Record {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Record::Founded { members, phase1, phase2 } => {
                out.push(1);
                members.encode(out);
                phase1.encode(out);
                phase2.encode(out);
            }
            Record::Round(round) => {
                out.push(2);
                round.encode(out);
            }
            Record::Promised(ballot) => {
                out.push(3);
                ballot.encode(out);
            }
            Record::Accepted(proposal) => {
                out.push(4);
                proposal.encode(out);
            }
            Record::Chosen(value) => {
                out.push(5);
                value.encode(out);
            }
        }
    }

    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(match input.byte("paxos record")? {
            1 => Record::Founded {
                members: Membership::decode(input)?,
                phase1: input.u64("phase-1 quorum")?,
                phase2: input.u64("phase-2 quorum")?,
            },
            2 => Record::Round(input.u64("round")?),
            3 => Record::Promised(Ballot::decode(input)?),
            4 => Record::Accepted(Proposal::decode(input)?),
            5 => Record::Chosen(Bytes::decode(input)?),
            kind => return Err(WireError::UnknownKind { what: "paxos record", kind }),
        })
    }
}

/// The anchor of a protocol without snapshots: one slot has no prefix that a snapshot could replace, so there is
/// no value of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoAnchor {}

impl Wire for NoAnchor {
    fn encode(&self, _: &mut Vec<u8>) {
        match *self {}
    }
    fn decode(_: &mut Reader) -> Result<Self, WireError> {
        Err(WireError::Malformed { what: "anchor of single-decree Paxos, which has none" })
    }
}
