//! Ballots and proposals: what the paper numbers and what it votes on.

use bytes::Bytes;
use quorate_types::NodeId;
use quorate_wire::{Reader, Wire, WireError};
use std::fmt;

/// Numbers one attempt to get a value chosen: ordered by round, then by the proposer's id, so that two proposers
/// never share one. The paper's "proposal number".
///
/// Round 0 belongs to no attempt. `(0, 0)` is [`Ballot::NONE`]; a prepare request with round 0 and a real node is
/// a question about the decision (see [`Ballot::question`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// Counts up; each proposer uses a round at most once, restarts included.
    pub round: u64,
    /// The proposer.
    pub node: NodeId,
}

impl Ballot {
    /// Before every ballot.
    pub const NONE: Ballot = Ballot { round: 0, node: NodeId(0) };

    /// The ballot of this round and proposer.
    #[must_use]
    pub fn new(round: u64, node: NodeId) -> Ballot {
        Ballot { round, node }
    }

    /// Asks, in a prepare request, for the decision only: it is below every real ballot, so that no acceptor ever
    /// promises it, and whoever knows the decision answers with it.
    #[must_use]
    pub fn question(node: NodeId) -> Ballot {
        Ballot { round: 0, node }
    }

    /// Whether this is no attempt but a question, or nothing.
    #[must_use]
    pub fn is_question(self) -> bool {
        self.round == 0
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Ballot::NONE {
            return formatter.write_str("none");
        }
        write!(formatter, "({},{})", self.round, self.node)
    }
}

impl Wire for Ballot {
    fn encode(&self, out: &mut Vec<u8>) {
        self.round.encode(out);
        self.node.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Ballot { round: input.u64("round")?, node: NodeId::decode(input)? })
    }
}

/// A value at a ballot: what acceptors accept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// At which ballot.
    pub ballot: Ballot,
    /// Which value.
    pub value: Bytes,
}

impl Wire for Proposal {
    fn encode(&self, out: &mut Vec<u8>) {
        self.ballot.encode(out);
        self.value.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Proposal { ballot: Ballot::decode(input)?, value: Bytes::decode(input)? })
    }
}

/// The ballot of what an acceptor has accepted; [`Ballot::NONE`] for nothing.
pub(crate) fn ballot_of(accepted: Option<&Proposal>) -> Ballot {
    accepted.map_or(Ballot::NONE, |proposal| proposal.ballot)
}
