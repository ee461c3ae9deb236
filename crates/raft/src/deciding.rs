//! From committed to decided to applied to forgotten (Raft §5.3, §7).

use crate::election::Position;
use crate::record::{Anchor, Record};
use crate::replica::Raft;
use crate::rules;
use quorate_protocol::{Event, Outbox};
use quorate_types::{NodeId, Slot, Ticket};

impl Raft {
    /// A follower's commit mark: never past what the append that brings it proves to be the leader's log.
    pub(crate) fn learn_commit(&mut self, leader: NodeId, through: Slot, out: &mut Outbox<Raft>) {
        if through > self.commit {
            self.commit = through;
            out.trace(|| Event::allowed(&rules::LEARN).with("leader", leader).with("slot", through));
            self.trace_undecided(out);
        }
    }

    /// Hands out what is committed and durable here, in order.
    pub(crate) fn decide(&mut self, out: &mut Outbox<Raft>) {
        let through = self.commit.min(self.disk.durable);
        let before = self.decided;
        let mut bytes = 0;
        while self.decided < through {
            let slot = self.decided.next();
            // Compaction stops at what is applied, and truncation at what is committed.
            let entry = self.log.get(slot).expect("slots between decided and committed are in the log");
            bytes += entry.bytes();
            out.decide(slot, entry.payload.decision());
            self.decided = slot;
        }
        if let Position::Leader(leadership) = &mut self.position {
            leadership.undecided_bytes -= bytes;
        }
        if self.decided > before {
            out.trace(|| Event::allowed(&rules::DECIDE).with("slot", self.decided));
        }
    }

    /// Says so when what is newly committed must wait for this node's own disk.
    pub(crate) fn trace_undecided(&self, out: &mut Outbox<Raft>) {
        let durable = self.disk.durable;
        if self.commit > durable {
            out.trace(|| Event::waiting(&rules::DECIDE).with("slot", durable.next()).with("durable", durable));
        }
    }

    pub(crate) fn machine_applied(&mut self, through: Slot, durable: Slot, out: &mut Outbox<Raft>) {
        if durable > through || through > self.decided {
            return out.trace(|| {
                let event = Event::refused(&rules::APPLIED).with("through", through).with("durable", durable);
                event.with("decided", self.decided)
            });
        }
        self.applied = self.applied.max(through);
        self.applied_durable = self.applied_durable.max(durable);
    }

    /// Forgets what every member has durably and what is durably applied here, when it is worth a write. Every member,
    /// because without snapshots there is no other way to help one that is behind.
    pub(crate) fn compact(&mut self, out: &mut Outbox<Raft>) {
        let droppable = self.applied_durable.min(self.everyone_has);
        let through = Slot(droppable.0.saturating_sub(self.config.compact_keep_entries));
        let count = through.0.saturating_sub(self.log.base().0);
        let heavy = self.log.bytes() >= self.config.compact_after_bytes && count * 2 >= self.log.count();
        if count == 0 || (count < self.config.compact_after_entries && !heavy) {
            return;
        }
        let drop_before = self.disk.landmarks.ticket_for(through.next());
        self.log.drop_through(through);
        self.configurations.drop_through(through);
        self.disk.landmarks.forget_before(through.next(), usize::MAX);
        out.trace(|| Event::allowed(&rules::COMPACT).with("slot", through));
        if drop_before > Ticket::NONE {
            out.compact(self.baseline(through), drop_before);
        }
    }

    /// All that is still needed of what compaction drops.
    fn baseline(&self, through: Slot) -> Vec<Record> {
        let anchor = Anchor {
            slot: through,
            term: self.log.term_at(through).unwrap_or(0),
            configuration: self.configurations.base().clone(),
        };
        vec![Record::TermVote { term: self.term, voted_for: self.voted_for }, Record::Anchor(anchor)]
    }
}
