//! Recorded histories as text: our JSON lines, and what Jepsen writes.

mod datum;
mod edn;
mod events;
mod json;
mod meaning;

use crate::history::History;
use crate::objects::Object;
use thiserror::Error;

/// How a history is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// One JSON object a line.
    JsonLines,
    /// Jepsen's EDN: one map a line, or a vector or list of maps.
    Edn,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The operations. Those that failed for certain are left out.
    pub history: History,
    /// What they are operations on.
    pub object: Object,
    /// How many operations were left out, because they failed for certain.
    pub failed: usize,
    /// How many have no answer.
    pub unknown: usize,
}

/// Text that is no history.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {why}")]
pub struct ReadError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl ReadError {
    fn at(line: usize, why: impl Into<String>) -> ReadError {
        ReadError { line, why: why.into() }
    }
}

impl Format {
    /// The format of a text, by its first character that says something.
    #[must_use]
    pub fn of(text: &str) -> Format {
        let mut lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty());
        let is_json = |line: &str| {
            let inner = line.strip_prefix('{').map(str::trim_start);
            inner.is_some_and(|inner| inner.starts_with('"') || inner.starts_with('}'))
        };
        if lines.next().is_none_or(is_json) { Format::JsonLines } else { Format::Edn }
    }
}

/// Reads a history; its object is told by the names of its operations unless it is given. Queues are taken to be unordered
/// unless it is said that they are not.
///
/// # Errors
/// Names the first line that cannot be part of a history.
pub fn read_history(text: &str, format: Format, object: Option<Object>) -> Result<Recorded, ReadError> {
    let events = match format {
        Format::JsonLines => json::events(text)?,
        Format::Edn => edn::events(text)?,
    };
    events::pair(&events, object)
}
