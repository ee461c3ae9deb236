//! The loop's side of watches: the hub, driven after every round with the store at hand.

use std::collections::BTreeMap;

use quorate_types::Time;
use quorate_watch::{
    CreateWatch, History, NO_WATCH, ResponseBody, Sink, StreamId, WatchHub, WatchLimits as HubLimits, WatchResponse,
};
use tokio::time::Instant;

use crate::config::ServerConfig;
use crate::errors::BackendError;
use crate::watch_channel::{Call, Control, DeskEnds, Outlet, Token, WatchEntrance, entrance};

/// Requests of clients seen to in one call; the rest waits for the next.
const CALLS_PER_ROUND: usize = 1024;

/// Serves all watchers of one member. Whoever applies commands calls [`WatchDesk::advance`] after each batch of them, and whenever
/// [`WatchEntrance::wanted`] resolves. It never waits for a client.
pub struct WatchDesk {
    hub: Option<WatchHub>,
    hub_limits: HubLimits,
    max_watchers: usize,
    ends: DeskEnds,
    streams: BTreeMap<Token, StreamId>,
    outlets: Outlets,
    calls: Vec<(Token, Call)>,
}

/// The queues of all streams.
#[derive(Default)]
struct Outlets(BTreeMap<StreamId, Outlet>);

impl Sink for Outlets {
    fn room(&self, stream: StreamId) -> usize {
        self.0.get(&stream).map_or(0, Outlet::room)
    }

    fn deliver(&mut self, stream: StreamId, response: WatchResponse) {
        if let Some(outlet) = self.0.get(&stream) {
            outlet.deliver(response);
        }
    }
}

impl WatchDesk {
    /// A desk and the way to it.
    #[must_use]
    pub fn new(config: &ServerConfig) -> (WatchDesk, WatchEntrance) {
        let (entrance, ends) = entrance(config.watch.clone());
        let defaults = HubLimits::default();
        let hub_limits = HubLimits {
            response_bytes: defaults.response_bytes.min(config.watch.max_stream_pending_bytes),
            fragment_bytes: config.max_message_bytes(),
            ..defaults
        };
        let desk = WatchDesk {
            hub: None,
            hub_limits,
            max_watchers: config.watch.max_watchers,
            ends,
            streams: BTreeMap::new(),
            outlets: Outlets::default(),
            calls: Vec::new(),
        };
        (desk, entrance)
    }

    /// Sees to what clients asked and delivers what there is to tell and room to tell it, in bounded time.
    pub fn advance(&mut self, history: &dyn History, now: Time) {
        // Calls first: a stream's opening is told before its first call, so it is in what is taken second.
        while self.calls.len() < CALLS_PER_ROUND {
            match self.ends.calls.try_recv() {
                Ok(call) => self.calls.push(call),
                Err(_) => break,
            }
        }
        let calls_left = self.calls.len() == CALLS_PER_ROUND;
        self.take_control(history);
        let mut calls = std::mem::take(&mut self.calls);
        for (token, call) in calls.drain(..) {
            // The client may have gone since.
            if let Some(stream) = self.streams.get(&token) {
                self.take_call(*stream, call, history, now);
            }
        }
        self.calls = calls;
        let hub = self.hub.get_or_insert_with(|| WatchHub::new(self.hub_limits, history));
        let advanced = hub.advance(history, now, &mut self.outlets);
        if advanced.more_work || calls_left {
            self.ends.shared.wake.notify_one();
        }
        self.note_due(advanced.next_due, now);
    }

    fn take_control(&mut self, history: &dyn History) {
        let hub = self.hub.get_or_insert_with(|| WatchHub::new(self.hub_limits, history));
        while let Ok(control) = self.ends.control.try_recv() {
            match control {
                Control::Open { token, outlet } => {
                    let stream = hub.open_stream();
                    self.streams.insert(token, stream);
                    self.outlets.0.insert(stream, outlet);
                }
                Control::RoomAgain(token) => {
                    if let Some(stream) = self.streams.get(&token) {
                        hub.room_again(*stream, &mut self.outlets);
                    }
                }
                Control::Close(token) => {
                    if let Some(stream) = self.streams.remove(&token) {
                        hub.close_stream(stream);
                        self.outlets.0.remove(&stream);
                    }
                }
                // Nobody waiting any more is no fault.
                Control::Stats(reply) => drop(reply.send(hub.stats())),
            }
        }
    }

    fn take_call(&mut self, stream: StreamId, call: Call, history: &dyn History, now: Time) {
        let Some(hub) = &mut self.hub else { return };
        match call {
            Call::Create(watch) => {
                if hub.watchers() >= self.max_watchers {
                    refuse_watcher(stream, history.revision(), &mut self.outlets);
                } else {
                    hub.create(stream, &watch, history, now, &mut self.outlets);
                }
            }
            Call::Cancel { watch_id } => hub.cancel(stream, watch_id, history, &mut self.outlets),
            Call::Progress => hub.request_progress(stream),
        }
    }

    /// The node's clock and the system's run alike; only their origins differ.
    fn note_due(&self, due: Option<Time>, now: Time) {
        let next_due = due.map(|due| Instant::now() + due.since(now));
        self.ends.shared.next_due.send_if_modified(|known| {
            // A due time that was told already comes out a few nanoseconds off every time.
            let same = match (&*known, &next_due) {
                (Some(known), Some(next)) => known.max(next).duration_since(*known.min(next)).as_millis() == 0,
                (None, None) => true,
                _ => false,
            };
            if !same {
                *known = next_due;
            }
            !same
        });
    }
}

fn refuse_watcher(stream: StreamId, revision: i64, outlets: &mut Outlets) {
    let reason = BackendError::TooManyRequests.to_string().into();
    outlets.deliver(stream, WatchResponse { revision, watch_id: NO_WATCH, body: ResponseBody::Refused { reason } });
}

/// A watcher of one key from a revision on.
pub(crate) fn watch_of(key: bytes::Bytes, range_end: bytes::Bytes, start_revision: i64) -> CreateWatch {
    CreateWatch { key, range_end, start_revision, ..CreateWatch::default() }
}
