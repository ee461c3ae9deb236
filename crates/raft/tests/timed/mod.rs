//! Raft nodes on virtual time: links that may be cut in one direction or be late, disks with a delay, timers as asked for, clocks
//! that run fast or slow. One seed decides everything. For questions about time, which a testbed without any cannot answer.
#![allow(dead_code, reason = "each test binary uses its own part")]

use quorate_protocol::{
    Batch, Durable, Env, Footprint, Gate, Input, LinkState, Outbox, Output, ReadToken, Refusal, Refused, Replica,
    RequestId, Setup, Start,
};
use quorate_raft::{Config, Message, Raft, Record, Timer};
use quorate_types::{ClusterId, DiskId, Incarnation, Membership, NodeId, Slot, Ticket, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const MILLION: u64 = 1_000_000;

/// Names every request to hand over.
const TRANSFER: RequestId = RequestId(7);

/// Names every change of the members.
const CHANGE: RequestId = RequestId(8);

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
    config: Config,
    /// Ticks of its clock in a second of real time, in millionths of what is right.
    rate_ppm: u64,
    raft: Option<Raft>,
    outbox: Outbox<Raft>,
    gate: Gate<Message>,
    records: Vec<(Ticket, Record)>,
    writes: VecDeque<Write>,
    flushing: bool,
    armed: BTreeMap<Timer, u64>,
    applied_durable: Slot,
}

/// A read that waits, and what was decided anywhere when it came.
struct Asked {
    floor: Slot,
}

/// The cluster.
pub struct World {
    nodes: BTreeMap<u64, Node>,
    due: BTreeMap<(u64, u64), Due>,
    cut: BTreeSet<(u64, u64)>,
    stalled: BTreeSet<u64>,
    now_us: u64,
    count: u64,
    random: u64,
    /// How many messages were sent so far.
    pub sent: u64,
    /// Nobody proposes anything.
    pub quiet: bool,
    /// One message in sixteen is late by up to this long, and half of those arrive twice.
    pub late_ms: u64,
    /// Every node reads this often.
    pub read_every_us: Option<u64>,
    asked: BTreeMap<ReadToken, Asked>,
    decided: Slot,
    /// How many reads were answered, and how many of them by a leader in one step, which takes a lease.
    pub answered: u64,
    pub leased: u64,
    /// How many transfers were refused after they had begun.
    pub transfers_in_vain: u64,
    /// The first broken promise.
    pub broken: Option<String>,
}

struct OwnClock(Time);

impl Env for OwnClock {
    fn now(&self) -> Time {
        self.0
    }
    fn choose(&mut self, _: u64) -> u64 {
        0
    }
}

impl World {
    /// Founded with so many voters, all open.
    pub fn of(count: u64, seed: u64, config: Config) -> World {
        let nodes: Vec<(Config, u64)> = (0..count).map(|_| (config.clone(), MILLION)).collect();
        World::of_each(&nodes, seed)
    }

    /// The same with the settings and the clock of each voter, which runs at so many millionths of the right rate.
    pub fn of_each(nodes: &[(Config, u64)], seed: u64) -> World {
        let mut world = World {
            nodes: BTreeMap::new(),
            due: BTreeMap::new(),
            cut: BTreeSet::new(),
            stalled: BTreeSet::new(),
            now_us: 0,
            count: 0,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1),
            sent: 0,
            quiet: false,
            late_ms: 0,
            read_every_us: None,
            asked: BTreeMap::new(),
            decided: Slot::ZERO,
            answered: 0,
            leased: 0,
            transfers_in_vain: 0,
            broken: None,
        };
        for (id, (config, rate_ppm)) in (1..).zip(nodes) {
            let start = Start::Found(Membership::of_voters(nodes.len() as u64));
            world.admit(id, start, config.clone(), *rate_ppm);
        }
        world
    }

    /// One more node, that knows nobody until it is added.
    pub fn join(&mut self, config: Config, rate_ppm: u64) {
        self.admit(self.nodes.len() as u64 + 1, Start::Join, config, rate_ppm);
    }

    fn admit(&mut self, id: u64, start: Start, config: Config, rate_ppm: u64) {
        let (me, disk) = (NodeId(id), DiskId(id));
        let node = Node {
            setup: Setup { cluster: ClusterId(1), me, disk, incarnation: Incarnation(0), start },
            config,
            rate_ppm,
            raft: None,
            outbox: Outbox::new(Ticket::NONE, false),
            gate: Gate::new(Ticket::NONE),
            records: Vec::new(),
            writes: VecDeque::new(),
            flushing: false,
            armed: BTreeMap::new(),
            applied_durable: Slot::ZERO,
        };
        self.nodes.insert(id, node);
        self.open(id);
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

    /// All links work again.
    pub fn heal_links(&mut self) {
        self.cut.clear();
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
        let node = self.node(id);
        let last = node.records.last().map_or(Ticket::NONE, |(ticket, _)| *ticket);
        node.setup.incarnation = Incarnation(node.setup.incarnation.0 + 1);
        node.gate = Gate::new(last);
        node.flushing = false;
        node.outbox = Outbox::new(last, false);
        let found = Durable { records: node.records.clone(), anchor: None, applied: node.applied_durable };
        let raft = Raft::open(&node.setup, &node.config, found, &mut node.outbox).expect("undamaged records open");
        node.raft = Some(raft);
        self.carry_out(id);
    }

    /// From its next opening on it has these settings.
    pub fn set(&mut self, id: u64, config: Config) {
        self.node(id).config = config;
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

    /// Asks a node to hand leadership over.
    pub fn transfer(&mut self, id: u64, to: u64) {
        self.input(id, Input::Transfer { request: TRANSFER, to: NodeId(to) });
    }

    /// Asks a node to change the members from those it has in force.
    pub fn reconfigure(&mut self, id: u64, members: Membership) {
        let Some(raft) = self.raft(id) else { return };
        let based_on = raft.configuration().members.clone();
        self.input(id, Input::Reconfigure { request: CHANGE, based_on, members });
    }

    /// Whether a node may answer reads alone, by its own clock.
    pub fn has_lease(&self, id: u64) -> bool {
        self.raft(id).is_some_and(|raft| raft.has_lease(self.clock(id)))
    }

    /// A node reads. What it will be answered must have everything that was decided anywhere before.
    pub fn read(&mut self, id: u64) {
        self.count += 1;
        let incarnation = self.nodes[&id].setup.incarnation;
        let token = ReadToken { node: NodeId(id), incarnation, number: self.count };
        self.asked.insert(token, Asked { floor: self.decided });
        let (was_leader, answered) = (self.raft(id).is_some_and(Raft::is_leader), self.answered);
        self.input(id, Input::Read { token, footprint: Footprint::Everything });
        self.leased += u64::from(was_leader && self.answered > answered);
    }

    fn clock(&self, id: u64) -> Time {
        let node = &self.nodes[&id];
        // Each clock has an origin of its own.
        Time(self.now_us * node.rate_ppm / 1000 + id * 7_000_000_000)
    }

    fn propose_and_read(&mut self, next_proposal: &mut u64, next_read: &mut Option<u64>) {
        if self.now_us >= *next_proposal {
            *next_proposal = self.now_us + 10_000;
            for id in self.ids() {
                if !self.quiet && self.raft(id).is_some_and(Raft::is_leader) {
                    self.propose(id);
                }
            }
        }
        if next_read.is_some_and(|next| self.now_us >= next) {
            *next_read = self.read_every_us.map(|every| self.now_us + every);
            self.ids().into_iter().for_each(|id| self.read(id));
        }
    }

    /// Lets so much time pass; whoever leads gets a proposal every ten milliseconds.
    pub fn pass_ms(&mut self, ms: u64) {
        let end = self.now_us + ms * 1000;
        let mut next_proposal = self.now_us;
        let mut next_read = self.read_every_us.map(|_| self.now_us);
        while self.now_us < end {
            self.propose_and_read(&mut next_proposal, &mut next_read);
            let until = end.min(next_proposal).min(next_read.unwrap_or(u64::MAX));
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
        if self.cut.contains(&(from, to)) {
            return;
        }
        let delay = 300 + self.draw(1_500);
        if self.late_ms > 0 && self.draw(16) == 0 {
            let late = self.draw(self.late_ms * 1000);
            self.schedule(delay + late, Due::Arrival { from, to, message: message.clone() });
            if self.draw(2) == 0 {
                return;
            }
        }
        self.schedule(delay, Due::Arrival { from, to, message });
    }

    fn input(&mut self, id: u64, input: Input<Raft>) {
        let mut env = OwnClock(self.clock(id));
        let node = self.node(id);
        let Some(raft) = node.raft.as_mut() else { return };
        raft.step(&mut env, input, &mut node.outbox);
        raft.settle(&mut env, &mut node.outbox);
        raft.check_deep().expect("the invariants hold");
        self.carry_out(id);
    }

    /// `LeaseExclusive`: while a leader may answer alone, nobody leads a later term.
    fn check_leases(&mut self, id: u64) {
        let Some(term) = self.raft(id).filter(|raft| raft.is_leader()).map(Raft::term) else { return };
        let earlier = |other: &u64| self.raft(*other).is_some_and(|raft| raft.term() < term);
        if let Some(other) = self.ids().into_iter().find(|other| earlier(other) && self.has_lease(*other)) {
            self.broken.get_or_insert(format!("{id} leads term {term} while {other} has a lease"));
        }
    }

    fn read_answered(&mut self, token: ReadToken, slot: Slot) {
        self.answered += 1;
        if let Some(Asked { floor }) = self.asked.remove(&token)
            && slot < floor
        {
            self.broken
                .get_or_insert(format!("{token:?} is answered as of slot {slot}: {floor} was decided before it"));
        }
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
                    let own = least + self.draw(most - least + 1);
                    // Its clock must have got there.
                    let after = (own * MILLION).div_ceil(self.nodes[&id].rate_ppm);
                    let arming = self.count + 1;
                    self.node(id).armed.insert(timer, arming);
                    self.schedule(after, Due::Firing { node: id, timer, arming });
                }
                Output::CancelTimer(timer) => drop(self.node(id).armed.remove(&timer)),
                Output::Decide { slot, .. } => applied = Some(slot),
                Output::ReadAt { token, slot } => self.read_answered(token, slot),
                Output::Refuse { refused: Refused::Request(TRANSFER), why: Refusal::NotReady(why) } => {
                    self.transfers_in_vain += u64::from(why.contains("did not take over"));
                }
                Output::Lead { .. } => self.check_leases(id),
                _ => {}
            }
        }
        self.decided = self.decided.max(applied.unwrap_or(Slot::ZERO));
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
