//! Linearizable reads without a log entry.
//!
//! The paper has the primary answer reads alone under a lease (section 6.3). Here it asks: once everything that its view began
//! with is committed, it notes its commit mark, has q others answer, in a round begun afterwards, that the view is still theirs,
//! and releases the read at that mark. A backup forwards the read's token and asks again until it is answered. Whoever answers a
//! round was in this view when it did, so no later view had begun with q + 1 members when the read came, and no later epoch: only
//! who knows the reconfiguration committed begins one, and the first to know is this view's primary.

use crate::message::Message;
use crate::replica::{Stage, Timer, Viewstamped};
use crate::rules;
use crate::view::View;
use quorate_protocol::{Event, Outbox, ReadToken, Refusal, Refused};
use quorate_types::{NodeId, Slot};
use std::collections::VecDeque;

/// A read and the node that will serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WaitingRead {
    pub(crate) token: ReadToken,
    pub(crate) reader: NodeId,
}

/// Reads at the primary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct WaitingReads {
    /// They came since the last round began, or before the commit mark was up to date.
    pub(crate) held: Vec<WaitingRead>,
    /// They wait for a quorum to answer their round. Rounds ascend.
    pub(crate) confirming: VecDeque<Confirming>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Confirming {
    pub(crate) round: u64,
    /// The commit mark when the round began.
    pub(crate) slot: Slot,
    pub(crate) reads: Vec<WaitingRead>,
}

impl WaitingReads {
    fn all(self) -> impl Iterator<Item = WaitingRead> {
        self.held.into_iter().chain(self.confirming.into_iter().flat_map(|confirming| confirming.reads))
    }

    fn knows(&self, token: ReadToken) -> bool {
        let confirming = self.confirming.iter().flat_map(|confirming| &confirming.reads);
        self.held.iter().chain(confirming).any(|read| read.token == token)
    }

    fn count(&self) -> usize {
        self.held.len() + self.confirming.iter().map(|confirming| confirming.reads.len()).sum::<usize>()
    }
}

impl Viewstamped {
    pub(crate) fn read(&mut self, token: ReadToken, out: &mut Outbox<Viewstamped>) {
        if self.is_primary() {
            return self.hold_read(WaitingRead { token, reader: self.me }, out);
        }
        let Some(primary) = self.primary() else {
            return refuse_read(token, Refusal::NotLeader { hint: None }, "no primary is known", out);
        };
        if self.asked_reads.len() >= self.config.waiting_reads {
            return refuse_read(token, Refusal::Overloaded, "too many reads wait", out);
        }
        if self.asked_reads.is_empty() {
            let interval = self.config.read_retry_interval;
            out.set_timer(Timer::ReadRetry, interval, interval);
        }
        self.asked_reads.insert(token);
        self.ask_primary(primary, token, out);
    }

    fn ask_primary(&self, primary: NodeId, token: ReadToken, out: &mut Outbox<Viewstamped>) {
        out.trace(|| Event::waiting(&rules::READ_FORWARD).with("primary", primary).with("token", words(token)));
        self.send(primary, Message::ReadIndex { view: self.view, token }, out);
    }

    /// The newest read that waits is asked again; its answer serves the earlier ones too.
    pub(crate) fn retry_reads(&mut self, out: &mut Outbox<Viewstamped>) {
        let (Some(primary), Some(newest)) = (self.primary(), self.asked_reads.last().copied()) else {
            return self.drop_timer(Timer::ReadRetry, "no read waits", out);
        };
        self.ask_primary(primary, newest, out);
        let interval = self.config.read_retry_interval;
        out.set_timer(Timer::ReadRetry, interval, interval);
    }

    pub(crate) fn read_asked(&mut self, from: NodeId, view: View, token: ReadToken, out: &mut Outbox<Viewstamped>) {
        match &self.stage {
            Stage::Primary(leadership) if leadership.reads.knows(token) => {
                let why = "it waits already";
                out.trace(|| Event::waiting(&rules::READ).with("token", words(token)).with("why", why));
            }
            Stage::Primary(_) => self.hold_read(WaitingRead { token, reader: from }, out),
            _ => {
                out.trace(|| Event::refused(&rules::READ).with("token", words(token)).with("why", "it does not lead"));
                self.send(from, Message::ReadIndexResponse { view, token, slot: None }, out);
            }
        }
    }

    fn hold_read(&mut self, read: WaitingRead, out: &mut Outbox<Viewstamped>) {
        let (token, commit, most) = (read.token, self.commit, self.config.waiting_reads);
        let own = read.reader == self.me;
        let Stage::Primary(leadership) = &mut self.stage else { return };
        if leadership.reads.count() >= most {
            if own {
                refuse_read(token, Refusal::Overloaded, "too many reads wait", out);
            }
            return;
        }
        leadership.reads.held.push(read);
        let why = if commit < leadership.inherited {
            "what this view began with is not committed yet, so the commit mark may be out of date"
        } else {
            "q others must confirm that the view is still theirs"
        };
        out.trace(|| Event::waiting(&rules::READ).with("token", words(token)).with("why", why));
    }

    /// Begins one round for all reads that wait, once the commit mark is up to date. None while the epoch is ending.
    pub(crate) fn start_read_round(&mut self, out: &mut Outbox<Viewstamped>) {
        let (commit, closing) = (self.commit, self.is_closing());
        let Stage::Primary(leadership) = &mut self.stage else { return };
        if leadership.reads.held.is_empty() || commit < leadership.inherited || closing {
            return;
        }
        leadership.round += 1;
        let reads = std::mem::take(&mut leadership.reads.held);
        leadership.reads.confirming.push_back(Confirming { round: leadership.round, slot: commit, reads });
        self.release_reads(out);
    }

    pub(crate) fn release_reads(&mut self, out: &mut Outbox<Viewstamped>) {
        let (me, quorum) = (self.me, self.configuration.quorum());
        let Stage::Primary(leadership) = &mut self.stage else { return };
        if leadership.reads.confirming.is_empty() {
            return;
        }
        let confirmed = quorum.agreed_value(|id| leadership.answered_round(me, id));
        let mut released = Vec::new();
        while leadership.reads.confirming.front().is_some_and(|front| front.round <= confirmed) {
            let Some(front) = leadership.reads.confirming.pop_front() else { break };
            let answered = |id: &NodeId| leadership.answered_round(me, *id) >= front.round;
            let votes: Vec<NodeId> = quorum.voters().filter(answered).collect();
            released.push((front, votes));
        }
        for (front, votes) in released {
            for read in front.reads {
                let votes = votes.clone();
                out.trace(|| {
                    let event = Event::allowed(&rules::READ).with("token", words(read.token));
                    event.with("slot", front.slot).with("view", self.view.to_string()).votes(votes)
                });
                self.answer_read(read, Some(front.slot), out);
            }
        }
    }

    fn answer_read(&self, read: WaitingRead, slot: Option<Slot>, out: &mut Outbox<Viewstamped>) {
        match slot {
            Some(slot) if read.reader == self.me => out.read_at(read.token, slot),
            None if read.reader == self.me => {
                refuse_read(read.token, Refusal::LeaderChanged, "it leads no more", out);
            }
            slot => {
                self.send(read.reader, Message::ReadIndexResponse { view: self.view, token: read.token, slot }, out);
            }
        }
    }

    pub(crate) fn read_answered(
        &mut self,
        from: NodeId,
        view: View,
        token: ReadToken,
        slot: Option<Slot>,
        out: &mut Outbox<Viewstamped>,
    ) {
        let why = if view != self.view || self.primary() != Some(from) {
            Some("it is not from the present primary")
        } else if !self.asked_reads.contains(&token) {
            Some("the read does not wait for it")
        } else {
            None
        };
        if let Some(why) = why {
            return out.trace(|| Event::refused(&rules::READ_FORWARD).with("token", words(token)).with("why", why));
        }
        // Tokens ascend in the order reads came here, and the primary noted its mark after this one was asked.
        let later = self.asked_reads.split_off(&token);
        let mut answered = std::mem::replace(&mut self.asked_reads, later);
        answered.extend(self.asked_reads.take(&token));
        if self.asked_reads.is_empty() {
            out.cancel_timer(Timer::ReadRetry);
        }
        for token in answered {
            let Some(slot) = slot else {
                refuse_read(token, Refusal::LeaderChanged, "the one asked leads no more", out);
                continue;
            };
            out.trace(|| {
                let event = Event::allowed(&rules::READ_FORWARD).with("primary", from).with("slot", slot);
                event.with("token", words(token))
            });
            out.read_at(token, slot);
        }
    }

    /// Reads that waited at a primary that is none any more.
    pub(crate) fn fail_reads(&self, reads: WaitingReads, out: &mut Outbox<Viewstamped>) {
        for read in reads.all() {
            self.answer_read(read, None, out);
        }
    }

    /// Reads of this node that waited for a primary that is none any more.
    pub(crate) fn fail_asked_reads(&mut self, out: &mut Outbox<Viewstamped>) {
        if self.asked_reads.is_empty() {
            return;
        }
        out.cancel_timer(Timer::ReadRetry);
        for token in std::mem::take(&mut self.asked_reads) {
            refuse_read(token, Refusal::LeaderChanged, "the view it was forwarded in is over", out);
        }
    }
}

fn refuse_read(token: ReadToken, refusal: Refusal, why: &'static str, out: &mut Outbox<Viewstamped>) {
    out.trace(|| Event::refused(&rules::READ).with("token", words(token)).with("why", why));
    out.refuse(Refused::Read(token), refusal);
}

/// A token as people read it: node, incarnation, number.
fn words(token: ReadToken) -> String {
    format!("{}/{}/{}", token.node, token.incarnation.0, token.number)
}
