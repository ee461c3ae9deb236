//! Clients that watch: on every node a hub is driven after every settle, and what it tells is held against the history.

use super::judge::Finding;
use super::plan::Plan;
use super::subject::Judged;
use crate::marks::{Mark, Marks};
use crate::random::{Chance, Random};
use crate::world::World;
use bytes::Bytes;
use quorate_protocol::Replica;
use quorate_types::{NodeId, Time};
use quorate_watch::{
    CreateWatch, EventKind, History, ResponseBody, Sink, StreamId, WatchEvent, WatchHub, WatchLimits, WatchResponse,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// After so many rounds of a hub that nobody holds up, a watcher has all there is.
const ROUNDS_TO_CATCH_UP: usize = 10_000;

/// What became of a key: its revision, the key, and its value unless it is gone.
type Seen = (i64, Bytes, Option<Bytes>);

/// The queues of one node's streams.
#[derive(Debug, Default)]
struct Outlets {
    queues: BTreeMap<StreamId, Vec<WatchResponse>>,
    stalled: BTreeSet<StreamId>,
}

impl Sink for Outlets {
    fn room(&self, stream: StreamId) -> usize {
        if self.stalled.contains(&stream) { 0 } else { 1 << 16 }
    }

    fn deliver(&mut self, stream: StreamId, response: WatchResponse) {
        self.queues.entry(stream).or_default().push(response);
    }
}

/// The hub of one life of a node.
#[derive(Debug)]
struct Desk {
    life: u64,
    hub: WatchHub,
    outlets: Outlets,
    /// What it has looked at: the last revision, and what is compacted.
    looked_at: Option<(i64, i64)>,
    installed: u64,
}

/// One client. It begins anew elsewhere, behind what it has seen, when its node goes down.
#[derive(Debug)]
struct Watcher {
    /// `None` for all keys.
    key: Option<Bytes>,
    /// The first revision of which nothing was seen yet.
    next: i64,
    /// Where it is, if it is anywhere.
    at: Option<(NodeId, u64, StreamId)>,
    seen: Vec<Seen>,
    /// What was compacted before it was seen.
    missed: Vec<RangeInclusive<i64>>,
    first: i64,
}

/// All clients of a run that watch.
#[derive(Debug)]
pub(super) struct Watchers {
    desks: BTreeMap<NodeId, Desk>,
    watchers: Vec<Watcher>,
    caught_up: u64,
    compacted: u64,
    over_snapshot: u64,
    /// Nobody stalls any more.
    is_quiet: bool,
    /// The world's changes up to which every hub has nothing more to do and every watcher is somewhere.
    done_with: Option<u64>,
    random: Random,
}

impl Watchers {
    pub(super) fn new(plan: &Plan, mut random: Random) -> Watchers {
        let watcher = |random: &mut Random| Watcher {
            key: random.happens(Chance::percent(50)).then(|| super::history::key(random.below(plan.keys))),
            next: 0,
            at: None,
            seen: Vec::new(),
            missed: Vec::new(),
            first: 0,
        };
        let watchers = (0..plan.watchers).map(|_| watcher(&mut random)).collect();
        Watchers {
            desks: BTreeMap::new(),
            watchers,
            caught_up: 0,
            compacted: 0,
            over_snapshot: 0,
            is_quiet: false,
            done_with: None,
            random,
        }
    }

    pub(super) fn mark(&self, marks: &mut Marks) {
        marks.hit_times(Mark::WatcherCaughtUp, self.caught_up);
        marks.hit_times(Mark::WatcherCompacted, self.compacted);
        marks.hit_times(Mark::WatcherOverSnapshot, self.over_snapshot);
    }

    /// After every event of the world.
    pub(super) fn look<R: Replica, S: Judged>(&mut self, world: &World<R, S>) -> Result<(), Finding> {
        if self.watchers.is_empty() || self.done_with == Some(world.changes()) {
            return Ok(());
        }
        for id in world.nodes().filter(|id| !world.is_witness(*id)) {
            let Some((node, life)) = world.node(id).zip(world.life(id)) else {
                self.desks.remove(&id);
                continue;
            };
            let Some(history) = node.state().history() else { return Ok(()) };
            let shown = (history.revision(), history.compact_revision());
            if self.desks.get(&id).is_some_and(|desk| desk.life == life && desk.looked_at == Some(shown)) {
                continue;
            }
            let installed = node.snapshots_installed();
            self.serve(id, life, installed, history, world.now())?;
        }
        self.settle_down(world)?;
        self.done_with = self.is_done().then(|| world.changes());
        Ok(())
    }

    /// Whether another look at the same nodes would do nothing.
    fn is_done(&self) -> bool {
        let is_at = |watcher: &Watcher| self.desks.iter().any(|(id, desk)| watcher.is_at(*id, desk.life));
        self.desks.values().all(|desk| desk.looked_at.is_some()) && self.watchers.iter().all(is_at)
    }

    /// One node has something new.
    fn serve(
        &mut self,
        id: NodeId,
        life: u64,
        installed: u64,
        history: &dyn History,
        now: Time,
    ) -> Result<(), Finding> {
        if self.desks.get(&id).is_none_or(|desk| desk.life != life) {
            let limits = WatchLimits { steps_per_advance: self.random.log_uniform(1, 1000), ..WatchLimits::default() };
            let hub = WatchHub::new(limits, history);
            let desk = Desk { life, hub, outlets: Outlets::default(), looked_at: None, installed };
            self.desks.insert(id, desk);
        }
        let Some(desk) = self.desks.get_mut(&id) else { return Ok(()) };
        let streams: Vec<StreamId> = desk.outlets.queues.keys().copied().collect();
        for stream in streams {
            if !self.is_quiet && self.random.happens(Chance::one_in(16)) && !desk.outlets.stalled.remove(&stream) {
                desk.outlets.stalled.insert(stream);
            }
            if self.random.happens(Chance::one_in(16)) {
                desk.hub.request_progress(stream);
            }
            desk.hub.room_again(stream, &mut desk.outlets);
        }
        let more_work = desk.hub.advance(history, now, &mut desk.outlets).more_work;
        desk.looked_at = (!more_work).then(|| (history.revision(), history.compact_revision()));
        if installed > std::mem::replace(&mut desk.installed, installed) {
            self.over_snapshot += self.watchers.iter().filter(|one| one.is_at(id, life)).count() as u64;
        }
        self.deliver(id)
    }

    /// What stands in a node's queues reaches its clients.
    fn deliver(&mut self, id: NodeId) -> Result<(), Finding> {
        let Some(desk) = self.desks.get_mut(&id) else { return Ok(()) };
        for watcher in &mut self.watchers {
            let Some((_, _, stream)) = watcher.at.filter(|_| watcher.is_at(id, desk.life)) else { continue };
            let Some(queue) = desk.outlets.queues.get_mut(&stream) else { continue };
            for response in std::mem::take(queue) {
                let was_compacted = matches!(response.body, ResponseBody::Compacted { .. });
                watcher.take(response).map_err(|text| ("Watch", format!("at {id}: {text}")))?;
                if was_compacted {
                    self.compacted += 1;
                    watcher.at = None;
                    desk.outlets.queues.remove(&stream);
                    desk.hub.close_stream(stream);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whoever is nowhere begins at a drawn node, where it left off.
    fn settle_down<R: Replica, S: Judged>(&mut self, world: &World<R, S>) -> Result<(), Finding> {
        for at in 0..self.watchers.len() {
            let watcher = &mut self.watchers[at];
            if watcher.at.is_some_and(|(id, life, _)| self.desks.get(&id).is_some_and(|desk| desk.life == life)) {
                continue;
            }
            let running: Vec<NodeId> = self.desks.keys().copied().collect();
            let Some(id) = self.random.pick(&running).copied() else { return Ok(()) };
            let history = world.node(id).and_then(|node| node.state().history());
            let (Some(desk), Some(history)) = (self.desks.get_mut(&id), history) else { continue };
            if watcher.first == 0 {
                // From now on, or from the oldest revision that is still there.
                let from_now = self.random.happens(Chance::percent(50));
                watcher.first = if from_now { history.revision() } else { history.compact_revision() } + 1;
                watcher.next = watcher.first;
            }
            self.caught_up += u64::from(watcher.next <= history.revision());
            let (key, range_end) = match &watcher.key {
                Some(key) => (key.clone(), Bytes::new()),
                None => (Bytes::from_static(&[0]), Bytes::from_static(&[0])),
            };
            let request = CreateWatch { key, range_end, start_revision: watcher.next, ..CreateWatch::default() };
            let stream = desk.hub.open_stream();
            desk.outlets.queues.insert(stream, Vec::new());
            watcher.at = Some((id, desk.life, stream));
            desk.hub.create(stream, &request, history, world.now(), &mut desk.outlets);
            desk.looked_at = None;
            self.deliver(id)?;
        }
        Ok(())
    }

    /// Nobody stalls any more: every client is told everything, and it was what happened.
    pub(super) fn judge<R: Replica, S: Judged>(&mut self, world: &World<R, S>) -> Result<(), Finding> {
        self.is_quiet = true;
        self.done_with = None;
        for desk in self.desks.values_mut() {
            desk.outlets.stalled.clear();
            desk.looked_at = None;
        }
        for _ in 0..ROUNDS_TO_CATCH_UP {
            self.look(world)?;
            let is_over = self.desks.values().all(|desk| desk.looked_at.is_some());
            if is_over && self.watchers.iter().all(|watcher| watcher.at.is_some()) {
                break;
            }
        }
        let Some(furthest) = world.nodes().filter_map(|id| world.node(id)).max_by_key(|node| node.state().revision())
        else {
            return Ok(());
        };
        let Some(history) = furthest.state().history() else { return Ok(()) };
        self.watchers.iter().try_for_each(|watcher| {
            let here = watcher.at.and_then(|(id, ..)| world.node(id)?.state().history()).map(History::revision);
            watcher.compare(history, here.unwrap_or(0)).map_err(|text| ("Watch", text))
        })
    }
}

impl Watcher {
    fn is_at(&self, id: NodeId, life: u64) -> bool {
        self.at.is_some_and(|(node, then, _)| node == id && then == life)
    }

    /// Whole revisions in order, none twice; nothing behind what it was told is reached.
    fn take(&mut self, response: WatchResponse) -> Result<(), String> {
        match &response.body {
            ResponseBody::Created | ResponseBody::Progress => {
                if matches!(response.body, ResponseBody::Progress) {
                    self.next = self.next.max(response.revision + 1);
                }
                Ok(())
            }
            ResponseBody::Events { events, .. } => {
                for event in events.iter() {
                    let revision = event.mod_revision();
                    if revision < self.next || revision > response.revision {
                        let (next, through) = (self.next, response.revision);
                        return Err(format!("revision {revision} came where {next} to {through} was due"));
                    }
                    self.seen.push(seen(event));
                }
                self.next = response.revision + 1;
                Ok(())
            }
            ResponseBody::Compacted { compact_revision } => {
                if *compact_revision < self.next {
                    return Err(format!("cancelled at {compact_revision}, though {} was the next", self.next));
                }
                self.missed.push(self.next..=*compact_revision);
                self.next = compact_revision + 1;
                Ok(())
            }
            other => Err(format!("{other:?} was never asked for")),
        }
    }

    /// What it saw is what the history says, as far as that still says it, up to where its node is.
    fn compare(&self, history: &dyn History, here: i64) -> Result<(), String> {
        let from = history.compact_revision() + 1;
        let is_due = |revision: i64| {
            (from.max(self.first)..=here).contains(&revision) && !self.missed.iter().any(|gap| gap.contains(&revision))
        };
        let mut happened: Vec<Seen> = Vec::new();
        for number in history.first_change_after(from - 1)..history.next_change() {
            let Some(change) = history.change(number) else { continue };
            let is_watched = self.key.as_ref().is_none_or(|key| *key == change.key);
            if is_watched && is_due(change.revision.main) {
                let value = match change.kind {
                    quorate_keyspace::ChangeKind::Put { value, .. } => Some(value),
                    quorate_keyspace::ChangeKind::Delete => None,
                };
                happened.push((change.revision.main, change.key, value));
            }
        }
        let saw: Vec<&Seen> = self.seen.iter().filter(|(revision, ..)| is_due(*revision)).collect();
        if saw.iter().copied().eq(happened.iter()) {
            return Ok(());
        }
        let differs = saw.iter().zip(&happened).position(|(saw, happened)| *saw != happened);
        let at = differs.unwrap_or(saw.len().min(happened.len()));
        Err(format!(
            "a watcher of {:?} saw {} events and {} happened from revision {from} to {here}; the first that differs: {:?}, \
             and it was {:?}",
            self.key,
            saw.len(),
            happened.len(),
            saw.get(at),
            happened.get(at)
        ))
    }
}

fn seen(event: &WatchEvent) -> Seen {
    let value = match &event.kind {
        EventKind::Put(pair) => Some(pair.value.clone()),
        EventKind::Delete { .. } => None,
    };
    (event.mod_revision(), event.key().clone(), value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_keyspace::{Keyspace, LogPlace, PutRequest, Request};
    use quorate_machine::StateMachine;

    fn history(values: &[&'static str]) -> Keyspace {
        let mut keyspace = Keyspace::empty();
        for value in values {
            let put = PutRequest { key: "k0".into(), value: (*value).into(), ..PutRequest::default() };
            keyspace.apply_request(LogPlace::default(), &Request::Put(put));
        }
        keyspace
    }

    fn watcher(seen: &[(i64, &'static str)]) -> Watcher {
        let seen = seen.iter().map(|(revision, value)| (*revision, "k0".into(), Some((*value).into()))).collect();
        Watcher { key: None, next: 2, at: None, seen, missed: Vec::new(), first: 2 }
    }

    #[test]
    fn a_watcher_has_seen_every_event_up_to_where_its_node_is() {
        let history = history(&["a", "b", "c"]);
        let told = |seen, here| watcher(seen).compare(&history, here).is_ok();
        assert!(told(&[(2, "a"), (3, "b"), (4, "c")], 4));
        assert!(told(&[(2, "a"), (3, "b")], 3), "its node is behind");
        assert!(!told(&[(2, "a"), (4, "c")], 4), "one is missing");
        assert!(!told(&[(2, "a"), (2, "a"), (3, "b"), (4, "c")], 4), "one came twice");
        assert!(!told(&[(2, "a"), (3, "x"), (4, "c")], 4), "one is another");
    }

    #[test]
    fn what_was_compacted_before_it_was_seen_may_be_missing() {
        let gap = Watcher { missed: vec![2..=3], ..watcher(&[(4, "c")]) };
        assert_eq!(gap.compare(&history(&["a", "b", "c"]), 4), Ok(()));
    }

    #[test]
    fn nothing_comes_behind_what_was_told_to_be_reached() {
        let mut watcher = watcher(&[]);
        let told = |revision, body| WatchResponse { revision, watch_id: 0, body };
        assert_eq!(watcher.take(told(5, ResponseBody::Progress)), Ok(()));
        assert!(watcher.take(told(5, ResponseBody::Compacted { compact_revision: 5 })).is_err(), "it has all up to 5");
        let event = WatchEvent { kind: EventKind::Delete { key: "k0".into(), mod_revision: 5 }, prev_kv: None };
        let late = ResponseBody::Events { events: vec![event].into(), fragment: false };
        assert!(watcher.take(told(6, late)).is_err());
    }
}
