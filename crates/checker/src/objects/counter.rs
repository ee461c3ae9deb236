//! A number that is added to and read.

use super::register::agrees;
use crate::history::{Entry, Operation};
use crate::model::{Call, Model};

/// The sequential specification of a counter that begins at zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    /// Whether no operation takes anything away, so that what was read gives a limit. `false` is always safe.
    pub only_grows: bool,
}

/// An operation on a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CounterOperation {
    /// Changed it by so much.
    Add(i64),
    /// Asked for it; the answer, if one was seen.
    Read(Option<i64>),
}

impl Model for Counter {
    /// Wide enough that no sum of a history's amounts overflows.
    type State = i128;
    type Operation = CounterOperation;

    fn initial(&self) -> i128 {
        0
    }

    fn step(&self, state: &i128, operation: &CounterOperation) -> Option<i128> {
        match *operation {
            CounterOperation::Add(amount) => Some(state + i128::from(amount)),
            CounterOperation::Read(found) => agrees(found.map(i128::from), *state).then_some(*state),
        }
    }

    fn without_answer(&self, operation: &CounterOperation) -> CounterOperation {
        match *operation {
            CounterOperation::Add(amount) => CounterOperation::Add(amount),
            CounterOperation::Read(_) => CounterOperation::Read(None),
        }
    }

    fn height(&self, state: &i128) -> u64 {
        if self.only_grows { u64::try_from(*state).unwrap_or(u64::MAX) } else { 0 }
    }

    fn limit(&self, operation: &CounterOperation) -> u64 {
        match *operation {
            // Less than nothing is refused by itself.
            CounterOperation::Read(Some(found)) => u64::try_from(found).unwrap_or(u64::MAX),
            _ => u64::MAX,
        }
    }

    fn changes_nothing(&self, operation: &CounterOperation) -> bool {
        matches!(operation, CounterOperation::Read(_) | CounterOperation::Add(0))
    }
}

pub(crate) fn model_of(entries: &[&Entry]) -> (Counter, Vec<Call<CounterOperation>>) {
    let takes = |entry: &&Entry| matches!(entry.operation, Operation::Add { amount: ..0 });
    (Counter { only_grows: !entries.iter().any(takes) }, calls_of(entries))
}

fn calls_of(entries: &[&Entry]) -> Vec<Call<CounterOperation>> {
    let call = |entry: &&Entry| {
        let operation = match entry.operation {
            Operation::Add { amount } => CounterOperation::Add(amount),
            Operation::ReadCounter { found } => CounterOperation::Read(entry.ret.map(|_| found)),
            _ => return None,
        };
        Some(Call { called_at: entry.call, returned_at: entry.ret, operation })
    };
    entries.iter().filter_map(call).collect()
}
