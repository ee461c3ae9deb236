//! One key's changes.

use std::collections::VecDeque;

/// A change's number, and whether it is a tombstone: then the change need not be read to be skipped or counted.
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

/// The numbers of one key's changes; at least one.
#[derive(Clone)]
pub(crate) struct KeyHistory {
    newest: Mark,
    past: Option<Box<Past>>,
}

impl KeyHistory {
    pub(crate) fn new(number: u64, is_delete: bool) -> KeyHistory {
        KeyHistory { newest: Mark::new(number, is_delete), past: None }
    }

    pub(crate) fn push(&mut self, number: u64, is_delete: bool) {
        let earlier = std::mem::replace(&mut self.newest, Mark::new(number, is_delete));
        match &mut self.past {
            Some(past) => past.0.push_back(earlier),
            None => self.past = Some(Box::new(Past(VecDeque::from([earlier])))),
        }
    }

    /// The put in force now.
    pub(crate) fn live(&self) -> Option<u64> {
        self.newest.live()
    }

    /// The put in force once the first `changes` changes of the store were made.
    pub(crate) fn live_at(&self, changes: u64) -> Option<u64> {
        if self.newest.number() < changes {
            return self.newest.live();
        }
        let past = &self.past.as_ref()?.0;
        let made = past.partition_point(|mark| mark.number() < changes);
        past.get(made.checked_sub(1)?)?.live()
    }

    /// Takes out the changes numbered below `bound`; returns whether none is left.
    pub(crate) fn forget_below(&mut self, bound: u64, forgotten: &mut Vec<u64>) -> bool {
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
