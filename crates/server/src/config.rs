//! Limits and times of the front, all with defaults that suit a small cluster.

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
    /// Requests being served at one time over all connections, health checks not counted; one more is answered
    /// `too many requests`. Together with `max_request_bytes` it bounds the memory that requests can take.
    pub max_requests_in_flight: usize,
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
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            max_request_bytes: 1536 * 1024,
            max_requests_in_flight: 20_000,
            max_connections: 10_000,
            max_concurrent_streams: 20_000,
            request_timeout_ms: 7_000,
            keepalive_interval_ms: 2 * 60 * 60 * 1_000,
            keepalive_timeout_ms: 20_000,
            first_byte_timeout_ms: 30_000,
            shutdown_grace_ms: 5_000,
            health_poll_interval_ms: 250,
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
    /// Refuses settings with which nothing could be served.
    ///
    /// # Errors
    /// [`ConfigError::Zero`] names the first setting that is 0; only `shutdown_grace_ms` may be.
    pub fn check(&self) -> Result<(), ConfigError> {
        let settings = [
            ("max_request_bytes", self.max_request_bytes == 0),
            ("max_requests_in_flight", self.max_requests_in_flight == 0),
            ("max_connections", self.max_connections == 0),
            ("max_concurrent_streams", self.max_concurrent_streams == 0),
            ("request_timeout_ms", self.request_timeout_ms == 0),
            ("keepalive_interval_ms", self.keepalive_interval_ms == 0),
            ("keepalive_timeout_ms", self.keepalive_timeout_ms == 0),
            ("first_byte_timeout_ms", self.first_byte_timeout_ms == 0),
            ("health_poll_interval_ms", self.health_poll_interval_ms == 0),
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
    fn no_grace_at_shutdown_is_a_choice() {
        let config = ServerConfig { shutdown_grace_ms: 0, ..ServerConfig::default() };
        assert_eq!(config.check(), Ok(()));
    }
}
