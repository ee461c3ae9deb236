//! What goes between the members of one configuration.

use crate::connection::Connection;
use crate::zxid::{Mark, Txn, Zxid};
use quorate_protocol::ReadToken;
use quorate_types::{NodeId, Slot};

/// Whom a node wants to lead, and why: compared by epoch, then zxid, then id. It is a hint; the election of an epoch is what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vote {
    /// The candidate's `currentEpoch`.
    pub current_epoch: u32,
    /// The end of the candidate's history.
    pub last: Zxid,
    /// Who.
    pub candidate: NodeId,
}

/// What the sender of a notification is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Looking for a leader: this is its vote.
    Looking,
    /// It follows the candidate it names.
    Following,
    /// It leads: it names itself.
    Leading,
}

/// One message. The table on the crate's first page says what must be durable first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Phase 0, anybody to anybody.
    Notification {
        /// `None` by a member that does not vote and has heard no vote.
        vote: Option<Vote>,
        /// The election it belongs to, by the sender's count.
        round: u64,
        /// What the sender is doing.
        standing: Standing,
    },
    /// Follower to leader. In any order.
    Up {
        /// Which connection.
        connection: Connection,
        /// What it says.
        word: FollowerWord,
    },
    /// Leader to follower. In order.
    Down {
        /// Which connection.
        connection: Connection,
        /// From 1 on.
        sequence: u64,
        /// What it says.
        word: LeaderWord,
    },
    /// To whoever spoke in a connection: there is none, or none any more.
    Closed {
        /// Which.
        connection: Connection,
    },
    /// Anybody to anybody: whoever has this in its history knows everything up to it committed.
    Committed {
        /// Up to where.
        through: Mark,
    },
    /// Leader to follower, on behalf of reads: do you still follow me? Answered like a ping, but outside the order of the
    /// connection.
    Confirm {
        /// The connection in which the follower promised the epoch.
        connection: Connection,
        /// To be confirmed.
        round: u64,
    },
    /// Reader to leader: sync, please.
    ReadIndex {
        /// The read.
        token: ReadToken,
    },
    /// Leader to reader.
    ReadAnswer {
        /// The read.
        token: ReadToken,
        /// Where it may be read; `None` by a node that cannot say, as it leads no more.
        slot: Option<Slot>,
    },
}

/// What a follower says to its leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FollowerWord {
    /// CEPOCH (FOLLOWERINFO): opens the connection.
    Cepoch {
        /// The last epoch promised.
        accepted_epoch: u32,
        /// The end of its history.
        last: Mark,
    },
    /// ACKEPOCH: follows no leader of an earlier epoch.
    AckEpoch {
        /// The epoch.
        epoch: u32,
        /// The last epoch whose history it took.
        current_epoch: u32,
        /// The end of its history.
        last: Mark,
        /// False where it had promised just this epoch before, to whomever: then it does not count for the election.
        counts: bool,
    },
    /// Everything up to here arrived. Claims nothing durable: for pacing.
    Received {
        /// Up to where.
        through: Slot,
    },
    /// ACK(NEWLEADER): it has taken the leader's history, up to here.
    AckNewLeader {
        /// The epoch.
        epoch: u32,
        /// The end of what was synchronised.
        through: Mark,
    },
    /// ACK(zxid).
    Ack {
        /// The epoch.
        epoch: u32,
        /// Everything up to here.
        through: Mark,
    },
    /// Answers a ping or a [`Message::Confirm`]: it follows still.
    Pong {
        /// The epoch.
        epoch: u32,
        /// Of the question.
        round: u64,
        /// Everything up to here arrived.
        received: Slot,
        /// Once NEWLEADER is acknowledged, all its acknowledgements again, in one: a lost one is made up for.
        acked: Option<Mark>,
    },
}

/// What a leader says to a follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LeaderWord {
    /// NEWEPOCH (LEADERINFO): please follow no leader of an earlier epoch.
    NewEpoch {
        /// The epoch.
        epoch: u32,
    },
    /// The follower's history is a prefix of the leader's: the rest follows.
    Diff {
        /// Its end.
        from: Mark,
    },
    /// TRUNC: what the follower has behind this is not in the leader's history; the rest follows.
    Truncate {
        /// What is to be its end.
        to: Mark,
    },
    /// SNAP: a snapshot is on its way. The follower opens another connection when it has it.
    Snapshot,
    /// PROPOSAL, of one or several transactions.
    Proposal {
        /// The slot of the first.
        first: Slot,
        /// In order.
        txns: Vec<Txn>,
    },
    /// NEWLEADER(epoch, 0): this is the leader's history.
    NewLeader {
        /// The epoch.
        epoch: u32,
    },
    /// UPTODATE: the epoch is established.
    UpToDate {
        /// The latest that is committed and was sent.
        committed: Mark,
    },
    /// COMMIT.
    Commit {
        /// Everything up to here.
        through: Mark,
    },
    /// A sign of life.
    Ping {
        /// To be confirmed.
        round: u64,
        /// Everything up to here every member has durably.
        everyone: Slot,
    },
}

impl Message {
    /// What it is called in scenarios and traces.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Message::Notification { .. } => "notification",
            Message::Up { word, .. } => word.kind(),
            Message::Down { word, .. } => word.kind(),
            Message::Closed { .. } => "connection-closed",
            Message::Committed { .. } => "committed",
            Message::Confirm { .. } => "confirm",
            Message::ReadIndex { .. } => "read-index",
            Message::ReadAnswer { .. } => "read-answer",
        }
    }
}

impl FollowerWord {
    /// What it is called in scenarios and traces.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            FollowerWord::Cepoch { .. } => "cepoch",
            FollowerWord::AckEpoch { .. } => "ack-epoch",
            FollowerWord::Received { .. } => "received",
            FollowerWord::AckNewLeader { .. } => "ack-new-leader",
            FollowerWord::Ack { .. } => "ack",
            FollowerWord::Pong { .. } => "pong",
        }
    }
}

impl LeaderWord {
    /// What it is called in scenarios and traces.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            LeaderWord::NewEpoch { .. } => "new-epoch",
            LeaderWord::Diff { .. } => "diff",
            LeaderWord::Truncate { .. } => "truncate",
            LeaderWord::Snapshot => "snapshot",
            LeaderWord::Proposal { .. } => "proposal",
            LeaderWord::NewLeader { .. } => "new-leader",
            LeaderWord::UpToDate { .. } => "up-to-date",
            LeaderWord::Commit { .. } => "commit",
            LeaderWord::Ping { .. } => "ping",
        }
    }
}
