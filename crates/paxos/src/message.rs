//! What replicas say to each other.

use crate::{Ballot, Proposal};
use bytes::Bytes;
use quorate_wire::{Reader, Wire, WireError};

/// One variant per kind. "After" says which of the sender's writes must be durable before the message may leave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Phase 1a, proposer to acceptors, after the round is durable at the proposer.
    Prepare {
        /// The proposer's new ballot; with round 0 a question for the decision.
        ballot: Ballot,
    },
    /// Phase 1b, acceptor to proposer, after the promise (and everything accepted before it) is durable.
    Promise {
        /// The ballot promised: nothing below it will be accepted.
        ballot: Ballot,
        /// The proposal of the highest ballot accepted so far.
        accepted: Option<Proposal>,
    },
    /// Phase 2a, proposer to acceptors. Nothing new must be durable: the round is since the prepare request left.
    Accept {
        /// The proposer's ballot.
        ballot: Ballot,
        /// Its one value at this ballot.
        value: Bytes,
    },
    /// Phase 2b, acceptor to proposer or to everybody, after promise and acceptance are durable.
    Accepted {
        /// The ballot accepted.
        ballot: Ballot,
        /// The value accepted.
        value: Bytes,
    },
    /// Acceptor to proposer, instead of an answer of phase 1 or 2. A hint, so nothing must be durable.
    Nack {
        /// The ballot refused.
        ballot: Ballot,
        /// What is promised instead.
        promised: Ballot,
    },
    /// Learner to anybody: the decision. It is a fact that a phase-2 quorum made durable, not a claim about the
    /// sender's disk, so it waits for nothing.
    Chosen {
        /// The chosen value.
        value: Bytes,
    },
}

impl Message {
    /// Its name in scenarios and traces.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Message::Prepare { .. } => "prepare",
            Message::Promise { .. } => "promise",
            Message::Accept { .. } => "accept",
            Message::Accepted { .. } => "accepted",
            Message::Nack { .. } => "nack",
            Message::Chosen { .. } => "chosen",
        }
    }
}

impl Wire for Message {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Message::Prepare { ballot } => {
                out.push(1);
                ballot.encode(out);
            }
            Message::Promise { ballot, accepted } => {
                out.push(2);
                ballot.encode(out);
                accepted.encode(out);
            }
            Message::Accept { ballot, value } => {
                out.push(3);
                ballot.encode(out);
                value.encode(out);
            }
            Message::Accepted { ballot, value } => {
                out.push(4);
                ballot.encode(out);
                value.encode(out);
            }
            Message::Nack { ballot, promised } => {
                out.push(5);
                ballot.encode(out);
                promised.encode(out);
            }
            Message::Chosen { value } => {
                out.push(6);
                value.encode(out);
            }
        }
    }

    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(match input.byte("paxos message")? {
            1 => Message::Prepare { ballot: Ballot::decode(input)? },
            2 => Message::Promise { ballot: Ballot::decode(input)?, accepted: Option::decode(input)? },
            3 => Message::Accept { ballot: Ballot::decode(input)?, value: Bytes::decode(input)? },
            4 => Message::Accepted { ballot: Ballot::decode(input)?, value: Bytes::decode(input)? },
            5 => Message::Nack { ballot: Ballot::decode(input)?, promised: Ballot::decode(input)? },
            6 => Message::Chosen { value: Bytes::decode(input)? },
            kind => return Err(WireError::UnknownKind { what: "paxos message", kind }),
        })
    }
}
