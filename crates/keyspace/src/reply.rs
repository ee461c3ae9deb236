//! What commands and queries answer.

use crate::alarm::Alarm;
use crate::error::KeyspaceError;
use crate::lease_request::{LeaseCheckpoint, LogPlace};
use bytes::Bytes;
use quorate_machine::ClientId;

/// etcd's `mvccpb.KeyValue`: a live key as of some revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty if it was not asked for.
    pub value: Bytes,
    /// The write that created it.
    pub create_revision: i64,
    /// The write that last put it.
    pub mod_revision: i64,
    /// Puts since it was created, that one included.
    pub version: i64,
    /// The lease it is attached to; 0 for none.
    pub lease: i64,
}

/// What commands and queries answer. Keys and values may share the keyspace's memory, so a reply that is kept for long
/// keeps the chunk of history alive that it points into (256 KiB at most, or one larger pair).
///
/// `revision` is always what etcd puts into the answer's header: a write's own main revision, else the store's at that
/// moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The put was done.
    Put {
        /// Its main revision.
        revision: i64,
        /// The pair before, if asked for and there was one.
        prev_kv: Option<KeyValue>,
    },
    /// The delete was done.
    Delete {
        /// Its main revision; the store's current one if it deleted nothing.
        revision: i64,
        /// How many keys it deleted.
        deleted: i64,
        /// The pairs before, in order of key, if asked for.
        prev_kvs: Vec<KeyValue>,
    },
    /// The pairs of a range.
    Range {
        /// The store's current revision, whatever revision was asked for.
        revision: i64,
        /// The pairs, filtered, sorted and cut.
        kvs: Vec<KeyValue>,
        /// The limit cut some off.
        more: bool,
        /// Keys in the range at the asked revision, before filters and limit.
        count: i64,
    },
    /// The transaction was done, whichever branch it took.
    Txn {
        /// Its main revision; the store's current one if it wrote nothing.
        revision: i64,
        /// All compares held, and `success` was done; else `failure`.
        succeeded: bool,
        /// One for each operation of that branch, in order: [`Reply::Range`], [`Reply::Put`], [`Reply::Delete`] or
        /// [`Reply::Txn`]. The revisions in them are those in force behind the operation.
        responses: Vec<Reply>,
    },
    /// The store's revision.
    Revision {
        /// The main revision of the last write.
        revision: i64,
    },
    /// The compaction was noted: revisions below can no longer be read. Their space is freed afterwards, in slices.
    Compacted {
        /// The store's revision.
        revision: i64,
    },
    /// There is this lease now.
    LeaseGranted {
        /// The store's revision.
        revision: i64,
        /// Its id.
        id: i64,
        /// Its time to live, in seconds.
        ttl_seconds: i64,
    },
    /// The lease is gone, and its keys with it.
    LeaseRevoked {
        /// The main revision of the deletes; the store's current one if it had no keys.
        revision: i64,
        /// The lease.
        id: i64,
    },
    /// The leader's word that a lease's time is over was taken.
    LeaseExpired {
        /// As in [`Reply::LeaseRevoked`].
        revision: i64,
        /// The lease.
        id: i64,
        /// Which grant of that id was meant.
        incarnation: LogPlace,
        /// It ended by this; else that grant was already gone, and nothing has changed.
        expired: bool,
    },
    /// The checkpoints were taken, as far as they were still of use.
    LeaseCheckpointed {
        /// The store's revision.
        revision: i64,
        /// As they were proposed.
        checkpoints: Vec<LeaseCheckpoint>,
    },
    /// All leases there are.
    Leases {
        /// The store's revision.
        revision: i64,
        /// In ascending order.
        ids: Vec<i64>,
    },
    /// What is attached to a lease.
    LeaseKeys {
        /// The store's revision.
        revision: i64,
        /// The lease.
        id: i64,
        /// The time to live it was granted, in seconds.
        granted_ttl_seconds: i64,
        /// The attached keys in ascending order.
        keys: Vec<Bytes>,
    },
    /// A hash of what is readable.
    HashKv {
        /// The store's revision.
        revision: i64,
        /// CRC-32C over every readable change up to `hash_revision`: equal on all members.
        hash: u32,
        /// The compaction mark; 0 if there never was a compaction, where etcd answers -1.
        compact_revision: i64,
        /// The revision asked for, or the store's.
        hash_revision: i64,
    },
    /// Alarms: all that are raised; or, for an alarm request, those that it raised or cleared.
    Alarms {
        /// The store's revision.
        revision: i64,
        /// In ascending order of kind and member.
        alarms: Vec<Alarm>,
    },
    /// Whether a compaction's space is freed here.
    Tidied {
        /// It is.
        done: bool,
    },
    /// A client has a session.
    SessionOpened {
        /// Its name.
        client: ClientId,
        /// How far its sequences may run ahead of its acknowledged mark.
        window: u64,
    },
    /// A client's session is forgotten.
    SessionClosed,
    /// Refused; nothing has changed.
    Error(KeyspaceError),
}
