//! Linearizable reads: a sync through the leader. It notes what is committed, and has a quorum answer a ping that was sent afterwards: no
//! later epoch was established before, so nothing is committed that it does not know.

use crate::message::Message;
use crate::replica::{Broadcast, Position, Timer};
use crate::rules;
use quorate_protocol::{Event, Outbox, ReadToken, Refusal, Refused};
use quorate_types::{NodeId, Slot};

/// A read and the node that will serve it.
pub(crate) type WaitingRead = (ReadToken, NodeId);

/// Reads at the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct WaitingReads {
    /// They came since the last round began.
    pub(crate) held: Vec<WaitingRead>,
    /// They wait for this round to be confirmed, and may then be read at this slot.
    pub(crate) confirming: Option<(u64, Slot, Vec<WaitingRead>)>,
}

impl WaitingReads {
    fn all(&self) -> impl Iterator<Item = &WaitingRead> {
        self.held.iter().chain(self.confirming.iter().flat_map(|(_, _, reads)| reads))
    }
}

impl Broadcast {
    pub(crate) fn read(&mut self, token: ReadToken, out: &mut Outbox<Broadcast>) {
        if self.established().is_some() {
            return self.hold_read((token, self.me), out);
        }
        let Some(leader) = self.leader().filter(|leader| *leader != self.me) else {
            return refuse_read(token, Refusal::NotLeader { hint: None }, "no leader is known", out);
        };
        if self.asked_reads.len() >= self.config.waiting_reads {
            return refuse_read(token, Refusal::Overloaded, "too many reads wait", out);
        }
        if self.asked_reads.is_empty() {
            self.set_read_retry(out);
        }
        self.asked_reads.insert(token);
        out.trace(|| Event::waiting(&rules::READ).with("token", words(token)).with("why", "the leader is asked"));
        out.send(leader, Message::ReadIndex { token });
    }

    fn set_read_retry(&self, out: &mut Outbox<Broadcast>) {
        out.set_timer(Timer::ReadRetry, self.config.read_retry_interval, self.config.read_retry_interval);
    }

    pub(crate) fn retry_reads(&mut self, out: &mut Outbox<Broadcast>) {
        let (Some(leader), Some(newest)) = (self.leader(), self.asked_reads.last().copied()) else { return };
        out.send(leader, Message::ReadIndex { token: newest });
        self.set_read_retry(out);
    }

    pub(crate) fn read_asked(&mut self, from: NodeId, token: ReadToken, out: &mut Outbox<Broadcast>) {
        match self.established() {
            Some(leadership) if leadership.reads.all().any(|(waiting, _)| *waiting == token) => {}
            Some(_) => self.hold_read((token, from), out),
            None => out.send(from, Message::ReadAnswer { token, slot: None }),
        }
    }

    fn hold_read(&mut self, (token, reader): WaitingRead, out: &mut Outbox<Broadcast>) {
        let me = self.me;
        let Position::Leading(leadership) = &mut self.position else { return };
        let refusal = if leadership.stop_at.is_some() {
            Some((Refusal::NotReady("the members are being changed"), "a stop-sign is under way"))
        } else if leadership.reads.all().count() >= self.config.waiting_reads {
            Some((Refusal::Overloaded, "too many reads wait"))
        } else {
            None
        };
        match refusal {
            None => leadership.reads.held.push((token, reader)),
            Some((refusal, why)) if reader == me => refuse_read(token, refusal, why, out),
            Some((_, why)) => {
                out.trace(|| Event::refused(&rules::READ).with("token", words(token)).with("why", why));
                out.send(reader, Message::ReadAnswer { token, slot: None });
            }
        }
    }

    /// Releases what is confirmed, and begins a round for what came since.
    pub(crate) fn serve_reads(&mut self, out: &mut Outbox<Broadcast>) {
        self.release_reads(out);
        let committed = self.committed;
        let Position::Leading(leadership) = &mut self.position else { return };
        if leadership.reads.held.is_empty() || leadership.reads.confirming.is_some() {
            return;
        }
        let reads = std::mem::take(&mut leadership.reads.held);
        leadership.reads.confirming = Some((leadership.round + 1, committed, reads));
        self.ping(out);
        self.release_reads(out);
    }

    fn release_reads(&mut self, out: &mut Outbox<Broadcast>) {
        let (me, needed) = (self.me, self.members.voters().count() / 2 + 1);
        let Position::Leading(leadership) = &mut self.position else { return };
        let Some((round, slot, reads)) = leadership.reads.confirming.take() else { return };
        let confirmed =
            |id: &NodeId| *id == me || leadership.peers.get(id).is_some_and(|peer| peer.answered_round >= round);
        let votes: Vec<NodeId> = self.members.voters().filter(confirmed).collect();
        if votes.len() < needed {
            leadership.reads.confirming = Some((round, slot, reads));
            return;
        }
        out.trace(|| Event::allowed(&rules::READ).with("slot", slot).votes(votes));
        for (token, reader) in reads {
            match reader == me {
                true => out.read_at(token, slot),
                false => out.send(reader, Message::ReadAnswer { token, slot: Some(slot) }),
            }
        }
    }

    /// An answer serves every read asked before the one it names.
    pub(crate) fn read_answered(
        &mut self,
        from: NodeId,
        token: ReadToken,
        slot: Option<Slot>,
        out: &mut Outbox<Broadcast>,
    ) {
        if !self.asked_reads.contains(&token) {
            return;
        }
        let later = self.asked_reads.split_off(&token);
        let mut answered = std::mem::replace(&mut self.asked_reads, later);
        answered.extend(self.asked_reads.take(&token));
        if self.asked_reads.is_empty() {
            out.cancel_timer(Timer::ReadRetry);
        }
        out.trace(|| Event::allowed(&rules::READ_ANSWER).with("leader", from).with("token", words(token)));
        for token in answered {
            match slot {
                Some(slot) => out.read_at(token, slot),
                None => refuse_read(token, Refusal::LeaderChanged, "the one asked cannot say", out),
            }
        }
    }

    /// Reads that waited at a leader that leads no more.
    pub(crate) fn fail_reads(&mut self, reads: WaitingReads, out: &mut Outbox<Broadcast>) {
        for (token, reader) in reads.all().copied() {
            match reader == self.me {
                true => refuse_read(token, Refusal::LeaderChanged, "it no longer leads", out),
                false => out.send(reader, Message::ReadAnswer { token, slot: None }),
            }
        }
    }

    /// Reads that a leader was asked about which leads no more.
    pub(crate) fn fail_asked_reads(&mut self, out: &mut Outbox<Broadcast>) {
        if self.asked_reads.is_empty() {
            return;
        }
        out.cancel_timer(Timer::ReadRetry);
        for token in std::mem::take(&mut self.asked_reads) {
            refuse_read(token, Refusal::LeaderChanged, "the leader it was forwarded to leads no more", out);
        }
    }
}

fn refuse_read(token: ReadToken, refusal: Refusal, why: &'static str, out: &mut Outbox<Broadcast>) {
    out.trace(|| Event::refused(&rules::READ).with("token", words(token)).with("why", why));
    out.refuse(Refused::Read(token), refusal);
}

/// A token as people read it: node, incarnation, number.
fn words(token: ReadToken) -> String {
    format!("{}/{}/{}", token.node, token.incarnation.0, token.number)
}
