//! What clients asked and how it ended: all that a judge needs.

use super::lease_book::LeaseBook;
use super::subject::{Judged, Meaning, Versioned};
use crate::act::{Ask, Deed};
use crate::marks::{Mark, Marks};
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
pub(crate) struct Ended {
    /// Who asked: a caller gets a new number after a call of unknown outcome.
    pub(crate) process: u64,
    pub(crate) node: NodeId,
    pub(crate) life: u64,
    pub(crate) called_at: Time,
    pub(crate) returned_at: Time,
    pub(crate) asked: Ask,
    pub(crate) ending: Ending,
    /// Of an answered call.
    pub(crate) meaning: Option<Meaning>,
}

/// All calls of a run.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Under way, with who asked.
    calls: BTreeMap<OperationId, (u64, Ask)>,
    ended: Vec<Ended>,
    leases: LeaseBook,
    answered_at: BTreeMap<NodeId, u64>,
    answered: u64,
    processes: u64,
    probes: u64,
    refused_for_space: u64,
}

impl History {
    /// How many calls have not ended.
    pub(crate) fn waiting(&self) -> usize {
        self.calls.len()
    }

    /// How many calls were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// How many calls a node answered.
    pub(crate) fn answered_at(&self, node: NodeId) -> u64 {
        self.answered_at.get(&node).copied().unwrap_or(0)
    }

    /// Everything that ended.
    pub(crate) fn ended(&self) -> &[Ended] {
        &self.ended
    }

    /// Counts what clients were told that is worth a mark.
    pub(super) fn mark(&self, marks: &mut Marks) {
        for call in &self.ended {
            match call.meaning {
                Some(Meaning::Swapped { succeeded: true, .. }) => marks.hit(Mark::SwapDone),
                Some(Meaning::Swapped { succeeded: false, .. }) => marks.hit(Mark::SwapRefused),
                Some(Meaning::Compacted) => marks.hit(Mark::PastCompacted),
                _ => {}
            }
        }
        marks.hit_times(Mark::RefusedForSpace, self.refused_for_space);
        self.leases.mark(marks);
    }

    /// By how many percent clocks may be wrong; `None`: by anything.
    pub(crate) fn trust_clocks(&mut self, error_percent_max: Option<u64>) {
        self.leases.trust_clocks(error_percent_max);
    }

    /// The longest time to live that anybody asked for.
    pub(crate) fn longest_lease(&self) -> Duration {
        self.leases.longest()
    }

    /// Looks for leases that came or went since; what must not be is reported to the world.
    pub(crate) fn look_at_leases<R: Replica, S: Judged>(&mut self, world: &mut World<R, S>) {
        if let Some((property, detail)) = self.leases.look(world) {
            world.report_broken(property, None, detail);
        }
    }

    /// A number that nobody asked under yet.
    pub(crate) fn new_process(&mut self) -> u64 {
        self.processes += 1;
        self.processes
    }

    /// How many calls were refused because a disk was nearly full.
    pub(crate) fn refused_for_space(&self) -> u64 {
        self.refused_for_space
    }

    /// Says that the disk of everybody has room again who is said there to have none.
    pub(crate) fn clear_low_space<R: Replica, S: Judged>(&mut self, world: &mut World<R, S>, node: NodeId) {
        let low = world.node(node).map(|node| node.state().low_space()).unwrap_or_default();
        for member in low {
            let process = self.new_process();
            self.ask(world, node, process, Ask::ClearLowSpace { member });
        }
    }

    /// A write of nobody's, to see whether a node can decide something new.
    pub(crate) fn probe_write<R: Replica, S: Judged>(&mut self, world: &mut World<R, S>, node: NodeId) {
        self.clear_low_space(world, node);
        self.probes += 1;
        let process = self.new_process();
        let value = Bytes::from(format!("probe-{}", self.probes));
        self.ask(world, node, process, Ask::Put { key: key(0), value });
    }

    /// A read of everything, to see whether a node can.
    pub(crate) fn probe_read<R: Replica, S: Judged>(&mut self, world: &mut World<R, S>, node: NodeId) {
        let process = self.new_process();
        self.ask(world, node, process, Ask::Read { key: None, consistency: Consistency::Linearizable });
    }

    /// Asks a node.
    pub(crate) fn ask<R: Replica, S: Judged>(
        &mut self,
        world: &mut World<R, S>,
        node: NodeId,
        process: u64,
        ask: Ask,
    ) -> OperationId {
        world.record_deed(|| Deed::Call { node, ask: ask.clone() });
        let operation = submit(world, node, &ask);
        self.leases.asked(&ask);
        self.calls.insert(operation, (process, ask));
        operation
    }

    /// A write that was asked for in several copies came to its end, all together.
    pub(super) fn ended_over_copies(&mut self, mut ended: Ended) {
        if ended.ending == Ending::Answered {
            self.answered += 1;
        }
        // As below: every copy was answered so, and none has changed anything.
        if ended.meaning == Some(Meaning::NoSpace) {
            (ended.ending, ended.meaning) = (Ending::Refused, None);
            self.refused_for_space += 1;
        }
        self.ended.push(ended);
    }

    /// A call ended. Says whether it was served, and how it ended; `None` if it is none of these calls.
    pub(crate) fn returned<S: Judged>(&mut self, result: OperationResult<S::Reply>) -> Option<(bool, Ending)> {
        let (process, asked) = self.calls.remove(&result.operation)?;
        // A single decree that is taken is as good an answer as any.
        let served = matches!(
            result.outcome,
            Outcome::Reply(_) | Outcome::Answer(_) | Outcome::Failed(RequestError::AlreadyDecided)
        );
        if served {
            *self.answered_at.entry(result.node).or_insert(0) += 1;
            self.answered += 1;
        }
        let mut ending = result.outcome.ending();
        let mut meaning = match &result.outcome {
            Outcome::Reply(reply) => Some(S::meaning(reply)),
            Outcome::Answer(answer) => Some(S::errand_meaning(answer)),
            _ => None,
        };
        // An answer, for whoever counts answers; for whoever judges, a word that nothing was changed.
        if meaning == Some(Meaning::NoSpace) {
            (ending, meaning) = (Ending::Refused, None);
            self.refused_for_space += 1;
        }
        let OperationResult { node, life, called_at, returned_at, .. } = result;
        if let Some(meaning) = &meaning {
            self.leases.answered(&asked, meaning, called_at, returned_at);
        }
        self.ended.push(Ended { process, node, life, called_at, returned_at, asked, ending, meaning });
        Some((served, ending))
    }
}

/// Hands a client's question to a node.
fn submit<R: Replica, S: Judged>(world: &mut World<R, S>, node: NodeId, ask: &Ask) -> OperationId {
    match ask {
        Ask::Put { key, value } => {
            let words = format!("put {} = {}", key.escape_ascii(), value.escape_ascii());
            world.submit_described(node, S::put(key, value), words)
        }
        Ask::Delete { key } => world.submit_described(node, S::delete(key), format!("delete {}", key.escape_ascii())),
        Ask::Swap { key, expected, value } => {
            let found =
                expected.as_ref().map_or_else(|| "nothing".to_owned(), |value| value.escape_ascii().to_string());
            let words = format!("put {} = {} if it holds {found}", key.escape_ascii(), value.escape_ascii());
            let swap = S::swap(key, expected.as_ref(), value).unwrap_or_else(|| S::put(key, value));
            world.submit_described(node, swap, words)
        }
        Ask::Compact { revision } => {
            let compact = S::compact(*revision).unwrap_or_default();
            world.submit_described(node, compact, format!("compact below revision {revision}"))
        }
        Ask::Grant { lease, ttl_seconds } => {
            let words = format!("grant lease {lease} for {ttl_seconds} s");
            world.submit_described(node, S::grant(*lease, *ttl_seconds).unwrap_or_default(), words)
        }
        Ask::Attach { key, value, lease } => {
            let words = format!("put {} = {} with lease {lease}", key.escape_ascii(), value.escape_ascii());
            world.submit_described(node, S::attach(*lease, key, value).unwrap_or_default(), words)
        }
        Ask::Revoke { lease } => {
            world.submit_described(node, S::revoke(*lease).unwrap_or_default(), format!("revoke lease {lease}"))
        }
        Ask::KeepAlive { lease } => {
            world.errand_described(node, S::keep_alive(*lease).unwrap_or_default(), format!("renew lease {lease}"))
        }
        Ask::ClearLowSpace { member } => {
            let words = format!("say that {member} has room again");
            world.submit_described(node, S::clear_low_space(*member).unwrap_or_default(), words)
        }
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

/// The key of this number.
pub(super) fn key(number: u64) -> Bytes {
    Bytes::from(format!("k{number}"))
}

/// What a set of entries holds under one key.
pub(super) fn value_of<'a>(entries: &'a [Versioned], key: &[u8]) -> Option<&'a Versioned> {
    entries.iter().find(|entry| entry.key == key)
}
