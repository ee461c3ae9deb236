//! What the hub needs to know of the store.

use quorate_keyspace::{Change, KeyValue, Keyspace};
use std::ops::Range;

/// The numbered history of a store, as watchers read it.
///
/// A change has the same number on every replica, for ever, so a number is a cursor that also means the same after the
/// whole state was replaced by a newer snapshot of another replica.
pub trait History {
    /// The main revision of the last write.
    fn revision(&self) -> i64;

    /// The revision the history is compacted at; 0 if it never was. Every change of this revision and of later ones must
    /// be there; of the earlier ones any may be missing.
    fn compact_revision(&self) -> i64;

    /// The number that the next change will have.
    fn next_change(&self) -> u64;

    /// Change `number`, if it is still there.
    fn change(&self, number: u64) -> Option<Change>;

    /// The number of the first change of a revision greater than `main` that is still there;
    /// [`History::next_change`] if none is. If changes of such revisions were dropped, it must not be the number of one of
    /// those: a watcher that has yet to read them is recognized by its cursor being less.
    fn first_change_after(&self, main: i64) -> u64;

    /// Whether all changes of these numbers are still there. What a compaction condemned may stay for a while; a watcher that
    /// is about to read it anyway need not be cancelled.
    fn is_whole(&self, numbers: Range<u64>) -> bool;

    /// The pair that a change replaced; nothing if the key did not live just before, or if the revision before can no
    /// longer be read.
    fn pair_before(&self, change: &Change) -> Option<KeyValue>;
}

impl History for Keyspace {
    fn revision(&self) -> i64 {
        Keyspace::revision(self)
    }

    fn compact_revision(&self) -> i64 {
        Keyspace::compact_revision(self)
    }

    fn next_change(&self) -> u64 {
        Keyspace::first_change_after(self, Keyspace::revision(self))
    }

    fn change(&self, number: u64) -> Option<Change> {
        Keyspace::change(self, number)
    }

    fn first_change_after(&self, main: i64) -> u64 {
        self.next_kept_change(Keyspace::first_change_after(self, main))
    }

    fn is_whole(&self, numbers: Range<u64>) -> bool {
        let count = numbers.end.saturating_sub(numbers.start);
        self.live_items(numbers) == count
    }

    fn pair_before(&self, change: &Change) -> Option<KeyValue> {
        Keyspace::pair_before(self, change)
    }
}
