//! A whole history: part by part, within a budget.

use crate::explain::{Explanation, explain};
use crate::history::History;
use crate::objects::Object;
use crate::search::{Effort, Linearization};
use thiserror::Error;

/// How much work a search may be. The same history and budget always give the same verdict.
///
/// A *part* is a key, or what cannot be split further: a queue, or keys that transactions tie together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Operations looked at per part. A million take about 50 ms.
    pub steps_per_key: u64,
    /// Bytes for the configurations remembered per part.
    pub memory_bytes: usize,
    /// Operations of unknown outcome per part. Each can double the work, though it seldom does.
    pub unknown_per_key: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { steps_per_key: 20_000_000, memory_bytes: 256 << 20, unknown_per_key: 10_000 }
    }
}

/// Why a search gave up.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnknownReason {
    /// The search tried as many operations as it might.
    #[error("gave up after {most} steps: fewer concurrent operations per key make a history easier")]
    TooManySteps {
        /// The budget.
        most: u64,
    },
    /// The search used as much memory as it might.
    #[error("gave up at {most_bytes} bytes of memory: fewer concurrent operations per key make a history easier")]
    TooMuchMemory {
        /// The budget.
        most_bytes: usize,
    },
    /// Too many operations never returned.
    #[error("{found} operations without a return are more than the {most} allowed")]
    TooManyUnknown {
        /// How many there are.
        found: usize,
        /// The budget.
        most: usize,
    },
    /// Too many operations of one part ran at the same time.
    #[error("{found} operations at the same time are more than the {most} that can be searched")]
    TooManyAtOnce {
        /// How many there are.
        found: usize,
        /// What there can be.
        most: usize,
    },
    /// The caller said to stop.
    #[error("was stopped before it was done")]
    Stopped,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// For every part there is an order of its operations that explains every answer.
    Linearizable,
    /// For this part there is none.
    Violation {
        /// The first such key, or the keys that transactions tie together, with commas.
        key: Vec<u8>,
        /// Why.
        explanation: Explanation,
    },
    /// No part is known to be wrong, but for this one the search gave up. Not a pass.
    Unknown {
        /// The first such key or keys.
        key: Vec<u8>,
        /// Why.
        why: UnknownReason,
    },
}

/// Whether `history` is linearizable as one of `object`. A violation is final even if searches of other parts gave up.
#[must_use]
pub fn check(history: &History, object: Object, budget: &Budget) -> Verdict {
    check_while(history, object, budget, &|| true, &mut |_, _| {})
}

/// [`check`], as long as `keep_going` says so: it is asked every few thousand steps, and when it says no the verdict is unknown,
/// unless a violation was found before. `progress` hears how many of how many parts are done.
#[must_use]
pub fn check_while(
    history: &History,
    object: Object,
    budget: &Budget,
    keep_going: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(usize, usize),
) -> Verdict {
    let mut verdict = Verdict::Linearizable;
    let parts = object.parts(history);
    for (done, part) in parts.iter().enumerate() {
        let mut effort = Effort { keep_going, ..Effort::within(budget) };
        match object.linearize(&part.entries, &mut effort) {
            Linearization::Found { .. } => {}
            Linearization::Impossible { .. } => {
                let explanation = explain(object, &part.entries, keep_going);
                return Verdict::Violation { key: part.name.clone(), explanation };
            }
            Linearization::Unknown(why) if verdict == Verdict::Linearizable => {
                verdict = Verdict::Unknown { key: part.name.clone(), why };
            }
            Linearization::Unknown(_) => {}
        }
        progress(done + 1, parts.len());
    }
    verdict
}
