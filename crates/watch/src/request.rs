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

const DEFAULT_REQUEST_BYTES_MAX: usize = 1536 << 10;
/// etcd's allowance for the envelope of its largest request.
const REQUEST_OVERHEAD_BYTES: usize = 512 << 10;

impl WatchLimits {
    /// The defaults for a server that takes requests of up to `request_bytes_max`: as in etcd, responses are divided at
    /// that size and half a mebibyte.
    #[must_use]
    pub fn for_requests_up_to(request_bytes_max: usize) -> WatchLimits {
        let fragment_bytes = request_bytes_max.saturating_add(REQUEST_OVERHEAD_BYTES);
        WatchLimits { fragment_bytes, ..WatchLimits::default() }
    }
}

/// A [`CreateWatch::progress_interval`] between 90 and 110 percent of the configured one, spread evenly over `drawn`, a
/// random number: else all watchers that came back after an outage would be told their progress at the same moment.
#[must_use]
pub fn spread_progress_interval(configured: Duration, drawn: u64) -> Duration {
    const PARTS: u32 = 1024;
    let part = (drawn % u64::from(PARTS + 1)) as u32;
    let least = configured.saturating_sub(configured / 10);
    least.saturating_add(configured / 5 / PARTS * part)
}

impl Default for WatchLimits {
    fn default() -> WatchLimits {
        WatchLimits {
            steps_per_advance: 50_000,
            response_bytes: 1 << 20,
            fragment_bytes: DEFAULT_REQUEST_BYTES_MAX + REQUEST_OVERHEAD_BYTES,
            gathered_events: 8192,
            reach_changes: [1 << 10, 1 << 15, 1 << 20],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_spread_over_ten_percent_on_both_sides() {
        let configured = Duration::from_secs(600);
        let intervals: Vec<Duration> = (0..=1024).map(|drawn| spread_progress_interval(configured, drawn)).collect();
        let within = Duration::from_millis(1);
        assert_eq!(intervals[0], Duration::from_secs(540));
        assert!(Duration::from_secs(660) - intervals[1024] < within);
        assert!((intervals[512].max(configured) - intervals[512].min(configured)) < within);
        assert!(intervals.is_sorted());
        assert!(spread_progress_interval(Duration::MAX, u64::MAX) >= Duration::MAX / 10 * 9, "no overflow");
        assert_eq!(spread_progress_interval(Duration::ZERO, 7), Duration::ZERO);
    }

    #[test]
    fn the_fragment_limit_of_a_default_server_is_two_mebibytes() {
        assert_eq!(WatchLimits::default(), WatchLimits::for_requests_up_to(3 << 19));
        assert_eq!(WatchLimits::default().fragment_bytes, 2 << 20);
    }
}
