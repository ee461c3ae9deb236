//! Many seeds, on several threads.

use super::run::{Options, Report, SeedViolation, replay_command, run_seed};
use super::subject::{Judged, Subject};
use crate::marks::{Mark, Marks};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A campaign in which fewer seeds did enough to mean anything has failed.
const EVIDENCE_PERCENT_MIN: u64 = 90;

/// What to run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// These seeds.
    pub seeds: Range<u64>,
    /// At most this long, on the clock on the wall.
    pub limit: Option<Duration>,
    /// On so many threads; at least one.
    pub jobs: usize,
    /// Whether to stop at the first violation.
    pub stop_at_first: bool,
    /// Marks not to ask for, beside those that the protocol cannot hit.
    pub impossible_marks: Vec<Mark>,
}

/// How far a campaign is, after each seed.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// Seeds done.
    pub done: u64,
    /// Violations so far.
    pub violations: usize,
    /// How long it has been running.
    pub elapsed: Duration,
    /// The latest seed.
    pub latest: &'a Report,
}

/// A seed that broke a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedSeed {
    /// The seed.
    pub seed: u64,
    /// What it broke.
    pub violation: SeedViolation,
    /// The command that repeats it.
    pub replay: String,
}

/// What a campaign showed.
#[derive(Clone, Debug)]
pub struct CampaignReport {
    /// The protocol's name.
    pub protocol: &'static str,
    /// Seeds run.
    pub seeds: u64,
    /// Of those, seeds in which enough happened to mean anything.
    pub evidence: u64,
    /// Every seed that broke a promise, ascending.
    pub failed: Vec<FailedSeed>,
    /// Rare things, over all seeds.
    pub marks: Marks,
    /// Marks that a campaign of this size must have hit and has not.
    pub missing_marks: Vec<Mark>,
    /// Single faults by kind, over all seeds.
    pub faults: BTreeMap<&'static str, u64>,
    /// Seeds by the classes of faults their storm had.
    pub classes: BTreeMap<&'static str, u64>,
    /// Events of all worlds.
    pub events: u64,
    /// Answered calls of all clients.
    pub operations: u64,
    /// Time in the worlds.
    pub simulated: Duration,
    /// Time on the wall.
    pub elapsed: Duration,
}

impl CampaignReport {
    /// Whether nothing was violated, enough seeds did enough to mean anything and, in a campaign large enough, every rare thing
    /// was seen.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failed.is_empty()
            && self.missing_marks.is_empty()
            && self.evidence * 100 >= self.seeds * EVIDENCE_PERCENT_MIN
    }

    fn empty(protocol: &'static str) -> CampaignReport {
        CampaignReport {
            protocol,
            seeds: 0,
            evidence: 0,
            failed: Vec::new(),
            marks: Marks::default(),
            missing_marks: Vec::new(),
            faults: BTreeMap::new(),
            classes: BTreeMap::new(),
            events: 0,
            operations: 0,
            simulated: Duration::ZERO,
            elapsed: Duration::ZERO,
        }
    }

    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.evidence += u64::from(report.is_evidence);
        self.marks.add(&report.marks);
        for (fault, count) in &report.faults {
            *self.faults.entry(fault).or_insert(0) += count;
        }
        for (class, _) in &report.plan.faults {
            *self.classes.entry(class.name()).or_insert(0) += 1;
        }
        self.events += report.events;
        self.operations += report.operations;
        self.simulated += report.simulated;
        if let Some(violation) = &report.violation {
            let replay = replay_command(report.protocol, report.seed);
            self.failed.push(FailedSeed { seed: report.seed, violation: violation.clone(), replay });
        }
    }
}

/// Runs a seed on a thread that is called like the command that repeats it: where a panic ends the process, as in release
/// builds, its message still names the seed.
fn run_on_named_thread<R: Subject, S: Judged>(seed: u64) -> Report {
    let run = move || run_seed::<R, S>(seed, &Options::default());
    let named = std::thread::Builder::new().name(replay_command(R::PROTOCOL, seed));
    match named.spawn(run) {
        Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        // No thread to be had: the run matters more than its name.
        Err(_) => run(),
    }
}

/// Runs a campaign and says after each seed how far it is. Seeds end in no particular order on several threads; the report
/// does not depend on it, unless a limit or a violation stops the campaign early.
pub fn run_campaign<R: Subject, S: Judged>(
    campaign: &Campaign,
    mut progress: impl FnMut(&Progress<'_>),
) -> CampaignReport {
    let started = Instant::now();
    let next = AtomicU64::new(campaign.seeds.start);
    let stop = AtomicBool::new(false);
    let mut report = CampaignReport::empty(R::PROTOCOL);
    std::thread::scope(|scope| {
        let (results, incoming) = mpsc::channel();
        for _ in 0..campaign.jobs.max(1) {
            let results = results.clone();
            let (next, stop) = (&next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && campaign.limit.is_none_or(|limit| started.elapsed() < limit) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= campaign.seeds.end || results.send(run_on_named_thread::<R, S>(seed)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(results);
        for one in incoming {
            report.add(&one);
            if one.violation.is_some() && campaign.stop_at_first {
                stop.store(true, Ordering::Relaxed);
            }
            let violations = report.failed.len();
            progress(&Progress { done: report.seeds, violations, elapsed: started.elapsed(), latest: &one });
        }
    });
    report.failed.sort_by_key(|failed| failed.seed);
    report.elapsed = started.elapsed();
    let impossible = |mark: &Mark| R::IMPOSSIBLE_MARKS.contains(mark) || campaign.impossible_marks.contains(mark);
    let missing = report.marks.missing().filter(|mark| report.seeds >= mark.seeds_needed() && !impossible(mark));
    report.missing_marks = missing.collect();
    report
}
