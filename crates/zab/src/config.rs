//! Settings.

use quorate_protocol::OpenError;
use std::time::Duration;

/// The settings of one replica. Members may differ in all of them without danger.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// How often a leader pings, and a follower that got no answer asks again.
    pub tick: Duration,
    /// `initLimit`: within so many ticks a leader gets its epoch, and a follower hears of it.
    pub init_limit_ticks: u32,
    /// `syncLimit`: a leader that hears no quorum, or a follower that hears no leader, for so many ticks looks for another.
    pub sync_limit_ticks: u32,
    /// How long a node whose vote has a quorum waits for a better one, unless all agree.
    pub finalize_wait: Duration,
    /// How long a node that looks for a leader waits before it says so again; doubles each time.
    pub notification_interval: Duration,
    /// Up to this.
    pub notification_interval_most: Duration,
    /// How often a follower asks again for reads that got no answer.
    pub read_retry_interval: Duration,
    /// The last counter of an epoch: behind it the leader resigns for a new one.
    pub counter_most: u32,
    /// So many messages may come early in a connection before it is given up.
    pub held_messages: usize,
    /// How many transactions go into one proposal message.
    pub proposal_entries: usize,
    /// About how many bytes go into one proposal message; a single greater one still travels.
    pub proposal_bytes: u64,
    /// How many transactions may be under way to a follower.
    pub window_entries: u64,
    /// Proposals are refused while the leader has about so many bytes that are not committed; one that is greater still gets its turn.
    pub undecided_bytes: u64,
    /// How many reads may wait at once.
    pub waiting_reads: usize,
    /// How many rounds may be under way for reads at once; what comes then waits for the next.
    pub read_rounds: usize,
    /// Compact once this many transactions are droppable.
    pub compact_after_entries: u64,
    /// How many droppable ones to keep all the same.
    pub compact_keep_entries: u64,
    /// For members that lag behind, keep at most this many; whoever needs more gets a snapshot.
    pub keep_log_entries: u64,
    /// The same, in bytes.
    pub keep_log_bytes: u64,
    /// After a snapshot failed to get to a follower, so many ticks pass before the next try.
    pub snapshot_retry_ticks: u32,
    /// A learner that lacks no more than this can become a voter.
    pub in_sync_entries: u64,
}

impl Default for Config {
    /// For one site: a round trip and a flush within 15 ms. Ordinary servers are content with ticks of 2 s.
    fn default() -> Config {
        Config {
            tick: Duration::from_millis(15),
            init_limit_ticks: 20,
            sync_limit_ticks: 10,
            finalize_wait: Duration::from_millis(20),
            notification_interval: Duration::from_millis(30),
            notification_interval_most: Duration::from_millis(240),
            read_retry_interval: Duration::from_millis(75),
            counter_most: u32::MAX,
            held_messages: 64,
            proposal_entries: 4096,
            proposal_bytes: 1 << 20,
            window_entries: 100_000,
            undecided_bytes: 64 << 20,
            waiting_reads: 4096,
            read_rounds: 256,
            compact_after_entries: 8192,
            compact_keep_entries: 16,
            keep_log_entries: 100_000,
            keep_log_bytes: 64 << 20,
            snapshot_retry_ticks: 10,
            in_sync_entries: 1024,
        }
    }
}

impl Config {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// [`OpenError::Settings`] naming the first that does not.
    pub fn validate(&self) -> Result<(), OpenError> {
        let complaint = |why: String| Err(OpenError::Settings { why });
        let more_than_nothing = [
            (self.tick, "tick"),
            (self.notification_interval, "notification_interval"),
            (self.read_retry_interval, "read_retry_interval"),
        ];
        if let Some((_, name)) = more_than_nothing.into_iter().find(|(value, _)| value.is_zero()) {
            return complaint(format!("{name} must be more than nothing"));
        }
        if self.notification_interval_most < self.notification_interval {
            return complaint("notification_interval_most must not be less than notification_interval".to_owned());
        }
        let limits = [(self.init_limit_ticks, "init_limit_ticks"), (self.sync_limit_ticks, "sync_limit_ticks")];
        for (ticks, name) in limits {
            if ticks < 2 {
                return complaint(format!("{name} must be at least 2"));
            }
            if ticks.checked_mul(2).and_then(|ticks| self.tick.checked_mul(ticks)).is_none() {
                return complaint(format!("{name} is too long"));
            }
        }
        let doubled = [self.notification_interval_most, self.finalize_wait].map(|interval| interval.checked_mul(2));
        if doubled.contains(&None) {
            return complaint("notification_interval_most or finalize_wait is too long".to_owned());
        }
        let at_least_one = [
            (u64::from(self.counter_most), "counter_most"),
            (self.held_messages as u64, "held_messages"),
            (self.proposal_entries as u64, "proposal_entries"),
            (self.proposal_bytes, "proposal_bytes"),
            (self.window_entries, "window_entries"),
            (self.undecided_bytes, "undecided_bytes"),
            (self.waiting_reads as u64, "waiting_reads"),
            (self.read_rounds as u64, "read_rounds"),
            (self.compact_after_entries, "compact_after_entries"),
            (self.keep_log_entries, "keep_log_entries"),
            (self.keep_log_bytes, "keep_log_bytes"),
            (u64::from(self.snapshot_retry_ticks), "snapshot_retry_ticks"),
        ];
        match at_least_one.into_iter().find(|(value, _)| *value == 0) {
            Some((_, name)) => complaint(format!("{name} must be at least 1")),
            None => Ok(()),
        }
    }

    pub(crate) fn init_limit(&self) -> Duration {
        self.tick * self.init_limit_ticks
    }

    pub(crate) fn sync_limit(&self) -> Duration {
        self.tick * self.sync_limit_ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_named() {
        assert_eq!(Config::default().validate(), Ok(()));
        let broken = [
            (Config { tick: Duration::ZERO, ..Config::default() }, "tick"),
            (Config { sync_limit_ticks: 1, ..Config::default() }, "sync_limit_ticks"),
            (Config { counter_most: 0, ..Config::default() }, "counter_most"),
            (Config { notification_interval_most: Duration::ZERO, ..Config::default() }, "notification_interval_most"),
        ];
        for (config, name) in broken {
            let OpenError::Settings { why } = config.validate().unwrap_err() else { panic!("another error") };
            assert!(why.contains(name), "{why}");
        }
    }
}
