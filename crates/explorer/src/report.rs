//! What a search found.

use std::fmt;

/// A way to a broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// What is broken.
    pub property: String,
    /// With which values.
    pub detail: String,
    /// What happened, in order, in words.
    pub actions: Vec<String>,
    /// The actions, numbered, each with the guards the replicas evaluated; then what is broken.
    pub text: String,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

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
pub struct Report {
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
    pub violation: Option<Counterexample>,
    /// How many states each `sometimes` held in.
    pub sometimes: Vec<(&'static str, u64)>,
}

impl Report {
    /// Whether a `sometimes` of this name held in any state.
    #[must_use]
    pub fn happened(&self, name: &str) -> bool {
        self.sometimes.iter().any(|(known, count)| *known == name && *count > 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = if self.complete { "all" } else { "not all" };
        writeln!(
            formatter,
            "{} states, {all} there are within the bounds; {} actions tried, schedules of up to {}",
            self.unique_states, self.transitions, self.max_depth
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
