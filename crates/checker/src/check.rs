//! A whole history: key by key, within a budget.

use crate::explain::{Explanation, explain};
use crate::history::History;
use crate::register::{Register, calls_of};
use crate::search::{Linearization, linearize};
use thiserror::Error;

/// How much work a search may be. The same history and budget always give the same verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Operations looked at per key. A million take about 50 ms.
    pub steps_per_key: u64,
    /// Configurations remembered per key. A million take some 150 MB.
    pub configurations_per_key: usize,
    /// Operations of unknown outcome per key. Each can double the work, though it seldom does.
    pub unknown_per_key: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { steps_per_key: 20_000_000, configurations_per_key: 2_000_000, unknown_per_key: 1_000 }
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
    /// The search remembered as many configurations as it might.
    #[error(
        "gave up after remembering {most} configurations: fewer concurrent operations per key make a history easier"
    )]
    TooManyConfigurations {
        /// The budget.
        most: usize,
    },
    /// Too many operations never returned.
    #[error("{found} operations without a return are more than the {most} allowed")]
    TooManyUnknown {
        /// How many there are.
        found: usize,
        /// The budget.
        most: usize,
    },
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// For every key there is an order of its operations that explains every answer.
    Linearizable,
    /// For this key there is none.
    Violation {
        /// The first such key.
        key: Vec<u8>,
        /// Why.
        explanation: Explanation,
    },
    /// No key is known to be wrong, but for this one the search gave up. Not a pass.
    Unknown {
        /// The first such key.
        key: Vec<u8>,
        /// Why.
        why: UnknownReason,
    },
}

/// Whether `history` is linearizable. A violation is final even if searches of other keys gave up.
#[must_use]
pub fn check(history: &History, budget: &Budget) -> Verdict {
    let mut verdict = Verdict::Linearizable;
    for (key, entries) in history.by_key() {
        let calls = calls_of(entries);
        match linearize(&Register, &calls, budget) {
            Linearization::Found { .. } => {}
            Linearization::Impossible { .. } => {
                return Verdict::Violation { key: key.to_vec(), explanation: explain(entries, &calls) };
            }
            Linearization::Unknown(why) if verdict == Verdict::Linearizable => {
                verdict = Verdict::Unknown { key: key.to_vec(), why };
            }
            Linearization::Unknown(_) => {}
        }
    }
    verdict
}
