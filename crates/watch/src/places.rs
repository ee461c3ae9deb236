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
        let Some(watcher) = self.watchers.get(&key) else { return };
        let cursor = watcher.cursor;
        if cursor < self.first_kept_change {
            return self.cancel_compacted(key, sink);
        }
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
            cohort.goal = front;
        }
        // If all who can were let in while others wait, the cohort might never be empty and those wait for ever.
        let joins = cursor >= cohort.position && !is_anyone_waiting;
        self.move_to(key, if joins { Place::Cohort(number) } else { Place::Waiting(number) });
    }

    /// Ends a cohort's way: its members go on from its position with whomever that is.
    pub(crate) fn disband(&mut self, number: usize, steps_until: u64, sink: &mut dyn Sink) {
        let position = self.cohorts[number].position;
        while self.steps < steps_until
            && let Some(key) = self.cohorts[number].members.first().copied()
        {
            self.steps += 1;
            if let Some(watcher) = self.watchers.get_mut(&key) {
                watcher.cursor = watcher.cursor.max(position);
                self.find_place(key, sink);
            }
        }
    }

    /// Lets those who wait for a cohort set out, if nobody is left in it.
    pub(crate) fn set_out_again(&mut self, number: usize, sink: &mut dyn Sink) {
        if !self.cohorts[number].members.is_empty() || self.waiting[number].is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting[number]);
        self.steps += waiting.len() as u64;
        let cursors = waiting.iter().filter_map(|key| self.watchers.get(key)).map(|watcher| watcher.cursor);
        // What is compacted is not read: those watchers are cancelled in a moment.
        self.cohorts[number].position = cursors.min().unwrap_or(0).max(self.first_kept_change);
        self.cohorts[number].goal = self.cohorts[FRONT].position;
        for key in waiting {
            let Some(watcher) = self.watchers.get_mut(&key) else { continue };
            if watcher.cursor < self.first_kept_change || watcher.cursor >= self.cohorts[FRONT].position {
                self.find_place(key, sink);
            } else {
                self.move_to(key, Place::Cohort(number));
            }
        }
    }

    /// Cancels members of cohorts that a compaction has overtaken. Others learn of it when they are moved on. The front,
    /// which is behind by no fault of its watchers, goes on as long as nothing it has yet to read is dropped.
    pub(crate) fn note_compaction(&mut self, history: &dyn History, sink: &mut dyn Sink) {
        let compact_revision = history.compact_revision();
        if compact_revision > self.compact_revision {
            self.compact_revision = compact_revision;
            self.first_kept_change = history.first_change_after(compact_revision - 1);
        }
        for number in 0..COHORTS {
            let cohort = &mut self.cohorts[number];
            let unread = cohort.position..self.first_kept_change;
            if unread.is_empty() || (number == FRONT && history.is_whole(unread)) {
                continue;
            }
            let position = std::mem::replace(&mut cohort.position, self.first_kept_change);
            let members: Vec<WatcherKey> = cohort.members.iter().copied().collect();
            self.steps += members.len() as u64;
            for key in members {
                let overtaken = self.watchers.get(&key).is_some_and(|watcher| {
                    watcher.cursor.max(position) < self.first_kept_change
                        && watcher.start_revision < self.compact_revision
                });
                if overtaken {
                    self.cancel_compacted(key, sink);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{CreateWatch, WatchLimits};
    use crate::response::WatchResponse;
    use quorate_keyspace::{Keyspace, LogPlace, PutRequest, Request};
    use quorate_machine::StateMachine;
    use quorate_types::Time;

    struct Discard;

    impl Sink for Discard {
        fn room(&self, _stream: StreamId) -> usize {
            usize::MAX
        }

        fn deliver(&mut self, _stream: StreamId, response: WatchResponse) {
            drop(response);
        }
    }

    /// A hub at the end of a history of 100 changes, and where watchers from these revisions on find a place.
    fn places_of(start_revisions: &[i64]) -> (WatchHub, Keyspace, Vec<Place>) {
        let mut keyspace = Keyspace::empty();
        for _ in 0..100 {
            let put = PutRequest { key: "a".into(), ..PutRequest::default() };
            keyspace.apply_request(LogPlace::default(), &Request::Put(put));
        }
        let mut hub = WatchHub::new(WatchLimits::default(), &keyspace);
        let stream = hub.open_stream();
        for start_revision in start_revisions {
            let request = CreateWatch { start_revision: *start_revision, ..CreateWatch::default() };
            hub.create(stream, &request, &keyspace, Time::ZERO, &mut Discard).expect("nothing is wrong with it");
        }
        let places = hub.watchers.values().map(|watcher| watcher.place).collect();
        (hub, keyspace, places)
    }

    #[test]
    fn a_watcher_joins_a_cohort_that_has_not_passed_it_and_waits_for_one_that_has() {
        let (_, _, places) = places_of(&[50, 60, 40, 0, 200]);
        let (with_the_cohort, front) = (Place::Cohort(1), Place::Cohort(FRONT));
        assert_eq!(places, [with_the_cohort, with_the_cohort, Place::Waiting(1), front, front]);
    }

    #[test]
    fn who_could_join_waits_too_while_others_wait_so_that_the_cohort_empties_and_sets_out_again() {
        let (mut hub, keyspace, places) = places_of(&[50, 40, 60]);
        assert_eq!(places, [Place::Cohort(1), Place::Waiting(1), Place::Waiting(1)]);
        assert!(!hub.advance(&keyspace, Time::ZERO, &mut Discard).more_work);
        assert!(hub.watchers.values().all(|watcher| watcher.place == Place::Cohort(FRONT)));
    }
}
