//! Settings.

use quorate_protocol::{LeaseReads, OpenError};
use quorate_wire::Agreement;
use std::time::Duration;

/// The settings of one replica. Members may differ in them without danger, with one exception: where any member has
/// `lease_reads`, all must have it, and the same `election_timeout`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// T: a follower campaigns after hearing no leader for T to 2T, ignores candidates for T after hearing one, and a
    /// leader steps down when a quorum was silent for T. At least ten times a round trip and a flush.
    pub election_timeout: Duration,
    /// How often a leader shows that it lives. At most a tenth of `election_timeout`.
    pub heartbeat_interval: Duration,
    /// How often a follower asks again for reads that got no answer.
    pub read_retry_interval: Duration,
    /// About how many bytes of entries go into one append; a single greater entry still travels.
    pub append_bytes: u64,
    /// How many entries go into one append.
    pub append_entries: usize,
    /// How many appends may be unanswered per peer. Times `append_bytes`, at least bandwidth times round trip.
    pub window_messages: usize,
    /// How many bytes of entries may be unanswered per peer; one append still travels beyond it.
    pub window_bytes: u64,
    /// Proposals are refused while more bytes than this are in the leader's log and not yet decided there.
    pub undecided_bytes: u64,
    /// How many reads may wait at once.
    pub waiting_reads: usize,
    /// How many rounds may be under way for reads at once; what comes then waits for the next.
    pub read_rounds: usize,
    /// Compact once the log weighs this many bytes and half of it or more is droppable.
    pub compact_after_bytes: u64,
    /// Compact once this many entries are droppable.
    pub compact_after_entries: u64,
    /// How many droppable entries to keep all the same.
    pub compact_keep_entries: u64,
    /// For members that lag behind, keep at most about this many bytes of entries; whoever needs more gets a snapshot.
    pub keep_log_bytes: u64,
    /// The same, counted in entries. Reaching either limit drops entries.
    pub keep_log_entries: u64,
    /// After a snapshot failed to get to a peer, so many heartbeats pass before that peer is asked again what it needs.
    pub snapshot_retry_heartbeats: u32,
    /// A leader whose disk finishes nothing for this long while writes are under way hands over to whoever is furthest; if that
    /// does not help, it steps down when `election_timeout` is over. Less than `election_timeout`; `None`: half of it.
    pub disk_stall_timeout: Option<Duration>,
    /// Who should lead: a leader hands over to a member with a strictly higher priority that keeps up. Members learn of each
    /// other's from messages; all have 0 unless set.
    pub priority: u8,
    /// A leader leads for so many heartbeats before it hands over to a member with a higher priority. A member that did not take
    /// over is left alone for as long, then for twice as long, and so on up to 64 times as long.
    pub tenure_heartbeats: u32,
    /// Whether a leader may answer reads without asking a quorum, as long as its clock says that nobody else can lead yet.
    /// Off (`None`) by default: it rests on what [`LeaseReads::assumption`] says. All members must have the same.
    pub lease_reads: Option<LeaseReads>,
}

impl Default for Config {
    /// For one site: a round trip and a flush within 15 ms.
    fn default() -> Config {
        Config {
            election_timeout: Duration::from_millis(150),
            heartbeat_interval: Duration::from_millis(15),
            read_retry_interval: Duration::from_millis(75),
            append_bytes: 1 << 20,
            append_entries: 4096,
            window_messages: 256,
            window_bytes: 32 << 20,
            undecided_bytes: 64 << 20,
            waiting_reads: 4096,
            read_rounds: 256,
            compact_after_bytes: 16 << 20,
            compact_after_entries: 8192,
            compact_keep_entries: 16,
            keep_log_bytes: 64 << 20,
            keep_log_entries: 100_000,
            snapshot_retry_heartbeats: 10,
            disk_stall_timeout: None,
            priority: 0,
            tenure_heartbeats: 100,
            lease_reads: None,
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
        if self.heartbeat_interval.checked_mul(10).is_none_or(|ten| ten > self.election_timeout) {
            return complaint("heartbeat_interval must be at most a tenth of election_timeout");
        }
        if self.election_timeout.checked_mul(3).is_none() {
            return complaint("election_timeout is too long");
        }
        if self.read_retry_interval.is_zero() {
            return complaint("read_retry_interval must be more than nothing");
        }
        if self.disk_stall_timeout.is_some_and(|stall| stall.is_zero() || stall >= self.election_timeout) {
            return complaint("disk_stall_timeout must be more than nothing and less than election_timeout");
        }
        if self.lease_reads.is_some_and(|leases| leases.usable(self.election_timeout) < self.heartbeat_interval * 2) {
            return complaint(
                "lease_reads leaves less than two heartbeats: so great a clock error makes leases useless",
            );
        }
        let at_least_one = [
            (self.append_bytes, "append_bytes must be at least 1"),
            (self.append_entries as u64, "append_entries must be at least 1"),
            (self.window_messages as u64, "window_messages must be at least 1"),
            (self.window_bytes, "window_bytes must be at least 1"),
            (self.undecided_bytes, "undecided_bytes must be at least 1"),
            (self.waiting_reads as u64, "waiting_reads must be at least 1"),
            (self.read_rounds as u64, "read_rounds must be at least 1"),
            (self.compact_after_bytes, "compact_after_bytes must be at least 1"),
            (self.compact_after_entries, "compact_after_entries must be at least 1"),
            (self.keep_log_bytes, "keep_log_bytes must be at least 1"),
            (self.keep_log_entries, "keep_log_entries must be at least 1"),
            (u64::from(self.snapshot_retry_heartbeats), "snapshot_retry_heartbeats must be at least 1"),
            (u64::from(self.tenure_heartbeats), "tenure_heartbeats must be at least 1"),
        ];
        match at_least_one.into_iter().find(|(value, _)| *value == 0) {
            Some((_, why)) => complaint(why),
            None => Ok(()),
        }
    }

    /// What all members must have alike. Without leases that is only that there are none: a member that promises nothing makes the
    /// leases of the others void.
    #[must_use]
    pub fn agreements(&self) -> Vec<Agreement> {
        let Some(leases) = self.lease_reads else { return vec![Agreement::new("lease-reads", "false")] };
        vec![
            Agreement::new("lease-reads", "true"),
            Agreement::new("clock-rate-error-ppm", leases.clock_rate_error_ppm.to_string()),
            Agreement::new("election-timeout", format!("{:?}", self.election_timeout)),
        ]
    }

    /// How long a leader's disk may finish nothing before it hands over.
    #[must_use]
    pub fn disk_patience(&self) -> Duration {
        self.disk_stall_timeout.unwrap_or(self.election_timeout / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn an_election_timeout_must_be_alike_only_where_leases_rest_on_it() {
        let hasty =
            |lease_reads| Config { election_timeout: Duration::from_millis(151), lease_reads, ..Config::default() };
        let calm = |lease_reads| Config { lease_reads, ..Config::default() };
        let on = |clock_rate_error_ppm| Some(LeaseReads { clock_rate_error_ppm });
        assert_eq!(hasty(None).agreements(), calm(None).agreements());
        assert_ne!(hasty(on(9)).agreements(), calm(on(9)).agreements());
        assert_ne!(calm(on(8)).agreements(), calm(on(9)).agreements());
        assert_ne!(calm(None).agreements(), calm(on(9)).agreements());
    }

    #[test]
    fn a_setting_that_makes_no_sense_is_named() {
        let slow = Config { heartbeat_interval: Duration::from_millis(16), ..Config::default() };
        let none = Config { window_messages: 0, ..Config::default() };
        let stalled = Config { disk_stall_timeout: Some(Config::default().election_timeout), ..Config::default() };
        let wild = LeaseReads { clock_rate_error_ppm: 900_000 };
        let wild = Config { lease_reads: Some(wild), ..Config::default() };
        let named = [
            (slow, "heartbeat_interval"),
            (none, "window_messages"),
            (stalled, "disk_stall_timeout"),
            (wild, "lease_reads"),
        ];
        for (config, name) in named {
            let OpenError::Settings { why } = config.validate().unwrap_err() else { panic!("another error") };
            assert!(why.contains(name), "{why}");
        }
    }
}
