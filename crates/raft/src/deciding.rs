//! From committed to decided to applied to forgotten (Raft §5.3, §7).

use crate::election::Position;
use crate::record::Record;
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

    /// Hands out what is committed and durable here, in order; nothing until the state machine has the snapshot that
    /// the log begins with.
    pub(crate) fn decide(&mut self, out: &mut Outbox<Raft>) {
        if self.installing.is_some() {
            return;
        }
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
        let base = self.log.base();
        if self.installing.is_some() && (through, durable) == (base, base) && self.disk.durable >= base {
            self.installed(out);
        }
        if durable > through || through > self.decided {
            return out.trace(|| {
                let event = Event::refused(&rules::APPLIED).with("through", through).with("durable", durable);
                event.with("decided", self.decided)
            });
        }
        self.applied = self.applied.max(through);
        self.applied_durable = self.applied_durable.max(durable);
    }

    /// Forgets what is durably applied here, when it is worth a write: what every member has durably, so that nobody will
    /// ask for it, and what is more than the settings keep for members that lag behind. Whoever needs that gets a snapshot.
    pub(crate) fn compact(&mut self, out: &mut Outbox<Raft>) {
        let Some((through, why)) = self.through_what_everyone_has().or_else(|| self.through_what_is_too_much()) else {
            return;
        };
        let drop_before = self.disk.landmarks.ticket_for(through.next());
        self.log.drop_through(through);
        self.configurations.drop_through(through);
        self.disk.landmarks.forget_before(through.next(), usize::MAX);
        out.trace(|| Event::allowed(&rules::COMPACT).with("slot", through).with("why", why));
        if drop_before > Ticket::NONE {
            // All that is still needed of what is dropped.
            let vote = Record::TermVote { term: self.term, voted_for: self.voted_for };
            out.compact(vec![vote, Record::Anchor(self.base_anchor())], drop_before);
        }
    }

    fn through_what_everyone_has(&self) -> Option<(Slot, &'static str)> {
        let droppable = self.applied_durable.min(self.everyone_has);
        let through = Slot(droppable.0.saturating_sub(self.config.compact_keep_entries));
        let count = through.0.saturating_sub(self.log.base().0);
        let heavy = self.log.bytes() >= self.config.compact_after_bytes && count * 2 >= self.log.count();
        let worth_it = count > 0 && (count >= self.config.compact_after_entries || heavy);
        worth_it.then_some((through, "every member has it durably"))
    }

    /// A quarter more than needed, so that the next time is not soon, and nothing until that is a quarter of the log.
    fn through_what_is_too_much(&self) -> Option<(Slot, &'static str)> {
        let (most_bytes, most_entries) = (self.config.keep_log_bytes, self.config.keep_log_entries);
        let too_much = self.log.bytes() > most_bytes || self.log.count() > most_entries;
        if !too_much || self.applied_durable <= self.log.base() {
            return None;
        }
        let (most_bytes, most_entries) = (most_bytes - most_bytes / 4, most_entries - most_entries / 4);
        let (through, bytes) = self.log.excess(most_bytes, most_entries, self.applied_durable);
        let count = through.0 - self.log.base().0;
        let worth_it = count * 4 >= self.log.count() || bytes * 4 >= self.log.bytes();
        worth_it.then_some((through, "more is not kept for members that lag behind"))
    }
}
