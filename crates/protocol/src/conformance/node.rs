//! One node: a replica with its gate, its disk and its machine.

use super::Subject;
use super::dice::DiceEnv;
use super::walk::{Install, Transfer};
use crate::{Decision, Durable, Gate, Input, OpenError, Outbox, Output, Replica, Setup, SnapshotId, Start};
use bytes::Bytes;
use quorate_types::{ClusterId, DiskId, Incarnation, NodeId, Slot, Ticket};
use quorate_wire::{Wire, decode_exact, encode_to_bytes};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A broken promise: which check, what was seen.
pub(super) type Broken = (String, String);

pub(super) fn broken<T>(check: &str, detail: String) -> Result<T, Broken> {
    Err((check.to_owned(), detail))
}

/// One durable write under way.
#[derive(Clone, Debug)]
pub(super) struct Write<R: Replica> {
    pub(super) ticket: Ticket,
    pub(super) records: Vec<R::Record>,
    pub(super) drop_before: Option<Ticket>,
}

/// A node of the walk.
#[derive(Clone, Debug)]
pub(super) struct Node<R: Replica> {
    pub(super) setup: Setup,
    pub(super) replica: Option<R>,
    pub(super) gate: Gate<R::Message>,
    pub(super) outbox: Outbox<R>,
    pub(super) records: Vec<(Ticket, R::Record)>,
    pub(super) outstanding: VecDeque<Write<R>>,
    pub(super) armed: BTreeSet<R::Timer>,
    /// The last slot decided in this incarnation or applied durably before.
    pub(super) decided: Slot,
    pub(super) applied: Slot,
    pub(super) applied_durable: Slot,
    /// Decisions by slot, over all incarnations, for the digest.
    pub(super) history: BTreeMap<Slot, Decision>,
    /// Inputs the driver owes it, such as the failure of a snapshot transfer.
    pub(super) owed: VecDeque<Input<R>>,
    /// Views pinned for sending, with the last slot in each.
    pub(super) pinned: BTreeMap<SnapshotId, Slot>,
    /// Snapshots that arrived and are not installed; they survive crashes.
    pub(super) received: BTreeMap<SnapshotId, Transfer<R>>,
    pub(super) install: Option<Install>,
    /// It asked to be stopped for good, and was.
    pub(super) retired: bool,
}

impl<R: Replica> Node<R> {
    /// A founder, or somebody who is yet to join.
    pub(super) fn closed(subject: &Subject<R>, id: NodeId) -> Node<R> {
        let founds = subject.members.contains(id);
        let start = if founds { Start::Found(subject.members.clone()) } else { Start::Join };
        Node {
            setup: Setup { cluster: ClusterId(1), me: id, disk: DiskId(id.0), incarnation: Incarnation(0), start },
            replica: None,
            gate: Gate::new(Ticket::NONE),
            outbox: Outbox::new(Ticket::NONE, true),
            records: Vec::new(),
            outstanding: VecDeque::new(),
            armed: BTreeSet::new(),
            decided: Slot::ZERO,
            applied: Slot::ZERO,
            applied_durable: Slot::ZERO,
            history: BTreeMap::new(),
            owed: VecDeque::new(),
            pinned: BTreeMap::new(),
            received: BTreeMap::new(),
            install: None,
            retired: false,
        }
    }

    /// Opens a replica from these records, without telling anyone.
    pub(super) fn ghost(&self, config: &R::Config, records: Vec<(Ticket, R::Record)>) -> Result<R, OpenError> {
        let last = records.last().map_or(Ticket::NONE, |(ticket, _)| *ticket);
        let found = Durable { records, anchor: None, applied: self.applied_durable };
        R::open(&self.setup, config, found, &mut Outbox::new(last, false))
    }

    /// Opens from what is durable, as bytes on a disk would give it back.
    pub(super) fn open(&mut self, config: &R::Config) -> Result<(), Broken> {
        let mut records = Vec::new();
        for (ticket, record) in &self.records {
            records.push((*ticket, round_trip(record)?));
        }
        let last = records.last().map_or(Ticket::NONE, |(ticket, _)| *ticket);
        self.setup.incarnation = Incarnation(self.setup.incarnation.0 + 1);
        self.gate = Gate::new(last);
        self.outbox = Outbox::new(last, true);
        let found = Durable { records, anchor: None, applied: self.applied_durable };
        match R::open(&self.setup, config, found, &mut self.outbox) {
            Ok(replica) => self.replica = Some(replica),
            Err(error) => return broken("EveryCrashOpens", format!("{} does not open: {error}", self.setup.me)),
        }
        self.applied = self.applied_durable;
        self.decided = self.applied_durable;
        Ok(())
    }

    /// Hands over a batch and settles once, next to a twin that is not traced.
    pub(super) fn feed(&mut self, env: &mut DiceEnv, inputs: Vec<Input<R>>) -> Result<(), Broken> {
        let Some(replica) = self.replica.as_mut() else { return Ok(()) };
        let mut twin = replica.clone();
        let mut twin_env = env.clone();
        let mut twin_outbox = Outbox::new(self.outbox.last_ticket(), false);
        for input in inputs {
            twin.step(&mut twin_env, input.clone(), &mut twin_outbox);
            replica.step(env, input, &mut self.outbox);
        }
        twin.settle(&mut twin_env, &mut twin_outbox);
        replica.settle(env, &mut self.outbox);
        let traced = self.outbox.clone().take().into_iter().filter(|output| !matches!(output, Output::Trace(_)));
        if *replica != twin || !traced.eq(twin_outbox.take()) {
            return broken("TracingChangesNothing", format!("{} behaves differently without tracing", self.setup.me));
        }
        for checked in [replica.check_invariants(), replica.check_deep()] {
            if let Err(violation) = checked {
                return broken(violation.invariant, violation.detail);
            }
        }
        Ok(())
    }

    /// Applies a completed write. Of what a compaction drops, the oldest `dropped` records are gone: a journal
    /// unlinks whole segments, oldest first, and may be interrupted.
    pub(super) fn write(&mut self, write: Write<R>, dropped: usize) {
        let baseline = write.records.into_iter().map(|record| (write.ticket, record));
        self.records.extend(baseline);
        if let Some(drop_before) = write.drop_before {
            let droppable = self.records.iter().take_while(|(ticket, _)| *ticket < drop_before).count();
            self.records.drain(..droppable.min(dropped));
        }
    }

    /// Everything in memory, timers and gate is gone.
    pub(super) fn stop(&mut self) {
        self.replica = None;
        self.outstanding.clear();
        self.armed.clear();
        self.owed.clear();
        self.pinned.clear();
        self.install = None;
        self.gate = Gate::new(Ticket::NONE);
    }

    /// A rolling hash of everything decided up to `through`: the same on every node.
    pub(super) fn digest(&self, through: Slot) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for decision in self.history.range(..=through).map(|(_, decision)| decision) {
            let bytes = match decision {
                Decision::Commands(commands) => commands.clone(),
                Decision::Members(_) => Bytes::from_static(b"members"),
                Decision::Nothing => Bytes::new(),
            };
            for byte in bytes {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        hash
    }
}

/// Encodes and decodes.
pub(super) fn round_trip<T: Wire + PartialEq + std::fmt::Debug>(value: &T) -> Result<T, Broken> {
    match decode_exact::<T>(encode_to_bytes(value)) {
        Ok(decoded) if decoded == *value => Ok(decoded),
        Ok(decoded) => broken("RoundTrip", format!("{value:?} decodes as {decoded:?}")),
        Err(error) => broken("RoundTrip", format!("{value:?} does not decode: {error}")),
    }
}
