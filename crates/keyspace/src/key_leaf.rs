//! Some neighbouring keys and their histories.

use crate::key_history::KeyHistory;
use crate::packed_keys::{PackedKeys, reserve_some};

/// Keys in ascending order, and of each the numbers of its changes.
#[derive(Clone, Default)]
pub(crate) struct KeyLeaf {
    keys: PackedKeys,
    histories: Vec<KeyHistory>,
}

impl KeyLeaf {
    /// A leaf of one key.
    pub(crate) fn new(key: &[u8], history: KeyHistory) -> KeyLeaf {
        let mut leaf = KeyLeaf::default();
        leaf.insert(0, key, history);
        leaf
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.histories.len()
    }

    pub(crate) fn key(&self, index: usize) -> Box<[u8]> {
        self.keys.key(index)
    }

    /// The key's place, or the place where it would be.
    pub(crate) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        self.keys.search(key)
    }

    pub(crate) fn history(&self, index: usize) -> &KeyHistory {
        &self.histories[index]
    }

    pub(crate) fn history_mut(&mut self, index: usize) -> &mut KeyHistory {
        &mut self.histories[index]
    }

    pub(crate) fn histories(&self) -> &[KeyHistory] {
        &self.histories
    }

    /// Adds a key at the place that searching it gave.
    pub(crate) fn insert(&mut self, index: usize, key: &[u8], history: KeyHistory) {
        self.keys.insert(index, key);
        reserve_some(&mut self.histories);
        self.histories.insert(index, history);
    }

    pub(crate) fn remove(&mut self, index: usize) {
        self.keys.remove(index);
        self.histories.remove(index);
    }

    /// Moves the keys from `index` on into a leaf of their own.
    pub(crate) fn split_off(&mut self, index: usize) -> KeyLeaf {
        let mut upper = KeyLeaf { keys: self.keys.split_off(index), histories: self.histories.split_off(index) };
        upper.histories.shrink_to_fit();
        self.histories.shrink_to_fit();
        upper
    }

    /// Takes in the keys of the leaf behind this one.
    pub(crate) fn append(&mut self, mut next: KeyLeaf) {
        self.keys.append(&next.keys);
        self.histories.append(&mut next.histories);
        self.histories.shrink_to_fit();
    }
}
