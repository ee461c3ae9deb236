//! Weaker promises than linearizability, told apart.
//!
//! *Sequential*: one order of all operations explains every answer and keeps each client's order; real time plays no part.
//! It is not local, so all keys are looked at together. *Session guarantees* (Terry and others, 1994) speak of one client's
//! operations on one key, against one order of that key's versions:
//! - *read your writes*: a read does not show a version older than the client's own last write;
//! - *monotonic reads*: nor one older than the client's last read;
//! - *monotonic writes*: a client's writes are in the order in which it made them;
//! - *writes follow reads*: a client's write is newer than what it had read.
//!
//! Versions are told apart by their values; where a value is written twice, or a key is deleted, which version a read saw is
//! not known, and neither is the verdict. What is known of their order: the initial version is the oldest, a client's writes
//! are in its order, a compare-and-set is newer than what it found, and a list shows the order of its elements. A promise is
//! violated if every such order contradicts it; "holds" for a session guarantee means that nothing seen contradicts it.

mod accesses;
mod graph;
mod sequential;
mod sessions;

use crate::check::Verdict;
use crate::history::History;
use crate::objects::Object;
use accesses::Accesses;
use std::fmt;

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every operation takes effect at one instant between its call and its return.
    Linearizable,
    /// One order explains everything and keeps each client's.
    Sequential,
    /// A client's reads show its writes.
    ReadYourWrites,
    /// A client's reads do not go back.
    MonotonicReads,
    /// A client's writes keep their order.
    MonotonicWrites,
    /// A client's writes come after what it had read.
    WritesFollowReads,
}

/// Whether a promise was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was, as far as the history tells.
    Holds,
    /// It was not, and why.
    Violated(String),
    /// That could not be told, and why.
    Unknown(String),
}

impl Level {
    /// All of them, the strongest first.
    pub const ALL: [Level; 6] = [
        Level::Linearizable,
        Level::Sequential,
        Level::ReadYourWrites,
        Level::MonotonicReads,
        Level::MonotonicWrites,
        Level::WritesFollowReads,
    ];

    /// As a word for machines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Linearizable => "linearizable",
            Level::Sequential => "sequential",
            Level::ReadYourWrites => "read-your-writes",
            Level::MonotonicReads => "monotonic-reads",
            Level::MonotonicWrites => "monotonic-writes",
            Level::WritesFollowReads => "writes-follow-reads",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What each level weaker than linearizability says of `history`, given what is known of linearizability itself: it implies all
/// the others.
#[must_use]
pub fn weaker_levels(history: &History, object: Object, linearizable: &Verdict) -> Vec<(Level, Outcome)> {
    let weaker = &Level::ALL[1..];
    if *linearizable == Verdict::Linearizable {
        return weaker.iter().map(|level| (*level, Outcome::Holds)).collect();
    }
    let accesses = match Accesses::of(history, object) {
        Ok(accesses) => accesses,
        Err(accesses::Obstacle::Contradiction(why)) => {
            let outcome = |level: &Level| match level {
                Level::Sequential => Outcome::Violated(why.clone()),
                _ => Outcome::Unknown("not every answer can be traced to a write".to_owned()),
            };
            return weaker.iter().map(|level| (*level, outcome(level))).collect();
        }
        Err(accesses::Obstacle::Ambiguous(why)) => {
            return weaker.iter().map(|level| (*level, Outcome::Unknown(why.clone()))).collect();
        }
    };
    let outcome = |level: &Level| match level {
        Level::Linearizable | Level::Sequential => sequential::sequential(&accesses),
        _ => sessions::session(&accesses, *level),
    };
    weaker.iter().map(|level| (*level, outcome(level))).collect()
}
