//! From committed to decided to applied to forgotten.

use crate::record::{Anchor, Record};
use crate::replica::{Broadcast, Claim};
use crate::rules;
use quorate_protocol::{Event, Outbox};
use quorate_types::{Slot, Ticket};

impl Broadcast {
    /// Rule 15: hands out what is committed and durable here, in order, up to a stop-sign.
    pub(crate) fn decide(&mut self, out: &mut Outbox<Broadcast>) {
        if self.installing.is_some() || self.stopped {
            return;
        }
        let before = self.decided;
        while self.decided < self.committed && !self.stopped {
            let slot = self.decided.next();
            let Some(txn) = self.log.get(slot).filter(|_| slot <= self.flushed) else {
                out.trace(|| Event::waiting(&rules::DELIVER).with("slot", slot));
                break;
            };
            out.decide(slot, txn.payload.decision());
            self.stopped = txn.payload.is_stop();
            self.decided = slot;
        }
        if self.decided > before {
            let slot = self.decided;
            out.trace(|| Event::allowed(&rules::DELIVER).with("slot", slot));
        }
    }

    pub(crate) fn machine_applied(&mut self, through: Slot, durable: Slot, out: &mut Outbox<Broadcast>) {
        let base = self.log.base().slot;
        let written = self.pending.iter().all(|claim| *claim != Claim::Snapshot);
        if self.installing.is_some() && written && (through, durable) == (base, base) {
            self.installing = None;
            self.decided = base;
            out.trace(|| Event::allowed(&rules::INSTALLED).with("slot", base));
        }
        if durable > through || through > self.decided {
            return out.trace(|| Event::refused(&rules::APPLIED).with("slot", through));
        }
        self.applied = self.applied.max(through);
        self.applied_durable = self.applied_durable.max(durable);
    }

    /// Forgets what is durably applied here, when it is worth a write.
    pub(crate) fn compact(&mut self, out: &mut Outbox<Broadcast>) {
        let Some((through, why)) = self.compact_through() else { return };
        let Some(base) = self.log.mark_at(through) else { return };
        self.log.drop_through(base);
        out.trace(|| Event::allowed(&rules::COMPACT).with("slot", through).with("why", why));
        let next = Ticket(out.last_ticket().0 + 1);
        let drop_before = self.log.first_ticket().unwrap_or(next);
        let baseline = vec![
            Record::Anchor(self.base_anchor()),
            Record::AcceptedEpoch(self.accepted_epoch),
            Record::CurrentEpoch(self.current_epoch),
        ];
        out.compact(baseline, drop_before);
    }

    fn compact_through(&self) -> Option<(Slot, &'static str)> {
        if self.installing.is_some() {
            return None;
        }
        let base = self.log.base().slot;
        let droppable = self.applied_durable.min(self.everyone_has);
        let through = Slot(droppable.0.saturating_sub(self.config.compact_keep_entries));
        if through.0.saturating_sub(base.0) >= self.config.compact_after_entries.max(1) {
            return Some((through, "every member has it durably"));
        }
        let (most, bytes, count) = (self.config.keep_log_entries, self.config.keep_log_bytes, self.log.count());
        let droppable = self.applied_durable.0.saturating_sub(base.0);
        if (count > most || self.log.bytes() > bytes) && droppable * 4 >= count.max(1) {
            // Three quarters of it may stay, so that the next time is not soon.
            let keep = (most - most / 4).min(count - count / 4);
            let through = Slot((base.0 + count).saturating_sub(keep)).min(self.applied_durable);
            return (through > base).then_some((through, "more is not kept for members that lag behind"));
        }
        None
    }

    pub(crate) fn base_anchor(&self) -> Anchor {
        let base = self.log.base();
        Anchor { slot: base.slot, zxid: base.zxid, members: self.members.clone() }
    }
}
