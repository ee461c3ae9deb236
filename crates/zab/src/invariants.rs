//! What must hold of one replica, one function per invariant of the crate's first page.

use crate::leading::LeaderStage;
use crate::replica::{Broadcast, Position};
use quorate_protocol::Violation;

fn violated(invariant: &'static str, detail: String) -> Result<(), Violation> {
    Err(Violation { invariant, detail })
}

impl Broadcast {
    pub(crate) fn check_cheap(&self) -> Result<(), Violation> {
        self.marks_in_order()?;
        self.epoch_order()?;
        self.one_leader_per_epoch()?;
        self.primary_integrity()?;
        self.stop_sign_final()
    }

    pub(crate) fn check_costly(&self) -> Result<(), Violation> {
        self.local_primary_order()?;
        self.sums_are_right()?;
        self.acknowledged_is_sent()
    }

    fn sums_are_right(&self) -> Result<(), Violation> {
        let undecided = self.log.from(self.committed.next()).map(|(_, txn)| txn.bytes()).sum::<u64>();
        match self.log.undecided_bytes() == undecided {
            true => Ok(()),
            false => {
                let counted = self.log.undecided_bytes();
                violated("SumsAreRight", format!("{counted} bytes are counted undecided, {undecided} are"))
            }
        }
    }

    fn marks_in_order(&self) -> Result<(), Violation> {
        let (base, last) = (self.log.base().slot, self.log.last().slot);
        let (flushed, committed, decided, applied) = (self.flushed, self.committed, self.decided, self.applied);
        let ascending = self.applied_durable <= applied && applied <= decided && decided <= committed;
        let within = base <= committed && committed <= last && flushed <= last;
        let beginning = match self.installing.is_some() {
            true => decided < base,
            false => base <= decided && decided <= flushed,
        };
        if ascending && within && beginning {
            return Ok(());
        }
        let detail = format!(
            "base {base}, applied {applied}, decided {decided}, committed {committed}, flushed {flushed}, last {last}"
        );
        violated("MarksInOrder", detail)
    }

    fn epoch_order(&self) -> Result<(), Violation> {
        let (current, accepted, last) = (self.current_epoch, self.accepted_epoch, self.log.last());
        // A snapshot may be of a later epoch than this node ever took part in.
        let reached = accepted.max(self.log.base().zxid.epoch);
        match current <= accepted && last.zxid.epoch <= reached {
            true => Ok(()),
            false => violated("EpochOrder", format!("current {current}, accepted {accepted}, history up to {last}")),
        }
    }

    fn one_leader_per_epoch(&self) -> Result<(), Violation> {
        let Position::Leading(leadership) = &self.position else { return Ok(()) };
        let (current, accepted) = (self.current_epoch, self.accepted_epoch);
        let own = leadership.stage < LeaderStage::Recording || current == accepted;
        match own && self.members.is_voter(self.me) {
            true => Ok(()),
            false => violated("OneLeaderPerEpoch", format!("{} leads in {current}, accepted {accepted}", self.me)),
        }
    }

    /// Proposals are this epoch's, from its first on; and nothing is proposed before the initial history is committed.
    fn primary_integrity(&self) -> Result<(), Violation> {
        let Position::Leading(leadership) = &self.position else { return Ok(()) };
        let (last, proposed) = (self.log.last(), self.log.last().slot.0.saturating_sub(leadership.initial.0));
        let counted = proposed == u64::from(leadership.counter);
        let own = proposed == 0
            || (last.zxid.epoch == self.accepted_epoch
                && last.zxid.counter == leadership.counter
                && self.committed >= leadership.initial);
        match counted && own {
            true => Ok(()),
            false => violated("PrimaryIntegrity", format!("{proposed} are proposed, the last is {last}")),
        }
    }

    fn stop_sign_final(&self) -> Result<(), Violation> {
        let Position::Leading(leadership) = &self.position else { return Ok(()) };
        let last = self.log.last().slot;
        match leadership.stop_at {
            Some(stop) if stop != last => {
                violated("StopSignFinal", format!("slot {last} is proposed above the stop-sign at {stop}"))
            }
            _ => Ok(()),
        }
    }

    fn local_primary_order(&self) -> Result<(), Violation> {
        let mut before = self.log.base();
        for (slot, txn) in self.log.from(before.slot.next()) {
            if slot != before.slot.next() || !before.zxid.is_followed_by(txn.zxid) {
                return violated("LocalPrimaryOrder", format!("{} at slot {slot} stands behind {before}", txn.zxid));
            }
            if txn.payload.is_stop() && slot != self.log.last().slot {
                return violated("StopSignFinal", format!("something stands behind the stop-sign at {slot}"));
            }
            before = crate::zxid::Mark { slot, zxid: txn.zxid };
        }
        Ok(())
    }

    fn acknowledged_is_sent(&self) -> Result<(), Violation> {
        let Position::Leading(leadership) = &self.position else { return Ok(()) };
        let last = self.log.last().slot;
        let is_fine = |peer: &crate::leading::Peer| {
            (peer.matched < peer.next || peer.matched.0 == 0)
                && peer.next <= last.next()
                && peer.told_committed <= self.committed
        };
        match leadership.peers.iter().find(|(_, peer)| !is_fine(peer)) {
            Some((id, peer)) => violated("AcknowledgedIsSent", format!("history up to {last}; {id}: {peer:?}")),
            None => Ok(()),
        }
    }
}
