//! The settings of the consensus itself: times, leases, who should lead, and how much goes at once.

use super::settings::Settings;
use anyhow::{Context, Result, bail, ensure};
use quorate_service::{LeaseReads, Plan};
use std::time::Duration;

/// What clock discipline corrects at most; quartz alone is within 100.
const DEFAULT_CLOCK_RATE_ERROR_PPM: u32 = 500;
/// A batch travels in one frame and is written with one flush: larger ones only make others wait.
const MAX_BATCH_BYTES: usize = 16 << 20;

impl Settings {
    /// Checks them, each against the others, and sets them in the plan.
    pub(super) fn set_consensus(&self, plan: &mut Plan) -> Result<()> {
        (plan.heartbeat_interval, plan.election_timeout) = self.intervals()?;
        plan.lease_reads = self.leases(plan.heartbeat_interval, plan.election_timeout)?;
        if let Some(sizes) = &self.quorums {
            plan.quorums = sizes.parse().context("--quorums")?;
        }
        plan.leader_priority = self.leader_priority.unwrap_or(0);
        plan.disk_stall_timeout = self.disk_stall(plan.election_timeout)?;
        plan.max_batch_bytes = self.max_batch_bytes.unwrap_or(plan.max_batch_bytes);
        plan.max_batch_commands = self.max_batch_commands.unwrap_or(plan.max_batch_commands);
        plan.max_batch_wait = self.batch_wait(plan.heartbeat_interval)?;
        plan.uncommitted_bytes_max = self.uncommitted_bytes_max;
        ensure!(plan.max_batch_commands > 0, "--max-batch-commands must be at least 1");
        ensure!(plan.max_batch_bytes > 0, "--max-batch-bytes must be at least 1");
        ensure!(plan.max_batch_bytes <= MAX_BATCH_BYTES, "--max-batch-bytes may be at most {MAX_BATCH_BYTES}");
        if let Some(bound) = plan.uncommitted_bytes_max {
            ensure!(
                bound >= plan.max_batch_bytes as u64,
                "--uncommitted-bytes-max {bound} must be at least --max-batch-bytes {}, or no batch is ever full",
                plan.max_batch_bytes
            );
        }
        Ok(plan.check_protocol()?)
    }

    fn intervals(&self) -> Result<(Duration, Duration)> {
        let heartbeat = self.heartbeat_interval.unwrap_or(100);
        let election = self.election_timeout.unwrap_or(1000);
        ensure!(heartbeat > 0, "--heartbeat-interval must be at least 1 ms");
        ensure!(election <= 50_000, "--election-timeout {election} is over the limit of 50000 ms");
        ensure!(
            heartbeat.checked_mul(10).is_some_and(|ten| election >= ten),
            "--election-timeout {election} must be at least 10 times --heartbeat-interval {heartbeat}, or followers give up on a healthy leader"
        );
        Ok((Duration::from_millis(heartbeat), Duration::from_millis(election)))
    }

    fn leases(&self, heartbeat: Duration, election: Duration) -> Result<Option<LeaseReads>> {
        if !self.lease_reads.unwrap_or(false) {
            if let Some(error) = self.clock_rate_error_ppm {
                bail!("--clock-rate-error-ppm {error} means nothing without --lease-reads: no clock is trusted then");
            }
            return Ok(None);
        }
        let error = self.clock_rate_error_ppm.unwrap_or(DEFAULT_CLOCK_RATE_ERROR_PPM);
        let leases = LeaseReads { clock_rate_error_ppm: error };
        let usable = leases.usable(election);
        ensure!(
            usable >= heartbeat * 2,
            "--clock-rate-error-ppm {error} leaves {usable:?} of an --election-timeout of {election:?} for a lease, which is less than \
             two heartbeats and never of use"
        );
        Ok(Some(leases))
    }

    fn batch_wait(&self, heartbeat: Duration) -> Result<Duration> {
        let wait = Duration::from_micros(self.max_batch_wait_us.unwrap_or(0));
        ensure!(
            wait <= heartbeat,
            "--max-batch-wait-us {} is longer than --heartbeat-interval {} ms: every write would wait for nothing",
            wait.as_micros(),
            heartbeat.as_millis()
        );
        Ok(wait)
    }

    fn disk_stall(&self, election: Duration) -> Result<Option<Duration>> {
        let Some(stall_ms) = self.disk_stall_timeout else { return Ok(None) };
        let stall = Duration::from_millis(stall_ms);
        ensure!(
            !stall.is_zero() && stall < election,
            "--disk-stall-timeout {stall_ms} must be at least 1 ms and less than --election-timeout {}, when a leader steps down anyway",
            election.as_millis()
        );
        Ok(Some(stall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_service::Protocol;

    fn planned(settings: Settings) -> Result<Plan> {
        settings.plan().map(|plan| plan.member)
    }

    fn refusal(settings: Settings) -> String {
        planned(settings).unwrap_err().to_string()
    }

    #[test]
    fn leases_are_off_unless_asked_for_and_then_assume_a_clock_error() {
        assert_eq!(planned(Settings::default()).unwrap().lease_reads, None);
        let off = Settings { lease_reads: Some(false), ..Settings::default() };
        assert_eq!(planned(off).unwrap().lease_reads, None);
        let on = Settings { lease_reads: Some(true), ..Settings::default() };
        assert_eq!(planned(on.clone()).unwrap().lease_reads, Some(LeaseReads { clock_rate_error_ppm: 500 }));
        let exact = Settings { clock_rate_error_ppm: Some(0), ..on };
        assert_eq!(planned(exact).unwrap().lease_reads, Some(LeaseReads { clock_rate_error_ppm: 0 }));
    }

    #[test]
    fn a_clock_error_is_refused_without_leases_and_where_it_leaves_none() {
        let alone = Settings { clock_rate_error_ppm: Some(100), ..Settings::default() };
        assert!(refusal(alone.clone()).contains("means nothing without --lease-reads"));
        let off = Settings { lease_reads: Some(false), ..alone };
        assert!(refusal(off).contains("means nothing without --lease-reads"));
        for error in [700_000, 1_000_000, u32::MAX] {
            let wild = Settings { lease_reads: Some(true), clock_rate_error_ppm: Some(error), ..Settings::default() };
            assert!(refusal(wild).contains("less than two heartbeats"), "{error}");
        }
    }

    #[test]
    fn a_disk_may_not_stall_for_as_long_as_a_leader_is_waited_for() {
        assert_eq!(planned(Settings::default()).unwrap().disk_stall_timeout, None);
        let after = |stall_ms| Settings { disk_stall_timeout: Some(stall_ms), ..Settings::default() };
        assert_eq!(planned(after(999)).unwrap().disk_stall_timeout, Some(Duration::from_millis(999)));
        for stall_ms in [0, 1000, u64::MAX] {
            assert!(refusal(after(stall_ms)).contains("less than --election-timeout 1000"), "{stall_ms}");
        }
    }

    #[test]
    fn bounds_that_contradict_each_other_are_refused_by_name() {
        let tight = Settings { uncommitted_bytes_max: Some(1000), ..Settings::default() };
        assert!(refusal(tight.clone()).contains("must be at least --max-batch-bytes 1048576"));
        let both = planned(Settings { max_batch_bytes: Some(1000), ..tight }).unwrap();
        assert_eq!((both.uncommitted_bytes_max, both.max_batch_bytes), (Some(1000), 1000));
        let none = Settings { max_batch_bytes: Some(0), ..Settings::default() };
        assert!(refusal(none).contains("--max-batch-bytes must be at least 1"));
        let huge = Settings { max_batch_bytes: Some(1 << 30), ..Settings::default() };
        assert!(refusal(huge).contains("--max-batch-bytes may be at most"));
        let none = Settings { max_batch_commands: Some(0), ..Settings::default() };
        assert!(refusal(none).contains("--max-batch-commands"));
        let absurd = Settings { heartbeat_interval: Some(u64::MAX), ..Settings::default() };
        assert!(refusal(absurd).contains("at least 10 times"));
    }

    #[test]
    fn a_protocol_is_named_as_a_flag_or_in_a_file_and_asked_for_nothing_it_cannot_do() {
        assert_eq!(planned(Settings::default()).unwrap().protocol, Protocol::Raft);
        let zab = Settings::from_yaml("protocol: zab\n").unwrap();
        assert_eq!(planned(zab.clone()).unwrap().protocol, Protocol::Zab);
        let leases = Settings { lease_reads: Some(true), ..zab };
        assert_eq!(refusal(leases), "zab answers no reads by lease: leave --lease-reads out");
        let unknown = Settings { protocol: Some("pbft".to_owned()), ..Settings::default() };
        assert!(refusal(unknown).contains("--protocol pbft: a store can be served over raft, multi-paxos"));
    }

    #[test]
    fn quorums_of_two_sizes_must_meet_and_are_for_multi_paxos() {
        let sized = |sizes: &str, protocol: &str| Settings {
            quorums: Some(sizes.to_owned()),
            protocol: Some(protocol.to_owned()),
            ..Settings::default()
        };
        assert!(!planned(sized("5=4+2", "multi-paxos")).unwrap().quorums.are_majorities());
        assert_eq!(refusal(sized("5=4+2", "raft")), "raft counts majorities only: leave --quorums out");
        let unsafe_sizes = planned(sized("5=3+2", "multi-paxos")).unwrap_err();
        assert!(format!("{unsafe_sizes:#}").contains("--quorums: 5=3+2: phase-1 quorums of 3"), "{unsafe_sizes:#}");
        let file = Settings::from_yaml("protocol: multi-paxos\nquorums: 4=3+2\n").unwrap();
        assert!(!planned(file).unwrap().quorums.are_majorities());
    }

    #[test]
    fn batches_wait_for_nobody_unless_asked_to_and_never_longer_than_a_heartbeat() {
        assert_eq!(planned(Settings::default()).unwrap().max_batch_wait, Duration::ZERO);
        let of = |wait_us| Settings { max_batch_wait_us: Some(wait_us), ..Settings::default() };
        assert_eq!(planned(of(250)).unwrap().max_batch_wait, Duration::from_micros(250));
        for wait_us in [100_001, u64::MAX] {
            assert!(refusal(of(wait_us)).contains("longer than --heartbeat-interval 100 ms"), "{wait_us}");
        }
    }

    #[test]
    fn files_name_them_as_flags_do_and_priorities_beyond_a_byte_are_refused() {
        let text = "lease-reads: true\nclock-rate-error-ppm: 200\nleader-priority: 7\ndisk-stall-timeout: 300\n\
                    uncommitted-bytes-max: 4096\nmax-batch-bytes: 4096\nmax-batch-commands: 9\nmax-batch-wait-us: 5\n";
        let plan = planned(Settings::from_yaml(text).unwrap()).unwrap();
        assert_eq!(plan.lease_reads, Some(LeaseReads { clock_rate_error_ppm: 200 }));
        assert_eq!((plan.leader_priority, plan.max_batch_commands, plan.max_batch_wait.as_micros()), (7, 9, 5));
        assert_eq!(plan.disk_stall_timeout, Some(Duration::from_millis(300)));
        assert!(Settings::from_yaml("leader-priority: 256\n").is_err());
        assert!(Settings::from_yaml("lease-reads: 500\n").is_err());
    }
}
