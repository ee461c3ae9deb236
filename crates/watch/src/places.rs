//! Where each watcher is: with the front, catching up, or waiting for room.

use crate::history::History;
use crate::hub::{COHORTS, FRONT, WatchHub};
use crate::response::{Sink, StreamId};
use crate::watcher::{Place, WatcherKey};

impl WatchHub {
    /// Takes a watcher from where it is to another place. Keeps the stream's count of watchers behind.
    pub(crate) fn move_to(&mut self, key: WatcherKey, place: Place) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let Some(stream) = self.streams.get_mut(&watcher.stream) else { return };
        let before = std::mem::replace(&mut watcher.place, place);
        match before {
            Place::Nowhere => {}
            Place::Cohort(cohort) => self.cohorts[cohort].leave(key, &watcher.keys),
            Place::Waiting(cohort) => {
                self.waiting[cohort].remove(&key);
            }
            Place::Alone(arrival) => {
                self.alone.remove(&(arrival, key));
            }
            Place::Parked(served) => {
                stream.parked.remove(&(served, key));
            }
        }
        match place {
            Place::Nowhere => {}
            Place::Cohort(cohort) => self.cohorts[cohort].join(key, &watcher.keys),
            Place::Waiting(cohort) => {
                self.waiting[cohort].insert(key);
            }
            Place::Alone(arrival) => {
                self.alone.insert((arrival, key));
            }
            Place::Parked(served) => {
                stream.parked.insert((served, key));
            }
        }
        let stream_id = watcher.stream;
        let front = Place::Cohort(FRONT);
        match (before == front, place == front) {
            (true, false) => stream.behind += 1,
            (false, true) => stream.behind -= 1,
            _ => {}
        }
        // Whoever the room was kept for has reached the front, gave up or is gone.
        if stream.reserved == Some(key) && (place == front || matches!(place, Place::Parked(_) | Place::Nowhere)) {
            stream.reserved = None;
        }
        self.note_resumable(stream_id);
        self.note_answerable(stream_id);
    }

    pub(crate) fn note_resumable(&mut self, stream: StreamId) {
        if self.streams.get(&stream).is_some_and(|stream| stream.may_resume()) {
            self.resumable.insert(stream);
        } else {
            self.resumable.remove(&stream);
        }
    }

    /// Puts a watcher with whom it can go on from its cursor, or cancels it if that is compacted.
    pub(crate) fn find_place(&mut self, key: WatcherKey, sink: &mut dyn Sink) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        if watcher.cursor < self.first_kept_change {
            if watcher.start_revision < self.compacted_revision {
                return self.cancel_compacted(key, sink);
            }
            // What it wants begins later: nothing of it is gone.
            watcher.cursor = self.first_kept_change;
        }
        let cursor = watcher.cursor;
        let front = self.cohorts[FRONT].position;
        if cursor >= front {
            return self.move_to(key, Place::Cohort(FRONT));
        }
        let behind = front - cursor;
        let number = 1 + self.limits.reach_changes.iter().take_while(|reach| behind > **reach).count();
        let cohort = &mut self.cohorts[number];
        let is_anyone_waiting = !self.waiting[number].is_empty();
        if cohort.members.is_empty() && !is_anyone_waiting {
            cohort.position = cursor;
        }
        // If all who can were let in while others wait, the cohort might never be empty and those wait for ever.
        let joins = cursor >= cohort.position && !is_anyone_waiting;
        self.move_to(key, if joins { Place::Cohort(number) } else { Place::Waiting(number) });
    }

    /// Lets those who wait for a cohort set out, if it has arrived.
    pub(crate) fn set_out_again(&mut self, number: usize, sink: &mut dyn Sink) {
        if !self.cohorts[number].members.is_empty() || self.waiting[number].is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting[number]);
        self.steps += waiting.len() as u64;
        let cursors = waiting.iter().filter_map(|key| self.watchers.get(key)).map(|watcher| watcher.cursor);
        // What is compacted is not read: those watchers are cancelled in a moment.
        self.cohorts[number].position = cursors.min().unwrap_or(0).max(self.first_kept_change);
        for key in waiting {
            let Some(watcher) = self.watchers.get_mut(&key) else { continue };
            if watcher.cursor < self.first_kept_change || watcher.cursor >= self.cohorts[FRONT].position {
                self.find_place(key, sink);
            } else {
                self.move_to(key, Place::Cohort(number));
            }
        }
    }

    /// Cancels members of cohorts that a compaction has overtaken. Others learn of it when they are moved on.
    pub(crate) fn note_compaction(&mut self, history: &dyn History, sink: &mut dyn Sink) {
        let compacted_revision = history.compacted_revision();
        if compacted_revision <= self.compacted_revision {
            return;
        }
        self.compacted_revision = compacted_revision;
        self.first_kept_change = history.first_change_after(compacted_revision - 1);
        for number in 0..COHORTS {
            let cohort = &mut self.cohorts[number];
            if cohort.position >= self.first_kept_change {
                continue;
            }
            let position = std::mem::replace(&mut cohort.position, self.first_kept_change);
            let members: Vec<WatcherKey> = cohort.members.iter().copied().collect();
            self.steps += members.len() as u64;
            for key in members {
                let overtaken = self.watchers.get(&key).is_some_and(|watcher| {
                    watcher.cursor.max(position) < self.first_kept_change && watcher.start_revision < compacted_revision
                });
                if overtaken {
                    self.cancel_compacted(key, sink);
                }
            }
        }
    }
}
