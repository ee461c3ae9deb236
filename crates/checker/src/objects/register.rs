//! One key: a value or nothing.

use super::numbers::Numbers;
use super::register_order::order_of;
use crate::history::{Entry, Operation};
use crate::model::{Call, Model, Shortcut};

/// A value by its number; 0 stands for "the key does not exist".
pub type ValueId = u32;

/// The key does not exist.
pub const ABSENT: ValueId = 0;

/// The sequential specification of one key: a value, or none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

/// An operation on one key with its answer; `None` where no answer was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegisterOperation {
    /// Asked for the value.
    Read {
        /// What was seen.
        found: Option<ValueId>,
    },
    /// Set the value, whatever was there.
    Write {
        /// The new value.
        value: ValueId,
    },
    /// Removed the value.
    Delete {
        /// Whether there was one.
        existed: Option<bool>,
    },
    /// Set the value if it was `expected`, else changed nothing.
    CompareAndSet {
        /// What it had to be, perhaps [`ABSENT`].
        expected: ValueId,
        /// The new value.
        value: ValueId,
        /// Whether it was set.
        succeeded: Option<bool>,
    },
}

impl Model for Register {
    type State = ValueId;
    type Operation = RegisterOperation;

    fn initial(&self) -> ValueId {
        ABSENT
    }

    fn step(&self, state: &ValueId, operation: &RegisterOperation) -> Option<ValueId> {
        match *operation {
            RegisterOperation::Read { found } => agrees(found, *state).then_some(*state),
            RegisterOperation::Write { value } => Some(value),
            RegisterOperation::Delete { existed } => agrees(existed, *state != ABSENT).then_some(ABSENT),
            RegisterOperation::CompareAndSet { expected, value, succeeded } => {
                let equal = *state == expected;
                agrees(succeeded, equal).then_some(if equal { value } else { *state })
            }
        }
    }

    fn without_answer(&self, operation: &RegisterOperation) -> RegisterOperation {
        match *operation {
            RegisterOperation::Read { .. } => RegisterOperation::Read { found: None },
            RegisterOperation::Write { value } => RegisterOperation::Write { value },
            RegisterOperation::Delete { .. } => RegisterOperation::Delete { existed: None },
            RegisterOperation::CompareAndSet { expected, value, .. } => {
                RegisterOperation::CompareAndSet { expected, value, succeeded: None }
            }
        }
    }

    fn changes_nothing(&self, operation: &RegisterOperation) -> bool {
        match *operation {
            RegisterOperation::Read { .. } => true,
            RegisterOperation::Write { .. } => false,
            RegisterOperation::Delete { existed } => existed == Some(false),
            RegisterOperation::CompareAndSet { expected, value, succeeded } => {
                succeeded == Some(false) || expected == value
            }
        }
    }

    fn overwrites(&self, operation: &RegisterOperation) -> bool {
        matches!(operation, RegisterOperation::Write { .. } | RegisterOperation::Delete { existed: None })
    }

    /// A fact is a value by number.
    fn needs(&self, operation: &RegisterOperation, facts: &mut Vec<u64>) {
        let needed = match *operation {
            RegisterOperation::Read { found } => found,
            RegisterOperation::Delete { existed: Some(false) } => Some(ABSENT),
            RegisterOperation::CompareAndSet { expected, succeeded: Some(true), .. } => Some(expected),
            _ => None,
        };
        facts.extend(needed.map(u64::from));
    }

    fn brings(&self, operation: &RegisterOperation, facts: &mut Vec<u64>) {
        let brought = match *operation {
            RegisterOperation::Read { .. }
            | RegisterOperation::Delete { existed: Some(false) }
            | RegisterOperation::CompareAndSet { succeeded: Some(false), .. } => None,
            RegisterOperation::Write { value } | RegisterOperation::CompareAndSet { value, .. } => Some(value),
            RegisterOperation::Delete { .. } => Some(ABSENT),
        };
        facts.extend(brought.map(u64::from));
    }

    fn ended(&self, before: &ValueId, after: &ValueId, facts: &mut Vec<u64>) {
        facts.extend((before != after).then_some(u64::from(*before)));
    }

    fn excludes(&self, operation: &RegisterOperation, fact: u64) -> bool {
        ValueId::try_from(fact).is_ok_and(|value| self.step(&value, operation) != Some(value))
    }

    fn holds(&self, state: &ValueId, fact: u64) -> bool {
        u64::from(*state) == fact
    }

    /// Values that are written once each leave nothing to search for.
    fn shortcut(&self, calls: &[Call<RegisterOperation>]) -> Shortcut {
        order_of(calls)
    }
}

pub(crate) fn agrees<T: PartialEq>(seen: Option<T>, real: T) -> bool {
    seen.is_none_or(|seen| seen == real)
}

/// One key's entries as calls, in the same order, with values as numbers.
///
/// Values that nobody observed all get the same number: no answer depends on which of them is there, and the
/// search then need not care which of several lost writes took effect.
pub(crate) fn calls_of(entries: &[&Entry]) -> Vec<Call<RegisterOperation>> {
    let mut observed = Numbers::from(UNOBSERVED + 1);
    for entry in entries {
        let value = match &entry.operation {
            Operation::Read { found } if entry.ret.is_some() => found.as_deref(),
            Operation::CompareAndSet { expected, .. } => expected.as_deref(),
            _ => None,
        };
        value.into_iter().for_each(|value| _ = observed.number(value));
    }
    let call = |entry: &&Entry| {
        let operation = operation_of(entry, &observed)?;
        Some(Call { called_at: entry.call, returned_at: entry.ret, operation })
    };
    entries.iter().filter_map(call).collect()
}

/// A value that some operation wrote and none observed.
const UNOBSERVED: ValueId = 1;

fn operation_of(entry: &Entry, observed: &Numbers<'_>) -> Option<RegisterOperation> {
    let answered = entry.ret.is_some();
    let number = |value: Option<&[u8]>| value.map_or(ABSENT, |value| observed.known(value).unwrap_or(UNOBSERVED));
    match &entry.operation {
        Operation::Read { found } => {
            Some(RegisterOperation::Read { found: answered.then(|| number(found.as_deref())) })
        }
        Operation::Write { value } => Some(RegisterOperation::Write { value: number(Some(value)) }),
        Operation::Delete { existed } => Some(RegisterOperation::Delete { existed: existed.filter(|_| answered) }),
        Operation::CompareAndSet { expected, value, succeeded } => Some(RegisterOperation::CompareAndSet {
            expected: number(expected.as_deref()),
            value: number(Some(value)),
            succeeded: succeeded.filter(|_| answered),
        }),
        _ => None,
    }
}
