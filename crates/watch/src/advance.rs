//! A bounded piece of the hub's work.

use crate::history::History;
use crate::hub::{COHORTS, FRONT, WatchHub};
use crate::response::{NO_WATCH, ResponseBody, Sink, StreamId, WatchResponse};
use crate::watcher::{Place, WatcherKey};
use quorate_types::Time;

/// The duties of catching up, in turn: each cohort behind the front, those alone, and parked watchers.
const DUTIES: usize = COHORTS - 1 + 2;
const DUTY_ALONE: usize = COHORTS - 1;
/// A turn of a duty takes about this part of an `advance`.
const TURNS_PER_ADVANCE: u64 = 16;

/// What is left after [`WatchHub::advance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advanced {
    /// There is more that could be delivered now: call again.
    pub more_work: bool,
    /// Call again by then even if nothing happens.
    pub next_due: Option<Time>,
}

impl WatchHub {
    /// Delivers what there is and there is room for, in about [`crate::WatchLimits::steps_per_advance`] steps: half of
    /// them for watchers that are up to date, the rest for those that catch up.
    pub fn advance(&mut self, history: &dyn History, now: Time, sink: &mut dyn Sink) -> Advanced {
        let budget = self.limits.steps_per_advance.max(2);
        self.note_compaction(history, sink);
        let end = history.next_change();
        let steps_until = self.steps + budget;
        self.sweep(FRONT, end, self.steps + budget / 2, history, sink);
        // Should the front have taken more than its half for one huge revision, the others have theirs nevertheless.
        self.catch_up(steps_until.max(self.steps + budget / 2), end, history, sink);
        if self.cohorts[FRONT].position == end {
            self.answer_progress(history, sink);
            self.notify_progress(history, now, sink);
        }
        let is_behind = self.cohorts[FRONT].position < end;
        Advanced { more_work: is_behind || self.may_catch_up(), next_due: self.progress_timers.first().map(|t| t.0) }
    }

    /// Asks to be told the revision reached once every watcher of the stream is up to date: etcd's progress request.
    /// The answer comes with an [`WatchHub::advance`]; requests that wait together get one answer together.
    pub fn request_progress(&mut self, stream: StreamId) {
        if let Some(found) = self.streams.get_mut(&stream) {
            found.progress_requested = true;
            self.note_answerable(stream);
        }
    }

    pub(crate) fn note_answerable(&mut self, id: StreamId) {
        let answerable =
            |stream: &crate::stream::Stream| stream.progress_requested && stream.behind == 0 && !stream.full;
        if self.streams.get(&id).is_some_and(answerable) {
            self.progress_answerable.insert(id);
        } else {
            self.progress_answerable.remove(&id);
        }
    }

    fn may_catch_up(&self) -> bool {
        let behind = 1..COHORTS;
        !self.alone.is_empty()
            || !self.resumable.is_empty()
            || behind.clone().any(|number| !self.cohorts[number].members.is_empty())
            || behind.clone().any(|number| !self.waiting[number].is_empty())
    }

    fn catch_up(&mut self, steps_until: u64, end: u64, history: &dyn History, sink: &mut dyn Sink) {
        let turn_steps = self.limits.steps_per_advance / TURNS_PER_ADVANCE + 1;
        let mut idle_duties = 0;
        while self.steps < steps_until && idle_duties < DUTIES {
            let duty = self.next_duty;
            self.next_duty = (duty + 1) % DUTIES;
            let steps_before = self.steps;
            let turn_until = steps_until.min(self.steps + turn_steps);
            if duty < DUTY_ALONE {
                self.catch_up_cohort(duty + 1, turn_until, end, history, sink);
            } else if duty == DUTY_ALONE {
                while self.steps < turn_until && !self.alone.is_empty() {
                    self.steps += 1;
                    self.serve_next_alone(history, sink);
                }
            } else {
                self.resume(turn_until, sink);
            }
            idle_duties = if self.steps == steps_before { idle_duties + 1 } else { 0 };
        }
    }

    fn catch_up_cohort(
        &mut self,
        number: usize,
        steps_until: u64,
        end: u64,
        history: &dyn History,
        sink: &mut dyn Sink,
    ) {
        self.set_out_again(number, sink);
        let front = self.cohorts[FRONT].position;
        let destination = if self.waiting[number].is_empty() { front } else { front.min(self.cohorts[number].goal) };
        self.sweep(number, destination.min(end), steps_until, history, sink);
        if self.cohorts[number].position >= destination {
            self.disband(number, steps_until, sink);
        }
    }

    /// Moves parked watchers on whose streams have room.
    fn resume(&mut self, steps_until: u64, sink: &mut dyn Sink) {
        // From where the last turn ended, once round.
        let from = self.next_resumed;
        let streams: Vec<StreamId> =
            self.resumable.range(from..).chain(self.resumable.range(..from)).copied().collect();
        for id in streams {
            if self.steps >= steps_until {
                self.next_resumed = id;
                return;
            }
            self.steps += 1;
            if !self.has_room(id, sink) {
                continue;
            }
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            for key in stream.next_to_resume() {
                self.steps += 1;
                self.find_place(key, sink);
            }
        }
    }

    fn answer_progress(&mut self, history: &dyn History, sink: &mut dyn Sink) {
        for id in std::mem::take(&mut self.progress_answerable) {
            self.steps += 1;
            if !self.has_room(id, sink) {
                continue;
            }
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.progress_requested = false;
                let revision = history.revision();
                sink.deliver(id, WatchResponse { revision, watch_id: NO_WATCH, body: ResponseBody::Progress });
            }
        }
    }

    fn notify_progress(&mut self, history: &dyn History, now: Time, sink: &mut dyn Sink) {
        while let Some((due, key)) = self.progress_timers.first().copied()
            && due <= now
        {
            self.steps += 1;
            self.progress_timers.pop_first();
            self.notify_if_idle(key, history, now, sink);
        }
    }

    fn notify_if_idle(&mut self, key: WatcherKey, history: &dyn History, now: Time, sink: &mut dyn Sink) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let Some(progress) = &mut watcher.progress else { return };
        let is_idle = std::mem::replace(&mut progress.idle, true);
        progress.due = now + progress.interval;
        self.progress_timers.insert((progress.due, key));
        let (stream, watch_id) = (watcher.stream, watcher.watch_id);
        if is_idle && watcher.place == Place::Cohort(FRONT) && self.has_room(stream, sink) {
            let revision = history.revision();
            sink.deliver(stream, WatchResponse { revision, watch_id, body: ResponseBody::Progress });
        }
    }
}
