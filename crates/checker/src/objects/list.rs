//! A list that grows at its end and is read whole.

use super::numbers::Numbers;
use crate::history::{Entry, Operation};
use crate::model::{Call, Model};

/// A list, with the knowledge of what it will be.
///
/// What was read is a prefix of what was read later. So the longest read (all others must be prefixes of it) says which
/// elements come when, and a state is only how far the list has come. An append that does not fit is refused at once, as the
/// longest read could not follow; what comes behind that read nobody saw, so it need not be told apart.
pub(crate) struct GrowingList {
    /// The elements of the longest read.
    longest: Vec<u32>,
}

/// An operation on a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ListOperation {
    /// Put this element at the end.
    Append(u32),
    /// Saw the first so many elements of the longest read.
    Read(usize),
    /// Saw what is no prefix of the longest read.
    ReadAnother,
    /// Nobody saw what it saw.
    ReadUnseen,
}

/// An element that nobody read.
const UNREAD: u32 = 0;

impl Model for GrowingList {
    /// How many elements there are; one more than the longest read has stands for any greater number.
    type State = usize;
    type Operation = ListOperation;

    fn initial(&self) -> usize {
        0
    }

    fn step(&self, state: &usize, operation: &ListOperation) -> Option<usize> {
        match *operation {
            ListOperation::Append(element) => match self.longest.get(*state) {
                Some(expected) => (*expected == element).then_some(state + 1),
                None => Some(self.longest.len() + 1),
            },
            ListOperation::Read(length) => (*state == length).then_some(length),
            ListOperation::ReadAnother => None,
            ListOperation::ReadUnseen => Some(*state),
        }
    }

    fn without_answer(&self, operation: &ListOperation) -> ListOperation {
        match *operation {
            ListOperation::Append(element) => ListOperation::Append(element),
            _ => ListOperation::ReadUnseen,
        }
    }

    /// A fact is a length. No length comes back; who brings it is not said, so nothing is said of whether it holds.
    fn needs(&self, operation: &ListOperation, facts: &mut Vec<u64>) {
        if let ListOperation::Read(length) = operation {
            facts.push(*length as u64);
        }
    }

    fn ended(&self, before: &usize, after: &usize, facts: &mut Vec<u64>) {
        facts.extend((before != after).then_some(*before as u64));
    }

    fn changes_nothing(&self, operation: &ListOperation) -> bool {
        !matches!(operation, ListOperation::Append(_))
    }
}

pub(crate) fn model_of(entries: &[&Entry]) -> (GrowingList, Vec<Call<ListOperation>>) {
    let mut numbers = Numbers::from(UNREAD + 1);
    let reads = entries.iter().filter(|entry| entry.ret.is_some()).filter_map(|entry| match &entry.operation {
        Operation::ReadList { found } => Some(found.as_slice()),
        _ => None,
    });
    let longest: &[Vec<u8>] = reads.max_by_key(|found| found.len()).unwrap_or_default();
    let list = GrowingList { longest: longest.iter().map(|element| numbers.number(element)).collect() };
    let call = |entry: &&Entry| {
        let operation = match &entry.operation {
            Operation::Append { value } => ListOperation::Append(numbers.known(value).unwrap_or(UNREAD)),
            Operation::ReadList { .. } if entry.ret.is_none() => ListOperation::ReadUnseen,
            Operation::ReadList { found } if longest.starts_with(found) => ListOperation::Read(found.len()),
            Operation::ReadList { .. } => ListOperation::ReadAnother,
            _ => return None,
        };
        Some(Call { called_at: entry.call, returned_at: entry.ret, operation })
    };
    let calls = entries.iter().filter_map(call).collect();
    (list, calls)
}
