//! The hub against slow and obvious twins: every watcher's events are what a filter over the whole history says, on
//! random schedules of writes, transactions, deletes, compactions, creates, cancels, stalled streams and jumps.

use crate::world::{ModelHistory, World, Write, delete, put, words};
use bytes::Bytes;
use quorate_keyspace::{Change, KeyValue, Keyspace};
use quorate_machine::StateMachine;
use quorate_watch::{
    CreateWatch, EventKind, Filters, NO_WATCH, ResponseBody, StreamId, WatchEvent, WatchLimits, WatchResponse,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Deterministic draws (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn chance(&mut self, in_hundred: u64) -> bool {
        self.below(100) < in_hundred
    }
}

/// What one watcher must be told, and how far it was.
struct Twin {
    request: CreateWatch,
    start_revision: i64,
    /// Index into the whole history: everything before was told or is not wanted.
    next: usize,
    /// Told up to here: its last progress or event.
    bookmark: i64,
}

impl Twin {
    fn wants(&self, change: &Change) -> bool {
        let (key, end) = (&self.request.key[..], &self.request.range_end[..]);
        let key = if key.is_empty() { &[0][..] } else { key };
        let in_range = match end {
            [] => change.key == key,
            [0] => &change.key[..] >= key,
            _ => &change.key[..] >= key && &change.key[..] < end,
        };
        let filters = self.request.filters;
        let filtered = if change.is_delete() { filters.no_delete } else { filters.no_put };
        in_range && !filtered && change.revision.main >= self.start_revision
    }

    fn next_wanted(&self, history: &ModelHistory) -> Option<usize> {
        (self.next..history.all.len()).find(|index| self.wants(&history.all[*index]))
    }

    fn is_told_through(&self, revision: i64, history: &ModelHistory) -> bool {
        self.next_wanted(history).is_none_or(|index| history.all[index].revision.main > revision)
    }

    fn check_event(&mut self, event: &WatchEvent, history: &ModelHistory) {
        let index = self.next_wanted(history).expect("an event where there is none");
        let change = &history.all[index];
        let main = change.revision.main;
        assert!(main > self.bookmark, "an event at {main} after the bookmark {}", self.bookmark);
        match change.clone().into_key_value() {
            Some(pair) => assert_eq!(event.kind, EventKind::Put(pair)),
            None => assert_eq!(event.kind, EventKind::Delete { key: change.key.clone(), mod_revision: main }),
        }
        let before: Option<KeyValue> = history.pair_ever(&change.key, main - 1);
        if !self.request.prev_kv {
            assert_eq!(event.prev_kv, None);
        } else if main > history.compact_revision {
            assert_eq!(event.prev_kv, before);
        } else {
            assert_eq!(event.prev_kv, None, "compacted");
        }
        self.next = index + 1;
    }
}

#[derive(Default)]
struct StreamTwin {
    watchers: BTreeMap<i64, Twin>,
    /// The watcher whose response is not whole yet.
    open_response: Option<i64>,
    progress_requested_at: Option<i64>,
}

struct Run {
    draw: Draw,
    world: World,
    streams: BTreeMap<StreamId, StreamTwin>,
    events: u64,
    compacted: u64,
    progress: u64,
    fragments: u64,
    slow_seen: u64,
}

const KEYS: [&str; 8] = ["a", "a1", "a2", "b", "b1", "c", "\0", "zz"];
const RANGES: [(&str, &str); 9] =
    [("a", "b"), ("a", "c"), ("a1", "b1"), ("", "\0"), ("b", "\0"), ("b", ""), ("a", ""), ("a2", ""), ("c", "zzz")];

impl Run {
    fn new(seed: u64) -> Run {
        let mut draw = Draw(seed);
        let limits = WatchLimits {
            steps_per_advance: 1 + draw.below(200),
            response_bytes: draw.below(600) as usize,
            fragment_bytes: draw.below(300) as usize,
            gathered_events: 1 + draw.below(12) as usize,
            reach_changes: [1 + draw.below(4), 6 + draw.below(10), 20 + draw.below(20)],
        };
        let mut world = World::with_limits(limits);
        // Half of the runs read the real thing.
        world.history.keyspace = draw.chance(50).then(Keyspace::empty);
        Run { draw, world, streams: BTreeMap::new(), events: 0, compacted: 0, progress: 0, fragments: 0, slow_seen: 0 }
    }

    fn some_stream(&mut self) -> Option<StreamId> {
        let count = self.streams.len() as u64;
        if count == 0 {
            return None;
        }
        let index = self.draw.below(count) as usize;
        self.streams.keys().nth(index).copied()
    }

    fn write(&mut self) {
        let count = if self.draw.chance(10) { 1 + self.draw.below(20) } else { 1 + self.draw.below(3) };
        let mut keys: Vec<usize> = (0..KEYS.len()).collect();
        let mut writes: Vec<Write> = Vec::new();
        for number in 0..count {
            if keys.is_empty() {
                break;
            }
            let key = KEYS[keys.swap_remove(self.draw.below(keys.len() as u64) as usize)];
            let value = "v".repeat(self.draw.below(60) as usize) + &number.to_string();
            writes.push(if self.draw.chance(30) { delete(key) } else { put(key, &value) });
        }
        self.world.write(&writes);
    }

    fn compact(&mut self) {
        let (low, high) = (self.world.history.compact_revision.max(1), self.world.history.revision);
        let revision = low + self.draw.below((high - low + 1) as u64) as i64;
        self.world.history.compact(revision);
    }

    fn create(&mut self) {
        let Some(stream) = self.some_stream() else { return };
        let (key, range_end) = RANGES[self.draw.below(RANGES.len() as u64) as usize];
        let revision = self.world.history.revision;
        let start_revision = match self.draw.below(4) {
            0 => 0,
            1 => revision + self.draw.below(5) as i64,
            _ => 1 + self.draw.below(revision as u64) as i64,
        };
        let request = CreateWatch {
            key: Bytes::from(key),
            range_end: Bytes::from(range_end),
            start_revision,
            prev_kv: self.draw.chance(50),
            filters: Filters { no_put: self.draw.chance(10), no_delete: self.draw.chance(10) },
            progress_interval: self.draw.chance(30).then(|| Duration::from_secs(1 + self.draw.below(5))),
            fragment: self.draw.chance(30),
            watch_id: if self.draw.chance(20) { 1 + self.draw.below(8) as i64 } else { 0 },
        };
        let is_compacted = start_revision > 0 && start_revision < self.world.history.compact_revision;
        let created = self.world.create(stream, &request);
        let told = &mut self.world.queues.streams.get_mut(&stream).expect("open").told;
        let is_told_twice = matches!(told.last().expect("an answer").body, ResponseBody::Compacted { .. });
        let answers = told.split_off(told.len() - if is_told_twice { 2 } else { 1 });
        // A compaction may have freed the wished id just now.
        self.check_told(stream);
        let twin = self.streams.get_mut(&stream).expect("it is one of these");
        if request.watch_id != 0 && twin.watchers.contains_key(&request.watch_id) {
            assert_eq!(created, None);
            assert!(matches!(answers[0].body, ResponseBody::Refused { .. }));
            return;
        }
        assert_eq!(answers[0].body, ResponseBody::Created);
        assert_eq!(answers[0].revision, revision);
        assert_eq!(is_told_twice, is_compacted);
        assert_eq!(created.is_some(), !is_compacted);
        if let Some(watch_id) = created {
            assert_eq!(answers[0].watch_id, watch_id);
            let next = if start_revision == 0 { self.world.history.all.len() } else { 0 };
            let watcher = Twin { request, start_revision, next, bookmark: 0 };
            assert!(twin.watchers.insert(watch_id, watcher).is_none(), "an id given twice");
        }
    }

    fn cancel(&mut self) {
        let Some(stream) = self.some_stream() else { return };
        self.check_told(stream);
        let twin = self.streams.get_mut(&stream).expect("it is one of these");
        let known: Vec<i64> = twin.watchers.keys().copied().collect();
        let watch_id = match known.len() {
            0 => 3,
            count => known[self.draw.below(count as u64) as usize],
        };
        let was_there = twin.watchers.remove(&watch_id).is_some();
        self.world.cancel(stream, watch_id);
        let told: Vec<ResponseBody> = self.world.told(stream).into_iter().map(|response| response.body).collect();
        assert_eq!(told, if was_there { vec![ResponseBody::Canceled] } else { vec![] });
    }

    fn check_told(&mut self, stream: StreamId) {
        for response in self.world.told(stream) {
            let said = words(&response);
            self.check_response(stream, &response, &said);
        }
        let twin = &self.streams[&stream];
        assert_eq!(twin.open_response, None, "a response that stays unfinished would swallow others");
    }

    fn check_response(&mut self, stream: StreamId, response: &WatchResponse, said: &str) {
        let history = &self.world.history;
        let twin = self.streams.get_mut(&stream).expect("it is one of these");
        assert!(twin.open_response.is_none_or(|open| open == response.watch_id), "{said} amid fragments");
        if let (NO_WATCH, ResponseBody::Progress) = (response.watch_id, &response.body) {
            let requested_at = twin.progress_requested_at.take().expect("nobody asked");
            assert!(response.revision >= requested_at, "{said}: asked at {requested_at}");
            for watcher in twin.watchers.values_mut() {
                assert!(watcher.is_told_through(response.revision, history), "{said}: overtakes events");
                watcher.bookmark = response.revision;
            }
            self.progress += 1;
            return;
        }
        let watcher = twin.watchers.get_mut(&response.watch_id).unwrap_or_else(|| panic!("{said}: no such watcher"));
        match &response.body {
            ResponseBody::Events { events, fragment } => {
                assert!(!events.is_empty());
                for event in events.iter() {
                    watcher.check_event(event, history);
                    self.events += 1;
                }
                let last = history.all[watcher.next - 1].revision.main;
                assert_eq!(response.revision, response.revision.clamp(last, history.revision), "{said}: header");
                twin.open_response = fragment.then_some(response.watch_id);
                if *fragment {
                    assert!(watcher.request.fragment);
                    self.fragments += 1;
                } else {
                    assert!(watcher.is_told_through(last, history), "{said}: a revision divided");
                }
            }
            ResponseBody::Progress => {
                assert!(watcher.request.progress_interval.is_some(), "{said}: not asked for");
                assert!(watcher.is_told_through(response.revision, history), "{said}: overtakes events");
                watcher.bookmark = response.revision;
                self.progress += 1;
            }
            ResponseBody::Compacted { compact_revision } => {
                assert_eq!(response.revision, 0);
                assert!(*compact_revision <= history.compact_revision);
                assert!(watcher.start_revision < *compact_revision, "{said}: what it wants is there");
                let behind = history.all[watcher.next.min(history.all.len() - 1)..].first();
                assert!(
                    behind.is_some_and(|change| change.revision.main < *compact_revision),
                    "{said}: it was not behind"
                );
                twin.watchers.remove(&response.watch_id);
                self.compacted += 1;
            }
            other => panic!("{said}: unexpected {other:?}"),
        }
    }

    fn step(&mut self) {
        match self.draw.below(100) {
            0..=29 => self.write(),
            30..=32 => self.compact(),
            33..=36 => {
                let stream = self.world.open();
                self.streams.insert(stream, StreamTwin::default());
            }
            37..=49 => self.create(),
            50..=52 => self.cancel(),
            53..=57 => {
                if let Some(stream) = self.some_stream() {
                    self.world.hub.request_progress(stream);
                    let revision = self.world.history.revision;
                    self.streams.get_mut(&stream).expect("known").progress_requested_at.get_or_insert(revision);
                }
            }
            58..=62 => {
                if let Some(stream) = self.some_stream() {
                    self.world.stall(stream);
                }
            }
            63..=72 => {
                if let Some(stream) = self.some_stream() {
                    let capacity = if self.draw.chance(50) { 1 + self.draw.below(400) as usize } else { usize::MAX };
                    self.world.drain(stream, capacity);
                }
            }
            73 => {
                if let Some(stream) = self.some_stream() {
                    self.world.close(stream);
                    self.streams.remove(&stream);
                }
            }
            74 => {
                // Dropping what compactions condemned is this replica's own affair, at any time.
                if let Some(keyspace) = &mut self.world.history.keyspace {
                    keyspace.tidy();
                }
            }
            75..=76 => self.world.pass(Duration::from_millis(100 + self.draw.below(3000))),
            77 => {
                // A snapshot of a replica that is further on takes the state's place.
                for _ in 0..self.draw.below(12) {
                    self.write();
                }
                if self.draw.chance(60) {
                    self.compact();
                }
            }
            _ => {
                self.world.advance();
            }
        }
    }

    fn finish(&mut self) {
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            // A trickle: the queue takes one response at a time for a while, and still everybody gets on.
            for _ in 0..self.draw.below(3) {
                self.world.drain(stream, 1);
                self.world.settle();
            }
            self.world.drain(stream, usize::MAX);
        }
        self.world.settle();
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            self.check_told(stream);
            let twin = &self.streams[&stream];
            assert_eq!(twin.progress_requested_at, None, "progress never told");
            for (watch_id, watcher) in &twin.watchers {
                let missing = watcher.next_wanted(&self.world.history).map(|index| &self.world.history.all[index]);
                assert_eq!(missing, None, "watcher {watch_id} was never told");
            }
        }
        let stats = self.world.hub.stats();
        let watchers: usize = self.streams.values().map(|twin| twin.watchers.len()).sum();
        assert_eq!((stats.watchers, stats.slow_watchers, stats.pending_progress), (watchers, 0, 0));
    }
}

fn run(seed: u64) -> Run {
    let mut run = Run::new(seed);
    for _ in 0..150 {
        run.step();
        run.slow_seen += run.world.hub.stats().slow_watchers as u64;
        // A compaction is told with the history as it was: look before it changes again.
        for stream in run.streams.keys().copied().collect::<Vec<_>>() {
            run.check_told(stream);
        }
    }
    run.finish();
    run
}

#[test]
fn every_watcher_is_told_what_a_filter_over_the_whole_history_says() {
    let seeds = std::env::var("WATCH_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(3_000);
    let (mut events, mut compacted, mut progress, mut fragments, mut slow) = (0, 0, 0, 0, 0);
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| run(seed));
        let run = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
        events += run.events;
        compacted += run.compacted;
        progress += run.progress;
        fragments += run.fragments;
        slow += run.slow_seen;
    }
    println!(
        "{seeds} seeds: {events} events, {compacted} compacted, {progress} progress, {fragments} fragments, {slow} slow"
    );
    // A run in which these never happen proves nothing.
    assert!(events > 20 * seeds && compacted > 0 && progress > seeds / 2 && fragments > seeds && slow > seeds);
}
