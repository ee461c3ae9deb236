//! One member of the testbed.

use super::snapshots::{Install, Received};
use crate::{
    Decision, Event, Gate, Input, OpenError, Outbox, ReadToken, Refusal, Refused, Replica, Setup, SnapshotId, Start,
};
use quorate_types::{ClusterId, DiskId, Incarnation, Membership, NodeId, Slot, Ticket};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

/// One durable write: plain records, or a compaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct DiskWrite<R: Replica> {
    pub(super) records: Vec<R::Record>,
    pub(super) drop_before: Option<Ticket>,
}

/// One member of the testbed.
#[derive(Clone, Debug)]
pub struct TestNode<R: Replica> {
    pub(super) setup: Arc<Setup>,
    pub(super) replica: Option<R>,
    pub(super) gate: Gate<R::Message>,
    pub(super) outbox: Outbox<R>,
    pub(super) records: Vec<(Ticket, R::Record)>,
    pub(super) outstanding: VecDeque<(Ticket, DiskWrite<R>)>,
    pub(super) armed: BTreeSet<R::Timer>,
    pub(super) decided: BTreeMap<Slot, Decision>,
    pub(super) applied_durable: Slot,
    pub(super) lead: Option<(u64, Option<NodeId>, bool)>,
    pub(super) settled: bool,
    pub(super) refusals: Vec<(Refused, Refusal)>,
    pub(super) reads: Vec<(ReadToken, Slot)>,
    pub(super) events: Vec<Event>,
    pub(super) reach: Membership,
    pub(super) retired: Option<&'static str>,
    /// Inputs that what it asked for has brought about.
    pub(super) owed: VecDeque<Input<R>>,
    pub(super) last_snapshot: u64,
    /// Snapshots that arrived and are not installed. They survive crashes.
    pub(super) received: BTreeMap<SnapshotId, Received<R>>,
    pub(super) install: Option<Install>,
    /// What opens from the durable records alone, once asked for and until they, the applied mark or the incarnation change.
    pub(super) ghost: OnceLock<Result<Arc<R>, OpenError>>,
}

impl<R: Replica> TestNode<R> {
    /// The replica, unless crashed.
    pub fn replica(&self) -> Option<&R> {
        self.replica.as_ref()
    }
    /// Slots decided in this incarnation or durably applied before.
    pub fn decided(&self) -> &BTreeMap<Slot, Decision> {
        &self.decided
    }
    /// Armed timers.
    pub fn armed(&self) -> &BTreeSet<R::Timer> {
        &self.armed
    }
    /// Durable records in order.
    pub fn records(&self) -> impl Iterator<Item = &R::Record> {
        self.records.iter().map(|(_, record)| record)
    }
    /// What opens from the durable records alone, if [`Testbed::recovered`] was asked, or a fingerprint taken that sees it, since they last
    /// changed.
    ///
    /// [`Testbed::recovered`]: super::Testbed::recovered
    pub fn recovered(&self) -> Option<&R> {
        self.ghost.get()?.as_deref().ok()
    }
    /// What its machine has applied and would have again after a crash.
    pub fn applied_durable(&self) -> Slot {
        self.applied_durable
    }
    /// The snapshot whose installation is under way.
    pub fn installing(&self) -> Option<SnapshotId> {
        self.install.map(|install| install.id)
    }
    /// Snapshots that arrived and are not installed.
    pub fn received(&self) -> impl Iterator<Item = SnapshotId> {
        self.received.keys().copied()
    }
    /// How many durable writes are under way.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }
    /// The latest `Lead` output: era, leader, ready.
    pub fn lead(&self) -> Option<(u64, Option<NodeId>, bool)> {
        self.lead
    }
    /// Whether the latest `Lead` output says that it leads and has decided something of its own era.
    pub fn settled(&self) -> bool {
        self.settled
    }
    /// Everything refused so far.
    pub fn refusals(&self) -> &[(Refused, Refusal)] {
        &self.refusals
    }
    /// Reads released so far.
    pub fn reads(&self) -> &[(ReadToken, Slot)] {
        &self.reads
    }
    /// Whom it last said it may have to speak to.
    pub fn reach(&self) -> &Membership {
        &self.reach
    }
    /// Why it asked to be stopped for good, if it did.
    pub fn retired(&self) -> Option<&'static str> {
        self.retired
    }
    /// Guards reported and not yet taken by [`Testbed::take_events`].
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}

impl<R: Replica> TestNode<R> {
    pub(super) fn closed(id: NodeId, start: Start) -> TestNode<R> {
        TestNode {
            setup: Arc::new(Setup {
                cluster: ClusterId(1),
                me: id,
                disk: DiskId(id.0),
                incarnation: Incarnation(0),
                start,
            }),
            replica: None,
            gate: Gate::new(Ticket::NONE),
            outbox: Outbox::new(Ticket::NONE, true),
            records: Vec::new(),
            outstanding: VecDeque::new(),
            armed: BTreeSet::new(),
            decided: BTreeMap::new(),
            applied_durable: Slot::ZERO,
            lead: None,
            settled: false,
            refusals: Vec::new(),
            reads: Vec::new(),
            events: Vec::new(),
            reach: Membership::default(),
            retired: None,
            owed: VecDeque::new(),
            last_snapshot: 0,
            received: BTreeMap::new(),
            install: None,
            ghost: OnceLock::new(),
        }
    }

    pub(super) fn write(&mut self, ticket: Ticket, write: DiskWrite<R>) {
        self.ghost = OnceLock::new();
        if let Some(drop_before) = write.drop_before {
            self.records.retain(|(written, _)| *written >= drop_before);
        }
        self.records.extend(write.records.into_iter().map(|record| (ticket, record)));
    }

    pub(super) fn hash_memory(&self, state: &mut impl Hasher) {
        self.replica.hash(state);
        self.gate.hash(state);
        for (_, write) in &self.outstanding {
            write.records.hash(state);
            write.drop_before.is_some().hash(state);
        }
        self.armed.hash(state);
        self.decided.hash(state);
        self.applied_durable.hash(state);
        self.received.hash(state);
        self.install.hash(state);
    }

    /// What it has told, as far as others can look at it.
    pub(super) fn hash_told(&self, state: &mut impl Hasher) {
        (self.lead, self.settled, &self.reach, self.retired).hash(state);
        (&self.reads, &self.refusals).hash(state);
    }

    pub(super) fn hash_records(&self, state: &mut impl Hasher) {
        for record in self.records() {
            record.hash(state);
        }
    }
}
