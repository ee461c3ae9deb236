//! Snapshots between the nodes of a testbed: a decided prefix as it stands at one node.

use super::{Testbed, touch, without_commands};
use crate::{Decision, Input, Replica, SnapshotId, TransferOutcome};
use quorate_types::{Incarnation, NodeId, Slot, Ticket};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A snapshot on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transfer<R: Replica> {
    /// Sender.
    pub from: NodeId,
    /// Receiver.
    pub to: NodeId,
    /// Its name at the sender.
    pub id: SnapshotId,
    /// What it describes.
    pub anchor: R::Anchor,
    /// Who waits to hear how it ended: a sender that has crashed since does not.
    incarnation: Incarnation,
    content: BTreeMap<Slot, Decision>,
}

/// A snapshot that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Received<R: Replica> {
    transfer: Transfer<R>,
}

/// An installation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Install {
    pub(super) id: SnapshotId,
    after: Ticket,
}

impl std::hash::Hash for Install {
    /// Not the ticket: states that differ in ticket numbers only are the same.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl<R: Replica> Testbed<R> {
    /// Lets snapshots take their time: they wait in [`Testbed::transfers`], and installations for [`Testbed::install`].
    #[must_use]
    pub fn with_slow_snapshots(mut self) -> Testbed<R> {
        self.slow_snapshots = true;
        self
    }

    /// Snapshots on their way, oldest first.
    #[must_use]
    pub fn transfers(&self) -> &[Transfer<R>] {
        &self.transfers
    }

    /// The snapshot at this index arrives, or fails if nobody is there.
    pub fn deliver_snapshot(&mut self, index: usize) {
        let transfer = self.transfers.remove(index);
        self.arrive(transfer);
    }

    /// A copy of it arrives; it is still on its way.
    pub fn deliver_snapshot_copy(&mut self, index: usize) {
        self.arrive(self.transfers[index].clone());
    }

    /// The snapshot at this index gets nowhere, and its sender hears of it.
    pub fn lose_snapshot(&mut self, index: usize) {
        let transfer = self.transfers.remove(index);
        self.end_transfer(&transfer, TransferOutcome::Failed);
    }

    /// The state machine of a node takes over the snapshot that waits for it, if its record is durable; says whether.
    pub fn install(&mut self, id: NodeId) -> bool {
        let node = self.node_mut(id);
        let Some(Install { id: snapshot, .. }) = node.install.filter(|install| install.after <= node.gate.durable())
        else {
            return false;
        };
        node.install = None;
        let Some(Received { transfer }) = node.received.remove(&snapshot) else {
            self.violate("SnapshotIsThere", format!("{id} wants to install {snapshot:?}, which it does not have"));
            return false;
        };
        let through = R::anchored(&transfer.anchor);
        if node.decided.keys().next_back().is_some_and(|last| *last >= through) {
            self.violate(
                "SnapshotsGoForward",
                format!("{id} has decided slot {through} and installs a snapshot of it"),
            );
        }
        let node = self.node_mut(id);
        node.decided.clone_from(&transfer.content);
        node.applied_durable = through;
        node.ghost = OnceLock::new();
        self.input(id, Input::Applied { through, durable: through, digest: 0 });
        self.end_transfer(&transfer, TransferOutcome::Installed);
        true
    }

    pub(super) fn pin_snapshot(&mut self, id: NodeId, to: NodeId, at_least: Slot, with_data: bool) {
        if with_data == self.witnesses.contains(&to) || self.witnesses.contains(&id) {
            let detail = format!("{id} wants to send {to} a snapshot; with data: {with_data}");
            self.violate("WitnessesStoreNoData", detail);
        }
        let view = self.fresh_snapshot_id(id);
        let node = self.node_mut(id);
        let through = node.decided.keys().next_back().copied().unwrap_or(Slot::ZERO);
        let answer = if through >= at_least {
            Input::SnapshotPinned { id: view, to, through }
        } else {
            Input::SnapshotSent { to, id: view, outcome: TransferOutcome::Failed }
        };
        node.owed.push_back(answer);
    }

    pub(super) fn begin_transfer(&mut self, from: NodeId, id: SnapshotId, to: NodeId, anchor: R::Anchor) {
        let node = self.node(from);
        let through = R::anchored(&anchor);
        let is_witness = self.witnesses.contains(&to);
        let seen = |decision: &Decision| if is_witness { without_commands(decision) } else { decision.clone() };
        let content: BTreeMap<_, _> =
            node.decided.range(..=through).map(|(slot, decision)| (*slot, seen(decision))).collect();
        let incarnation = node.setup.incarnation;
        if content.len() as u64 != through.0 {
            self.violate("AnchorIsApplied", format!("{from} describes slot {through}, which it has not applied"));
        }
        self.transfers.push(Transfer { from, to, id, anchor, incarnation, content });
    }

    pub(super) fn begin_install(&mut self, id: NodeId, snapshot: SnapshotId, anchor: &R::Anchor, after: Ticket) {
        let node = self.node_mut(id);
        let arrived = node.received.get(&snapshot).is_some_and(|received| received.transfer.anchor == *anchor);
        let earlier = node.install.replace(Install { id: snapshot, after });
        if !arrived {
            self.violate("SnapshotIsThere", format!("{id} wants to install {snapshot:?}, which never arrived"));
        }
        if let Some(earlier) = earlier {
            self.violate("OneInstallation", format!("{id} installs {snapshot:?} while {earlier:?} is under way"));
        }
    }

    /// A pinned view needs nothing: the testbed's views are copies.
    pub(super) fn drop_snapshot(&mut self, id: NodeId, snapshot: SnapshotId) {
        if let Some(Received { transfer }) = self.node_mut(id).received.remove(&snapshot) {
            self.end_transfer(&transfer, TransferOutcome::Failed);
        }
    }

    /// After opening: what the journal does not name will never be installed.
    pub(super) fn forget_needless_snapshots(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        let wanted = node.installing();
        let needless: Vec<_> = node.received().filter(|snapshot| Some(*snapshot) != wanted).collect();
        needless.into_iter().for_each(|snapshot| self.drop_snapshot(id, snapshot));
    }

    fn arrive(&mut self, transfer: Transfer<R>) {
        let to = transfer.to;
        self.reached_out |= !self.nodes.contains_key(&to);
        if self.nodes.get(&to).is_none_or(|node| node.replica.is_none()) {
            return self.end_transfer(&transfer, TransferOutcome::Failed);
        }
        let id = self.fresh_snapshot_id(to);
        let anchor = transfer.anchor.clone();
        self.node_mut(to).received.insert(id, Received { transfer });
        self.input(to, Input::SnapshotArrived { id, anchor });
    }

    fn end_transfer(&mut self, transfer: &Transfer<R>, outcome: TransferOutcome) {
        let Transfer { from, to, id, incarnation, .. } = transfer;
        let Some(node) = self.nodes.get_mut(from).map(touch) else {
            self.reached_out = true;
            return;
        };
        if node.setup.incarnation == *incarnation {
            self.input(*from, Input::SnapshotSent { to: *to, id: *id, outcome });
        }
    }

    fn fresh_snapshot_id(&mut self, id: NodeId) -> SnapshotId {
        let node = self.node_mut(id);
        node.last_snapshot += 1;
        SnapshotId(node.last_snapshot)
    }
}
