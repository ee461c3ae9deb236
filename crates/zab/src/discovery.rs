//! Phase 1, discovery: a quorum promises an epoch above all it has promised, to a leader whose history is the best among it.

use crate::following::Stage;
use crate::leading::{LeaderStage, PeerStage};
use crate::message::{FollowerWord, LeaderWord};
use crate::record::Record;
use crate::replica::{Broadcast, Claim, Position};
use crate::rules;
use crate::zxid::Mark;
use quorate_protocol::{Event, Outbox};
use quorate_types::{NodeId, Ticket};

impl Broadcast {
    /// Rule 5 at the leader: who promised a later epoch than this leader's can never follow it, but may follow its next one.
    pub(crate) fn follower_connected(&mut self, from: NodeId, out: &mut Outbox<Broadcast>) {
        let (epoch, after) = (self.accepted_epoch, self.promise_ticket());
        let Position::Leading(leadership) = &mut self.position else { return };
        if leadership.stage == LeaderStage::Discovering {
            return;
        }
        let Some(peer) = leadership.peers.get_mut(&from) else { return };
        if peer.accepted_epoch > epoch {
            return self.look("a follower has promised a later epoch", out);
        }
        peer.stage = PeerStage::Asked;
        peer.say(from, after, LeaderWord::NewEpoch { epoch }, out);
    }

    /// The write of this leader's own promise, while under way.
    pub(crate) fn promise_ticket(&self) -> Ticket {
        self.pending.ticket_of(|claim| matches!(claim, Claim::Accepted(_))).unwrap_or(Ticket::NONE)
    }

    /// Rule 6: an epoch above all that a quorum has promised.
    pub(crate) fn propose_epoch(&mut self, out: &mut Outbox<Broadcast>) {
        let Position::Leading(leadership) = &self.position else { return };
        if leadership.stage != LeaderStage::Discovering {
            return;
        }
        let votes: Vec<NodeId> =
            self.members.voters().filter(|id| *id == self.me || leadership.peers.contains_key(id)).collect();
        if !self.is_quorum(votes.len()) {
            return;
        }
        let promised = leadership.peers.values().map(|peer| peer.accepted_epoch);
        let Some(epoch) = promised.fold(self.accepted_epoch, u32::max).checked_add(1) else {
            return self.look("there is no later epoch", out);
        };
        out.trace(|| Event::allowed(&rules::NEW_EPOCH).with("epoch", u64::from(epoch)).votes(votes));
        let ticket = self.save_promise(epoch, out);
        let Position::Leading(leadership) = &mut self.position else { return };
        leadership.stage = LeaderStage::Electing;
        for (id, peer) in &mut leadership.peers {
            peer.stage = PeerStage::Asked;
            peer.say(*id, ticket, LeaderWord::NewEpoch { epoch }, out);
        }
    }

    fn save_promise(&mut self, epoch: u32, out: &mut Outbox<Broadcast>) -> Ticket {
        self.accepted_epoch = epoch;
        let ticket = out.persist(vec![Record::AcceptedEpoch(epoch)]);
        self.pending.push(ticket, Claim::Accepted(epoch));
        ticket
    }

    /// Rule 7.
    pub(crate) fn promise_epoch(&mut self, epoch: u32, out: &mut Outbox<Broadcast>) {
        let Some(leader) = self.leader() else { return };
        let promised = self.accepted_epoch;
        if epoch < promised {
            out.trace(|| {
                let event = Event::refused(&rules::PROMISE).with("leader", leader).with("epoch", u64::from(epoch));
                event.with("promised", u64::from(promised))
            });
            return self.look("its leader's epoch is earlier than one it has promised", out);
        }
        let counts = epoch > promised;
        out.trace(|| {
            let event = if counts { Event::allowed(&rules::PROMISE) } else { Event::waiting(&rules::PROMISE) };
            event.with("leader", leader).with("epoch", u64::from(epoch))
        });
        if counts {
            self.save_promise(epoch, out);
        }
        self.set_stage(Stage::Promised { counts });
        self.ask_again(out);
    }

    /// The epoch and the history it speaks of are durable first.
    pub(crate) fn acknowledge_epoch(&mut self, counts: bool, out: &mut Outbox<Broadcast>) {
        let (epoch, current_epoch, last) = (self.accepted_epoch, self.current_epoch, self.log.last());
        self.answer(out.last_ticket(), FollowerWord::AckEpoch { epoch, current_epoch, last, counts }, out);
    }

    /// Rule 8: among the quorum that is being formed nobody has a better history. Whoever joins later is not compared.
    pub(crate) fn epoch_acknowledged(
        &mut self,
        from: NodeId,
        epoch: u32,
        (current_epoch, last): (u32, Mark),
        counts: bool,
        out: &mut Outbox<Broadcast>,
    ) {
        let (accepted, own) = (self.accepted_epoch, (self.current_epoch, self.log.last().zxid));
        let is_voter = self.members.is_voter(from);
        let Position::Leading(leadership) = &mut self.position else { return };
        let forming = leadership.stage == LeaderStage::Electing;
        let Some(peer) = leadership.peers.get_mut(&from) else { return };
        if epoch != accepted || peer.stage != PeerStage::Asked {
            return;
        }
        if forming && counts && is_voter && (current_epoch, last.zxid) > own {
            return self.look("a follower has a better history", out);
        }
        peer.last = last;
        peer.stage = PeerStage::Promised { counts };
    }

    /// Rule 8: a quorum promised, this leader durably among it.
    pub(crate) fn win_epoch(&mut self, out: &mut Outbox<Broadcast>) {
        let own = self.promise_ticket() == Ticket::NONE;
        let Position::Leading(leadership) = &self.position else { return };
        if leadership.stage != LeaderStage::Electing {
            return;
        }
        let promised = |id: &NodeId| match leadership.peers.get(id) {
            Some(peer) => peer.stage == PeerStage::Promised { counts: true },
            None => *id == self.me && own,
        };
        let votes: Vec<NodeId> = self.members.voters().filter(promised).collect();
        if !self.is_quorum(votes.len()) {
            return;
        }
        let epoch = self.accepted_epoch;
        out.trace(|| Event::allowed(&rules::ELECTED).with("epoch", u64::from(epoch)).votes(votes));
        self.take_epoch(epoch, out);
        if let Position::Leading(leadership) = &mut self.position {
            leadership.stage = LeaderStage::Recording;
        }
    }

    /// The history here is that of this epoch's leader.
    pub(crate) fn take_epoch(&mut self, epoch: u32, out: &mut Outbox<Broadcast>) -> Ticket {
        self.current_epoch = epoch;
        let ticket = out.persist(vec![Record::CurrentEpoch(epoch)]);
        self.pending.push(ticket, Claim::Current(epoch));
        ticket
    }
}
