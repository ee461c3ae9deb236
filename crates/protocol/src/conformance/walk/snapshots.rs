//! Snapshots of the walk: pinned late or not at all, sent slowly, lost, repeated, installed late or after a crash.

use super::Walk;
use crate::conformance::node::{Broken, Node, broken, round_trip};
use crate::{Decision, Input, Replica, SnapshotId, TransferOutcome};
use quorate_types::{Incarnation, NodeId, Slot, Ticket};
use std::collections::BTreeMap;

/// Of snapshots asked for, so many go wrong at the pinning.
const PINNING_FAILS_ONE_IN: usize = 6;

/// A snapshot on its way, or arrived.
#[derive(Clone, Debug)]
pub(in crate::conformance) struct Transfer<R: Replica> {
    from: NodeId,
    /// A sender that crashed since does not wait for news.
    incarnation: Incarnation,
    to: NodeId,
    id: SnapshotId,
    anchor: R::Anchor,
    content: BTreeMap<Slot, Decision>,
}

/// An installation that waits for its record, or for the machine.
#[derive(Clone, Copy, Debug)]
pub(in crate::conformance) struct Install {
    id: SnapshotId,
    after: Ticket,
}

impl<R: Replica> Walk<'_, R> {
    fn node_mut(&mut self, id: NodeId) -> &mut Node<R> {
        self.nodes.get_mut(&id).expect("ids come from the map")
    }

    fn fresh_snapshot_id(&mut self) -> SnapshotId {
        self.last_snapshot += 1;
        SnapshotId(self.last_snapshot)
    }

    pub(super) fn pin_snapshot(&mut self, id: NodeId, to: NodeId, at_least: Slot) -> Result<(), Broken> {
        if to == id {
            return broken("NeverToYourself", format!("{id} asks for a snapshot for itself"));
        }
        self.tally.note("snapshot asked");
        let view = self.fresh_snapshot_id();
        let (fails, stale) = (self.dice.one_in(PINNING_FAILS_ONE_IN), self.dice.one_in(PINNING_FAILS_ONE_IN));
        let back = self.dice.below(4) as u64;
        let node = self.node_mut(id);
        let answer = if fails || node.applied < at_least {
            Input::SnapshotSent { to, id: view, outcome: TransferOutcome::Failed }
        } else {
            let through = if stale { Slot(node.applied.0.saturating_sub(back)) } else { node.applied };
            node.pinned.insert(view, through);
            Input::SnapshotPinned { id: view, to, through }
        };
        node.owed.push_back(answer);
        Ok(())
    }

    pub(super) fn begin_transfer(
        &mut self,
        from: NodeId,
        id: SnapshotId,
        to: NodeId,
        anchor: R::Anchor,
    ) -> Result<(), Broken> {
        let node = self.node_mut(from);
        let through = R::anchored(&anchor);
        if node.pinned.remove(&id) != Some(through) {
            return broken("AnchorOfTheView", format!("{from} describes {id:?} as everything up to {through}"));
        }
        let anchor = round_trip(&anchor)?;
        let incarnation = node.setup.incarnation;
        let content = node.history.range(..=through).map(|(slot, decision)| (*slot, decision.clone())).collect();
        self.tally.note("snapshot sent");
        self.seen_anchors.push(anchor.clone());
        self.transfers.push(Transfer { from, incarnation, to, id, anchor, content });
        Ok(())
    }

    pub(super) fn begin_install(
        &mut self,
        id: NodeId,
        snapshot: SnapshotId,
        anchor: &R::Anchor,
        after: Ticket,
    ) -> Result<(), Broken> {
        let node = self.node_mut(id);
        let through = R::anchored(anchor);
        if node.received.get(&snapshot).is_none_or(|transfer| transfer.anchor != *anchor) {
            return broken("SnapshotIsThere", format!("{id} wants to install {snapshot:?}, which did not arrive"));
        }
        if let Some(earlier) = node.install {
            return broken("OneInstallation", format!("{id} wants {snapshot:?} while {earlier:?} is under way"));
        }
        if through <= node.decided {
            return broken("SnapshotsGoForward", format!("{id} at {} wants a snapshot of {through}", node.decided));
        }
        if after > node.outbox.last_ticket() {
            return broken("TicketsExist", format!("{id} wants {snapshot:?} after a write nobody asked for"));
        }
        node.install = Some(Install { id: snapshot, after });
        self.tally.note("snapshot taken");
        Ok(())
    }

    pub(super) fn drop_snapshot(&mut self, id: NodeId, snapshot: SnapshotId) -> Result<(), Broken> {
        let node = self.node_mut(id);
        if node.install.is_some_and(|install| install.id == snapshot) {
            return broken("SnapshotIsThere", format!("{id} drops {snapshot:?}, which it wants installed"));
        }
        if node.pinned.remove(&snapshot).is_some() {
            self.tally.note("view dropped");
        } else if let Some(transfer) = node.received.remove(&snapshot) {
            self.tally.note("snapshot dropped");
            self.end_transfer(&transfer, TransferOutcome::Failed);
        } else {
            return broken("SnapshotIsThere", format!("{id} drops {snapshot:?}, which is not there"));
        }
        Ok(())
    }

    /// Installs what is ready at this node, or moves some transfer.
    pub(super) fn some_snapshot_action(&mut self, id: NodeId) -> Result<(), Broken> {
        if self.dice.one_in(2) && self.install(id)? {
            return Ok(());
        }
        let at = self.dice.below(self.transfers.len());
        let (lose, repeat) = (self.dice.one_in(8), self.faults.duplicate && self.dice.one_in(3));
        if self.transfers.is_empty() {
            Ok(())
        } else if lose {
            let transfer = self.transfers.remove(at);
            self.tally.note("snapshot lost");
            self.end_transfer(&transfer, TransferOutcome::Failed);
            Ok(())
        } else if repeat {
            self.arrive(self.transfers[at].clone())
        } else {
            self.deliver_snapshot(at)
        }
    }

    /// The oldest one on its way to any of these.
    pub(super) fn snapshot_for(&self, ids: &[NodeId]) -> Option<usize> {
        self.transfers.iter().position(|transfer| ids.contains(&transfer.to))
    }

    pub(super) fn deliver_snapshot(&mut self, at: usize) -> Result<(), Broken> {
        let transfer = self.transfers.remove(at);
        self.arrive(transfer)
    }

    fn arrive(&mut self, transfer: Transfer<R>) -> Result<(), Broken> {
        let to = transfer.to;
        if self.nodes.get(&to).is_none_or(|node| node.replica.is_none()) {
            self.end_transfer(&transfer, TransferOutcome::Failed);
            return Ok(());
        }
        let id = self.fresh_snapshot_id();
        let anchor = transfer.anchor.clone();
        self.node_mut(to).received.insert(id, transfer);
        self.tally.note("snapshot arrived");
        self.feed(to, vec![Input::SnapshotArrived { id, anchor }])
    }

    fn end_transfer(&mut self, transfer: &Transfer<R>, outcome: TransferOutcome) {
        let Transfer { from, incarnation, to, id, .. } = transfer;
        let news = Input::SnapshotSent { to: *to, id: *id, outcome };
        let sender = self.node_mut(*from);
        if sender.replica.is_some() && sender.setup.incarnation == *incarnation {
            sender.owed.push_back(news);
        }
    }

    /// The machine takes the snapshot over, if its record is durable; says whether. What would open after a crash is the
    /// same before and afterwards.
    pub(super) fn install(&mut self, id: NodeId) -> Result<bool, Broken> {
        let config = self.subject.config.clone();
        let node = self.node_mut(id);
        let durable = node.gate.durable();
        let Some(Install { id: snapshot, .. }) = node.install.filter(|install| install.after <= durable) else {
            return Ok(false);
        };
        let before = node.ghost(&config, node.records.clone());
        let transfer =
            node.received.remove(&snapshot).expect("it was there when installation began and is not dropped");
        let through = R::anchored(&transfer.anchor);
        node.install = None;
        node.history.clone_from(&transfer.content);
        (node.decided, node.applied, node.applied_durable) = (through, through, through);
        let after = node.ghost(&config, node.records.clone());
        let digest = node.digest(through);
        match (before, after) {
            (Ok(before), Ok(after)) => {
                let (before, after) = ((self.subject.safety)(&before), (self.subject.safety)(&after));
                if before != after {
                    return broken("InstallationChangesNothing", format!("{id} before: {before}; after: {after}"));
                }
            }
            (before, after) => {
                let errors: Vec<_> = before.err().into_iter().chain(after.err()).collect();
                return broken("EveryCrashOpens", format!("{id} around an installation: {errors:?}"));
            }
        }
        self.log(|| format!("{id} installs {snapshot:?} up to {through}"));
        self.tally.note("snapshot installed");
        self.end_transfer(&transfer, TransferOutcome::Installed);
        self.feed(id, vec![Input::Applied { through, durable: through, digest }])?;
        Ok(true)
    }

    /// After opening: what the journal does not name is told of once more, or forgotten.
    pub(super) fn look_at_received(&mut self, id: NodeId) -> Result<(), Broken> {
        let node = self.node_mut(id);
        let wanted = node.install.map(|install| install.id);
        self.tally.note(if wanted.is_some() { "opened before an installation" } else { "opened installed" });
        let needless: Vec<SnapshotId> =
            self.nodes[&id].received.keys().copied().filter(|snapshot| Some(*snapshot) != wanted).collect();
        for snapshot in needless {
            if self.dice.one_in(2) {
                let anchor = self.nodes[&id].received[&snapshot].anchor.clone();
                self.node_mut(id).owed.push_back(Input::SnapshotArrived { id: snapshot, anchor });
            } else if let Some(transfer) = self.node_mut(id).received.remove(&snapshot) {
                self.end_transfer(&transfer, TransferOutcome::Failed);
            }
        }
        Ok(())
    }
}
