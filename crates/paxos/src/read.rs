//! Linearizable reads of the one slot.
//!
//! A read asks: was anything decided (and so perhaps acknowledged) before I came? Where the decision is known the
//! answer is slot 1. Where it is not, the read rides on a ballot of this node that starts *after* the read came:
//!
//! - Some promise reports an accepted value: it may be chosen. The ballot proposes it, as rule 3 demands anyway, and the
//!   read is released at slot 1 when it is chosen. (The same write-back as in the atomic registers of ABD, 1995.)
//! - No promise reports anything: the read is released at slot 0. Suppose a value had been chosen before the read
//!   came, at ballot c. A phase-2 quorum had then accepted c; it meets our phase-1 quorum in some acceptor, which accepted
//!   c before the read came and so before it promised our ballot b. If c < b it would have reported c (or something
//!   above). If c > b it would have refused b. So nothing was chosen before the read came.
//!
//! The order "read came, then promise" carries the argument. A read that comes while a ballot is under way therefore is not
//! covered by it: it is released by the decision, or waits for the next ballot.

use crate::replica::Paxos;
use crate::rules;
use quorate_protocol::{Event, Outbox, ReadToken, Refusal, Refused};
use quorate_types::Slot;

/// A read that waits for a ballot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WaitingRead {
    pub(crate) token: ReadToken,
    /// Whether it came before the current ballot was started.
    pub(crate) covered: bool,
}

impl Paxos {
    pub(crate) fn on_read(&mut self, token: ReadToken, out: &mut Outbox<Paxos>) {
        if self.learner.chosen.is_some() {
            return self.release_read(token, Paxos::SLOT, "the decision is known", out);
        }
        if !self.members.contains(self.me) {
            return self.refuse_read(token, Refusal::NotLeader { hint: None }, "it knows no members", out);
        }
        if self.proposer.reads.len() >= self.config.waiting_limit {
            return self.refuse_read(token, Refusal::Overloaded, "too many reads wait already", out);
        }
        let why = "no decision is known here; a ballot started from now on will tell";
        out.trace(|| self.read_event(Event::waiting(&rules::READ), token, why));
        self.proposer.reads.push(WaitingRead { token, covered: false });
    }

    /// The ballot being started begins after every read that waits now.
    pub(crate) fn cover_reads(&mut self) {
        for read in &mut self.proposer.reads {
            read.covered = true;
        }
    }

    /// A phase-1 quorum had accepted nothing: nothing was chosen when the covered reads came.
    pub(crate) fn release_reads_at_nothing(&mut self, out: &mut Outbox<Paxos>) {
        let (covered, later) = std::mem::take(&mut self.proposer.reads).into_iter().partition(|read| read.covered);
        self.proposer.reads = later;
        let covered: Vec<WaitingRead> = covered;
        for read in covered {
            self.release_read(read.token, Slot::ZERO, "a quorum had accepted nothing after the read came", out);
        }
    }

    pub(crate) fn release_reads_at_decision(&mut self, out: &mut Outbox<Paxos>) {
        for read in std::mem::take(&mut self.proposer.reads) {
            self.release_read(read.token, Paxos::SLOT, "the decision became known", out);
        }
    }

    fn release_read(&self, token: ReadToken, slot: Slot, why: &str, out: &mut Outbox<Paxos>) {
        out.trace(|| self.read_event(Event::allowed(&rules::READ), token, why).with("slot", slot));
        out.read_at(token, slot);
    }

    fn refuse_read(&self, token: ReadToken, refusal: Refusal, why: &str, out: &mut Outbox<Paxos>) {
        out.trace(|| self.read_event(Event::refused(&rules::READ), token, why));
        out.refuse(Refused::Read(token), refusal);
    }

    fn read_event(&self, event: Event, token: ReadToken, why: &str) -> Event {
        event.with("read", token.number).with("why", why)
    }
}
