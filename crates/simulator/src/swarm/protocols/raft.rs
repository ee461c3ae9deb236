//! Raft.

use super::{Scripted, ScriptedTimes};
use crate::marks::Mark;
use crate::random::{Chance, Random, nanos};
use crate::swarm::steering::Guidance;
use crate::swarm::subject::{Decided, Pace, Standing, Subject, Trust};
use quorate_raft::{Configuration, LeaseReads, Raft};
use quorate_types::{NodeId, Slot, Time};
use std::time::Duration;

impl Subject for Raft {
    const SLOTS: Option<u64> = None;
    const IMPOSSIBLE_MARKS: &'static [Mark] = &[];
    const LEADERS_MOVE: bool = true;
    const MEMBERS_CHANGE: bool = true;
    const LEADS_ON_PARTIAL_LINKS: bool = true;
    const LEADERS_HAVE_EVERYTHING: bool = true;
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
            // From a copy: whatever else is drawn of a seed stays what it was.
            read_rounds: size(&mut random.clone(), 1, 32),
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
        let log_end = (self.log().last_term(), self.log().last());
        Standing { halves: halves(self.configuration()), log_end, may_follow: None }
    }

    fn reads_alone(&self, now: Time) -> bool {
        self.has_lease(now)
    }

    fn trusts(&self) -> Vec<Trust> {
        let known = |(peer, slot)| Some(Trust { peer, slot, entry: self.log().term_at(slot)? });
        self.matched().filter_map(known).collect()
    }

    fn calls_decided(&self) -> Option<Decided> {
        let slot = self.commit();
        let entry = self.log().term_at(slot).filter(|_| self.is_leader())?;
        Some(Decided { slot, entry, by: self.configurations_since(slot).map(halves).collect() })
    }

    fn may_have_elected(&self, leader: NodeId, era: u64) -> bool {
        self.term() > era || self.term() == era && self.voted_for() == Some(leader)
    }

    fn has_heard(&self) -> Vec<NodeId> {
        self.answered().collect()
    }

    fn holds(&self, slot: Slot, entry: u64) -> bool {
        slot < self.log().base() || self.log().term_at(slot) == Some(entry)
    }
}

impl Scripted for Raft {
    fn paced(times: &ScriptedTimes) -> quorate_raft::Config {
        let usual = quorate_raft::Config::default();
        quorate_raft::Config {
            election_timeout: times.election_timeout,
            heartbeat_interval: times.heartbeat,
            append_entries: times.entries_per_append.unwrap_or(usual.append_entries),
            ..usual
        }
    }
}

/// The sets of voters of which each must agree.
fn halves(configuration: &Configuration) -> Vec<Vec<NodeId>> {
    let both = configuration.outgoing.iter().chain([&configuration.members]);
    both.map(|half| half.voters().collect()).collect()
}
