//! The state: a log of changes, an index into it, leases and alarms.

use crate::alarm::{Alarm, AlarmAction, AlarmKind, AlarmRequest};
use crate::change::{Change, ChangeView};
use crate::change_log::ChangeLog;
use crate::compaction::{SLICE_CHANGES, Tidying};
use crate::digest::Digest;
use crate::duty::KeyspaceDuty;
use crate::error::KeyspaceError;
use crate::image;
use crate::key_index::KeyIndex;
use crate::lease_request::LogPlace;
use crate::lease_table::{Lease, LeaseTable};
use crate::query::Query;
use crate::reply::Reply;
use crate::request::Request;
use crate::revision::FIRST_REVISION;
use bytes::Bytes;
use quorate_machine::{ApplyContext, KeptReplies, RestoreError, StateMachine};
use quorate_types::NodeId;
use quorate_wire::{Wire, decode_exact, encode_to_bytes};
use std::collections::BTreeSet;
use std::fmt;

/// etcd's key space with its history from the compaction mark on.
///
/// Apply costs the encoding of the change and two searches in the index; a read of the present costs one search a key;
/// a read of the past also searches the log once for its revision.
///
/// Two are equal if their replicated parts are: how much of what compactions condemned is already dropped does not
/// count. Comparing costs a pass over both histories.
///
/// ```
/// use quorate_keyspace::{Keyspace, PutRequest, Query, RangeRequest, Reply, Request};
/// use quorate_machine::{ApplyContext, StateMachine};
/// use quorate_types::{Slot, Time};
/// use quorate_wire::encode_to_bytes;
///
/// let mut keyspace = Keyspace::empty();
/// let put = Request::Put(PutRequest { key: "name".into(), value: "quorate".into(), ..PutRequest::default() });
/// let context = ApplyContext { slot: Slot(1), index: 0, stamp: Time::ZERO };
/// let reply = keyspace.apply(&context, &encode_to_bytes(&put));
/// assert_eq!(reply, Reply::Put { revision: 2, prev_kv: None });
///
/// let reply = keyspace.query(&Query::Range(RangeRequest { key: "name".into(), ..RangeRequest::default() }));
/// let Reply::Range { kvs, .. } = reply else { panic!("a range answers a range") };
/// assert_eq!(kvs[0].value, "quorate");
/// ```
#[derive(Clone)]
pub struct Keyspace {
    /// The main revision of the last write.
    pub(crate) revision: i64,
    /// The least main revision that can be read, if that is above the first; 0 before the first compaction.
    pub(crate) compact_revision: i64,
    pub(crate) log: ChangeLog,
    pub(crate) index: KeyIndex,
    pub(crate) leases: LeaseTable,
    pub(crate) alarms: BTreeSet<Alarm>,
    /// Over the bytes of every change there ever was.
    pub(crate) history_digest: Digest,
    /// Over everything else that ever changed.
    pub(crate) other_digest: Digest,
    /// How far dropping has come: this replica's own, and no part of the replicated state.
    pub(crate) tidying: Tidying,
    /// Of this replica alone, like the last.
    pub(crate) applied_counts: AppliedCounts,
}

/// Operations that were applied, each by itself or as a part of a transaction. etcd counts alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppliedCounts {
    /// Puts.
    pub puts: u64,
    /// Deletions of a key or a range, whether there was something to delete or not.
    pub deletes: u64,
    /// Transactions of more than one operation.
    pub transactions: u64,
}

impl Keyspace {
    /// The main revision of the last write; 1 before the first.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The compaction mark: reads below it fail. 0 before the first compaction.
    #[must_use]
    pub fn compact_revision(&self) -> i64 {
        self.compact_revision
    }

    /// How many keys live now.
    #[must_use]
    pub fn live_keys(&self) -> u64 {
        self.index.live_keys()
    }

    /// The encoded bytes of the kept history: what the items of an image add up to.
    #[must_use]
    pub fn history_bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// The memory that holds the kept history, in bytes, without the index: at most twice [`Keyspace::history_bytes`] and
    /// one chunk of 256 KiB.
    #[must_use]
    pub fn history_memory_bytes(&self) -> u64 {
        self.log.chunk_bytes()
    }

    /// How many keys the index names: those that live, and those with a change that is still kept.
    #[must_use]
    pub fn indexed_keys(&self) -> u64 {
        self.index.len()
    }

    /// Change `number`, counted from 0 in order of revision; nothing if it was dropped or has not happened.
    #[must_use]
    pub fn change(&self, number: u64) -> Option<Change> {
        self.log.get(number)
    }

    /// A number such that every change below it belongs to main revisions up to and with `main`, and every other change to
    /// later ones: with [`Keyspace::change`], a cursor into history that stays valid for ever.
    #[must_use]
    pub fn first_change_after(&self, main: i64) -> u64 {
        self.log.count_through(main)
    }

    /// The number of the first change from `number` on that was not dropped; the next change's if there is none. Holes
    /// cost nothing.
    #[must_use]
    pub fn next_kept_change(&self, number: u64) -> u64 {
        self.log.from(number).next().map_or(self.log.len(), |(number, _)| number)
    }

    /// How many of these items still exist. Costs a step for every few hundred items.
    #[must_use]
    pub fn live_items(&self, numbers: std::ops::Range<u64>) -> u64 {
        self.log.count_in(numbers)
    }

    /// A lease, if there is one with this id.
    #[must_use]
    pub fn lease(&self, id: i64) -> Option<&Lease> {
        self.leases.get(id)
    }

    /// All leases, in ascending order of id.
    pub fn leases(&self) -> impl Iterator<Item = (i64, &Lease)> {
        self.leases.iter()
    }

    /// All alarms that are raised, in ascending order.
    pub fn alarms(&self) -> impl Iterator<Item = Alarm> {
        self.alarms.iter().copied()
    }

    /// Whether what makes the state grow is refused for want of space: [`Request::grows`] says what that is.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        self.alarms.iter().any(|alarm| alarm.kind == AlarmKind::NoSpace)
    }

    /// How many leases there are.
    #[must_use]
    pub fn lease_count(&self) -> u64 {
        self.leases.len() as u64
    }

    /// What was applied here since this state was made or opened. No part of the replicated state.
    #[must_use]
    pub fn applied_counts(&self) -> AppliedCounts {
        self.applied_counts
    }

    /// Adds one change to the log, the index and the digest.
    pub(crate) fn record(&mut self, change: &ChangeView<'_>) {
        self.index.record(change.key, self.log.len(), change.put.is_none());
        self.append(change);
    }

    /// Adds a change to the log and the digest that the index has already.
    pub(crate) fn append(&mut self, change: &ChangeView<'_>) {
        let item = self.log.append(change.encoded_bytes_at_most(), |out| change.encode(out));
        self.history_digest.absorb(item);
    }

    /// Takes what is no change of a key into the digest.
    pub(crate) fn note(&mut self, request: &Request, place: LogPlace) {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        place.encode(&mut bytes);
        self.other_digest.absorb(&bytes);
    }

    /// Answers a request that stands at this place of the log, as [`StateMachine::apply`] does.
    pub fn apply_request(&mut self, place: LogPlace, request: &Request) -> Reply {
        self.try_apply(place, request).unwrap_or_else(Reply::Error)
    }

    fn try_apply(&mut self, place: LogPlace, request: &Request) -> Result<Reply, KeyspaceError> {
        request.check()?;
        self.check_alarms(request)?;
        match request {
            Request::Put(put) => self.put(put),
            Request::DeleteRange(delete) => Ok(self.delete_range(delete)),
            Request::Txn(txn) => self.transact(txn),
            Request::Compact { revision } => self.compact(*revision, place),
            Request::LeaseGrant { id, ttl_seconds } => self.grant_lease(*id, *ttl_seconds, place),
            Request::LeaseRevoke { id } => self.revoke_lease(*id, place),
            Request::LeaseExpire { id, incarnation, renewal } => {
                Ok(self.expire_lease(*id, *incarnation, *renewal, place))
            }
            Request::LeaseCheckpoint(checkpoints) => Ok(self.checkpoint_leases(checkpoints, place)),
            Request::Alarm(alarm) => Ok(self.change_alarm(*alarm, place)),
        }
    }

    fn try_query(&self, query: &Query) -> Result<Reply, KeyspaceError> {
        match query {
            Query::Range(request) => self.checked_range(request),
            Query::Txn(txn) => self.read_transaction(txn),
            Query::Revision => Ok(Reply::Revision { revision: self.revision }),
            Query::Leases => {
                Ok(Reply::Leases { revision: self.revision, ids: self.leases.iter().map(|(id, _)| id).collect() })
            }
            Query::LeaseKeys { id } => self.lease_keys(*id),
            Query::HashKv { revision } => self.hash_kv(*revision),
            Query::Alarms => Ok(Reply::Alarms { revision: self.revision, alarms: self.alarms().collect() }),
            Query::Tidied { revision } => Ok(Reply::Tidied { done: self.is_tidied(*revision) }),
        }
    }
}

impl PartialEq for Keyspace {
    fn eq(&self, other: &Keyspace) -> bool {
        self.head() == other.head() && self.needed_changes().eq(other.needed_changes())
    }
}

impl Eq for Keyspace {}

impl fmt::Debug for Keyspace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Keyspace")
            .field("revision", &self.revision)
            .field("compact_revision", &self.compact_revision)
            .field("changes", &self.log.len())
            .field("live_keys", &self.index.live_keys())
            .field("leases", &self.leases.len())
            .field("alarms", &self.alarms)
            .field("digest", &format_args!("{:016x}", self.digest()))
            .finish_non_exhaustive()
    }
}

impl StateMachine for Keyspace {
    type Query = Query;
    type Reply = Reply;
    type Duty = KeyspaceDuty;

    const KEPT_REPLIES: Option<KeptReplies<Reply>> = Some(KeptReplies {
        encode: encode_to_bytes,
        decode: decode_exact,
        opened: |client, window| Reply::SessionOpened { client, window },
        closed: || Reply::SessionClosed,
    });

    fn empty() -> Keyspace {
        Keyspace {
            revision: FIRST_REVISION,
            compact_revision: 0,
            log: ChangeLog::default(),
            index: KeyIndex::default(),
            leases: LeaseTable::default(),
            alarms: BTreeSet::new(),
            history_digest: Digest::default(),
            other_digest: Digest::default(),
            tidying: Tidying::default(),
            applied_counts: AppliedCounts::default(),
        }
    }

    fn apply(&mut self, context: &ApplyContext, payload: &Bytes) -> Reply {
        match decode_exact(payload.clone()) {
            Ok(request) => self.apply_request(LogPlace { slot: context.slot, index: context.index }, &request),
            Err(why) => Reply::Error(KeyspaceError::Malformed { why }),
        }
    }

    fn query(&self, query: &Query) -> Reply {
        self.try_query(query).unwrap_or_else(Reply::Error)
    }

    fn digest(&self) -> u64 {
        self.history_digest.value().rotate_left(1) ^ self.other_digest.value()
    }

    fn head(&self) -> Bytes {
        image::encode_head(self)
    }

    fn item_count(&self) -> u64 {
        self.log.len()
    }

    fn item(&self, number: u64) -> Option<Bytes> {
        self.log.item(number)
    }

    fn live_items(&self, numbers: std::ops::Range<u64>) -> u64 {
        Keyspace::live_items(self, numbers)
    }

    fn restore(head: Bytes, items: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Keyspace, RestoreError> {
        image::restore(head, items)
    }

    fn tidy(&mut self) -> bool {
        self.tidy_slice(SLICE_CHANGES)
    }

    /// etcd's NOSPACE alarm of that member.
    fn low_space_command(&self, node: NodeId) -> Option<Bytes> {
        let alarm = Alarm { kind: AlarmKind::NoSpace, member: node.0 };
        let request = Request::Alarm(AlarmRequest { action: AlarmAction::Activate, alarm });
        (!self.alarms.contains(&alarm)).then(|| encode_to_bytes(&request))
    }
}
