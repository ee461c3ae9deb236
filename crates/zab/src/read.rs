//! Linearizable reads: a sync through the leader. It notes what is committed, and has a quorum confirm afterwards that it follows still:
//! no later epoch was established before, so nothing is committed that it does not know.
//!
//! The question stands outside the order of a connection and may be lost: it says nothing that must be heard before or after
//! anything else. Pings are in that order, and confirm too.

use crate::config::Config;
use crate::connection::Connection;
use crate::following::Stage;
use crate::leading::{LeaderStage, PeerStage};
use crate::message::Message;
use crate::replica::{Broadcast, Position, Timer, drop_message};
use crate::rules;
use quorate_protocol::{
    AskedReads, LedReads, Outbox, ReadLimits, ReadQueue, ReadToken, Refusal, Rule, round_answered_by,
};
use quorate_types::{NodeId, Slot};

impl LedReads for Broadcast {
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
        self.leader()
    }

    fn asked_reads(&mut self) -> &mut AskedReads {
        &mut self.asked_reads
    }

    fn led_reads(&mut self) -> Option<&mut ReadQueue> {
        match &mut self.position {
            Position::Leading(leadership) if leadership.stage == LeaderStage::Broadcasting => {
                Some(&mut leadership.reads)
            }
            _ => None,
        }
    }

    /// An established epoch has its initial history committed.
    fn read_mark(&self) -> Result<Slot, &'static str> {
        Ok(self.committed)
    }

    fn begin_read_round(&mut self, out: &mut Outbox<Broadcast>) {
        let Position::Leading(leadership) = &mut self.position else { return };
        leadership.round += 1;
        let round = leadership.round;
        for (id, peer) in leadership.peers.iter().filter(|(_, peer)| peer.stage >= PeerStage::Snapshot) {
            out.send(*id, Message::Confirm { connection: peer.connection, round });
        }
    }

    fn last_round(&self) -> u64 {
        self.answered_round(self.me)
    }

    fn confirmed_round(&self) -> u64 {
        let majority = self.members.voters().count() / 2 + 1;
        round_answered_by(majority, self.members.voters().map(|id| self.answered_round(id)))
    }

    fn confirmed_by(&self, round: u64) -> Vec<NodeId> {
        self.members.voters().filter(|id| self.answered_round(*id) >= round).collect()
    }

    fn send_read_question(&mut self, leader: NodeId, token: ReadToken, out: &mut Outbox<Broadcast>) {
        out.send(leader, Message::ReadIndex { token });
    }

    fn send_read_answer(&mut self, reader: NodeId, token: ReadToken, slot: Option<Slot>, out: &mut Outbox<Broadcast>) {
        out.send(reader, Message::ReadAnswer { token, slot });
    }

    /// Another leader may have learned a stop-sign committed, and the next configuration gone on, before this one knows.
    fn refuses_reads(&self) -> Option<(Refusal, &'static str)> {
        match &self.position {
            Position::Leading(leadership) if leadership.stop_at.is_some() => {
                Some((Refusal::NotReady("the members are being changed"), "a stop-sign is under way"))
            }
            _ => None,
        }
    }
}

impl Broadcast {
    /// At a leader: the last round that it answered; of this node, the last that it began.
    fn answered_round(&self, id: NodeId) -> u64 {
        match &self.position {
            Position::Leading(leadership) if id == self.me => leadership.round,
            Position::Leading(leadership) => leadership.peers.get(&id).map_or(0, |peer| peer.answered_round),
            _ => 0,
        }
    }

    /// At a follower. The leader asks only who has promised its epoch in this connection, which was durable before it said so.
    pub(crate) fn confirm(&mut self, from: NodeId, connection: Connection, round: u64, out: &mut Outbox<Broadcast>) {
        match &self.position {
            Position::Following(following)
                if (following.leader, following.connection) == (from, connection)
                    && following.stage > Stage::Connecting =>
            {
                self.pong(round, out);
            }
            _ => drop_message("confirm", from, "it is of no connection that lasts", out),
        }
    }
}
