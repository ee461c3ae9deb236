//! Linearizable reads without a log entry (Raft §8; dissertation, 6.4).
//!
//! A leader that has committed something of its own term notes its commit mark, has a quorum confirm in a round begun
//! afterwards that it still leads, and releases the read at that mark. One round serves all reads that came before it was
//! sent; under a lease (`lease.rs`) none is needed. A follower forwards the read's token and asks again until it is answered; when the leader it asked is no longer
//! the leader, the read fails. Tokens are never reused, so a late answer cannot serve another read.

use crate::election::Position;
use crate::leading::Leadership;
use crate::message::{Message, ReadAnswer};
use crate::replica::{Raft, Timer};
use crate::rules;
use crate::witness::STORES_NO_DATA;
use quorate_protocol::{Env, Event, Outbox, ReadToken, Refusal, Refused};
use quorate_quorum::Quorum;
use quorate_types::{NodeId, Slot};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Why a leader names no slot to a reader.
const WITNESS_ASKS: &str = "a witness asks, which has no data to read";

/// A read and the node that will serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaitingRead {
    pub(crate) token: ReadToken,
    pub(crate) reader: NodeId,
}

/// Reads at the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct WaitingReads {
    /// They came since the last round began, or before anything of the term was committed.
    pub(crate) held: Vec<WaitingRead>,
    /// They wait for a quorum to answer their round. Rounds ascend.
    pub(crate) confirming: VecDeque<Confirming>,
}

/// Reads whose round is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Confirming {
    pub(crate) round: u64,
    /// The commit mark when the round began.
    pub(crate) slot: Slot,
    pub(crate) reads: Vec<WaitingRead>,
}

/// Reads of this node that the leader was asked about.
pub type AskedReads = BTreeSet<ReadToken>;

impl WaitingReads {
    fn count(&self) -> usize {
        self.held.len() + self.confirming.iter().map(|confirming| confirming.reads.len()).sum::<usize>()
    }

    fn all(self) -> impl Iterator<Item = WaitingRead> {
        self.held.into_iter().chain(self.confirming.into_iter().flat_map(|confirming| confirming.reads))
    }

    fn knows(&self, token: ReadToken) -> bool {
        let confirming = self.confirming.iter().flat_map(|confirming| &confirming.reads);
        self.held.iter().chain(confirming).any(|read| read.token == token)
    }

    /// Whether rounds ascend up to `last` and no round is empty.
    #[must_use]
    pub fn is_consistent(&self, last: u64) -> bool {
        let rounds = || self.confirming.iter().map(|confirming| confirming.round);
        rounds().is_sorted()
            && rounds().all(|round| round <= last)
            && self.confirming.iter().all(|confirming| !confirming.reads.is_empty())
    }
}

impl Raft {
    pub(crate) fn read(&mut self, token: ReadToken, out: &mut Outbox<Raft>) {
        if self.is_leader() {
            return self.hold_read(WaitingRead { token, reader: self.me }, out);
        }
        if self.is_witness() {
            return refuse_read(token, Refusal::Unsupported(STORES_NO_DATA), STORES_NO_DATA, out);
        }
        let Some(leader) = self.leader else {
            return refuse_read(token, Refusal::NotLeader { hint: None }, "no leader is known", out);
        };
        if self.asked_reads.len() >= self.config.waiting_reads {
            return refuse_read(token, Refusal::Overloaded, "too many reads wait", out);
        }
        if self.asked_reads.is_empty() {
            self.set_exact_timer(Timer::ReadRetry, self.config.read_retry_interval, out);
        }
        self.asked_reads.insert(token);
        self.ask_leader(leader, token, out);
    }

    fn ask_leader(&mut self, leader: NodeId, token: ReadToken, out: &mut Outbox<Raft>) {
        out.trace(|| Event::waiting(&rules::READ_FORWARD).with("leader", leader).with("token", words(token)));
        self.send(leader, Message::ReadIndex { term: self.term, token }, out);
    }

    /// The question or its answer may be lost, so the newest read that still waits is asked again; its answer serves the
    /// others too. Asking for each of them would, with a slow leader, drown it in questions whose askers may have given up. A
    /// repeated question is the same read: an answer to any of its copies is late enough.
    pub(crate) fn retry_reads(&mut self, out: &mut Outbox<Raft>) {
        let (Some(leader), Some(newest)) = (self.leader, self.asked_reads.last().copied()) else {
            return self.drop_timer(Timer::ReadRetry, "no read waits", out);
        };
        self.ask_leader(leader, newest, out);
        self.set_exact_timer(Timer::ReadRetry, self.config.read_retry_interval, out);
    }

    pub(crate) fn read_asked(&mut self, from: NodeId, token: ReadToken, out: &mut Outbox<Raft>) {
        let Position::Leader(leadership) = &self.position else {
            out.trace(|| Event::refused(&rules::READ).with("token", words(token)).with("why", "it does not lead"));
            let answer = ReadAnswer::NotLeading;
            return self.send(from, Message::ReadIndexResponse { term: self.term, token, answer }, out);
        };
        // It may not know yet that it is one, and would answer from the nothing that it has.
        if leadership.peers.get(&from).is_some_and(|progress| progress.is_witness) {
            out.trace(|| Event::refused(&rules::READ).with("token", words(token)).with("why", WITNESS_ASKS));
            let answer = ReadAnswer::NotLeading;
            return self.send(from, Message::ReadIndexResponse { term: self.term, token, answer }, out);
        }
        if leadership.reads.knows(token) {
            let event = || Event::waiting(&rules::READ).with("token", words(token)).with("why", "it waits already");
            return out.trace(event);
        }
        self.hold_read(WaitingRead { token, reader: from }, out);
    }

    /// Keeps a read for the round that `settle` begins.
    fn hold_read(&mut self, read: WaitingRead, out: &mut Outbox<Raft>) {
        let WaitingRead { token, reader } = read;
        let Position::Leader(leadership) = &mut self.position else { return };
        if leadership.reads.count() >= self.config.waiting_reads {
            if reader == self.me {
                return refuse_read(token, Refusal::Overloaded, "too many reads wait", out);
            }
            // Its reader asks again.
            let event = || Event::refused(&rules::READ).with("token", words(token)).with("why", "too many reads wait");
            return out.trace(event);
        }
        leadership.reads.held.push(read);
        let why = if self.commit < leadership.first_of_term {
            "nothing of this term is committed yet, so the commit mark may be out of date"
        } else {
            "a quorum must confirm that it still leads"
        };
        out.trace(|| Event::waiting(&rules::READ).with("token", words(token)).with("why", why));
    }

    /// Once the commit mark is up to date, releases all reads that wait if a lease is in force, or begins one round for them.
    pub(crate) fn start_read_round(&mut self, env: &dyn Env, out: &mut Outbox<Raft>) {
        let Position::Leader(leadership) = &self.position else { return };
        if leadership.reads.held.is_empty() || self.commit < leadership.first_of_term {
            return;
        }
        // Looked at when everything at hand was dequeued and only then the clock sampled; never kept.
        let lease = if self.keeps_leases() { self.lease_in_force(env.now()) } else { None };
        let Position::Leader(leadership) = &mut self.position else { return };
        if let Some((round, age)) = lease {
            let votes = voters_of_round(self.configurations.quorum(), leadership, self.me, round);
            for read in std::mem::take(&mut leadership.reads.held) {
                self.trace_leased(read.token, age, &votes, out);
                self.release(read, self.commit, out);
            }
            return;
        }
        leadership.begin_round();
        let reads = std::mem::take(&mut leadership.reads.held);
        let confirming = Confirming { round: leadership.round, slot: self.commit, reads };
        leadership.reads.confirming.push_back(confirming);
        self.release_reads(out);
    }

    pub(crate) fn round_answered(&mut self, from: NodeId, round: u64, out: &mut Outbox<Raft>) {
        let Position::Leader(leadership) = &mut self.position else { return };
        let Some(progress) = leadership.peers.get_mut(&from) else { return };
        progress.answered_round = progress.answered_round.max(round);
        if !leadership.reads.confirming.is_empty() {
            self.release_reads(out);
        }
    }

    fn release_reads(&mut self, out: &mut Outbox<Raft>) {
        let me = self.me;
        let Position::Leader(leadership) = &mut self.position else { return };
        let confirmed = self.configurations.quorum().agreed_value(|id| leadership.answered_round(me, id));
        let mut released = Vec::new();
        while let Some(front) = leadership.reads.confirming.front().filter(|front| front.round <= confirmed) {
            let votes = voters_of_round(self.configurations.quorum(), leadership, me, front.round);
            let slot = front.slot;
            let reads = leadership.reads.confirming.pop_front().map(|front| front.reads).unwrap_or_default();
            released.extend(reads.into_iter().map(|read| (read, slot, votes.clone())));
        }
        for (read, slot, votes) in released {
            let token = read.token;
            out.trace(|| {
                let event = Event::allowed(&rules::READ).with("token", words(token)).with("slot", slot);
                event.with("term", self.term).votes(votes)
            });
            self.release(read, slot, out);
        }
    }

    fn release(&mut self, WaitingRead { token, reader }: WaitingRead, slot: Slot, out: &mut Outbox<Raft>) {
        if reader == self.me {
            out.read_at(token, slot);
        } else {
            let answer = ReadAnswer::At(slot);
            self.send(reader, Message::ReadIndexResponse { term: self.term, token, answer }, out);
        }
    }

    fn trace_leased(&self, token: ReadToken, age: Duration, votes: &[NodeId], out: &mut Outbox<Raft>) {
        out.trace(|| {
            let event = Event::allowed(&rules::LEASE).with("token", words(token)).with("slot", self.commit);
            let age_us = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
            event.with("term", self.term).with("age_us", age_us).votes(votes.iter().copied())
        });
    }

    pub(crate) fn read_answered(
        &mut self,
        from: NodeId,
        term: u64,
        token: ReadToken,
        answer: ReadAnswer,
        out: &mut Outbox<Raft>,
    ) {
        let why = if term < self.term || self.leader != Some(from) {
            Some("it is not from the present leader")
        } else if !self.asked_reads.contains(&token) {
            Some("the read does not wait for it")
        } else {
            None
        };
        if let Some(why) = why {
            return out.trace(|| Event::refused(&rules::READ_FORWARD).with("token", words(token)).with("why", why));
        }
        // Tokens ascend in the order reads came here. The leader noted its commit mark after this one was asked, and so after
        // every earlier one had come: the answer is late enough for all of them.
        let later = self.asked_reads.split_off(&token);
        let mut answered = std::mem::replace(&mut self.asked_reads, later);
        answered.extend(self.asked_reads.take(&token));
        if self.asked_reads.is_empty() {
            out.cancel_timer(Timer::ReadRetry);
        }
        for token in answered {
            match answer {
                ReadAnswer::At(slot) => {
                    out.trace(|| {
                        let event = Event::allowed(&rules::READ_FORWARD).with("leader", from).with("slot", slot);
                        event.with("token", words(token))
                    });
                    out.read_at(token, slot);
                }
                ReadAnswer::NotLeading => {
                    refuse_read(token, Refusal::LeaderChanged, "the one asked no longer leads", out);
                }
            }
        }
    }

    /// Reads that waited at a leader that leads no more.
    pub(crate) fn fail_reads(&mut self, reads: WaitingReads, out: &mut Outbox<Raft>) {
        for WaitingRead { token, reader } in reads.all() {
            if reader == self.me {
                refuse_read(token, Refusal::LeaderChanged, "it no longer leads", out);
            } else {
                let answer = ReadAnswer::NotLeading;
                self.send(reader, Message::ReadIndexResponse { term: self.term, token, answer }, out);
            }
        }
    }

    /// Reads of this node that waited for a leader that leads no more.
    pub(crate) fn fail_asked_reads(&mut self, out: &mut Outbox<Raft>) {
        if self.asked_reads.is_empty() {
            return;
        }
        out.cancel_timer(Timer::ReadRetry);
        for token in std::mem::take(&mut self.asked_reads) {
            refuse_read(token, Refusal::LeaderChanged, "the leader it was forwarded to leads no more", out);
        }
    }
}

fn voters_of_round(quorum: &Quorum, leadership: &Leadership, me: NodeId, round: u64) -> Vec<NodeId> {
    quorum.voters().filter(|id| leadership.answered_round(me, *id) >= round).collect()
}

fn refuse_read(token: ReadToken, refusal: Refusal, why: &'static str, out: &mut Outbox<Raft>) {
    out.trace(|| Event::refused(&rules::READ).with("token", words(token)).with("why", why));
    out.refuse(Refused::Read(token), refusal);
}

/// A token as people read it: node, incarnation, number.
fn words(token: ReadToken) -> String {
    format!("{}/{}/{}", token.node, token.incarnation.0, token.number)
}
