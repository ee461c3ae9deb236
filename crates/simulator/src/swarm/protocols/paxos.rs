//! Single-decree Paxos.

use crate::marks::Mark;
use crate::random::{Random, nanos};
use crate::swarm::subject::{Pace, Subject};
use quorate_paxos::{AcceptedTo, Paxos, check_known_is_chosen};
use quorate_protocol::Violation;

impl Subject for Paxos {
    const SLOTS: Option<u64> = Some(1);

    fn check_together(running: &[&Self]) -> Result<(), Violation> {
        check_known_is_chosen(running.iter().copied())
    }

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
        Mark::BeforeItsTurn,
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
