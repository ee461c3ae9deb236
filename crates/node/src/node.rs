//! The parts joined.

use crate::backups::{Backup, BackupId};
use crate::boot::{Boot, BootError, install_again, journal_failed, store_failed, write_founding_checkpoint};
use crate::checkpoint::CheckpointPace;
use crate::config::NodeConfig;
use crate::disks::JournalIdle;
use crate::interface::{Lane, NodeInput, NodeMessage, NodeOutput, NodeTimer, StopReason};
use crate::snapshots::Snapshots;
use crate::space::SpaceWatch;
use crate::status::NodeStatus;
use crate::tidying::TidyPace;
use quorate_disk::Disk;
use quorate_journal::Journal;
use quorate_machine::{Ask, DutyConfig, Lead, Machine, MachineOutput, Roster, StateMachine};
use quorate_protocol::{
    Durable, Env, Gate, Input, LinkState, Outbox, Output, Picture, Replica, Setup, SnapshotId, Tape, Taped,
};
use quorate_store::Store;
use quorate_types::{DiskId, NodeId, Slot, Time};
use std::collections::BTreeMap;
use std::time::Duration;

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
/// 6. Before these disks are opened again, nothing of the node before may still be performing operations on them: a late
///    write would land on what the next incarnation has written since.
///
/// A crash is dropping the node. Everything it ever acknowledged is on the disks, as far as their writes were reported done.
#[derive(Clone, Debug)]
pub struct Node<R: Replica, S: StateMachine> {
    pub(crate) setup: Setup,
    /// How long the journal must be quiet for housekeeping.
    pub(crate) journal_idle: Duration,
    pub(crate) replica: R,
    pub(crate) outbox: Outbox<R>,
    /// Every call of the replica goes through it.
    pub(crate) tape: Tape<R>,
    pub(crate) gate: Gate<R::Message>,
    pub(crate) journal: Journal,
    pub(crate) store: Store,
    /// The store's write under way.
    pub(crate) store_write: Option<u64>,
    pub(crate) machine: Machine<S>,
    pub(crate) machine_outputs: Vec<MachineOutput<S::Reply>>,
    /// What the machine wants the replica to hear; delivered in the next round of settle.
    pub(crate) inbox: Vec<Input<R>>,
    /// What became free to send since the last settle.
    pub(crate) released: Vec<(NodeId, R::Message)>,
    /// The last `Lead` the replica said.
    pub(crate) lead: Option<Lead>,
    /// It votes and stores no data, by the members that the replica last said to reach.
    pub(crate) is_witness: bool,
    pub(crate) pace: CheckpointPace,
    pub(crate) tidy: TidyPace,
    pub(crate) snapshots: Snapshots<R, S>,
    pub(crate) backups: BTreeMap<BackupId, Backup>,
    pub(crate) last_backup: u64,
    /// What the state described when it came by snapshot.
    pub(crate) anchor: Option<R::Anchor>,
    /// The last durable checkpoint.
    pub(crate) checkpointed: Slot,
    /// The applied and durable marks the replica was last told.
    pub(crate) reported: (Slot, Slot),
    pub(crate) idle: JournalIdle,
    pub(crate) space: SpaceWatch,
    pub(crate) stop: Option<StopReason>,
    /// `Stop` was said.
    pub(crate) stopped: bool,
}

/// What a replica that opened between a snapshot's record and its installation says.
fn asked_to_install<R: Replica>(words: &[Output<R>]) -> Option<SnapshotId> {
    words.iter().find_map(|word| match word {
        Output::InstallSnapshot { id, .. } => Some(*id),
        _ => None,
    })
}

/// The journal names none of these snapshots: they arrived and were not wanted, or were installed just before the end.
fn drop_unnamed_arrivals(store: &mut Store) {
    for id in store.incoming().collect::<Vec<_>>() {
        store.drop_incoming(id);
    }
}

/// An open node, and what it wants done first.
pub type Booted<R, S> = (Node<R, S>, Vec<NodeOutput<R, S>>);

impl<R: Replica, S: StateMachine> Node<R, S> {
    /// Opens a node on its disks, creating the journal where there is none, and returns what it wants done first. Blocks
    /// for the disks: this is the only place where the node performs operations itself.
    ///
    /// In this order: what may be unflushed in the journal is flushed; journal and store are read; a snapshot that the journal
    /// names and the store does not have yet is installed, and reading begins anew; machine and replica open from what was
    /// found; then both disks are repaired and the new incarnation is made durable. A store without a checkpoint gets one of the
    /// state before the first command, so that from then on a lost journal is told from a node that never ran. A node that
    /// refuses to start has changed nothing.
    ///
    /// # Errors
    /// When a disk fails, or what is on them is damaged, contradictory, of another version, or somebody else's.
    pub fn boot(
        boot: Boot,
        config: NodeConfig<R>,
        duty: &DutyConfig<S>,
        journal_disk: &mut dyn Disk,
        store_disk: &mut dyn Disk,
    ) -> Result<Booted<R, S>, BootError> {
        let flushes = Journal::flush_before_open(journal_disk).map_err(journal_failed)?;
        journal_disk.perform_all(&flushes).map_err(journal_failed)?;
        let found = boot.find_journal(&config, journal_disk)?;
        let setup = boot.setup(found.disk, found.incarnation);
        let stored = boot.find_store(&config, &found, &*store_disk)?;
        let (applied, anchor) = (stored.applied, stored.anchor.clone());
        let mut outbox = Outbox::new(found.last_ticket, config.tracing);
        let durable = Durable { records: found.records, anchor: anchor.clone(), applied };
        let replica = R::open(&setup, &config.protocol, durable, &mut outbox)?;
        let first_words = outbox.take();
        if let Some(id) = asked_to_install(&first_words) {
            let install = stored.prepare_snapshot::<S>(&setup, id)?;
            install_again(install, store_disk).map_err(store_failed)?;
            return Node::boot(boot, config, duty, journal_disk, store_disk);
        }
        let is_empty_store = stored.is_empty();
        let (mut store, repairs, machine) = stored.open_machine(&setup, config.machine(), duty)?;
        // Only now: a node that refuses to start leaves both disks as it found them, for they are evidence. And the journal
        // first: a store without one refuses every later start.
        journal_disk.perform_all(&found.operations).map_err(journal_failed)?;
        store_disk.perform_all(&repairs).map_err(store_failed)?;
        if is_empty_store {
            write_founding_checkpoint(&setup, &machine, &mut store, store_disk).map_err(store_failed)?;
        }
        drop_unnamed_arrivals(&mut store);
        let mut node = Node {
            snapshots: Snapshots::new(&config.transfer, setup.incarnation),
            setup,
            journal_idle: config.journal_idle,
            replica,
            outbox,
            tape: Tape::default(),
            gate: Gate::new(found.last_ticket),
            journal: found.journal,
            store,
            store_write: None,
            machine,
            machine_outputs: Vec::new(),
            inbox: Vec::new(),
            released: Vec::new(),
            lead: None,
            is_witness: false,
            pace: CheckpointPace::new(config.checkpoint, applied),
            tidy: TidyPace::new(config.tidy_every),
            backups: BTreeMap::new(),
            last_backup: 0,
            anchor,
            checkpointed: applied,
            reported: (applied, applied),
            idle: JournalIdle::after_opening(),
            space: SpaceWatch::new(config.low_space_bytes),
            stop: None,
            stopped: false,
        };
        node.machine.know_own_disk(node.setup.me, node.setup.disk);
        let mut outputs = Vec::new();
        for word in first_words {
            node.carry_replica_output(Time::ZERO, word, &mut outputs);
        }
        node.carry_machine_outputs(&mut outputs);
        node.finish(Time::ZERO, 0, &mut outputs);
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
        let durable = Durable { records: found.records, anchor: stored.anchor, applied: stored.applied };
        let mut silent = Outbox::new(found.last_ticket, false);
        Ok(R::open(&boot.setup(found.disk, found.incarnation), &config.protocol, durable, &mut silent)?)
    }

    /// Takes one input. Total: what cannot be is dropped or stops the node, and never panics.
    pub fn step(&mut self, env: &mut dyn Env, input: NodeInput<R, S>) {
        if self.stopped || self.stop.is_some() {
            return;
        }
        if self.is_witness && self.refuse_as_witness(&input) {
            return;
        }
        match input {
            NodeInput::Message { from, message: NodeMessage::Protocol(message) } => {
                self.tell_replica(env, Input::Receive { from, message });
            }
            NodeInput::Message { from, message: NodeMessage::Machine(message) } => {
                self.machine.receive(env.now(), from, message, &mut self.machine_outputs);
            }
            NodeInput::Message { from, message: NodeMessage::Transfer(message) } => {
                self.receive_transfer(env, from, message);
            }
            NodeInput::Expired(NodeTimer::Protocol(timer)) if self.outbox.has_moved(timer) => {}
            NodeInput::Expired(NodeTimer::Protocol(timer)) => self.tell_replica(env, Input::Expired(timer)),
            NodeInput::Expired(NodeTimer::Requests) => self.machine.expired(env.now(), &mut self.machine_outputs),
            NodeInput::Expired(NodeTimer::Duty) => self.machine.duty_expired(),
            NodeInput::Expired(NodeTimer::Batch) => self.machine.batch_expired(),
            NodeInput::Expired(NodeTimer::Transfers) => self.transfers_expired(env.now()),
            NodeInput::Expired(NodeTimer::Tidy) => self.tidy.expired(),
            NodeInput::Expired(NodeTimer::Checkpoint) => self.pace.look(),
            NodeInput::Expired(NodeTimer::JournalIdle) => self.journal_idle_over(),
            NodeInput::DiskDone { lane: Lane::Journal, write } => self.journal_done(env, write),
            NodeInput::DiskDone { lane: Lane::Store, write } => self.store_done(env, write),
            NodeInput::Write { tag, payload } => {
                self.machine.submit(env.now(), tag, payload, &mut self.machine_outputs);
            }
            NodeInput::Read { tag, query, consistency } => {
                self.machine.read(env.now(), tag, query, consistency, &mut self.machine_outputs);
            }
            NodeInput::Errand { tag, payload } => {
                self.machine.errand(env.now(), tag, payload, &mut self.machine_outputs);
            }
            NodeInput::ChangeMembers { tag, change } => {
                self.machine.ask(env.now(), tag, Ask::Change(change), &mut self.machine_outputs);
            }
            NodeInput::MoveLeader { tag, to } => {
                self.machine.ask(env.now(), tag, Ask::MoveLeader(to), &mut self.machine_outputs);
            }
            NodeInput::Met(facts) => self.machine.meet(facts),
            NodeInput::FreeSpace { free_bytes } => self.note_free_space(env.now(), free_bytes),
            NodeInput::Link { peer, state } => {
                if state == LinkState::Up {
                    self.transfers_reconnected(env.now(), peer);
                }
                self.tell_replica(env, Input::Link { peer, state });
            }
        }
    }

    pub(crate) fn tell_replica(&mut self, env: &mut dyn Env, input: Input<R>) {
        self.tape.step(&mut self.replica, env, input, &mut self.outbox);
    }

    /// From now on everything that the replica is told and says is kept for [`Node::take_tape`]. It costs a copy of each input and
    /// output, in which batches are shared.
    pub fn start_tape(&mut self) {
        self.tape.start();
    }

    /// Ends what [`Node::start_tape`] began.
    pub fn stop_tape(&mut self) {
        self.tape.stop();
    }

    /// What was taped since the last call. To be called after every settle, or it grows.
    pub fn take_tape(&mut self) -> Vec<Taped<R>> {
        self.tape.take()
    }

    /// The replica with all that is kept for it, as it is after a settle: what is taped next happens to this.
    #[must_use]
    pub fn picture(&self) -> Picture<R> {
        Picture {
            setup: self.setup.clone(),
            replica: self.replica.clone(),
            gate: self.gate.clone(),
            last_ticket: self.outbox.last_ticket(),
        }
    }

    /// The replica, for people, checkers and the durability ghost.
    #[must_use]
    pub fn replica(&self) -> &R {
        &self.replica
    }

    /// The state as applied so far.
    #[must_use]
    pub fn state(&self) -> &S {
        self.machine.state()
    }

    /// The state holds everything up to here.
    #[must_use]
    pub fn applied(&self) -> Slot {
        self.machine.applied()
    }

    /// The disk its journal was created on.
    #[must_use]
    pub fn disk(&self) -> DiskId {
        self.setup.disk
    }

    /// The members as decided here, and who was removed. Empty while none of the cluster's changes is decided.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        self.machine.roster()
    }

    /// Whether it votes and stores no data, as far as it knows. Then it refuses whatever clients want, has no backup to give, and its
    /// [`Node::state`] is one that no command has touched.
    #[must_use]
    pub fn is_witness(&self) -> bool {
        self.is_witness
    }

    /// For people and metrics.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        NodeStatus {
            cluster: self.setup.cluster,
            me: self.setup.me,
            disk: self.setup.disk,
            incarnation: self.setup.incarnation,
            applied: self.machine.applied(),
            protocol: self.replica.status(),
            machine: self.machine.status(),
            roster: self.machine.roster().clone(),
            checkpointed: self.checkpointed,
            checkpointing: self.store.is_checkpointing(),
            snapshots: self.snapshots.status(),
            store_garbage_bytes: self.store.garbage_bytes(),
            tidying: self.tidy.is_unfinished(),
            durable: self.journal.durable(),
            appended: self.journal.appended(),
            journal_bytes: self.journal.bytes_on_disk(),
            store_bytes: self.store.bytes_on_disk(),
            journal_queued_bytes: self.journal.queued_bytes(),
            held_messages: self.gate.held(),
            free_bytes: self.space.free_bytes(),
            stopped: self.stopped,
        }
    }
}
