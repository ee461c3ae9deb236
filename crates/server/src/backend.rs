//! What the front needs from the store behind it, in plain types of its own.

use std::future::Future;

use bytes::Bytes;

use crate::errors::BackendError;

/// A member of the cluster as the front sees it: something that answers etcd's questions.
///
/// The front calls it from many tasks at once. A returned future may be dropped at any await, when the client goes away
/// or the time is up; a write may take effect all the same, and must not be left half done.
///
/// Requests arrive checked: keys are not empty, flags do not contradict each other, negative limits and revisions are 0.
/// A backend that cannot do something a request asks for answers [`BackendError::Unsupported`]; it never leaves it out.
pub trait Backend: Send + Sync + 'static {
    /// What this member knows right now without asking anyone. Called for every request, so it must be cheap (a few
    /// loads) and must not block.
    fn local(&self) -> LocalView;

    /// Reads a range. Linearizable unless the query is serializable: then from local state, working without quorum.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`, or any error of reaching the cluster.
    fn range(&self, query: RangeQuery) -> impl Future<Output = Result<RangeAnswer, BackendError>> + Send;

    /// Writes one pair at a revision of its own. An `Ok` means committed and applied here.
    ///
    /// # Errors
    /// `KeyNotFound` if the old value or lease is to be kept and there is none. `TimedOut` and its kin leave the outcome
    /// unknown; all others mean that nothing was written.
    fn put(&self, command: PutCommand) -> impl Future<Output = Result<PutAnswer, BackendError>> + Send;

    /// Deletes a range at one revision; deleting nothing is fine and takes no revision.
    ///
    /// # Errors
    /// As for [`Backend::put`].
    fn delete_range(&self, command: DeleteCommand) -> impl Future<Output = Result<DeleteAnswer, BackendError>> + Send;

    /// Lists the members. Linearizable: as of a moment after the call, confirmed by a quorum; else as known locally.
    ///
    /// # Errors
    /// Any error of reaching the cluster, if linearizable.
    fn members(&self, linearizable: bool) -> impl Future<Output = Result<MemberList, BackendError>> + Send;

    /// This member's state, also without a leader or quorum.
    ///
    /// # Errors
    /// `ServerStopped` if it is no longer there to ask.
    fn status(&self) -> impl Future<Output = Result<NodeStatus, BackendError>> + Send;
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
}

/// One pair as it stood at some revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key, never empty.
    pub key: Bytes,
    /// The value, empty if there is none or only keys were asked for.
    pub value: Bytes,
    /// Revision at which the key last came into being.
    pub create_revision: i64,
    /// Revision of its last change.
    pub mod_revision: i64,
    /// Puts since it came into being, that one included.
    pub version: i64,
    /// The lease it hangs on, 0 for none.
    pub lease: i64,
}

/// Direction of a sorted answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// Smallest first.
    #[default]
    Ascending,
    /// Largest first.
    Descending,
}

/// What an answer is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key's bytes: with ascending order, the natural order of the store.
    #[default]
    Key,
    /// [`KeyValue::version`].
    Version,
    /// [`KeyValue::create_revision`].
    CreateRevision,
    /// [`KeyValue::mod_revision`].
    ModRevision,
    /// The value's bytes.
    Value,
}

/// A read of one key or a range, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeQuery {
    /// First key, never empty.
    pub key: Bytes,
    /// First key after the range. Empty: only `key`. One zero byte: all keys from `key` on. Not above `key`: an empty range.
    pub range_end: Bytes,
    /// Most pairs to answer, counted after sorting and filtering; 0 for all.
    pub limit: i64,
    /// Read as of this revision; 0 for now.
    pub revision: i64,
    /// Direction of the answer.
    pub sort_order: SortOrder,
    /// What to sort by; ties stay in key order.
    pub sort_target: SortTarget,
    /// Answer from local state, without asking the cluster.
    pub serializable: bool,
    /// Leave the values out, keep all else.
    pub keys_only: bool,
    /// Answer the count only; `limit` and the filters below do not change it.
    pub count_only: bool,
    /// Only pairs last changed at or after this revision; 0 for no bound. The filters do not change the count.
    pub min_mod_revision: i64,
    /// Only pairs last changed at or before this revision; 0 for no bound.
    pub max_mod_revision: i64,
    /// Only pairs that came into being at or after this revision; 0 for no bound.
    pub min_create_revision: i64,
    /// Only pairs that came into being at or before this revision; 0 for no bound.
    pub max_create_revision: i64,
}

/// What a range held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeAnswer {
    /// Its revision is the store's at the time of the read, also for a read of the past.
    pub header: Header,
    /// The pairs, sorted, filtered and cut as asked.
    pub pairs: Vec<KeyValue>,
    /// The limit left pairs out.
    pub more: bool,
    /// Keys in the range at that revision, whatever limit and filters.
    pub count: i64,
}

/// A write of one pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutCommand {
    /// The key, never empty.
    pub key: Bytes,
    /// The new value; empty if `ignore_value`.
    pub value: Bytes,
    /// The lease to hang it on, 0 for none. There are no leases yet: the front refuses any other.
    pub lease: i64,
    /// Answer the pair as it was before.
    pub prev_kv: bool,
    /// Keep the value; the key must exist.
    pub ignore_value: bool,
    /// Keep the lease; the key must exist.
    pub ignore_lease: bool,
}

/// A pair was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutAnswer {
    /// Its revision is the write's own.
    pub header: Header,
    /// The pair before, if asked for and there was one.
    pub previous: Option<KeyValue>,
}

/// A deletion of one key or a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteCommand {
    /// First key, never empty.
    pub key: Bytes,
    /// As [`RangeQuery::range_end`].
    pub range_end: Bytes,
    /// Answer the pairs as they were before.
    pub prev_kv: bool,
}

/// A range was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteAnswer {
    /// Its revision is the deletion's own, or the current one if there was nothing to delete.
    pub header: Header,
    /// How many keys were deleted.
    pub deleted: i64,
    /// The pairs before, in key order, if asked for.
    pub previous: Vec<KeyValue>,
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
    /// Where clients reach it, empty until it has started once.
    pub client_urls: Vec<String>,
    /// It has no vote yet.
    pub is_learner: bool,
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
    /// Live keys.
    pub keys: Option<u64>,
}
