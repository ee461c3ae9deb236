//! Carrying a scenario out.

use super::decree::SingleValue;
use super::script::{Call, Expectation, LogMark, Picked, Protocol, Scenario, Standing, Step, Treatment};
use crate::network::{Fate, FilterRule, Flight};
use crate::random::Chance;
use crate::swarm::{Aftermath, History, Judged, OnProtocol, Plan, Scripted, ScriptedTimes, Subject, Times, new_world};
use crate::world::{BrokenPromise, Checks, DiskModel, OperationId, Outcome, World, WorldConfig};
use crate::{Keep, Latency, Transcript};
use bytes::Bytes;
use quorate_keyspace::Keyspace;
use quorate_machine::MachineConfig;
use quorate_narrator::{Ending, Happening, What};
use quorate_node::NodeConfig;
use quorate_paxos::Paxos;
use quorate_protocol::{Replica, Verdict};
use quorate_types::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the `run until` steps wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a scenario failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioFailure {
    /// Its line.
    pub line: usize,
    /// The line's text.
    pub text: String,
    /// What was found instead.
    pub why: String,
}

/// A scenario carried out.
#[derive(Clone, Debug)]
pub struct ScenarioReport {
    /// The first thing that was not as expected.
    pub failure: Option<ScenarioFailure>,
    /// Everything that happened.
    pub transcript: Transcript,
}

impl Scenario {
    /// Carries it out, up to the first thing that is not as expected. A broken promise (agreement, durability, an invariant)
    /// is never as expected.
    #[must_use]
    pub fn run(&self) -> ScenarioReport {
        match self.protocol {
            Protocol::Log(protocol) => protocol.with(Play(self)),
            Protocol::Paxos => {
                let config = self.config(NodeConfig::new(quorate_paxos::Config::default()));
                let world: World<Paxos, SingleValue> = World::new(config, self.seed);
                Stage::new(self, world, self.times()).play(self)
            }
        }
    }

    /// Carries a script of a seed out on a protocol and a state machine of the caller's, whatever protocol it names; says which
    /// promise was broken. Expectations are not looked at: what ends the run is a broken promise.
    #[must_use]
    pub fn replay<R: Subject, S: Judged>(&self) -> Option<BrokenPromise> {
        let plan = self.plan().unwrap_or_else(|| Plan::of_seed(self.seed));
        let stage = Stage::<R, S>::new(self, new_world(self.seed, &plan, Keep::Nothing), self.times());
        stage.carry_out(self).0.broken_promise().cloned()
    }

    /// Carries a script out on a replica and a state machine of the caller's, whatever protocol it names, with the script's
    /// settings, these of the protocol, and these checks; says which promise was broken. It ends there, or at the first step
    /// that fails.
    #[must_use]
    pub fn replay_with<R: Subject, S: Judged>(&self, config: R::Config, checks: Checks) -> Option<BrokenPromise> {
        let config = WorldConfig { checks, ..self.config(NodeConfig::new(config)) };
        let world: World<R, S> = World::new(config, self.seed);
        Stage::new(self, world, self.times()).carry_out(self).0.broken_promise().cloned()
    }

    fn log_world<R: Scripted>(&self, keep: Keep) -> World<R, Keyspace> {
        if let Some(mut plan) = self.plan() {
            plan.tracing = true;
            return new_world(self.seed, &plan, keep);
        }
        let config = R::paced(&ScriptedTimes {
            election_timeout: self.election_timeout,
            heartbeat: self.heartbeat,
            entries_per_append: self.entries_per_append.map(|entries| usize::try_from(entries).unwrap_or(usize::MAX)),
        });
        World::new(self.config(NodeConfig::new(config)), self.seed)
    }

    fn config<R: Replica>(&self, node: NodeConfig<R>) -> WorldConfig<R> {
        let mut config = WorldConfig::perfect(self.node_count(), node, self.latency);
        config.disk = DiskModel { write: Latency::ZERO, flush: Latency::exactly(self.flush) };
        config.archive = true;
        config.node.tracing = true;
        config
    }

    /// The plan whose settings are taken, if they are a seed's; but that everything is checked always, which changes nothing else.
    fn plan(&self) -> Option<Plan> {
        let (ghost, deep) = (Chance::ALWAYS, Chance::ALWAYS);
        self.like_seed.map(|seed| Plan { voters: self.node_count(), ghost, deep, ..Plan::of_seed(seed) })
    }

    /// What the aftermath expects; without a seed nothing of leases that are logged often.
    fn times(&self) -> Times {
        self.plan().map_or_else(
            || Times {
                patience: self.election_timeout,
                longest_call: MachineConfig::default().request_timeout,
                lease_checkpoints_every: Duration::MAX,
            },
            |plan| plan.times(),
        )
    }
}

/// Carries a script out on the protocol that it names.
struct Play<'a>(&'a Scenario);

impl OnProtocol for Play<'_> {
    type Output = ScenarioReport;

    fn run<R: Scripted>(self) -> ScenarioReport {
        let Play(scenario) = self;
        Stage::new(scenario, scenario.log_world::<R>(Keep::Everything), scenario.times()).play(scenario)
    }
}

/// One call and how it ended.
struct Called {
    operation: OperationId,
    ended: Option<(Ending, String)>,
}

struct Stage<R: Subject, S: Judged> {
    world: World<R, S>,
    history: History,
    calls: BTreeMap<String, Called>,
    times: Times,
    /// Guards before this place in the transcript are forgotten.
    forgotten: usize,
}

type Checked = Result<(), String>;

impl<R: Subject, S: Judged> Stage<R, S> {
    fn new(scenario: &Scenario, mut world: World<R, S>, times: Times) -> Stage<R, S> {
        world.set_manual_timers(scenario.manual_timers);
        let (mut history, calls) = (History::default(), BTreeMap::new());
        history.trust_clocks(scenario.plan().and_then(|plan| plan.clock_error_percent_max()));
        Stage { world, history, calls, times, forgotten: 0 }
    }

    fn play(self, scenario: &Scenario) -> ScenarioReport {
        let (world, failure) = self.carry_out(scenario);
        ScenarioReport { failure, transcript: world.transcript().clone() }
    }

    /// All steps, up to the first that fails.
    fn carry_out(mut self, scenario: &Scenario) -> (World<R, S>, Option<ScenarioFailure>) {
        for line in &scenario.steps {
            let done = self.step(&line.step).and_then(|()| self.no_broken_promise());
            if let Err(why) = done {
                self.world.remark(format!("line {}: `{}`: {why}", line.number, line.text));
                return (self.world, Some(ScenarioFailure { line: line.number, text: line.text.clone(), why }));
            }
        }
        (self.world, None)
    }

    fn no_broken_promise(&self) -> Checked {
        match self.world.broken_promise() {
            Some(broken) => Err(format!("{} is broken: {}", broken.property, broken.detail)),
            None => Ok(()),
        }
    }

    fn step(&mut self, step: &Step) -> Checked {
        let world = &mut self.world;
        match step {
            Step::Run(time) => world.run_for(*time),
            Step::Settle => {
                if !world.run_until_quiet(PATIENCE) && world.broken_promise().is_none() {
                    return Err(format!("it does not settle within {PATIENCE:?}"));
                }
            }
            Step::UntilLeader(wanted) => return self.run_until_leader(*wanted),
            Step::UntilEnded(name) => return self.run_until_ended(name),
            Step::Fire(node, timer) => {
                if !world.fire_timer(*node, timer) {
                    let armed = world.armed_timers(*node).join(", ");
                    return Err(format!("{node} has no {timer} timer set; set are: {armed}"));
                }
            }
            Step::Call { node, call, name } => return self.call(*node, call, name),
            Step::Act(acts) => acts.iter().for_each(|act| world.act(act)),
            Step::Treat(treatment, picked) => world.add_filter(rule(*treatment, picked)),
            Step::Deliver => world.release_held(),
            Step::DeliverOne { picked, number, copy } => return self.deliver_one(picked, *number, *copy),
            Step::Pass => world.clear_filters(),
            Step::Note(text) => world.remark(text.clone()),
            Step::Aftermath { without } => {
                self.collect();
                let (world, history, times) = (&mut self.world, &mut self.history, self.times);
                Aftermath { world, history, times }.examine(without);
            }
            Step::Forget => self.forgotten = world.transcript().kept().len(),
            Step::Expect(expectation) => {
                self.collect();
                return self.expect(expectation);
            }
        }
        Ok(())
    }

    fn deliver_one(&mut self, picked: &Picked, number: u64, copy: bool) -> Checked {
        let wanted = rule(Treatment::Hold, picked);
        let mut met = 0;
        let is_it = |flight: &Flight| {
            let matches = wanted.matches(flight.from, flight.to, flight.kind);
            met += u64::from(matches);
            matches && met == number
        };
        let world = &mut self.world;
        let gone = if copy { world.repeat_held_where(is_it) } else { world.release_held_where(is_it) };
        ensure(gone == 1, || {
            let held = world.held().iter().map(|held| format!("{} {} -> {}", held.kind, held.from, held.to));
            format!("no such message is held; held are: {}", held.collect::<Vec<_>>().join(", "))
        })
    }

    fn run_until_leader(&mut self, wanted: Option<NodeId>) -> Checked {
        let leads = |leader: Option<NodeId>| leader.is_some() && (wanted.is_none() || leader == wanted);
        if self.world.run_until_true(PATIENCE, |world| leads(world.leader())) || self.world.broken_promise().is_some() {
            return Ok(());
        }
        Err(format!("{} leads after {PATIENCE:?}", self.leader_words()))
    }

    fn run_until_ended(&mut self, name: &str) -> Checked {
        let operation = self.calls.get(name).ok_or_else(|| format!("there was no call {name}"))?.operation;
        let ended = self
            .world
            .run_until_true(PATIENCE, |world| world.results().iter().any(|result| result.operation == operation));
        self.collect();
        if ended || self.calls[name].ended.is_some() || self.world.broken_promise().is_some() {
            return Ok(());
        }
        Err(format!("{name} has not ended after {PATIENCE:?}"))
    }

    fn call(&mut self, node: NodeId, call: &Call, name: &str) -> Checked {
        let operation = match call {
            Call::Ask(ask) => {
                let process = self.history.new_process();
                self.history.ask(&mut self.world, node, process, ask.clone())
            }
            Call::Propose { value } => {
                let payload = S::put(&Bytes::new(), &Bytes::from(value.clone().into_bytes()));
                self.world.submit_described(node, payload, format!("propose {value} ({name})"))
            }
        };
        self.calls.insert(name.to_owned(), Called { operation, ended: None });
        Ok(())
    }

    /// Notes the calls that ended.
    fn collect(&mut self) {
        for result in self.world.take_results() {
            let words = match &result.outcome {
                Outcome::Reply(reply) => S::words(reply),
                Outcome::Answer(answer) => format!("{:?}", S::errand_meaning(answer)),
                Outcome::Failed(error) => error.to_string(),
                Outcome::NotRunning => "the node is not running".to_owned(),
                Outcome::Lost => "the connection was lost".to_owned(),
            };
            if let Some(called) = self.calls.values_mut().find(|called| called.operation == result.operation) {
                called.ended = Some((result.outcome.ending(), words));
            }
            self.history.returned::<S>(result);
        }
        self.history.look_at_leases(&mut self.world);
    }

    fn expect(&self, expectation: &Expectation) -> Checked {
        match expectation {
            Expectation::Leader(wanted) => {
                ensure(self.world.leader() == Some(*wanted), || format!("{} leads", self.leader_words()))
            }
            Expectation::NoLeader => ensure(self.world.leader().is_none(), || format!("{} leads", self.leader_words())),
            Expectation::Era(node, era) => {
                let status = self.world.status(*node).ok_or_else(|| format!("{node} is not running"))?;
                ensure(status.era == *era, || format!("{node} is in era {}", status.era))
            }
            Expectation::Mark(node, mark, wanted) => {
                let status = self.world.status(*node).ok_or_else(|| format!("{node} is not running"))?;
                let found = match mark {
                    LogMark::Last => status.last,
                    LogMark::Committed => status.committed,
                    LogMark::Applied => status.applied,
                };
                ensure(found.0 == *wanted, || format!("it is {found}"))
            }
            Expectation::Call { name, standing, text } => self.expect_call(name, *standing, text.as_deref()),
            Expectation::Value { node, key, value } => {
                let machine = self.world.node(*node).ok_or_else(|| format!("{node} is not running"))?.state();
                let found =
                    machine.contents_at(machine.revision())?.into_iter().find(|entry| entry.key == key.as_bytes());
                let found = found.map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
                ensure(found == *value, || format!("{node} has {}", found.as_deref().unwrap_or("nothing")))
            }
            Expectation::Told { rule, node, verdict, told } => self.expect_told(rule, *node, *verdict, *told),
            Expectation::SameState => self.expect_same_state(),
            Expectation::Running(node, wanted) => {
                ensure(self.world.is_running(*node) == *wanted, || format!("it is the other way round with {node}"))
            }
        }
    }

    fn expect_call(&self, name: &str, standing: Standing, text: Option<&str>) -> Checked {
        let called = self.calls.get(name).ok_or_else(|| format!("there was no call {name}"))?;
        let (found, words) = match &called.ended {
            None => (Standing::Waiting, "still waiting"),
            Some((Ending::Answered, words)) => (Standing::Answered, words.as_str()),
            Some((Ending::Refused, words)) => (Standing::Refused, words.as_str()),
            Some((Ending::Unknown, words)) => (Standing::Unknown, words.as_str()),
        };
        let as_wanted = found == standing && text.is_none_or(|text| words.contains(text));
        ensure(as_wanted, || format!("{name} is {found:?}: {words}"))
    }

    fn expect_told(&self, rule: &str, node: NodeId, verdict: Verdict, told: bool) -> Checked {
        let matches = |happening: &&Happening| {
            let What::Guard(event) = &happening.what else { return false };
            happening.node == Some(node) && event.rule.id == rule && event.verdict == verdict
        };
        let found = self.world.happenings().skip(self.forgotten).filter(matches).count();
        ensure((found > 0) == told, || format!("{node} reported it {found} times"))
    }

    fn expect_same_state(&self) -> Checked {
        let marks: Vec<String> = self
            .world
            .nodes()
            .filter_map(|id| Some((id, self.world.node(id)?)))
            .map(|(_, node)| format!("slot {} digest {:016x}", node.status().applied, node.status().machine.digest))
            .collect();
        ensure(marks.windows(2).all(|pair| pair[0] == pair[1]), || marks.join("; "))
    }

    fn leader_words(&self) -> String {
        self.world.leader().map_or_else(|| "nobody".to_owned(), |leader| leader.to_string())
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn rule(treatment: Treatment, picked: &Picked) -> FilterRule {
    FilterRule {
        from: picked.from,
        to: picked.to,
        kind: picked.kind.clone(),
        fate: match treatment {
            Treatment::Lose => Fate::Lose,
            Treatment::Hold => Fate::Hold,
        },
        times: picked.times,
    }
}
