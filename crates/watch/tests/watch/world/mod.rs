//! A hub with a history, streams with bounded queues, and a clock: what tests of it need.
use bytes::Bytes;
use quorate_keyspace::{
    Change, ChangeKind, DeleteRangeRequest, KeyValue, Keyspace, LogPlace, Operation, PutRequest, Reply, Request,
    Revision, TxnRequest,
};
use quorate_machine::StateMachine;
use quorate_types::Time;
use quorate_watch::{
    Advanced, CreateWatch, EventKind, History, ResponseBody, Sink, StreamId, WatchEvent, WatchHub, WatchLimits,
    WatchResponse,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// A history that forgets, as a compaction allows, all it may; and, beside it, one that never does.
#[derive(Clone)]
pub struct ModelHistory {
    pub kept: Vec<Option<Change>>,
    pub all: Vec<Change>,
    pub revision: i64,
    pub compact_revision: i64,
    /// If there is one, the hub reads this instead; the model then only says what is right.
    pub keyspace: Option<Keyspace>,
}

/// One write of a transaction.
#[derive(Clone)]
pub enum Write {
    Put(String, String),
    Delete(String),
}

pub fn put(key: &str, value: &str) -> Write {
    Write::Put(key.to_owned(), value.to_owned())
}

pub fn delete(key: &str) -> Write {
    Write::Delete(key.to_owned())
}

impl ModelHistory {
    pub fn new() -> ModelHistory {
        ModelHistory { kept: Vec::new(), all: Vec::new(), revision: 1, compact_revision: 0, keyspace: None }
    }

    fn newest(&self, key: &[u8], revision: i64) -> Option<&Change> {
        self.all.iter().rev().find(|change| change.revision.main <= revision && change.key == key)
    }

    /// The pair at a revision, compacted or not.
    pub fn pair_ever(&self, key: &[u8], revision: i64) -> Option<KeyValue> {
        self.newest(key, revision).and_then(|change| change.clone().into_key_value())
    }

    /// All of it at one revision; deletes of absent keys do nothing. Returns the store's revision after it.
    pub fn write(&mut self, writes: &[Write]) -> i64 {
        let main = self.revision + 1;
        let mut sub = 0;
        for write in writes {
            let (key, value) = match write {
                Write::Put(key, value) => (key, Some(value)),
                Write::Delete(key) => (key, None),
            };
            let before = self.pair_ever(key.as_bytes(), main);
            let kind = match value {
                None if before.is_none() => continue,
                None => ChangeKind::Delete,
                Some(value) => ChangeKind::Put {
                    create_revision: before.as_ref().map_or(main, |pair| pair.create_revision),
                    version: before.as_ref().map_or(1, |pair| pair.version + 1),
                    lease: 0,
                    value: Bytes::from(value.clone()),
                },
            };
            let change = Change { revision: Revision { main, sub }, key: Bytes::from(key.clone()), kind };
            self.kept.push(Some(change.clone()));
            self.all.push(change);
            sub += 1;
        }
        if sub > 0 {
            self.revision = main;
        }
        if let Some(keyspace) = &mut self.keyspace {
            let operations = writes.iter().map(operation).collect();
            let transaction = TxnRequest { success: operations, ..TxnRequest::default() };
            let reply = keyspace.apply_request(LogPlace::default(), &Request::Txn(transaction));
            assert!(matches!(reply, Reply::Txn { .. }), "{reply:?}");
            assert_eq!((keyspace.revision(), keyspace.item_count()), (self.revision, self.all.len() as u64));
        }
        self.revision
    }

    pub fn compact(&mut self, revision: i64) {
        assert!(revision <= self.revision);
        if let Some(keyspace) = &mut self.keyspace {
            // Refused if it is not a later one.
            keyspace.apply_request(LogPlace::default(), &Request::Compact { revision });
        }
        self.compact_revision = self.compact_revision.max(revision);
        for change in &mut self.kept {
            if change.as_ref().is_some_and(|change| change.revision.main < self.compact_revision) {
                *change = None;
            }
        }
    }
}

fn operation(write: &Write) -> Operation {
    match write.clone() {
        Write::Put(key, value) => {
            Operation::Put(PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() })
        }
        Write::Delete(key) => {
            Operation::DeleteRange(DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() })
        }
    }
}

impl History for ModelHistory {
    fn revision(&self) -> i64 {
        self.revision
    }

    fn compact_revision(&self) -> i64 {
        self.keyspace.as_ref().map_or(self.compact_revision, Keyspace::compact_revision)
    }

    fn next_change(&self) -> u64 {
        self.keyspace.as_ref().map_or(self.all.len() as u64, History::next_change)
    }

    fn change(&self, number: u64) -> Option<Change> {
        match &self.keyspace {
            Some(keyspace) => keyspace.change(number),
            None => self.kept.get(number as usize)?.clone(),
        }
    }

    fn first_change_after(&self, main: i64) -> u64 {
        if let Some(keyspace) = &self.keyspace {
            return History::first_change_after(keyspace, main);
        }
        assert!(main >= self.compact_revision - 1, "outside of what the hub may ask");
        self.all.partition_point(|change| change.revision.main <= main) as u64
    }

    fn is_whole(&self, numbers: Range<u64>) -> bool {
        match &self.keyspace {
            Some(keyspace) => keyspace.is_whole(numbers),
            None => self.kept[numbers.start as usize..numbers.end as usize].iter().all(Option::is_some),
        }
    }

    fn pair_before(&self, change: &Change) -> Option<KeyValue> {
        if let Some(keyspace) = &self.keyspace {
            return keyspace.pair_before(change);
        }
        let before = change.revision.main - 1;
        if before < self.compact_revision { None } else { self.pair_ever(&change.key, before) }
    }
}

/// What a stream was told and what of it is still in its queue.
#[derive(Clone, Default)]
pub struct Queue {
    pub told: Vec<WatchResponse>,
    pub queued_bytes: usize,
    pub capacity_bytes: usize,
}

#[derive(Clone, Default)]
pub struct Queues {
    pub streams: BTreeMap<StreamId, Queue>,
}

impl Sink for Queues {
    fn room(&self, stream: StreamId) -> usize {
        let queue = &self.streams[&stream];
        queue.capacity_bytes.saturating_sub(queue.queued_bytes)
    }

    fn deliver(&mut self, stream: StreamId, response: WatchResponse) {
        let queue = self.streams.get_mut(&stream).expect("nothing is delivered to a closed stream");
        queue.queued_bytes += response.bytes();
        queue.told.push(response);
    }
}

pub struct World {
    pub history: ModelHistory,
    pub hub: WatchHub,
    pub queues: Queues,
    pub now: Time,
}

impl World {
    pub fn new() -> World {
        World::with_limits(WatchLimits::default())
    }

    pub fn with_limits(limits: WatchLimits) -> World {
        let history = ModelHistory::new();
        World { hub: WatchHub::new(limits, &history), history, queues: Queues::default(), now: Time::ZERO }
    }

    pub fn open(&mut self) -> StreamId {
        let stream = self.hub.open_stream();
        self.queues.streams.insert(stream, Queue { capacity_bytes: usize::MAX, ..Queue::default() });
        stream
    }

    pub fn close(&mut self, stream: StreamId) {
        self.hub.close_stream(stream);
        self.queues.streams.remove(&stream);
    }

    pub fn create(&mut self, stream: StreamId, request: &CreateWatch) -> Option<i64> {
        self.hub.create(stream, request, &self.history, self.now, &mut self.queues)
    }

    pub fn cancel(&mut self, stream: StreamId, watch_id: i64) {
        self.hub.cancel(stream, watch_id, &self.history, &mut self.queues);
    }

    pub fn advance(&mut self) -> Advanced {
        self.hub.advance(&self.history, self.now, &mut self.queues)
    }

    /// Advances until no work is left.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.advance().more_work {
                return;
            }
        }
        panic!("the hub says without end that work is left");
    }

    pub fn write(&mut self, writes: &[Write]) -> i64 {
        self.history.write(writes)
    }

    pub fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    /// The stream's client stops reading.
    pub fn stall(&mut self, stream: StreamId) {
        self.queues.streams.get_mut(&stream).expect("open").capacity_bytes = 0;
    }

    /// The stream's client reads all there is, and the queue takes `capacity_bytes` from now on.
    pub fn drain(&mut self, stream: StreamId, capacity_bytes: usize) {
        let queue = self.queues.streams.get_mut(&stream).expect("open");
        queue.queued_bytes = 0;
        queue.capacity_bytes = capacity_bytes;
        self.hub.room_again(stream, &mut self.queues);
    }

    /// What the stream was told since the last time this was asked.
    pub fn told(&mut self, stream: StreamId) -> Vec<WatchResponse> {
        std::mem::take(&mut self.queues.streams.get_mut(&stream).expect("open").told)
    }

    /// The same in words: see [`words`].
    pub fn told_words(&mut self, stream: StreamId) -> Vec<String> {
        self.told(stream).iter().map(words).collect()
    }
}

pub fn watch_key(key: &str) -> CreateWatch {
    CreateWatch { key: Bytes::from(key.to_owned()), ..CreateWatch::default() }
}

pub fn watch_range(key: &str, range_end: &str) -> CreateWatch {
    CreateWatch { range_end: Bytes::from(range_end.to_owned()), ..watch_key(key) }
}

pub fn from_revision(start_revision: i64, request: CreateWatch) -> CreateWatch {
    CreateWatch { start_revision, ..request }
}

/// `watch 3 @7: +key=value, -key`, and `(+)` behind a fragment that is not the last; `was` the pair before.
pub fn words(response: &WatchResponse) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let what = match &response.body {
        ResponseBody::Created => "created".to_owned(),
        ResponseBody::Refused { reason } => format!("created, canceled: {reason}"),
        ResponseBody::Canceled => "canceled".to_owned(),
        ResponseBody::Compacted { compact_revision } => format!("canceled, compacted at {compact_revision}"),
        ResponseBody::Progress => "progress".to_owned(),
        ResponseBody::Events { events, fragment } => {
            let event_words = |event: &WatchEvent| {
                let now = match &event.kind {
                    EventKind::Put(pair) => format!("+{}={}", text(&pair.key), text(&pair.value)),
                    EventKind::Delete { key, .. } => format!("-{}", text(key)),
                };
                let before = event.prev_kv.as_ref();
                now + &before.map_or(String::new(), |pair| format!(" was {}@{}", text(&pair.value), pair.mod_revision))
            };
            let list: Vec<String> = events.iter().map(event_words).collect();
            format!("{}{}", list.join(", "), if *fragment { " (+)" } else { "" })
        }
    };
    format!("{} @{}: {what}", response.watch_id, response.revision)
}
