//! One seed from start to verdict.

use super::callers::Callers;
use super::judge;
use super::plan::Plan;
use super::storm::{Reminders, Storm, StormAlarm};
use super::subject::{Judged, Subject};
use crate::act::Act;
use crate::marks::Marks;
use crate::random::Random;
use crate::transcript::Keep;
use crate::world::World;
use quorate_narrator::Happening;
use quorate_types::{NodeId, Time};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Within so many times its patience after the storm, a cluster must serve at every live node. A Raft with sensible settings
/// needs ten; drawn ones have windows and batches so small that a laggard may take longer to catch up.
const LIVE_AFTER_HEAL_PATIENCES: u32 = 20;
/// A run with fewer answered calls proves nothing.
const ANSWERS_FOR_EVIDENCE: u64 = 20;

/// How to run a seed. Nothing in it changes what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How much of the transcript is kept for the report.
    pub keep: Keep,
    /// Whether nodes trace; `None` leaves it to the seed.
    pub tracing: Option<bool>,
}

impl Default for Options {
    fn default() -> Options {
        Options { keep: Keep::Nothing, tracing: None }
    }
}

/// A promise that a seed broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedViolation {
    /// Which property.
    pub property: String,
    /// With which values, and when.
    pub text: String,
}

/// What a seed showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The protocol's name.
    pub protocol: &'static str,
    /// The hash over everything that happened, guards excepted.
    pub trace_hash: u64,
    /// The first broken promise.
    pub violation: Option<SeedViolation>,
    /// How long it was in the world.
    pub simulated: Duration,
    /// Calls that were answered.
    pub operations: u64,
    /// Events of the world.
    pub events: u64,
    /// Single faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Which rare things happened.
    pub marks: Marks,
    /// Whether enough was answered for the run to mean anything.
    pub is_evidence: bool,
    /// What the seed decided beforehand.
    pub plan: Plan,
    /// What happened, as far as it was to be kept.
    pub happenings: Vec<Happening>,
}

impl Report {
    /// The command that repeats this run.
    #[must_use]
    pub fn replay_command(&self) -> String {
        replay_command(self.protocol, self.seed)
    }
}

/// The command that repeats a seed.
pub(super) fn replay_command(protocol: &str, seed: u64) -> String {
    match protocol {
        "raft" => format!("quorate sim --seed {seed}"),
        other => format!("quorate sim --protocol {other} --seed {seed}"),
    }
}

/// Runs one seed: calm, storm, calm; then the verdict. The same seed gives the same report, always and everywhere.
///
/// A panic anywhere counts as a violation (where panics unwind).
#[must_use]
pub fn run_seed<R: Subject, S: Judged>(seed: u64, options: &Options) -> Report {
    run_plan::<R, S>(seed, Plan::of_seed(seed), options)
}

/// Runs a seed with another plan than its own: for asking what if. The seed still decides everything that happens on the way.
#[must_use]
pub fn run_plan<R: Subject, S: Judged>(seed: u64, mut plan: Plan, options: &Options) -> Report {
    if let Some(tracing) = options.tracing {
        plan.tracing = tracing;
    }
    let fallback = plan.clone();
    catch_unwind(AssertUnwindSafe(|| Run::<R, S>::new(seed, plan, options).complete())).unwrap_or_else(|panic| Report {
        seed,
        protocol: R::PROTOCOL,
        trace_hash: 0,
        violation: Some(SeedViolation { property: "NoPanic".to_owned(), text: panic_text(panic.as_ref()) }),
        simulated: Duration::ZERO,
        operations: 0,
        events: 0,
        faults: BTreeMap::new(),
        marks: Marks::default(),
        is_evidence: false,
        plan: fallback,
        happenings: Vec::new(),
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("something panicked: {}", text.unwrap_or("no message"))
}

/// What an alarm of the world stands for.
#[derive(Clone, Copy, Debug)]
enum Alarm {
    Storm(StormAlarm),
    Caller(usize),
}

struct Run<R: Subject, S: Judged> {
    seed: u64,
    plan: Plan,
    world: World<R, S>,
    storm: Storm,
    callers: Callers,
    alarms: Vec<Alarm>,
    random: Random,
}

impl<R: Subject, S: Judged> Run<R, S> {
    fn new(seed: u64, plan: Plan, options: &Options) -> Run<R, S> {
        let config = plan.world::<R>(&mut Random::stream(seed, "settings", 0), options.keep);
        Run {
            seed,
            world: World::new(config, seed),
            storm: Storm::new(Random::stream(seed, "storm", 0)),
            callers: Callers::new(&plan, Random::stream(seed, "callers", 0)),
            alarms: Vec::new(),
            random: Random::stream(seed, "run", 0),
            plan,
        }
    }

    fn complete(mut self) -> Report {
        self.live_through();
        let end = self.world.now();
        let violation = self
            .world
            .broken_promise()
            .map(|broken| SeedViolation { property: broken.property.to_owned(), text: broken.to_string() });
        let operations = self.callers.answered();
        Report {
            seed: self.seed,
            protocol: R::PROTOCOL,
            trace_hash: self.world.transcript().hash(),
            violation,
            simulated: end.since(Time::ZERO),
            operations,
            events: self.world.events(),
            faults: self.storm.counts().clone(),
            marks: self.world.marks(),
            is_evidence: operations >= ANSWERS_FOR_EVIDENCE,
            plan: self.plan,
            happenings: self.world.happenings().cloned().collect(),
        }
    }

    /// Everything, up to the first broken promise.
    fn live_through(&mut self) {
        for caller in 0..self.callers.count() {
            self.remind(Duration::ZERO, Alarm::Caller(caller));
        }
        // What is decided once must not be decided before anything goes wrong.
        let calm = if R::SLOTS.is_some() { Duration::ZERO } else { self.plan.calm };
        let calm_ends = Time::ZERO + calm;
        self.run_until(calm_ends);
        let reminders = self.storm.begin(&self.plan, &mut self.world);
        self.remind_storm(reminders);
        self.run_until(calm_ends + self.plan.storm);
        self.callers.stop();
        self.storm.end(&self.plan, &mut self.world);
        let core = self.choose_core();
        let quorum = self.world.nodes().count() / 2 + 1;
        if core.len() < quorum {
            // Nobody can serve any more, and nobody need. What was answered must still agree with itself.
            self.run_until(self.world.now() + self.callers.longest_call() + self.plan.patience * 2);
            if self.world.broken_promise().is_none() {
                judge::judge_answers::<R, S>(&mut self.world, &self.callers);
            }
        } else if self.check_live_after_heal(&core) && self.world.broken_promise().is_none() {
            judge::judge::<R, S>(&mut self.world, &self.callers, &core);
        }
    }

    /// All nodes that could be started, or a majority that is to manage alone.
    fn choose_core(&mut self) -> Vec<NodeId> {
        let everyone = self.world.nodes().count();
        let mut nodes: Vec<NodeId> = self.world.nodes().filter(|node| self.world.is_running(*node)).collect();
        if self.plan.leave_minority_down {
            self.random.shuffle(&mut nodes);
            for broken in nodes.split_off(nodes.len().min(everyone / 2 + 1)) {
                self.world.act(&Act::Crash(broken));
            }
            nodes.sort();
        }
        nodes
    }

    /// `LiveAfterHeal`: all calls end; a new write at every live node is decided; everything decided is applied at every
    /// live node; every key can be read.
    fn check_live_after_heal(&mut self, core: &[NodeId]) -> bool {
        let healed = self.world.now();
        let patience = self.plan.patience;
        let every_call_over = healed + self.callers.longest_call() + patience * 2;
        if !self.run_while(every_call_over, |run| run.callers.waiting() > 0) {
            return self.not_live("a call is still without an answer", core);
        }
        let deadline = self.world.now().max(healed) + patience * LIVE_AFTER_HEAL_PATIENCES;
        for node in core {
            if !self.answered_at(*node, deadline, |callers, world| callers.probe_write(world, *node)) {
                return self.not_live(&format!("a new write at {node} is not decided"), core);
            }
        }
        let behind = |run: &Run<R, S>| core.iter().any(|node| run.applied(*node) != Some(run.world.highest_applied()));
        if !self.run_while(deadline, |run| behind(run)) {
            return self.not_live("not every node has applied everything", core);
        }
        for node in core {
            if !self.answered_at(*node, deadline, |callers, world| callers.probe_read(world, *node)) {
                return self.not_live(&format!("a read at {node} is not answered"), core);
            }
        }
        true
    }

    /// Calls again and again until one is answered.
    fn answered_at(
        &mut self,
        node: NodeId,
        deadline: Time,
        mut call: impl FnMut(&mut Callers, &mut World<R, S>),
    ) -> bool {
        while self.world.now() < deadline && self.world.broken_promise().is_none() {
            let answered = self.callers.answered_at(node);
            call(&mut self.callers, &mut self.world);
            if !self.run_while(deadline, |run| run.callers.waiting() > 0) {
                return false;
            }
            if self.callers.answered_at(node) > answered {
                return true;
            }
            self.run_until(self.world.now() + self.plan.patience / 4);
        }
        false
    }

    fn applied(&self, node: NodeId) -> Option<quorate_types::Slot> {
        self.world.node(node).map(|node| node.status().machine.applied)
    }

    fn not_live(&mut self, what: &str, core: &[NodeId]) -> bool {
        let states: Vec<String> = core
            .iter()
            .map(|node| match self.world.node(*node) {
                None => format!("{node} is down"),
                Some(running) => {
                    let status = running.status();
                    let protocol = status.protocol;
                    format!(
                        "{node} is {} in era {}, log up to {}, durable {}, committed {}, applied {}",
                        protocol.role.name(),
                        protocol.era,
                        protocol.last,
                        protocol.durable,
                        protocol.committed,
                        status.machine.applied
                    )
                }
            })
            .collect();
        let detail = format!("faults are over and {what}; {}", states.join("; "));
        self.world.report_broken("LiveAfterHeal", None, detail);
        false
    }

    /// Runs while `needed`, up to `deadline`. Says whether it is no longer needed.
    fn run_while(&mut self, deadline: Time, needed: impl Fn(&Run<R, S>) -> bool) -> bool {
        while needed(self) {
            if self.world.next_at().is_none_or(|next| next > deadline) || !self.world.step() {
                return false;
            }
            self.look_after();
        }
        true
    }

    fn run_until(&mut self, until: Time) {
        self.run_while(until, |_| true);
        if self.world.broken_promise().is_none() {
            self.world.run_until(until);
        }
    }

    /// Deals with alarms and answers after an event.
    fn look_after(&mut self) {
        for token in self.world.take_alarms() {
            match usize::try_from(token).ok().and_then(|token| self.alarms.get(token)).copied() {
                Some(Alarm::Caller(caller)) => self.callers.call(caller, &mut self.world),
                Some(Alarm::Storm(alarm)) => {
                    let reminders = self.storm.alarm(&self.plan, &mut self.world, alarm);
                    self.remind_storm(reminders);
                }
                None => {}
            }
        }
        while !self.world.results().is_empty() {
            for result in self.world.take_results() {
                if let Some((after, caller)) = self.callers.returned::<S>(result) {
                    self.remind(after, Alarm::Caller(caller));
                }
            }
        }
    }

    fn remind_storm(&mut self, reminders: Reminders) {
        for (after, alarm) in reminders {
            self.remind(after, Alarm::Storm(alarm));
        }
    }

    fn remind(&mut self, after: Duration, alarm: Alarm) {
        let token = self.alarms.len() as u64;
        self.alarms.push(alarm);
        self.world.set_alarm(self.world.now() + after, token);
    }
}
