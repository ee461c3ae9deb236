//! Views for those who missed a configuration, and jumping with one that arrived.

use crate::heir::Heir;
use crate::record::{Anchor, Way};
use crate::replica::{Serving, Succession};
use crate::rules;
use quorate_protocol::{Env, Event, Input, MembersChange, Outbox, SnapshotId, TransferOutcome};
use quorate_types::{NodeId, Slot};

impl<P: Heir> Succession<P> {
    /// A node that is not in the present configuration wants to get there.
    pub(crate) fn serve(&mut self, to: NodeId, out: &mut Outbox<Self>) {
        let at_least = self.begins_behind();
        let why = if self.way == Way::Told {
            Some("it does not have what was decided itself")
        } else if self.applied < at_least {
            Some("its own state machine is not that far")
        } else if self.serving.contains_key(&to) {
            Some("one is on its way")
        } else {
            None
        };
        match why {
            Some(why) => out.trace(|| Event::refused(&rules::SERVE).with("peer", to).with("why", why)),
            None => {
                self.serving.insert(to, Serving::Pinning);
                // Witnesses cannot be members, so whoever asks stores data.
                out.send_snapshot(to, at_least, true);
            }
        }
    }

    pub(crate) fn snapshot_pinned(
        &mut self,
        env: &mut dyn Env,
        id: SnapshotId,
        to: NodeId,
        through: Slot,
        out: &mut Outbox<Self>,
    ) {
        if self.serving.get(&to) != Some(&Serving::Pinning) {
            return self.snapshot_pinned_inside(env, (id, to, through), out);
        }
        let Some(anchor) = self.anchor_at(through) else {
            self.serving.remove(&to);
            let why = "the view does not reach the present configuration, or is not known to be decided";
            out.trace(|| Event::refused(&rules::SERVE).with("peer", to).with("why", why));
            return out.drop_snapshot(id);
        };
        self.serving.insert(to, Serving::Sending(id));
        let configuration = anchor.configuration;
        out.trace(|| {
            let event = Event::allowed(&rules::SERVE).with("peer", to).with("slot", through);
            event.with("configuration", configuration)
        });
        out.snapshot_anchor(id, to, anchor);
    }

    fn snapshot_pinned_inside(
        &mut self,
        env: &mut dyn Env,
        (id, to, through): (SnapshotId, NodeId, Slot),
        out: &mut Outbox<Self>,
    ) {
        if self.inside.is_none() {
            return out.drop_snapshot(id);
        }
        self.hand_in(env, Input::SnapshotPinned { id, to, through }, out);
        if self.serving.get(&to) == Some(&Serving::Inside(None)) {
            // It said nothing of what the view describes, so it is not sent.
            self.serving.remove(&to);
        }
    }

    /// What a state with everything up to `through` applied describes, in the present configuration.
    fn anchor_at(&self, through: Slot) -> Option<Anchor<P>> {
        let present = self.present.as_ref().filter(|_| self.way != Way::Told)?;
        if through > self.applied {
            return None;
        }
        if through == self.begins_behind() {
            return Some(present.clone());
        }
        let prefix = self.inside.as_ref()?.anchor_at(through).filter(|_| through > self.begins_behind())?;
        Some(Anchor { configuration: present.configuration, prefix })
    }

    pub(crate) fn snapshot_sent(
        &mut self,
        env: &mut dyn Env,
        to: NodeId,
        id: SnapshotId,
        outcome: TransferOutcome,
        out: &mut Outbox<Self>,
    ) {
        let serving = self.serving.get(&to).copied();
        let ended = match serving {
            Some(Serving::Sending(sending) | Serving::Inside(Some(sending))) => sending == id,
            Some(Serving::Pinning | Serving::Inside(None)) => outcome == TransferOutcome::Failed,
            None => false,
        };
        if ended {
            self.serving.remove(&to);
        }
        if !ended || matches!(serving, Some(Serving::Inside(_))) {
            self.hand_in(env, Input::SnapshotSent { to, id, outcome }, out);
        }
    }

    /// One of the present configuration is for the replica inside to judge; with one of a later configuration this node jumps.
    pub(crate) fn snapshot_arrived(
        &mut self,
        env: &mut dyn Env,
        id: SnapshotId,
        anchor: Anchor<P>,
        out: &mut Outbox<Self>,
    ) {
        let (theirs, slot) = (anchor.configuration, P::anchored(&anchor.prefix));
        if theirs == self.configuration() && self.inside.is_some() {
            return self.hand_in(env, Input::SnapshotArrived { id, anchor: anchor.prefix }, out);
        }
        let why = if theirs <= self.configuration() {
            Some("it has got beyond that")
        } else if !P::members(&anchor.prefix).contains(self.me()) {
            Some("it is no member of it")
        } else if self.installing.is_some() {
            Some("another one is being installed")
        } else if slot <= self.decided {
            Some("everything up to there is decided here already")
        } else if self.stopped.is_some() {
            Some("it has just decided the stop-sign itself")
        } else {
            None
        };
        let configuration = self.configuration();
        if let Some(why) = why {
            out.trace(|| Event::refused(&rules::JUMP).with("theirs", theirs).with("why", why));
            return out.drop_snapshot(id);
        }
        out.trace(|| {
            let event = Event::allowed(&rules::JUMP).with("configuration", configuration);
            event.with("theirs", theirs).with("slot", slot)
        });
        self.close_inside(out);
        self.enter(anchor, Way::Snapshot(id), out);
        self.tell_members(MembersChange::Installed, out);
        self.begin_telling(out);
    }

    /// The machine got on. What it still applies of closed configurations is none of the replica's inside: for that, everything
    /// before its own beginning is decided and applied.
    pub(crate) fn machine_applied(
        &mut self,
        env: &mut dyn Env,
        through: Slot,
        durable: Slot,
        digest: u64,
        out: &mut Outbox<Self>,
    ) {
        let installed = self.installing.filter(|(_, slot)| (through, durable) == (*slot, *slot));
        let possible = if installed.is_some() { through } else { self.decided };
        if durable > through || through > possible {
            return self.drop_stale("applied mark", "it is beyond what is decided", out);
        }
        if let Some((_, slot)) = installed.filter(|_| self.opening.is_empty()) {
            self.installing = None;
            self.decided = slot;
        }
        self.applied = self.applied.max(through);
        let begins = self.begins_behind();
        if through >= begins {
            self.hand_in(env, Input::Applied { through, durable: durable.max(begins), digest }, out);
        }
    }
}
