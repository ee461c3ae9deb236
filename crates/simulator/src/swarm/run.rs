//! One seed from start to verdict.

use super::aftermath::Aftermath;
use super::callers::Callers;
use super::judge::Finding;
use super::lessees::Lessees;
use super::operator::{Errands, OperatorAlarm, Operators};
use super::pipeliners::Pipeliners;
use super::plan::{FaultClass, Plan};
use super::sessioners::Sessioners;
use super::storm::{Reminders, Storm, StormAlarm};
use super::subject::{Decided, Judged, Subject};
use super::trust;
use super::watchers::Watchers;
use crate::act::Deed;
use crate::marks::Marks;
use crate::random::Random;
use crate::transcript::Keep;
use crate::world::World;
use quorate_narrator::Happening;
use quorate_types::{NodeId, Time};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The property that a panic breaks.
pub(super) const PANICS: &str = "NoPanic";
/// A run with fewer answered calls proves nothing.
const ANSWERS_FOR_EVIDENCE: u64 = 20;

/// How to run a seed. Nothing in it changes what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How much of the transcript is kept for the report.
    pub keep: Keep,
    /// Whether nodes trace; `None` leaves it to the seed.
    pub tracing: Option<bool>,
    /// Whether everything that is done to the world is kept for the report.
    pub record: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { keep: Keep::Nothing, tracing: None, record: false }
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
    /// What was done to the world while there were faults, if it was to be recorded.
    pub deeds: Vec<(Time, Deed)>,
    /// If the faults were over when it ended: who was left broken for ever.
    pub left_down: Option<Vec<NodeId>>,
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
    run_plan::<R, S>(seed, Plan::of_seed_for::<R>(seed), options)
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
        violation: Some(SeedViolation { property: PANICS.to_owned(), text: panic_text(panic.as_ref()) }),
        simulated: Duration::ZERO,
        operations: 0,
        events: 0,
        faults: BTreeMap::new(),
        marks: Marks::default(),
        is_evidence: false,
        plan: fallback,
        happenings: Vec::new(),
        deeds: Vec::new(),
        left_down: None,
    })
}

/// The world of a seed, before anything is done to it.
pub(crate) fn new_world<R: Subject, S: Judged>(seed: u64, plan: &Plan, keep: Keep) -> World<R, S> {
    let config = plan.world::<R>(&mut Random::stream(seed, "settings", 0), keep);
    World::with_duty(config, S::duty(plan.lease_checkpoints_every), seed)
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
    Lessee(usize),
    Operator(OperatorAlarm),
    Sessioner(usize),
    Pipeliner(usize),
}

struct Run<R: Subject, S: Judged> {
    seed: u64,
    plan: Plan,
    world: World<R, S>,
    storm: Storm,
    operators: Operators,
    callers: Callers,
    lessees: Lessees,
    sessioners: Sessioners,
    pipeliners: Pipeliners,
    watchers: Watchers,
    alarms: Vec<Alarm>,
    /// Once the faults are over: who stays broken for ever.
    left_down: Option<Vec<NodeId>>,
    /// Unless so many were lost that this could not be demanded.
    serves_in_the_end: bool,
    random: Random,
    /// When what several nodes believe is compared.
    looks: Random,
    /// The last that somebody called decided, and who.
    decided: Option<(NodeId, Decided)>,
}

impl<R: Subject, S: Judged> Run<R, S> {
    fn new(seed: u64, plan: Plan, options: &Options) -> Run<R, S> {
        let mut world = new_world(seed, &plan, options.keep);
        if options.record {
            world.record_deeds();
        }
        let mut callers = Callers::new(&plan, Random::stream(seed, "callers", 0));
        callers.history.trust_clocks(plan.clock_error_percent_max());
        let sessioners = Sessioners::new(&plan, &mut callers.history, Random::stream(seed, "sessioners", 0));
        Run {
            seed,
            world,
            sessioners,
            pipeliners: Pipeliners::new(&plan, Random::stream(seed, "pipeliners", 0)),
            storm: Storm::new(Random::stream(seed, "storm", 0)),
            operators: Operators::new::<R>(&plan, Random::stream(seed, "operators", 0)),
            callers,
            watchers: Watchers::new(&plan, Random::stream(seed, "watchers", 0)),
            lessees: Lessees::new(&plan, Random::stream(seed, "lessees", 0)),
            alarms: Vec::new(),
            left_down: None,
            serves_in_the_end: true,
            random: Random::stream(seed, "run", 0),
            looks: Random::stream(seed, "looks", 0),
            decided: None,
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
        let operations = self.callers.history.answered();
        let mut marks = self.world.marks();
        self.callers.history.mark(&mut marks);
        self.watchers.mark(&mut marks);
        self.sessioners.mark(&mut marks);
        self.pipeliners.mark(&mut marks);
        Report {
            seed: self.seed,
            protocol: R::PROTOCOL,
            trace_hash: self.world.transcript().hash(),
            violation,
            simulated: end.since(Time::ZERO),
            operations,
            events: self.world.events(),
            faults: self
                .storm
                .counts()
                .iter()
                .chain(self.operators.counts())
                .map(|(what, count)| (*what, *count))
                .chain((!self.serves_in_the_end).then_some(("majority-lost", 1)))
                .collect(),
            marks,
            is_evidence: operations >= ANSWERS_FOR_EVIDENCE,
            plan: self.plan,
            happenings: self.world.happenings().cloned().collect(),
            deeds: self.world.deeds().to_vec(),
            left_down: self.left_down,
        }
    }

    /// Everything, up to the first broken promise.
    fn live_through(&mut self) {
        for caller in 0..self.callers.count() {
            self.remind(Duration::ZERO, Alarm::Caller(caller));
        }
        for lessee in 0..self.lessees.count() {
            self.remind(Duration::ZERO, Alarm::Lessee(lessee));
        }
        for sessioner in 0..self.sessioners.count() {
            self.remind(Duration::ZERO, Alarm::Sessioner(sessioner));
        }
        for pipeliner in 0..self.pipeliners.count() {
            self.remind(Duration::ZERO, Alarm::Pipeliner(pipeliner));
        }
        // What is decided once must not be decided before anything goes wrong.
        let calm = if R::SLOTS.is_some() { Duration::ZERO } else { self.plan.calm };
        let calm_ends = Time::ZERO + calm;
        self.run_until(calm_ends);
        let reminders = self.storm.begin(&self.plan, &mut self.world);
        self.remind_storm(reminders);
        let errands = self.operators.begin();
        self.remind_operators(errands);
        self.run_until(calm_ends + self.plan.storm);
        self.callers.stop();
        self.lessees.stop();
        self.sessioners.stop(&self.world, &mut self.callers.history);
        self.pipeliners.stop(&self.world, &mut self.callers.history);
        self.storm.end();
        self.operators.end();
        self.live_on_partial_links();
        let left_down = if self.plan.leave_minority_down { self.choose_minority() } else { Vec::new() };
        self.left_down = Some(left_down.clone());
        let (times, history) = (self.plan.times(), &mut self.callers.history);
        self.serves_in_the_end = Aftermath { world: &mut self.world, history, times }.examine(&left_down);
        if self.world.broken_promise().is_none() {
            let watched = self.watchers.judge(&self.world);
            self.report(watched);
        }
    }

    /// After a storm that left some links only, where nobody asks for other leaders: what must be served on some links, everything
    /// else repaired.
    fn live_on_partial_links(&mut self) {
        let steering = &self.plan.steering;
        let asks_nothing = steering.members.is_none() && steering.transfers.is_none();
        let is_settled = asks_nothing && steering.guidance.priorities.is_empty();
        let is_asked = R::LEADS_ON_PARTIAL_LINKS && is_settled && self.plan.has(FaultClass::PartialLinks);
        if !is_asked || self.world.broken_promise().is_some() {
            return;
        }
        self.world.repair(&[]);
        if self.storm.leave_some_links(&mut self.world) {
            let (times, history) = (self.plan.times(), &mut self.callers.history);
            Aftermath { world: &mut self.world, history, times }.check_on_partial_links();
        }
    }

    fn report(&mut self, found: Result<(), Finding>) {
        if let Err((property, detail)) = found {
            self.world.report_broken(property, None, detail);
        }
    }

    /// Nodes to stay broken for ever, so that a bare majority has to manage alone: those that cannot come back, and others.
    fn choose_minority(&mut self) -> Vec<NodeId> {
        let everyone: Vec<NodeId> = self.world.members().voters().collect();
        let (mut broken, mut others): (Vec<NodeId>, Vec<NodeId>) =
            everyone.iter().partition(|node| self.world.is_out_of_service(**node));
        self.random.shuffle(&mut others);
        broken.append(&mut others);
        broken.truncate(everyone.len().saturating_sub(1) / 2);
        broken
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

    fn heed(&mut self, alarm: Alarm) {
        match alarm {
            Alarm::Caller(caller) => self.callers.call(caller, &mut self.world),
            Alarm::Lessee(lessee) => {
                let history = &mut self.callers.history;
                if let Some(again) = self.lessees.act(lessee, &mut self.world, history) {
                    self.remind(again, Alarm::Lessee(lessee));
                }
            }
            Alarm::Sessioner(sessioner) => {
                let history = &mut self.callers.history;
                if let Some(again) = self.sessioners.act(sessioner, &mut self.world, history) {
                    self.remind(again, Alarm::Sessioner(sessioner));
                }
            }
            Alarm::Pipeliner(pipeliner) => {
                let history = &mut self.callers.history;
                if let Some(again) = self.pipeliners.act(pipeliner, &mut self.world, history) {
                    self.remind(again, Alarm::Pipeliner(pipeliner));
                }
            }
            Alarm::Storm(alarm) => {
                let reminders = self.storm.alarm(&self.plan, &mut self.world, alarm);
                self.remind_storm(reminders);
            }
            Alarm::Operator(alarm) => {
                let errands = self.operators.alarm(alarm, &self.storm.doomed, &mut self.world);
                self.remind_operators(errands);
            }
        }
    }

    /// Deals with alarms and answers after an event.
    fn look_after(&mut self) {
        for token in self.world.take_alarms() {
            if let Some(alarm) = usize::try_from(token).ok().and_then(|token| self.alarms.get(token)).copied() {
                self.heed(alarm);
            }
        }
        while !self.world.results().is_empty() {
            for result in self.world.take_results() {
                let history = &mut self.callers.history;
                let of_sessions = self
                    .sessioners
                    .returned::<S>(result, history)
                    .or_else(|result| self.pipeliners.returned::<S>(result, history));
                match of_sessions {
                    Ok(found) => self.report(found),
                    Err(result) => {
                        if let Some((after, caller)) = self.callers.returned::<S>(result) {
                            self.remind(after, Alarm::Caller(caller));
                        }
                    }
                }
            }
        }
        self.callers.history.look_at_leases(&mut self.world);
        let watched = self.watchers.look(&self.world);
        self.report(watched);
        if let Some((leaver, members)) = self.world.take_retired() {
            let retired = members.map_or(Ok(()), |members| trust::check_retired(&self.world, leaver, &members));
            self.report(retired);
        }
        if let Some(node) = self.world.take_elected() {
            let elected = trust::check_elected(&self.world, node);
            self.report(elected);
        }
        if let Some(node) = self.world.take_committed() {
            let decided = trust::check_decided(&self.world, node);
            self.report(decided);
            let found = self.world.node(node).and_then(|node| node.replica().calls_decided());
            self.decided = found.map(|decided| (node, decided)).or(self.decided.take());
        }
        if self.looks.happens(self.plan.deep) {
            let trusted = trust::check(&self.world);
            self.report(trusted);
            let kept = self.decided.as_ref().map_or(Ok(()), |(by, it)| trust::check_kept(&self.world, *by, it));
            self.report(kept);
        }
    }

    fn remind_storm(&mut self, reminders: Reminders) {
        for (after, alarm) in reminders {
            self.remind(after, Alarm::Storm(alarm));
        }
    }

    fn remind_operators(&mut self, errands: Errands) {
        for (after, alarm) in errands {
            self.remind(after, Alarm::Operator(alarm));
        }
    }

    fn remind(&mut self, after: Duration, alarm: Alarm) {
        let token = self.alarms.len() as u64;
        self.alarms.push(alarm);
        self.world.set_alarm(self.world.now() + after, token);
    }
}
