//! Bare replicas on virtual time, for questions about how long something takes. One seed decides everything.

use crate::{
    Batch, Decision, Durable, Env, Event, Gate, Input, Outbox, Output, Replica, RequestId, Setup, Start, Verdict,
};
use quorate_types::{ClusterId, DiskId, Incarnation, Membership, NodeId, Slot, Ticket, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// A write and its flush.
const DISK_MICROS: u64 = 2_000;

/// What is under way.
#[derive(Clone, Debug)]
enum Coming<R: Replica> {
    Message { from: NodeId, to: NodeId, message: R::Message },
    Deadline { node: NodeId, timer: R::Timer, set: u64 },
    Written { node: NodeId, incarnation: Incarnation, ticket: Ticket, records: Vec<R::Record> },
}

#[derive(Clone, Debug)]
struct TimedNode<R: Replica> {
    replica: Option<R>,
    outbox: Outbox<R>,
    gate: Gate<R::Message>,
    records: Vec<(Ticket, R::Record)>,
    /// Which setting of each timer counts.
    timers: BTreeMap<R::Timer, u64>,
    incarnation: Incarnation,
    decided: BTreeMap<Slot, Decision>,
}

/// SplitMix64, and a clock that is everybody's.
#[derive(Clone, Debug)]
struct TimedEnv {
    now_micros: u64,
    state: u64,
}

impl TimedEnv {
    fn draw(&mut self, (least, most): (u64, u64)) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        least + (mixed ^ (mixed >> 31)) % (most - least + 1)
    }
}

impl Env for TimedEnv {
    fn now(&self) -> Time {
        Time(self.now_micros * 1_000)
    }
    fn choose(&mut self, bound: u64) -> u64 {
        self.draw((0, bound.saturating_sub(1)))
    }
}

/// A cluster of voters. Messages take a time drawn between two bounds and overtake each other, or are lost; a write takes
/// two milliseconds; a timer fires somewhere in its range. Nothing is applied, so nothing is compacted, and no snapshot
/// travels. Invariants are checked after every step, and that no two nodes decide differently.
#[derive(Clone, Debug)]
pub struct Timed<R: Replica> {
    config: R::Config,
    founders: Membership,
    coming: BTreeMap<(u64, u64), Coming<R>>,
    /// Orders what comes at one time, and names the settings of timers.
    counter: u64,
    nodes: BTreeMap<NodeId, TimedNode<R>>,
    env: TimedEnv,
    delay_micros: (u64, u64),
    loss_per_mille: u64,
    chosen: BTreeMap<Slot, Decision>,
    events: Vec<(u64, NodeId, Event)>,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl<R: Replica> Timed<R> {
    /// Voters 1 to `count`, all open at the beginning of time; a message takes as long as the two bounds say.
    #[must_use]
    pub fn new(count: u64, config: R::Config, seed: u64, delay_micros: (u64, u64)) -> Timed<R> {
        let mut timed = Timed {
            config,
            founders: Membership::of_voters(count),
            coming: BTreeMap::new(),
            counter: 0,
            nodes: BTreeMap::new(),
            env: TimedEnv { now_micros: 0, state: seed },
            delay_micros,
            loss_per_mille: 0,
            chosen: BTreeMap::new(),
            events: Vec::new(),
        };
        for id in (1..=count).map(NodeId) {
            let node = TimedNode {
                replica: None,
                outbox: Outbox::new(Ticket::NONE, true),
                gate: Gate::new(Ticket::NONE),
                records: Vec::new(),
                timers: BTreeMap::new(),
                incarnation: Incarnation(0),
                decided: BTreeMap::new(),
            };
            timed.nodes.insert(id, node);
        }
        (1..=count).map(NodeId).for_each(|id| timed.open(id));
        timed
    }

    /// From now on so many of a thousand messages are lost.
    pub fn lose_per_mille(&mut self, loss: u64) {
        self.loss_per_mille = loss;
    }

    /// What time it is.
    #[must_use]
    pub fn now_micros(&self) -> u64 {
        self.env.now_micros
    }

    /// A node's replica, while it runs.
    #[must_use]
    pub fn replica(&self, id: NodeId) -> Option<&R> {
        self.nodes.get(&id)?.replica.as_ref()
    }

    /// What was decided in how many slots at every node since it last opened, the least of them.
    #[must_use]
    pub fn decided_everywhere(&self) -> usize {
        self.nodes.values().map(|node| node.decided.len()).min().unwrap_or(0)
    }

    /// In how many slots somebody decided something.
    #[must_use]
    pub fn decided(&self) -> usize {
        self.chosen.len()
    }

    /// Of those who run and of whom this holds, the one of the latest era: who leads.
    #[must_use]
    pub fn leader(&self, leads: impl Fn(&R) -> bool) -> Option<NodeId> {
        let running = self.nodes.iter().filter_map(|(id, node)| Some((*id, node.replica.as_ref()?)));
        let leaders = running.filter(|(_, replica)| leads(replica));
        leaders.max_by_key(|(_, replica)| replica.status().era).map(|(id, _)| id)
    }

    /// How often a rule said this since the events were last forgotten.
    #[must_use]
    pub fn told(&self, rule: &str, verdict: Verdict) -> usize {
        self.events.iter().filter(|(_, _, event)| event.rule.id == rule && event.verdict == verdict).count()
    }

    /// Forgets what rules said so far.
    pub fn forget_events(&mut self) {
        self.events.clear();
    }

    /// A node opens from what it has on disk.
    ///
    /// # Panics
    /// When there is no such node, or its records do not open.
    pub fn open(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("only founders are named");
        node.incarnation = Incarnation(node.incarnation.0 + 1);
        let last = node.records.last().map_or(Ticket::NONE, |(ticket, _)| *ticket);
        node.outbox = Outbox::new(last, true);
        node.gate = Gate::new(last);
        node.decided.clear();
        let setup = Setup {
            cluster: ClusterId(1),
            me: id,
            disk: DiskId(id.0),
            incarnation: node.incarnation,
            start: Start::Found(self.founders.clone()),
        };
        let found = Durable { records: node.records.clone(), anchor: None, applied: Slot::ZERO };
        let opened = R::open(&setup, &self.config, found, &mut node.outbox);
        node.replica = Some(opened.unwrap_or_else(|error| panic!("{id} does not open: {error}")));
        self.carry_out(id);
    }

    /// A node stops, and loses what it has not written.
    pub fn kill(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.replica = None;
            node.timers.clear();
        }
    }

    /// A command is proposed at a node.
    pub fn propose(&mut self, id: NodeId, request: u64, commands: impl Into<bytes::Bytes>) {
        self.feed(id, Input::Propose { request: RequestId(request), batch: Batch::new(commands.into()) });
    }

    /// Lets everything happen until then.
    pub fn run_until(&mut self, time_micros: u64) {
        while let Some(entry) = self.coming.first_entry().filter(|entry| entry.key().0 <= time_micros) {
            self.env.now_micros = entry.key().0;
            match entry.remove() {
                Coming::Message { from, to, message } => self.feed(to, Input::Receive { from, message }),
                Coming::Deadline { node, timer, set } => self.fire(node, timer, set),
                Coming::Written { node, incarnation, ticket, records } => {
                    self.written(node, incarnation, ticket, records);
                }
            }
        }
        self.env.now_micros = time_micros;
    }

    /// How long until this holds, looked at every half millisecond.
    ///
    /// # Panics
    /// When it takes longer than that; with what the rules said meanwhile.
    pub fn until(&mut self, most_micros: u64, what: &str, holds: impl Fn(&Timed<R>) -> bool) -> u64 {
        let begin = self.now_micros();
        self.forget_events();
        while !holds(self) {
            let waited = self.now_micros() - begin;
            assert!(waited < most_micros, "{what}: not after {waited} us: {}", self.story());
            self.run_until(self.now_micros() + 500);
        }
        self.now_micros() - begin
    }

    /// So many proposals, one every two milliseconds, each at whoever leads.
    pub fn work(&mut self, count: u64, leads: impl Fn(&R) -> bool) {
        for number in 0..count {
            if let Some(leader) = self.leader(&leads) {
                self.propose(leader, number, format!("{} {number}", self.now_micros()));
            }
            self.run_until(self.now_micros() + 2_000);
        }
    }

    fn story(&self) -> String {
        let line = |(time, id, event): &(u64, NodeId, Event)| {
            format!("\n{time} {id} {} {:?} {:?}", event.rule.id, event.verdict, event.values)
        };
        self.events.iter().map(line).collect()
    }

    fn fire(&mut self, id: NodeId, timer: R::Timer, set: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.timers.get(&timer) == Some(&set) {
            node.timers.remove(&timer);
            self.feed(id, Input::Expired(timer));
        }
    }

    fn written(&mut self, id: NodeId, incarnation: Incarnation, ticket: Ticket, records: Vec<R::Record>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.incarnation != incarnation || node.replica.is_none() {
            return;
        }
        node.records.extend(records.into_iter().map(|record| (ticket, record)));
        for (to, message) in node.gate.advance(ticket) {
            self.launch(id, to, message);
        }
        self.feed(id, Input::Persisted(ticket));
    }

    fn feed(&mut self, id: NodeId, input: Input<R>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(replica) = node.replica.as_mut() else { return };
        replica.step(&mut self.env, input, &mut node.outbox);
        replica.settle(&mut self.env, &mut node.outbox);
        assert_eq!(replica.check_invariants(), Ok(()), "{id}");
        self.carry_out(id);
    }

    fn at(&mut self, time_micros: u64, coming: Coming<R>) {
        self.counter += 1;
        self.coming.insert((time_micros, self.counter), coming);
    }

    fn launch(&mut self, from: NodeId, to: NodeId, message: R::Message) {
        if self.env.draw((1, 1_000)) > self.loss_per_mille {
            let time = self.now_micros() + self.env.draw(self.delay_micros);
            self.at(time, Coming::Message { from, to, message });
        }
    }

    fn carry_out(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        for output in node.outbox.take() {
            self.perform(id, output);
        }
    }

    fn perform(&mut self, id: NodeId, output: Output<R>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        match output {
            Output::Persist { ticket, records } | Output::Compact { ticket, baseline: records, .. } => {
                let incarnation = node.incarnation;
                let time = self.env.now_micros + DISK_MICROS;
                self.at(time, Coming::Written { node: id, incarnation, ticket, records });
            }
            Output::Send { to, message, after } => {
                if let Some((to, message)) = node.gate.pass(after, to, message) {
                    self.launch(id, to, message);
                }
            }
            Output::SetTimer { timer, at_least, at_most } => {
                let time = self.env.now_micros + self.env.draw((micros(at_least), micros(at_most)));
                self.counter += 1;
                let set = self.counter;
                node.timers.insert(timer, set);
                self.at(time, Coming::Deadline { node: id, timer, set });
            }
            Output::CancelTimer(timer) => {
                node.timers.remove(&timer);
            }
            Output::Decide { slot, decision } => {
                let chosen = self.chosen.entry(slot).or_insert_with(|| decision.clone());
                assert_eq!(*chosen, decision, "{id} decides slot {slot} otherwise than somebody did");
                node.decided.insert(slot, decision);
            }
            Output::Trace(event) => self.events.push((self.env.now_micros, id, event)),
            _ => {}
        }
    }
}
