//! Handing leadership to somebody named. Phase 0 finds whoever has the best history, so that one is given the best.
//!
//! If that one keeps up, the leader takes no more proposals and appends a transaction that means nothing, which it sends to its heir
//! alone, behind whatever is under way to it: under steady writes something always is. When the heir has that durably, no other
//! follower's history is as good; the leader resigns, and votes for the heir instead of for itself. From there on everything is as
//! in any election: a vote is a hint, phase 1 makes sure, and the transaction is committed with the rest of the heir's initial
//! history. If the heir fails on the way, whoever looks again next votes for itself.

use crate::broadcast::why;
use crate::message::Vote;
use crate::replica::{Broadcast, Position};
use crate::rules;
use crate::zxid::Payload;
use quorate_protocol::{Event, Outbox, Refusal, Refused, RequestId, TRANSFER_IN_VAIN};
use quorate_succession::Heir;
use quorate_types::{NodeId, Slot};

/// Leadership on its way to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Handover {
    pub(crate) request: RequestId,
    pub(crate) to: NodeId,
    /// What only the heir gets.
    pub(crate) at: Slot,
    /// So many ticks later it is given up.
    pub(crate) ticks_left: u32,
}

impl Broadcast {
    pub(crate) fn transfer(&mut self, request: RequestId, to: NodeId, out: &mut Outbox<Broadcast>) {
        if let Err(refusal) = self.judge_heir(to) {
            out.trace(|| Event::refused(&rules::HAND_OVER).with("to", to).with("why", why(&refusal)));
            return out.refuse(Refused::Request(request), refusal);
        }
        let (at, ticks_left) = (self.log.last().slot.next(), self.config.sync_limit_ticks);
        if let Position::Leading(leadership) = &mut self.position {
            leadership.handover = Some(Handover { request, to, at, ticks_left });
        }
        out.trace(|| Event::waiting(&rules::HAND_OVER).with("to", to));
        self.append(Payload::Nothing, out);
    }

    fn judge_heir(&self, to: NodeId) -> Result<(), Refusal> {
        let Some(leadership) = self.established() else { return Err(Refusal::NotLeader { hint: self.leader() }) };
        let has_everything = leadership.peers.get(&to).is_some_and(|peer| peer.matched >= self.log.last().slot);
        if to == self.me {
            Err(Refusal::Invalid("it leads already"))
        } else if !self.members.is_voter(to) {
            Err(Refusal::Invalid("only a voter can lead"))
        } else if leadership.handover.is_some() {
            Err(Refusal::NotReady("leadership is being handed over already"))
        } else if leadership.stop_at.is_some() {
            Err(Refusal::NotReady("the members are being changed"))
        } else if leadership.counter >= self.config.counter_most {
            Err(Refusal::NotReady("this epoch has no zxid left, and a new one is about to begin"))
        } else if !has_everything && !self.keeps_up(to) {
            // Nobody is to wait for one that is silent or far behind.
            Err(Refusal::NotReady("it does not keep up"))
        } else {
            Ok(())
        }
    }

    /// The heir has the better history: the lead is its to take.
    pub(crate) fn hand_over(&mut self, out: &mut Outbox<Broadcast>) {
        let Some(leadership) = self.established() else { return };
        let Some(Handover { to, at, .. }) = leadership.handover else { return };
        if leadership.peers.get(&to).is_some_and(|peer| peer.matched >= at) {
            out.trace(|| Event::allowed(&rules::HAND_OVER).with("to", to));
            self.look_for(Some(to), "it hands over", out);
        }
    }

    /// At each tick of a leader.
    pub(crate) fn handover_due(&mut self, out: &mut Outbox<Broadcast>) {
        let Position::Leading(leadership) = &mut self.position else { return };
        let Some(handover) = &mut leadership.handover else { return };
        handover.ticks_left = handover.ticks_left.saturating_sub(1);
        if handover.ticks_left == 0 {
            self.end_handover(out);
        }
    }

    /// It leads on, or not at all: who asked may ask again.
    pub(crate) fn end_handover(&mut self, out: &mut Outbox<Broadcast>) {
        let Position::Leading(leadership) = &mut self.position else { return };
        let Some(Handover { request, to, .. }) = leadership.handover.take() else { return };
        out.trace(|| Event::refused(&rules::HAND_OVER).with("to", to).with("why", TRANSFER_IN_VAIN));
        out.refuse(Refused::Request(request), Refusal::NotReady(TRANSFER_IN_VAIN));
    }

    /// What a node votes for that nobody has told anything yet: itself, or its heir, whose history it knows to be as good.
    pub(crate) fn first_vote(&self) -> Option<Vote> {
        let candidate = match &self.position {
            Position::Looking(election) => election.heir.unwrap_or(self.me),
            Position::Following(_) | Position::Leading(_) => self.me,
        };
        let vote = Vote { current_epoch: self.current_epoch, last: self.log.last().zxid, candidate };
        // A member that does not vote has none.
        self.is_voter().then_some(vote)
    }
}
