//! The settings that bound what clients may use, checked and with their defaults.

use super::settings::Settings;
use anyhow::{Context, Result, bail, ensure};
use quorate_service::{Plan, ServerConfig, WatchLimits};
use std::time::Duration;

/// Every bound a client can meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// As [`Plan::quota_backend_bytes`].
    pub quota_backend_bytes: u64,
    server: ServerConfig,
}

impl Limits {
    /// The front's limits, with what follows from the election timeout.
    pub fn server(self, election_timeout: Duration) -> ServerConfig {
        self.server.with_election_timeout(election_timeout)
    }
}

impl Settings {
    /// Checks the bounds and fills in their defaults.
    pub(super) fn limits(&self) -> Result<Limits> {
        let defaults = ServerConfig::default();
        let watch = WatchLimits {
            progress_interval_ms: progress_interval_ms(self.watch_progress_notify_interval.as_deref())?,
            max_stream_pending_bytes: count(
                "--max-watch-stream-pending-bytes",
                self.max_watch_stream_pending_bytes,
                defaults.watch.max_stream_pending_bytes,
            )?,
            max_pending_bytes: count(
                "--max-watch-pending-bytes",
                self.max_watch_pending_bytes,
                defaults.watch.max_pending_bytes,
            )?,
            max_watchers: count("--max-watchers", self.max_watchers, defaults.watch.max_watchers)?,
        };
        let quota_backend_bytes = match self.quota_backend_bytes {
            None | Some(0) => Plan::DEFAULT_QUOTA_BACKEND_BYTES,
            Some(bytes) => bytes,
        };
        let server = ServerConfig {
            max_request_bytes: count("--max-request-bytes", self.max_request_bytes, defaults.max_request_bytes)?,
            max_txn_ops: count("--max-txn-ops", self.max_txn_ops, defaults.max_txn_ops)?,
            max_requests_in_flight: count(
                "--max-requests-in-flight",
                self.max_requests_in_flight,
                defaults.max_requests_in_flight,
            )?,
            max_request_bytes_in_flight: count(
                "--max-request-bytes-in-flight",
                self.max_request_bytes_in_flight,
                defaults.max_request_bytes_in_flight,
            )?,
            max_streams: count("--max-streams", self.max_streams, defaults.max_streams)?,
            max_concurrent_streams: self.max_concurrent_streams.unwrap_or(defaults.max_concurrent_streams),
            watch,
            ..defaults
        };
        ensure!(server.max_concurrent_streams > 0, "--max-concurrent-streams must be at least 1");
        ensure!(
            server.max_request_bytes <= MAX_REQUEST_BYTES,
            "--max-request-bytes may be at most {MAX_REQUEST_BYTES}"
        );
        Ok(Limits { quota_backend_bytes, server })
    }
}

/// Above this a single request would hold up everything behind it in the journal and on the way to peers.
const MAX_REQUEST_BYTES: usize = 10 << 20;

fn count(flag: &str, given: Option<usize>, default: usize) -> Result<usize> {
    match given {
        Some(0) => bail!("{flag} must be at least 1"),
        Some(count) => Ok(count),
        None => Ok(default),
    }
}

/// As etcd: a duration such as `10m` or `500ms`, at least 100 ms.
fn progress_interval_ms(given: Option<&str>) -> Result<u64> {
    let Some(text) = given else { return Ok(WatchLimits::default().progress_interval_ms) };
    let interval_ms = duration_ms(text).with_context(|| {
        format!("--watch-progress-notify-interval {text}: a duration such as 10m or 500ms is wanted")
    })?;
    ensure!(interval_ms >= 100, "--watch-progress-notify-interval {text} must be at least 100ms");
    Ok(interval_ms)
}

/// A duration as Go writes it: whole numbers with the units h, m, s and ms, one after the other.
fn duration_ms(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total_ms = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|character: char| character.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total_ms = total_ms.checked_add(number.parse::<u64>().ok()?.checked_mul(unit_ms)?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(total_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(duration_ms("10m"), Some(600_000));
        assert_eq!(duration_ms("10m0s"), Some(600_000));
        assert_eq!(duration_ms("1h1m1s1ms"), Some(3_661_001));
        for wrong in ["", "10", "m", "-1s", "1.5s", "1d", "99999999999999999999h"] {
            assert_eq!(duration_ms(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bounds_that_make_no_sense_are_refused_by_name() {
        let refusal = |settings: Settings| settings.limits().unwrap_err().to_string();
        let none = Settings { max_txn_ops: Some(0), ..Settings::default() };
        assert!(refusal(none).contains("--max-txn-ops"));
        let hasty = Settings { watch_progress_notify_interval: Some("99ms".to_owned()), ..Settings::default() };
        assert!(refusal(hasty).contains("at least 100ms"));
        let huge = Settings { max_request_bytes: Some(1 << 30), ..Settings::default() };
        assert!(refusal(huge).contains("--max-request-bytes"));
    }

    #[test]
    fn a_quota_of_zero_is_the_default_as_in_etcd() {
        let settings = Settings { quota_backend_bytes: Some(0), ..Settings::default() };
        assert_eq!(settings.limits().unwrap().quota_backend_bytes, Plan::DEFAULT_QUOTA_BACKEND_BYTES);
    }
}
