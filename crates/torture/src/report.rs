//! What came of a run.

use crate::nemesis::Done;
use crate::record::{Call, Who};
use crate::request::Outcome;
use crate::settings::{FaultKind, Settings};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Whether everything was as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing contradicts what the store promises.
    Clean,
    /// Something does.
    Violation,
    /// Not enough happened, or could be decided, to say.
    NoVerdict,
}

/// How often something was done, and what it did to writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Harm {
    /// What.
    pub kind: FaultKind,
    /// How often.
    pub done: usize,
    /// How often it did any harm.
    pub harmed: usize,
    /// The longest time without an acknowledged write that overlaps it, or the seconds after it.
    pub longest_write_gap: Duration,
    /// The longest that no fault of another kind can have had a part in; `None`: there was no such time.
    pub longest_write_gap_alone: Option<Duration>,
}

/// Counts of what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that were answered.
    pub acknowledged: usize,
    /// Of these, those that wrote.
    pub writes: usize,
    /// Calls that certainly did nothing.
    pub failed: usize,
    /// Calls that nobody knows of.
    pub unknown: usize,
    /// Of these, those that took effect.
    pub took_effect: usize,
    /// Operations that the search for an order went over.
    pub searched: usize,
    /// Revisions of the store.
    pub revisions: usize,
    /// Revisions told, over all watchers.
    pub deliveries: u64,
    /// Watch streams opened.
    pub streams: u64,
    /// Short-lived watchers.
    pub browses: usize,
    /// Compactions answered.
    pub compactions: u64,
    /// Snapshots that members installed.
    pub snapshots: usize,
    /// Leases granted.
    pub leases: usize,
    /// Renewals answered.
    pub renewals: u64,
    /// Leases that ended by time, with a key.
    pub expired: u64,
    /// Leases that were revoked, with a key.
    pub revoked: u64,
}

/// Everything worth telling.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was asked for.
    pub settings: Settings,
    /// What members were told.
    pub flags: Vec<String>,
    /// Violations.
    pub findings: Vec<String>,
    /// Why there is no verdict, if there is none.
    pub undecided: Vec<String>,
    /// What happened.
    pub counts: Counts,
    /// What was done.
    pub harms: Vec<Harm>,
    /// The longest time without an acknowledged write of the whole run.
    pub longest_write_gap: Duration,
    /// From the end of all harm to equal members.
    pub converged: Option<(i64, Duration)>,
    /// Drawings of contradictions.
    pub drawings: Vec<PathBuf>,
}

/// Fewer answers a second are no load, and what is not loaded shows little.
const ACKNOWLEDGED_PER_SECOND: u64 = 10;
/// What happens so long after a fault may be its doing.
const AFTERMATH_NS: u64 = 3_000_000_000;

impl Report {
    /// The verdict. A violation is one whatever else could not be decided.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.findings.is_empty(), self.undecided.is_empty()) {
            (false, _) => Verdict::Violation,
            (true, false) => Verdict::NoVerdict,
            (true, true) => Verdict::Clean,
        }
    }

    /// Says why this run is no evidence, if too little happened in it.
    pub fn demand_work(&mut self) {
        let wanted = self.settings.duration.as_secs() * ACKNOWLEDGED_PER_SECOND;
        if (self.counts.acknowledged as u64) < wanted {
            self.undecided
                .push(format!("{} calls were answered, and {wanted} are the least", self.counts.acknowledged));
        }
        if self.counts.searched == 0 {
            self.undecided.push("the search had no operation to go over".to_owned());
        }
        for kind in &self.settings.faults {
            if !self.harms.iter().any(|harm| harm.kind == *kind && harm.harmed > 0) {
                self.undecided.push(format!("{kind} was asked for and did no harm: run longer"));
            }
        }
        // Short runs end before a lease has.
        if self.settings.duration >= Duration::from_secs(60) && self.counts.expired == 0 {
            self.undecided.push("no lease ended by time".to_owned());
        }
    }

    /// For scripts.
    #[must_use]
    pub fn json(&self) -> Value {
        let counts = &self.counts;
        let harm = |harm: &Harm| {
            json!({
                "fault": harm.kind.name(), "done": harm.done, "harmed": harm.harmed,
                "longest_write_gap_ms": ms(harm.longest_write_gap),
                "longest_write_gap_alone_ms": harm.longest_write_gap_alone.map(ms),
            })
        };
        json!({
            "verdict": match self.verdict() {
                Verdict::Clean => "clean", Verdict::Violation => "violation", Verdict::NoVerdict => "no verdict",
            },
            "findings": self.findings, "undecided": self.undecided,
            "seed": self.settings.seed, "nodes": self.settings.nodes, "clients": self.settings.clients,
            "seconds": self.settings.duration.as_secs_f64(), "flags": self.flags,
            "calls": {
                "acknowledged": counts.acknowledged, "writes": counts.writes, "failed": counts.failed,
                "unknown": counts.unknown, "unknown_that_took_effect": counts.took_effect, "searched": counts.searched,
            },
            "watch": {
                "revisions": counts.revisions, "deliveries": counts.deliveries, "streams": counts.streams,
                "browses": counts.browses, "compactions": counts.compactions, "snapshots_installed": counts.snapshots,
            },
            "leases": {
                "granted": counts.leases, "renewals": counts.renewals, "expired": counts.expired, "revoked": counts.revoked,
            },
            "faults": self.harms.iter().map(harm).collect::<Vec<_>>(),
            "longest_write_gap_ms": ms(self.longest_write_gap),
            "converged_at_revision": self.converged.map(|(revision, _)| revision),
            "converged_after_ms": self.converged.map(|(_, took)| ms(took)),
            "directory": self.settings.directory, "drawings": self.drawings,
        })
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let counts = &self.counts;
        let Settings { seed, nodes, clients, duration, directory, .. } = &self.settings;
        // Writing to a string cannot fail.
        let mut line = |words: String| _ = writeln!(text, "{words}");
        line(format!(
            "seed {seed}, {nodes} nodes, {clients} clients, {:.0} s; {}",
            duration.as_secs_f64(),
            self.flags.join(" ")
        ));
        line(format!(
            "calls      {} answered ({} writes), {} failed for certain, {} unknown, of which {} took effect",
            counts.acknowledged, counts.writes, counts.failed, counts.unknown, counts.took_effect
        ));
        line(format!(
            "watch      {} revisions, told {} times over {} streams; {} short-lived watchers; {} compactions, {} snapshots installed",
            counts.revisions, counts.deliveries, counts.streams, counts.browses, counts.compactions, counts.snapshots
        ));
        line(format!(
            "leases     {} granted, {} renewals; {} ended by time and {} as they were revoked",
            counts.leases, counts.renewals, counts.expired, counts.revoked
        ));
        for harm in &self.harms {
            let alone = harm
                .longest_write_gap_alone
                .map_or(String::new(), |gap| format!(", {} ms with no other kind", ms(gap)));
            line(format!(
                "{:<14} {} times, {} with effect; longest without a write: {} ms{alone}",
                harm.kind.name(),
                harm.done,
                harm.harmed,
                ms(harm.longest_write_gap)
            ));
        }
        line(format!("longest without a write in the whole run: {} ms", ms(self.longest_write_gap)));
        if let Some((revision, took)) = self.converged {
            line(format!("all members equal at revision {revision}, {:.1} s after the last harm", took.as_secs_f64()));
        }
        self.findings.iter().for_each(|finding| line(format!("VIOLATION  {finding}")));
        self.undecided.iter().for_each(|why| line(format!("NO VERDICT {why}")));
        self.drawings.iter().for_each(|drawing| line(format!("drawn in {}", drawing.display())));
        let verdict = match self.verdict() {
            Verdict::Clean => "clean: nothing contradicts what the store promises",
            Verdict::Violation => "a violation was found",
            Verdict::NoVerdict => "no verdict: this run is no evidence",
        };
        line(format!("{verdict}; logs and history are in {}", directory.display()));
        text
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// When clients' writes were acknowledged, ascending.
#[must_use]
pub fn write_times(calls: &[Call]) -> Vec<u64> {
    let is_write = |call: &&Call| {
        let done = matches!(&call.outcome, Outcome::Done(answer) if answer.deleted > 0 || !call.request.puts(answer.succeeded).is_empty());
        done && matches!(call.who, Who::Client(_))
    };
    let mut times: Vec<u64> = calls.iter().filter(is_write).map(|call| call.ended_ns).collect();
    times.sort_unstable();
    times
}

/// The longest time between two writes next to each other that overlaps these nanoseconds.
#[must_use]
pub fn longest_gap(times: &[u64], from_ns: u64, to_ns: u64) -> Duration {
    let overlapping = times.windows(2).filter(|pair| pair[0] < to_ns && pair[1] > from_ns);
    Duration::from_nanos(overlapping.map(|pair| pair[1] - pair[0]).max().unwrap_or(0))
}

/// Faults by kind, with what they did to writing.
#[must_use]
pub fn harms(done: &[Done], write_times: &[u64]) -> Vec<Harm> {
    let overlaps =
        |done: &Done, pair: &[u64]| pair[0] < done.ended_ns.saturating_add(AFTERMATH_NS) && pair[1] > done.began_ns;
    // Each time without a write, and the kinds that may have had a part in it.
    let gaps: Vec<(u64, BTreeSet<FaultKind>)> = write_times
        .windows(2)
        .map(|pair| {
            let kinds = done.iter().filter(|done| overlaps(done, pair)).map(|done| done.kind).collect();
            (pair[1] - pair[0], kinds)
        })
        .collect();
    let of_kind = |kind: FaultKind| {
        let these = || done.iter().filter(|done| done.kind == kind);
        these().next()?;
        let with = || gaps.iter().filter(|(_, kinds)| kinds.contains(&kind));
        let alone = with().filter(|(_, kinds)| kinds.len() == 1).map(|(gap, _)| *gap).max();
        let any = with().map(|(gap, _)| *gap).max().unwrap_or(0);
        Some(Harm {
            kind,
            done: these().count(),
            harmed: these().filter(|done| done.harmed).count(),
            longest_write_gap: Duration::from_nanos(any),
            longest_write_gap_alone: alone.map(Duration::from_nanos),
        })
    };
    FaultKind::ALL.into_iter().filter_map(of_kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_counts_if_it_only_begins_or_ends_within() {
        let times = [0, 10, 50, 60];
        assert_eq!(longest_gap(&times, 20, 30), Duration::from_nanos(40));
        assert_eq!(longest_gap(&times, 0, 10), Duration::from_nanos(10));
        assert_eq!(longest_gap(&times, 45, 70), Duration::from_nanos(40));
        assert_eq!(longest_gap(&[], 0, 10), Duration::ZERO);
    }

    fn done(kind: FaultKind, from_s: u64, to_s: u64) -> Done {
        let (began_ns, ended_ns) = (from_s * 1_000_000_000, to_s * 1_000_000_000);
        Done { kind, words: String::new(), began_ns, ended_ns, harmed: true }
    }

    #[test]
    fn a_gap_counts_for_every_kind_that_may_have_had_a_part_in_it_and_as_alone_for_one_only() {
        let all = [done(FaultKind::Kill, 10, 12), done(FaultKind::Cut, 14, 16), done(FaultKind::Kill, 30, 31)];
        let times: Vec<u64> = [9, 11, 15, 16, 29, 32].map(|second: u64| second * 1_000_000_000).into();
        let told: Vec<_> = harms(&all, &times)
            .into_iter()
            .map(|harm| (harm.kind, harm.done, harm.longest_write_gap, harm.longest_write_gap_alone))
            .collect();
        let seconds = Duration::from_secs;
        let expected =
            [(FaultKind::Kill, 2, seconds(4), Some(seconds(3))), (FaultKind::Cut, 1, seconds(13), Some(seconds(13)))];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_run_in_which_little_happened_is_no_evidence_and_a_violation_is_one_all_the_same() {
        let settings = Settings {
            nodes: 3,
            protocol: "raft".to_owned(),
            duration: Duration::from_secs(20),
            faults: [FaultKind::Kill].into(),
            seed: 1,
            clients: 1,
            directory: PathBuf::new(),
            program: PathBuf::new(),
        };
        let mut report = Report {
            settings,
            flags: Vec::new(),
            findings: Vec::new(),
            undecided: Vec::new(),
            counts: Counts { acknowledged: 500, searched: 400, ..Counts::default() },
            harms: harms(&[done(FaultKind::Kill, 0, 10)], &[]),
            longest_write_gap: Duration::ZERO,
            converged: None,
            drawings: Vec::new(),
        };
        report.demand_work();
        assert_eq!(report.verdict(), Verdict::Clean);
        report.harms.clear();
        report.counts.acknowledged = 3;
        report.demand_work();
        assert_eq!((report.verdict(), report.undecided.len()), (Verdict::NoVerdict, 2));
        report.findings.push("lost".to_owned());
        assert_eq!(report.verdict(), Verdict::Violation);
        assert!(report.text().contains("VIOLATION  lost") && report.json()["verdict"] == "violation");
    }
}
