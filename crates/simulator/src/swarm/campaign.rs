//! Many seeds, on several threads.

use super::run::{Options, Report, SeedViolation, replay_command, run_seed};
use super::shard::Shard;
use super::subject::{Judged, Subject};
use crate::marks::{Mark, Marks};
use crate::random::Random;
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
    /// Of those, this part.
    pub shard: Shard,
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

/// What a campaign showed, or a part of one.
#[derive(Clone, Debug)]
pub struct CampaignReport {
    /// The protocol's name.
    pub protocol: String,
    /// Seeds that were to be run.
    pub wanted: u64,
    /// Seeds run.
    pub seeds: u64,
    /// Of those, seeds in which enough happened to mean anything.
    pub evidence: u64,
    /// Every seed that broke a promise, ascending.
    pub failed: Vec<FailedSeed>,
    /// Rare things, over all seeds.
    pub marks: Marks,
    /// Marks that are not asked for.
    pub impossible_marks: Vec<Mark>,
    /// Single faults by kind, over all seeds.
    pub faults: BTreeMap<String, u64>,
    /// Seeds by the classes of faults their storm had.
    pub classes: BTreeMap<String, u64>,
    /// Events of all worlds.
    pub events: u64,
    /// Answered calls of all clients.
    pub operations: u64,
    /// Time in the worlds.
    pub simulated: Duration,
    /// Over what every seed's trace hash was; in whatever order and on how many machines they ran, equal runs make it equal.
    pub trace_digest: u64,
    /// Time on the wall; of merged reports the longest.
    pub elapsed: Duration,
    /// Time on the wall, for every thread.
    pub thread_time: Duration,
}

impl CampaignReport {
    /// Whether nothing was violated, enough seeds did enough to mean anything and, in a campaign large enough, every rare thing
    /// was seen.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failed.is_empty()
            && self.missing_marks().is_empty()
            && self.evidence * 100 >= self.seeds * EVIDENCE_PERCENT_MIN
    }

    /// Marks that a campaign of this size must have hit and has not.
    #[must_use]
    pub fn missing_marks(&self) -> Vec<Mark> {
        let is_due = |mark: &Mark| self.seeds >= mark.seeds_needed() && !self.impossible_marks.contains(mark);
        self.marks.missing().filter(is_due).collect()
    }

    /// Adds another part of the same campaign, which shares no seed with this one. The sum is what one run of both would have
    /// reported, but for the times.
    pub fn merge(&mut self, other: CampaignReport) {
        self.wanted += other.wanted;
        self.seeds += other.seeds;
        self.evidence += other.evidence;
        self.failed.extend(other.failed);
        self.failed.sort_by_key(|failed| failed.seed);
        self.marks.add(&other.marks);
        add_counts(&mut self.faults, other.faults);
        add_counts(&mut self.classes, other.classes);
        self.events += other.events;
        self.operations += other.operations;
        self.simulated += other.simulated;
        self.trace_digest = self.trace_digest.wrapping_add(other.trace_digest);
        self.elapsed = self.elapsed.max(other.elapsed);
        self.thread_time += other.thread_time;
    }

    fn empty(protocol: &str, wanted: u64, impossible_marks: Vec<Mark>) -> CampaignReport {
        CampaignReport {
            protocol: protocol.to_owned(),
            wanted,
            seeds: 0,
            evidence: 0,
            failed: Vec::new(),
            marks: Marks::default(),
            impossible_marks,
            faults: BTreeMap::new(),
            classes: BTreeMap::new(),
            events: 0,
            operations: 0,
            simulated: Duration::ZERO,
            trace_digest: 0,
            elapsed: Duration::ZERO,
            thread_time: Duration::ZERO,
        }
    }

    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.evidence += u64::from(report.is_evidence);
        self.marks.add(&report.marks);
        add_counts(&mut self.faults, report.faults.iter().map(|(fault, count)| ((*fault).to_owned(), *count)));
        let faults = report.plan.faults.iter().map(|(class, _)| class.name());
        let classes = faults.chain(report.plan.steering.classes());
        add_counts(&mut self.classes, classes.map(|class| (class.to_owned(), 1)));
        // Which seed it was counts too: a sum alone would not see two that changed places.
        self.trace_digest =
            self.trace_digest.wrapping_add(Random::stream(report.trace_hash, "seed", report.seed).bits());
        self.events += report.events;
        self.operations += report.operations;
        self.simulated += report.simulated;
        if let Some(violation) = &report.violation {
            let replay = replay_command(report.protocol, report.seed);
            self.failed.push(FailedSeed { seed: report.seed, violation: violation.clone(), replay });
        }
    }
}

fn add_counts(sum: &mut BTreeMap<String, u64>, counts: impl IntoIterator<Item = (String, u64)>) {
    for (name, count) in counts {
        *sum.entry(name).or_insert(0) += count;
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
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let jobs = u32::try_from(campaign.jobs.max(1)).unwrap_or(u32::MAX);
    let impossible = [R::IMPOSSIBLE_MARKS, &campaign.impossible_marks].concat();
    let mut report = CampaignReport::empty(R::PROTOCOL, campaign.shard.len(&campaign.seeds), impossible);
    std::thread::scope(|scope| {
        let (results, incoming) = mpsc::channel();
        for _ in 0..jobs {
            let results = results.clone();
            let (next, stop) = (&next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && campaign.limit.is_none_or(|limit| started.elapsed() < limit) {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(seed) = campaign.shard.seed(&campaign.seeds, place) else { break };
                    if results.send(run_on_named_thread::<R, S>(seed)).is_err() {
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
    report.thread_time = report.elapsed * jobs;
    report
}
