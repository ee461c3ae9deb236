//! Leading handed to somebody named, on request.
//!
//! From then on the leader takes no proposals and has no lease, for the rest of its ballot; or under steady writes its heir would always lack the
//! last of them. When the heir has everything it is asked to stand, and again with every heartbeat: the word may be lost. An heir that
//! does not lead within T is given up, and the leader goes on; the word may be under way even then, and depose it later.

use crate::leading::why;
use crate::message::Message;
use crate::replica::{Ballots, Position, Timer};
use crate::rules;
use quorate_protocol::{Event, Outbox, Refusal, Refused, RequestId, TRANSFER_IN_VAIN};
use quorate_succession::Heir;
use quorate_types::NodeId;

/// Why a leader takes no proposals for now.
pub(crate) const UNDER_WAY: &str = "leadership is being handed over";

/// Leadership on its way to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Handover {
    pub(crate) request: RequestId,
    pub(crate) to: NodeId,
    /// It was asked to stand since the last heartbeat.
    pub(crate) told: bool,
}

impl Ballots {
    pub(crate) fn transfer(&mut self, request: RequestId, to: NodeId, out: &mut Outbox<Ballots>) {
        if let Err(refusal) = self.judge_heir(to) {
            out.trace(|| Event::refused(&rules::TRANSFER).with("to", to).with("why", why(&refusal)));
            return out.refuse(Refused::Request(request), refusal);
        }
        if let Position::Leader(leadership) = &mut self.position {
            leadership.transfer = Some(Handover { request, to, told: false });
        }
        self.give_up_lease(out);
        out.trace(|| Event::waiting(&rules::TRANSFER).with("to", to));
        out.set_timer(Timer::Transfer, self.config.election_timeout, self.config.election_timeout);
    }

    fn judge_heir(&self, to: NodeId) -> Result<(), Refusal> {
        let Position::Leader(leadership) = &self.position else {
            return Err(Refusal::NotLeader { hint: self.leader });
        };
        let has_everything = leadership.peers.get(&to).is_some_and(|peer| peer.matched >= leadership.last);
        if to == self.me {
            Err(Refusal::Invalid("it leads already"))
        } else if !self.members.is_voter(to) {
            Err(Refusal::Invalid("only a voter can lead"))
        } else if leadership.transfer.is_some() {
            Err(Refusal::NotReady("leadership is being handed over already"))
        } else if leadership.stop_at.is_some() {
            Err(Refusal::NotReady("the members are being changed"))
        } else if !has_everything && !self.keeps_up(to) {
            // Nobody is to wait for one that is silent or far behind.
            Err(Refusal::NotReady("it does not keep up"))
        } else if self.quorums.phase1() > self.quorums.phase2() && self.answering() < self.quorums.phase1() {
            // This leader can go on with fewer than elect another one.
            Err(Refusal::NotReady("too few members answer to elect another leader"))
        } else {
            Ok(())
        }
    }

    /// At a leader: how many voters answered lately, itself among them.
    fn answering(&self) -> usize {
        let Position::Leader(leadership) = &self.position else { return 0 };
        let answers =
            |id: &NodeId| *id == self.me || leadership.peers.get(id).is_some_and(|peer| leadership.answers(peer));
        self.members.voters().filter(answers).count()
    }

    /// At each settle of a leader: its heir is asked to stand once it has everything.
    pub(crate) fn continue_transfer(&mut self, out: &mut Outbox<Ballots>) {
        let ballot = self.promised;
        let Position::Leader(leadership) = &mut self.position else { return };
        let Some(Handover { to, told, .. }) = &mut leadership.transfer else { return };
        let has_everything = leadership.peers.get(to).is_some_and(|peer| peer.matched >= leadership.last);
        if has_everything && !*told {
            *told = true;
            let to = *to;
            out.trace(|| Event::allowed(&rules::TRANSFER).with("to", to));
            out.send(to, Message::TakeOver { ballot });
        }
    }

    /// It leads on: who asked may ask again.
    pub(crate) fn transfer_failed(&mut self, out: &mut Outbox<Ballots>) {
        let Position::Leader(leadership) = &mut self.position else { return };
        let Some(Handover { request, to, .. }) = leadership.transfer.take() else { return };
        out.trace(|| Event::refused(&rules::TRANSFER).with("to", to).with("why", TRANSFER_IN_VAIN));
        out.refuse(Refused::Request(request), Refusal::NotReady(TRANSFER_IN_VAIN));
    }

    pub(crate) fn take_over(&mut self, from: NodeId, ballot: crate::ballot::Ballot, out: &mut Outbox<Ballots>) {
        if ballot == self.promised && ballot.node == from {
            self.campaign_now(Some(ballot), out);
        }
    }
}
