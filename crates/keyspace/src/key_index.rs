//! Key -> the numbers of its changes, in order of key.
//!
//! Keys are kept in leaves of neighbours, which share their prefix: about 30 bytes a key for short keys, a third of what
//! a map from key to history takes.

use crate::interval::Interval;
use crate::key_history::KeyHistory;
use crate::key_leaf::KeyLeaf;
use crate::leaf_directory::{LeafDirectory, LeafPlace};
use std::ops::{Bound, Range};

/// A leaf is divided when it would have more keys than this.
const LEAF_KEYS_MAX: usize = 64;
/// A leaf that has lost keys and has fewer than this is joined with the next one, if both fit well.
const LEAF_KEYS_MIN: usize = 16;

/// All keys that have a change.
#[derive(Clone, Default)]
pub(crate) struct KeyIndex {
    directory: LeafDirectory,
    keys: u64,
    live_keys: u64,
}

impl KeyIndex {
    /// Keys that live now.
    pub(crate) fn live_keys(&self) -> u64 {
        self.live_keys
    }

    /// Keys with a change, tombstones included.
    pub(crate) fn len(&self) -> u64 {
        self.keys
    }

    /// Notes that change `number`, the greatest so far, is one of `key`. Returns the put that was in force.
    pub(crate) fn record(&mut self, key: &[u8], number: u64, is_delete: bool) -> Option<u64> {
        let before = match self.directory.find(key) {
            None => {
                self.directory.push_front(KeyLeaf::new(key, KeyHistory::new(number, is_delete)));
                self.keys += 1;
                None
            }
            Some(place) => {
                let leaf = self.directory.leaf_mut(place);
                match leaf.search(key) {
                    Ok(index) => {
                        let history = leaf.history_mut(index);
                        let before = history.live();
                        history.push(number, is_delete);
                        before
                    }
                    Err(index) => {
                        if let Some(upper) = insert_or_divide(leaf, index, key, KeyHistory::new(number, is_delete)) {
                            self.directory.insert_behind(place, upper);
                        }
                        self.keys += 1;
                        None
                    }
                }
            }
        };
        match (before.is_some(), is_delete) {
            (false, false) => self.live_keys += 1,
            (true, true) => self.live_keys -= 1,
            (true, false) | (false, true) => {}
        }
        before
    }

    /// Takes out the changes of `key` numbered below `bound`, and the key with the last of them. Those are superseded
    /// changes and tombstones: what lives does not change.
    pub(crate) fn forget_below(&mut self, key: &[u8], bound: u64, forgotten: &mut Vec<u64>) {
        let Some(place) = self.directory.find(key) else { return };
        let leaf = self.directory.leaf_mut(place);
        let Ok(index) = leaf.search(key) else { return };
        if !leaf.history_mut(index).forget_below(bound, forgotten) {
            return;
        }
        leaf.remove(index);
        self.keys -= 1;
        if leaf.len() < LEAF_KEYS_MIN {
            self.join_with_next(place);
        }
    }

    fn join_with_next(&mut self, place: LeafPlace) {
        let length = self.directory.leaf(place).len();
        let next = self.directory.behind(place);
        if let Some(next) = next.filter(|next| length + self.directory.leaf(*next).len() <= LEAF_KEYS_MAX * 3 / 4) {
            // The one behind: this one keeps its place.
            let next = self.directory.remove(next);
            self.directory.leaf_mut(place).append(next);
        } else if length == 0 {
            self.directory.remove(place);
        }
    }

    /// The change that put `key` last, if it lives after the first `changes` changes of the store.
    pub(crate) fn live_at(&self, key: &[u8], changes: u64) -> Option<u64> {
        let leaf = self.directory.leaf(self.directory.find(key)?);
        leaf.history(leaf.search(key).ok()?).live_at(changes)
    }

    /// For each key of the interval that lives after the first `changes` changes, in order of key, the change that
    /// put it last.
    pub(crate) fn live_in<'a>(
        &'a self,
        interval: Interval<'a>,
        changes: u64,
    ) -> impl DoubleEndedIterator<Item = u64> + 'a {
        let (lower, upper): (Bound<&[u8]>, Bound<&[u8]>) = interval.bounds();
        self.directory.within(lower, upper).flat_map(move |leaf| {
            let histories = &leaf.histories()[places(leaf, lower, upper)];
            histories.iter().filter_map(move |history| history.live_at(changes))
        })
    }
}

/// Which keys of a leaf are within bounds.
fn places(leaf: &KeyLeaf, lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> Range<usize> {
    let before = |key: &[u8], itself: bool| match leaf.search(key) {
        Ok(index) => index + usize::from(itself),
        Err(index) => index,
    };
    let start = match lower {
        Bound::Included(key) => before(key, false),
        Bound::Excluded(key) => before(key, true),
        Bound::Unbounded => 0,
    };
    let end = match upper {
        Bound::Included(key) => before(key, true),
        Bound::Excluded(key) => before(key, false),
        Bound::Unbounded => leaf.len(),
    };
    start..end.max(start)
}

/// Inserts a new key, and divides the leaf if it is full. Keys that come in ascending order leave full leaves behind.
fn insert_or_divide(leaf: &mut KeyLeaf, index: usize, key: &[u8], history: KeyHistory) -> Option<KeyLeaf> {
    if leaf.len() < LEAF_KEYS_MAX {
        leaf.insert(index, key, history);
        return None;
    }
    if index == leaf.len() {
        let mut upper = KeyLeaf::default();
        upper.insert(0, key, history);
        return Some(upper);
    }
    let mut upper = leaf.split_off(LEAF_KEYS_MAX / 2);
    match index.checked_sub(leaf.len()) {
        Some(index) if index > 0 => upper.insert(index, key, history),
        _ => leaf.insert(index, key, history),
    }
    Some(upper)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Keys that share prefixes of all lengths, and some that share none.
    fn key(number: u64) -> Vec<u8> {
        match number % 5 {
            0 => format!("{number}").into_bytes(),
            1 => format!("/registry/pods/default/pod-{number:06}").into_bytes(),
            2 => vec![0xff; (number % 40) as usize + 1],
            3 => format!("/registry/{number}").into_bytes(),
            _ => number.to_le_bytes().to_vec(),
        }
    }

    #[test]
    fn it_is_a_map_from_keys_to_changes_in_order_of_key() {
        let mut index = KeyIndex::default();
        let mut twin: BTreeMap<Vec<u8>, Vec<(u64, bool)>> = BTreeMap::new();
        let mut chance = 1u64;
        let mut bound = 0;
        for number in 0..30_000u64 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = key((chance >> 33) % 4_000);
            let history = twin.entry(key.clone()).or_default();
            let was_live = history.last().filter(|(_, is_delete)| !is_delete).map(|(number, _)| *number);
            let is_delete = was_live.is_some() && (chance >> 20).is_multiple_of(3);
            history.push((number, is_delete));
            assert_eq!(index.record(&key, number, is_delete), was_live);
            if number % 5_000 == 4_999 {
                bound = number - 500;
                compact(&mut index, &mut twin, bound);
            }
        }
        assert_eq!(index.len(), twin.len() as u64);
        let live = |changes: u64, from: &[u8], to: &[u8]| {
            let within = twin.iter().filter(move |(key, _)| key[..] >= *from && key[..] < *to);
            let newest = within.filter_map(move |(_, history)| history.iter().rfind(|(number, _)| *number < changes));
            newest.filter(|(_, is_delete)| !is_delete).map(|(number, _)| *number).collect::<Vec<_>>()
        };
        assert_eq!(index.live_keys(), live(u64::MAX, &[0], &[0xff; 99]).len() as u64);
        for step in 0..400u64 {
            let (mut from, mut to) = (key(step * 7), key(step * 13 + 5));
            if from > to {
                std::mem::swap(&mut from, &mut to);
            }
            let changes = bound + step * 2;
            let found: Vec<u64> = index.live_in(Interval::new(&from, &to), changes).collect();
            let expected = if from == to { vec![] } else { live(changes, &from, &to) };
            assert_eq!(found, expected);
            let mut backward: Vec<u64> = index.live_in(Interval::new(&from, &to), changes).rev().collect();
            backward.reverse();
            assert_eq!(found, backward);
        }
    }

    /// Forgets what is superseded or a tombstone below `bound`, in both.
    fn compact(index: &mut KeyIndex, twin: &mut BTreeMap<Vec<u8>, Vec<(u64, bool)>>, bound: u64) {
        for (key, history) in twin.iter_mut() {
            let below = history.partition_point(|(number, _)| *number < bound);
            let Some(last) = below.checked_sub(1) else { continue };
            let gone = if history[last].1 { below } else { last };
            let keep_from = history.get(gone).map_or(u64::MAX, |(number, _)| *number);
            let mut forgotten = Vec::new();
            index.forget_below(key, keep_from, &mut forgotten);
            let expected: Vec<u64> = history.drain(..gone).map(|(number, _)| number).collect();
            assert_eq!(forgotten, expected);
        }
        twin.retain(|_, history| !history.is_empty());
    }
}
