//! What a member asks of a protocol beyond the seam: its settings out of the plan's.

use crate::plan::Plan;
use quorate_multi_paxos::{Config as MultiPaxosConfig, MultiPaxos};
use quorate_protocol::{Inspectable, Recordable, Replica};
use quorate_raft::{Config as RaftConfig, Raft};
use quorate_viewstamped::{Config as ViewstampedConfig, Viewstamped};
use quorate_zab::{Config as ZabConfig, Zab};
use thiserror::Error;

/// Something is wanted of a protocol that it cannot do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{protocol} {cannot}")]
pub struct Unsupported {
    /// Its name.
    pub protocol: &'static str,
    /// What it cannot do, and which setting to leave out.
    pub cannot: &'static str,
}

/// A protocol that the store can be served over, recorded, and looked at when it stopped.
pub trait Served:
    Recordable + Inspectable + Replica<Message: Send, Record: Send, Anchor: Send, Timer: Send> + Send
{
    /// The protocol's settings, out of the member's.
    ///
    /// # Errors
    /// When something is wanted that the protocol does not do: nothing that was set is left aside in silence.
    fn settings(plan: &Plan) -> Result<Self::Config, Unsupported>;
}

impl Served for Raft {
    fn settings(plan: &Plan) -> Result<RaftConfig, Unsupported> {
        refuse_quorums::<Raft>(plan)?;
        let defaults = RaftConfig::default();
        Ok(RaftConfig {
            keep_log_entries: plan.snapshot_catchup_entries,
            // What is not kept is dropped soon.
            compact_after_entries: defaults.compact_after_entries.min(plan.snapshot_catchup_entries),
            election_timeout: plan.election_timeout,
            heartbeat_interval: plan.heartbeat_interval,
            lease_reads: plan.lease_reads,
            priority: plan.leader_priority,
            disk_stall_timeout: plan.disk_stall_timeout,
            undecided_bytes: plan.uncommitted_bytes_max.unwrap_or(defaults.undecided_bytes),
            ..defaults
        })
    }
}

impl Served for MultiPaxos {
    fn settings(plan: &Plan) -> Result<MultiPaxosConfig, Unsupported> {
        refuse_what_only_raft_does::<MultiPaxos>(plan)?;
        let defaults = MultiPaxosConfig::default();
        Ok(MultiPaxosConfig {
            lease_reads: plan.lease_reads,
            quorums: plan.quorums.by_voters(),
            keep_log_entries: plan.snapshot_catchup_entries,
            compact_after_entries: defaults.compact_after_entries.min(plan.snapshot_catchup_entries),
            election_timeout: plan.election_timeout,
            heartbeat_interval: plan.heartbeat_interval,
            undecided_bytes: plan.uncommitted_bytes_max.unwrap_or(defaults.undecided_bytes),
            ..defaults
        })
    }
}

impl Served for Viewstamped {
    fn settings(plan: &Plan) -> Result<ViewstampedConfig, Unsupported> {
        refuse_what_only_raft_does::<Viewstamped>(plan)?;
        refuse_leases::<Viewstamped>(plan)?;
        refuse_quorums::<Viewstamped>(plan)?;
        let defaults = ViewstampedConfig::default();
        Ok(ViewstampedConfig {
            keep_log_entries: plan.snapshot_catchup_entries,
            compact_after_entries: defaults.compact_after_entries.min(plan.snapshot_catchup_entries),
            view_timeout: plan.election_timeout,
            heartbeat_interval: plan.heartbeat_interval,
            // With less no batch would ever be full.
            undecided_bytes: plan
                .uncommitted_bytes_max
                .unwrap_or(defaults.undecided_bytes.max(plan.max_batch_bytes as u64)),
            ..defaults
        })
    }
}

impl Served for Zab {
    /// The tick is the heartbeat interval, and everything else is counted in it: whoever hears nothing for an election timeout looks
    /// for a leader. The rest stands to it as in the protocol's own settings.
    fn settings(plan: &Plan) -> Result<ZabConfig, Unsupported> {
        refuse_what_only_raft_does::<Zab>(plan)?;
        refuse_leases::<Zab>(plan)?;
        refuse_quorums::<Zab>(plan)?;
        let defaults = ZabConfig::default();
        let tick = plan.heartbeat_interval;
        let ticks = plan.election_timeout.as_nanos().div_ceil(tick.as_nanos().max(1));
        let sync_limit_ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        Ok(ZabConfig {
            tick,
            sync_limit_ticks,
            init_limit_ticks: sync_limit_ticks.saturating_mul(2),
            finalize_wait: tick,
            notification_interval: tick * 2,
            notification_interval_most: plan.election_timeout.max(tick * 2),
            undecided_bytes: plan.uncommitted_bytes_max.unwrap_or(defaults.undecided_bytes),
            keep_log_entries: plan.snapshot_catchup_entries,
            compact_after_entries: defaults.compact_after_entries.min(plan.snapshot_catchup_entries),
            ..defaults
        })
    }
}

fn refuse_what_only_raft_does<R: Replica>(plan: &Plan) -> Result<(), Unsupported> {
    let wanted = [
        (plan.leader_priority > 0, "does not hand over by priority: leave --leader-priority out"),
        (
            plan.disk_stall_timeout.is_some(),
            "does not hand over for a disk that stalls: leave --disk-stall-timeout out",
        ),
    ];
    refuse_first::<R>(wanted)
}

fn refuse_leases<R: Replica>(plan: &Plan) -> Result<(), Unsupported> {
    refuse_first::<R>([(plan.lease_reads.is_some(), "answers no reads by lease: leave --lease-reads out")])
}

fn refuse_quorums<R: Replica>(plan: &Plan) -> Result<(), Unsupported> {
    refuse_first::<R>([(!plan.quorums.are_majorities(), "counts majorities only: leave --quorums out")])
}

fn refuse_first<R: Replica>(wanted: impl IntoIterator<Item = (bool, &'static str)>) -> Result<(), Unsupported> {
    match wanted.into_iter().find(|(is_wanted, _)| *is_wanted) {
        Some((_, cannot)) => Err(Unsupported { protocol: R::PROTOCOL, cannot }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Entry;
    use crate::protocol::Protocol;
    use quorate_protocol::LeaseReads;
    use std::time::Duration;

    fn plan(protocol: Protocol) -> Plan {
        let entry = Entry::Join { members: Vec::new(), patience: Duration::ZERO };
        Plan { protocol, ..Plan::new("a", "a.quorate".into(), entry) }
    }

    fn others() -> impl Iterator<Item = Protocol> {
        Protocol::ALL.into_iter().filter(|protocol| *protocol != Protocol::Raft)
    }

    #[test]
    fn every_protocol_takes_the_times_and_bounds_that_all_have() {
        for (heartbeat_ms, election_ms) in [(100, 1000), (15, 150), (7, 95), (1, 50_000)] {
            let times = |protocol| Plan {
                heartbeat_interval: Duration::from_millis(heartbeat_ms),
                election_timeout: Duration::from_millis(election_ms),
                snapshot_catchup_entries: 9,
                ..plan(protocol)
            };
            let paxos = MultiPaxos::settings(&times(Protocol::MultiPaxos)).unwrap();
            assert_eq!((paxos.keep_log_entries, paxos.validate()), (9, Ok(())));
            let viewstamped = Viewstamped::settings(&times(Protocol::Viewstamped)).unwrap();
            assert_eq!((viewstamped.keep_log_entries, viewstamped.validate()), (9, Ok(())));
            let zab = Zab::settings(&times(Protocol::Zab)).unwrap();
            assert_eq!((zab.keep_log_entries, zab.validate()), (9, Ok(())));
            let silence = zab.tick * zab.sync_limit_ticks;
            let exact = Duration::from_millis(election_ms);
            assert!(silence >= exact && silence < exact + zab.tick, "{silence:?} for {exact:?}");
        }
    }

    #[test]
    fn what_a_protocol_cannot_do_is_refused_by_name_and_not_left_aside() {
        for protocol in others() {
            let refused = |plan: Plan| plan.check_protocol().unwrap_err().to_string();
            let leases = Plan { lease_reads: Some(LeaseReads { clock_rate_error_ppm: 9 }), ..plan(protocol) };
            if protocol == Protocol::MultiPaxos {
                assert_eq!(leases.check_protocol(), Ok(()));
            } else {
                assert_eq!(refused(leases), format!("{protocol} answers no reads by lease: leave --lease-reads out"));
            }
            assert!(refused(Plan { leader_priority: 1, ..plan(protocol) }).contains("--leader-priority"));
            let stalled = Plan { disk_stall_timeout: Some(Duration::from_millis(9)), ..plan(protocol) };
            assert!(refused(stalled).contains("--disk-stall-timeout"));
            assert_eq!(plan(protocol).check_protocol(), Ok(()));
        }
    }

    #[test]
    fn quorums_of_two_sizes_are_multi_paxos_alone() {
        for protocol in Protocol::ALL {
            let unequal = Plan { quorums: "4=3+2".parse().unwrap(), ..plan(protocol) };
            match protocol {
                Protocol::MultiPaxos => {
                    let settings = MultiPaxos::settings(&unequal).unwrap();
                    assert_eq!((settings.quorums.len(), settings.validate()), (1, Ok(())));
                }
                _ => assert_eq!(
                    unequal.check_protocol().unwrap_err().to_string(),
                    format!("{protocol} counts majorities only: leave --quorums out")
                ),
            }
        }
    }

    #[test]
    fn what_may_be_undecided_is_bounded_in_bytes_in_every_protocol() {
        let bounded = |protocol| Plan { uncommitted_bytes_max: Some(1 << 30), ..plan(protocol) };
        assert_eq!(Raft::settings(&bounded(Protocol::Raft)).unwrap().undecided_bytes, 1 << 30);
        assert_eq!(MultiPaxos::settings(&bounded(Protocol::MultiPaxos)).unwrap().undecided_bytes, 1 << 30);
        assert_eq!(Viewstamped::settings(&bounded(Protocol::Viewstamped)).unwrap().undecided_bytes, 1 << 30);
        assert_eq!(Zab::settings(&bounded(Protocol::Zab)).unwrap().undecided_bytes, 1 << 30);
    }
}
