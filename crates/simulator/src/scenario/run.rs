//! Carrying a scenario out.

use super::script::{Call, Expectation, LogMark, Picked, Protocol, Scenario, Standing, Step, Treatment};
use super::subject::{Asked, PaxosSubject, RaftSubject, Subject};
use crate::network::{Fate, FilterRule};
use crate::world::{DiskModel, OperationId, Outcome, World, WorldConfig};
use crate::{Latency, Transcript};
use quorate_narrator::{Ending, Happening, What};
use quorate_node::Consistency;
use quorate_protocol::Verdict;
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
            Protocol::Raft => Stage::<RaftSubject>::new(self).play(self),
            Protocol::Paxos => Stage::<PaxosSubject>::new(self).play(self),
        }
    }
}

/// One call and how it ended.
struct Called {
    operation: OperationId,
    ended: Option<(Ending, String)>,
}

struct Stage<T: Subject> {
    world: World<T::Replica, T::Machine>,
    calls: BTreeMap<String, Called>,
    /// Guards before this place in the transcript are forgotten.
    forgotten: usize,
}

type Checked = Result<(), String>;

impl<T: Subject> Stage<T> {
    fn new(scenario: &Scenario) -> Stage<T> {
        let mut config = WorldConfig::perfect(scenario.nodes, T::config(scenario), scenario.latency);
        config.disk = DiskModel { write: Latency::ZERO, flush: Latency::exactly(scenario.flush) };
        config.node.tracing = true;
        let mut world = World::new(config, scenario.seed);
        world.set_manual_timers(scenario.manual_timers);
        Stage { world, calls: BTreeMap::new(), forgotten: 0 }
    }

    fn play(mut self, scenario: &Scenario) -> ScenarioReport {
        let mut failure = None;
        for line in &scenario.steps {
            let done = self.step(&line.step).and_then(|()| self.no_broken_promise());
            if let Err(why) = done {
                self.world.remark(format!("line {}: `{}`: {why}", line.number, line.text));
                failure = Some(ScenarioFailure { line: line.number, text: line.text.clone(), why });
                break;
            }
        }
        ScenarioReport { failure, transcript: self.world.transcript().clone() }
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
            Step::Crash(node) => world.crash(*node),
            Step::Restart(node) => world.restart(*node),
            Step::Pause(node) => world.pause(*node, None),
            Step::Resume(node) => world.resume(*node),
            Step::HoldDisk(node) => world.hold_disk(*node),
            Step::ReleaseDisk(node) => world.release_disk(*node),
            Step::Cut { from, to, both } => {
                world.block(*from, *to);
                if *both {
                    world.block(*to, *from);
                }
            }
            Step::Join { from, to, both } => {
                world.unblock(*from, *to);
                if *both {
                    world.unblock(*to, *from);
                }
            }
            Step::Partition(groups) => world.partition(groups),
            Step::Heal => world.heal(),
            Step::Treat(treatment, picked) => world.add_filter(rule(*treatment, picked)),
            Step::Deliver => world.release_held(),
            Step::Pass => world.clear_filters(),
            Step::Note(text) => world.remark(text.clone()),
            Step::Forget => self.forgotten = world.transcript().kept().len(),
            Step::Expect(expectation) => {
                self.collect();
                return self.expect(expectation);
            }
        }
        Ok(())
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
        let words = match call {
            Call::Put { key, value } => format!("put {key} = {value}"),
            Call::Delete { key } => format!("delete {key}"),
            Call::Get { key } => format!("get {key}"),
            Call::Peek { key } => format!("get {key} from this node alone"),
            Call::Propose { value } => format!("propose {value}"),
        };
        let words = format!("{words} ({name})");
        let operation = match T::ask(call) {
            Some(Asked::Write(payload)) => self.world.submit_described(node, payload, words),
            Some(Asked::Read(query, consistency @ (Consistency::Linearizable | Consistency::Local))) => {
                self.world.read_described(node, query, consistency, words)
            }
            None => return Err("this protocol's state machine has no such call".to_owned()),
        };
        self.calls.insert(name.to_owned(), Called { operation, ended: None });
        Ok(())
    }

    /// Notes the calls that ended.
    fn collect(&mut self) {
        for result in self.world.take_results() {
            let words = match &result.outcome {
                Outcome::Reply(reply) => T::words(reply),
                Outcome::Failed(error) => error.to_string(),
                Outcome::NotRunning => "the node is not running".to_owned(),
                Outcome::Lost => "the connection was lost".to_owned(),
            };
            if let Some(called) = self.calls.values_mut().find(|called| called.operation == result.operation) {
                called.ended = Some((result.outcome.ending(), words));
            }
        }
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
                let found = T::value(machine, key);
                ensure(found == *value, || format!("{node} has {}", found.as_deref().unwrap_or("nothing")))
            }
            Expectation::Told { rule, node, verdict, told } => self.expect_told(rule, *node, *verdict, *told),
            Expectation::SameState => self.expect_same_state(),
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
