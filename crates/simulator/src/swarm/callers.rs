//! Clients: what they ask, whom, and when.

use super::history::{Ended, History, key, value_of};
use super::plan::{Mix, Plan};
use super::subject::{Judged, Meaning};
use crate::act::Ask;
use crate::latency::Latency;
use crate::random::{Chance, Random};
use crate::world::{OperationId, OperationResult, World};
use bytes::Bytes;
use quorate_narrator::Ending;
use quorate_node::Consistency;
use quorate_protocol::Replica;
use quorate_types::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug)]
struct Caller {
    process: u64,
    home: NodeId,
    values: u64,
    /// It never writes and never asks another node: cut off with an old leader, it goes on asking that.
    only_reads: bool,
}

/// All clients of a run.
#[derive(Debug)]
pub(super) struct Callers {
    pub(super) history: History,
    callers: Vec<Caller>,
    keys: u64,
    mix: Mix,
    think: Latency,
    after_failure: Duration,
    /// What some client found under a key lately, and the greatest revision that any was told.
    known: BTreeMap<Bytes, Option<Bytes>>,
    greatest_revision: u64,
    /// Whose calls are under way.
    owners: BTreeMap<OperationId, usize>,
    /// Calls that may still be made by those who write.
    left: u64,
    /// And by those who only read.
    reads_left: u64,
    random: Random,
}

impl Callers {
    pub(super) fn new(plan: &Plan, mut random: Random) -> Callers {
        let mut history = History::default();
        let callers = (0..plan.clients + plan.readers)
            .map(|number| Caller {
                process: history.new_process(),
                home: NodeId(random.between(1, plan.voters)),
                values: 0,
                only_reads: number >= plan.clients,
            })
            .collect();
        Callers {
            history,
            callers,
            keys: plan.keys,
            mix: plan.mix,
            think: plan.think,
            after_failure: plan.patience / 8,
            known: BTreeMap::new(),
            greatest_revision: 0,
            owners: BTreeMap::new(),
            left: plan.calls,
            reads_left: plan.calls,
            random,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.callers.len()
    }

    /// No caller begins anything new.
    pub(super) fn stop(&mut self) {
        self.left = 0;
        self.reads_left = 0;
    }

    /// Lets a caller make its next call.
    pub(super) fn call<R: Replica, S: Judged>(&mut self, caller: usize, world: &mut World<R, S>) {
        let Some(Caller { only_reads, .. }) = self.callers.get(caller) else { return };
        let only_reads = *only_reads;
        let left = if only_reads { &mut self.reads_left } else { &mut self.left };
        if *left == 0 {
            return;
        }
        *left -= 1;
        let ask = if only_reads { self.draw_read() } else { self.draw_call::<S>(caller) };
        let Some(who) = self.callers.get(caller) else { return };
        let nodes: Vec<NodeId> = world.nodes().collect();
        let stays = only_reads || self.random.happens(Chance::percent(70));
        let node = if stays && !world.is_removed(who.home) {
            who.home
        } else {
            self.random.pick(&nodes).copied().unwrap_or(who.home)
        };
        let process = who.process;
        if self.history.refused_for_space() > 0 && self.random.happens(Chance::percent(10)) {
            self.history.clear_low_space(world, node);
        }
        let operation = self.history.ask(world, node, process, ask);
        self.owners.insert(operation, caller);
    }

    /// A call ended. Says when its caller makes the next one.
    pub(super) fn returned<S: Judged>(&mut self, result: OperationResult<S::Reply>) -> Option<(Duration, usize)> {
        let operation = result.operation;
        let (served, ending) = self.history.returned::<S>(result)?;
        self.learn();
        let caller = self.owners.remove(&operation)?;
        if ending == Ending::Unknown {
            self.callers[caller].process = self.history.new_process();
        }
        let pause = self.think.draw(&mut self.random) + Duration::from_micros(10);
        Some((if served { pause } else { pause + self.after_failure }, caller))
    }

    /// Remembers what the call that ended last has shown.
    fn learn(&mut self) {
        let Some(Ended { asked, meaning: Some(meaning), .. }) = self.history.ended().last() else { return };
        match (asked, meaning) {
            (Ask::Put { key, value }, Meaning::Put { revision })
            | (Ask::Swap { key, value, .. }, Meaning::Swapped { revision, succeeded: true }) => {
                self.known.insert(key.clone(), Some(value.clone()));
                self.greatest_revision = self.greatest_revision.max(*revision);
            }
            (Ask::Read { key: Some(key), .. }, Meaning::Found { entries, .. }) => {
                self.known.insert(key.clone(), value_of(entries, key).map(|entry| entry.value.clone()));
            }
            (Ask::Delete { key }, _) => drop(self.known.insert(key.clone(), None)),
            _ => {}
        }
    }

    fn draw_read(&mut self) -> Ask {
        let key = key(self.random.below(self.keys));
        Ask::Read { key: Some(key), consistency: Consistency::Linearizable }
    }

    fn draw_call<S: Judged>(&mut self, caller: usize) -> Ask {
        let key = key(self.random.below(self.keys));
        let Mix { put, delete, swap, compact, read, read_all, read_local } = self.mix;
        let mut drawn = self.random.below(put + delete + swap + compact + read + read_all + read_local);
        let mut within = |weight: u64| {
            let hit = drawn < weight;
            drawn = drawn.wrapping_sub(weight);
            hit
        };
        if within(put) {
            Ask::Put { key, value: self.new_value(caller) }
        } else if within(delete) {
            Ask::Delete { key }
        } else if within(swap) {
            let value = self.new_value(caller);
            let expected = self.known.get(&key).cloned().flatten();
            if S::swap(&key, expected.as_ref(), &value).is_none() {
                return Ask::Put { key, value };
            }
            Ask::Swap { key, expected, value }
        } else if within(compact) {
            let revision = self.greatest_revision.saturating_sub(self.random.log_uniform(1, 64));
            if revision == 0 || S::compact(revision).is_none() {
                return Ask::Delete { key };
            }
            Ask::Compact { revision }
        } else if within(read) {
            Ask::Read { key: Some(key), consistency: Consistency::Linearizable }
        } else if within(read_all) {
            Ask::Read { key: None, consistency: Consistency::Linearizable }
        } else {
            let key = self.random.happens(Chance::percent(50)).then_some(key);
            Ask::Read { key, consistency: Consistency::Local }
        }
    }

    /// One that is never asked for twice.
    fn new_value(&mut self, caller: usize) -> Bytes {
        let who = &mut self.callers[caller];
        who.values += 1;
        Bytes::from(format!("{caller}-{}", who.values))
    }
}
