//! What must hold of one replica, one function per invariant of the crate's first page.

use crate::replica::{Ballots, Position, is_stop};
use quorate_protocol::Violation;
use quorate_types::Slot;

fn violated(invariant: &'static str, detail: String) -> Result<(), Violation> {
    Err(Violation { invariant, detail })
}

impl Ballots {
    pub(crate) fn check_cheap(&self) -> Result<(), Violation> {
        self.marks_in_order()?;
        self.own_ballot()?;
        self.stop_sign_final()
    }

    pub(crate) fn check_costly(&self) -> Result<(), Violation> {
        self.accepted_le_promised()?;
        self.no_gap_chosen()?;
        self.sums_are_right()?;
        self.one_value_per_ballot()
    }

    fn marks_in_order(&self) -> Result<(), Violation> {
        let (trim, chosen, decided, applied) = (self.log.trim(), self.chosen, self.decided, self.applied);
        let ascending = self.applied_durable <= applied && applied <= decided && decided <= chosen && trim <= chosen;
        let beginning = if self.installing.is_some() { decided < trim } else { trim <= decided };
        if ascending && beginning && self.flushed >= decided && self.received >= chosen {
            return Ok(());
        }
        let (flushed, received) = (self.flushed, self.received);
        let detail = format!(
            "trim {trim}, applied {applied}, decided {decided}, chosen {chosen}, flushed {flushed}, received {received}"
        );
        violated("MarksInOrder", detail)
    }

    fn own_ballot(&self) -> Result<(), Violation> {
        match self.position {
            Position::Follower => Ok(()),
            _ if self.promised.node == self.me && self.members.is_voter(self.me) => Ok(()),
            _ => violated("OneLeaderPerBallot", format!("{} acts in ballot {}", self.me, self.promised)),
        }
    }

    fn stop_sign_final(&self) -> Result<(), Violation> {
        let Position::Leader(leadership) = &self.position else { return Ok(()) };
        match leadership.stop_at {
            Some(stop) if stop != leadership.last => {
                violated("StopSignFinal", format!("slot {} is proposed above the stop-sign at {stop}", leadership.last))
            }
            _ => Ok(()),
        }
    }

    fn accepted_le_promised(&self) -> Result<(), Violation> {
        match self.log.from(Slot::ZERO).find(|(slot, entry)| entry.ballot > self.promised || *slot <= self.log.trim()) {
            Some((slot, entry)) => {
                let detail = format!("slot {slot} is accepted in {}, promised is {}", entry.ballot, self.promised);
                violated("AcceptedLePromised", detail)
            }
            None => Ok(()),
        }
    }

    fn no_gap_chosen(&self) -> Result<(), Violation> {
        match (self.log.trim().0 + 1..=self.chosen.0).map(Slot).find(|slot| self.log.get(*slot).is_none()) {
            Some(slot) => violated("NoGapChosen", format!("slot {slot} is chosen and not in the log")),
            None => Ok(()),
        }
    }

    fn sums_are_right(&self) -> Result<(), Violation> {
        let undecided = self.log.from(self.chosen.next()).map(|(_, entry)| entry.payload.bytes()).sum::<u64>();
        match self.log.undecided_bytes() == undecided {
            true => Ok(()),
            false => {
                let counted = self.log.undecided_bytes();
                violated("SumsAreRight", format!("{counted} bytes are counted undecided, {undecided} are"))
            }
        }
    }

    /// A leader's log is its own proposals: behind what it knows chosen nothing else is, up to the last, and no stop-sign
    /// before the last.
    fn one_value_per_ballot(&self) -> Result<(), Violation> {
        let Position::Leader(leadership) = &self.position else { return Ok(()) };
        for slot in (self.chosen.0 + 1..=leadership.last.0).map(Slot) {
            let own = self.log.get(slot).is_some_and(|entry| {
                entry.ballot == self.promised && (slot == leadership.last || !is_stop(&entry.payload))
            });
            if !own {
                return violated("OneValuePerBallot", format!("slot {slot} is not this leader's own"));
            }
        }
        Ok(())
    }
}
