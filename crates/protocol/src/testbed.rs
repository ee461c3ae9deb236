//! A whole cluster of bare replicas in one value, moved one event at a time.
//!
//! Paper tests, golden traces and the explorer use it: replicas, gates, durable records, writes under way, messages in
//! flight and armed timers, and a method for every single thing that can happen. Nothing happens by itself and no time
//! passes, but for two: what is decided is applied at once, and, unless told otherwise, a snapshot gets where it is sent at once
//! and is installed as soon as its record is durable. [`Timed`] has bare replicas on virtual time, and the simulator whole nodes.

mod fingerprint;
mod node;
mod parts;
mod snapshots;
mod timed;

pub use fingerprint::fingerprint;
pub use node::TestNode;
pub use snapshots::Transfer;
pub use timed::Timed;

use crate::{
    Batch, Decision, Durable, Env, Event, Gate, Input, OpenError, Outbox, Output, Replica, RequestId, Start, Violation,
};
use node::DiskWrite;
use quorate_types::{Incarnation, Membership, NodeId, Slot, Ticket, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, OnceLock};

/// A message in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flight<R: Replica> {
    /// Sender.
    pub from: NodeId,
    /// Receiver.
    pub to: NodeId,
    /// What.
    pub message: R::Message,
}

/// Time stands still; choices are scripted, then 0.
#[derive(Clone, Debug, Default)]
struct ScriptedEnv {
    now: Time,
    choices: VecDeque<u64>,
    asked: Vec<u64>,
}

impl Env for ScriptedEnv {
    fn now(&self) -> Time {
        self.now
    }
    fn choose(&mut self, bound: u64) -> u64 {
        self.asked.push(bound);
        self.choices.pop_front().unwrap_or(0).min(bound.saturating_sub(1))
    }
}

/// The cluster.
#[derive(Clone, Debug)]
pub struct Testbed<R: Replica> {
    config: R::Config,
    /// Shared between clones until one of them changes: the explorer keeps very many clones.
    nodes: BTreeMap<NodeId, Arc<TestNode<R>>>,
    flights: Vec<Flight<R>>,
    transfers: Vec<Transfer<R>>,
    slow_snapshots: bool,
    chosen: BTreeMap<Slot, Decision>,
    /// The same as members without data see it.
    witnessed: BTreeMap<Slot, Decision>,
    /// Members without data, for life.
    witnesses: BTreeSet<NodeId>,
    violation: Option<Violation>,
    env: ScriptedEnv,
    check_ghost: bool,
    tracing: bool,
    merge_equal_disks: bool,
    /// Something was said to a node that is not here.
    reached_out: bool,
}

impl<R: Replica> Testbed<R> {
    /// A founded cluster of voters 1 to `count`, all open, with tracing on.
    #[must_use]
    pub fn new(count: u64, config: R::Config) -> Testbed<R> {
        Testbed::with_members(Membership::of_voters(count), config)
    }

    /// A founded cluster of these members.
    #[must_use]
    pub fn with_members(members: Membership, config: R::Config) -> Testbed<R> {
        let mut testbed = Testbed {
            config,
            nodes: BTreeMap::new(),
            flights: Vec::new(),
            transfers: Vec::new(),
            slow_snapshots: false,
            chosen: BTreeMap::new(),
            witnessed: BTreeMap::new(),
            witnesses: members
                .members()
                .iter()
                .filter(|member| !member.stores_data())
                .map(|member| member.id)
                .collect(),
            violation: None,
            env: ScriptedEnv::default(),
            check_ghost: true,
            tracing: true,
            merge_equal_disks: false,
            reached_out: false,
        };
        for member in members.members() {
            testbed.nodes.insert(member.id, Arc::new(TestNode::closed(member.id, Start::Found(members.clone()))));
            testbed.restart(member.id);
        }
        testbed
    }

    /// Opens one more node, which knows nobody until it is spoken to.
    ///
    /// # Panics
    /// When there is one of this id.
    pub fn join(&mut self, id: NodeId) {
        let earlier = self.nodes.insert(id, Arc::new(TestNode::closed(id, Start::Join)));
        assert!(earlier.is_none(), "{id} is new");
        self.restart(id);
    }

    /// The same for one that is to be a witness.
    ///
    /// # Panics
    /// When there is one of this id.
    pub fn join_as_witness(&mut self, id: NodeId) {
        self.witnesses.insert(id);
        self.join(id);
    }

    /// A node.
    ///
    /// # Panics
    /// When there is none of this id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &TestNode<R> {
        self.nodes.get(&id).expect("the testbed has this node")
    }

    /// A running replica.
    ///
    /// # Panics
    /// When it is crashed or absent.
    #[must_use]
    pub fn replica(&self, id: NodeId) -> &R {
        self.node(id).replica.as_ref().expect("the node is running")
    }

    /// All ids.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.keys().copied()
    }

    /// Messages in flight, oldest first.
    #[must_use]
    pub fn flights(&self) -> &[Flight<R>] {
        &self.flights
    }

    /// The first broken promise: an invariant, agreement, or the durability ghost.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// What was decided anywhere, ever.
    #[must_use]
    pub fn chosen(&self) -> &BTreeMap<Slot, Decision> {
        &self.chosen
    }

    /// Switches the durability ghost off, for speed or for showing a flaw further downstream.
    pub fn without_ghost(mut self) -> Testbed<R> {
        self.check_ghost = false;
        self
    }

    /// Switches tracing off in every node, for speed: replicas behave the same and report no guards.
    pub fn without_tracing(mut self) -> Testbed<R> {
        self.tracing = false;
        for node in self.nodes.values_mut() {
            let node = touch(node);
            node.outbox = Outbox::new(node.outbox.last_ticket(), false);
            node.events.clear();
        }
        self
    }

    /// Lets [`Testbed::node_fingerprint`] see of durable records only the replica that opens from them. Fewer states, and the same
    /// future, for a protocol whose recovery is a fold: where equal replicas open from two lists of records, equal
    /// ones open from both lists with the same records added.
    pub fn merging_equal_disks(mut self) -> Testbed<R> {
        self.merge_equal_disks = true;
        self
    }

    /// The clock that replicas read from now on.
    pub fn set_now(&mut self, now: Time) {
        self.env.now = now;
    }

    /// Answers for the next calls of `Env::choose`; 0 when exhausted.
    pub fn script_choices(&mut self, choices: impl IntoIterator<Item = u64>) {
        self.env.choices.extend(choices);
    }

    /// The bounds asked of `Env::choose` since the last call.
    pub fn take_asked(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.env.asked)
    }

    /// Takes the guards a node reported.
    pub fn take_events(&mut self, id: NodeId) -> Vec<Event> {
        std::mem::take(&mut self.node_mut(id).events)
    }

    /// Hands one input to a running node and settles. Crashed nodes ignore it.
    pub fn input(&mut self, id: NodeId, input: Input<R>) {
        self.batch(id, [input]);
    }

    /// Hands inputs to a running node in one batch, as drivers do with what is at hand, and settles at its end.
    pub fn batch(&mut self, id: NodeId, inputs: impl IntoIterator<Item = Input<R>>) {
        let Some(node) = self.nodes.get_mut(&id).map(touch) else { return };
        let Some(replica) = node.replica.as_mut() else { return };
        for input in inputs {
            replica.step(&mut self.env, input, &mut node.outbox);
        }
        replica.settle(&mut self.env, &mut node.outbox);
        self.carry_out(id);
    }

    /// Delivers the flight at this index.
    pub fn deliver(&mut self, index: usize) {
        let Flight { from, to, message } = self.flights.remove(index);
        self.input(to, Input::Receive { from, message });
    }

    /// Delivers a copy of the flight at this index and leaves the original in flight.
    pub fn deliver_copy(&mut self, index: usize) {
        let Flight { from, to, message } = self.flights[index].clone();
        self.input(to, Input::Receive { from, message });
    }

    /// Loses the flight at this index.
    pub fn lose(&mut self, index: usize) {
        self.flights.remove(index);
    }

    /// Loses every flight the predicate picks; returns how many.
    pub fn lose_where(&mut self, mut picked: impl FnMut(&Flight<R>) -> bool) -> usize {
        let before = self.flights.len();
        self.flights.retain(|flight| !picked(flight));
        before - self.flights.len()
    }

    /// Fires a timer if it is armed; says whether it was.
    pub fn expire(&mut self, id: NodeId, timer: R::Timer) -> bool {
        let armed = self.node_mut(id).armed.remove(&timer);
        if armed {
            self.input(id, Input::Expired(timer));
        }
        armed
    }

    /// Completes the oldest `count` durable writes of a node in one flush.
    pub fn complete_writes(&mut self, id: NodeId, count: usize) {
        let node = self.node_mut(id);
        let count = count.min(node.outstanding.len());
        let mut durable = None;
        for (ticket, write) in node.outstanding.drain(..count).collect::<Vec<_>>() {
            node.write(ticket, write);
            durable = Some(ticket);
        }
        if let Some(durable) = durable {
            let released = self.node_mut(id).gate.advance(durable);
            for (to, message) in released {
                self.launch(id, to, message);
            }
            self.input(id, Input::Persisted(durable));
            if !self.slow_snapshots {
                self.install(id);
            }
        }
    }

    /// Crashes a node: memory, gate and timers are gone; of the writes under way the oldest `surviving` are durable.
    pub fn crash(&mut self, id: NodeId, surviving: usize) {
        let node = self.node_mut(id);
        let writes: Vec<_> = node.outstanding.drain(..).collect();
        for (ticket, write) in writes.into_iter().take(surviving) {
            node.write(ticket, write);
        }
        let applied_durable = node.applied_durable;
        node.decided.retain(|slot, _| *slot <= applied_durable);
        node.replica = None;
        node.gate = Gate::new(Ticket::NONE);
        node.armed.clear();
        node.owed.clear();
        node.install = None;
        node.lead = None;
        node.settled = false;
    }

    /// Opens a crashed (or new) node from what is durable.
    ///
    /// # Panics
    /// When the replica refuses to open: in a testbed nothing damages records.
    pub fn restart(&mut self, id: NodeId) {
        let node = touch(self.nodes.get_mut(&id).expect("the testbed has this node"));
        let last = node.records.last().map_or(Ticket::NONE, |(ticket, _)| *ticket);
        let setup = Arc::make_mut(&mut node.setup);
        setup.incarnation = Incarnation(setup.incarnation.0 + 1);
        node.ghost = OnceLock::new();
        node.gate = Gate::new(last);
        node.outbox = Outbox::new(last, self.tracing);
        let found = Durable { records: node.records.clone(), anchor: None, applied: node.applied_durable };
        let replica = R::open(&node.setup, &self.config, found, &mut node.outbox).expect("undamaged records open");
        node.replica = Some(replica);
        self.carry_out(id);
        self.forget_needless_snapshots(id);
    }

    /// What would open from a node's durable records alone.
    ///
    /// # Errors
    /// As [`Replica::open`].
    pub fn recovered(&self, id: NodeId) -> Result<&R, OpenError> {
        self.ghost(self.node(id))
    }

    /// Makes what a node has applied survive crashes without the log.
    pub fn checkpoint(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        if let Some(through) = node.decided.keys().next_back().copied() {
            node.applied_durable = through;
            node.ghost = OnceLock::new();
            self.input(id, Input::Applied { through, durable: through, digest: 0 });
        }
    }

    /// Proposes commands at a node.
    pub fn propose(&mut self, id: NodeId, request: u64, commands: impl Into<bytes::Bytes>) {
        self.input(id, Input::Propose { request: RequestId(request), batch: Batch::new(commands.into()) });
    }

    /// Asks a node to change the members from those it has in force to these.
    pub fn reconfigure(&mut self, id: NodeId, request: u64, members: Membership) {
        let Some(based_on) = self.node(id).replica().map(|replica| replica.status().membership) else { return };
        self.input(id, Input::Reconfigure { request: RequestId(request), based_on, members });
    }

    /// Completes writes and delivers messages, oldest first, until nothing is left or `limit` deliveries are done. No timer
    /// fires. `passes` may hold a message back by answering false.
    pub fn run(&mut self, limit: usize, mut passes: impl FnMut(&Flight<R>) -> bool) {
        for _ in 0..limit {
            for id in self.nodes.keys().copied().collect::<Vec<_>>() {
                while self.node(id).outstanding() > 0 {
                    self.complete_writes(id, usize::MAX);
                }
            }
            match self.flights.iter().position(&mut passes) {
                Some(index) => self.deliver(index),
                None => return,
            }
        }
    }

    fn node_mut(&mut self, id: NodeId) -> &mut TestNode<R> {
        touch(self.nodes.get_mut(&id).expect("the testbed has this node"))
    }

    fn launch(&mut self, from: NodeId, to: NodeId, message: R::Message) {
        if self.check_ghost && !self.ghost_vouches(from, to, &message) {
            let detail = format!("{from} sends {message:?} to {to}, which its synced records alone do not support");
            self.violate("DurabilityGhost", detail);
        }
        self.flights.push(Flight { from, to, message });
    }

    fn ghost_vouches(&self, from: NodeId, to: NodeId, message: &R::Message) -> bool {
        self.ghost(self.node(from)).is_ok_and(|ghost| ghost.vouches(to, message))
    }

    /// What would open from the durable records alone. Opened once for as long as they stay as they are.
    fn ghost<'a>(&self, node: &'a TestNode<R>) -> Result<&'a R, OpenError> {
        let open = || {
            let found = Durable { records: node.records.clone(), anchor: None, applied: node.applied_durable };
            R::open(&node.setup, &self.config, found, &mut Outbox::new(Ticket(u64::MAX / 2), false)).map(Arc::new)
        };
        node.ghost.get_or_init(open).as_deref().map_err(OpenError::clone)
    }

    fn violate(&mut self, invariant: &'static str, detail: String) {
        self.violation.get_or_insert(Violation { invariant, detail });
    }

    fn carry_out(&mut self, id: NodeId) {
        loop {
            let outputs = self.node_mut(id).outbox.take();
            let mut applied = None;
            for output in outputs {
                if let Output::Decide { slot, .. } = &output {
                    applied = Some(*slot);
                }
                self.carry_out_one(id, output);
            }
            let node = touch(self.nodes.get_mut(&id).expect("the testbed has this node"));
            let durable = node.applied_durable;
            node.owed.extend(applied.map(|through| Input::Applied { through, durable, digest: 0 }));
            let owed = std::mem::take(&mut node.owed);
            let Some(replica) = node.replica.as_mut().filter(|_| !owed.is_empty()) else { break };
            owed.into_iter().for_each(|input| replica.step(&mut self.env, input, &mut node.outbox));
            replica.settle(&mut self.env, &mut node.outbox);
        }
        let checked = self.node(id).replica.as_ref().map_or(Ok(()), Replica::check_deep);
        if let Err(violation) = checked {
            self.violation.get_or_insert(violation);
        }
        if !self.slow_snapshots {
            self.install(id);
            while let Some(index) = self.transfers.iter().position(|transfer| transfer.from == id) {
                self.deliver_snapshot(index);
            }
        }
    }

    fn carry_out_one(&mut self, id: NodeId, output: Output<R>) {
        let node = touch(self.nodes.get_mut(&id).expect("the testbed has this node"));
        match output {
            Output::Persist { ticket, records } => {
                node.outstanding.push_back((ticket, DiskWrite { records, drop_before: None }))
            }
            Output::Compact { ticket, baseline, drop_before } => {
                node.outstanding.push_back((ticket, DiskWrite { records: baseline, drop_before: Some(drop_before) }));
            }
            Output::Send { to, message, after } => {
                if to == id {
                    self.violate("NeverToYourself", format!("{id} sends {message:?} to itself"));
                } else if let Some((to, message)) = node.gate.pass(after, to, message) {
                    self.launch(id, to, message);
                }
            }
            Output::SetTimer { timer, .. } => {
                node.armed.insert(timer);
            }
            Output::CancelTimer(timer) => {
                node.armed.remove(&timer);
            }
            Output::Decide { slot, decision } => self.note_decision(id, slot, decision),
            Output::ReadAt { token, slot } => node.reads.push((token, slot)),
            Output::Refuse { refused, why } => node.refusals.push((refused, why)),
            Output::Lead { era, who, ready, settled } => {
                node.lead = Some((era, who, ready));
                node.settled = settled;
            }
            Output::Trace(event) => node.events.push(event),
            Output::SendSnapshot { to, at_least, with_data } => self.pin_snapshot(id, to, at_least, with_data),
            Output::SnapshotAnchor { id: view, to, anchor } => self.begin_transfer(id, view, to, anchor),
            Output::InstallSnapshot { id: snapshot, anchor, after } => self.begin_install(id, snapshot, &anchor, after),
            Output::DropSnapshot { id: snapshot } => self.drop_snapshot(id, snapshot),
            Output::Members { members, .. } => node.reach = members,
            Output::Retire { why } => node.retired = Some(why),
            Output::Evidence { .. } => {}
        }
    }

    fn note_decision(&mut self, id: NodeId, slot: Slot, decision: Decision) {
        if self.node(id).install.is_some() {
            self.violate(
                "NothingWhileInstalling",
                format!("{id} decides slot {slot} before its snapshot is installed"),
            );
        }
        let node = self.node_mut(id);
        let expected = node.decided.keys().next_back().map_or(node.applied_durable.next(), |last| last.next());
        if slot != expected {
            self.violate("DecidedInOrder", format!("{id} decides slot {slot} where {expected} comes next"));
        }
        self.node_mut(id).decided.insert(slot, decision.clone());
        let seen = if self.witnesses.contains(&id) { &mut self.witnessed } else { &mut self.chosen };
        let first = seen.entry(slot).or_insert_with(|| decision.clone()).clone();
        let whole = self.chosen.get(&slot).map(without_commands);
        let witnessed = self.witnessed.get(&slot).filter(|witnessed| whole.is_some_and(|whole| whole != **witnessed));
        let detail = match witnessed {
            _ if first != decision => format!("slot {slot} was decided to be {first:?}, and {id} decides {decision:?}"),
            Some(witnessed) => {
                format!("{id} decides slot {slot} to be {decision:?}, and witnesses that it is {witnessed:?}")
            }
            None => return,
        };
        self.violate("Agreement", detail);
    }
}

/// A decision as a member without data sees it.
fn without_commands(decision: &Decision) -> Decision {
    match decision {
        Decision::Commands(_) => Decision::Commands(bytes::Bytes::new()),
        Decision::Members(_) | Decision::Nothing => decision.clone(),
    }
}

/// A node to be changed: its own copy.
fn touch<R: Replica>(node: &mut Arc<TestNode<R>>) -> &mut TestNode<R> {
    Arc::make_mut(node)
}
