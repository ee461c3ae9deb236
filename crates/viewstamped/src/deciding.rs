//! From committed to decided to applied to forgotten.

use crate::record::{Anchor, Record};
use crate::replica::Viewstamped;
use crate::rules;
use quorate_protocol::{Event, Outbox};
use quorate_types::{Slot, Ticket};

impl Viewstamped {
    /// Hands out what is committed and durable here, in order; nothing until the state machine has the snapshot that the log
    /// begins with.
    pub(crate) fn decide(&mut self, out: &mut Outbox<Viewstamped>) {
        if self.installing.is_some() {
            return;
        }
        let through = self.commit.min(self.disk.durable);
        let before = self.decided;
        while self.decided < through {
            let slot = self.decided.next();
            // Compaction stops at what is applied, and what is committed is never replaced.
            let entry = self.log.get(slot).expect("slots between decided and committed are in the log");
            self.undecided_bytes = self.undecided_bytes.saturating_sub(entry.bytes());
            out.decide(slot, entry.decision());
            self.decided = slot;
        }
        if self.decided > before {
            out.trace(|| Event::allowed(&rules::DECIDE).with("slot", self.decided));
        }
    }

    pub(crate) fn machine_applied(&mut self, through: Slot, durable: Slot, out: &mut Outbox<Viewstamped>) {
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

    /// Forgets what is durably applied here, when it is worth a write: what every member has durably, and what is more than
    /// the settings keep for members that lag behind. Whoever needs that gets a snapshot.
    pub(crate) fn compact(&mut self, out: &mut Outbox<Viewstamped>) {
        let Some((through, why)) = self.through_what_everyone_has().or_else(|| self.through_what_is_too_much()) else {
            return;
        };
        let drop_before = self.disk.landmarks.ticket_for(through.next());
        self.log.drop_through(through);
        self.disk.landmarks.forget_before(through.next(), usize::MAX);
        out.trace(|| Event::allowed(&rules::COMPACT).with("slot", through).with("why", why));
        if drop_before > Ticket::NONE {
            // All that is still needed of what is dropped. The end of the log is where it is in what was handed to the disk.
            let first = self.disk.written.next();
            let entered = Record::Entered { view: self.last_normal, first, entries: Default::default() };
            let mut baseline = vec![Record::Anchor(self.base_anchor()), entered];
            if self.view > self.last_normal {
                baseline.push(Record::Changing { view: self.view });
            }
            out.compact(baseline, drop_before);
        }
    }

    fn through_what_everyone_has(&self) -> Option<(Slot, &'static str)> {
        let droppable = self.applied_durable.min(self.everyone_has);
        let through = Slot(droppable.0.saturating_sub(self.config.compact_keep_entries));
        let count = through.0.saturating_sub(self.log.base().0);
        (count > 0 && count >= self.config.compact_after_entries).then_some((through, "every member has it durably"))
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

    /// What the base of the log stands for.
    pub(crate) fn base_anchor(&self) -> Anchor {
        let slot = self.log.base();
        Anchor { slot, configuration: self.log.configuration_at(slot).clone() }
    }
}
