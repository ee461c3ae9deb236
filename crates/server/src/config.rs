//! Limits and times of the front, all with defaults that suit a small cluster.

use std::time::Duration;

use thiserror::Error;

/// The etcd version clients are told. They switch features by it; it names the etcd whose behaviour the front follows.
pub const ETCD_VERSION: &str = "3.5.21";

/// The etcd cluster version clients are told.
pub const CLUSTER_VERSION: &str = "3.5.0";

/// Our own version, for people.
pub const QUORATE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a gRPC message may be longer than the largest request, as in etcd.
const MESSAGE_OVERHEAD_BYTES: usize = 512 * 1024;

/// Limits and times of one front. Every bound shows in `/metrics` beside what is used of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Longest write request in encoded bytes; a longer one is answered `request is too large`. etcd's
    /// `--max-request-bytes`, with its default of 1.5 MiB.
    pub max_request_bytes: usize,
    /// Operations on one level of a transaction, nested ones counted in; one more is answered `too many operations in txn
    /// request`. etcd's `--max-txn-ops`, with its default.
    pub max_txn_ops: usize,
    /// Requests being served at one time over all connections, health checks not counted; one more is answered
    /// `too many requests`.
    pub max_requests_in_flight: usize,
    /// The bytes of these requests together, from their first byte to their answer; a request that goes above is answered `too
    /// many requests`. One request alone is always let in.
    pub max_request_bytes_in_flight: usize,
    /// Open response streams (watch, keep-alive, observe, snapshot, range stream) over all connections; one more is answered
    /// `too many requests`.
    pub max_streams: usize,
    /// Open client connections; further ones wait in the listen queue.
    pub max_connections: usize,
    /// Streams (requests) in flight on one connection; the client queues further ones.
    pub max_concurrent_streams: u32,
    /// Longest wait for the backend, in milliseconds. After it a write's outcome is unknown.
    pub request_timeout_ms: u64,
    /// An idle HTTP/2 connection is pinged this often, in milliseconds.
    pub keepalive_interval_ms: u64,
    /// A connection whose ping goes unanswered this long, in milliseconds, is closed.
    pub keepalive_timeout_ms: u64,
    /// How long a new connection may take to send its first byte, in milliseconds.
    pub first_byte_timeout_ms: u64,
    /// On shutdown, how long requests in flight may take to end, in milliseconds; the rest are cut off.
    pub shutdown_grace_ms: u64,
    /// How often a health watch looks at the backend, in milliseconds.
    pub health_poll_interval_ms: u64,
    /// A lease asked for with a shorter time to live, in seconds, gets this one. See [`ServerConfig::with_election_timeout`].
    pub min_lease_ttl_seconds: i64,
    /// After so many milliseconds without a leader, streams of clients that require one are ended. See
    /// [`ServerConfig::with_election_timeout`].
    pub no_leader_timeout_ms: u64,
    /// Bounds and times of watches.
    pub watch: WatchLimits,
}

/// Bounds and times of watches. Events that find no room wait in the store and not in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// How often an idle watcher that asked for it is told the revision, in milliseconds. etcd's
    /// `--watch-progress-notify-interval`.
    pub progress_interval_ms: u64,
    /// Encoded responses that may wait for the client of one stream, in bytes. A single larger response waits alone.
    pub max_stream_pending_bytes: usize,
    /// The same over all streams. A stream with nothing waiting may always have one response.
    pub max_pending_bytes: usize,
    /// Watchers over all streams; one more is refused.
    pub max_watchers: usize,
}

impl Default for WatchLimits {
    fn default() -> Self {
        Self {
            progress_interval_ms: 10 * 60 * 1_000,
            max_stream_pending_bytes: 1024 * 1024,
            max_pending_bytes: 256 * 1024 * 1024,
            max_watchers: 1_000_000,
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            max_request_bytes: 1536 * 1024,
            max_txn_ops: 128,
            max_requests_in_flight: 20_000,
            max_request_bytes_in_flight: 256 * 1024 * 1024,
            max_streams: 20_000,
            max_connections: 10_000,
            max_concurrent_streams: 20_000,
            request_timeout_ms: 7_000,
            keepalive_interval_ms: 2 * 60 * 60 * 1_000,
            keepalive_timeout_ms: 20_000,
            first_byte_timeout_ms: 30_000,
            shutdown_grace_ms: 5_000,
            health_poll_interval_ms: 250,
            min_lease_ttl_seconds: 2,
            no_leader_timeout_ms: 3_000,
            watch: WatchLimits::default(),
        }
    }
}

/// A setting with which nothing could be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A limit or time that must be at least 1 is 0.
    #[error("server setting {0} must not be 0")]
    Zero(&'static str),
}

impl ServerConfig {
    /// What follows from the election timeout, as in etcd: no lease is shorter than one and a half of it, rounded up to
    /// seconds, so that it outlives an election; and a leader missed for three of it is lost.
    #[must_use]
    pub fn with_election_timeout(self, election_timeout: Duration) -> Self {
        let election_timeout_ms = u64::try_from(election_timeout.as_millis()).unwrap_or(u64::MAX);
        let min_lease_ttl_seconds = election_timeout_ms.saturating_mul(3).div_ceil(2_000);
        Self {
            min_lease_ttl_seconds: i64::try_from(min_lease_ttl_seconds).unwrap_or(i64::MAX),
            no_leader_timeout_ms: election_timeout_ms.saturating_mul(3),
            ..self
        }
    }

    /// Refuses settings with which nothing could be served.
    ///
    /// # Errors
    /// [`ConfigError::Zero`] names the first setting that is 0; only `shutdown_grace_ms` may be.
    pub fn check(&self) -> Result<(), ConfigError> {
        let settings = [
            ("max_request_bytes", self.max_request_bytes == 0),
            ("max_txn_ops", self.max_txn_ops == 0),
            ("max_requests_in_flight", self.max_requests_in_flight == 0),
            ("max_request_bytes_in_flight", self.max_request_bytes_in_flight == 0),
            ("max_streams", self.max_streams == 0),
            ("max_connections", self.max_connections == 0),
            ("max_concurrent_streams", self.max_concurrent_streams == 0),
            ("request_timeout_ms", self.request_timeout_ms == 0),
            ("keepalive_interval_ms", self.keepalive_interval_ms == 0),
            ("keepalive_timeout_ms", self.keepalive_timeout_ms == 0),
            ("first_byte_timeout_ms", self.first_byte_timeout_ms == 0),
            ("health_poll_interval_ms", self.health_poll_interval_ms == 0),
            ("no_leader_timeout_ms", self.no_leader_timeout_ms == 0),
            ("watch.progress_interval_ms", self.watch.progress_interval_ms == 0),
            ("watch.max_stream_pending_bytes", self.watch.max_stream_pending_bytes == 0),
            ("watch.max_pending_bytes", self.watch.max_pending_bytes == 0),
            ("watch.max_watchers", self.watch.max_watchers == 0),
        ];
        match settings.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(()),
        }
    }

    /// Longest gRPC message accepted, in bytes: the largest request and etcd's allowance over it. Between the two
    /// limits a request is refused by name, above this one by the transport.
    pub(crate) fn max_message_bytes(&self) -> usize {
        self.max_request_bytes.saturating_add(MESSAGE_OVERHEAD_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_can_be_served_with() {
        assert_eq!(ServerConfig::default().check(), Ok(()));
    }

    #[test]
    fn a_zero_limit_is_refused_by_name() {
        let config = ServerConfig { max_connections: 0, ..ServerConfig::default() };
        assert_eq!(config.check(), Err(ConfigError::Zero("max_connections")));
    }

    #[test]
    fn the_election_timeout_bounds_leases_and_patience_as_in_etcd() {
        let at = |ms| ServerConfig::default().with_election_timeout(Duration::from_millis(ms));
        assert_eq!((at(1000).min_lease_ttl_seconds, at(1000).no_leader_timeout_ms), (2, 3000));
        assert_eq!(at(500).min_lease_ttl_seconds, 1);
        assert_eq!(at(2000).min_lease_ttl_seconds, 3);
    }

    #[test]
    fn no_grace_at_shutdown_is_a_choice() {
        let config = ServerConfig { shutdown_grace_ms: 0, ..ServerConfig::default() };
        assert_eq!(config.check(), Ok(()));
    }
}
