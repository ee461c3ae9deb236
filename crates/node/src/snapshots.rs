//! The node's part in snapshots: views are pinned and sent, what arrives is made, stored, told and installed.
//!
//! What arrives is first made into a state, beside the node's own, and its digest compared: a snapshot that this node cannot read
//! must not cost it its log. Then the state is written beside the store's own image, in slices between checkpoints; only
//! then does the replica hear of it. When the replica's record of it is durable, the store switches with one rename, and
//! with that the machine, so that reads see the one or the other.

use crate::boot::encode_store_meta;
use crate::interface::{NodeMessage, NodeOutput, NodeTimer, StopReason};
use crate::node::Node;
use bytes::Bytes;
use quorate_machine::transfer::{
    Admission, Arrival, Receiver, Sender, SenderState, TransferConfig, TransferEnd, TransferMessage, View,
};
use quorate_machine::{Staged, StateMachine};
use quorate_protocol::{Env, Input, Replica, SnapshotId, TransferOutcome};
use quorate_store::Outline;
use quorate_types::{Incarnation, NodeId, Slot, Ticket, Time};
use quorate_wire::{decode_exact, encode_to_bytes};
use std::collections::BTreeMap;
use std::time::Duration;

/// Names given in one incarnation: enough for one a millisecond over thousands of years, and so that none comes twice.
const NAMES_PER_INCARNATION_BITS: u32 = 40;

/// A state that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Stage<R: Replica, S: StateMachine> {
    pub(crate) id: SnapshotId,
    anchor: R::Anchor,
    pub(crate) staged: Staged<S>,
    step: Step,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The store has something else to finish.
    Waiting,
    /// Being written beside the own image.
    Writing,
    /// Durable; the replica was told.
    Told,
    /// The replica wants it once this is durable.
    Wanted { after: Ticket },
    /// Taking the own image's place.
    Installing,
}

/// All snapshots of this node, coming and going.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots<R: Replica, S: StateMachine> {
    last_name: u64,
    tick: Duration,
    /// Waiting for the replica to say what they describe.
    pinned: BTreeMap<SnapshotId, (NodeId, View)>,
    sender: Sender,
    receiver: Receiver,
    stage: Option<Stage<R, S>>,
    /// In this incarnation.
    installed: u64,
    armed: bool,
    out: Vec<(NodeId, TransferMessage)>,
}

/// Snapshots as people and metrics see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotStatus {
    /// Being sent.
    pub sending: Vec<SenderState>,
    /// Being received: from whom, and how many bytes are here.
    pub receiving: Option<(NodeId, u64)>,
    /// Installed since this process started.
    pub installed: u64,
}

impl<R: Replica, S: StateMachine> Snapshots<R, S> {
    pub(crate) fn new(config: &TransferConfig, incarnation: Incarnation) -> Snapshots<R, S> {
        Snapshots {
            last_name: incarnation.0 << NAMES_PER_INCARNATION_BITS,
            tick: config.tick,
            pinned: BTreeMap::new(),
            sender: Sender::new(config.clone()),
            receiver: Receiver::new(config.clone()),
            stage: None,
            installed: 0,
            armed: false,
            out: Vec::new(),
        }
    }

    /// Names come from the incarnation, which is durable: none is given twice, over restarts neither.
    fn next_name(&mut self) -> SnapshotId {
        self.last_name += 1;
        SnapshotId(self.last_name)
    }

    /// Whether items of the state are still needed by a view.
    pub(crate) fn has_views(&self) -> bool {
        !self.pinned.is_empty() || !self.sender.is_idle()
    }

    /// The state that is being written in place of the machine's, if there is one.
    pub(crate) fn stage(&self) -> Option<&Stage<R, S>> {
        self.stage.as_ref()
    }

    pub(crate) fn status(&self) -> SnapshotStatus {
        SnapshotStatus {
            sending: self.sender.states().collect(),
            receiving: self.receiver.state(),
            installed: self.installed,
        }
    }
}

impl<R: Replica, S: StateMachine> Node<R, S> {
    /// How many snapshots were installed since this process started.
    #[must_use]
    pub fn snapshots_installed(&self) -> u64 {
        self.snapshots.installed
    }

    /// Which snapshots travel, and how many were installed.
    #[must_use]
    pub fn snapshot_status(&self) -> SnapshotStatus {
        self.snapshots.status()
    }

    /// The replica wants a view sent; to a node that stores no data one of an empty state, as of the same slot.
    pub(crate) fn pin_view(&mut self, now: Time, to: NodeId, at_least: Slot, with_data: bool) {
        let id = self.snapshots.next_name();
        // The replica knows best whether an earlier one still serves.
        let had_place = !self.stop_sending(|_, receiver| receiver == to).is_empty();
        // One without data is a few bytes, and commits may wait for it: it does not queue behind those of gigabytes.
        let needs_place = with_data && !had_place;
        if self.machine.applied() < at_least || (needs_place && !self.admit(now, to)) {
            return self.inbox.push(Input::SnapshotSent { to, id, outcome: TransferOutcome::Failed });
        }
        let view = if with_data { self.machine.view() } else { self.machine.view_without_data() };
        let through = view.applied;
        self.snapshots.pinned.insert(id, (to, view));
        self.inbox.push(Input::SnapshotPinned { id, to, through });
    }

    /// Whether another view may be sent beside what is under way, perhaps in the place of one whose receiver is silent.
    fn admit(&mut self, now: Time, to: NodeId) -> bool {
        let Snapshots { pinned, sender, out, .. } = &mut self.snapshots;
        let admission = sender.admit(now, to, pinned.len(), out);
        if let Admission::InPlaceOf(number, silent) = admission {
            let outcome = TransferOutcome::Failed;
            self.inbox.push(Input::SnapshotSent { to: silent, id: SnapshotId(number), outcome });
        }
        admission != Admission::Refused
    }

    /// The replica says what a view describes.
    pub(crate) fn send_view(&mut self, now: Time, id: SnapshotId, to: NodeId, anchor: &R::Anchor) {
        match self.snapshots.pinned.remove(&id) {
            Some((receiver, view)) if receiver == to => {
                self.snapshots.sender.start(now, id.0, to, encode_to_bytes(anchor), view);
            }
            _ => self.inbox.push(Input::SnapshotSent { to, id, outcome: TransferOutcome::Failed }),
        }
    }

    /// Lets go of views for some receivers, without a word to the replica. Which they were.
    fn stop_sending(&mut self, picked: impl Fn(u64, NodeId) -> bool) -> Vec<(u64, NodeId)> {
        let Snapshots { pinned, sender, out, .. } = &mut self.snapshots;
        let pinned_ones = pinned.iter().map(|(id, (to, _))| (id.0, *to));
        let sent_ones = sender.states().map(|at| (at.number, at.to));
        let stopped: Vec<(u64, NodeId)> = pinned_ones.chain(sent_ones).filter(|(id, to)| picked(*id, *to)).collect();
        for (number, _) in &stopped {
            pinned.remove(&SnapshotId(*number));
            sender.stop(*number, out);
        }
        stopped
    }

    /// Lets go of everything that is being sent, and says so: a replica that took one to be on its way would send its receiver none
    /// ever after.
    pub(crate) fn stop_sending_all(&mut self) {
        for (number, to) in self.stop_sending(|_, _| true) {
            let outcome = TransferOutcome::Failed;
            self.inbox.push(Input::SnapshotSent { to, id: SnapshotId(number), outcome });
        }
    }

    /// The replica says that a snapshot serves nothing.
    pub(crate) fn drop_snapshot(&mut self, id: SnapshotId) {
        self.stop_sending(|number, _| number == id.0);
        if self.snapshots.stage.take_if(|stage| stage.id == id && stage.step == Step::Told).is_some() {
            self.store.drop_incoming(id.0);
            self.snapshots.receiver.finish(TransferEnd::Refused, &mut self.snapshots.out);
        }
    }

    /// The replica wants an arrived snapshot installed.
    pub(crate) fn want_installed(&mut self, id: SnapshotId, after: Ticket) {
        match &mut self.snapshots.stage {
            Some(stage) if stage.id == id && stage.step == Step::Told => stage.step = Step::Wanted { after },
            _ => self.halt(StopReason::Inconsistent(format!("snapshot {} is to be installed and is not here", id.0))),
        }
    }

    /// The other side of a transfer says something.
    pub(crate) fn receive_transfer(&mut self, env: &mut dyn Env, from: NodeId, message: TransferMessage) {
        let now = env.now();
        let snapshots = &mut self.snapshots;
        if let Some((number, end)) = snapshots.sender.receive(now, from, &message, &mut snapshots.out) {
            let outcome = match end {
                TransferEnd::Installed => TransferOutcome::Installed,
                TransferEnd::Refused => TransferOutcome::Failed,
            };
            return self.tell_replica(env, Input::SnapshotSent { to: from, id: SnapshotId(number), outcome });
        }
        let applied = self.machine.applied();
        if let Some(arrival) = snapshots.receiver.receive(now, from, message, applied, &mut snapshots.out) {
            self.stage(arrival);
        }
    }

    /// Makes a state of what arrived.
    fn stage(&mut self, arrival: Arrival) {
        let applied = arrival.header.applied;
        let anchor = decode_exact::<R::Anchor>(arrival.header.anchor.clone()).ok();
        let anchor = anchor.filter(|anchor| R::anchored(anchor) == applied);
        let (Some(anchor), Ok(staged)) = (anchor, Staged::of_arrival(arrival)) else {
            return self.snapshots.receiver.finish(TransferEnd::Refused, &mut self.snapshots.out);
        };
        let id = self.snapshots.next_name();
        self.snapshots.stage = Some(Stage { id, anchor, staged, step: Step::Waiting });
    }

    /// Begins what is to be written of a snapshot, if the store is free. Answers whether checkpoints have to wait.
    pub(crate) fn begin_snapshot_write(&mut self) -> bool {
        let Some(stage) = &mut self.snapshots.stage else { return false };
        if self.store.is_writing() {
            return true;
        }
        let begun = match stage.step {
            Step::Waiting => {
                let meta = encode_store_meta(&self.setup, Some(&encode_to_bytes(&stage.anchor)), &stage.staged.meta());
                let state = stage.staged.state();
                let (applied, item_count) = (stage.staged.applied(), state.item_count());
                let outline = Outline { applied, meta, head: state.head(), item_count };
                stage.step = Step::Writing;
                self.store.begin_incoming(stage.id.0, outline)
            }
            Step::Wanted { after } if after <= self.gate.durable() => {
                stage.step = Step::Installing;
                self.store.install(stage.id.0)
            }
            Step::Writing | Step::Told | Step::Wanted { .. } | Step::Installing => true,
        };
        if !begun {
            self.halt(StopReason::Inconsistent("the store does not take the snapshot that arrived".to_owned()));
        }
        true
    }

    /// A snapshot is complete and durable beside the own image.
    pub(crate) fn snapshot_written(&mut self, env: &mut dyn Env) {
        let Some(stage) = &mut self.snapshots.stage else { return };
        stage.step = Step::Told;
        let (id, anchor) = (stage.id, stage.anchor.clone());
        self.tell_replica(env, Input::SnapshotArrived { id, anchor });
    }

    /// The store has switched: so does the machine.
    pub(crate) fn snapshot_installed(&mut self) {
        let Some(stage) = self.snapshots.stage.take() else { return };
        let applied = stage.staged.applied();
        if applied <= self.machine.applied() {
            let why =
                format!("a snapshot up to slot {applied} came in where slot {} is applied", self.machine.applied());
            return self.halt(StopReason::Inconsistent(why));
        }
        // Their items are those of the state that goes.
        self.stop_sending_all();
        self.backups.clear();
        self.machine.install(stage.staged, &mut self.machine_outputs);
        self.checkpointed = applied;
        self.anchor = Some(stage.anchor);
        self.pace.begin(&self.machine);
        self.tidy.installed();
        self.snapshots.installed += 1;
        self.snapshots.receiver.finish(TransferEnd::Installed, &mut self.snapshots.out);
    }

    /// A connection came back.
    pub(crate) fn transfers_reconnected(&mut self, now: Time, peer: NodeId) {
        self.snapshots.sender.reconnected(now, peer);
    }

    /// The tick of transfers.
    pub(crate) fn transfers_expired(&mut self, now: Time) {
        self.snapshots.armed = false;
        self.snapshots.receiver.expire(now);
    }

    /// Sends what may be sent. What was given up comes to the replica with the next round of settle.
    pub(crate) fn drive_transfers(&mut self, now: Time, out: &mut Vec<NodeOutput<R, S>>) {
        let state = self.machine.state();
        let snapshots = &mut self.snapshots;
        let given_up = snapshots.sender.work(now, &mut |number| state.item(number), &mut snapshots.out);
        for (number, to) in given_up {
            let outcome = TransferOutcome::Failed;
            self.inbox.push(Input::SnapshotSent { to, id: SnapshotId(number), outcome });
        }
        for (to, message) in snapshots.out.drain(..) {
            out.push(NodeOutput::Send { to, message: NodeMessage::Transfer(message) });
        }
        let active = !snapshots.sender.is_idle() || snapshots.receiver.state().is_some();
        if active && !snapshots.armed {
            snapshots.armed = true;
            let delay = snapshots.tick;
            out.push(NodeOutput::SetTimer { timer: NodeTimer::Transfers, at_least: delay, at_most: delay });
        }
    }

    /// The description of the store's own image where it came by snapshot, as long as nothing was applied behind it.
    pub(crate) fn anchor_of_state(&self) -> Option<Bytes> {
        let anchor = self.anchor.as_ref()?;
        (R::anchored(anchor) == self.machine.applied()).then(|| encode_to_bytes(anchor))
    }
}
