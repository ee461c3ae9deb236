//! Phase 3, broadcast: transactions in order, from the leader of an established epoch; and how histories get to followers in any phase.

use crate::following::Stage;
use crate::leading::{LeaderStage, PeerStage};
use crate::message::{FollowerWord, LeaderWord};
use crate::record::Record;
use crate::replica::{Broadcast, Claim, Position, drop_message};
use crate::rules;
use crate::zxid::{Mark, Payload, Txn, Zxid};
use bytes::Bytes;
use quorate_protocol::{Event, Outbox, Refusal, Refused, RequestId};
use quorate_types::{NodeId, Slot, Ticket};

impl Broadcast {
    pub(crate) fn propose(&mut self, request: RequestId, commands: Bytes, out: &mut Outbox<Broadcast>) {
        let undecided = self.log.undecided_bytes();
        let refusal = match self.established() {
            Some(leadership) if leadership.stop_at.is_some() => {
                Some(Refusal::NotReady("the members are being changed"))
            }
            Some(leadership) if leadership.handover.is_some() => {
                Some(Refusal::NotReady("leadership is being handed over"))
            }
            Some(leadership) if leadership.counter >= self.config.counter_most => {
                Some(Refusal::NotReady("this epoch has no zxid left, and a new one is about to begin"))
            }
            // What is greater than the whole budget still gets its turn: when nothing else is undecided.
            Some(_) if undecided > 0 && undecided + commands.len() as u64 > self.config.undecided_bytes => {
                Some(Refusal::Overloaded)
            }
            Some(_) => None,
            None if self.leader() == Some(self.me) => Some(Refusal::NotReady("its epoch is not established yet")),
            None => Some(Refusal::NotLeader { hint: self.leader() }),
        };
        match refusal {
            Some(refusal) => {
                out.trace(|| Event::refused(&rules::PROPOSE).with("why", why(&refusal)));
                out.refuse(Refused::Request(request), refusal);
            }
            None => self.append(Payload::Command(commands), out),
        }
    }

    /// Rule 12: the next counter. The leader's own write goes on while messages travel.
    pub(crate) fn append(&mut self, payload: Payload, out: &mut Outbox<Broadcast>) {
        let epoch = self.accepted_epoch;
        let Position::Leading(leadership) = &mut self.position else { return };
        leadership.counter += 1;
        let zxid = Zxid { epoch, counter: leadership.counter };
        let slot = self.log.last().slot.next();
        out.trace(|| Event::allowed(&rules::PROPOSE).with("zxid", zxid.to_string()).with("slot", slot));
        self.write_txns(slot, vec![Txn { zxid, payload }], out);
    }

    fn write_txns(&mut self, first: Slot, txns: Vec<Txn>, out: &mut Outbox<Broadcast>) -> Ticket {
        let ticket = out.persist(vec![Record::Txns { first, txns: txns.clone() }]);
        for txn in txns {
            self.log.append(txn, ticket);
        }
        self.pending.push(ticket, Claim::History(self.log.last().slot));
        ticket
    }

    /// Rule 13: the next zxid only; what is here already is dropped. Before NEWLEADER is acknowledged nothing else is.
    pub(crate) fn accept(&mut self, first: Slot, txns: Vec<Txn>, out: &mut Outbox<Broadcast>) {
        let mut last = self.log.last();
        let mut new = Vec::new();
        for (offset, txn) in txns.into_iter().enumerate() {
            let mark = Mark { slot: Slot(first.0.saturating_add(offset as u64)), zxid: txn.zxid };
            if self.log.has(mark) {
                continue;
            }
            let follows = Some(mark.slot.0) == last.slot.0.checked_add(1) && last.zxid.is_followed_by(mark.zxid);
            if !follows || mark.zxid.epoch > self.accepted_epoch || self.ends_with_stop(&new) {
                return self.reconnect("a proposal is not the next", out);
            }
            last = mark;
            new.push(txn);
        }
        let ticket = match new.is_empty() {
            true => out.last_ticket(),
            false => self.write_txns(Slot(last.slot.0 + 1 - new.len() as u64), new, out),
        };
        let epoch = self.accepted_epoch;
        if self.stage() == Some(Stage::Synchronising) {
            return self.answer(Ticket::NONE, FollowerWord::Received { through: last.slot }, out);
        }
        out.trace(|| Event::allowed(&rules::ACCEPT).with("last", last.to_string()).with("epoch", u64::from(epoch)));
        self.answer(ticket, FollowerWord::Ack { epoch, through: last }, out);
    }

    /// Whether the history, with these behind it, ends with a stop-sign: nothing may follow.
    fn ends_with_stop(&self, new: &[Txn]) -> bool {
        let end = new.last().or_else(|| self.log.get(self.log.last().slot));
        end.is_some_and(|txn| txn.payload.is_stop())
    }

    /// ACK(NEWLEADER) or ACK(zxid), of this connection: with the first the follower has taken this history, and each later one came
    /// behind it in the follower's one stream of writes.
    pub(crate) fn acknowledged_by(&mut self, from: NodeId, epoch: u32, through: Mark, out: &mut Outbox<Broadcast>) {
        let (accepted, in_history) = (self.accepted_epoch, self.log.has(through));
        let Position::Leading(leadership) = &mut self.position else { return };
        let established = leadership.stage == LeaderStage::Broadcasting;
        let Some(peer) = leadership.peers.get_mut(&from) else { return };
        let too_early = !matches!(peer.stage, PeerStage::Offered | PeerStage::Synchronised);
        if epoch != accepted || too_early || !in_history || through.slot >= peer.next {
            return drop_message("acknowledgement", from, "it is of no history that is sent there", out);
        }
        peer.matched = peer.matched.max(through.slot);
        peer.received = peer.received.max(through.slot);
        if peer.stage == PeerStage::Offered {
            peer.stage = PeerStage::Synchronised;
            if established {
                self.say_up_to_date(from, out);
            }
        }
    }

    /// Rule 14: a quorum has it durably, and everything before it.
    pub(crate) fn commit(&mut self, out: &mut Outbox<Broadcast>) {
        let Some(leadership) = self.established() else { return };
        let of = |id: NodeId| match id == self.me {
            true => self.flushed,
            false => leadership.peers.get(&id).map_or(Slot::ZERO, |peer| peer.matched),
        };
        let mut reached: Vec<Slot> = self.members.voters().map(of).collect();
        reached.sort_unstable_by(|one, other| other.cmp(one));
        let Some(through) = reached.get(reached.len() / 2).copied() else { return };
        let others = self.members.others(self.me).map(of);
        let everyone = others.chain([self.flushed]).min().unwrap_or(Slot::ZERO);
        if through > self.committed {
            let votes: Vec<NodeId> = self.members.voters().filter(|id| of(*id) >= through).collect();
            out.trace(|| Event::allowed(&rules::COMMIT).with("slot", through).votes(votes));
            self.committed = through;
        }
        self.everyone_has = self.everyone_has.max(everyone.min(self.committed));
    }

    /// Rules 9 and 12: what a follower lacks, in order; at most one message for each. Who has caught up is offered the epoch.
    pub(crate) fn send_proposals(&mut self, out: &mut Outbox<Broadcast>) {
        let (log, config, epoch) = (&self.log, &self.config, self.accepted_epoch);
        let Position::Leading(leadership) = &mut self.position else { return };
        let handover = leadership.handover;
        for (id, peer) in &mut leadership.peers {
            let withheld = handover.is_some_and(|handover| handover.to != *id && peer.next >= handover.at);
            if peer.stage < PeerStage::Synchronising || withheld {
                continue;
            }
            if peer.next <= log.base().slot {
                // What it lacks is no longer held: it was too slow.
                peer.stage = PeerStage::Snapshot;
                peer.say(*id, Ticket::NONE, LeaderWord::Snapshot, out);
                continue;
            }
            let under_way = peer.next.previous().0.saturating_sub(peer.received.0);
            if peer.next <= log.last().slot && under_way < config.window_entries {
                let (first, mut bytes, mut txns) = (peer.next, 0, Vec::new());
                for (_, txn) in log.from(first) {
                    let at = Slot(first.0 + txns.len() as u64);
                    let withheld = handover.is_some_and(|handover| handover.to != *id && at >= handover.at);
                    if txns.len() >= config.proposal_entries || bytes >= config.proposal_bytes || withheld {
                        break;
                    }
                    bytes += txn.bytes();
                    txns.push(txn.clone());
                }
                peer.next = Slot(first.0 + txns.len() as u64);
                peer.say(*id, Ticket::NONE, LeaderWord::Proposal { first, txns }, out);
            }
            if peer.stage == PeerStage::Synchronising && peer.next > log.last().slot {
                peer.stage = PeerStage::Offered;
                peer.say(*id, Ticket::NONE, LeaderWord::NewLeader { epoch }, out);
            }
        }
    }

    /// Rule 14: whoever was offered the epoch hears of commits. Before that, and before the epoch is established, nobody does: who
    /// applied what a leader only believes committed might have to undo it.
    pub(crate) fn send_commits(&mut self, out: &mut Outbox<Broadcast>) {
        let (log, committed) = (&self.log, self.committed);
        let Position::Leading(leadership) = &mut self.position else { return };
        if leadership.stage != LeaderStage::Broadcasting {
            return;
        }
        for (id, peer) in &mut leadership.peers {
            let through = committed.min(peer.next.previous());
            if peer.stage < PeerStage::Offered || through <= peer.told_committed {
                continue;
            }
            let Some(through) = log.mark_at(through) else { continue };
            peer.told_committed = through.slot;
            peer.say(*id, Ticket::NONE, LeaderWord::Commit { through }, out);
        }
    }

    /// COMMIT at a follower. Before UPTODATE it is only noted.
    pub(crate) fn hear_commit(&mut self, through: Mark, out: &mut Outbox<Broadcast>) {
        if !self.log.has(through) && through.slot > self.log.base().slot {
            return self.reconnect("what is committed is not in its history", out);
        }
        let Position::Following(following) = &mut self.position else { return };
        if following.stage == Stage::Broadcasting {
            self.learn(through.slot, out);
        } else {
            following.heard_commit = following.heard_commit.max(through.slot);
        }
    }

    /// Whoever has this in its history has everything up to it, and that is committed: no leader is needed to say so.
    pub(crate) fn learn_committed(&mut self, through: Mark, out: &mut Outbox<Broadcast>) {
        match self.log.has(through) {
            true => self.learn(through.slot, out),
            false => out.trace(|| Event::waiting(&rules::LEARN).with("last", through.to_string())),
        }
    }

    fn learn(&mut self, through: Slot, out: &mut Outbox<Broadcast>) {
        if through > self.committed {
            self.committed = through;
            out.trace(|| Event::allowed(&rules::LEARN).with("slot", through));
        }
    }

    /// Rule 12: the counter is used up, and everything with it is committed: a new epoch gives new zxids.
    pub(crate) fn renew_epoch(&mut self, out: &mut Outbox<Broadcast>) {
        let Some(leadership) = self.established() else { return };
        let used_up = leadership.counter >= self.config.counter_most && leadership.stop_at.is_none();
        if used_up && self.decided == self.log.last().slot {
            self.look("its epoch has no zxid left", out);
        }
    }
}

pub(crate) fn why(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotReady(why) | Refusal::Invalid(why) | Refusal::Unsupported(why) => why,
        Refusal::NotLeader { .. } => "it does not lead",
        Refusal::Overloaded => "too much is not committed",
        Refusal::LeaderChanged | Refusal::AlreadyDecided | Refusal::MembershipChanged => "it cannot now",
    }
}
