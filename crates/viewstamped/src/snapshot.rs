//! Snapshots: what is sent to a peer that lacks more than is kept, and what arrives here.
//!
//! The bytes never pass through here. Any replica that is asked for what it no longer keeps asks its driver to pin a view of
//! the state machine, says what that describes, and hears how the transfer ended. Whoever receives one judges by its anchor
//! alone: it is a decided prefix, whoever sent it.

use crate::durability::Claim;
use crate::record::{Anchor, Record};
use crate::replica::{Stage, Viewstamped};
use crate::rules;
use crate::view::View;
use quorate_protocol::{Event, MembersChange, Outbox, SnapshotId, TransferOutcome};
use quorate_types::{NodeId, Slot, Ticket};

/// A snapshot on its way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transfer {
    /// The driver was asked for a view.
    Pinning,
    /// On its way.
    Sending { id: SnapshotId, through: Slot },
    /// It did not get there; the next one waits for so many heartbeats.
    Paused { heartbeats: u32 },
}

impl Viewstamped {
    /// A peer lacks what is no longer kept. Not while this node's own state machine is behind its log.
    pub(crate) fn want_snapshot(&mut self, to: NodeId, out: &mut Outbox<Viewstamped>) {
        if self.installing.is_some() || self.transfers.contains_key(&to) {
            return;
        }
        self.transfers.insert(to, Transfer::Pinning);
        // Every member stores data: there are no witnesses in this protocol.
        out.send_snapshot(to, self.log.base(), true);
    }

    /// A view of everything up to `through` is pinned for `to`.
    pub(crate) fn snapshot_pinned(&mut self, id: SnapshotId, to: NodeId, through: Slot, out: &mut Outbox<Viewstamped>) {
        let why = match (self.transfers.get(&to), self.anchor_at(through)) {
            (Some(Transfer::Pinning), Some(anchor)) => {
                self.transfers.insert(to, Transfer::Sending { id, through });
                out.trace(|| Event::allowed(&rules::SNAPSHOT_VIEW).with("peer", to).with("slot", through));
                return out.snapshot_anchor(id, to, anchor);
            }
            (Some(Transfer::Pinning), None) => {
                self.transfers.remove(&to);
                "its last slot is not one that is decided and still known here"
            }
            _ => "nobody waits for it",
        };
        out.trace(|| Event::refused(&rules::SNAPSHOT_VIEW).with("peer", to).with("slot", through).with("why", why));
        out.drop_snapshot(id);
    }

    /// What a state with everything up to `through` applied describes; `None` where that cannot be known.
    fn anchor_at(&self, through: Slot) -> Option<Anchor> {
        if through > self.decided || through < self.log.base() {
            return None;
        }
        // A newcomer that took the log from its beginning learns its members only from the first entry that names them.
        let configuration = self.log.configuration_at(through);
        let known = !configuration.members.members().is_empty();
        known.then(|| Anchor { slot: through, configuration: configuration.clone() })
    }

    /// Sending ended; what the peer has is for the peer to say.
    pub(crate) fn snapshot_sent(
        &mut self,
        id: SnapshotId,
        to: NodeId,
        outcome: TransferOutcome,
        out: &mut Outbox<Viewstamped>,
    ) {
        let through = match self.transfers.get(&to) {
            Some(Transfer::Sending { id: sending, through }) if *sending == id => Some(*through),
            Some(Transfer::Pinning) if outcome == TransferOutcome::Failed => None,
            _ => return out.trace(|| Event::refused(&rules::SNAPSHOT_SENT).with("peer", to)),
        };
        self.transfers.remove(&to);
        let heartbeats = self.config.snapshot_retry_heartbeats;
        match (outcome, through, &mut self.stage) {
            (TransferOutcome::Installed, Some(through), stage) => {
                if let Stage::Primary(leadership) = stage
                    && let Some(progress) = leadership.peers.get_mut(&to)
                {
                    progress.go_back_to(through.next());
                }
                out.trace(|| Event::allowed(&rules::SNAPSHOT_SENT).with("peer", to).with("slot", through));
            }
            (_, _, Stage::Primary(_)) => {
                self.transfers.insert(to, Transfer::Paused { heartbeats });
                out.trace(|| {
                    Event::waiting(&rules::SNAPSHOT_SENT).with("peer", to).with("heartbeats", u64::from(heartbeats))
                });
            }
            // Whoever asked asks again.
            _ => out.trace(|| Event::waiting(&rules::SNAPSHOT_SENT).with("peer", to).with("heartbeats", 0)),
        }
    }

    /// A heartbeat interval is over at the primary.
    pub(crate) fn count_down_transfers(&mut self) {
        self.transfers.retain(|_, transfer| match transfer {
            Transfer::Paused { heartbeats } => {
                *heartbeats = heartbeats.saturating_sub(1);
                *heartbeats > 0
            }
            Transfer::Pinning | Transfer::Sending { .. } => true,
        });
    }

    /// Only a primary has the heartbeats by which pauses end.
    pub(crate) fn forget_paused_transfers(&mut self) {
        self.transfers.retain(|_, transfer| !matches!(transfer, Transfer::Paused { .. }));
    }

    /// A snapshot is here, complete, verified and durable.
    pub(crate) fn snapshot_arrived(&mut self, id: SnapshotId, anchor: Anchor, out: &mut Outbox<Viewstamped>) {
        if let Some(why) = self.why_unwanted(&anchor) {
            out.trace(|| Event::refused(&rules::SNAPSHOT).with("slot", anchor.slot).with("why", why));
            return out.drop_snapshot(id);
        }
        out.trace(|| Event::allowed(&rules::SNAPSHOT).with("slot", anchor.slot).with("last", self.log.last()));
        self.install(id, anchor, out);
    }

    fn why_unwanted(&self, anchor: &Anchor) -> Option<&'static str> {
        if anchor.slot <= self.commit {
            Some("everything up to there is decided here already")
        } else if self.installing.is_some() {
            Some("another one is being installed")
        } else if anchor.slot == Slot(u64::MAX) {
            Some("no slot can follow it")
        } else if !anchor.configuration.members.contains(self.me) {
            // A newcomer that installed it would take itself for one that was left behind, and go.
            Some("this replica is no member where it ends")
        } else if self.is_primary() && anchor.configuration.epoch <= self.view.epoch {
            Some("a primary has all that is committed in its view")
        } else if matches!(self.stage, Stage::Leaving(_)) {
            Some("this replica is no member any more")
        } else {
            None
        }
    }

    /// The snapshot stands for the front of the log. What is behind stays, for it may have been acknowledged, unless it is of
    /// an epoch that is over.
    fn install(&mut self, id: SnapshotId, anchor: Anchor, out: &mut Outbox<Viewstamped>) {
        let later_epoch = anchor.configuration.epoch > self.view.epoch;
        let beyond = self.log.last() < anchor.slot;
        self.write_log(out);
        let record = Record::Snapshot { id, anchor: anchor.clone(), begins_epoch: later_epoch };
        let ticket = out.persist(vec![record]);
        if later_epoch {
            self.leave_stage(out);
            self.log.truncate(self.log.first());
            let view = View::first_of(anchor.configuration.epoch);
            (self.view, self.last_normal) = (view, view);
            self.disk.pending.push(ticket, Claim::View { view });
        }
        self.log.rebase(anchor.slot, anchor.configuration.clone());
        if later_epoch || beyond {
            self.disk.overwrite(self.decided.next());
            self.disk.pending.push(ticket, Claim::Log { through: anchor.slot });
            self.disk.written = anchor.slot;
            self.disk.landmarks.note(anchor.slot.next(), ticket);
        } else if self.disk.durable < anchor.slot {
            self.disk.pending.push(ticket, Claim::Log { through: anchor.slot });
        }
        self.commit = anchor.slot;
        self.undecided_bytes = self.log.bytes_behind(anchor.slot);
        self.installing = Some(id);
        if later_epoch {
            self.enter_configuration(anchor.configuration.clone(), MembersChange::Installed, out);
            self.enter_first_view(false, out);
        } else if let (true, Some(primary)) = (beyond, self.primary()) {
            // It does not know what its view's log holds behind the snapshot, and cannot answer for it.
            self.leave_stage(out);
            self.begin_asking(primary, self.view, out);
        }
        out.install_snapshot(id, anchor, ticket);
    }

    /// At opening: the record of a snapshot is durable, the state it stands for is not.
    pub(crate) fn install_again(&mut self, out: &mut Outbox<Viewstamped>) {
        if let Some(id) = self.installing {
            out.install_snapshot(id, self.base_anchor(), Ticket::NONE);
        }
    }

    /// The machine has the snapshot, durably: decisions go on behind it.
    pub(crate) fn installed(&mut self, out: &mut Outbox<Viewstamped>) {
        self.installing = None;
        self.decided = self.log.base();
        out.trace(|| Event::allowed(&rules::INSTALLED).with("slot", self.decided));
    }
}
