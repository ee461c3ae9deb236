//! Linearizable reads without a log entry (Raft §8; dissertation, 6.4).
//!
//! A leader that has committed something of its own term notes its commit mark, has a quorum confirm in a round begun
//! afterwards that it still leads, and releases the read at that mark (`quorate_protocol::LedReads`). Under a lease (`lease.rs`)
//! no round is needed. A witness has nothing to read and is answered nothing.

use crate::config::Config;
use crate::election::Position;
use crate::message::{Message, ReadAnswer};
use crate::replica::{Raft, Timer};
use crate::rules;
use crate::witness::STORES_NO_DATA;
use quorate_protocol::{AskedReads, Env, Event, LedReads, Outbox, ReadLimits, ReadQueue, ReadToken, Refusal, Rule};
use quorate_types::{NodeId, Slot};

/// Why a leader names no slot to a reader.
const WITNESS_ASKS: &str = "a witness asks, which has no data to read";

impl LedReads for Raft {
    const READ: &'static Rule = &rules::READ;
    const READ_FORWARD: &'static Rule = &rules::READ_FORWARD;
    const READ_RETRY: Timer = Timer::ReadRetry;

    fn node(&self) -> NodeId {
        self.me
    }

    fn read_limits(&self) -> ReadLimits {
        let Config { waiting_reads: waiting, read_rounds: rounds, read_retry_interval: retry_interval, .. } =
            self.config;
        ReadLimits { waiting, rounds, retry_interval }
    }

    fn read_leader(&self) -> Option<NodeId> {
        self.leader
    }

    fn asked_reads(&mut self) -> &mut AskedReads {
        &mut self.asked_reads
    }

    fn led_reads(&mut self) -> Option<&mut ReadQueue> {
        match &mut self.position {
            Position::Leader(leadership) => Some(&mut leadership.reads),
            _ => None,
        }
    }

    fn read_mark(&self) -> Result<Slot, &'static str> {
        match &self.position {
            Position::Leader(leadership) if self.commit < leadership.first_of_term => {
                Err("nothing of this term is committed yet, so the commit mark may be out of date")
            }
            _ => Ok(self.commit),
        }
    }

    /// Whoever is owed a sign of life is sent one at the end of the settle.
    fn begin_read_round(&mut self, _: &mut Outbox<Raft>) {
        if let Position::Leader(leadership) = &mut self.position {
            leadership.begin_round();
        }
    }

    fn last_round(&self) -> u64 {
        self.answered_round(self.me)
    }

    fn confirmed_round(&self) -> u64 {
        self.configurations.quorum().agreed_value(|id| self.answered_round(id))
    }

    fn confirmed_by(&self, round: u64) -> Vec<NodeId> {
        self.configurations.quorum().voters().filter(|id| self.answered_round(*id) >= round).collect()
    }

    fn send_read_question(&mut self, leader: NodeId, token: ReadToken, out: &mut Outbox<Raft>) {
        self.send(leader, Message::ReadIndex { term: self.term, token }, out);
    }

    fn send_read_answer(&mut self, reader: NodeId, token: ReadToken, slot: Option<Slot>, out: &mut Outbox<Raft>) {
        let answer = slot.map_or(ReadAnswer::NotLeading, ReadAnswer::At);
        self.send(reader, Message::ReadIndexResponse { term: self.term, token, answer }, out);
    }

    fn in_era(&self, event: Event) -> Event {
        event.with("term", self.term)
    }
}

impl Raft {
    /// A read of this node's machine.
    pub(crate) fn read(&mut self, token: ReadToken, out: &mut Outbox<Raft>) {
        match self.is_witness() {
            true => self.refuse_read(token, Refusal::Unsupported(STORES_NO_DATA), STORES_NO_DATA, out),
            false => self.read_wanted(token, out),
        }
    }

    /// A read of another node, which may be a witness that does not know yet that it is one, and would answer from the nothing
    /// that it has.
    pub(crate) fn read_index(&mut self, from: NodeId, token: ReadToken, out: &mut Outbox<Raft>) {
        match &self.position {
            Position::Leader(leadership) if leadership.peers.get(&from).is_some_and(|peer| peer.is_witness) => {
                out.trace(|| Event::refused(&rules::READ).with("token", token.to_string()).with("why", WITNESS_ASKS));
                self.send_read_answer(from, token, None, out);
            }
            _ => self.read_asked(from, token, out),
        }
    }

    /// Releases all reads at hand if a lease is in force, or has them confirmed by a round.
    pub(crate) fn settle_reads(&mut self, env: &dyn Env, out: &mut Outbox<Raft>) {
        let holds_any = self.led_reads().is_some_and(|queue| queue.holds_any());
        if !holds_any || self.read_mark().is_err() {
            return;
        }
        // Looked at when everything at hand was dequeued and only then the clock sampled; never kept.
        let lease = if self.keeps_leases() { self.lease_in_force(env.now()) } else { None };
        let Some((round, age)) = lease else { return self.serve_reads(out) };
        self.release_leased(&rules::LEASE, round, age, out);
    }

    pub(crate) fn round_answered(&mut self, from: NodeId, round: u64, out: &mut Outbox<Raft>) {
        let Position::Leader(leadership) = &mut self.position else { return };
        let Some(progress) = leadership.peers.get_mut(&from) else { return };
        progress.answered_round = progress.answered_round.max(round);
        self.release_reads(out);
    }

    fn answered_round(&self, id: NodeId) -> u64 {
        match &self.position {
            Position::Leader(leadership) => leadership.answered_round(self.me, id),
            _ => 0,
        }
    }
}
