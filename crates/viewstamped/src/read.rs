//! Linearizable reads without a log entry.
//!
//! The paper has the primary answer reads alone under a lease (section 6.3). Here it asks: once everything that its view began
//! with is committed, it notes its commit mark, has q others answer, in a round begun afterwards, that the view is still theirs,
//! and releases the read at that mark. A backup forwards the read's token and asks again until it is answered. Whoever answers a
//! round was in this view when it did, so no later view had begun with q + 1 members when the read came, and no later epoch: only
//! who knows the reconfiguration committed begins one, and the first to know is this view's primary.

use crate::config::Config;
use crate::message::Message;
use crate::replica::{Stage, Timer, Viewstamped};
use crate::rules;
use quorate_protocol::{AskedReads, Event, LedReads, Outbox, ReadLimits, ReadQueue, ReadToken, Rule};
use quorate_types::{NodeId, Slot};

impl LedReads for Viewstamped {
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
        self.primary()
    }

    fn asked_reads(&mut self) -> &mut AskedReads {
        &mut self.asked_reads
    }

    fn led_reads(&mut self) -> Option<&mut ReadQueue> {
        match &mut self.stage {
            Stage::Primary(leadership) => Some(&mut leadership.reads),
            _ => None,
        }
    }

    fn read_mark(&self) -> Result<Slot, &'static str> {
        match &self.stage {
            Stage::Primary(leadership) if self.commit < leadership.inherited => {
                Err("what this view began with is not committed yet, so the commit mark may be out of date")
            }
            _ if self.is_closing() => Err("a reconfiguration ends its epoch"),
            _ => Ok(self.commit),
        }
    }

    /// Whoever has not heard of the latest round is sent it at the end of the settle.
    fn begin_read_round(&mut self, _: &mut Outbox<Viewstamped>) {
        if let Stage::Primary(leadership) = &mut self.stage {
            leadership.round += 1;
        }
    }

    fn last_round(&self) -> u64 {
        self.answered_round(self.me)
    }

    fn confirmed_round(&self) -> u64 {
        self.configuration.quorum().agreed_value(|id| self.answered_round(id))
    }

    fn confirmed_by(&self, round: u64) -> Vec<NodeId> {
        self.configuration.quorum().voters().filter(|id| self.answered_round(*id) >= round).collect()
    }

    fn send_read_question(&mut self, leader: NodeId, token: ReadToken, out: &mut Outbox<Viewstamped>) {
        self.send(leader, Message::ReadIndex { view: self.view, token }, out);
    }

    fn send_read_answer(
        &mut self,
        reader: NodeId,
        token: ReadToken,
        slot: Option<Slot>,
        out: &mut Outbox<Viewstamped>,
    ) {
        self.send(reader, Message::ReadIndexResponse { view: self.view, token, slot }, out);
    }

    fn in_era(&self, event: Event) -> Event {
        event.with("view", self.view.to_string())
    }
}

impl Viewstamped {
    /// At a primary: the last round that it answered; of this node, the last that it began.
    fn answered_round(&self, id: NodeId) -> u64 {
        match &self.stage {
            Stage::Primary(leadership) if id == self.me => leadership.round,
            Stage::Primary(leadership) => leadership.peers.get(&id).map_or(0, |progress| progress.answered_round),
            _ => 0,
        }
    }
}
