//! Watchers that read the history together.

use crate::interval_tree::IntervalTree;
use crate::watched_keys::WatchedKeys;
use crate::watcher::WatcherKey;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Watchers with one common position: each change is read once for all of them, and found by those that watch its key
/// without a look at the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cohort {
    /// The number of the next change to read. Always the first of its revision, or where the history ends.
    pub(crate) position: u64,
    /// Where the front was when this cohort set out. If others wait by the time it is there, it makes way for them: it
    /// might never reach a front that moves on as fast.
    pub(crate) goal: u64,
    pub(crate) members: BTreeSet<WatcherKey>,
    by_key: BTreeMap<Bytes, BTreeSet<WatcherKey>>,
    by_range: IntervalTree,
}

impl Cohort {
    pub(crate) fn join(&mut self, watcher: WatcherKey, keys: &WatchedKeys) {
        self.members.insert(watcher);
        match keys {
            WatchedKeys::One(key) => {
                self.by_key.entry(key.clone()).or_default().insert(watcher);
            }
            WatchedKeys::Range(start, limit) => self.by_range.insert(start, limit, watcher),
        }
    }

    pub(crate) fn leave(&mut self, watcher: WatcherKey, keys: &WatchedKeys) {
        self.members.remove(&watcher);
        match keys {
            WatchedKeys::One(key) => {
                if let Some(watchers) = self.by_key.get_mut(key) {
                    watchers.remove(&watcher);
                    if watchers.is_empty() {
                        self.by_key.remove(key);
                    }
                }
            }
            WatchedKeys::Range(start, limit) => self.by_range.remove(start, limit, watcher),
        }
    }

    /// Adds the members that watch `key` to `found`; returns the steps it took.
    pub(crate) fn find(&self, key: &[u8], found: &mut Vec<WatcherKey>) -> u64 {
        if let Some(watchers) = self.by_key.get(key) {
            found.extend(watchers);
        }
        let nodes = self.by_range.find(key, found);
        1 + nodes + found.len() as u64
    }
}
