//! A failing seed, cut down to the few deeds that it takes to fail.
//!
//! The run is recorded as a list of deeds with their times, played again without storm and clients, and then parts of the list
//! are left out as long as the same property is broken (delta debugging; Zeller and Hildebrandt, 2002). What the network and
//! the disks do in between is drawn from the seed as ever, so leaving something out may change everything behind it: every
//! candidate is run, and only what still fails is kept.

use super::run::{Options, PANICS, Report, run_seed};
use super::subject::{Judged, Subject};
use crate::act::{Act, Deed};
use crate::scenario::{Scenario, Then};
use crate::transcript::Keep;
use quorate_types::{NodeId, Time};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// A failing seed, cut down.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What the script breaks. With everything checked always, this may be another promise than the whole run was seen to break.
    pub property: String,
    /// A scenario that breaks it.
    pub script: String,
    /// Deeds of the whole run.
    pub deeds_before: usize,
    /// Deeds of the script.
    pub deeds_after: usize,
    /// Nodes of the script.
    pub nodes: u64,
    /// How many runs it took.
    pub runs: u64,
}

/// Cuts a failing seed down, in at most so many runs of it. `None` if the seed does not fail, or does not fail in the same way
/// when its deeds are played again (a panic where panics end the process, say).
#[must_use]
pub fn shrink_seed<R: Subject, S: Judged>(seed: u64, runs_max: u64) -> Option<Shrunk> {
    let options = Options { keep: Keep::Nothing, tracing: None, record: true };
    let report = run_seed::<R, S>(seed, &options);
    let violation = report.violation.clone()?;
    let mut search = Search::new(&report, violation.property.clone(), runs_max);
    // With everything checked always, another promise may be seen broken before.
    search.property = search.broken_by::<R, S>(&search.best.clone())?;
    search.drop_deeds::<R, S>();
    search.drop_nodes::<R, S>();
    search.drop_deeds::<R, S>();
    search.round_times::<R, S>();
    let script = search.best.scenario::<R>(&search.property).text_of_deeds();
    Some(Shrunk {
        property: search.property,
        script,
        deeds_before: report.deeds.len(),
        deeds_after: search.best.deeds.len(),
        nodes: search.best.nodes,
        runs: search.runs,
    })
}

/// One thing to try.
#[derive(Clone, Debug)]
struct Candidate {
    seed: u64,
    nodes: u64,
    deeds: Vec<(Time, Deed)>,
    then: Then,
}

impl Candidate {
    fn scenario<R: Subject>(&self, property: &str) -> Scenario {
        let title = format!("Seed {} breaks {property}, cut down", self.seed);
        Scenario::of_deeds::<R>(title, self.seed, self.nodes, &self.deeds, &self.then)
    }
}

struct Search {
    property: String,
    best: Candidate,
    runs: u64,
    runs_max: u64,
}

impl Search {
    fn new(report: &Report, property: String, runs_max: u64) -> Search {
        let end = Time::ZERO + report.simulated;
        let then = match report.left_down.clone() {
            Some(without) => Then::Aftermath { without },
            None => Then::Wait { until: end },
        };
        let best = Candidate { seed: report.seed, nodes: report.plan.voters, deeds: report.deeds.clone(), then };
        Search { property, best, runs: 0, runs_max }
    }

    /// Which property a candidate breaks.
    fn broken_by<R: Subject, S: Judged>(&mut self, candidate: &Candidate) -> Option<String> {
        self.runs += 1;
        let scenario = candidate.scenario::<R>(&self.property);
        match catch_unwind(AssertUnwindSafe(|| scenario.replay::<R, S>())) {
            Ok(broken) => Some(broken?.property.to_owned()),
            Err(_) => Some(PANICS.to_owned()),
        }
    }

    /// Takes a candidate if it fails too.
    fn try_it<R: Subject, S: Judged>(&mut self, candidate: Candidate) -> bool {
        if self.runs >= self.runs_max || self.broken_by::<R, S>(&candidate).as_ref() != Some(&self.property) {
            return false;
        }
        self.best = candidate;
        true
    }

    /// Leaves out ever smaller parts of the list, until no single deed can be left out.
    fn drop_deeds<R: Subject, S: Judged>(&mut self) {
        let mut size = (self.best.deeds.len() / 2).max(1);
        loop {
            let mut at = 0;
            let mut dropped = false;
            while at < self.best.deeds.len() && self.runs < self.runs_max {
                let mut candidate = self.best.clone();
                let end = (at + size).min(candidate.deeds.len());
                candidate.deeds.drain(at..end);
                if self.try_it::<R, S>(candidate) {
                    dropped = true;
                } else {
                    at += size;
                }
            }
            if self.runs >= self.runs_max || (size == 1 && !dropped) {
                return;
            }
            if size > 1 {
                size /= 2;
            }
        }
    }

    /// Fewer voters, without whatever was done to those that are gone.
    fn drop_nodes<R: Subject, S: Judged>(&mut self) {
        for nodes in 1..self.best.nodes {
            let mut candidate = Candidate { nodes, ..self.best.clone() };
            candidate.deeds.retain(|(_, deed)| greatest_node(deed).0 <= nodes);
            if let Then::Aftermath { without } = &mut candidate.then {
                without.retain(|node| node.0 <= nodes);
            }
            if self.try_it::<R, S>(candidate) {
                return;
            }
        }
    }

    /// Times that are easier to read.
    fn round_times<R: Subject, S: Judged>(&mut self) {
        for unit in [Duration::from_millis(10), Duration::from_millis(1), Duration::from_micros(10)] {
            let unit = u64::try_from(unit.as_nanos()).unwrap_or(1);
            let mut candidate = self.best.clone();
            for (at, _) in &mut candidate.deeds {
                at.0 = at.0.next_multiple_of(unit);
            }
            if self.try_it::<R, S>(candidate) {
                return;
            }
        }
    }
}

/// The greatest node that a deed names.
fn greatest_node(deed: &Deed) -> NodeId {
    let act = match deed {
        Deed::Call { node, .. } => return *node,
        Deed::Act(act) => act,
    };
    match act {
        Act::Crash(node)
        | Act::Kill(node)
        | Act::Restart(node)
        | Act::RestartCrashing { node, .. }
        | Act::Pause { node, .. }
        | Act::Freeze { node, .. }
        | Act::Resume(node)
        | Act::StepClock { node, .. }
        | Act::HoldDisk(node)
        | Act::ReleaseDisk(node)
        | Act::SetDisk { node, .. }
        | Act::SetProcessing { node, .. }
        | Act::Rot { node, .. }
        | Act::Malfunction { node, .. }
        | Act::Fill { node, .. }
        | Act::MendDisks(node)
        | Act::Wipe(node)
        | Act::Copy(node)
        | Act::PutBack(node)
        | Act::StartJoining(node) => *node,
        Act::MoveLeader { node, to } => *node.max(to),
        Act::ChangeMembers { node, wish } => wish.greatest_node().max(*node),
        Act::SetLink { from, to, .. }
        | Act::Block { from, to }
        | Act::Unblock { from, to }
        | Act::Clog { from, to }
        | Act::Unclog { from, to }
        | Act::Replay { from, to, .. } => *from.max(to),
        Act::Hint { node, peer, .. } => *node.max(peer),
        Act::CrashAt { watched, victims, .. } => {
            victims.iter().map(|(node, _)| *node).chain([*watched]).max().unwrap_or_default()
        }
        Act::Partition(groups) => groups.iter().flatten().copied().max().unwrap_or_default(),
        Act::ForgetTraps | Act::SetLinks(_) | Act::Heal => NodeId::default(),
    }
}
