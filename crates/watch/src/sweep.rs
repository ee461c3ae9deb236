//! One cohort reads on and its members get what they want.

use crate::history::History;
use crate::hub::WatchHub;
use crate::response::{ResponseBody, Sink, StreamId, WatchEvent, WatchResponse};
use crate::watcher::{Place, WatcherKey};
use quorate_keyspace::{Change, ChangeKind, KeyValue};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a cohort's members want of the changes read and have not been given yet. Never kept between calls.
#[derive(Default)]
struct Gathered {
    wanted: Vec<(WatcherKey, u64)>,
    /// Those of `wanted`, ascending.
    changes: Vec<(u64, Change)>,
}

/// One response's worth of events of whole revisions.
struct Portion {
    first_change: u64,
    /// The revision of the last event.
    revision: i64,
    events: Arc<[WatchEvent]>,
    bytes: usize,
}

/// By the numbers of the changes, and whether the pairs before are wanted: watchers that want the same share one.
type Portions = BTreeMap<(bool, Vec<u64>), Arc<[Portion]>>;

impl WatchHub {
    /// Moves cohort `number` on towards change `until` while the step count is less than `steps_until`.
    pub(crate) fn sweep(
        &mut self,
        number: usize,
        until: u64,
        steps_until: u64,
        history: &dyn History,
        sink: &mut dyn Sink,
    ) {
        let mut gathered = Gathered::default();
        while self.steps < steps_until && self.cohorts[number].position < until {
            if self.cohorts[number].members.is_empty() {
                self.cohorts[number].position = until;
            } else if !self.read_revision(number, history, &mut gathered) {
                break;
            } else if gathered.wanted.len() >= self.limits.gathered_events {
                self.hand_out(&mut gathered, history, sink);
            }
        }
        self.hand_out(&mut gathered, history, sink);
    }

    /// Reads the next revision whole; false if it is not there.
    fn read_revision(&mut self, number: usize, history: &dyn History, gathered: &mut Gathered) -> bool {
        let first = self.cohorts[number].position;
        let Some(mut change) = history.change(first) else { return false };
        let (main, mut current) = (change.revision.main, first);
        let gathered_before = gathered.wanted.len();
        let changes_before = gathered.changes.len();
        let mut found = Vec::new();
        // Too many for many watchers at once: each that wants some of it gets it on its own.
        let mut is_huge = false;
        loop {
            found.clear();
            self.steps += self.cohorts[number].find(&change.key, &mut found);
            found.retain(|key| self.watchers.get(key).is_some_and(|watcher| watcher.wants(current, &change)));
            if is_huge {
                self.send_alone(&found, first);
            } else if !found.is_empty() {
                gathered.wanted.extend(found.iter().map(|key| (*key, current)));
                gathered.changes.push((current, change));
                if gathered.wanted.len() - gathered_before > self.limits.gathered_events {
                    is_huge = true;
                    let wanting = gathered.wanted.split_off(gathered_before);
                    gathered.changes.truncate(changes_before);
                    self.send_alone(&wanting.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), first);
                }
            }
            current += 1;
            match history.change(current) {
                Some(next) if next.revision.main == main => change = next,
                _ => break,
            }
        }
        self.cohorts[number].position = current;
        true
    }

    fn send_alone(&mut self, keys: &[WatcherKey], cursor: u64) {
        for key in keys {
            if let Some(watcher) = self.watchers.get_mut(key) {
                watcher.cursor = watcher.cursor.max(cursor);
                self.alone_arrivals += 1;
                self.move_to(*key, Place::Alone(self.alone_arrivals));
            }
        }
        self.steps += keys.len() as u64;
    }

    /// Serves the watcher that waits longest for its huge revision, then lets it go on with others.
    pub(crate) fn serve_next_alone(&mut self, history: &dyn History, sink: &mut dyn Sink) {
        let Some((_, key)) = self.alone.first().copied() else { return };
        let Some(watcher) = self.watchers.get(&key) else { return };
        let first = watcher.cursor;
        // Half of a revision must not be told. But who waits here is behind by no fault of its own: a mark alone, while nothing
        // of what it has yet to read is dropped, does not cancel it.
        if first < self.first_kept_change && !history.is_whole(first..self.first_kept_change) {
            return self.cancel_compacted(key, sink);
        }
        if !self.may_deliver(key, sink) {
            return self.park(key, first);
        }
        let Some(watcher) = self.watchers.get(&key) else { return };
        let mut gathered = Gathered::default();
        let (mut current, mut main) = (first, None);
        while let Some(change) = history.change(current)
            && *main.get_or_insert(change.revision.main) == change.revision.main
        {
            if watcher.keys.contain(&change.key) && watcher.wants(current, &change) {
                gathered.wanted.push((key, current));
                gathered.changes.push((current, change));
            }
            current += 1;
            self.steps += 1;
        }
        self.move_to(key, Place::Nowhere);
        if let Some(watcher) = self.watchers.get_mut(&key) {
            watcher.cursor = current;
        }
        self.hand_out(&mut gathered, history, sink);
        if current < self.first_kept_change && history.is_whole(current..self.first_kept_change) {
            // No cohort reads below the mark.
            return self.send_alone(&[key], current);
        }
        self.find_place(key, sink);
    }

    /// Delivers what was gathered. Who finds no room is parked at the first change it did not get.
    fn hand_out(&mut self, gathered: &mut Gathered, history: &dyn History, sink: &mut dyn Sink) {
        let Gathered { mut wanted, changes } = std::mem::take(gathered);
        wanted.sort_unstable();
        let mut portions = Portions::new();
        for share in wanted.chunk_by(|left, right| left.0 == right.0) {
            let key = share[0].0;
            let numbers: Vec<u64> = share.iter().map(|(_, number)| *number).collect();
            self.serve(key, numbers, &changes, &mut portions, history, sink);
        }
    }

    fn serve(
        &mut self,
        key: WatcherKey,
        numbers: Vec<u64>,
        changes: &[(u64, Change)],
        portions: &mut Portions,
        history: &dyn History,
        sink: &mut dyn Sink,
    ) {
        if !self.may_deliver(key, sink) {
            return self.park(key, numbers[0]);
        }
        let Some(watcher) = self.watchers.get(&key) else { return };
        let response_bytes = self.limits.response_bytes;
        let wanted = portions
            .entry((watcher.prev_kv, numbers))
            .or_insert_with_key(|(prev_kv, numbers)| divide(numbers, *prev_kv, changes, response_bytes, history))
            .clone();
        for (index, portion) in wanted.iter().enumerate() {
            // The first was asked for above.
            if index > 0 && !self.may_deliver(key, sink) {
                return self.park(key, portion.first_change);
            }
            self.deliver_portion(key, portion, sink);
        }
    }

    fn deliver_portion(&mut self, key: WatcherKey, portion: &Portion, sink: &mut dyn Sink) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let (stream, watch_id) = (watcher.stream, watcher.watch_id);
        self.servings += 1;
        watcher.served = self.servings;
        if let Some(progress) = &mut watcher.progress {
            progress.idle = false;
        }
        let fragments = if watcher.fragment && portion.bytes > self.limits.fragment_bytes {
            fragments(&portion.events, self.limits.fragment_bytes)
        } else {
            vec![Arc::clone(&portion.events)]
        };
        // All fragments in one go, whatever the room: a client puts together what follows on the stream without
        // anything between, and loses what comes between.
        let last = fragments.len() - 1;
        for (index, events) in fragments.into_iter().enumerate() {
            self.steps += events.len() as u64;
            self.events_delivered += events.len() as u64;
            self.responses_delivered += 1;
            let body = ResponseBody::Events { events, fragment: index < last };
            sink.deliver(stream, WatchResponse { revision: portion.revision, watch_id, body });
        }
        if let Some(stream) = self.streams.get_mut(&stream)
            && stream.reserved == Some(key)
        {
            stream.reserved = None;
        }
        self.note_resumable(stream);
    }

    /// Whether a watcher may have room now. A stream found full stays so until the driver says otherwise.
    fn may_deliver(&mut self, key: WatcherKey, sink: &mut dyn Sink) -> bool {
        let Some(watcher) = self.watchers.get(&key) else { return false };
        let Some(stream) = self.streams.get(&watcher.stream) else { return false };
        if stream.full || stream.reserved.is_some_and(|reserved| reserved != key) {
            return false;
        }
        self.has_room(watcher.stream, sink)
    }

    /// Whether the stream has room; notes if not.
    pub(crate) fn has_room(&mut self, id: StreamId, sink: &mut dyn Sink) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        if !stream.full && sink.room(id) == 0 {
            stream.full = true;
            self.resumable.remove(&id);
        }
        !stream.full
    }

    fn park(&mut self, key: WatcherKey, cursor: u64) {
        if let Some(watcher) = self.watchers.get_mut(&key) {
            watcher.cursor = cursor;
            let served = watcher.served;
            self.move_to(key, Place::Parked(served));
        }
    }
}

/// The events of `numbers`, divided between revisions wherever `response_bytes` are reached.
fn divide(
    numbers: &[u64],
    prev_kv: bool,
    changes: &[(u64, Change)],
    response_bytes: usize,
    history: &dyn History,
) -> Arc<[Portion]> {
    let mut portions: Vec<Portion> = Vec::new();
    let (mut events, mut bytes, mut first_change, mut revision) = (Vec::new(), 0, 0, 0);
    for number in numbers.iter().copied() {
        let place = changes.binary_search_by_key(&number, |(number, _)| *number);
        let change = &changes[place.expect("every wanted change was gathered")].1;
        if !events.is_empty() && change.revision.main != revision && bytes >= response_bytes {
            portions.push(Portion { first_change, revision, events: std::mem::take(&mut events).into(), bytes });
            bytes = 0;
        }
        if events.is_empty() {
            first_change = number;
        }
        revision = change.revision.main;
        let before = if prev_kv { pair_before(change, history) } else { None };
        let event = WatchEvent::new(change.clone(), before);
        bytes += event.bytes();
        events.push(event);
    }
    if !events.is_empty() {
        portions.push(Portion { first_change, revision, events: events.into(), bytes });
    }
    portions.into()
}

fn pair_before(change: &Change, history: &dyn History) -> Option<KeyValue> {
    match change.kind {
        // A created key had no pair: no need to look.
        ChangeKind::Put { create_revision, .. } if create_revision == change.revision.main => None,
        _ => history.pair_before(change),
    }
}

/// Parts of at most `bytes_max`, but of at least one event each.
fn fragments(events: &[WatchEvent], bytes_max: usize) -> Vec<Arc<[WatchEvent]>> {
    let mut parts = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    for (index, event) in events.iter().enumerate() {
        if index > first && bytes + event.bytes() > bytes_max {
            parts.push(events[first..index].into());
            (first, bytes) = (index, 0);
        }
        bytes += event.bytes();
    }
    parts.push(events[first..].into());
    parts
}
