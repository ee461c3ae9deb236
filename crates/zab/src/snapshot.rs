//! Snapshots: for a follower that needs what is no longer held, and from a leader that no longer holds it.

use crate::leading::PeerStage;
use crate::log::Log;
use crate::record::{Anchor, Record};
use crate::replica::{Broadcast, Claim, Position, Serving};
use crate::rules;
use quorate_protocol::{Event, Outbox, SnapshotId, TransferOutcome};
use quorate_types::{NodeId, Slot};

impl Broadcast {
    /// What a state with everything up to `through` applied describes.
    pub(crate) fn describe(&self, through: Slot) -> Option<Anchor> {
        let known = self.installing.is_none() && through <= self.decided;
        let mark = self.log.mark_at(through).filter(|_| known)?;
        Some(Anchor { slot: mark.slot, zxid: mark.zxid, members: self.members.clone() })
    }

    /// Rule 9, SNAP: the state as applied here. The follower comes again for the rest. Only who is heard gets it: few are sent at once, and
    /// one to a node that is down would take the place of another's.
    pub(crate) fn serve_laggards(&mut self, out: &mut Outbox<Broadcast>) {
        let at_least = self.log.base().slot;
        let Position::Leading(leadership) = &self.position else { return };
        if self.installing.is_some() {
            return;
        }
        let lags = |(id, peer): &(&NodeId, &crate::leading::Peer)| {
            peer.stage == PeerStage::Snapshot && leadership.heard.contains(id)
        };
        for (id, _) in leadership.peers.iter().filter(lags) {
            self.serving.entry(*id).or_insert_with(|| {
                out.send_snapshot(*id, at_least, true);
                Serving::Pinning
            });
        }
    }

    pub(crate) fn snapshot_pinned(&mut self, id: SnapshotId, to: NodeId, through: Slot, out: &mut Outbox<Broadcast>) {
        let wanted = self.serving.get(&to) == Some(&Serving::Pinning);
        match self.describe(through).filter(|_| wanted) {
            Some(anchor) => {
                self.serving.insert(to, Serving::Sending { id, through });
                out.trace(|| Event::allowed(&rules::SNAPSHOT_VIEW).with("peer", to).with("slot", through));
                out.snapshot_anchor(id, to, anchor);
            }
            None => {
                if wanted {
                    self.pause_serving(to);
                }
                out.trace(|| Event::refused(&rules::SNAPSHOT_VIEW).with("peer", to).with("slot", through));
                out.drop_snapshot(id);
            }
        }
    }

    fn pause_serving(&mut self, to: NodeId) {
        match matches!(self.position, Position::Leading(_)) {
            true => self.serving.insert(to, Serving::Paused(self.config.snapshot_retry_ticks)),
            false => self.serving.remove(&to),
        };
    }

    pub(crate) fn snapshot_sent(
        &mut self,
        to: NodeId,
        id: SnapshotId,
        outcome: TransferOutcome,
        out: &mut Outbox<Broadcast>,
    ) {
        match (self.serving.get(&to).copied(), outcome) {
            (Some(Serving::Sending { id: sending, through }), TransferOutcome::Installed) if sending == id => {
                // It opens another connection by itself; if that is lost, another snapshot does no harm.
                self.pause_serving(to);
                out.trace(|| Event::allowed(&rules::SNAPSHOT_SENT).with("peer", to).with("slot", through));
            }
            (Some(Serving::Sending { id: sending, .. }), TransferOutcome::Failed) if sending == id => {
                out.trace(|| Event::waiting(&rules::SNAPSHOT_SENT).with("peer", to));
                self.pause_serving(to);
            }
            (Some(Serving::Pinning), TransferOutcome::Failed) => {
                out.trace(|| Event::waiting(&rules::SNAPSHOT_SENT).with("peer", to));
                self.pause_serving(to);
            }
            _ => {}
        }
    }

    /// A committed prefix. Where the history here contains its end there is nothing to install; else it is another history, or ends before,
    /// and nothing of it stays.
    pub(crate) fn snapshot_arrived(&mut self, id: SnapshotId, anchor: Anchor, out: &mut Outbox<Broadcast>) {
        let mark = anchor.mark();
        let has_it = self.log.has(mark) && anchor.members == self.members;
        if has_it {
            self.learn_committed(mark, out);
        }
        let why = if mark.slot <= self.committed {
            Some("everything up to there is held here already")
        } else if self.installing.is_some() {
            Some("another one is being installed")
        } else if mark.slot.0 == u64::MAX {
            Some("no slot can follow it")
        } else if anchor.members != self.members {
            Some("it is of other members")
        } else {
            None
        };
        if let Some(why) = why {
            out.trace(|| Event::refused(&rules::SNAPSHOT).with("slot", mark.slot).with("why", why));
            return out.drop_snapshot(id);
        }
        out.trace(|| Event::allowed(&rules::SNAPSHOT).with("slot", mark.slot));
        let ticket = out.persist(vec![Record::Snapshot { id, anchor: anchor.clone() }]);
        self.given_up_from = Some(self.given_up_from.unwrap_or(mark.slot.next()).min(mark.slot.next()));
        self.log = Log::behind(mark);
        self.pending.revoke(|claim| matches!(claim, Claim::History(_)));
        self.pending.push(ticket, Claim::Snapshot);
        self.pending.push(ticket, Claim::History(mark.slot));
        self.flushed = Slot::ZERO;
        self.committed = mark.slot;
        self.installing = Some(id);
        match self.stage() {
            Some(_) => self.reconnect("it has another history now", out),
            None => self.look("its history ends with a snapshot now", out),
        }
        out.install_snapshot(id, anchor, ticket);
    }
}
