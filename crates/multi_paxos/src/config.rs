//! Settings.

use quorate_protocol::{LeaseReads, OpenError};
use quorate_quorum::{Flexible, InvalidQuorum};
use quorate_types::Membership;
use quorate_wire::Agreement;
use std::collections::BTreeMap;
use std::time::Duration;

/// The sizes of the two kinds of quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuorumSizes {
    /// So many promises make a leader.
    pub phase1: usize,
    /// So many acceptances choose.
    pub phase2: usize,
}

/// The settings of one replica. All members must have the same `quorums`; in the rest they may differ without danger, with one exception:
/// where any member has `lease_reads`, all must have it, and the same `election_timeout`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// T: a follower campaigns after hearing no leader for T to 2T, and a leader steps down when a quorum was silent for T.
    pub election_timeout: Duration,
    /// How often a leader shows that it lives. At most a tenth of `election_timeout`.
    pub heartbeat_interval: Duration,
    /// Reads without a round, resting on clocks (`lease.rs`). Where any member has it all must, and the same `election_timeout`.
    pub lease_reads: Option<LeaseReads>,
    /// How often a follower asks again for reads that got no answer.
    pub read_retry_interval: Duration,
    /// Quorum sizes by number of voters; where a number is not named, majorities. Any two quorums of different kinds must meet. Fixed
    /// while the cluster lives: a replica refuses to open with others than it was founded with.
    pub quorums: BTreeMap<usize, QuorumSizes>,
    /// How many slots go into one accept.
    pub accept_entries: usize,
    /// About how many bytes go into one accept; a single greater slot still travels.
    pub accept_bytes: u64,
    /// About how many bytes go into one message of a promise; a single greater slot still travels.
    pub promise_bytes: u64,
    /// How many slots may be unacknowledged per peer.
    pub window_entries: u64,
    /// Proposals are refused while the leader has about so many bytes that are not chosen; one that is greater still gets its turn.
    pub undecided_bytes: u64,
    /// How many reads may wait at once.
    pub waiting_reads: usize,
    /// How many rounds may be under way for reads at once; what comes then waits for the next.
    pub read_rounds: usize,
    /// Compact once this many slots are droppable.
    pub compact_after_entries: u64,
    /// How many droppable slots to keep all the same.
    pub compact_keep_entries: u64,
    /// For members that lag behind, keep at most this many slots; whoever needs more gets a snapshot.
    pub keep_log_entries: u64,
    /// The same, in bytes.
    pub keep_log_bytes: u64,
    /// After a snapshot failed to get to a peer, so many heartbeats pass before the next try.
    pub snapshot_retry_heartbeats: u32,
    /// A learner that lacks no more slots than this can become a voter.
    pub in_sync_entries: u64,
}

impl Default for Config {
    /// For one site: a round trip and a flush within 15 ms.
    fn default() -> Config {
        Config {
            election_timeout: Duration::from_millis(150),
            heartbeat_interval: Duration::from_millis(15),
            lease_reads: None,
            read_retry_interval: Duration::from_millis(75),
            quorums: BTreeMap::new(),
            accept_entries: 4096,
            accept_bytes: 1 << 20,
            promise_bytes: 8 << 20,
            window_entries: 100_000,
            undecided_bytes: 64 << 20,
            waiting_reads: 4096,
            read_rounds: 256,
            compact_after_entries: 8192,
            compact_keep_entries: 16,
            keep_log_entries: 100_000,
            keep_log_bytes: 64 << 20,
            snapshot_retry_heartbeats: 10,
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
        if self.heartbeat_interval.is_zero() {
            return complaint("heartbeat_interval must be more than nothing".to_owned());
        }
        if self.heartbeat_interval.checked_mul(10).is_none_or(|ten| ten > self.election_timeout) {
            return complaint("heartbeat_interval must be at most a tenth of election_timeout".to_owned());
        }
        if self.election_timeout.checked_mul(3).is_none() {
            return complaint("election_timeout is too long".to_owned());
        }
        if self.lease_reads.is_some_and(|leases| leases.usable(self.election_timeout) < self.heartbeat_interval * 2) {
            let why = "lease_reads leaves less than two heartbeats: so great a clock error makes leases useless";
            return complaint(why.to_owned());
        }
        if self.read_retry_interval.is_zero() {
            return complaint("read_retry_interval must be more than nothing".to_owned());
        }
        for voters in self.quorums.keys() {
            if let Err(error) = self.sizes(*voters) {
                return complaint(format!("quorums: {error}"));
            }
        }
        let at_least_one = [
            (self.accept_entries as u64, "accept_entries"),
            (self.accept_bytes, "accept_bytes"),
            (self.promise_bytes, "promise_bytes"),
            (self.window_entries, "window_entries"),
            (self.undecided_bytes, "undecided_bytes"),
            (self.waiting_reads as u64, "waiting_reads"),
            (self.read_rounds as u64, "read_rounds"),
            (self.compact_after_entries, "compact_after_entries"),
            (self.keep_log_entries, "keep_log_entries"),
            (self.keep_log_bytes, "keep_log_bytes"),
            (u64::from(self.snapshot_retry_heartbeats), "snapshot_retry_heartbeats"),
        ];
        match at_least_one.into_iter().find(|(value, _)| *value == 0) {
            Some((_, name)) => complaint(format!("{name} must be at least 1")),
            None => Ok(()),
        }
    }

    /// The quorums among so many voters.
    ///
    /// # Errors
    /// When there are no voters, or two quorums of different kinds need not meet.
    pub fn sizes(&self, voters: usize) -> Result<Flexible, InvalidQuorum> {
        match self.quorums.get(&voters) {
            Some(sizes) => Flexible::new(voters, sizes.phase1, sizes.phase2),
            None => Flexible::majorities(voters),
        }
    }

    /// The quorums among the voters of these members.
    ///
    /// # Errors
    /// As [`Config::sizes`].
    pub fn quorums_of(&self, members: &Membership) -> Result<Flexible, InvalidQuorum> {
        self.sizes(members.voters().count())
    }

    /// What all members must have alike: two that count other quorums may choose two values, and a member that grants nothing makes
    /// the leases of the others void.
    #[must_use]
    pub fn agreements(&self) -> Vec<Agreement> {
        let quorums = Agreement::new("quorums", sizes_in_words(&self.quorums));
        let Some(leases) = self.lease_reads else { return vec![quorums, Agreement::new("lease-reads", "false")] };
        vec![
            quorums,
            Agreement::new("lease-reads", "true"),
            Agreement::new("clock-rate-error-ppm", leases.clock_rate_error_ppm.to_string()),
            Agreement::new("election-timeout", format!("{:?}", self.election_timeout)),
        ]
    }
}

/// The sizes by number of voters, as the command line takes them: `4=3+2,6=4+3`; without any, "majorities".
#[must_use]
pub fn sizes_in_words(quorums: &BTreeMap<usize, QuorumSizes>) -> String {
    let one = |(voters, sizes): (&usize, &QuorumSizes)| format!("{voters}={}+{}", sizes.phase1, sizes.phase2);
    match quorums.is_empty() {
        true => "majorities".to_owned(),
        false => quorums.iter().map(one).collect::<Vec<_>>().join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(voters: usize, phase1: usize, phase2: usize) -> Config {
        Config { quorums: BTreeMap::from([(voters, QuorumSizes { phase1, phase2 })]), ..Config::default() }
    }

    #[test]
    fn quorums_of_the_two_phases_must_meet_and_be_alike_everywhere() {
        assert_eq!(with(4, 3, 2).validate(), Ok(()));
        let OpenError::Settings { why } = with(4, 2, 2).validate().unwrap_err() else { panic!("another error") };
        assert!(why.contains("quorums"), "{why}");
        assert_ne!(with(4, 3, 2).agreements(), Config::default().agreements());
    }
}
