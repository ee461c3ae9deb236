//! What the front needs from the store behind it.

use std::future::Future;

use bytes::Bytes;
use quorate_keyspace::{LeaseAnswer, LeaseErrand, Query, Reply, Request};
use quorate_machine::{ClientId, Consistency};
use tokio::sync::mpsc;

use crate::errors::BackendError;
use crate::watch_channel::WatchEntrance;

/// A member of the cluster as the front sees it: it takes the keyspace's own requests and questions to the cluster.
///
/// The front calls it from many tasks at once. A returned future may be dropped at any await, when the client goes away
/// or the time is up; a write may take effect all the same, and must not be left half done.
pub trait Backend: Send + Sync + 'static {
    /// What this member knows right now without asking anyone. Called for every request, so it must be cheap (a few
    /// loads) and must not block.
    fn local(&self) -> LocalView;

    /// Has a request applied once. An `Ok` means committed and applied here, and is never [`Reply::Error`].
    ///
    /// # Errors
    /// [`BackendError::Refused`] with the keyspace's refusal. `TimedOut` and its kin leave the outcome unknown; all others mean
    /// that nothing was changed.
    fn write(&self, request: Request) -> impl Future<Output = Result<Reply, BackendError>> + Send;

    /// Answers a question, from local state alone or after a round with a quorum. Never [`Reply::Error`].
    ///
    /// # Errors
    /// [`BackendError::Refused`], or any error of reaching the cluster.
    fn read(&self, query: Query, consistency: Consistency) -> impl Future<Output = Result<Reply, BackendError>> + Send;

    /// Has the leader do something about a lease that only its memory can.
    ///
    /// # Errors
    /// Any error of reaching the leader. Nothing has happened, or a renewal nobody was told of.
    fn lease(&self, errand: LeaseErrand) -> impl Future<Output = Result<LeaseAnswer, BackendError>> + Send;

    /// Opens a session for a client: its name, and its window. In order: each of its calls happens behind those of lower sequences that are
    /// still wanted.
    ///
    /// # Errors
    /// Any error of reaching the cluster. It may have been opened all the same, for nobody.
    fn open_session(&self, in_order: bool) -> impl Future<Output = Result<(ClientId, u64), BackendError>> + Send;

    /// Has a request applied once for its session and sequence, whatever members it was brought to. An answer is decided with
    /// the log; a [`Reply::Error`] among them.
    ///
    /// # Errors
    /// Any error of reaching the cluster. It decides nothing: this copy or an earlier one may be applied, but never both. `BeforeItsTurn`
    /// of a session in order: this copy changes nothing.
    fn call_in_session(&self, call: SessionCall) -> impl Future<Output = Result<SessionAnswer, BackendError>> + Send;

    /// Forgets a session.
    ///
    /// # Errors
    /// Any error of reaching the cluster; it may be forgotten all the same.
    fn close_session(&self, client: ClientId) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Where watches are taken to.
    fn watches(&self) -> &WatchEntrance;

    /// This member's whole state as of now, in pieces.
    ///
    /// # Errors
    /// When it cannot be had now.
    fn backup(&self) -> impl Future<Output = Result<Backup, BackendError>> + Send;

    /// Lists the members. Linearizable: as of a moment after the call, confirmed by a quorum; else as known locally.
    ///
    /// # Errors
    /// Any error of reaching the cluster, if linearizable.
    fn members(&self, linearizable: bool) -> impl Future<Output = Result<MemberList, BackendError>> + Send;

    /// Changes the members. Answers whom it is about, and the members then.
    ///
    /// # Errors
    /// etcd's refusals by name. `TimedOut` and its kin leave the outcome unknown; all others mean that nothing was changed.
    fn change_members(
        &self,
        change: MembershipChange,
    ) -> impl Future<Output = Result<(u64, MemberList), BackendError>> + Send;

    /// Hands leadership from this member over to another, and answers when that one leads.
    ///
    /// # Errors
    /// `NotLeader` or `BadLeaderTransferee`; any error of reaching the other.
    fn move_leader(&self, to: u64) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// This member's state, also without a leader or quorum.
    ///
    /// # Errors
    /// `ServerStopped` if it is no longer there to ask.
    fn status(&self) -> impl Future<Output = Result<NodeStatus, BackendError>> + Send;
}

/// A request in a client's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCall {
    /// The session. Of this cluster.
    pub client: ClientId,
    /// The client's number for the request.
    pub sequence: u64,
    /// The client waits for nothing below any more.
    pub acked_below: u64,
    /// An earlier copy may have got through: this one must not be refused for the state of things before it reaches the log.
    pub is_retry: bool,
    /// The request, checked.
    pub request: Request,
}

/// What the log decided about a [`SessionCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionAnswer {
    /// It was applied once, by this copy or an earlier one.
    Reply(Reply),
    /// There is no such session: this copy is never applied.
    Expired,
    /// The client had acknowledged it before: this copy is never applied.
    Acknowledged,
    /// An earlier copy was applied, and its reply was too long to keep.
    NotKept,
}

/// A member's state on its way out.
#[derive(Debug)]
pub struct Backup {
    /// All pieces together have so many bytes.
    pub total_bytes: u64,
    /// The pieces in order; fewer bytes than announced mean that it broke off.
    pub pieces: mpsc::Receiver<Bytes>,
}

/// Who answers, and how far it was: sent with every answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The cluster's id.
    pub cluster_id: u64,
    /// The answering member's id.
    pub member_id: u64,
    /// For a write its own revision (or the current one if it took none), for a read the store's at that moment. A fresh
    /// store is at 1.
    pub revision: i64,
    /// The era of the leader: Raft's term, or what the protocol in use has for it.
    pub raft_term: u64,
}

/// What a member knows without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalView {
    /// Header with the locally applied revision.
    pub header: Header,
    /// The leader's member id, 0 for none known.
    pub leader_id: u64,
    /// This member has no vote yet.
    pub is_learner: bool,
    /// This member votes and stores no data.
    pub is_witness: bool,
}

/// One member of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id, unique for ever.
    pub id: u64,
    /// Its name, empty until it has started once.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it, empty until it has started once. A witness's are not listed as such: it serves none.
    pub client_urls: Vec<String>,
    /// It has no vote yet.
    pub is_learner: bool,
    /// It votes and stores no data.
    pub is_witness: bool,
}

/// The part a new member takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewPart {
    /// It votes as soon as it has caught up.
    Voter,
    /// It does not vote until it is promoted.
    Learner,
    /// It votes at once, and never stores data.
    Witness,
}

/// A change of the members, as clients ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// A new member.
    Add {
        /// Where other members reach it: checked URLs, sorted.
        peer_urls: Vec<String>,
        /// As what.
        part: NewPart,
    },
    /// A member goes for ever.
    Remove {
        /// Who.
        id: u64,
    },
    /// A learner becomes a voter.
    Promote {
        /// Who.
        id: u64,
        /// The member that goes in the same step.
        replacing: Option<u64>,
    },
    /// A member is reached elsewhere.
    Update {
        /// Who.
        id: u64,
        /// Where: checked URLs, sorted.
        peer_urls: Vec<String>,
    },
}

/// The members of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberList {
    /// Clients get it without its revision, as from etcd.
    pub header: Header,
    /// All members, learners included.
    pub members: Vec<Member>,
}

/// The state of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Header with the locally applied revision.
    pub header: Header,
    /// The leader's member id, 0 for none known.
    pub leader_id: u64,
    /// This member has no vote yet.
    pub is_learner: bool,
    /// Bytes the store takes up.
    pub db_size_bytes: u64,
    /// Bytes of these that hold something.
    pub db_size_in_use_bytes: u64,
    /// Highest log position known to be decided.
    pub committed_index: u64,
    /// Highest log position applied here.
    pub applied_index: u64,
    /// What is wrong, in words for people. The front adds "no leader" itself.
    pub errors: Vec<String>,
    /// Counts for `/metrics`.
    pub counts: NodeCounts,
    /// What etcd's status has no place for.
    pub detail: NodeDetail,
}

/// How far one member is, beyond what etcd's status tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeDetail {
    /// Its name.
    pub name: String,
    /// The consensus protocol.
    pub protocol: String,
    /// `leader`, `follower`, ...
    pub role: String,
    /// How often it was started on this disk.
    pub incarnation: u64,
    /// First log position still kept.
    pub first_index: u64,
    /// Last log position, decided or not.
    pub last_index: u64,
    /// Last log position that is durable here.
    pub durable_index: u64,
    /// The store has everything up to here durably, without the log.
    pub checkpointed_index: u64,
    /// Bytes of the journal on disk.
    pub journal_bytes: u64,
    /// Writes of its clients that wait for an answer.
    pub writes_outstanding: u64,
    /// Messages to peers dropped because a queue was full.
    pub messages_dropped: u64,
    /// What a leader knows of the others; empty elsewhere.
    pub peers: Vec<PeerDetail>,
    /// What only its protocol has to say: names with values in words.
    pub particulars: Vec<(String, String)>,
}

/// What a leader knows of another member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerDetail {
    /// Its id.
    pub id: u64,
    /// How it is being sent to, in the protocol's word.
    pub state: String,
    /// Known to be durable there up to here.
    pub matched_index: u64,
    /// Heard from lately.
    pub active: bool,
}

/// Counts for `/metrics`. `None` means not counted: the metric is then absent, where a 0 would be a lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// Changes of leader seen since start.
    pub leader_changes_seen: Option<u64>,
    /// Proposals waiting for a decision.
    pub proposals_pending: Option<u64>,
    /// Proposals that failed since start.
    pub proposals_failed: Option<u64>,
    /// Ranges read here since start.
    pub ranges: Option<u64>,
    /// Puts applied here since start.
    pub puts: Option<u64>,
    /// Deletions applied here since start.
    pub deletes: Option<u64>,
    /// Transactions of more than one operation applied here since start.
    pub transactions: Option<u64>,
    /// Live keys.
    pub keys: Option<u64>,
    /// The revision of the last compaction, 0 for none.
    pub compact_revision: Option<u64>,
    /// Leases there are.
    pub leases: Option<u64>,
    /// Alarms that are raised.
    pub alarms: Option<u64>,
    /// Bytes of history above which the NOSPACE alarm is raised.
    pub quota_backend_bytes: Option<u64>,
    /// Clients with a session.
    pub client_sessions: Option<u64>,
    /// Bytes of replies kept for them.
    pub kept_reply_bytes: Option<u64>,
    /// Sessions of clients that made room for others since the log began.
    pub expired_sessions: Option<u64>,
    /// Requests in clients' sessions that were answered with a kept reply since start.
    pub recalled_replies: Option<u64>,
    /// What this member's disk has left.
    pub disk_free_bytes: Option<u64>,
}
