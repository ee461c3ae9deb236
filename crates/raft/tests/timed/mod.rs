//! Raft nodes on virtual time: links that may be cut in one direction, disks with a delay, timers as asked for. One seed
//! decides everything. For questions about time, which a testbed without any cannot answer.

use quorate_protocol::{Batch, Durable, Env, Gate, Input, LinkState, Outbox, Output, Replica, RequestId, Setup, Start};
use quorate_raft::{Config, Message, Raft, Record, Timer};
use quorate_types::{ClusterId, DiskId, Incarnation, Membership, NodeId, Slot, Ticket, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What is under way.
enum Due {
    Arrival { from: u64, to: u64, message: Message },
    Firing { node: u64, timer: Timer, arming: u64 },
    Flush { node: u64, opening: u64 },
}

struct Write {
    ticket: Ticket,
    records: Vec<Record>,
    drop_before: Option<Ticket>,
}

struct Node {
    setup: Setup,
    raft: Option<Raft>,
    outbox: Outbox<Raft>,
    gate: Gate<Message>,
    records: Vec<(Ticket, Record)>,
    writes: VecDeque<Write>,
    flushing: bool,
    armed: BTreeMap<Timer, u64>,
    applied_durable: Slot,
}

/// The cluster.
pub struct World {
    config: Config,
    nodes: BTreeMap<u64, Node>,
    due: BTreeMap<(u64, u64), Due>,
    cut: BTreeSet<(u64, u64)>,
    stalled: BTreeSet<u64>,
    now_us: u64,
    count: u64,
    random: u64,
    /// How many messages were sent so far.
    pub sent: u64,
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

impl World {
    /// Founded with so many voters, all open.
    pub fn of(count: u64, seed: u64, config: Config) -> World {
        let mut world = World {
            config,
            nodes: BTreeMap::new(),
            due: BTreeMap::new(),
            cut: BTreeSet::new(),
            stalled: BTreeSet::new(),
            now_us: 0,
            count: 0,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1),
            sent: 0,
        };
        for id in 1..=count {
            let start = Start::Found(Membership::of_voters(count));
            let (me, disk) = (NodeId(id), DiskId(id));
            let setup = Setup { cluster: ClusterId(1), me, disk, incarnation: Incarnation(0), start };
            let node = Node {
                setup,
                raft: None,
                outbox: Outbox::new(Ticket::NONE, false),
                gate: Gate::new(Ticket::NONE),
                records: Vec::new(),
                writes: VecDeque::new(),
                flushing: false,
                armed: BTreeMap::new(),
                applied_durable: Slot::ZERO,
            };
            world.nodes.insert(id, node);
            world.open(id);
        }
        world
    }

    /// Every id.
    pub fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// A running replica.
    pub fn raft(&self, id: u64) -> Option<&Raft> {
        self.nodes[&id].raft.as_ref()
    }

    /// Whoever leads, of the latest term if there are several.
    pub fn leader(&self) -> Option<u64> {
        let leading = self.nodes.iter().filter_map(|(id, node)| Some((node.raft.as_ref()?, *id)));
        leading.filter(|(raft, _)| raft.is_leader()).max_by_key(|(raft, _)| raft.term()).map(|(_, id)| id)
    }

    /// The greatest commit mark anywhere.
    pub fn commit(&self) -> u64 {
        self.nodes.values().filter_map(|node| Some(node.raft.as_ref()?.commit().0)).max().unwrap_or(0)
    }

    /// The greatest term anywhere.
    pub fn term(&self) -> u64 {
        self.nodes.values().filter_map(|node| Some(node.raft.as_ref()?.term())).max().unwrap_or(0)
    }

    /// One of `0..bound`.
    pub fn draw(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Nothing gets from `from` to `to` any more.
    pub fn cut(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    /// All links work again, all disks too, and every node runs.
    pub fn heal(&mut self) {
        self.cut.clear();
        for id in self.ids() {
            if self.nodes[&id].raft.is_none() {
                self.open(id);
            }
        }
        let stalled = std::mem::take(&mut self.stalled);
        stalled.into_iter().for_each(|id| self.flush_soon(id));
    }

    /// The disk of a node finishes nothing any more.
    pub fn stall(&mut self, id: u64) {
        self.stalled.insert(id);
    }

    /// A node is gone with everything that was not yet durable.
    pub fn crash(&mut self, id: u64) {
        let node = self.node(id);
        node.raft = None;
        node.writes.clear();
        node.flushing = false;
        node.armed.clear();
    }

    /// It runs again.
    pub fn open(&mut self, id: u64) {
        let config = self.config.clone();
        let node = self.node(id);
        let last = node.records.last().map_or(Ticket::NONE, |(ticket, _)| *ticket);
        node.setup.incarnation = Incarnation(node.setup.incarnation.0 + 1);
        node.gate = Gate::new(last);
        node.flushing = false;
        node.outbox = Outbox::new(last, false);
        let found = Durable { records: node.records.clone(), anchor: None, applied: node.applied_durable };
        let raft = Raft::open(&node.setup, &config, found, &mut node.outbox).expect("undamaged records open");
        node.raft = Some(raft);
        self.carry_out(id);
    }

    /// A proposal at a node.
    pub fn propose(&mut self, id: u64) {
        let batch = Batch::new(bytes::Bytes::from_static(b"command"));
        self.input(id, Input::Propose { request: RequestId(1), batch });
    }

    /// "Nobody listens at `peer`", true or not.
    pub fn refused(&mut self, id: u64, peer: u64) {
        self.input(id, Input::Link { peer: NodeId(peer), state: LinkState::Refused });
    }

    /// Lets so much time pass; whoever leads gets a proposal every ten milliseconds.
    pub fn pass_ms(&mut self, ms: u64) {
        let end = self.now_us + ms * 1000;
        let mut next_proposal = self.now_us;
        while self.now_us < end {
            if self.now_us >= next_proposal {
                next_proposal = self.now_us + 10_000;
                for id in self.ids() {
                    if self.raft(id).is_some_and(Raft::is_leader) {
                        self.propose(id);
                    }
                }
            }
            let until = end.min(next_proposal);
            match self.due.first_key_value() {
                Some((&(at, number), _)) if at <= until => {
                    self.now_us = at;
                    let due = self.due.remove(&(at, number)).expect("it was just seen");
                    self.happen(due);
                }
                _ => self.now_us = until,
            }
        }
    }

    fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("the world has this node")
    }

    fn schedule(&mut self, after_us: u64, due: Due) {
        self.count += 1;
        self.due.insert((self.now_us + after_us, self.count), due);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Arrival { from, to, message } => self.input(to, Input::Receive { from: NodeId(from), message }),
            Due::Firing { node, timer, arming } => {
                if self.node(node).armed.get(&timer) == Some(&arming) {
                    self.node(node).armed.remove(&timer);
                    self.input(node, Input::Expired(timer));
                }
            }
            Due::Flush { node, opening } => {
                if self.node(node).setup.incarnation.0 == opening && !self.stalled.contains(&node) {
                    self.flush(node);
                }
            }
        }
    }

    fn flush(&mut self, id: u64) {
        let node = self.node(id);
        node.flushing = false;
        if node.raft.is_none() {
            return;
        }
        let mut durable = None;
        for Write { ticket, records, drop_before } in std::mem::take(&mut node.writes) {
            if let Some(drop_before) = drop_before {
                node.records.retain(|(written, _)| *written >= drop_before);
            }
            node.records.extend(records.into_iter().map(|record| (ticket, record)));
            durable = Some(ticket);
        }
        let Some(durable) = durable else { return };
        for (to, message) in node.gate.advance(durable) {
            self.send(id, to.0, message);
        }
        self.input(id, Input::Persisted(durable));
    }

    fn flush_soon(&mut self, id: u64) {
        let delay = 500 + self.draw(2_000);
        let node = self.node(id);
        node.flushing = true;
        let opening = node.setup.incarnation.0;
        self.schedule(delay, Due::Flush { node: id, opening });
    }

    fn send(&mut self, from: u64, to: u64, message: Message) {
        self.sent += 1;
        if !self.cut.contains(&(from, to)) {
            let delay = 300 + self.draw(1_500);
            self.schedule(delay, Due::Arrival { from, to, message });
        }
    }

    fn input(&mut self, id: u64, input: Input<Raft>) {
        let node = self.node(id);
        let Some(raft) = node.raft.as_mut() else { return };
        raft.step(&mut Still, input, &mut node.outbox);
        raft.settle(&mut Still, &mut node.outbox);
        raft.check_deep().expect("the invariants hold");
        self.carry_out(id);
    }

    fn carry_out(&mut self, id: u64) {
        let mut applied = None;
        for output in self.node(id).outbox.take() {
            match output {
                Output::Persist { ticket, records } => self.write(id, Write { ticket, records, drop_before: None }),
                Output::Compact { ticket, baseline, drop_before } => {
                    self.write(id, Write { ticket, records: baseline, drop_before: Some(drop_before) });
                }
                Output::Send { to, message, after } => {
                    if let Some((to, message)) = self.node(id).gate.pass(after, to, message) {
                        self.send(id, to.0, message);
                    }
                }
                Output::SetTimer { timer, at_least, at_most } => {
                    let (least, most) = (at_least.as_micros() as u64, at_most.as_micros() as u64);
                    let after = least + self.draw(most - least + 1);
                    let arming = self.count + 1;
                    self.node(id).armed.insert(timer, arming);
                    self.schedule(after, Due::Firing { node: id, timer, arming });
                }
                Output::CancelTimer(timer) => drop(self.node(id).armed.remove(&timer)),
                Output::Decide { slot, .. } => applied = Some(slot),
                _ => {}
            }
        }
        if let Some(through) = applied {
            let node = self.node(id);
            // Every tenth decision the store writes itself down.
            if through.0 % 10 == 0 {
                node.applied_durable = through;
            }
            let durable = node.applied_durable;
            self.input(id, Input::Applied { through, durable, digest: 0 });
        }
    }

    fn write(&mut self, id: u64, write: Write) {
        let node = self.node(id);
        node.writes.push_back(write);
        if !node.flushing {
            self.flush_soon(id);
        }
    }
}
