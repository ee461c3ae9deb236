//! Multi-Paxos.

use super::{Scripted, ScriptedTimes, holds_within, open_to_all, voters};
use crate::marks::Mark;
use crate::random::{Chance, Random, nanos};
use crate::swarm::steering::Guidance;
use crate::swarm::subject::{Decided, Pace, Standing, Subject, Trust, fingerprint};
use quorate_multi_paxos::{Ballots, Config, LeaseReads, MultiPaxos, QuorumSizes, check_known_is_chosen};
use quorate_protocol::{Replica, Violation};
use quorate_quorum::{Flexible, majority};
use quorate_types::{NodeId, Slot, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// As many voters as there are ever.
const VOTERS_MOST: usize = 12;

impl Subject for MultiPaxos {
    const SLOTS: Option<u64> = None;
    const LEADERS_MOVE: bool = true;
    const MEMBERS_CHANGE: bool = true;

    const IMPOSSIBLE_MARKS: &'static [Mark] = &[
        // Nobody is preferred.
        Mark::PreferredTookOver,
        // All members store data.
        Mark::WitnessTookPart,
        // Members change by stop-sign, without a time in between.
        Mark::JointEntered,
        Mark::JointFinished,
    ];

    /// Where the voters are even in number, one kind of quorum may do with a half; never is more than a majority needed, for the faults
    /// of a seed spare no more.
    fn draw_config(random: &mut Random, pace: Pace) -> Config {
        let patience = nanos(pace.patience);
        let size = |random: &mut Random, low, high| usize::try_from(random.log_uniform(low, high)).unwrap_or(1);
        Config {
            election_timeout: pace.patience,
            heartbeat_interval: Duration::from_nanos(random.between(patience / 40, patience / 10)),
            read_retry_interval: Duration::from_nanos(random.log_uniform(patience / 20, patience * 2)),
            accept_entries: size(random, 1, 64),
            accept_bytes: random.log_uniform(16, 1 << 16),
            // From a copy, as below.
            promise_bytes: random.clone().log_uniform(1 << 12, 1 << 16),
            window_entries: random.log_uniform(1, 64),
            undecided_bytes: random.log_uniform(1, 1 << 16),
            waiting_reads: size(random, 1, 256),
            // From a copy: whatever else is drawn of a seed stays what it was.
            read_rounds: size(&mut random.clone(), 1, 32),
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
            in_sync_entries: random.log_uniform(1, 1 << 10),
            quorums: draw_quorums(&mut random.clone()),
            ..Config::default()
        }
    }

    fn enough_to_elect(&self, voters: usize) -> usize {
        quorums_of(self, voters).map_or(majority(voters), Flexible::phase1)
    }

    fn enough_to_decide(&self, voters: usize) -> usize {
        quorums_of(self, voters).map_or(majority(voters), Flexible::phase2)
    }

    fn guided(config: Config, _: NodeId, guidance: &Guidance) -> Config {
        let lease_reads = guidance.lease_clock_error_ppm;
        Config { lease_reads: lease_reads.map(|clock_rate_error_ppm| LeaseReads { clock_rate_error_ppm }), ..config }
    }

    fn reads_alone(&self, now: Time) -> bool {
        self.inside().is_some_and(|inside| inside.has_lease(now))
    }

    fn standing(&self) -> Standing {
        let wished = self.inside().and_then(Ballots::stop_sign);
        open_to_all(self.configuration(), &self.members(), wished)
    }

    fn trusts(&self) -> Vec<Trust> {
        let Some(inside) = self.inside() else { return Vec::new() };
        let known = |(peer, slot)| Some(Trust { peer, slot, entry: entry_of(inside, slot)? });
        inside.matched().filter_map(known).collect()
    }

    fn calls_decided(&self) -> Option<Decided> {
        let inside = self.inside()?;
        let slot = inside.chosen_by_counting()?;
        let entry = entry_of(inside, slot)?;
        Some(Decided { slot, entry, by: vec![vec![voters(&self.members())]] })
    }

    fn may_have_elected(&self, _: NodeId, era: u64) -> bool {
        self.status().era >= era
    }

    fn has_heard(&self) -> Vec<NodeId> {
        self.inside().map(|inside| inside.answered().collect()).unwrap_or_default()
    }

    fn check_together(running: &[&Self]) -> Result<(), Violation> {
        let newest = running.iter().map(|whole| whole.configuration()).max();
        let in_newest = running.iter().filter(|whole| Some(whole.configuration()) == newest);
        let inside: Vec<&Ballots> = in_newest.filter_map(|whole| whole.inside()).collect();
        check_known_is_chosen(&inside)
    }

    fn holds(&self, slot: Slot, entry: u64) -> bool {
        holds_within(self, slot, |inside| slot <= inside.log().trim() || entry_of(inside, slot) == Some(entry))
    }
}

fn quorums_of(whole: &MultiPaxos, voters: usize) -> Option<Flexible> {
    whole.inside().map(Ballots::quorums).filter(|quorums| quorums.voters() == voters)
}

/// Majorities, or sizes of which one is a half of the voters.
fn draw_quorums(random: &mut Random) -> BTreeMap<usize, QuorumSizes> {
    let half_elects = match random.between(0, 3) {
        0 => true,
        1 => false,
        _ => return BTreeMap::new(),
    };
    let of_voters = |voters: usize| {
        let (half, more) = (voters / 2, voters / 2 + 1);
        let (phase1, phase2) = if half_elects { (half, more) } else { (more, half) };
        (voters, QuorumSizes { phase1, phase2 })
    };
    (1..=VOTERS_MOST / 2).map(|pairs| of_voters(pairs * 2)).collect()
}

impl Scripted for MultiPaxos {
    fn paced(times: &ScriptedTimes) -> Config {
        let usual = Config::default();
        Config {
            election_timeout: times.election_timeout,
            heartbeat_interval: times.heartbeat,
            accept_entries: times.entries_per_append.unwrap_or(usual.accept_entries),
            ..usual
        }
    }
}

fn entry_of(inside: &Ballots, slot: Slot) -> Option<u64> {
    inside.log().get(slot).map(|entry| fingerprint(&entry.payload.decision()))
}
