//! The parts joined.

use crate::boot::{Boot, BootError, applied_of, encode_store_meta, journal_failed, store_failed};
use crate::checkpoint::CheckpointPace;
use crate::config::NodeConfig;
use crate::interface::{Lane, NodeInput, NodeMessage, NodeOutput, NodeTimer, StopReason};
use crate::status::NodeStatus;
use quorate_disk::Disk;
use quorate_journal::Journal;
use quorate_machine::{Machine, MachineOutput, StateMachine};
use quorate_protocol::{
    Durable, Env, Event, Gate, Input, Outbox, Output, Replica, Rule, Setup, Violation,
};
use quorate_store::Store;
use quorate_types::{NodeId, Slot, Ticket};
use quorate_wire::encode_to_bytes;
use std::time::Duration;

/// Two messages of one member contradict each other.
static EVIDENCE: Rule = Rule {
    id: "node.evidence",
    source: "PBFT §2; Tendermint, accountability",
    allowed: "{me} holds proof against {against}: {first} contradicts {second}",
    refused: "",
    waiting: "",
};

/// One node: everything deterministic that a process runs.
///
/// # A driver's duties
/// 1. [`Node::boot`] on the two disks, then carry out the outputs it returns.
/// 2. Hand over inputs one by one with [`Node::step`], all that are at hand, then call [`Node::settle`] once. The clock that
///    `env` shows is read after the inputs were dequeued.
/// 3. Carry out the outputs in order. Of each [`Lane`] one write is under way at a time: perform its operations in order
///    and report [`NodeInput::DiskDone`]. A failed operation is not an input: drop the node and boot again.
/// 4. A timer fires once; setting it again replaces its deadline; one that was cancelled is not delivered.
/// 5. After [`NodeOutput::Stop`] drop the node.
///
/// A crash is dropping the node. Everything it ever acknowledged is on the disks, as far as their writes were reported done.
#[derive(Clone, Debug)]
pub struct Node<R: Replica, S: StateMachine> {
    setup: Setup,
    checkpoint_every: Duration,
    journal_idle: Duration,
    replica: R,
    outbox: Outbox<R>,
    gate: Gate<R::Message>,
    journal: Journal,
    store: Store,
    machine: Machine<S>,
    machine_outputs: Vec<MachineOutput<S::Reply>>,
    /// What the machine wants the replica to hear; delivered in the next round of settle.
    inbox: Vec<Input<R>>,
    /// What became free to send since the last settle.
    released: Vec<(NodeId, R::Message)>,
    /// The last `Lead` the replica said.
    lead: Option<(u64, Option<NodeId>, bool)>,
    pace: CheckpointPace,
    /// The last durable checkpoint.
    checkpointed: Slot,
    /// The applied and durable marks the replica was last told.
    reported: (Slot, Slot),
    idle: JournalIdle,
    stop: Option<StopReason>,
    /// `Stop` was said.
    stopped: bool,
}

/// Whether the journal's housekeeping is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct JournalIdle {
    armed: bool,
    /// A write was begun since the timer was armed, so the journal was not quiet.
    disturbed: bool,
}

impl<R: Replica, S: StateMachine> Node<R, S> {
    /// Opens a node on its disks, creating the journal where there is none, and returns what it wants done first. Blocks
    /// for the disks: this is the only place where the node performs operations itself.
    ///
    /// In this order: what may be unflushed in the journal is flushed; the journal is read; the new incarnation is made durable;
    /// the store is read; then machine and replica open from what was found.
    ///
    /// # Errors
    /// When a disk fails, or what is on them is damaged, contradictory, of another version, or somebody else's.
    pub fn boot(
        boot: Boot,
        config: NodeConfig<R>,
        journal_disk: &mut dyn Disk,
        store_disk: &mut dyn Disk,
    ) -> Result<(Node<R, S>, Vec<NodeOutput<R, S>>), BootError> {
        let flushes = Journal::flush_before_open(journal_disk).map_err(journal_failed)?;
        journal_disk.perform_all(&flushes).map_err(journal_failed)?;
        let found = boot.find_journal(&config, journal_disk)?;
        let stored = boot.find_store(&config, &found, store_disk)?;
        // Only now: a node that refuses to start because of its store leaves the journal as it was.
        journal_disk.perform_all(&found.operations).map_err(journal_failed)?;
        store_disk.perform_all(&stored.operations).map_err(store_failed)?;
        let setup = boot.setup(found.disk, found.incarnation);
        let applied = applied_of(stored.image.as_ref());
        let machine = Machine::open(setup.me, setup.incarnation, config.machine, stored.image)?;
        let mut outbox = Outbox::new(found.last_ticket, config.tracing);
        let durable = Durable { records: found.records, anchor: None, applied };
        let replica = R::open(&setup, &config.protocol, durable, &mut outbox)?;
        let mut node = Node {
            setup,
            checkpoint_every: config.checkpoint.every,
            journal_idle: config.journal_idle,
            replica,
            outbox,
            gate: Gate::new(found.last_ticket),
            journal: found.journal,
            store: stored.store,
            machine,
            machine_outputs: Vec::new(),
            inbox: Vec::new(),
            released: Vec::new(),
            lead: None,
            pace: CheckpointPace::new(config.checkpoint, applied),
            checkpointed: applied,
            reported: (applied, applied),
            idle: JournalIdle::default(),
            stop: None,
            stopped: false,
        };
        let mut outputs = Vec::new();
        node.arm_checkpoint(&mut outputs);
        node.carry_replica_outputs(&mut outputs);
        node.carry_machine_outputs(&mut outputs);
        node.finish(0, &mut outputs);
        Ok((node, outputs))
    }

    /// The replica that a boot on these disks would open, for the durability ghost: hand it
    /// what is synced and nothing else, and ask whether it vouches for a message. Performs no operation.
    ///
    /// # Errors
    /// As [`Node::boot`].
    pub fn ghost(
        boot: &Boot,
        config: &NodeConfig<R>,
        journal_disk: &dyn Disk,
        store_disk: &dyn Disk,
    ) -> Result<R, BootError> {
        let found = boot.find_journal(config, journal_disk)?;
        let stored = boot.find_store(config, &found, store_disk)?;
        let durable = Durable { records: found.records, anchor: None, applied: applied_of(stored.image.as_ref()) };
        let mut silent = Outbox::new(found.last_ticket, false);
        Ok(R::open(&boot.setup(found.disk, found.incarnation), &config.protocol, durable, &mut silent)?)
    }

    /// Takes one input. Total: what cannot be is dropped or stops the node, and never panics.
    pub fn step(&mut self, env: &mut dyn Env, input: NodeInput<R, S>) {
        if self.stopped || self.stop.is_some() {
            return;
        }
        match input {
            NodeInput::Message { from, message: NodeMessage::Protocol(message) } => {
                self.tell_replica(env, Input::Receive { from, message });
            }
            NodeInput::Message { from, message: NodeMessage::Machine(message) } => {
                self.machine.receive(from, message, &mut self.machine_outputs);
            }
            NodeInput::Expired(NodeTimer::Protocol(timer)) => self.tell_replica(env, Input::Expired(timer)),
            NodeInput::Expired(NodeTimer::Requests) => self.machine.expired(env.now(), &mut self.machine_outputs),
            NodeInput::Expired(NodeTimer::Checkpoint) => self.pace.look(),
            NodeInput::Expired(NodeTimer::JournalIdle) => self.idle.armed = false,
            NodeInput::DiskDone { lane: Lane::Journal, write } => self.journal_done(env, write),
            NodeInput::DiskDone { lane: Lane::Store, write } => self.store_done(write),
            NodeInput::Write { tag, payload } => {
                self.machine.submit(env.now(), tag, payload, &mut self.machine_outputs);
            }
            NodeInput::Read { tag, query, consistency } => {
                self.machine.read(env.now(), tag, query, consistency, &mut self.machine_outputs);
            }
            NodeInput::Link { peer, state } => self.tell_replica(env, Input::Link { peer, state }),
        }
    }
}
