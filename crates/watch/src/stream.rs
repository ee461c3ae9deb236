//! One stream: its watchers, and what it waits for.

use crate::watcher::WatcherKey;
use std::collections::{BTreeMap, BTreeSet};

/// How many parked watchers are moved on at once after the first.
const RESUMED_AT_FIRST: usize = 2;
const RESUMED_AT_MOST: usize = 1024;

#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) watchers: BTreeMap<i64, WatcherKey>,
    next_watch_id: i64,
    /// How many of its watchers are not in the front cohort.
    pub(crate) behind: usize,
    /// It was seen without room, and nobody said since that it has some.
    pub(crate) full: bool,
    /// Its watchers in [`crate::watcher::Place::Parked`], those first that were served longest ago.
    pub(crate) parked: BTreeSet<(u64, WatcherKey)>,
    /// While set, only this watcher gets room. It is the one that had waited longest when the stream got room again;
    /// so each gets its turn, however busy the others are.
    pub(crate) reserved: Option<WatcherKey>,
    /// How many parked watchers to move on next; doubles while there is room.
    resume_count: usize,
    /// Asked for, and not yet answered.
    pub(crate) progress_requested: bool,
}

impl Stream {
    pub(crate) fn new() -> Stream {
        Stream {
            watchers: BTreeMap::new(),
            next_watch_id: 0,
            behind: 0,
            full: false,
            parked: BTreeSet::new(),
            reserved: None,
            resume_count: RESUMED_AT_FIRST,
            progress_requested: false,
        }
    }

    /// The id for a new watcher: the wished one if it is free; for a wish of 0 the next free one.
    pub(crate) fn choose_watch_id(&mut self, wished: i64) -> Option<i64> {
        if wished != 0 {
            return if self.watchers.contains_key(&wished) { None } else { Some(wished) };
        }
        while self.watchers.contains_key(&self.next_watch_id) {
            self.next_watch_id = self.next_watch_id.wrapping_add(1);
        }
        let chosen = self.next_watch_id;
        self.next_watch_id = chosen.wrapping_add(1);
        Some(chosen)
    }

    /// It has room again: the first to move on gets the room alone, then ever more at once.
    pub(crate) fn got_room(&mut self) {
        self.full = false;
        self.resume_count = RESUMED_AT_FIRST;
        self.reserved = self.parked.first().map(|(_, watcher)| *watcher);
    }

    /// The parked watchers to move on now.
    pub(crate) fn next_to_resume(&mut self) -> Vec<WatcherKey> {
        let count = self.resume_count;
        self.resume_count = (count * 2).min(RESUMED_AT_MOST);
        self.parked.iter().take(count).map(|(_, watcher)| *watcher).collect()
    }

    /// Whether parked watchers may be moved on.
    pub(crate) fn may_resume(&self) -> bool {
        !self.full && self.reserved.is_none() && !self.parked.is_empty()
    }
}
