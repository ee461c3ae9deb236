//! Settings.

use quorate_protocol::OpenError;
use std::time::Duration;

/// The settings of one replica. Members may differ in them without danger.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// T: a backup that hears nothing of its primary for T to 2T changes views; a view that does not begin within that time is
    /// given up. The time grows by itself with every turn of all voters that was in vain, up to 3 T. At least ten times a round trip
    /// and a flush.
    pub view_timeout: Duration,
    /// How often a primary shows that it lives, and a question without an answer is asked again. At most a tenth of `view_timeout`.
    pub heartbeat_interval: Duration,
    /// How often a backup asks again for reads that got no answer.
    pub read_retry_interval: Duration,
    /// About how many bytes of entries go into one prepare; a single greater entry still travels.
    pub prepare_bytes: u64,
    /// How many entries go into one prepare.
    pub prepare_entries: usize,
    /// How many prepares may be unanswered per peer.
    pub window_messages: usize,
    /// Proposals are refused while more bytes than this are in the primary's log and not yet decided there. A view change carries
    /// about as much from every member.
    pub undecided_bytes: u64,
    /// A replica that lacks more than about this much gets a snapshot; less travels in one message.
    pub state_bytes: u64,
    /// How many reads may wait at once.
    pub waiting_reads: usize,
    /// How many rounds may be under way for reads at once; what comes then waits for the next.
    pub read_rounds: usize,
    /// Compact once this many entries are droppable that everybody has.
    pub compact_after_entries: u64,
    /// How many of those to keep all the same.
    pub compact_keep_entries: u64,
    /// For members that lag behind, keep at most about this many bytes of entries.
    pub keep_log_bytes: u64,
    /// The same, counted in entries. Reaching either limit drops entries.
    pub keep_log_entries: u64,
    /// After a snapshot failed to get to a peer, so many heartbeats pass before another is sent there.
    pub snapshot_retry_heartbeats: u32,
    /// Who leaves or begins an epoch tells those who must know for so many heartbeats at most.
    pub farewell_heartbeats: u32,
}

impl Default for Config {
    /// For one site: a round trip and a flush within 15 ms.
    fn default() -> Config {
        Config {
            view_timeout: Duration::from_millis(150),
            heartbeat_interval: Duration::from_millis(15),
            read_retry_interval: Duration::from_millis(75),
            prepare_bytes: 1 << 20,
            prepare_entries: 4096,
            window_messages: 256,
            undecided_bytes: 4 << 20,
            state_bytes: 8 << 20,
            waiting_reads: 4096,
            read_rounds: 256,
            compact_after_entries: 8192,
            compact_keep_entries: 16,
            keep_log_bytes: 64 << 20,
            keep_log_entries: 100_000,
            snapshot_retry_heartbeats: 10,
            farewell_heartbeats: 100,
        }
    }
}

impl Config {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// [`OpenError::Settings`] naming the first that does not.
    pub fn validate(&self) -> Result<(), OpenError> {
        let complaint = |why: &str| Err(OpenError::Settings { why: why.to_owned() });
        if self.heartbeat_interval.is_zero() {
            return complaint("heartbeat_interval must be more than nothing");
        }
        if self.heartbeat_interval.checked_mul(10).is_none_or(|ten| ten > self.view_timeout) {
            return complaint("heartbeat_interval must be at most a tenth of view_timeout");
        }
        if self.view_timeout.checked_mul(64).is_none() {
            return complaint("view_timeout is too long");
        }
        if self.read_retry_interval.is_zero() {
            return complaint("read_retry_interval must be more than nothing");
        }
        let at_least_one = [
            (self.prepare_bytes, "prepare_bytes must be at least 1"),
            (self.prepare_entries as u64, "prepare_entries must be at least 1"),
            (self.window_messages as u64, "window_messages must be at least 1"),
            (self.undecided_bytes, "undecided_bytes must be at least 1"),
            (self.state_bytes, "state_bytes must be at least 1"),
            (self.waiting_reads as u64, "waiting_reads must be at least 1"),
            (self.read_rounds as u64, "read_rounds must be at least 1"),
            (self.compact_after_entries, "compact_after_entries must be at least 1"),
            (self.keep_log_bytes, "keep_log_bytes must be at least 1"),
            (self.keep_log_entries, "keep_log_entries must be at least 1"),
            (u64::from(self.snapshot_retry_heartbeats), "snapshot_retry_heartbeats must be at least 1"),
            (u64::from(self.farewell_heartbeats), "farewell_heartbeats must be at least 1"),
        ];
        match at_least_one.into_iter().find(|(value, _)| *value == 0) {
            Some((_, why)) => complaint(why),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense_and_what_does_not_is_named() {
        assert_eq!(Config::default().validate(), Ok(()));
        let slow = Config { heartbeat_interval: Duration::from_millis(16), ..Config::default() };
        let none = Config { window_messages: 0, ..Config::default() };
        for (config, name) in [(slow, "heartbeat_interval"), (none, "window_messages")] {
            let OpenError::Settings { why } = config.validate().unwrap_err() else { panic!("another error") };
            assert!(why.contains(name), "{why}");
        }
    }
}
