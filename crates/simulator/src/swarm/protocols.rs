//! The protocols of this workspace, as subjects.

use super::steering::Guidance;
use super::subject::{Pace, Standing, Subject};
use crate::marks::Mark;
use crate::random::{Chance, Random, nanos};
use quorate_paxos::{AcceptedTo, Paxos};
use quorate_raft::{LeaseReads, Raft};
use quorate_types::NodeId;
use std::time::Duration;

impl Subject for Raft {
    const SLOTS: Option<u64> = None;
    const IMPOSSIBLE_MARKS: &'static [Mark] = &[];
    const IS_STEERED: bool = true;
    const HAS_WITNESSES: bool = true;

    fn draw_config(random: &mut Random, pace: Pace) -> quorate_raft::Config {
        let patience = nanos(pace.patience);
        let size = |random: &mut Random, low, high| usize::try_from(random.log_uniform(low, high)).unwrap_or(1);
        quorate_raft::Config {
            election_timeout: pace.patience,
            heartbeat_interval: Duration::from_nanos(random.between(patience / 40, patience / 10)),
            read_retry_interval: Duration::from_nanos(random.log_uniform(patience / 20, patience * 2)),
            append_bytes: random.log_uniform(16, 1 << 16),
            append_entries: size(random, 1, 64),
            window_messages: size(random, 1, 16),
            window_bytes: random.log_uniform(64, 1 << 18),
            undecided_bytes: random.log_uniform(64, 1 << 20),
            waiting_reads: size(random, 1, 256),
            compact_after_bytes: random.log_uniform(64, 1 << 16),
            compact_after_entries: random.log_uniform(1, 200),
            compact_keep_entries: random.between(0, 16),
            // Half the time a laggard is not waited for, and gets a snapshot.
            keep_log_bytes: if random.happens(Chance::percent(50)) {
                random.log_uniform(64, 1 << 16)
            } else {
                64 << 20
            },
            keep_log_entries: random.log_uniform(1, 1 << 16),
            snapshot_retry_heartbeats: u32::try_from(random.log_uniform(1, 16)).unwrap_or(1),
            ..quorate_raft::Config::default()
        }
    }

    fn guided(config: quorate_raft::Config, node: NodeId, guidance: &Guidance) -> quorate_raft::Config {
        let lease_reads = guidance.lease_clock_error_ppm;
        quorate_raft::Config {
            priority: guidance.priority(node),
            tenure_heartbeats: guidance.tenure_heartbeats,
            lease_reads: lease_reads.map(|clock_rate_error_ppm| LeaseReads { clock_rate_error_ppm }),
            ..config
        }
    }

    fn standing(&self) -> Standing {
        let configuration = self.configuration();
        let both = configuration.outgoing.iter().chain([&configuration.members]);
        Standing {
            halves: both.map(|half| half.voters().collect()).collect(),
            log_end: (self.log().last_term(), self.log().last()),
        }
    }
}

impl Subject for Paxos {
    const SLOTS: Option<u64> = Some(1);
    /// Nobody leads, so nobody forwards and every reader asks for itself; the log of one slot never gets shorter; one batch
    /// is decided, once; no store of keys that swaps and forgets lives on a single decree.
    const IMPOSSIBLE_MARKS: &'static [Mark] = &[
        Mark::LeaderChange,
        Mark::LogTruncated,
        Mark::Forwarded,
        Mark::ForwardRetried,
        Mark::ReadByFollower,
        Mark::DuplicateSkipped,
        Mark::SwapDone,
        Mark::SwapRefused,
        Mark::PastCompacted,
        Mark::WatcherCaughtUp,
        Mark::WatcherCompacted,
        Mark::WatcherOverSnapshot,
        Mark::LeaseExpired,
        Mark::LeaseRenewed,
        Mark::LeaseRenewedUnderNext,
        Mark::SnapshotInstalled,
        Mark::SnapshotAbandoned,
        Mark::TransferFinished,
        Mark::TransferAborted,
        Mark::PreferredTookOver,
        Mark::LeaseRead,
        Mark::LearnerAdded,
        Mark::WitnessTookPart,
        Mark::JointEntered,
        Mark::JointFinished,
        Mark::PromotedAutomatically,
        Mark::LeaderRemoved,
        Mark::SnapshotToJoiner,
        Mark::Retired,
        Mark::RemovedRefused,
        Mark::RemovedIdRefused,
        Mark::RefusedForSpace,
        Mark::LeaseExpiredUnderJoiner,
        Mark::RetryRecalled,
        Mark::SessionExpired,
    ];

    fn draw_config(random: &mut Random, pace: Pace) -> quorate_paxos::Config {
        let patience_ms = nanos(pace.patience) / 1_000_000;
        let back_off_base_ms = random.log_uniform(1, patience_ms / 4);
        quorate_paxos::Config {
            accepted_to: *random.pick(&[AcceptedTo::Proposer, AcceptedTo::Everybody]).unwrap_or(&AcceptedTo::Proposer),
            back_off_base_ms,
            // Below a round trip of calm times, duelling proposers would never stop.
            back_off_cap_ms: random.log_uniform(patience_ms, patience_ms * 4),
            resend_after_ms: random.log_uniform(patience_ms / 8, patience_ms),
            resends_per_ballot: u32::try_from(random.between(1, 8)).unwrap_or(1),
            inquire_after_ms: random.log_uniform(patience_ms / 8, patience_ms),
            waiting_limit: 64,
            compact_after_records: quorate_paxos::Config::COMPACT_AFTER_RECORDS_LEAST,
            ..quorate_paxos::Config::default()
        }
    }
}
