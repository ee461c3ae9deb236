//! What must hold of one replica, one function per invariant of the crate's first page.

use crate::log::Entry;
use crate::replica::{Ballots, Position, is_stop};
use quorate_protocol::Violation;
use quorate_types::{NodeId, Slot};

/// So many slots behind what all know chosen are looked at together.
const SLOTS_TOGETHER_MOST: usize = 64;

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

/// `KnownIsChosen`, over those of one configuration who run: what one of them has handed out, no phase-1 quorum of them would make a
/// candidate propose otherwise. Looked at are the first slots that one of them may still ask about.
///
/// # Errors
/// A decision that could still be another.
pub fn check_known_is_chosen(running: &[&Ballots]) -> Result<(), Violation> {
    let Some(knower) = running.iter().max_by_key(|node| node.decided) else { return Ok(()) };
    let voters = || running.iter().filter(|node| node.is_voter());
    let Some(known_by_all) = voters().map(|node| node.chosen).min() else { return Ok(()) };
    for slot in (known_by_all.0 + 1..=knower.decided.0).map(Slot).take(SLOTS_TOGETHER_MOST) {
        let Some(known) = knower.log.get(slot) else { continue };
        // Who no longer keeps it says so, and then a snapshot comes first.
        let reports = || voters().filter(|node| node.log.trim() < slot).map(|node| (node.me, node.log.get(slot)));
        let rivals = reports().filter_map(|(_, entry)| entry).filter(|entry| entry.payload != known.payload);
        let rival = rivals.map(|entry| entry.ballot).max();
        // Of these alone a candidate would hear of the rival in the highest ballot, or of nothing.
        let misled = |(_, entry): &(NodeId, Option<&Entry>)| entry.map(|entry| entry.ballot) <= rival;
        let misleading: Vec<NodeId> = reports().filter(misled).map(|(id, _)| id).collect();
        if knower.quorums.is_phase1(misleading.len()) {
            let detail = format!(
                "{} has handed out slot {slot}, and on the word of {misleading:?} a candidate would propose something else",
                knower.me
            );
            return violated("KnownIsChosen", detail);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ballot::{Ballot, Payload};
    use crate::config::Config;
    use crate::record::{Anchor, Record};
    use quorate_protocol::{Durable, Outbox, Replica, Setup, Start};
    use quorate_types::{ClusterId, DiskId, Incarnation, Membership, Ticket};
    use std::collections::BTreeMap;

    /// A node of three that has slot 1 as accepted in a ballot of this round, if any, and has applied this much of it.
    fn node(id: u64, accepted: Option<(u64, &'static str)>, applied: u64) -> Ballots {
        let mut records = vec![Record::Anchor(Anchor {
            slot: Slot::ZERO,
            members: Membership::of_voters(3),
            quorums: BTreeMap::new(),
        })];
        records.extend(accepted.map(|(round, words)| Record::Accepted {
            ballot: Ballot { round, node: NodeId(1) },
            first: Slot(1),
            payloads: vec![Payload::Command(words.into())],
        }));
        let records = (1..).map(Ticket).zip(records).collect();
        let found = Durable { records, anchor: None, applied: Slot(applied) };
        let setup = Setup {
            cluster: ClusterId(0),
            me: NodeId(id),
            disk: DiskId(id),
            incarnation: Incarnation(1),
            start: Start::Join,
        };
        Ballots::open(&setup, &Config::default(), found, &mut Outbox::new(Ticket::NONE, false)).unwrap()
    }

    fn check(nodes: &[Ballots]) -> Result<(), &'static str> {
        check_known_is_chosen(&nodes.iter().collect::<Vec<_>>()).map_err(|violation| violation.invariant)
    }

    #[test]
    fn what_is_handed_out_would_be_found_again_by_every_quorum() {
        let knower = || node(1, Some((2, "a")), 1);
        assert_eq!(check(&[knower(), node(2, Some((2, "a")), 0), node(3, None, 0)]), Ok(()));
        assert_eq!(check(&[knower(), node(2, Some((2, "a")), 0), node(3, Some((1, "b")), 0)]), Ok(()));
        assert_eq!(check(&[knower(), node(2, None, 0)]), Ok(()), "who does not run may have it");
    }

    #[test]
    fn what_a_quorum_lacks_or_has_otherwise_is_not_chosen() {
        let knower = || node(1, Some((2, "a")), 1);
        assert_eq!(check(&[knower(), node(2, None, 0), node(3, None, 0)]), Err("KnownIsChosen"));
        assert_eq!(check(&[knower(), node(2, Some((2, "a")), 0), node(3, Some((3, "b")), 0)]), Err("KnownIsChosen"));
    }
}
