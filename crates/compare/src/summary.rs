//! A run in figures.

use crate::faults::Fault;
use crate::matrix::Site;
use crate::run::{Call, Kind, Run};
use quorate_narrator::Ending;
use std::time::Duration;

/// Latencies, exactly: of so many, the one at each rank. No interpolation, no buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// How many there are; where there are none, the rest is zero.
    pub count: u64,
    /// The shortest.
    pub least: Duration,
    /// Half of all took no longer.
    pub p50: Duration,
    /// Nine of ten took no longer.
    pub p90: Duration,
    /// Ninety-nine of a hundred took no longer.
    pub p99: Duration,
    /// The longest.
    pub most: Duration,
}

impl Percentiles {
    /// Of these, in any order.
    #[must_use]
    pub fn of(mut latencies: Vec<Duration>) -> Percentiles {
        latencies.sort_unstable();
        // Nearest rank: the first that so many of a hundred do not exceed.
        let rank = |percent: usize| {
            let rank = (latencies.len() * percent).div_ceil(100);
            latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        Percentiles {
            count: latencies.len() as u64,
            least: latencies.first().copied().unwrap_or_default(),
            p50: rank(50),
            p90: rank(90),
            p99: rank(99),
            most: latencies.last().copied().unwrap_or_default(),
        }
    }
}

/// When something was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before the fault, or there was none.
    Calm,
    /// While it lasted.
    Fault,
    /// When it was repaired.
    Repaired,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Phase; 3] = [Phase::Calm, Phase::Fault, Phase::Repaired];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Calm => "calm",
            Phase::Fault => "fault",
            Phase::Repaired => "repaired",
        }
    }
}

/// A time without a successful write anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// When it began, since the first client could ask.
    pub from: Duration,
    /// How long it was.
    pub length: Duration,
}

/// One run in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which protocol.
    pub protocol: &'static str,
    /// What went wrong.
    pub fault: Fault,
    /// Latencies of what succeeded, by site, phase and kind; only those of which there are any.
    pub latencies: Vec<(Site, Phase, Kind, Percentiles)>,
    /// Calls that succeeded.
    pub done: u64,
    /// Calls that ended with an error and without effect, those to nodes that did not run included.
    pub refused: u64,
    /// Writes of which nobody knows, and reads without an answer.
    pub unknown: u64,
    /// The longest gap between successful writes while the fault lasted and after; in the whole run where there was none.
    pub gap: Gap,
    /// From the fault to the first leader at another site that could lead, if there was one.
    pub new_leader_after: Option<Duration>,
    /// How often another site came to lead.
    pub leader_changes: u64,
    /// Everything that was sent, in thousandths of a message for each call that succeeded.
    pub messages_per_thousand: u64,
    /// The same in bytes.
    pub bytes_per_thousand: u64,
    /// Flushes of journals on all nodes, the same way.
    pub flushes_per_thousand: u64,
}

impl Summary {
    /// Of this run.
    #[must_use]
    pub fn of(run: &Run) -> Summary {
        let count = |ending: Ending| run.calls.iter().filter(|call| call.ending == ending).count() as u64;
        let done = count(Ending::Answered);
        let per_thousand = |total: u64| total.saturating_mul(1_000).checked_div(done).unwrap_or(0);
        let sent = run.traffic.total();
        let struck = run.fault_lasts.map(|(from, _)| from);
        let new_leader =
            struck.and_then(|struck| run.reigns.iter().map(|reign| reign.from).find(|from| *from > struck));
        Summary {
            protocol: run.protocol,
            fault: run.fault,
            latencies: latencies(run),
            done,
            refused: count(Ending::Refused),
            unknown: count(Ending::Unknown),
            gap: longest_gap(run, struck.unwrap_or_default()),
            new_leader_after: new_leader.zip(struck).map(|(new, struck)| new.saturating_sub(struck)),
            leader_changes: run.reigns.len().saturating_sub(1) as u64,
            messages_per_thousand: per_thousand(sent.messages),
            bytes_per_thousand: per_thousand(sent.bytes),
            flushes_per_thousand: per_thousand(run.traffic.journal_flushes),
        }
    }

    /// The latencies of one site, phase and kind; `None` if nothing succeeded there.
    #[must_use]
    pub fn latency(&self, site: Site, phase: Phase, kind: Kind) -> Option<Percentiles> {
        let found = self.latencies.iter().find(|(at, when, what, _)| (*at, *when, *what) == (site, phase, kind));
        found.map(|(_, _, _, percentiles)| *percentiles)
    }
}

fn phase_of(run: &Run, call: &Call) -> Phase {
    match run.fault_lasts {
        Some((from, to)) if call.called_at >= from => {
            if call.called_at < to {
                Phase::Fault
            } else {
                Phase::Repaired
            }
        }
        _ => Phase::Calm,
    }
}

fn latencies(run: &Run) -> Vec<(Site, Phase, Kind, Percentiles)> {
    let done: Vec<&Call> = run.calls.iter().filter(|call| call.ending == Ending::Answered).collect();
    let mut groups: Vec<(Site, Phase, Kind)> =
        done.iter().map(|call| (call.site, phase_of(run, call), call.kind)).collect();
    groups.sort_unstable();
    groups.dedup();
    let of = |group: (Site, Phase, Kind)| {
        let members = done.iter().filter(|call| (call.site, phase_of(run, call), call.kind) == group);
        Percentiles::of(members.map(|call| call.latency()).collect())
    };
    groups.into_iter().map(|group| (group.0, group.1, group.2, of(group))).collect()
}

/// The longest time within the run, from `begin` on, in which no write succeeded.
fn longest_gap(run: &Run, begin: Duration) -> Gap {
    let mut successes: Vec<Duration> = run
        .calls
        .iter()
        .filter(|call| call.kind == Kind::Write && call.ending == Ending::Answered)
        .map(|call| call.returned_at)
        .filter(|at| (begin..run.length).contains(at))
        .collect();
    successes.push(run.length);
    successes.sort_unstable();
    let mut last = begin;
    let mut longest = Gap { from: begin, length: Duration::ZERO };
    for success in successes {
        let length = success.saturating_sub(last);
        if length > longest.length {
            longest = Gap { from: last, length };
        }
        last = success;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Reign;
    use quorate_simulator::Traffic;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_percentile_is_one_of_the_latencies() {
        let percentiles = Percentiles::of((1..=200).rev().map(|ms| MS * ms).collect());
        assert_eq!(percentiles.p50, MS * 100);
        assert_eq!(percentiles.p90, MS * 180);
        assert_eq!(percentiles.p99, MS * 198);
        assert_eq!((percentiles.least, percentiles.most, percentiles.count), (MS, MS * 200, 200));
        let one = Percentiles::of(vec![MS * 7]);
        assert_eq!((one.least, one.p50, one.p99, one.most), (MS * 7, MS * 7, MS * 7, MS * 7));
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
    }

    fn write(called_ms: u32, returned_ms: u32, ending: Ending) -> Call {
        Call { site: Site(0), kind: Kind::Write, called_at: MS * called_ms, returned_at: MS * returned_ms, ending }
    }

    #[test]
    fn a_gap_counts_successful_writes_from_the_fault_on() {
        let run = Run {
            protocol: "none",
            fault: Fault::LeaderDies,
            fault_lasts: Some((MS * 100, MS * 500)),
            length: MS * 900,
            calls: vec![
                write(0, 90, Ending::Answered),
                write(95, 110, Ending::Answered),
                write(120, 300, Ending::Unknown),
                write(310, 410, Ending::Answered),
                write(500, 880, Ending::Answered),
                write(890, 1_000, Ending::Answered),
            ],
            reigns: vec![Reign { from: Duration::ZERO, site: Site(0) }, Reign { from: MS * 350, site: Site(1) }],
            traffic: Traffic { journal_flushes: 12, ..Traffic::default() },
        };
        let summary = Summary::of(&run);
        assert_eq!(summary.gap, Gap { from: MS * 410, length: MS * 470 });
        assert_eq!((summary.done, summary.refused, summary.unknown), (5, 0, 1));
        assert_eq!(summary.new_leader_after, Some(MS * 250));
        assert_eq!(summary.leader_changes, 1);
        assert_eq!(summary.flushes_per_thousand, 2_400);
        let of = |phase| summary.latency(Site(0), phase, Kind::Write).map(|latencies| latencies.most);
        assert_eq!(Phase::ALL.map(of), [Some(MS * 90), Some(MS * 100), Some(MS * 380)]);
    }
}
