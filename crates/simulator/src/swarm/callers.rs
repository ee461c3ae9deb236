//! Clients: what they ask, whom, and what they remember of it.

use super::plan::{Mix, Plan};
use crate::act::{Ask, Deed};
use super::subject::{Judged, Meaning, Subject, Versioned};
use crate::latency::Latency;
use crate::random::{Chance, Random};
use crate::world::{OperationId, OperationResult, Outcome, World};
use bytes::Bytes;
use quorate_narrator::Ending;
use quorate_node::{Consistency, RequestError};
use quorate_protocol::Replica;
use quorate_types::{NodeId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// A call that ended, as a judge needs it.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// Who asked: a caller gets a new number after a call of unknown outcome.
    pub(super) process: u64,
    pub(super) node: NodeId,
    pub(super) life: u64,
    pub(super) called_at: Time,
    pub(super) returned_at: Time,
    pub(super) asked: Ask,
    pub(super) ending: Ending,
    /// Of an answered call.
    pub(super) meaning: Option<Meaning>,
}

#[derive(Debug)]
struct Caller {
    process: u64,
    home: NodeId,
    values: u64,
}

/// All clients of a run.
#[derive(Debug)]
pub(super) struct Callers {
    callers: Vec<Caller>,
    keys: u64,
    mix: Mix,
    think: Latency,
    after_failure: Duration,
    longest_call: Duration,
    /// Calls under way, and whose they are; probes are nobody's.
    calls: BTreeMap<OperationId, (Option<usize>, u64, Ask)>,
    ended: Vec<Ended>,
    answered_at: BTreeMap<NodeId, u64>,
    answered: u64,
    processes: u64,
    probes: u64,
    /// Calls that may still be made.
    left: u64,
    random: Random,
}

impl Callers {
    pub(super) fn new(plan: &Plan, mut random: Random) -> Callers {
        let callers = (0..plan.clients)
            .map(|process| Caller { process, home: NodeId(random.between(1, plan.voters)), values: 0 })
            .collect();
        Callers {
            callers,
            keys: plan.keys,
            mix: plan.mix,
            think: plan.think,
            after_failure: plan.patience / 8,
            longest_call: plan.longest_call,
            calls: BTreeMap::new(),
            ended: Vec::new(),
            answered_at: BTreeMap::new(),
            answered: 0,
            processes: plan.clients,
            probes: 0,
            left: plan.calls,
            random,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.callers.len()
    }

    /// How many calls have not ended.
    pub(super) fn waiting(&self) -> usize {
        self.calls.len()
    }

    /// How many calls were answered.
    pub(super) fn answered(&self) -> u64 {
        self.answered
    }

    /// How many calls a node answered.
    pub(super) fn answered_at(&self, node: NodeId) -> u64 {
        self.answered_at.get(&node).copied().unwrap_or(0)
    }

    /// No call may take longer.
    pub(super) fn longest_call(&self) -> Duration {
        self.longest_call
    }

    /// Everything that ended.
    pub(super) fn ended(&self) -> &[Ended] {
        &self.ended
    }

    /// No caller begins anything new.
    pub(super) fn stop(&mut self) {
        self.left = 0;
    }

    /// Lets a caller make its next call.
    pub(super) fn call<R: Subject, S: Judged>(&mut self, caller: usize, world: &mut World<R, S>) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let asked = self.draw_call(caller);
        let Some(who) = self.callers.get(caller) else { return };
        let process = who.process;
        let nodes: Vec<NodeId> = world.nodes().collect();
        let node = if self.random.happens(Chance::percent(70)) {
            who.home
        } else {
            self.random.pick(&nodes).copied().unwrap_or(who.home)
        };
        self.ask(world, node, Some(caller), process, asked);
    }

    /// A write of nobody's, to see whether a node can decide something new.
    pub(super) fn probe_write<R: Subject, S: Judged>(&mut self, world: &mut World<R, S>, node: NodeId) {
        self.probes += 1;
        let asked = Ask::Put { key: key(0), value: Bytes::from(format!("probe-{}", self.probes)) };
        self.processes += 1;
        self.ask(world, node, None, self.processes, asked);
    }

    /// A read of everything, to see whether a node can.
    pub(super) fn probe_read<R: Subject, S: Judged>(&mut self, world: &mut World<R, S>, node: NodeId) {
        self.processes += 1;
        let asked = Ask::Read { key: None, consistency: Consistency::Linearizable };
        self.ask(world, node, None, self.processes, asked);
    }

    fn ask<R: Subject, S: Judged>(
        &mut self,
        world: &mut World<R, S>,
        node: NodeId,
        caller: Option<usize>,
        process: u64,
        asked: Ask,
    ) {
        world.record_deed(|| Deed::Call { node, ask: asked.clone() });
        let operation = call::<R, S>(world, node, &asked);
        self.calls.insert(operation, (caller, process, asked));
    }

    /// A call ended. Says when its caller makes the next one.
    pub(super) fn returned<S: Judged>(&mut self, result: OperationResult<S::Reply>) -> Option<(Duration, usize)> {
        let (caller, process, asked) = self.calls.remove(&result.operation)?;
        // A single decree that is taken is as good an answer as any.
        let served = matches!(result.outcome, Outcome::Reply(_) | Outcome::Failed(RequestError::AlreadyDecided));
        if served {
            *self.answered_at.entry(result.node).or_insert(0) += 1;
            self.answered += 1;
        }
        let ending = result.outcome.ending();
        let meaning = match &result.outcome {
            Outcome::Reply(reply) => Some(S::meaning(reply)),
            _ => None,
        };
        let OperationResult { node, life, called_at, returned_at, .. } = result;
        self.ended.push(Ended { process, node, life, called_at, returned_at, asked, ending, meaning });
        let caller = caller?;
        if ending == Ending::Unknown {
            self.processes += 1;
            self.callers[caller].process = self.processes;
        }
        let pause = self.think.draw(&mut self.random) + Duration::from_micros(10);
        Some((if served { pause } else { pause + self.after_failure }, caller))
    }

    fn draw_call(&mut self, caller: usize) -> Ask {
        let key = key(self.random.below(self.keys));
        let Mix { put, delete, read, read_all, read_local } = self.mix;
        let mut drawn = self.random.below(put + delete + read + read_all + read_local);
        let mut within = |weight: u64| {
            let hit = drawn < weight;
            drawn = drawn.wrapping_sub(weight);
            hit
        };
        if within(put) {
            let who = &mut self.callers[caller];
            who.values += 1;
            Ask::Put { key, value: Bytes::from(format!("{caller}-{}", who.values)) }
        } else if within(delete) {
            Ask::Delete { key }
        } else if within(read) {
            Ask::Read { key: Some(key), consistency: Consistency::Linearizable }
        } else if within(read_all) {
            Ask::Read { key: None, consistency: Consistency::Linearizable }
        } else {
            Ask::Read {
                key: self.random.happens(Chance::percent(50)).then_some(key),
                consistency: Consistency::Local,
            }
        }
    }
}

/// Hands a client's question to a node.
pub(crate) fn call<R: Replica, S: Judged>(world: &mut World<R, S>, node: NodeId, ask: &Ask) -> OperationId {
    match ask {
        Ask::Put { key, value } => {
            let words = format!("put {} = {}", key.escape_ascii(), value.escape_ascii());
            world.submit_described(node, S::put(key, value), words)
        }
        Ask::Delete { key } => world.submit_described(node, S::delete(key), format!("delete {}", key.escape_ascii())),
        Ask::Read { key, consistency } => {
            let what = key.as_ref().map_or_else(|| "everything".to_owned(), |key| key.escape_ascii().to_string());
            let how = match consistency {
                Consistency::Linearizable => "",
                Consistency::Local => ", as far as applied here",
            };
            world.read_described(node, S::get(key.as_ref()), *consistency, format!("read {what}{how}"))
        }
    }
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("k{number}"))
}

/// What a set of entries holds under one key.
pub(super) fn value_of<'a>(entries: &'a [Versioned], key: &[u8]) -> Option<&'a Versioned> {
    entries.iter().find(|entry| entry.key == key)
}
