//! The hub: its parts, and what clients ask of it.

use crate::cohort::Cohort;
use crate::history::History;
use crate::request::{CreateWatch, WatchLimits};
use crate::response::{NO_WATCH, ResponseBody, Sink, StreamId, WatchResponse};
use crate::stream::Stream;
use crate::watched_keys::WatchedKeys;
use crate::watcher::{Place, ProgressNotify, Watcher, WatcherKey};
use quorate_types::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const DUPLICATE_WATCH_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
const COMPACTED: &str = "mvcc: required revision has been compacted";

/// The number of the cohort that has read all there is, or soon will have.
pub(crate) const FRONT: usize = 0;

/// The front, one cohort per [`WatchLimits::reach_changes`], and one without limit.
pub(crate) const COHORTS: usize = 1 + 3 + 1;

/// A shorter interval would be a busy loop.
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// All watchers of one node, served from the node's history.
///
/// The driver's duties:
/// - call [`WatchHub::advance`] after every batch of applied commands, whenever it said that more work is left, and not
///   later than the time it names; and always before it lets the store drop what a compaction condemned, or watchers that
///   were not slow may be cancelled with it;
/// - call [`WatchHub::room_again`] whenever a stream's [`Sink::room`] has changed from 0 to more;
/// - not read requests of a stream without room, for their answers come whatever the room.
///
/// A watcher costs less than a kilobyte, no matter how far behind it is; an idle one costs no work.
///
/// ```
/// use quorate_keyspace::{Keyspace, LogPlace, PutRequest, Request};
/// use quorate_machine::StateMachine;
/// use quorate_types::Time;
/// use quorate_watch::{CreateWatch, Sink, StreamId, WatchHub, WatchLimits, WatchResponse};
///
/// /// A queue of at most 1000 bytes, and one response.
/// struct Queue(Vec<WatchResponse>);
///
/// impl Sink for Queue {
///     fn room(&self, _stream: StreamId) -> usize {
///         1000usize.saturating_sub(self.0.iter().map(WatchResponse::bytes).sum())
///     }
///
///     fn deliver(&mut self, _stream: StreamId, response: WatchResponse) {
///         self.0.push(response);
///     }
/// }
///
/// let (mut keyspace, mut queue, now) = (Keyspace::empty(), Queue(Vec::new()), Time::ZERO);
/// let mut hub = WatchHub::new(WatchLimits::default(), &keyspace);
/// let stream = hub.open_stream();
/// let request = CreateWatch { key: "name".into(), ..CreateWatch::default() };
/// hub.create(stream, &request, &keyspace, now, &mut queue);
/// assert!(queue.0[0].created());
///
/// let put = PutRequest { key: "name".into(), value: "quorate".into(), ..PutRequest::default() };
/// keyspace.apply_request(LogPlace::default(), &Request::Put(put));
/// let advanced = hub.advance(&keyspace, now, &mut queue);
/// assert!(!advanced.more_work);
/// assert_eq!(queue.0[1].events()[0].key(), "name");
/// ```
#[derive(Clone, Debug)]
pub struct WatchHub {
    pub(crate) limits: WatchLimits,
    next_stream: u64,
    next_watcher: u64,
    pub(crate) streams: BTreeMap<StreamId, Stream>,
    pub(crate) watchers: BTreeMap<WatcherKey, Watcher>,
    /// The front, then those that catch up with it. No member of any is past the front's position unless it wants
    /// nothing before its own cursor.
    pub(crate) cohorts: [Cohort; COHORTS],
    pub(crate) waiting: [BTreeSet<WatcherKey>; COHORTS],
    /// With their numbers of arrival: first come, first served.
    pub(crate) alone: BTreeSet<(u64, WatcherKey)>,
    pub(crate) alone_arrivals: u64,
    /// Streams whose parked watchers may be moved on.
    pub(crate) resumable: BTreeSet<StreamId>,
    /// Where among them the next turn begins.
    pub(crate) next_resumed: StreamId,
    /// Which of the duties of catching up is next.
    pub(crate) next_duty: usize,
    /// The greatest revision the history was seen to be compacted at, and the number of its first change.
    pub(crate) compact_revision: i64,
    pub(crate) first_kept_change: u64,
    /// Streams that asked for their progress and have no watcher behind.
    pub(crate) progress_answerable: BTreeSet<StreamId>,
    pub(crate) progress_timers: BTreeSet<(Time, WatcherKey)>,
    pub(crate) steps: u64,
    pub(crate) events_delivered: u64,
    pub(crate) responses_delivered: u64,
    /// Counts every serving of events to a watcher.
    pub(crate) servings: u64,
}

/// What the hub is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchStats {
    /// Open streams.
    pub streams: usize,
    /// Watchers of all streams.
    pub watchers: usize,
    /// Watchers that have not been told all there is, because their stream has no room or they began in the past.
    pub slow_watchers: usize,
    /// Events delivered since the hub began.
    pub events_delivered: u64,
    /// Responses with events delivered since the hub began.
    pub responses_delivered: u64,
    /// Streams that asked for their progress and have no answer yet.
    pub pending_progress: usize,
    /// Steps of work since the hub began; see [`WatchLimits::steps_per_advance`].
    pub steps: u64,
}

impl WatchHub {
    /// A hub without streams, at the end of `history`.
    #[must_use]
    pub fn new(limits: WatchLimits, history: &dyn History) -> WatchHub {
        let mut hub = WatchHub {
            limits,
            next_stream: 0,
            next_watcher: 0,
            streams: BTreeMap::new(),
            watchers: BTreeMap::new(),
            cohorts: Default::default(),
            waiting: Default::default(),
            alone: BTreeSet::new(),
            alone_arrivals: 0,
            resumable: BTreeSet::new(),
            next_resumed: StreamId(0),
            next_duty: 0,
            compact_revision: 0,
            first_kept_change: 0,
            progress_answerable: BTreeSet::new(),
            progress_timers: BTreeSet::new(),
            steps: 0,
            events_delivered: 0,
            responses_delivered: 0,
            servings: 0,
        };
        hub.cohorts[FRONT].position = history.next_change();
        hub
    }

    /// A new stream without watchers.
    pub fn open_stream(&mut self) -> StreamId {
        let stream = StreamId(self.next_stream);
        self.next_stream += 1;
        self.streams.insert(stream, Stream::new());
        stream
    }

    /// Forgets a stream and its watchers; nothing is delivered to it any more. An unknown one is ignored.
    pub fn close_stream(&mut self, stream: StreamId) {
        let Some(found) = self.streams.get(&stream) else { return };
        let watchers: Vec<WatcherKey> = found.watchers.values().copied().collect();
        for watcher in watchers {
            self.remove(watcher);
        }
        self.streams.remove(&stream);
        self.resumable.remove(&stream);
        self.progress_answerable.remove(&stream);
    }

    /// Answers a create request at once; events follow in [`WatchHub::advance`]. Returns the watch id if there is a
    /// watcher now. An unknown stream gets no answer. Permission is the caller's to check before.
    pub fn create(
        &mut self,
        stream: StreamId,
        request: &CreateWatch,
        history: &dyn History,
        now: Time,
        sink: &mut dyn Sink,
    ) -> Option<i64> {
        self.note_compaction(history, sink);
        let revision = history.revision();
        let found = self.streams.get_mut(&stream)?;
        let mut refuse = |reason: &'static str| {
            let body = ResponseBody::Refused { reason: reason.into() };
            sink.deliver(stream, WatchResponse { revision, watch_id: NO_WATCH, body });
            None
        };
        let Some(keys) = WatchedKeys::new(&request.key, &request.range_end) else { return refuse(EMPTY_RANGE) };
        if request.start_revision < 0 {
            return refuse(COMPACTED);
        }
        let Some(watch_id) = found.choose_watch_id(request.watch_id) else { return refuse(DUPLICATE_WATCH_ID) };
        sink.deliver(stream, WatchResponse { revision, watch_id, body: ResponseBody::Created });
        if (1..self.compact_revision).contains(&request.start_revision) {
            deliver_compacted(stream, watch_id, self.compact_revision, sink);
            return None;
        }
        let watcher = WatcherKey(self.next_watcher);
        self.next_watcher += 1;
        found.watchers.insert(watch_id, watcher);
        // Until it is with the front.
        found.behind += 1;
        let cursor = match request.start_revision {
            0 => history.next_change(),
            start_revision => history.first_change_after(start_revision - 1),
        };
        let progress = request.progress_interval.map(|interval| {
            let interval = interval.max(PROGRESS_INTERVAL_MIN);
            ProgressNotify { interval, due: now + interval, idle: true }
        });
        if let Some(progress) = &progress {
            self.progress_timers.insert((progress.due, watcher));
        }
        let described = Watcher {
            stream,
            watch_id,
            keys,
            start_revision: request.start_revision,
            cursor,
            prev_kv: request.prev_kv,
            filters: request.filters,
            fragment: request.fragment,
            progress,
            place: Place::Nowhere,
            served: self.servings,
        };
        self.watchers.insert(watcher, described);
        self.find_place(watcher, sink);
        Some(watch_id)
    }

    /// Ends a watcher and says so. An unknown stream or id is ignored, as in etcd.
    pub fn cancel(&mut self, stream: StreamId, watch_id: i64, history: &dyn History, sink: &mut dyn Sink) {
        let Some(watcher) = self.streams.get(&stream).and_then(|stream| stream.watchers.get(&watch_id)) else { return };
        self.remove(*watcher);
        sink.deliver(stream, WatchResponse { revision: history.revision(), watch_id, body: ResponseBody::Canceled });
    }

    /// The stream's [`Sink::room`] is no longer 0. Saying so in vain does no harm.
    pub fn room_again(&mut self, stream: StreamId, sink: &mut dyn Sink) {
        let Some(found) = self.streams.get_mut(&stream) else { return };
        if !found.full {
            return;
        }
        found.got_room();
        let first = found.reserved;
        self.note_answerable(stream);
        if let Some(watcher) = first {
            self.find_place(watcher, sink);
        }
    }

    /// Watchers of all streams.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.watchers.len()
    }

    /// What the hub is busy with. Costs one look at each stream.
    #[must_use]
    pub fn stats(&self) -> WatchStats {
        WatchStats {
            streams: self.streams.len(),
            watchers: self.watchers.len(),
            slow_watchers: self.streams.values().map(|stream| stream.behind).sum(),
            events_delivered: self.events_delivered,
            responses_delivered: self.responses_delivered,
            pending_progress: self.streams.values().filter(|stream| stream.progress_requested).count(),
            steps: self.steps,
        }
    }

    /// Ends a watcher without a word. Its stream stays.
    pub(crate) fn remove(&mut self, watcher: WatcherKey) {
        self.move_to(watcher, Place::Nowhere);
        let Some(removed) = self.watchers.remove(&watcher) else { return };
        if let Some(progress) = removed.progress {
            self.progress_timers.remove(&(progress.due, watcher));
        }
        let Some(stream) = self.streams.get_mut(&removed.stream) else { return };
        stream.watchers.remove(&removed.watch_id);
        // Nowhere counts as behind.
        stream.behind -= 1;
        self.note_answerable(removed.stream);
    }

    /// Ends a watcher whose next events may be gone, and says so.
    pub(crate) fn cancel_compacted(&mut self, watcher: WatcherKey, sink: &mut dyn Sink) {
        let Some(found) = self.watchers.get(&watcher) else { return };
        let (stream, watch_id) = (found.stream, found.watch_id);
        self.remove(watcher);
        deliver_compacted(stream, watch_id, self.compact_revision, sink);
    }
}

/// As in etcd, the header of this one has revision 0.
fn deliver_compacted(stream: StreamId, watch_id: i64, compact_revision: i64, sink: &mut dyn Sink) {
    sink.deliver(stream, WatchResponse { revision: 0, watch_id, body: ResponseBody::Compacted { compact_revision } });
}
