//! What a search found.

use crate::counterexample::Counterexample;
use quorate_protocol::Replica;
use std::fmt;

/// A search so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Different states seen.
    pub unique_states: usize,
    /// States seen and not yet looked at.
    pub waiting: usize,
    /// Actions tried.
    pub transitions: u64,
    /// The depth of the state being looked at.
    pub depth: u32,
}

/// The end of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<R: Replica> {
    /// Different states seen, what is spent of the bounds included.
    pub unique_states: usize,
    /// Actions tried.
    pub transitions: u64,
    /// The most actions behind a state.
    pub max_depth: u32,
    /// Whether every state within the bounds on faults, timers and wishes was seen: no limit on depth or states was hit,
    /// nothing was cut off by a filter, and no violation ended the search.
    pub complete: bool,
    /// What the caller answers for: reductions that hold for its protocol.
    pub assumptions: Vec<&'static str>,
    /// The first broken promise.
    pub violation: Option<Counterexample<R>>,
    /// How many states each `sometimes` held in.
    pub sometimes: Vec<(&'static str, u64)>,
    /// What the search took.
    pub size: Size,
}

/// What a search took besides time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Different states of single nodes: what all states of the cluster are made of.
    pub replica_states: usize,
    /// Different messages.
    pub messages: usize,
    /// Steps that replicas carried out; all others were looked up. More with more threads, which have their own books.
    pub steps_carried_out: u64,
    /// For the fingerprints of states seen, with the room in their table.
    pub fingerprint_bytes: u64,
    /// For telling the way to a state.
    pub link_bytes: u64,
    /// For the states seen and not yet looked at, when they were most.
    pub waiting_bytes_most: u64,
}

impl<R: Replica> Report<R> {
    /// Whether a `sometimes` of this name held in any state.
    #[must_use]
    pub fn happened(&self, name: &str) -> bool {
        self.sometimes.iter().any(|(known, count)| *known == name && *count > 0)
    }
}

impl<R: Replica> fmt::Display for Report<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = if self.complete { "all" } else { "not all" };
        writeln!(
            formatter,
            "{} states, {all} there are within the bounds; {} actions tried, schedules of up to {}",
            self.unique_states, self.transitions, self.max_depth
        )?;
        let Size { replica_states, messages, steps_carried_out, .. } = self.size;
        writeln!(
            formatter,
            "made of {replica_states} states of single nodes and {messages} messages, in {steps_carried_out} steps"
        )?;
        for assumption in &self.assumptions {
            writeln!(formatter, "assuming that {assumption}")?;
        }
        for (name, count) in &self.sometimes {
            writeln!(formatter, "{name}: in {count} states")?;
        }
        match &self.violation {
            Some(counterexample) => write!(formatter, "{counterexample}"),
            None => write!(formatter, "no property is broken"),
        }
    }
}
