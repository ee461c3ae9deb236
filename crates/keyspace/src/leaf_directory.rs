//! The leaves of the index in order, found by key.
//!
//! Two levels above the leaves, each of packed keys: finding a leaf among a million keys reads few lines of memory, where a
//! map from bounds to leaves follows a pointer for every comparison.

use crate::key_leaf::KeyLeaf;
use crate::packed_keys::PackedKeys;
use std::ops::Bound;

/// A branch is divided when it would have more leaves than this.
const BRANCH_LEAVES_MAX: usize = 128;

/// Where a leaf stands. Adding or removing leaves makes it worthless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeafPlace {
    branch: usize,
    slot: usize,
}

/// Each leaf has a bound: a key that is not greater than any of the leaf's and greater than all of the leaves before.
#[derive(Clone, Default)]
pub(crate) struct LeafDirectory {
    /// The first bound of each branch.
    bounds: PackedKeys,
    /// None is empty.
    branches: Vec<Branch>,
}

#[derive(Clone, Default)]
struct Branch {
    bounds: PackedKeys,
    leaves: Vec<KeyLeaf>,
}

impl LeafDirectory {
    /// The leaf that has this key if any has: the last one whose bound is not greater.
    pub(crate) fn find(&self, key: &[u8]) -> Option<LeafPlace> {
        let branch = self.bounds.last_up_to(key)?;
        let slot = self.branches[branch].bounds.last_up_to(key)?;
        Some(LeafPlace { branch, slot })
    }

    fn last(&self) -> Option<LeafPlace> {
        let branch = self.branches.len().checked_sub(1)?;
        Some(LeafPlace { branch, slot: self.branches[branch].leaves.len() - 1 })
    }

    /// The place of the leaf behind.
    pub(crate) fn behind(&self, place: LeafPlace) -> Option<LeafPlace> {
        let LeafPlace { branch, slot } = place;
        if slot + 1 < self.branches[branch].leaves.len() {
            return Some(LeafPlace { branch, slot: slot + 1 });
        }
        (branch + 1 < self.branches.len()).then_some(LeafPlace { branch: branch + 1, slot: 0 })
    }

    pub(crate) fn leaf(&self, place: LeafPlace) -> &KeyLeaf {
        &self.branches[place.branch].leaves[place.slot]
    }

    pub(crate) fn leaf_mut(&mut self, place: LeafPlace) -> &mut KeyLeaf {
        &mut self.branches[place.branch].leaves[place.slot]
    }

    /// Adds a leaf in front of all. Its bound is the empty key, so that it takes every key below the next one's.
    pub(crate) fn push_front(&mut self, leaf: KeyLeaf) {
        if self.branches.is_empty() {
            self.branches.push(Branch::default());
        } else {
            self.bounds.remove(0);
        }
        self.bounds.insert(0, &[]);
        self.branches[0].insert(0, &[], leaf);
        self.divide_if_full(0);
    }

    /// Adds a leaf behind another one. Its bound is its first key; `leaf` is not empty.
    pub(crate) fn insert_behind(&mut self, place: LeafPlace, leaf: KeyLeaf) {
        let bound = leaf.key(0);
        self.branches[place.branch].insert(place.slot + 1, &bound, leaf);
        self.divide_if_full(place.branch);
    }

    fn divide_if_full(&mut self, index: usize) {
        let branch = &mut self.branches[index];
        if branch.leaves.len() <= BRANCH_LEAVES_MAX {
            return;
        }
        // Keys that come in ascending order leave full branches behind.
        let is_last = index + 1 == self.bounds.len();
        let at = if is_last { BRANCH_LEAVES_MAX - 1 } else { BRANCH_LEAVES_MAX / 2 };
        let upper = Branch { bounds: branch.bounds.split_off(at), leaves: branch.leaves.split_off(at) };
        self.bounds.insert(index + 1, &upper.bounds.key(0));
        self.branches.insert(index + 1, upper);
    }

    pub(crate) fn remove(&mut self, place: LeafPlace) -> KeyLeaf {
        let branch = &mut self.branches[place.branch];
        branch.bounds.remove(place.slot);
        let leaf = branch.leaves.remove(place.slot);
        if branch.leaves.is_empty() {
            self.branches.remove(place.branch);
            self.bounds.remove(place.branch);
        } else if place.slot == 0 {
            let first = branch.bounds.key(0);
            self.bounds.remove(place.branch);
            self.bounds.insert(place.branch, &first);
        }
        leaf
    }

    /// The leaves that may have keys within these bounds, in order.
    pub(crate) fn within<'a>(
        &'a self,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = &'a KeyLeaf> + use<'a> {
        let start = LeafPlace { branch: 0, slot: 0 };
        let first = match lower {
            Bound::Included(key) | Bound::Excluded(key) => self.find(key).unwrap_or(start),
            Bound::Unbounded => start,
        };
        let last = match upper {
            Bound::Included(key) | Bound::Excluded(key) => self.find(key),
            Bound::Unbounded => self.last(),
        };
        let last = last.filter(|last| first <= *last);
        let branches = last.map_or(0..0, |last| first.branch..last.branch + 1);
        branches.flat_map(move |index| {
            let leaves = &self.branches[index].leaves;
            let from = if index == first.branch { first.slot } else { 0 };
            let to = last.filter(|last| last.branch == index).map_or(leaves.len(), |last| last.slot + 1);
            leaves.get(from..to).unwrap_or_default()
        })
    }
}

impl Branch {
    fn insert(&mut self, slot: usize, bound: &[u8], leaf: KeyLeaf) {
        self.bounds.insert(slot, bound);
        self.leaves.insert(slot, leaf);
    }
}
