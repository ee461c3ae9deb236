//! What replicas say to each other. Every message waits until its sender's term and vote are durable; what else must be
//! durable first is said at each kind.

use crate::entry::Entries;
use quorate_protocol::ReadToken;
use quorate_types::Slot;
use quorate_wire::{Reader, Wire, WireError};

/// A message. `term` is the sender's present term unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// "Could I win?" From a node whose election timer ran out, to everybody. Changes nobody's term (dissertation, 9.6).
    PreVote {
        /// The term it would stand in: its own plus one, and not adopted by anybody.
        term: u64,
        /// The last slot of its log.
        last_slot: Slot,
        /// That entry's term.
        last_term: u64,
    },
    /// "Vote for me." From a candidate to everybody, after its own vote is durable (Raft §5.2).
    RequestVote {
        /// The term it stands in.
        term: u64,
        /// The last slot of its log.
        last_slot: Slot,
        /// That entry's term.
        last_term: u64,
        /// The leader asked it to stand, so stickiness does not apply (dissertation, 3.10).
        transfer: bool,
    },
    /// Answers both. To the candidate, after a vote that was granted is durable.
    VoteResponse {
        /// The voter's term; in a granted answer to `PreVote`, the term asked about.
        term: u64,
        /// Yes.
        granted: bool,
        /// Answers `PreVote`.
        pre: bool,
    },
    /// Entries, the commit mark and the sign of life. From the leader to every member. The leader's own write of the
    /// entries need not be durable (dissertation, 10.2.1).
    Append(Append),
    /// Answers `Append`. To its sender.
    AppendResponse {
        /// The follower's term.
        term: u64,
        /// How it went.
        outcome: AppendOutcome,
    },
    /// "As of which slot may I read?" From any node to the leader (dissertation, 6.4).
    ReadIndex {
        /// The reader's term.
        term: u64,
        /// Names the read.
        token: ReadToken,
    },
    /// Answers `ReadIndex`. From the leader, once a quorum confirmed that it leads.
    ReadIndexResponse {
        /// The answerer's term.
        term: u64,
        /// Names the read.
        token: ReadToken,
        /// The answer.
        answer: ReadAnswer,
    },
    /// "Stand for election now." From a leader that hands over to a voter that has its whole log durably (dissertation, 3.10).
    TimeoutNow {
        /// The leader's term.
        term: u64,
        /// The last slot of the leader's log.
        last_slot: Slot,
        /// That entry's term.
        last_term: u64,
    },
    /// "I should rather lead." From a voter with a priority above 0 to everybody, while it follows.
    Priority {
        /// The voter's term.
        term: u64,
        /// Its [`crate::Config::priority`].
        priority: u8,
    },
}

/// The leader's message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Append {
    /// The leader's term.
    pub term: u64,
    /// The slot before the first entry.
    pub prev_slot: Slot,
    /// Its term in the leader's log.
    pub prev_term: u64,
    /// The entries behind it; none in a heartbeat.
    pub entries: Entries,
    /// The leader's commit mark.
    pub commit: Slot,
    /// Every member holds everything up to here durably: followers need not keep it for anybody either.
    pub everyone_has: Slot,
    /// Grows whenever the leader wants a sign of life. An answer echoes it and so confirms that the sender led when it
    /// was sent.
    pub round: u64,
}

/// How an append went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppendOutcome {
    /// The follower's log equals the leader's up to `matched` and **is durable that far**.
    Accepted {
        /// Never past what the message spoke of.
        matched: Slot,
        /// Echoed.
        round: u64,
    },
    /// The logs do not meet at `prev_slot`.
    Rejected {
        /// The slot before the first entry of the message that is rejected.
        prev_slot: Slot,
        /// The greatest slot at which the logs may still meet.
        hint_slot: Slot,
        /// The term the follower has there.
        hint_term: u64,
        /// Echoed.
        round: u64,
    },
    /// The append is of an older term than the answer. It echoes no round: the round's number belongs to that older term,
    /// and the same node may lead a newer one by now.
    StaleTerm,
}

/// The answer to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadAnswer {
    /// Read from any state that has everything up to this slot.
    At(Slot),
    /// The one asked does not lead, or no longer does.
    NotLeading,
}

impl Message {
    /// The term it carries.
    #[must_use]
    pub fn term(&self) -> u64 {
        match self {
            Message::PreVote { term, .. }
            | Message::RequestVote { term, .. }
            | Message::VoteResponse { term, .. }
            | Message::Append(Append { term, .. })
            | Message::AppendResponse { term, .. }
            | Message::ReadIndex { term, .. }
            | Message::ReadIndexResponse { term, .. }
            | Message::TimeoutNow { term, .. }
            | Message::Priority { term, .. } => *term,
        }
    }

    /// Whether a higher term in it is the sender's own, to be adopted (Raft §5.1). A pre-vote only asks about a term.
    #[must_use]
    pub fn announces_term(&self) -> bool {
        !matches!(self, Message::PreVote { .. } | Message::VoteResponse { pre: true, granted: true, .. })
    }

    /// What it is called in scenarios and traces.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Message::PreVote { .. } => "pre-vote",
            Message::RequestVote { .. } => "request-vote",
            Message::VoteResponse { .. } => "vote-response",
            Message::Append(append) if append.entries.is_empty() => "heartbeat",
            Message::Append(_) => "append",
            Message::AppendResponse { .. } => "append-response",
            Message::ReadIndex { .. } => "read-index",
            Message::ReadIndexResponse { .. } => "read-index-response",
            Message::TimeoutNow { .. } => "timeout-now",
            Message::Priority { .. } => "priority",
        }
    }
}

impl Wire for Message {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Message::PreVote { term, last_slot, last_term } => {
                out.push(0);
                term.encode(out);
                last_slot.encode(out);
                last_term.encode(out);
            }
            Message::RequestVote { term, last_slot, last_term, transfer } => {
                out.push(1);
                term.encode(out);
                last_slot.encode(out);
                last_term.encode(out);
                transfer.encode(out);
            }
            Message::VoteResponse { term, granted, pre } => {
                out.push(2);
                term.encode(out);
                granted.encode(out);
                pre.encode(out);
            }
            Message::Append(append) => {
                out.push(3);
                append.encode(out);
            }
            Message::AppendResponse { term, outcome } => {
                out.push(4);
                term.encode(out);
                outcome.encode(out);
            }
            Message::ReadIndex { term, token } => {
                out.push(5);
                term.encode(out);
                token.encode(out);
            }
            Message::ReadIndexResponse { term, token, answer } => {
                out.push(6);
                term.encode(out);
                token.encode(out);
                answer.encode(out);
            }
            Message::TimeoutNow { term, last_slot, last_term } => {
                out.push(7);
                term.encode(out);
                last_slot.encode(out);
                last_term.encode(out);
            }
            Message::Priority { term, priority } => {
                out.push(8);
                term.encode(out);
                out.push(*priority);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("raft message kind")? {
            0 => Ok(Message::PreVote {
                term: input.u64("term")?,
                last_slot: Slot::decode(input)?,
                last_term: input.u64("last term")?,
            }),
            1 => Ok(Message::RequestVote {
                term: input.u64("term")?,
                last_slot: Slot::decode(input)?,
                last_term: input.u64("last term")?,
                transfer: bool::decode(input)?,
            }),
            2 => Ok(Message::VoteResponse {
                term: input.u64("term")?,
                granted: bool::decode(input)?,
                pre: bool::decode(input)?,
            }),
            3 => Ok(Message::Append(Append::decode(input)?)),
            4 => Ok(Message::AppendResponse { term: input.u64("term")?, outcome: AppendOutcome::decode(input)? }),
            5 => Ok(Message::ReadIndex { term: input.u64("term")?, token: ReadToken::decode(input)? }),
            6 => Ok(Message::ReadIndexResponse {
                term: input.u64("term")?,
                token: ReadToken::decode(input)?,
                answer: ReadAnswer::decode(input)?,
            }),
            7 => Ok(Message::TimeoutNow {
                term: input.u64("term")?,
                last_slot: Slot::decode(input)?,
                last_term: input.u64("last term")?,
            }),
            8 => Ok(Message::Priority { term: input.u64("term")?, priority: input.byte("priority")? }),
            kind => Err(WireError::UnknownKind { what: "raft message", kind }),
        }
    }
}

impl Wire for Append {
    fn encode(&self, out: &mut Vec<u8>) {
        self.term.encode(out);
        self.prev_slot.encode(out);
        self.prev_term.encode(out);
        self.entries.encode(out);
        self.commit.encode(out);
        self.everyone_has.encode(out);
        self.round.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Append {
            term: input.u64("term")?,
            prev_slot: Slot::decode(input)?,
            prev_term: input.u64("previous term")?,
            entries: Entries::decode(input)?,
            commit: Slot::decode(input)?,
            everyone_has: Slot::decode(input)?,
            round: input.u64("round")?,
        })
    }
}

impl Wire for AppendOutcome {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            AppendOutcome::Accepted { matched, round } => {
                out.push(0);
                matched.encode(out);
                round.encode(out);
            }
            AppendOutcome::Rejected { prev_slot, hint_slot, hint_term, round } => {
                out.push(1);
                prev_slot.encode(out);
                hint_slot.encode(out);
                hint_term.encode(out);
                round.encode(out);
            }
            AppendOutcome::StaleTerm => out.push(2),
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("append outcome")? {
            0 => Ok(AppendOutcome::Accepted { matched: Slot::decode(input)?, round: input.u64("round")? }),
            1 => Ok(AppendOutcome::Rejected {
                prev_slot: Slot::decode(input)?,
                hint_slot: Slot::decode(input)?,
                hint_term: input.u64("hint term")?,
                round: input.u64("round")?,
            }),
            2 => Ok(AppendOutcome::StaleTerm),
            kind => Err(WireError::UnknownKind { what: "append outcome", kind }),
        }
    }
}

impl Wire for ReadAnswer {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            ReadAnswer::At(slot) => {
                out.push(0);
                slot.encode(out);
            }
            ReadAnswer::NotLeading => out.push(1),
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("read answer")? {
            0 => Ok(ReadAnswer::At(Slot::decode(input)?)),
            1 => Ok(ReadAnswer::NotLeading),
            kind => Err(WireError::UnknownKind { what: "read answer", kind }),
        }
    }
}
