//! Bare replicas on virtual time, with the default settings: how long it takes when the network is slow, unfair or lossy. All times
//! are in microseconds.

use quorate_protocol::{Batch, Decision, Durable, Env, Gate, Input, Outbox, Output, Replica, RequestId, Setup, Start};
use quorate_types::{ClusterId, DiskId, Incarnation, Membership, NodeId, Slot, Ticket, Time};
use quorate_zab::{Config, Timer, Zab};
use std::collections::BTreeMap;
use std::time::Duration;

type Sent = <Zab as Replica>::Message;
type Stored = <Zab as Replica>::Record;

/// A write and its flush.
const DISK_MICROS: u64 = 2_000;

enum Event {
    Arrives { from: NodeId, to: NodeId, message: Sent },
    Fires { node: NodeId, timer: Timer, set: u64 },
    Written { node: NodeId, incarnation: u64, ticket: Ticket, records: Vec<Stored> },
}

struct Node {
    replica: Option<Zab>,
    outbox: Outbox<Zab>,
    gate: Gate<Sent>,
    records: Vec<(Ticket, Stored)>,
    timers: BTreeMap<Timer, u64>,
    incarnation: u64,
    decided: BTreeMap<Slot, Decision>,
}

struct Still;

impl Env for Still {
    fn now(&self) -> Time {
        Time::ZERO
    }
    fn choose(&mut self, _: u64) -> u64 {
        0
    }
}

struct World {
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    counter: u64,
    nodes: BTreeMap<NodeId, Node>,
    random: u64,
    delay: (u64, u64),
    loss_per_mille: u64,
    reconnects: u64,
    elections: u64,
    /// Rules that spoke since the last wait for a leader began.
    told: String,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("settings are short")
}

impl World {
    fn of(count: u64, seed: u64, delay: (u64, u64), loss_per_mille: u64) -> World {
        let mut world = World {
            now: 0,
            queue: BTreeMap::new(),
            counter: 0,
            nodes: BTreeMap::new(),
            random: seed,
            delay,
            loss_per_mille,
            reconnects: 0,
            elections: 0,
            told: String::new(),
        };
        for id in (1..=count).map(NodeId) {
            let node = Node {
                replica: None,
                outbox: Outbox::new(Ticket::NONE, true),
                gate: Gate::new(Ticket::NONE),
                records: Vec::new(),
                timers: BTreeMap::new(),
                incarnation: 0,
                decided: BTreeMap::new(),
            };
            world.nodes.insert(id, node);
        }
        for id in (1..=count).map(NodeId) {
            world.open(id, count);
        }
        world
    }

    /// SplitMix64.
    fn draw(&mut self, (least, most): (u64, u64)) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        least + (mixed ^ (mixed >> 31)) % (most - least + 1)
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("it exists")
    }

    fn open(&mut self, id: NodeId, count: u64) {
        let node = self.node(id);
        node.incarnation += 1;
        let last = node.records.last().map_or(Ticket::NONE, |(ticket, _)| *ticket);
        node.outbox = Outbox::new(last, true);
        node.gate = Gate::new(last);
        node.decided.clear();
        let setup = Setup {
            cluster: ClusterId(1),
            me: id,
            disk: DiskId(id.0),
            incarnation: Incarnation(node.incarnation),
            start: Start::Found(Membership::of_voters(count)),
        };
        let found = Durable { records: node.records.clone(), anchor: None, applied: Slot::ZERO };
        node.replica = Some(Zab::open(&setup, &Config::default(), found, &mut node.outbox).expect("it opens"));
        self.carry_out(id);
    }

    fn kill(&mut self, id: NodeId) {
        let node = self.node(id);
        node.replica = None;
        node.timers.clear();
    }

    fn feed(&mut self, id: NodeId, input: Input<Zab>) {
        let node = self.node(id);
        let Some(replica) = node.replica.as_mut() else { return };
        replica.step(&mut Still, input, &mut node.outbox);
        replica.settle(&mut Still, &mut node.outbox);
        assert_eq!(replica.check_invariants(), Ok(()));
        self.carry_out(id);
    }

    fn at(&mut self, time: u64, event: Event) {
        self.counter += 1;
        self.queue.insert((time, self.counter), event);
    }

    fn launch(&mut self, from: NodeId, to: NodeId, message: Sent) {
        if self.draw((1, 1_000)) > self.loss_per_mille {
            let time = self.now + self.draw(self.delay);
            self.at(time, Event::Arrives { from, to, message });
        }
    }

    fn carry_out(&mut self, id: NodeId) {
        for output in self.node(id).outbox.take() {
            let (now, node) = (self.now, self.nodes.get_mut(&id).expect("it exists"));
            match output {
                Output::Persist { ticket, records } | Output::Compact { ticket, baseline: records, .. } => {
                    let incarnation = node.incarnation;
                    self.at(now + DISK_MICROS, Event::Written { node: id, incarnation, ticket, records });
                }
                Output::Send { to, message, after } => {
                    if let Some((to, message)) = node.gate.pass(after, to, message) {
                        self.launch(id, to, message);
                    }
                }
                Output::SetTimer { timer, at_least, at_most } => {
                    let time = now + self.draw((micros(at_least), micros(at_most)));
                    self.counter += 1;
                    let set = self.counter;
                    self.node(id).timers.insert(timer, set);
                    self.at(time, Event::Fires { node: id, timer, set });
                }
                Output::CancelTimer(timer) => {
                    node.timers.remove(&timer);
                }
                Output::Decide { slot, decision } => {
                    node.decided.insert(slot, decision);
                }
                Output::Trace(event) => {
                    self.told
                        .push_str(&format!("\n{now} {id} {} {:?} {:?}", event.rule.id, event.verdict, event.values));
                    self.reconnects += u64::from(event.rule.id == "zab.reconnect");
                    self.elections += u64::from(event.rule.id == "zab.look");
                }
                _ => {}
            }
        }
    }

    /// Lets everything happen until then.
    fn run_until(&mut self, time: u64) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= time) {
            self.now = entry.key().0;
            match entry.remove() {
                Event::Arrives { from, to, message } => self.feed(to, Input::Receive { from, message }),
                Event::Fires { node, timer, set } => {
                    if self.node(node).timers.get(&timer) == Some(&set) {
                        self.node(node).timers.remove(&timer);
                        self.feed(node, Input::Expired(timer));
                    }
                }
                Event::Written { node: id, incarnation, ticket, records } => {
                    let node = self.node(id);
                    if node.incarnation != incarnation || node.replica.is_none() {
                        continue;
                    }
                    node.records.extend(records.into_iter().map(|record| (ticket, record)));
                    for (to, message) in node.gate.advance(ticket) {
                        self.launch(id, to, message);
                    }
                    self.feed(id, Input::Persisted(ticket));
                }
            }
        }
        self.now = time;
    }

    fn leader(&self) -> Option<NodeId> {
        let leads = |node: &&Node| node.replica.as_ref().and_then(Zab::inside).is_some_and(|it| it.is_established());
        let newest = |node: &Node| node.replica.as_ref().map_or(0, |whole| whole.status().era);
        let leaders = self.nodes.iter().filter(|(_, node)| leads(node));
        leaders.max_by_key(|(_, node)| newest(node)).map(|(id, _)| *id)
    }

    /// How long until somebody leads; more than `most` is a failure.
    fn until_led(&mut self, most: u64) -> u64 {
        let begin = self.now;
        self.told.clear();
        while self.leader().is_none() {
            assert!(self.now - begin < most, "nobody leads after {} us: {}", self.now - begin, self.told);
            self.run_until(self.now + 500);
        }
        self.now - begin
    }

    /// One proposal every two milliseconds, at whoever leads.
    fn work(&mut self, count: u64) {
        for number in 0..count {
            if let Some(leader) = self.leader() {
                let batch = Batch::new(format!("{} {number}", self.now).into());
                self.feed(leader, Input::Propose { request: RequestId(number), batch });
            }
            self.run_until(self.now + 2_000);
        }
    }

    fn decided_everywhere(&self) -> usize {
        self.nodes.values().map(|node| node.decided.len()).min().unwrap_or(0)
    }
}

/// So long after the beginning somebody leads: a few messages, a short wait for better votes, two writes.
const FIRST_MOST: u64 = 150_000;

#[test]
fn an_unfair_network_costs_neither_connections_nor_elections() {
    for seed in 0..20 {
        // Messages overtake each other all the time.
        let mut world = World::of(3, seed, (200, 8_000), 0);
        world.until_led(FIRST_MOST);
        world.run_until(world.now + 100_000);
        let before = (world.reconnects, world.elections);
        world.work(500);
        world.run_until(world.now + 100_000);
        assert_eq!((world.reconnects, world.elections), before, "seed {seed}");
        assert_eq!(world.decided_everywhere(), 500, "seed {seed}");
    }
}

#[test]
fn a_leader_that_dies_is_succeeded_within_a_sync_limit_and_an_election() {
    let config = Config::default();
    let limit = micros(config.tick) * u64::from(config.sync_limit_ticks);
    let (mut longest, mut total) = (0, 0);
    for seed in 0..50 {
        let mut world = World::of(3, seed, (200, 2_000), 0);
        world.until_led(FIRST_MOST);
        world.work(20);
        let leader = world.leader().expect("somebody leads");
        world.kill(leader);
        let gap = world.until_led(limit + FIRST_MOST);
        (longest, total) = (longest.max(gap), total + gap);
        world.open(leader, 3);
        world.work(100);
        world.run_until(world.now + 2 * limit);
        assert!(world.decided_everywhere() >= 100, "seed {seed}: {}", world.decided_everywhere());
    }
    println!("longest {longest} us, mean {} us", total / 50);
}

#[test]
fn a_lossy_network_is_slow_and_gets_there() {
    for seed in 0..20 {
        let mut world = World::of(3, seed, (200, 2_000), 20);
        world.until_led(2_000_000);
        world.work(500);
        let lost = world.reconnects;
        world.loss_per_mille = 0;
        world.run_until(world.now + 1_000_000);
        assert!(world.decided_everywhere() >= 250, "seed {seed}: {}, {lost} connections", world.decided_everywhere());
    }
}
