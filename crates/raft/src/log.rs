//! The log in memory, and the configurations it brings.

use crate::entry::{Configuration, Entries, Entry};
use quorate_quorum::Quorum;
use quorate_types::{Member, NodeId, Slot};
use std::collections::VecDeque;

/// The entries behind a base that stands for the prefix no longer kept.
///
/// Terms never go down along the log, so questions about terms are answered by bisection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Log {
    base_slot: Slot,
    base_term: u64,
    entries: VecDeque<Entry>,
    bytes: u64,
}

impl Log {
    /// An empty log behind this base; `Slot::ZERO` with term 0 for a log from the beginning.
    #[must_use]
    pub fn behind(base_slot: Slot, base_term: u64) -> Log {
        Log { base_slot, base_term, entries: VecDeque::new(), bytes: 0 }
    }

    /// The last slot no longer kept.
    #[must_use]
    pub fn base(&self) -> Slot {
        self.base_slot
    }

    /// The first slot kept, if any is.
    #[must_use]
    pub fn first(&self) -> Slot {
        self.base_slot.next()
    }

    /// The last slot; the base's if the log is empty.
    #[must_use]
    pub fn last(&self) -> Slot {
        Slot(self.base_slot.0 + self.entries.len() as u64)
    }

    /// The term of the last slot.
    #[must_use]
    pub fn last_term(&self) -> u64 {
        self.entries.back().map_or(self.base_term, |entry| entry.term)
    }

    /// How many entries are kept.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The weight of the entries kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entries kept, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The entry in a slot, if it is kept.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&Entry> {
        let behind_base = slot.0.checked_sub(self.base_slot.0)?;
        self.entries.get(usize::try_from(behind_base.checked_sub(1)?).ok()?)
    }

    /// The term in a slot: known for the entries kept and for the base.
    #[must_use]
    pub fn term_at(&self, slot: Slot) -> Option<u64> {
        if slot == self.base_slot {
            return Some(self.base_term);
        }
        self.get(slot).map(|entry| entry.term)
    }

    /// Appends one entry.
    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
    }

    /// Drops everything from `from` on. The base stays.
    pub fn truncate(&mut self, from: Slot) {
        let keep = from.0.saturating_sub(self.first().0);
        while self.count() > keep {
            self.bytes -= self.entries.pop_back().map_or(0, |entry| entry.bytes());
        }
    }

    /// Moves the base up to `through`, dropping the entries it stands for.
    pub fn drop_through(&mut self, through: Slot) {
        while self.base_slot < through {
            let Some(entry) = self.entries.pop_front() else { return };
            self.bytes -= entry.bytes();
            self.base_slot = self.base_slot.next();
            self.base_term = entry.term;
        }
    }

    /// The greatest slot up to `limit` whose term is at most `term`, the base included; `None` if that would lie before
    /// the base.
    #[must_use]
    pub fn last_of_term_at_most(&self, limit: Slot, term: u64) -> Option<Slot> {
        if self.base_term > term {
            return None;
        }
        let with_such_term = self.entries.partition_point(|entry| entry.term <= term) as u64;
        let found = Slot(self.base_slot.0 + with_such_term).min(limit);
        (found >= self.base_slot).then_some(found)
    }

    /// Entries from `from` on: at most `most_entries`, and as many as weigh `most_bytes`, but at least one if there is one.
    #[must_use]
    pub fn take_from(&self, from: Slot, most_entries: usize, most_bytes: u64) -> Taken {
        let skip = usize::try_from(from.0.saturating_sub(self.first().0)).unwrap_or(usize::MAX);
        let available = self.entries.len().saturating_sub(skip);
        let mut copied = Vec::with_capacity(available.min(most_entries));
        let mut bytes = 0;
        for entry in self.entries.range(skip.min(self.entries.len())..).take(most_entries) {
            if !copied.is_empty() && bytes + entry.bytes() > most_bytes {
                break;
            }
            bytes += entry.bytes();
            copied.push(entry.clone());
        }
        Taken { first: from, entries: Entries::from(copied), bytes }
    }

    /// How far to drop from the front, not past `limit`, so that what stays weighs at most `most_bytes` and counts at most
    /// `most_entries`; and what would be dropped weighs.
    #[must_use]
    pub fn excess(&self, most_bytes: u64, most_entries: u64, limit: Slot) -> (Slot, u64) {
        let (mut through, mut dropped) = (self.base_slot, 0);
        for entry in &self.entries {
            let fits = self.bytes - dropped <= most_bytes && self.last().0 - through.0 <= most_entries;
            if fits || through >= limit {
                break;
            }
            through = through.next();
            dropped += entry.bytes();
        }
        (through, dropped)
    }

    /// The weight of the entries behind `after`.
    #[must_use]
    pub fn bytes_behind(&self, after: Slot) -> u64 {
        let behind = self.last().0.saturating_sub(after.0);
        self.entries.iter().rev().take(usize::try_from(behind).unwrap_or(usize::MAX)).map(Entry::bytes).sum()
    }
}

/// Entries as they stood in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Taken {
    /// The slot of the first.
    pub first: Slot,
    /// They.
    pub entries: Entries,
    /// Their weight.
    pub bytes: u64,
}

impl Taken {
    /// Whether [`Log::take_from`] would give the same for these limits, of a log that ends with them.
    #[must_use]
    pub fn serves(&self, from: Slot, most_entries: usize, most_bytes: u64) -> bool {
        let count = self.entries.len();
        self.first == from && count <= most_entries && (count == 1 || self.bytes <= most_bytes)
    }
}

/// The configurations that the log brings: the base's, and one for each entry that changed it. The last one is in force from
/// the moment it is appended (dissertation, 4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Configurations {
    base: Configuration,
    appended: Vec<(Slot, Configuration)>,
    quorum: Quorum,
}

impl Configurations {
    /// The configuration at the base of the log.
    #[must_use]
    pub fn behind(base: Configuration) -> Configurations {
        let quorum = base.quorum();
        Configurations { base, appended: Vec::new(), quorum }
    }

    /// The one in force.
    #[must_use]
    pub fn in_force(&self) -> &Configuration {
        self.appended.last().map_or(&self.base, |(_, configuration)| configuration)
    }

    /// The one before it, with the slot that ended it, if the entry is still in the log.
    #[must_use]
    pub fn before_in_force(&self) -> Option<(&Configuration, Slot)> {
        let (ended_at, _) = self.appended.last()?;
        let before = self.appended.len().checked_sub(2).map_or(&self.base, |at| &self.appended[at].1);
        Some((before, *ended_at))
    }

    /// Those before the one in force, oldest first, each with the slot that ended it; as far as they are still in the log.
    pub fn earlier(&self) -> impl Iterator<Item = (&Configuration, Slot)> {
        let all = std::iter::once(&self.base).chain(self.appended.iter().map(|(_, configuration)| configuration));
        all.zip(self.appended.iter().map(|(slot, _)| *slot))
    }

    /// Those that entries in the log brought, oldest first.
    pub fn appended(&self) -> impl Iterator<Item = (&Configuration, Slot)> {
        self.appended.iter().map(|(slot, configuration)| (configuration, *slot))
    }

    /// Whether a member stores data, or did when it was one; nothing of whom none of these tells.
    #[must_use]
    pub fn stores_data(&self, id: NodeId) -> Option<bool> {
        let earlier = self.earlier().flat_map(|(configuration, _)| configuration.all());
        let known = earlier.chain(self.in_force().all()).filter(|member| member.id == id);
        known.last().map(Member::stores_data)
    }

    /// The slot that brought the one in force, if its entry is still in the log.
    #[must_use]
    pub fn in_force_since(&self) -> Option<Slot> {
        self.appended.last().map(|(slot, _)| *slot)
    }

    /// Who must agree now.
    #[must_use]
    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    /// The entry in `slot` changes the configuration.
    pub fn append(&mut self, slot: Slot, configuration: Configuration) {
        self.quorum = configuration.quorum();
        self.appended.push((slot, configuration));
    }

    /// Entries from `from` on are gone; says whether the configuration in force went with them.
    pub fn truncate(&mut self, from: Slot) -> bool {
        let kept = self.appended.partition_point(|(slot, _)| *slot < from);
        let rolled_back = kept < self.appended.len();
        self.appended.truncate(kept);
        if rolled_back {
            self.quorum = self.in_force().quorum();
        }
        rolled_back
    }

    /// The base moves up to `through`.
    pub fn drop_through(&mut self, through: Slot) {
        let dropped = self.appended.partition_point(|(slot, _)| *slot <= through);
        if let Some((_, configuration)) = self.appended.drain(..dropped).next_back() {
            self.base = configuration;
        }
    }

    /// The one that was in force once the entry in `slot` was appended; `slot` is not before the base.
    #[must_use]
    pub fn at(&self, slot: Slot) -> &Configuration {
        let brought = self.appended.partition_point(|(brought_by, _)| *brought_by <= slot);
        brought.checked_sub(1).map_or(&self.base, |last| &self.appended[last].1)
    }

    /// The configuration at the base.
    #[must_use]
    pub fn base(&self) -> &Configuration {
        &self.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Payload;
    use quorate_types::Membership;

    fn log_of(terms: &[u64]) -> Log {
        let mut log = Log::behind(Slot::ZERO, 0);
        for term in terms {
            log.push(Entry { term: *term, payload: Payload::NoOp });
        }
        log
    }

    #[test]
    fn the_greatest_slot_with_a_term_is_found_by_bisection() {
        let log = log_of(&[1, 1, 1, 4, 4, 5, 5, 6, 6, 6]);
        assert_eq!(log.last_of_term_at_most(Slot(10), 3), Some(Slot(3)));
        assert_eq!(log.last_of_term_at_most(Slot(2), 3), Some(Slot(2)));
        assert_eq!(log.last_of_term_at_most(Slot(10), 6), Some(Slot(10)));
        assert_eq!(log.last_of_term_at_most(Slot(10), 0), Some(Slot(0)));
    }

    #[test]
    fn below_the_base_nothing_is_known() {
        let mut log = log_of(&[1, 1, 2, 3]);
        log.drop_through(Slot(3));
        assert_eq!((log.base(), log.first(), log.last()), (Slot(3), Slot(4), Slot(4)));
        assert_eq!(log.term_at(Slot(3)), Some(2));
        assert_eq!(log.term_at(Slot(2)), None);
        assert_eq!(log.last_of_term_at_most(Slot(4), 1), None);
        assert_eq!(log.last_of_term_at_most(Slot(2), 2), None);
        assert_eq!(log.last_of_term_at_most(Slot(9), 2), Some(Slot(3)));
    }

    #[test]
    fn truncation_and_compaction_keep_the_weight_right() {
        let mut log = log_of(&[1, 2, 3, 4, 5]);
        log.truncate(Slot(5));
        log.drop_through(Slot(2));
        assert_eq!(log.bytes(), log.bytes_behind(Slot(2)));
        assert_eq!(log.count(), 2);
        log.truncate(Slot(1));
        assert_eq!((log.count(), log.bytes(), log.last(), log.last_term()), (0, 0, Slot(2), 2));
    }

    #[test]
    fn an_append_takes_what_fits_and_at_least_one_entry() {
        let log = log_of(&[1, 1, 1, 1]);
        assert_eq!(log.take_from(Slot(2), 2, u64::MAX).entries.len(), 2);
        assert_eq!(log.take_from(Slot(2), 9, 1).entries.len(), 1);
        assert_eq!(log.take_from(Slot(5), 9, 1).entries.len(), 0);
    }

    #[test]
    fn what_is_too_much_goes_from_the_front_and_never_past_the_limit() {
        let log = log_of(&[1, 1, 1, 1, 1]);
        let each = log.bytes() / 5;
        assert_eq!(log.excess(u64::MAX, 3, Slot(9)), (Slot(2), 2 * each));
        assert_eq!(log.excess(4 * each, 9, Slot(9)), (Slot(1), each));
        assert_eq!(log.excess(0, 9, Slot(2)), (Slot(2), 2 * each));
        assert_eq!(log.excess(0, 0, Slot(9)), (Slot(5), 5 * each));
        assert_eq!(log.excess(5 * each, 5, Slot(9)), (Slot::ZERO, 0));
    }

    #[test]
    fn the_configuration_at_a_slot_is_the_last_one_brought_up_to_there() {
        let of = |count| Configuration::of(Membership::of_voters(count));
        let mut configurations = Configurations::behind(of(3));
        configurations.append(Slot(4), of(4));
        configurations.append(Slot(7), of(5));
        let at = |slot| configurations.at(Slot(slot));
        assert_eq!([at(3), at(4), at(6), at(7), at(9)], [&of(3), &of(4), &of(4), &of(5), &of(5)]);
    }

    #[test]
    fn a_truncated_configuration_is_undone_and_a_compacted_one_becomes_the_base() {
        let of = |count| Configuration::of(Membership::of_voters(count));
        let mut configurations = Configurations::behind(of(3));
        configurations.append(Slot(4), of(4));
        configurations.append(Slot(7), of(5));
        assert!(configurations.truncate(Slot(7)));
        assert!(!configurations.truncate(Slot(5)));
        assert_eq!(configurations.in_force(), &of(4));
        assert_eq!(configurations.before_in_force(), Some((&of(3), Slot(4))));
        configurations.drop_through(Slot(4));
        assert_eq!((configurations.base(), configurations.before_in_force()), (&of(4), None));
        assert!(configurations.quorum().contains(NodeId(4)));
    }
}
