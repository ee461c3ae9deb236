//! Random runs of anybody's state machine: it need not be a store of keys, and its owner judges what its clients saw.

use super::plan::Plan;
use super::run::SeedViolation;
use super::storm::{Reminders, Storm, StormAlarm};
use super::subject::Subject;
use crate::random::{Chance, Random};
use crate::transcript::Keep;
use crate::world::{OperationId, OperationResult, Outcome, World};
use bytes::Bytes;
use quorate_checker::{Entry, History, Operation};
use quorate_machine::{Consistency, StateMachine};
use quorate_narrator::Ending;
use quorate_protocol::Replica;
use quorate_types::{NodeId, Slot, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Within so many times its patience after the faults, every node that runs must serve and have applied everything.
const LIVE_AFTER_HEAL_PATIENCES: u32 = 20;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<Query> {
    /// That a command be applied.
    Command(Bytes),
    /// A question, answered linearizably.
    Query(Query),
}

/// A call that ended.
#[derive(Clone, Debug)]
pub struct Call<S: StateMachine> {
    /// Who called. A client whose call ended with nobody knowing whether it happened goes on under another number.
    pub client: u64,
    /// At which node.
    pub node: NodeId,
    /// For what.
    pub request: Request<S::Query>,
    /// When it was called.
    pub called_at: Time,
    /// When it ended.
    pub returned_at: Time,
    /// How: a reply, an error that says that it never happened, or one that does not ([`Outcome::ending`]).
    pub outcome: Outcome<S::Reply>,
}

/// A seed's run, for its owner to judge.
pub struct Rehearsal<R: Replica, S: StateMachine> {
    /// The promise that was broken first, of those that a [`World`] always checks (equal states behind equal slots, first of
    /// all) or of `LiveAfterHeal`: once the faults are over, a majority serves, and all its nodes have applied everything.
    pub violation: Option<SeedViolation>,
    /// Everything that clients asked and heard, in the order in which the calls ended.
    pub calls: Vec<Call<S>>,
    /// How many faults of each kind there were.
    pub faults: BTreeMap<&'static str, u64>,
    /// The world at its end.
    pub world: World<R, S>,
}

impl<R: Replica, S: StateMachine> Rehearsal<R, S> {
    /// What the checker must judge: every call that happened or may have, as `describe` puts it: on which key, and what with which
    /// answer. There is none for one of unknown fate. Calls that certainly never happened are left out, and questions without an answer.
    pub fn history(
        &self,
        mut describe: impl FnMut(&Request<S::Query>, Option<&S::Reply>) -> (Vec<u8>, Operation),
    ) -> History {
        let mut entries = Vec::new();
        for call in &self.calls {
            let (ret, reply) = match (&call.outcome, &call.request) {
                (Outcome::Reply(reply), _) => (Some(call.returned_at.0), Some(reply)),
                (outcome, Request::Command(_)) if outcome.ending() == Ending::Unknown => (None, None),
                _ => continue,
            };
            let (key, operation) = describe(&call.request, reply);
            entries.push(Entry { client: call.client, key, call: call.called_at.0, ret, operation });
        }
        History::new(entries).expect("virtual time does not go back: no call ended before it began")
    }

    /// The states of the nodes that run at the end.
    pub fn states(&self) -> impl Iterator<Item = (NodeId, &S)> {
        self.world.nodes().filter_map(|id| Some((id, self.world.node(id)?.state())))
    }
}

/// Runs `S` on a cluster of `R` that the seed draws: calm, a storm of faults, calm. Clients ask what `next` says, which must
/// depend on nothing but the generator it is given; then the same seed gives the same run, always and everywhere.
///
/// # Panics
/// When the state machine does, or a protocol.
#[must_use]
pub fn rehearse<R: Subject, S: StateMachine>(
    seed: u64,
    next: impl FnMut(&mut Random) -> Request<S::Query>,
) -> Rehearsal<R, S> {
    const { assert!(R::SLOTS.is_none(), "only a protocol with a log serves a state machine for long") }
    // Every node is asked in the end, and is to have applied everything.
    let plan = Plan { witnesses: 0, ..Plan::of_seed(seed) };
    let world = World::new(plan.world::<R>(&mut Random::stream(seed, "settings", 0), Keep::Nothing), seed);
    let mut random = Random::stream(seed, "rehearsal", 0);
    let home = |_| NodeId(random.between(1, plan.voters));
    let homes: Vec<NodeId> = (0..plan.clients).map(home).collect();
    let mut run = Run {
        clients: (1..).zip(homes).map(|(process, home)| Client { process, home }).collect(),
        last_process: plan.clients,
        left: plan.calls,
        storm: Storm::new(Random::stream(seed, "storm", 0)),
        plan,
        world,
        next,
        waiting: BTreeMap::new(),
        calls: Vec::new(),
        alarms: Vec::new(),
        random,
    };
    run.live_through();
    let broken = run.world.broken_promise();
    let violation =
        broken.map(|broken| SeedViolation { property: broken.property.to_owned(), text: broken.to_string() });
    Rehearsal { violation, calls: run.calls, faults: run.storm.counts().clone(), world: run.world }
}

#[derive(Clone, Copy, Debug)]
enum Alarm {
    Storm(StormAlarm),
    Client(usize),
}

struct Client {
    process: u64,
    home: NodeId,
}

struct Waiting<Query> {
    /// `None`: nobody's, to see whether the cluster serves.
    client: Option<usize>,
    process: u64,
    request: Request<Query>,
}

struct Run<R: Replica, S: StateMachine, Next> {
    plan: Plan,
    world: World<R, S>,
    storm: Storm,
    next: Next,
    clients: Vec<Client>,
    last_process: u64,
    /// Calls that clients may still begin.
    left: u64,
    waiting: BTreeMap<OperationId, Waiting<S::Query>>,
    calls: Vec<Call<S>>,
    alarms: Vec<Alarm>,
    random: Random,
}

impl<R: Subject, S: StateMachine, Next: FnMut(&mut Random) -> Request<S::Query>> Run<R, S, Next> {
    fn live_through(&mut self) {
        for client in 0..self.clients.len() {
            self.remind(Duration::ZERO, Alarm::Client(client));
        }
        let calm_ends = Time::ZERO + self.plan.calm;
        self.run_until(calm_ends);
        let reminders = self.storm.begin(&self.plan, &mut self.world);
        self.remind_storm(reminders);
        self.run_until(calm_ends + self.plan.storm);
        self.left = 0;
        self.storm.end();
        self.world.repair(&[]);
        let core: Vec<NodeId> = self.world.nodes().filter(|node| self.world.is_running(*node)).collect();
        let every_call_over = self.world.now() + self.plan.longest_call + self.plan.patience * 2;
        // A node whose disk broke its promises may be out for good, and a minority owes nothing but silence.
        let serves = core.len() > self.world.nodes().count() / 2;
        if !self.run_while(every_call_over, |run| !run.waiting.is_empty()) && serves {
            self.not_live("a call is still without an answer");
        } else if serves {
            self.check_live(&core);
        }
    }

    fn check_live(&mut self, core: &[NodeId]) {
        let deadline = self.world.now() + self.plan.patience * LIVE_AFTER_HEAL_PATIENCES;
        for node in core {
            while self.world.broken_promise().is_none() {
                let ended = self.calls.len();
                self.ask(None, *node);
                let over = self.run_while(deadline, |run| !run.waiting.is_empty());
                if self.calls[ended..].iter().any(|call| call.outcome.ending() == Ending::Answered) {
                    break;
                }
                let again = self.world.now() + self.plan.patience / 4;
                if !over || again > deadline {
                    return self.not_live(&format!("a new call at {node} is not answered"));
                }
                self.run_until(again);
            }
        }
        let behind = |run: &Self| core.iter().any(|node| run.applied(*node) != Some(run.world.highest_applied()));
        if !self.run_while(deadline, behind) {
            self.not_live("not every node has applied everything");
        }
    }

    fn applied(&self, node: NodeId) -> Option<Slot> {
        self.world.node(node).map(|node| node.applied())
    }

    /// The world keeps the promise that was broken first.
    fn not_live(&mut self, what: &str) {
        self.world.report_broken("LiveAfterHeal", None, format!("faults are over and {what}"));
    }

    fn ask(&mut self, client: Option<usize>, node: NodeId) {
        let request = (self.next)(&mut self.random);
        let process = client.map_or(0, |client| self.clients[client].process);
        let operation = match &request {
            Request::Command(payload) => self.world.submit(node, payload.clone()),
            Request::Query(query) => self.world.read(node, query.clone(), Consistency::Linearizable),
        };
        self.waiting.insert(operation, Waiting { client, process, request });
    }

    /// Most of the time at its own node.
    fn let_call(&mut self, client: usize) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let home = self.clients[client].home;
        let elsewhere = NodeId(self.random.between(1, self.plan.voters));
        let node = if self.random.happens(Chance::percent(70)) { home } else { elsewhere };
        self.ask(Some(client), node);
    }

    fn returned(&mut self, result: OperationResult<S::Reply>) {
        let Some(Waiting { client, process, request }) = self.waiting.remove(&result.operation) else { return };
        let OperationResult { node, called_at, returned_at, outcome, .. } = result;
        let ending = outcome.ending();
        self.calls.push(Call { client: process, node, request, called_at, returned_at, outcome });
        let Some(client) = client else { return };
        if ending == Ending::Unknown {
            self.last_process += 1;
            self.clients[client].process = self.last_process;
        }
        let pause = self.plan.think.draw(&mut self.random) + Duration::from_micros(10);
        let pause = if ending == Ending::Answered { pause } else { pause + self.plan.patience / 8 };
        self.remind(pause, Alarm::Client(client));
    }

    /// Runs while `needed`, up to `deadline`. Says whether it is no longer needed.
    fn run_while(&mut self, deadline: Time, needed: impl Fn(&Self) -> bool) -> bool {
        self.look_after();
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
                Some(Alarm::Client(client)) => self.let_call(client),
                Some(Alarm::Storm(alarm)) => {
                    let reminders = self.storm.alarm(&self.plan, &mut self.world, alarm);
                    self.remind_storm(reminders);
                }
                None => {}
            }
        }
        while !self.world.results().is_empty() {
            for result in self.world.take_results() {
                self.returned(result);
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
