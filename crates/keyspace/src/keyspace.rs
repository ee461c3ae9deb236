//! The state: a log of changes and an index into it.

use crate::change::Change;
use crate::change_log::ChangeLog;
use crate::command::{Query, Reply, Request};
use crate::digest::Digest;
use crate::error::KeyspaceError;
use crate::image;
use crate::key_index::KeyIndex;
use crate::revision::FIRST_REVISION;
use bytes::Bytes;
use quorate_machine::{ApplyContext, RestoreError, StateMachine};
use quorate_wire::decode_exact;
use std::fmt;

/// etcd's key space with its whole history.
///
/// Apply costs the encoding of the change and one search in the index; a read of the present costs one search a key;
/// a read of the past also searches the log once for its revision.
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
#[derive(Clone, PartialEq, Eq)]
pub struct Keyspace {
    /// The main revision of the last write.
    pub(crate) revision: i64,
    pub(crate) log: ChangeLog,
    pub(crate) index: KeyIndex,
    /// Over the bytes of every change.
    pub(crate) digest: Digest,
}

impl Keyspace {
    /// The main revision of the last write; 1 before the first.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// How many keys live now.
    #[must_use]
    pub fn live_keys(&self) -> u64 {
        self.index.live_keys()
    }

    /// The encoded bytes of the whole history: what the items of an image add up to.
    #[must_use]
    pub fn history_bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// Change `number`, counted from 0 in order of revision; nothing past the newest.
    #[must_use]
    pub fn change(&self, number: u64) -> Option<Change> {
        self.log.get(number)
    }

    /// The number of the first change after main revision `main`: with [`Keyspace::change`], a cursor into history that
    /// stays valid for ever.
    #[must_use]
    pub fn first_change_after(&self, main: i64) -> u64 {
        if main >= self.revision { self.log.len() } else { self.log.count_through(main) }
    }

    /// Adds one change to the log, the index and the digest.
    pub(crate) fn record(&mut self, change: &Change) {
        let number = self.log.len();
        let item = self.log.append(change);
        self.digest.absorb(&item);
        // A new key is kept as a slice of the log: the change's own is one of a batch that must not stay in memory.
        let kept_key = || Change::decode_key(&item).expect("it was encoded from a change just now");
        self.index.record(&change.key, number, change.is_delete(), kept_key);
    }

    /// Answers a request as [`StateMachine::apply`] does.
    pub fn apply_request(&mut self, request: &Request) -> Reply {
        let result = match request {
            Request::Put(put) => self.put(put),
            Request::DeleteRange(delete) => self.delete_range(delete),
        };
        result.unwrap_or_else(Reply::Error)
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Keyspace")
            .field("revision", &self.revision)
            .field("changes", &self.log.len())
            .field("live_keys", &self.index.live_keys())
            .field("digest", &format_args!("{:016x}", self.digest.value()))
            .finish_non_exhaustive()
    }
}

impl StateMachine for Keyspace {
    type Query = Query;
    type Reply = Reply;
    type Duty = ();

    fn empty() -> Keyspace {
        Keyspace {
            revision: FIRST_REVISION,
            log: ChangeLog::default(),
            index: KeyIndex::default(),
            digest: Digest::default(),
        }
    }

    fn apply(&mut self, _context: &ApplyContext, payload: &Bytes) -> Reply {
        match decode_exact(payload.clone()) {
            Ok(request) => self.apply_request(&request),
            Err(why) => Reply::Error(KeyspaceError::Malformed { why }),
        }
    }

    fn query(&self, query: &Query) -> Reply {
        match query {
            Query::Range(request) => self.range(request).unwrap_or_else(Reply::Error),
            Query::Revision => Reply::Revision { revision: self.revision },
        }
    }

    fn digest(&self) -> u64 {
        self.digest.value()
    }

    fn head(&self) -> Bytes {
        image::encode_head(self)
    }

    fn item_count(&self) -> u64 {
        self.log.len()
    }

    fn item(&self, number: u64) -> Option<Bytes> {
        self.log.item(number).cloned()
    }

    fn restore(head: Bytes, items: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Keyspace, RestoreError> {
        image::restore(head, items)
    }
}
