//! What a watcher is asked to be.

use bytes::Bytes;
use std::time::Duration;

/// etcd's `WatchCreateRequest`. A default one with a key watches that key from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateWatch {
    /// The first key; empty means the least one there can be.
    pub key: Bytes,
    /// Empty: `key` alone. One zero byte: every key from `key` on. Else: keys from `key` up to but without this one,
    /// which must be greater.
    pub range_end: Bytes,
    /// The first revision whose events are wanted; 0 for all after the present one. A future one is waited for.
    pub start_revision: i64,
    /// Add to each event the pair as it was before.
    pub prev_kv: bool,
    /// The kinds of event that are not wanted.
    pub filters: Filters,
    /// Tell the revision reached whenever the watcher was idle for this long. The caller draws the jitter.
    pub progress_interval: Option<Duration>,
    /// Split responses over the limit between events.
    pub fragment: bool,
    /// The id within the stream; 0 for the next free one.
    pub watch_id: i64,
}

/// Kinds of event to leave out; with both, the watcher is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// etcd's `NOPUT`.
    pub no_put: bool,
    /// etcd's `NODELETE`.
    pub no_delete: bool,
}

impl Filters {
    /// Whether an event of this kind is wanted.
    #[must_use]
    pub fn pass(self, is_delete: bool) -> bool {
        if is_delete { !self.no_delete } else { !self.no_put }
    }
}

/// What bounds the hub's memory and the length of one [`crate::WatchHub::advance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// Steps of work per `advance`, about; a step is one change looked at, one watcher considered or one event
    /// delivered, some tens to hundreds of nanoseconds. One revision is never divided, however many changes it has.
    pub steps_per_advance: u64,
    /// A response of several revisions ends with the revision that reaches this size.
    pub response_bytes: usize,
    /// A watcher with [`CreateWatch::fragment`] gets responses of at most this size, but at least one event each.
    pub fragment_bytes: usize,
    /// Events are delivered once this many are gathered. A revision with more is served to each watcher on its own.
    pub gathered_events: usize,
    /// Ascending. Watchers that are at most this many changes behind catch up together, and those further behind than
    /// the last. Each of these groups gets the same share of the work, so who is little behind does not wait for who is
    /// far behind.
    pub reach_changes: [u64; 3],
}

impl Default for WatchLimits {
    fn default() -> WatchLimits {
        WatchLimits {
            steps_per_advance: 50_000,
            response_bytes: 1 << 20,
            // etcd's request limit and its allowance for the envelope.
            fragment_bytes: (1 << 20) + (1 << 19) + (1 << 19),
            gathered_events: 8192,
            reach_changes: [1 << 10, 1 << 15, 1 << 20],
        }
    }
}
