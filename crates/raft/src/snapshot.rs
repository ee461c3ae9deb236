//! Snapshots: what is sent to a peer whose next entries are no longer kept, and what arrives here (Raft §7; dissertation, 5).
//!
//! The bytes never pass through here. A leader asks its driver to pin a view of the state machine, says what that view
//! describes, and hears how the transfer ended. Whoever receives one hears of it when it is complete, verified and durable,
//! and judges by its anchor alone. A snapshot is a decided prefix whoever sent it and in whichever term, so installing one is
//! never unsafe: the sender's leadership does not matter, and election timers are not touched.

use crate::election::Position;
use crate::log::{Configurations, Log};
use crate::progress::{Pace, Transfer};
use crate::record::{Anchor, Record};
use crate::replica::Raft;
use crate::rules;
use quorate_protocol::{Event, MembersChange, Outbox, SnapshotId, TransferOutcome};
use quorate_types::{NodeId, Slot, Ticket};

impl Raft {
    /// At a leader: asks for a view for every peer that needs one. Not while this node's own state machine is behind its log.
    pub(crate) fn ask_for_snapshots(&mut self, out: &mut Outbox<Raft>) {
        let base = self.log.base();
        let Position::Leader(leadership) = &mut self.position else { return };
        if self.installing.is_some() {
            return;
        }
        for (peer, progress) in &mut leadership.peers {
            if progress.pace != Pace::Snapshot(Transfer::Wanted) {
                continue;
            }
            if let Some((id, through)) = self.still_sending.remove(peer) {
                progress.pace = Pace::Snapshot(Transfer::Sending { id, through });
            } else {
                progress.pace = Pace::Snapshot(Transfer::Pinning);
                out.send_snapshot(*peer, base, !progress.is_witness);
            }
        }
    }

    /// A view of everything up to `through` is pinned for `to`.
    pub(crate) fn snapshot_pinned(&mut self, id: SnapshotId, to: NodeId, through: Slot, out: &mut Outbox<Raft>) {
        let anchor = self.anchor_at(through);
        let retry = Transfer::Paused { heartbeats: self.config.snapshot_retry_heartbeats };
        let wanted = match &mut self.position {
            Position::Leader(leadership) => leadership.peers.get_mut(&to),
            _ => None,
        };
        let wanted = wanted.filter(|progress| progress.pace == Pace::Snapshot(Transfer::Pinning));
        let why = match (wanted, anchor) {
            (Some(progress), Some(anchor)) => {
                progress.pace = Pace::Snapshot(Transfer::Sending { id, through });
                let term = anchor.term;
                out.trace(|| {
                    Event::allowed(&rules::SNAPSHOT_VIEW).with("peer", to).with("slot", through).with("term", term)
                });
                return out.snapshot_anchor(id, to, anchor);
            }
            (Some(progress), None) => {
                progress.pace = Pace::Snapshot(retry);
                "its last slot is not one that is decided and still known here"
            }
            (None, _) => "nobody waits for it",
        };
        out.trace(|| Event::refused(&rules::SNAPSHOT_VIEW).with("peer", to).with("slot", through).with("why", why));
        out.drop_snapshot(id);
    }

    /// What a state with everything up to `through` applied describes; `None` where that cannot be known.
    fn anchor_at(&self, through: Slot) -> Option<Anchor> {
        if through > self.decided {
            return None;
        }
        let term = self.log.term_at(through)?;
        // A node that joined and took the log from its beginning learns its members only from the first entry that changed
        // them. What was in force before is not known here, and a snapshot must not say that it was nobody.
        let configuration = Some(self.configurations.at(through)).filter(|known| !known.quorum().is_empty())?;
        Some(Anchor { slot: through, term, configuration: configuration.clone() })
    }

    /// Sending ended, in this leadership or after it; what the peer has is for the peer to say.
    pub(crate) fn snapshot_sent(
        &mut self,
        id: SnapshotId,
        to: NodeId,
        outcome: TransferOutcome,
        out: &mut Outbox<Raft>,
    ) {
        let retry = self.config.snapshot_retry_heartbeats;
        self.still_sending.retain(|peer, (sending, _)| *peer != to || *sending != id);
        let progress = match &mut self.position {
            Position::Leader(leadership) => leadership.peers.get_mut(&to),
            _ => None,
        };
        let under_way = progress.and_then(|progress| match progress.pace {
            Pace::Snapshot(transfer) => Some((progress, transfer)),
            Pace::Probe { .. } | Pace::Replicate(_) => None,
        });
        match (under_way, outcome) {
            (Some((progress, Transfer::Sending { id: sending, through })), TransferOutcome::Installed)
                if sending == id =>
            {
                progress.probe_from(through.next());
                out.trace(|| Event::allowed(&rules::SNAPSHOT_SENT).with("peer", to).with("slot", through));
            }
            (Some((progress, transfer)), TransferOutcome::Failed) if transfer.awaits(id) => {
                progress.pace = Pace::Snapshot(Transfer::Paused { heartbeats: retry });
                out.trace(|| {
                    Event::waiting(&rules::SNAPSHOT_SENT).with("peer", to).with("heartbeats", u64::from(retry))
                });
            }
            _ => out.trace(|| Event::refused(&rules::SNAPSHOT_SENT).with("peer", to)),
        }
    }

    /// A snapshot is here, complete, verified and durable.
    pub(crate) fn snapshot_arrived(&mut self, id: SnapshotId, anchor: Anchor, out: &mut Outbox<Raft>) {
        if self.log.term_at(anchor.slot) == Some(anchor.term) && anchor.slot > self.commit {
            return self.learn_from_snapshot(id, anchor.slot, out);
        }
        if let Some(why) = self.why_unwanted(&anchor) {
            out.trace(|| Event::refused(&rules::SNAPSHOT).with("slot", anchor.slot).with("why", why));
            return out.drop_snapshot(id);
        }
        self.install(id, anchor, out);
    }

    /// The log holds the snapshot's last entry, and so everything before it (Log Matching): all that is new is that it is
    /// decided. The log stays as it is, with every entry and configuration behind.
    fn learn_from_snapshot(&mut self, id: SnapshotId, slot: Slot, out: &mut Outbox<Raft>) {
        self.commit = slot;
        out.trace(|| Event::waiting(&rules::SNAPSHOT).with("slot", slot));
        self.trace_undecided(out);
        out.drop_snapshot(id);
    }

    fn why_unwanted(&self, anchor: &Anchor) -> Option<&'static str> {
        // An answer that waits for a write may speak of slots behind the snapshot that the log is about to lose. It is
        // harmless, but no longer borne out by the disk once it leaves.
        let writes = !self.disk.pending.is_empty() || self.disk.unsaved_vote;
        if anchor.slot <= self.commit {
            Some("everything up to there is decided here already")
        } else if self.installing.is_some() {
            Some("another one is being installed")
        } else if anchor.slot == Slot(u64::MAX) {
            Some("no slot can follow it")
        } else if self.log.last() > anchor.slot && writes {
            Some("it contradicts entries that are still being written")
        } else {
            None
        }
    }

    /// The log is none that a decided prefix continues: it is void, all of it, in one record.
    fn install(&mut self, id: SnapshotId, anchor: Anchor, out: &mut Outbox<Raft>) {
        if anchor.term > self.term {
            self.adopt_term(anchor.term, "a snapshot", out);
        } else if !matches!(self.position, Position::Follower) {
            self.step_down("a snapshot shows that others decided without it", out);
        }
        let ended_at = self.log.last();
        out.trace(|| {
            let event = Event::allowed(&rules::SNAPSHOT).with("slot", anchor.slot).with("term", anchor.term);
            event.with("last_slot", ended_at)
        });
        self.save_vote(out);
        let ticket = out.persist(vec![Record::Snapshot { id, anchor: anchor.clone() }]);
        self.disk.reset(self.commit, anchor.slot, ticket);
        self.log = Log::behind(anchor.slot, anchor.term);
        self.configurations = Configurations::behind(anchor.configuration.clone());
        self.commit = anchor.slot;
        self.following.answer_due = None;
        self.installing = Some(id);
        self.tell_members(MembersChange::Installed, out);
        out.install_snapshot(id, anchor, ticket);
    }

    /// At opening: the record of a snapshot is durable, the state it stands for is not.
    pub(crate) fn install_again(&mut self, out: &mut Outbox<Raft>) {
        if let Some(id) = self.installing {
            out.install_snapshot(id, self.base_anchor(), Ticket::NONE);
        }
    }

    /// The machine has the snapshot, durably: decisions go on behind it.
    pub(crate) fn installed(&mut self, out: &mut Outbox<Raft>) {
        self.installing = None;
        self.decided = self.log.base();
        out.trace(|| Event::allowed(&rules::INSTALLED).with("slot", self.decided));
    }

    /// What the base of the log stands for.
    pub(crate) fn base_anchor(&self) -> Anchor {
        let slot = self.log.base();
        let term = self.log.term_at(slot).expect("the base's term is kept");
        Anchor { slot, term, configuration: self.configurations.base().clone() }
    }
}

impl Transfer {
    /// Whether news of this view, or of none that could be pinned, is what it waits for.
    fn awaits(self, news_of: SnapshotId) -> bool {
        match self {
            Transfer::Pinning => true,
            Transfer::Sending { id, .. } => id == news_of,
            Transfer::Wanted | Transfer::Paused { .. } => false,
        }
    }
}
