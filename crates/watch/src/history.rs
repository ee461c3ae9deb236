//! What the hub needs to know of the store.

use quorate_keyspace::{Change, KeyValue, Keyspace, Query, RangeRequest, Reply};
use quorate_machine::StateMachine;

/// The numbered history of a store, as watchers read it.
///
/// A change has the same number on every replica, for ever, so a number is a cursor that also means the same after the
/// whole state was replaced by a newer snapshot of another replica.
pub trait History {
    /// The main revision of the last write.
    fn revision(&self) -> i64;

    /// The revision the history is compacted at; 0 or less if it never was. Every change of this revision and of later
    /// ones must be there; of the earlier ones any may be missing.
    fn compacted_revision(&self) -> i64;

    /// The number that the next change will have.
    fn next_change(&self) -> u64;

    /// Change `number`, if it is still there.
    fn change(&self, number: u64) -> Option<Change>;

    /// The number of the first change of a revision greater than `main`, for any `main` not below the compacted
    /// revision minus one.
    fn first_change_after(&self, main: i64) -> u64;

    /// The pair that `key` had at `revision`; nothing if it had none or if that revision can no longer be read.
    fn pair_at(&self, key: &[u8], revision: i64) -> Option<KeyValue>;
}

impl History for Keyspace {
    fn revision(&self) -> i64 {
        Keyspace::revision(self)
    }

    fn compacted_revision(&self) -> i64 {
        0
    }

    fn next_change(&self) -> u64 {
        Keyspace::first_change_after(self, Keyspace::revision(self))
    }

    fn change(&self, number: u64) -> Option<Change> {
        Keyspace::change(self, number)
    }

    fn first_change_after(&self, main: i64) -> u64 {
        Keyspace::first_change_after(self, main)
    }

    fn pair_at(&self, key: &[u8], revision: i64) -> Option<KeyValue> {
        // To a range, revision 0 is "now"; before the first write there is nothing.
        if revision <= 0 {
            return None;
        }
        let request = RangeRequest { key: bytes::Bytes::copy_from_slice(key), revision, ..RangeRequest::default() };
        match self.query(&Query::Range(request)) {
            Reply::Range { kvs, .. } => kvs.into_iter().next(),
            _ => None,
        }
    }
}
