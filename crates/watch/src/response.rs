//! What a stream is told, and where it goes.

use bytes::Bytes;
use quorate_keyspace::{Change, ChangeKind, KeyValue};
use std::borrow::Cow;
use std::sync::Arc;

/// The watch id of answers that belong to no watcher: refusals, and the progress of a whole stream.
pub const NO_WATCH: i64 = -1;

/// An upper bound of what a pair's numbers and an event's envelope add to its bytes in protobuf.
const PAIR_OVERHEAD_BYTES: usize = 64;
const RESPONSE_OVERHEAD_BYTES: usize = 64;

/// Identifies a stream of one hub; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// One answer on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchResponse {
    /// For the header. With events: the last revision that was looked at for them, so that every wanted event up to it
    /// has been delivered.
    pub revision: i64,
    /// Which watcher of the stream; [`NO_WATCH`] for none.
    pub watch_id: i64,
    /// What happened.
    pub body: ResponseBody,
}

/// What a response says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// The watcher is there; its events follow. etcd: `created`.
    Created,
    /// There is no watcher. etcd: `created` and `canceled` with this reason.
    Refused {
        /// In etcd's words.
        reason: Cow<'static, str>,
    },
    /// The watcher is gone because the client wished so. etcd: `canceled`.
    Canceled,
    /// The watcher is gone because events that it had not seen may be gone. etcd: `canceled` with `compact_revision`.
    Compacted {
        /// The revision the history is compacted at.
        compact_revision: i64,
    },
    /// All wanted events up to the header's revision have been delivered. etcd: a response without events.
    Progress,
    /// Events in order of revision, all those of a revision together.
    Events {
        /// Not empty. Watchers that want the same events share them.
        events: Arc<[WatchEvent]>,
        /// More events that belong to this response follow in the next one on the stream.
        fragment: bool,
    },
}

impl WatchResponse {
    /// etcd's field: the answer to a create request.
    #[must_use]
    pub fn created(&self) -> bool {
        matches!(self.body, ResponseBody::Created | ResponseBody::Refused { .. })
    }

    /// etcd's field: there is no such watcher any more, or never was.
    #[must_use]
    pub fn canceled(&self) -> bool {
        matches!(self.body, ResponseBody::Refused { .. } | ResponseBody::Canceled | ResponseBody::Compacted { .. })
    }

    /// etcd's field: the revision the history is compacted at, if that is why; else 0.
    #[must_use]
    pub fn compact_revision(&self) -> i64 {
        if let ResponseBody::Compacted { compact_revision } = self.body { compact_revision } else { 0 }
    }

    /// etcd's field: why there is no watcher; empty where etcd gives no reason.
    #[must_use]
    pub fn cancel_reason(&self) -> &str {
        if let ResponseBody::Refused { reason } = &self.body { reason } else { "" }
    }

    /// etcd's field: the next response on the stream belongs to this one.
    #[must_use]
    pub fn fragment(&self) -> bool {
        matches!(self.body, ResponseBody::Events { fragment: true, .. })
    }

    /// etcd's field.
    #[must_use]
    pub fn events(&self) -> &[WatchEvent] {
        if let ResponseBody::Events { events, .. } = &self.body { events } else { &[] }
    }

    /// Not less than its size in protobuf, header included; what a [`Sink`] may count.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.body {
            ResponseBody::Events { events, .. } => {
                RESPONSE_OVERHEAD_BYTES + events.iter().map(WatchEvent::bytes).sum::<usize>()
            }
            ResponseBody::Refused { reason } => RESPONSE_OVERHEAD_BYTES + reason.len(),
            _ => RESPONSE_OVERHEAD_BYTES,
        }
    }
}

/// One put or delete. Its bytes are shared with the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// What the key is now.
    pub kind: EventKind,
    /// What it was before: only if asked for, and absent for a created key and if that is compacted.
    pub prev_kv: Option<KeyValue>,
}

/// What happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was written.
    Put(KeyValue),
    /// It was deleted. etcd's pair then has only these two fields.
    Delete {
        /// The key.
        key: Bytes,
        /// The revision of the delete.
        mod_revision: i64,
    },
}

impl WatchEvent {
    pub(crate) fn new(change: Change, prev_kv: Option<KeyValue>) -> WatchEvent {
        let mod_revision = change.revision.main;
        let kind = match change.kind {
            ChangeKind::Delete => EventKind::Delete { key: change.key, mod_revision },
            ChangeKind::Put { create_revision, version, lease, value } => {
                EventKind::Put(KeyValue { key: change.key, value, create_revision, mod_revision, version, lease })
            }
        };
        WatchEvent { kind, prev_kv }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match &self.kind {
            EventKind::Put(pair) => &pair.key,
            EventKind::Delete { key, .. } => key,
        }
    }

    /// The revision that made it.
    #[must_use]
    pub fn mod_revision(&self) -> i64 {
        match &self.kind {
            EventKind::Put(pair) => pair.mod_revision,
            EventKind::Delete { mod_revision, .. } => *mod_revision,
        }
    }

    /// Not less than its size in protobuf.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let pair_bytes = |pair: &KeyValue| PAIR_OVERHEAD_BYTES + pair.key.len() + pair.value.len();
        let now_bytes = match &self.kind {
            EventKind::Put(pair) => pair_bytes(pair),
            EventKind::Delete { key, .. } => PAIR_OVERHEAD_BYTES + key.len(),
        };
        now_bytes + self.prev_kv.as_ref().map_or(0, pair_bytes)
    }
}

/// Where responses go: the outgoing queues of the streams, which the driver bounds and drains.
pub trait Sink {
    /// How many more bytes the stream's queue takes now; 0 if it is full. A response is delivered whole as soon as this
    /// is not 0, so a queue may exceed its bound by one response.
    fn room(&self, stream: StreamId) -> usize;

    /// Appends a response to the stream's queue. Answers to requests and cancellations come whatever the room: the
    /// driver bounds the former by not reading requests while the queue is full, the latter come once per watcher.
    fn deliver(&mut self, stream: StreamId, response: WatchResponse);
}
