//! Linearizable reads without a slot, for every protocol in which somebody leads.
//!
//! A leader whose mark of what is decided is up to date notes that mark, has a quorum answer a round of questions begun afterwards
//! that it still leads, and releases the read at the mark: nobody else had led before the read came, so nothing was decided that
//! the mark does not cover. Others forward the read's token to the leader and ask again until it is answered. No clock is involved.
//!
//! Every settle with reads at hand begins a round for them at once, also while earlier ones are on their way: a read waits for one
//! round and no longer. Only with [`ReadLimits::rounds`] under way do reads wait for the next. Nothing repeats a lost round: whatever
//! sign of life the leader sends next is a later one, and its answers confirm all earlier ones.

use crate::read_queue::{Admission, AskedReads, ReadQueue, WaitingRead};
use crate::{Event, Outbox, ReadToken, Refusal, Refused, Replica, Rule, Verdict};
use quorate_types::{NodeId, Slot};
use std::time::Duration;

/// Bounds of what waits, from the protocol's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// So many reads may wait at a leader, and as many at a node for its leader's answer.
    pub waiting: usize,
    /// So many rounds may be under way for reads.
    pub rounds: usize,
    /// How often a node asks again for reads that got no answer.
    pub retry_interval: Duration,
}

/// What a protocol offers so that reads go by the rounds of its leader, and what it gets for that.
pub trait LedReads: Replica {
    /// Reads held, refused and released. Its sentences may use `token`, `slot`, `why` and what [`LedReads::in_era`] adds.
    const READ: &'static Rule;
    /// Reads asked about elsewhere. Its sentences may use `token`, `slot`, `leader` and `why`.
    const READ_FORWARD: &'static Rule;
    /// Asked reads are asked again.
    const READ_RETRY: Self::Timer;

    /// This node.
    fn node(&self) -> NodeId;
    /// From the settings.
    fn read_limits(&self) -> ReadLimits;
    /// Who leads, as far as it knows, itself included.
    fn read_leader(&self) -> Option<NodeId>;
    /// What this node asked its leader.
    fn asked_reads(&mut self) -> &mut AskedReads;
    /// The reads at this node, while it leads.
    fn led_reads(&mut self) -> Option<&mut ReadQueue>;
    /// At a leader: a slot such that everything that was ever decided before now is at it or below.
    ///
    /// # Errors
    /// Why it cannot say that yet, such as that what it inherited is not decided.
    fn read_mark(&self) -> Result<Slot, &'static str>;
    /// At a leader: begins a round. All who can confirm it will be asked, at once or at the latest when this settle ends.
    fn begin_read_round(&mut self, out: &mut Outbox<Self>);
    /// At a leader: the round that was begun last, for reads or anything else.
    fn last_round(&self) -> u64;
    /// At a leader: the latest round that so many have answered, in this leadership, that nobody else can lead by then.
    fn confirmed_round(&self) -> u64;
    /// At a leader: who answered this round or a later one, itself included, of those whose answers count.
    fn confirmed_by(&self, round: u64) -> Vec<NodeId>;
    /// Asks the leader about a read.
    fn send_read_question(&mut self, leader: NodeId, token: ReadToken, out: &mut Outbox<Self>);
    /// Answers a reader; without a slot: this node cannot say.
    fn send_read_answer(&mut self, reader: NodeId, token: ReadToken, slot: Option<Slot>, out: &mut Outbox<Self>);

    /// At a leader that takes no reads: what it says to them.
    fn refuses_reads(&self) -> Option<(Refusal, &'static str)> {
        None
    }

    /// Adds to an event of a released read in which term, view or epoch that is.
    fn in_era(&self, event: Event) -> Event {
        event
    }

    /// A read of this node's machine.
    fn read_wanted(&mut self, token: ReadToken, out: &mut Outbox<Self>) {
        let (me, limits) = (self.node(), self.read_limits());
        if self.led_reads().is_some() {
            return self.hold_read(WaitingRead { token, reader: me }, out);
        }
        let Some(leader) = self.read_leader().filter(|leader| *leader != me) else {
            return self.refuse_read(token, Refusal::NotLeader { hint: None }, "no leader is known", out);
        };
        if self.asked_reads().count() >= limits.waiting {
            return self.refuse_read(token, Refusal::Overloaded, TOO_MANY, out);
        }
        if self.asked_reads().is_empty() {
            out.set_timer(Self::READ_RETRY, limits.retry_interval, limits.retry_interval);
        }
        self.asked_reads().insert(token);
        self.ask_leader(leader, token, out);
    }

    /// A read of another node.
    fn read_asked(&mut self, from: NodeId, token: ReadToken, out: &mut Outbox<Self>) {
        if self.led_reads().is_some() {
            return self.hold_read(WaitingRead { token, reader: from }, out);
        }
        out.trace(|| Event::refused(Self::READ).with("token", token.to_string()).with("why", "it does not lead"));
        self.send_read_answer(from, token, None, out);
    }

    /// Keeps a read for the round that this settle begins.
    fn hold_read(&mut self, read: WaitingRead, out: &mut Outbox<Self>) {
        let (token, own, most) = (read.token, read.reader == self.node(), self.read_limits().waiting);
        if let Some((refusal, why)) = self.refuses_reads() {
            if own {
                return self.refuse_read(token, refusal, why, out);
            }
            out.trace(|| Event::refused(Self::READ).with("token", token.to_string()).with("why", why));
            return self.send_read_answer(read.reader, token, None, out);
        }
        let waits_for = self.read_mark().err().unwrap_or("a quorum must confirm that it still leads");
        let Some(queue) = self.led_reads() else { return };
        let (verdict, why) = match queue.admit(read, most) {
            Admission::Full if own => return self.refuse_read(token, Refusal::Overloaded, TOO_MANY, out),
            // Its reader asks again.
            Admission::Full => (Verdict::Refused, TOO_MANY),
            Admission::Known => (Verdict::Waiting, "it waits already"),
            Admission::Waits => (Verdict::Waiting, waits_for),
        };
        out.trace(|| {
            let event = Event { verdict, ..Event::waiting(Self::READ) };
            event.with("token", token.to_string()).with("why", why)
        });
    }

    /// At the end of a batch: releases what is confirmed, and begins a round for what came since the last one.
    fn serve_reads(&mut self, out: &mut Outbox<Self>) {
        self.release_reads(out);
        let most = self.read_limits().rounds;
        if !self.led_reads().is_some_and(|queue| queue.wants_round(most)) || self.read_mark().is_err() {
            return;
        }
        self.begin_read_round(out);
        self.carry_reads();
        // Whoever is a quorum alone has answered it.
        self.release_reads(out);
    }

    /// A round has just begun, for whatever reason: it confirms the reads at hand.
    fn carry_reads(&mut self) {
        let Ok(mark) = self.read_mark() else { return };
        let round = self.last_round();
        if let Some(queue) = self.led_reads() {
            queue.carry(round, mark);
        }
    }

    /// Answers the reads whose round, or a later one, a quorum has answered.
    fn release_reads(&mut self, out: &mut Outbox<Self>) {
        if !self.led_reads().is_some_and(|queue| queue.is_confirming()) {
            return;
        }
        let confirmed = self.confirmed_round();
        let released = self.led_reads().map(|queue| queue.release(confirmed)).unwrap_or_default();
        for round in released {
            let votes = self.confirmed_by(round.round);
            for read in round.reads {
                out.trace(|| {
                    let event =
                        Event::allowed(Self::READ).with("token", read.token.to_string()).with("slot", round.slot);
                    self.in_era(event).votes(votes.iter().copied())
                });
                self.answer_read(read, Some(round.slot), out);
            }
        }
    }

    /// At a leader with a lease: releases all reads at hand without a round. So many answered the round, which was first sent that long
    /// ago, that nobody else can lead yet. Call it where the clock was sampled after everything at hand was dequeued.
    fn release_leased(&mut self, rule: &'static Rule, round: u64, age: Duration, out: &mut Outbox<Self>) {
        let Ok(slot) = self.read_mark() else { return };
        let votes = self.confirmed_by(round);
        for read in self.led_reads().map(ReadQueue::take_held).unwrap_or_default() {
            out.trace(|| {
                let event = Event::allowed(rule).with("token", read.token.to_string()).with("slot", slot);
                let age_us = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
                self.in_era(event).with("age_us", age_us).votes(votes.iter().copied())
            });
            self.answer_read(read, Some(slot), out);
        }
    }

    /// Says to the reader where it may read; without a slot, that it is not this node which can say.
    fn answer_read(&mut self, read: WaitingRead, slot: Option<Slot>, out: &mut Outbox<Self>) {
        match slot {
            _ if read.reader != self.node() => self.send_read_answer(read.reader, read.token, slot, out),
            Some(slot) => out.read_at(read.token, slot),
            None => self.refuse_read(read.token, Refusal::LeaderChanged, "it no longer leads", out),
        }
    }

    /// What a leader said about a read of this node. It need not name the term, view or epoch: tokens are never used again, so
    /// whoever answers this one was confirmed after it was asked.
    fn read_answered(&mut self, from: NodeId, token: ReadToken, slot: Option<Slot>, out: &mut Outbox<Self>) {
        let drop_answer = |why: &'static str, out: &mut Outbox<Self>| {
            out.trace(|| Event::refused(Self::READ_FORWARD).with("token", token.to_string()).with("why", why));
        };
        if self.read_leader() != Some(from) {
            return drop_answer("it is not from the present leader", out);
        }
        let served = self.asked_reads().take_through(token);
        if served.is_empty() {
            return drop_answer("the read does not wait for it", out);
        }
        if self.asked_reads().is_empty() {
            out.cancel_timer(Self::READ_RETRY);
        }
        for token in served {
            let Some(slot) = slot else {
                self.refuse_read(token, Refusal::LeaderChanged, "the one asked no longer leads", out);
                continue;
            };
            out.trace(|| {
                let event = Event::allowed(Self::READ_FORWARD).with("leader", from).with("slot", slot);
                event.with("token", token.to_string())
            });
            out.read_at(token, slot);
        }
    }

    /// The question or its answer may be lost, so the newest read that still waits is asked again; its answer serves the
    /// others too. Asking for each of them would, with a slow leader, drown it in questions whose askers may have given up.
    /// Says whether any waits.
    fn retry_reads(&mut self, out: &mut Outbox<Self>) -> bool {
        let (Some(leader), Some(newest)) = (self.read_leader(), self.asked_reads().newest()) else { return false };
        self.ask_leader(leader, newest, out);
        let interval = self.read_limits().retry_interval;
        out.set_timer(Self::READ_RETRY, interval, interval);
        true
    }

    /// Traces and sends the question.
    fn ask_leader(&mut self, leader: NodeId, token: ReadToken, out: &mut Outbox<Self>) {
        out.trace(|| Event::waiting(Self::READ_FORWARD).with("leader", leader).with("token", token.to_string()));
        self.send_read_question(leader, token, out);
    }

    /// Reads that waited at a leader that leads, or may answer, no more.
    fn fail_reads(&mut self, reads: ReadQueue, out: &mut Outbox<Self>) {
        for read in reads.into_reads() {
            self.answer_read(read, None, out);
        }
    }

    /// Reads of this node that waited for a leader that leads no more.
    fn fail_asked_reads(&mut self, out: &mut Outbox<Self>) {
        if self.asked_reads().is_empty() {
            return;
        }
        out.cancel_timer(Self::READ_RETRY);
        for token in self.asked_reads().take_all() {
            self.refuse_read(token, Refusal::LeaderChanged, "the leader it was forwarded to leads no more", out);
        }
    }

    /// Refuses a read of this node.
    fn refuse_read(&self, token: ReadToken, refusal: Refusal, why: &'static str, out: &mut Outbox<Self>) {
        out.trace(|| Event::refused(Self::READ).with("token", token.to_string()).with("why", why));
        out.refuse(Refused::Read(token), refusal);
    }
}

const TOO_MANY: &str = "too many reads wait";
