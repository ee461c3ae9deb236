//! Key -> the numbers of its changes, in order of key.
//!
//! Most keys have one change and are asked for as they are now, so the newest change sits in the map itself and only
//! a key with a past has an allocation for it.

use crate::interval::Interval;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// A change's number, and whether it is a tombstone: then the key need not be decoded to be skipped or counted.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark(u64);

impl Mark {
    fn new(number: u64, is_delete: bool) -> Mark {
        Mark(number << 1 | u64::from(is_delete))
    }

    fn number(self) -> u64 {
        self.0 >> 1
    }

    /// The number, if the key lives after this change.
    fn live(self) -> Option<u64> {
        if self.0 & 1 == 0 { Some(self.number()) } else { None }
    }
}

/// The changes before the newest one, in ascending order. Behind a pointer because most keys have none. Compaction takes
/// from the front, whatever the length.
#[derive(Clone)]
struct Past(VecDeque<Mark>);

/// One key's changes.
#[derive(Clone)]
struct KeyHistory {
    newest: Mark,
    past: Option<Box<Past>>,
}

impl KeyHistory {
    fn push(&mut self, mark: Mark) {
        let earlier = std::mem::replace(&mut self.newest, mark);
        match &mut self.past {
            Some(past) => past.0.push_back(earlier),
            None => self.past = Some(Box::new(Past(VecDeque::from([earlier])))),
        }
    }

    /// The put in force once the first `changes` changes of the store were made.
    fn live_at(&self, changes: u64) -> Option<u64> {
        if self.newest.number() < changes {
            return self.newest.live();
        }
        let past = &self.past.as_ref()?.0;
        let made = past.partition_point(|mark| mark.number() < changes);
        past.get(made.checked_sub(1)?)?.live()
    }

    /// Takes out the changes numbered below `bound`; returns whether none is left.
    fn forget_below(&mut self, bound: u64, forgotten: &mut Vec<u64>) -> bool {
        if let Some(past) = &mut self.past {
            while past.0.front().is_some_and(|mark| mark.number() < bound) {
                forgotten.extend(past.0.pop_front().map(Mark::number));
            }
            if past.0.is_empty() {
                self.past = None;
            } else if past.0.capacity() > 16 && past.0.len() * 4 < past.0.capacity() {
                past.0.shrink_to(past.0.len() * 2);
            }
        }
        if self.past.is_some() || self.newest.number() >= bound {
            return false;
        }
        forgotten.push(self.newest.number());
        true
    }
}

/// All keys that have a change.
#[derive(Clone, Default)]
pub(crate) struct KeyIndex {
    keys: BTreeMap<Box<[u8]>, KeyHistory>,
    live_keys: u64,
}

impl KeyIndex {
    /// Keys that live now.
    pub(crate) fn live_keys(&self) -> u64 {
        self.live_keys
    }

    /// Keys with a change, tombstones included.
    pub(crate) fn len(&self) -> u64 {
        self.keys.len() as u64
    }

    /// Notes that change `number`, the greatest so far, is one of `key`.
    pub(crate) fn record(&mut self, key: &[u8], number: u64, is_delete: bool) {
        let mark = Mark::new(number, is_delete);
        let was_live = match self.keys.get_mut(key) {
            Some(history) => {
                let was_live = history.newest.live().is_some();
                history.push(mark);
                was_live
            }
            None => {
                self.keys.insert(key.into(), KeyHistory { newest: mark, past: None });
                false
            }
        };
        match (was_live, is_delete) {
            (false, false) => self.live_keys += 1,
            (true, true) => self.live_keys -= 1,
            (true, false) | (false, true) => {}
        }
    }

    /// Takes out the changes of `key` numbered below `bound`, and the key with the last of them. Those are superseded
    /// changes and tombstones: what lives does not change.
    pub(crate) fn forget_below(&mut self, key: &[u8], bound: u64, forgotten: &mut Vec<u64>) {
        if self.keys.get_mut(key).is_some_and(|history| history.forget_below(bound, forgotten)) {
            self.keys.remove(key);
        }
    }

    /// The change that put `key` last, if it lives after the first `changes` changes of the store.
    pub(crate) fn live_at(&self, key: &[u8], changes: u64) -> Option<u64> {
        self.keys.get(key)?.live_at(changes)
    }

    /// For each key of the interval that lives after the first `changes` changes, in order of key, the change that
    /// put it last.
    pub(crate) fn live_in(&self, interval: Interval<'_>, changes: u64) -> impl DoubleEndedIterator<Item = u64> {
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) = interval.bounds();
        self.keys.range::<[u8], _>(bounds).filter_map(move |(_, history)| history.live_at(changes))
    }
}
