//! A stopped replica's records, as a log to look at.

use crate::entry::{Configuration, Entry, Payload};
use crate::record::{Anchor, Record};
use crate::recovery::{Replay, inconsistent};
use quorate_protocol::{OpenError, SnapshotId};
use quorate_quorum::Quorum;
use quorate_types::{NodeId, Slot, Ticket};

/// What a journal's records say, read by the same rules as an opening replica reads them, without becoming one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLog {
    /// The latest term seen.
    pub term: u64,
    /// The vote in that term.
    pub voted_for: Option<NodeId>,
    /// What stands for everything before the entries. At slot 0 it is the founding configuration, empty for a member that joined.
    pub base: Anchor,
    /// The base came with this snapshot; the store may not have installed it yet.
    pub snapshot: Option<SnapshotId>,
    /// The entries from the slot behind the base on.
    pub entries: Vec<Entry>,
}

impl StoredLog {
    /// Replays records in the order written.
    ///
    /// # Errors
    /// When they contradict each other, as for a replica that opens.
    pub fn read(records: impl IntoIterator<Item = (Ticket, Record)>) -> Result<StoredLog, OpenError> {
        let mut replay = Replay::default();
        for (ticket, record) in records {
            replay.take(ticket, record)?;
        }
        let founding = Configuration::of(replay.founded.unwrap_or_default());
        let base = replay.anchor.unwrap_or(Anchor { slot: Slot::ZERO, term: 0, configuration: founding });
        if !replay.entries.is_empty() && replay.first != base.slot.next() {
            let first = replay.first;
            return inconsistent(format!(
                "the log begins at slot {first}, and what is before it ends at {}",
                base.slot
            ));
        }
        let mut last_term = base.term;
        for (slot, entry) in (base.slot.0 + 1..).zip(&replay.entries) {
            if entry.term < last_term {
                return inconsistent(format!("slot {slot} is of term {}, after {last_term}", entry.term));
            }
            last_term = entry.term;
        }
        let Replay { term, voted_for, snapshot, entries, .. } = replay;
        Ok(StoredLog { term, voted_for, base, snapshot, entries })
    }

    /// The last slot; the base's if there is no entry.
    #[must_use]
    pub fn last(&self) -> Slot {
        Slot(self.base.slot.0 + self.entries.len() as u64)
    }

    /// The term of the last slot.
    #[must_use]
    pub fn last_term(&self) -> u64 {
        self.entries.last().map_or(self.base.term, |entry| entry.term)
    }

    /// The entry in this slot, if it is kept.
    #[must_use]
    pub fn entry(&self, slot: Slot) -> Option<&Entry> {
        let behind = slot.0.checked_sub(self.base.slot.0)?.checked_sub(1)?;
        self.entries.get(usize::try_from(behind).ok()?)
    }

    /// The term of a slot, if the log still knows it.
    #[must_use]
    pub fn term_at(&self, slot: Slot) -> Option<u64> {
        if slot == self.base.slot { Some(self.base.term) } else { self.entry(slot).map(|entry| entry.term) }
    }

    /// The configuration in force, which is that of the last entry that brought one, decided or not, and that entry's slot.
    #[must_use]
    pub fn configuration(&self) -> (Slot, &Configuration) {
        let found = self.entries.iter().enumerate().rev().find_map(|(behind, entry)| match &entry.payload {
            Payload::Members(configuration) => {
                Some((Slot(self.base.slot.0 + 1 + behind as u64), configuration.as_ref()))
            }
            Payload::Command(_) | Payload::NoOp => None,
        });
        found.unwrap_or((self.base.slot, &self.base.configuration))
    }

    /// Whether this was a witness's: it voted, and its log has no commands. By the last configuration that names it.
    #[must_use]
    pub fn is_of_witness(&self, me: NodeId) -> bool {
        let brought = self.entries.iter().filter_map(|entry| match &entry.payload {
            Payload::Members(configuration) => Some(configuration.as_ref()),
            Payload::Command(_) | Payload::NoOp => None,
        });
        let named = std::iter::once(&self.base.configuration).chain(brought).flat_map(Configuration::all);
        named.filter(|member| member.id == me).last().is_some_and(|member| !member.stores_data())
    }

    /// The greatest slot that is certainly decided by what this disk holds, `applied` being what its store has applied. The decided
    /// mark itself is never written, so this is a lower bound; but whoever is the only voter decides whatever it has durably.
    #[must_use]
    pub fn certainly_decided(&self, me: NodeId, applied: Slot) -> Slot {
        let Configuration { outgoing, members } = self.configuration().1;
        let is_alone = outgoing.is_none() && Quorum::of(members).is_sole_voter(me);
        if is_alone { self.last() } else { applied.max(self.base.slot) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{Member, MemberRole, Membership};

    fn appended(ticket: u64, first: u64, terms: &[u64]) -> (Ticket, Record) {
        let entries: Vec<Entry> = terms.iter().map(|term| Entry { term: *term, payload: Payload::NoOp }).collect();
        (Ticket(ticket), Record::Append { first: Slot(first), entries: entries.into() })
    }

    #[test]
    fn it_is_read_as_a_replica_would_read_it() {
        let founded = (Ticket(1), Record::Founded { membership: Membership::of_voters(3) });
        let vote = (Ticket(2), Record::TermVote { term: 4, voted_for: Some(NodeId(2)) });
        let cut = (Ticket(4), Record::Truncate { from: Slot(3) });
        let records = vec![founded, vote, appended(3, 1, &[1, 1, 2]), cut, appended(5, 3, &[4])];
        let log = StoredLog::read(records).unwrap();
        assert_eq!((log.term, log.voted_for), (4, Some(NodeId(2))));
        assert_eq!((log.last(), log.last_term()), (Slot(3), 4));
        assert_eq!((log.term_at(Slot(0)), log.term_at(Slot(2)), log.term_at(Slot(4))), (Some(0), Some(1), None));
        assert_eq!(log.configuration(), (Slot(0), &Configuration::of(Membership::of_voters(3))));
        assert_eq!(
            log.certainly_decided(NodeId(1), Slot(2)),
            Slot(2),
            "what is decided is known only as far as applied"
        );
    }

    #[test]
    fn a_lone_voter_has_decided_what_it_has() {
        let founded = (Ticket(1), Record::Founded { membership: Membership::of_voters(1) });
        let log = StoredLog::read(vec![founded, appended(2, 1, &[1, 1])]).unwrap();
        assert_eq!(log.certainly_decided(NodeId(1), Slot(0)), Slot(2));
        assert_eq!(log.certainly_decided(NodeId(2), Slot(0)), Slot(0), "it is not the voter");
    }

    #[test]
    fn a_witness_is_known_by_the_last_configuration_that_names_it() {
        let witness = Member { role: MemberRole::Witness, ..Member::voter(NodeId(2)) };
        let members = Membership::new([Member::voter(NodeId(1)), witness]);
        let founded = (Ticket(1), Record::Founded { membership: members });
        let left = Configuration::of(Membership::of_voters(1));
        let left = Entry { term: 1, payload: Payload::Members(Box::new(left)) };
        let log =
            StoredLog::read(vec![founded, (Ticket(2), Record::Append { first: Slot(1), entries: vec![left].into() })]);
        let log = log.unwrap();
        assert!(log.is_of_witness(NodeId(2)), "what it was when it was a member");
        assert!(!log.is_of_witness(NodeId(1)) && !log.is_of_witness(NodeId(9)));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert!(StoredLog::read(vec![appended(1, 2, &[1])]).is_err(), "nothing stands for slot 1");
        assert!(StoredLog::read(vec![appended(1, 1, &[2, 1])]).is_err(), "terms never go down");
    }
}
