//! Phase 2, synchronisation: followers are brought to the leader's whole history, committed or not.

use crate::following::Stage;
use crate::leading::{LeaderStage, PeerStage};
use crate::message::{FollowerWord, LeaderWord};
use crate::record::Record;
use crate::replica::{Broadcast, Claim, Position};
use crate::rules;
use crate::zxid::Mark;
use quorate_protocol::{Event, Outbox};
use quorate_types::{NodeId, Slot, Ticket};

impl Broadcast {
    /// Rule 9: where a follower's history and this one part is found in the whole log here. What is known committed decides nothing: a
    /// new leader does not know that, and what it cuts off a follower may have acknowledged.
    pub(crate) fn synchronise(&mut self, out: &mut Outbox<Broadcast>) {
        let log = &self.log;
        let Position::Leading(leadership) = &mut self.position else { return };
        if leadership.stage < LeaderStage::Synchronising {
            return;
        }
        for (id, peer) in &mut leadership.peers {
            if !matches!(peer.stage, PeerStage::Promised { .. }) {
                continue;
            }
            let last = peer.last;
            let (word, next) = if log.has(last) {
                (LeaderWord::Diff { from: last }, Some(last.slot.next()))
            } else if last.zxid > log.base().zxid {
                let to = log.last_below(last.zxid);
                (LeaderWord::Truncate { to }, Some(to.slot.next()))
            } else {
                (LeaderWord::Snapshot, None)
            };
            let how = word.kind();
            out.trace(|| {
                let event = Event::allowed(&rules::SYNCHRONISE).with("peer", *id).with("last", last.to_string());
                event.with("how", how)
            });
            peer.stage = if next.is_some() { PeerStage::Synchronising } else { PeerStage::Snapshot };
            peer.next = next.unwrap_or(Slot::ZERO);
            peer.received = peer.next.previous();
            peer.say(*id, Ticket::NONE, word, out);
        }
    }

    /// The follower's history is a prefix of its leader's.
    pub(crate) fn begin_diff(&mut self, from: Mark, out: &mut Outbox<Broadcast>) {
        match self.log.last() == from {
            true => self.set_stage(Stage::Synchronising),
            false => self.reconnect("its history is no longer what it said", out),
        }
    }

    /// What is not in the leader's history goes. Where the target is not here either, whatever lies above it goes, and the leader
    /// is asked anew.
    pub(crate) fn truncate(&mut self, to: Mark, out: &mut Outbox<Broadcast>) {
        let has_target = self.log.has(to);
        let end = if has_target { to } else { self.log.last_below(to.zxid) };
        if end.slot < self.committed || end.zxid > to.zxid {
            // No leader's history lacks what is committed: whoever says so is none.
            out.trace(|| Event::refused(&rules::TRUNCATE).with("last", end.to_string()));
            return self.look("it is asked to give up what is committed", out);
        }
        out.trace(|| {
            let event = if has_target { Event::allowed(&rules::TRUNCATE) } else { Event::waiting(&rules::TRUNCATE) };
            event.with("last", end.to_string()).with("target", to.to_string())
        });
        self.give_up_behind(end.slot, out);
        match has_target {
            true => self.set_stage(Stage::Synchronising),
            false => self.reconnect("it lacks what it was to keep", out),
        }
    }

    /// The completion of a write that wrote what is given up proves nothing any more.
    fn give_up_behind(&mut self, after: Slot, out: &mut Outbox<Broadcast>) {
        if after >= self.log.last().slot {
            return;
        }
        self.log.truncate(after);
        self.given_up_from = Some(self.given_up_from.unwrap_or(after.next()).min(after.next()));
        self.flushed = self.flushed.min(after);
        self.pending.revoke(|claim| matches!(claim, Claim::History(through) if *through > after));
        let ticket = out.persist(vec![Record::Truncated { after }]);
        self.pending.push(ticket, Claim::History(after));
    }

    /// Rule 10: everything synchronised is durable before the epoch is, and that before the acknowledgement leaves.
    pub(crate) fn take_new_leader(&mut self, epoch: u32, out: &mut Outbox<Broadcast>) {
        let Some(leader) = self.leader() else { return };
        if epoch != self.accepted_epoch {
            return self.reconnect("that is not the epoch it promised", out);
        }
        let through = self.log.last();
        out.trace(|| {
            let event = Event::allowed(&rules::NEW_LEADER).with("leader", leader).with("last", through.to_string());
            event.with("epoch", u64::from(epoch))
        });
        let ticket = self.take_epoch(epoch, out);
        self.set_stage(Stage::Acknowledged);
        self.answer(ticket, FollowerWord::AckNewLeader { epoch, through }, out);
    }

    /// Rule 11: a quorum has the initial history, so all of it is committed.
    pub(crate) fn establish(&mut self, out: &mut Outbox<Broadcast>) {
        let Position::Leading(leadership) = &mut self.position else { return };
        if leadership.stage != LeaderStage::Synchronising {
            return;
        }
        let synchronised = |id: &NodeId| match leadership.peers.get(id) {
            Some(peer) => peer.stage == PeerStage::Synchronised,
            None => *id == self.me,
        };
        let votes: Vec<NodeId> = self.members.voters().filter(synchronised).collect();
        if votes.len() <= self.members.voters().count() / 2 {
            return;
        }
        let (epoch, initial) = (self.accepted_epoch, leadership.initial);
        out.trace(|| {
            let event = Event::allowed(&rules::ESTABLISH).with("epoch", u64::from(epoch)).with("slot", initial);
            event.votes(votes)
        });
        leadership.stage = LeaderStage::Broadcasting;
        self.committed = self.committed.max(initial);
        let synchronised: Vec<NodeId> = leadership
            .peers
            .iter()
            .filter(|(_, peer)| peer.stage == PeerStage::Synchronised)
            .map(|(id, _)| *id)
            .collect();
        synchronised.into_iter().for_each(|id| self.say_up_to_date(id, out));
    }

    /// Rule 11: with the latest that is committed and was sent; what is committed later is told of later.
    pub(crate) fn say_up_to_date(&mut self, to: NodeId, out: &mut Outbox<Broadcast>) {
        let (log, latest) = (&self.log, self.committed);
        let Position::Leading(leadership) = &mut self.position else { return };
        let Some(peer) = leadership.peers.get_mut(&to) else { return };
        let Some(committed) = log.mark_at(latest.min(peer.next.previous())) else { return };
        peer.told_committed = committed.slot;
        peer.say(to, Ticket::NONE, LeaderWord::UpToDate { committed }, out);
    }

    /// Rule 11 at the follower: it may deliver.
    pub(crate) fn take_up_to_date(&mut self, committed: Mark, out: &mut Outbox<Broadcast>) {
        if !self.log.has(committed) && committed.slot > self.log.base().slot {
            return self.reconnect("what is committed is not in its history", out);
        }
        let Position::Following(following) = &mut self.position else { return };
        following.stage = Stage::Broadcasting;
        let (leader, through) = (following.leader, committed.slot.max(following.heard_commit));
        out.trace(|| Event::allowed(&rules::UP_TO_DATE).with("leader", leader).with("slot", through));
        self.committed = self.committed.max(through);
    }
}
