//! From chosen to decided to applied to forgotten; snapshots.

use crate::message::Message;
use crate::record::{Anchor, Record};
use crate::replica::{Ballots, Claim, Position, Serving, is_stop};
use crate::rules;
use quorate_protocol::{Event, Outbox, SnapshotId, TransferOutcome};
use quorate_types::{NodeId, Slot, Ticket};

impl Ballots {
    /// Hands out what is chosen and durable here, in order, up to a stop-sign.
    pub(crate) fn decide(&mut self, out: &mut Outbox<Ballots>) {
        if self.installing.is_some() || self.stopped {
            return;
        }
        let before = self.decided;
        while self.decided < self.chosen && !self.stopped {
            let slot = self.decided.next();
            let Some(entry) = self.log.get(slot).filter(|entry| entry.durable) else {
                out.trace(|| Event::waiting(&rules::DECIDE).with("slot", slot));
                break;
            };
            out.decide(slot, entry.payload.decision());
            self.stopped = is_stop(&entry.payload);
            self.decided = slot;
        }
        if self.decided > before {
            let slot = self.decided;
            out.trace(|| Event::allowed(&rules::DECIDE).with("slot", slot));
            self.note_progress();
        }
    }

    pub(crate) fn machine_applied(&mut self, through: Slot, durable: Slot, out: &mut Outbox<Ballots>) {
        let trim = self.log.trim();
        let written = self.pending.iter().all(|claim| *claim != Claim::Snapshot);
        if self.installing.is_some() && written && (through, durable) == (trim, trim) {
            self.installing = None;
            self.decided = trim;
            self.note_progress();
            out.trace(|| Event::allowed(&rules::INSTALLED).with("slot", trim));
        }
        if durable > through || through > self.decided {
            return out.trace(|| Event::refused(&rules::APPLIED).with("slot", through));
        }
        self.applied = self.applied.max(through);
        self.applied_durable = self.applied_durable.max(durable);
    }

    /// Forgets what is durably applied here, when it is worth a write.
    pub(crate) fn compact(&mut self, out: &mut Outbox<Ballots>) {
        let Some((through, why)) = self.compact_through() else { return };
        self.log.drop_through(through);
        out.trace(|| Event::allowed(&rules::COMPACT).with("slot", through).with("why", why));
        let next = Ticket(out.last_ticket().0 + 1);
        let drop_before = self.log.first_ticket().unwrap_or(next);
        let baseline = vec![Record::Anchor(self.base_anchor()), Record::Promised(self.promised)];
        out.compact(baseline, drop_before);
    }

    fn compact_through(&self) -> Option<(Slot, &'static str)> {
        if self.installing.is_some() {
            return None;
        }
        let trim = self.log.trim();
        let droppable = self.applied_durable.min(self.everyone_has);
        let through = Slot(droppable.0.saturating_sub(self.config.compact_keep_entries));
        if through.0.saturating_sub(trim.0) >= self.config.compact_after_entries.max(1) {
            return Some((through, "every member has it durably"));
        }
        let (most, bytes) = (self.config.keep_log_entries, self.config.keep_log_bytes);
        let droppable = self.applied_durable.0.saturating_sub(trim.0);
        if (self.log.count() > most || self.log.bytes() > bytes) && droppable * 4 >= self.log.count().max(1) {
            // Three quarters of it may stay, so that the next time is not soon.
            let keep = (most - most / 4).min(self.log.count() - self.log.count() / 4);
            let through = Slot((trim.0 + self.log.count()).saturating_sub(keep)).min(self.applied_durable);
            return (through > trim).then_some((through, "more is not kept for members that lag behind"));
        }
        None
    }

    pub(crate) fn base_anchor(&self) -> Anchor {
        self.anchor(self.log.trim())
    }

    /// What a state with everything up to `through` applied describes.
    pub(crate) fn describe(&self, through: Slot) -> Option<Anchor> {
        let known = self.installing.is_none() && through <= self.decided && through >= self.log.trim();
        known.then(|| self.anchor(through))
    }

    fn anchor(&self, slot: Slot) -> Anchor {
        Anchor { slot, members: self.members.clone(), quorums: self.config.quorums.clone() }
    }

    /// At a leader: whoever needs what is no longer kept gets a snapshot, if it is heard: few are sent at once, and one to a node that is
    /// down would take the place of another's.
    pub(crate) fn serve_laggards(&mut self, out: &mut Outbox<Ballots>) {
        let trim = self.log.trim();
        let Position::Leader(leadership) = &self.position else { return };
        if self.installing.is_some() {
            return;
        }
        let lags = |(id, peer): &(&NodeId, &crate::leading::Peer)| peer.next <= trim && leadership.heard.contains(id);
        for (id, _) in leadership.peers.iter().filter(lags) {
            self.serving.entry(*id).or_insert_with(|| {
                out.send_snapshot(*id, trim, true);
                Serving::Pinning
            });
        }
    }

    pub(crate) fn snapshot_needed(&mut self, from: NodeId, out: &mut Outbox<Ballots>) {
        let trim = self.log.trim();
        if self.installing.is_none()
            && !matches!(self.serving.get(&from), Some(Serving::Pinning | Serving::Sending { .. }))
        {
            self.serving.insert(from, Serving::Pinning);
            out.send_snapshot(from, trim, true);
        }
    }

    pub(crate) fn snapshot_pinned(&mut self, id: SnapshotId, to: NodeId, through: Slot, out: &mut Outbox<Ballots>) {
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
        match self.is_leader() {
            true => self.serving.insert(to, Serving::Paused(self.config.snapshot_retry_heartbeats)),
            false => self.serving.remove(&to),
        };
    }

    pub(crate) fn snapshot_sent(
        &mut self,
        to: NodeId,
        id: SnapshotId,
        outcome: TransferOutcome,
        out: &mut Outbox<Ballots>,
    ) {
        match (self.serving.get(&to).copied(), outcome) {
            (Some(Serving::Sending { id: sending, through }), TransferOutcome::Installed) if sending == id => {
                self.serving.remove(&to);
                if let Position::Leader(leadership) = &mut self.position
                    && let Some(peer) = leadership.peers.get_mut(&to)
                {
                    peer.next = peer.next.max(through.next());
                }
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

    /// What is accepted behind the snapshot stays, and so do promises: that may be chosen.
    pub(crate) fn snapshot_arrived(&mut self, id: SnapshotId, anchor: Anchor, out: &mut Outbox<Ballots>) {
        let slot = anchor.slot;
        let why = if slot <= self.chosen {
            Some("everything up to there is chosen and kept here already")
        } else if self.installing.is_some() {
            Some("another one is being installed")
        } else if slot == Slot(u64::MAX) {
            Some("no slot can follow it")
        } else if anchor.members != self.members {
            Some("it is of other members")
        } else {
            None
        };
        if let Some(why) = why {
            out.trace(|| Event::refused(&rules::SNAPSHOT).with("slot", slot).with("why", why));
            return out.drop_snapshot(id);
        }
        self.step_down("a snapshot shows that others decided without it", out);
        out.trace(|| Event::allowed(&rules::SNAPSHOT).with("slot", slot));
        let ticket = out.persist(vec![Record::Snapshot { id, anchor: anchor.clone() }]);
        self.pending.push(ticket, Claim::Snapshot);
        self.log.drop_through(slot);
        self.chosen = slot;
        self.chosen_in = None;
        self.installing = Some(id);
        self.note_progress();
        out.install_snapshot(id, anchor, ticket);
    }

    /// A message to whoever has it all and lacks only the news.
    pub(crate) fn news_of_chosen(&self) -> Option<Message> {
        self.chosen_in.map(|ballot| Message::Chosen { ballot, through: self.chosen })
    }
}
