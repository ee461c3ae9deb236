//! Watchers over a state that is replaced by a newer one of another replica: nothing lost, doubled or back in time; or they
//! are told that it is compacted.

use bytes::Bytes;
use quorate_keyspace::{
    ChangeKind, DeleteRangeRequest, Keyspace, LogPlace, Operation, PutRequest, Request, TxnRequest,
};
use quorate_machine::StateMachine;
use quorate_types::Time;
use quorate_watch::{CreateWatch, EventKind, ResponseBody, Sink, StreamId, WatchHub, WatchLimits, WatchResponse};
use std::collections::BTreeMap;

struct Chance(u64);

impl Chance {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % count
    }

    fn key(&mut self) -> Bytes {
        Bytes::from(vec![b'a' + self.below(4) as u8])
    }

    fn put(&mut self) -> PutRequest {
        PutRequest { key: self.key(), value: Bytes::from_static(b"some value"), ..PutRequest::default() }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let range_end = if self.below(3) == 0 { self.key() } else { Bytes::new() };
        DeleteRangeRequest { key: self.key(), range_end, prev_kv: false }
    }

    fn request(&mut self, revision: i64) -> Request {
        match self.below(10) {
            0..=4 => Request::Put(self.put()),
            5..=6 => Request::DeleteRange(self.delete()),
            7 => {
                let success = vec![Operation::Put(self.put()), Operation::DeleteRange(self.delete())];
                Request::Txn(TxnRequest { success, ..TxnRequest::default() })
            }
            _ => Request::Compact { revision: revision - self.below(5) as i64 },
        }
    }
}

/// What a stream with one watcher was told.
#[derive(Default)]
struct Told {
    /// Key, revision, whether a put.
    events: Vec<(Bytes, i64, bool)>,
    compacted: Option<i64>,
    header: i64,
    progress: i64,
}

#[derive(Default)]
struct Streams {
    told: BTreeMap<StreamId, Told>,
    room: BTreeMap<StreamId, usize>,
}

impl Sink for Streams {
    fn room(&self, stream: StreamId) -> usize {
        self.room[&stream]
    }
    fn deliver(&mut self, stream: StreamId, response: WatchResponse) {
        let room = self.room.get_mut(&stream).expect("every stream has a room");
        *room = room.saturating_sub(response.bytes());
        let told = self.told.entry(stream).or_default();
        if told.compacted.is_some() {
            // A stream without watchers still answers for its progress.
            assert_eq!(response.body, ResponseBody::Progress, "nothing after the end");
            return;
        }
        if matches!(response.body, ResponseBody::Events { .. } | ResponseBody::Progress) {
            assert!(response.revision >= told.header, "back in time");
            told.header = response.revision;
        }
        match &response.body {
            ResponseBody::Events { events, .. } => {
                for event in events.iter() {
                    assert!(event.mod_revision() > told.progress, "progress overtook an event");
                    told.events.push((
                        event.key().clone(),
                        event.mod_revision(),
                        matches!(event.kind, EventKind::Put(..)),
                    ));
                }
            }
            ResponseBody::Compacted { compact_revision } => told.compacted = Some(*compact_revision),
            ResponseBody::Progress => told.progress = response.revision,
            _ => {}
        }
    }
}

/// Every request so far, applied to a twin that drops nothing.
struct History {
    requests: Vec<Request>,
    twin: Keyspace,
}

impl History {
    fn step(&mut self, state: &mut Keyspace, slot: &mut usize, chance: &mut Chance) {
        if *slot == self.requests.len() {
            let request = chance.request(self.twin.revision());
            self.twin.apply_request(LogPlace::default(), &request);
            self.requests.push(request);
        }
        state.apply_request(LogPlace::default(), &self.requests[*slot]);
        *slot += 1;
    }

    /// What a watcher of these keys, from this revision on, is to be told.
    fn of(&self, key: &Bytes, start: i64) -> Vec<(Bytes, i64, bool)> {
        let changes = (0..self.twin.item_count()).map(|number| self.twin.change(number).expect("nothing is dropped"));
        let wanted =
            changes.filter(|change| change.revision.main >= start && (key.as_ref() == [0] || change.key == key));
        wanted.map(|change| (change.key, change.revision.main, matches!(change.kind, ChangeKind::Put { .. }))).collect()
    }
}

struct Watched {
    stream: StreamId,
    key: Bytes,
    start: i64,
    has_room: bool,
    /// It is always with the front.
    is_fast: bool,
    /// All up to here was told when the hub last had nothing left to do.
    synced: i64,
}

/// A stream with a watcher from a revision in the past, now or in the future.
fn watch(
    hub: &mut WatchHub,
    streams: &mut Streams,
    state: &Keyspace,
    chance: &mut Chance,
    may_be_huge: bool,
) -> Watched {
    let stream = hub.open_stream();
    let has_room = chance.below(2) == 0;
    let is_fast = has_room && !may_be_huge;
    let all = chance.below(2) == 0;
    let key = if all { Bytes::from_static(&[0]) } else { chance.key() };
    let range_end = if all { Bytes::from_static(&[0]) } else { Bytes::new() };
    let start_revision = match chance.below(3) {
        0 => 0,
        1 => 1 + chance.below(state.revision() as u64 + 1) as i64,
        _ => state.revision() + chance.below(12) as i64,
    };
    let prev_kv = chance.below(2) == 0;
    streams.room.insert(stream, if has_room { usize::MAX } else { chance.below(300) as usize });
    streams.told.insert(stream, Told::default());
    let request = CreateWatch { key: key.clone(), range_end, start_revision, prev_kv, ..CreateWatch::default() };
    hub.create(stream, &request, state, Time::ZERO, streams);
    let start = if start_revision == 0 { state.revision() + 1 } else { start_revision };
    Watched { stream, key, start, has_room, is_fast, synced: 0 }
}

fn run(seed: u64) -> (u64, u64, u64) {
    let mut chance = Chance(seed);
    let mut history = History { requests: Vec::new(), twin: Keyspace::empty() };
    let (mut state, mut slot) = (Keyspace::empty(), 0);
    let (mut other, mut other_slot) = (Keyspace::empty(), 0);
    // Who wants much of a huge revision reads it alone, and behind.
    let may_be_huge = chance.below(2) == 0;
    let limits = WatchLimits {
        steps_per_advance: 2 + chance.below(60),
        response_bytes: 1 + chance.below(200) as usize,
        gathered_events: if may_be_huge { 1 + chance.below(8) as usize } else { 1_000 },
        reach_changes: [2, 6, 12],
        ..WatchLimits::default()
    };
    let mut hub = WatchHub::new(limits, &state);
    let (mut streams, mut watched) = (Streams::default(), Vec::<Watched>::new());
    let (mut installs, mut cancelled, mut events) = (0, 0, 0);
    for step in 0..260 {
        match chance.below(20) {
            0..=3 => history.step(&mut state, &mut slot, &mut chance),
            4..=7 => history.step(&mut other, &mut other_slot, &mut chance),
            8 => drop(other.tidy_slice(1 + chance.below(9) as usize)),
            9 => drop(state.tidy_slice(1 + chance.below(9) as usize)),
            10 if other_slot > slot => {
                let mut items = (0..other.item_count()).filter_map(|number| Some((number, other.item(number)?)));
                state = Keyspace::restore(other.head(), &mut items).expect("a live replica's");
                slot = other_slot;
                installs += 1;
            }
            11 if watched.len() < 12 => {
                watched.push(watch(&mut hub, &mut streams, &state, &mut chance, may_be_huge));
                check(&history, &state, &streams, &mut watched, false);
            }
            12 if !watched.is_empty() => {
                let at = chance.below(watched.len() as u64) as usize;
                let stream = watched[at].stream;
                let room = if watched[at].has_room { usize::MAX } else { chance.below(400) as usize };
                streams.room.insert(stream, room);
                if room > 0 {
                    hub.room_again(stream, &mut streams);
                }
                hub.request_progress(stream);
            }
            _ => {
                let left = hub.advance(&state, Time(step), &mut streams).more_work;
                check(&history, &state, &streams, &mut watched, !left);
            }
        }
    }
    for at in &watched {
        streams.room.insert(at.stream, usize::MAX);
        hub.room_again(at.stream, &mut streams);
    }
    while hub.advance(&state, Time(1_000), &mut streams).more_work {}
    check(&history, &state, &streams, &mut watched, true);
    for at in &watched {
        let told = &streams.told[&at.stream];
        cancelled += u64::from(told.compacted.is_some());
        events += told.events.len() as u64;
        if told.compacted.is_none() {
            let all = history.of(&at.key, at.start);
            let due = all.iter().filter(|(_, revision, _)| *revision <= state.revision()).count();
            assert_eq!(told.events.len(), due, "all is told in the end");
        }
    }
    (installs, cancelled, events)
}

fn check(history: &History, state: &Keyspace, streams: &Streams, watched: &mut [Watched], is_synced: bool) {
    for at in watched {
        let told = &streams.told[&at.stream];
        let all = history.of(&at.key, at.start);
        assert_eq!(told.events, all[..told.events.len()], "from {}", at.start);
        let next = all.get(told.events.len()).map_or(i64::MAX, |(_, revision, _)| *revision);
        assert!(told.progress < next, "progress {} past an event at {next}", told.progress);
        if let Some(mark) = told.compacted {
            if at.is_fast && at.synced > 0 {
                let twin = &history.twin;
                let unread = (twin.first_change_after(at.synced)..twin.item_count())
                    .filter(|number| twin.change(*number).is_some_and(|change| change.revision.main < mark));
                let dropped = unread.filter(|number| state.change(*number).is_none()).count();
                assert!(dropped > 0, "cancelled at {mark} though all behind {} is there", at.synced);
                // A later state may have it again.
                at.is_fast = false;
            }
        } else if is_synced && at.is_fast {
            at.synced = state.revision();
        }
    }
}

#[test]
fn watchers_outlive_an_installed_snapshot() {
    let seeds = std::env::var("INSTALL_SEEDS").map_or(120, |seeds| seeds.parse().expect("a number"));
    let (mut installs, mut cancelled, mut events) = (0, 0, 0);
    for seed in 0..seeds {
        let (more_installs, more_cancelled, more_events) =
            std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|_| panic!("seed {seed}"));
        installs += more_installs;
        cancelled += more_cancelled;
        events += more_events;
    }
    println!("{installs} installs, {cancelled} cancelled, {events} events");
    assert!(installs > seeds && cancelled > seeds && events > 10 * seeds, "{installs} {cancelled} {events}");
}
