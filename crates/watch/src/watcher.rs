//! One watcher: what it wants and how far it is.

use crate::request::Filters;
use crate::response::StreamId;
use crate::watched_keys::WatchedKeys;
use quorate_keyspace::Change;
use quorate_types::Time;
use std::time::Duration;

/// Names a watcher within the hub; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatcherKey(pub(crate) u64);

/// Of constant size, however far behind it is.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    pub(crate) stream: StreamId,
    pub(crate) watch_id: i64,
    pub(crate) keys: WatchedKeys,
    /// Changes of earlier revisions are not wanted: what a future start means.
    pub(crate) start_revision: i64,
    /// Changes with lower numbers were delivered or are not wanted. In a cohort the cohort's position counts as well,
    /// and the greater of the two holds.
    pub(crate) cursor: u64,
    pub(crate) prev_kv: bool,
    pub(crate) filters: Filters,
    pub(crate) fragment: bool,
    pub(crate) progress: Option<ProgressNotify>,
    pub(crate) place: Place,
    /// When it last got events, as a count of deliveries of the hub: who waits longest is served first.
    pub(crate) served: u64,
}

/// Who moves a watcher on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nobody: it is being created or removed.
    Nowhere,
    /// The cohort of this number.
    Cohort(usize),
    /// It will join the cohort of this number, which has already passed its cursor, on that cohort's next way.
    Waiting(usize),
    /// It alone, in order of this number of arrival: its next revision has too many changes to be gathered for many.
    Alone(u64),
    /// Its stream, once that has room, in order of this number: when it was last served.
    Parked(u64),
}

/// The watcher's own clock for telling progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgressNotify {
    pub(crate) interval: Duration,
    pub(crate) due: Time,
    /// No events since the last time it was due.
    pub(crate) idle: bool,
}

impl Watcher {
    /// Whether it wants change `number`, whose key is known to be one of its own.
    pub(crate) fn wants(&self, number: u64, change: &Change) -> bool {
        self.cursor <= number && self.start_revision <= change.revision.main && self.filters.pass(change.is_delete())
    }
}
