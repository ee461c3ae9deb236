//! The log in memory, and the configurations it brings.

use crate::entry::{Entries, Entry};
use crate::view::Configuration;
use quorate_types::Slot;
use std::collections::VecDeque;

/// The entries behind a base that stands for the prefix no longer kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Log {
    base: Slot,
    /// In force at the base.
    base_configuration: Configuration,
    entries: VecDeque<Entry>,
    /// The reconfigurations among the entries, by slot.
    reconfigurations: Vec<Slot>,
    bytes: u64,
}

impl Log {
    /// An empty log behind this base.
    #[must_use]
    pub fn behind(base: Slot, configuration: Configuration) -> Log {
        let (entries, reconfigurations) = (VecDeque::new(), Vec::new());
        Log { base, base_configuration: configuration, entries, reconfigurations, bytes: 0 }
    }

    /// The last slot no longer kept.
    #[must_use]
    pub fn base(&self) -> Slot {
        self.base
    }

    /// In force at the base.
    pub(crate) fn base_configuration(&self) -> &Configuration {
        &self.base_configuration
    }

    /// The first slot kept, if any is.
    #[must_use]
    pub fn first(&self) -> Slot {
        self.base.next()
    }

    /// The last slot, the paper's op-number; the base's if the log is empty.
    #[must_use]
    pub fn last(&self) -> Slot {
        Slot(self.base.0 + self.entries.len() as u64)
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
        let behind_base = slot.0.checked_sub(self.base.0)?;
        self.entries.get(usize::try_from(behind_base.checked_sub(1)?).ok()?)
    }

    /// Appends one entry.
    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        if matches!(entry, Entry::Reconfiguration(_)) {
            self.reconfigurations.push(self.last().next());
        }
        self.entries.push_back(entry);
    }

    /// Drops everything from `from` on. The base stays.
    pub fn truncate(&mut self, from: Slot) {
        let keep = from.0.saturating_sub(self.first().0);
        while self.count() > keep {
            self.bytes -= self.entries.pop_back().map_or(0, |entry| entry.bytes());
        }
        self.reconfigurations.retain(|slot| *slot < from);
    }

    /// Moves the base up to `through`, dropping the entries it stands for.
    pub fn drop_through(&mut self, through: Slot) {
        while self.base < through {
            let Some(entry) = self.entries.pop_front() else { return };
            self.bytes -= entry.bytes();
            self.base = self.base.next();
            if let Entry::Reconfiguration(next) = entry {
                self.base_configuration = *next;
            }
        }
        let base = self.base;
        self.reconfigurations.retain(|slot| *slot > base);
    }

    /// Stands for everything up to `base` from now on, with what a snapshot says of it; entries behind stay.
    pub fn rebase(&mut self, base: Slot, configuration: Configuration) {
        let kept = base.0.saturating_sub(self.base.0).min(self.count());
        for _ in 0..kept {
            self.bytes -= self.entries.pop_front().map_or(0, |entry| entry.bytes());
        }
        self.base = base;
        self.base_configuration = configuration;
        self.reconfigurations.retain(|slot| *slot > base);
    }

    /// Entries from `from` on: at most `most_entries`, and as many as weigh `most_bytes`, but at least one if there is one.
    #[must_use]
    pub fn take_from(&self, from: Slot, most_entries: usize, most_bytes: u64) -> Entries {
        let skip = usize::try_from(from.0.saturating_sub(self.first().0)).unwrap_or(usize::MAX);
        let mut copied = Vec::new();
        let mut bytes = 0;
        for entry in self.entries.range(skip.min(self.entries.len())..).take(most_entries) {
            if !copied.is_empty() && bytes + entry.bytes() > most_bytes {
                break;
            }
            bytes += entry.bytes();
            copied.push(entry.clone());
        }
        Entries::from(copied)
    }

    /// All entries behind `after` and up to `through`.
    #[must_use]
    pub fn between(&self, after: Slot, through: Slot) -> Entries {
        let count = through.0.saturating_sub(after.0);
        self.take_from(after.next(), usize::try_from(count).unwrap_or(usize::MAX), u64::MAX)
    }

    /// The weight of the entries behind `after`.
    #[must_use]
    pub fn bytes_behind(&self, after: Slot) -> u64 {
        let behind = self.last().0.saturating_sub(after.0);
        self.entries.iter().rev().take(usize::try_from(behind).unwrap_or(usize::MAX)).map(Entry::bytes).sum()
    }

    /// How far to drop from the front, not past `limit`, so that what stays weighs at most `most_bytes` and counts at most
    /// `most_entries`; and what would be dropped weighs.
    #[must_use]
    pub fn excess(&self, most_bytes: u64, most_entries: u64, limit: Slot) -> (Slot, u64) {
        let (mut through, mut dropped) = (self.base, 0);
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

    /// The configuration in force behind `slot`, if everything up to there is committed; `slot` is not before the base.
    #[must_use]
    pub fn configuration_at(&self, slot: Slot) -> &Configuration {
        let brought = self.reconfigurations.iter().rev().find(|at| **at <= slot);
        brought.and_then(|at| self.reconfiguration_in(*at)).unwrap_or(&self.base_configuration)
    }

    /// The first reconfiguration behind `after`, if the log holds one.
    #[must_use]
    pub fn reconfiguration_behind(&self, after: Slot) -> Option<(Slot, &Configuration)> {
        let at = *self.reconfigurations.iter().find(|at| **at > after)?;
        Some((at, self.reconfiguration_in(at)?))
    }

    /// The configuration of this epoch, if the log or its base names it.
    #[must_use]
    pub fn configuration_of(&self, epoch: u64) -> Option<&Configuration> {
        let in_log = self.reconfigurations.iter().filter_map(|at| self.reconfiguration_in(*at));
        std::iter::once(&self.base_configuration).chain(in_log).find(|known| known.epoch == epoch)
    }

    /// The first reconfiguration in the log whose epoch is later than this.
    #[must_use]
    pub fn reconfiguration_of_later_epoch(&self, epoch: u64) -> Option<(Slot, &Configuration)> {
        let named = self.reconfigurations.iter().filter_map(|at| Some((*at, self.reconfiguration_in(*at)?)));
        named.into_iter().find(|(_, next)| next.epoch > epoch)
    }

    /// The configuration before the one of `epoch`, if it is still known: whom that epoch may have left behind.
    #[must_use]
    pub fn configuration_before(&self, epoch: u64) -> Option<&Configuration> {
        let in_log = self.reconfigurations.iter().filter_map(|at| self.reconfiguration_in(*at));
        std::iter::once(&self.base_configuration).chain(in_log).take_while(|known| known.epoch < epoch).last()
    }

    /// The last epoch that is named here, begun or not.
    #[must_use]
    pub fn newest_epoch(&self) -> u64 {
        self.configuration_at(self.last()).epoch
    }

    /// Where the epoch of this number begins, if its reconfiguration is still in the log.
    #[must_use]
    pub fn beginning_of(&self, epoch: u64) -> Option<Slot> {
        let begins = |at: &&Slot| self.reconfiguration_in(**at).is_some_and(|next| next.epoch == epoch);
        self.reconfigurations.iter().find(begins).copied()
    }

    fn reconfiguration_in(&self, slot: Slot) -> Option<&Configuration> {
        match self.get(slot)? {
            Entry::Reconfiguration(next) => Some(next),
            Entry::Commands(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quorate_types::Membership;

    fn configuration(epoch: u64) -> Configuration {
        Configuration { epoch, members: Membership::of_voters(epoch + 2) }
    }

    /// Commands, but for the named slots, which begin epochs 2, 3, …
    fn log(count: u64, reconfigurations: &[u64]) -> Log {
        let mut log = Log::behind(Slot::ZERO, configuration(1));
        for slot in 1..=count {
            let epoch = reconfigurations.iter().position(|at| *at == slot).map(|place| place as u64 + 2);
            log.push(match epoch {
                Some(epoch) => Entry::Reconfiguration(Box::new(configuration(epoch))),
                None => Entry::Commands(Bytes::from(vec![slot as u8])),
            });
        }
        log
    }

    #[test]
    fn the_configuration_at_a_slot_is_the_last_one_brought_up_to_there() {
        let mut log = log(9, &[4, 7]);
        let at = |log: &Log, slot| log.configuration_at(Slot(slot)).epoch;
        assert_eq!([at(&log, 3), at(&log, 4), at(&log, 6), at(&log, 7), at(&log, 9)], [1, 2, 2, 3, 3]);
        assert_eq!(log.reconfiguration_behind(Slot(4)).map(|(slot, next)| (slot, next.epoch)), Some((Slot(7), 3)));
        assert_eq!(log.configuration_before(3).map(|before| before.epoch), Some(2));
        log.drop_through(Slot(5));
        assert_eq!([at(&log, 5), at(&log, 9)], [2, 3]);
        log.truncate(Slot(7));
        assert_eq!((at(&log, 6), log.last(), log.reconfiguration_behind(Slot(5))), (2, Slot(6), None));
    }

    #[test]
    fn a_snapshot_stands_for_the_front_and_what_is_behind_it_stays() {
        let mut log = log(6, &[3]);
        log.rebase(Slot(4), configuration(2));
        assert_eq!((log.base(), log.last(), log.bytes()), (Slot(4), Slot(6), log.bytes_behind(Slot(4))));
        log.rebase(Slot(9), configuration(5));
        assert_eq!((log.base(), log.last(), log.bytes()), (Slot(9), Slot(9), 0));
        assert_eq!(log.configuration_at(Slot(9)).epoch, 5);
    }

    #[test]
    fn what_is_too_much_goes_from_the_front_and_never_past_the_limit() {
        let log = log(5, &[]);
        let each = log.bytes() / 5;
        assert_eq!(log.excess(u64::MAX, 3, Slot(9)), (Slot(2), 2 * each));
        assert_eq!(log.excess(0, 9, Slot(2)), (Slot(2), 2 * each));
        assert_eq!(log.take_from(Slot(2), 2, u64::MAX).len(), 2);
        assert_eq!(log.take_from(Slot(2), 9, 1).len(), 1);
        assert_eq!(log.between(Slot(1), Slot(4)).len(), 3);
    }
}
