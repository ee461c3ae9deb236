//! Linearizable reads without a slot: the leader's mark, confirmed by a set that meets every phase-1 quorum. Whoever answers a
//! heartbeat had promised nothing higher, so no later leader had got through its phase 1 when the read came.

use crate::config::Config;
use crate::message::Message;
use crate::replica::{Ballots, Position, Timer};
use crate::rules;
use quorate_protocol::{
    AskedReads, LedReads, Outbox, ReadLimits, ReadQueue, ReadToken, Refusal, Rule, round_answered_by,
};
use quorate_types::{NodeId, Slot};

impl LedReads for Ballots {
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
        match self.leads_settled() {
            true => Ok(self.chosen),
            false => Err("what earlier leaders left is not chosen yet, so the mark may be out of date"),
        }
    }

    fn begin_read_round(&mut self, out: &mut Outbox<Ballots>) {
        self.begin_round(out);
    }

    fn last_round(&self) -> u64 {
        self.answered_round(self.me)
    }

    fn confirmed_round(&self) -> u64 {
        round_answered_by(self.read_quorum(), self.members.voters().map(|id| self.answered_round(id)))
    }

    fn confirmed_by(&self, round: u64) -> Vec<NodeId> {
        self.members.voters().filter(|id| self.answered_round(*id) >= round).collect()
    }

    fn send_read_question(&mut self, leader: NodeId, token: ReadToken, out: &mut Outbox<Ballots>) {
        out.send(leader, Message::ReadIndex { token });
    }

    fn send_read_answer(&mut self, reader: NodeId, token: ReadToken, slot: Option<Slot>, out: &mut Outbox<Ballots>) {
        out.send(reader, Message::ReadAnswer { token, slot });
    }

    /// Another leader may have learned a stop-sign chosen, and the next configuration gone on, before this one knows.
    fn refuses_reads(&self) -> Option<(Refusal, &'static str)> {
        match &self.position {
            Position::Leader(leadership) if leadership.stop_at.is_some() => {
                Some((Refusal::NotReady("the members are being changed"), "a stop-sign is under way"))
            }
            _ => None,
        }
    }
}

impl Ballots {
    /// At a leader: the last round that it answered; of this node, the last that it began.
    fn answered_round(&self, id: NodeId) -> u64 {
        match &self.position {
            Position::Leader(leadership) if id == self.me => leadership.round,
            Position::Leader(leadership) => leadership.peers.get(&id).map_or(0, |peer| peer.answered_round),
            _ => 0,
        }
    }
}
