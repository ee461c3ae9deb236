//! A queue, first in first out.

use super::numbers::Numbers;
use super::queue::{QueueOperation, order_in_fifo};
use crate::history::{Entry, Operation};
use crate::model::{Call, Model, Shortcut};

/// A queue, with the knowledge of when each item was taken out.
///
/// If every item was put in and taken out at most once, an item must not go behind another that is certainly taken out
/// later, or never: no completion could follow. Nor may it be taken out unseen.
pub(crate) struct Fifo {
    /// For each item the call and the return of its dequeue; empty if some item was put in or taken out twice.
    taken: Vec<(u64, u64)>,
    /// Whether every item was put in and taken out at most once.
    unique: bool,
}

/// An item that nobody was seen to take out.
const NEVER_SEEN: u32 = 0;

impl Model for Fifo {
    type State = Vec<u32>;
    type Operation = QueueOperation;

    fn initial(&self) -> Vec<u32> {
        Vec::new()
    }

    fn step(&self, state: &Vec<u32>, operation: &QueueOperation) -> Option<Vec<u32>> {
        match *operation {
            QueueOperation::Enqueue(item) => {
                if let Some((_, returned)) = self.taken.get(item as usize)
                    && state.iter().any(|before| self.taken[*before as usize].0 > *returned)
                {
                    return None;
                }
                let mut next = Vec::with_capacity(state.len() + 1);
                next.extend_from_slice(state);
                next.push(item);
                Some(next)
            }
            QueueOperation::Dequeue(item) => (state.first() == Some(&item)).then(|| state[1..].to_vec()),
            QueueOperation::FoundEmpty => state.is_empty().then(Vec::new),
            QueueOperation::DequeueUnseen if self.unique && state.first().is_some_and(|item| *item != NEVER_SEEN) => {
                None
            }
            QueueOperation::DequeueUnseen => Some(state.get(1..).unwrap_or_default().to_vec()),
        }
    }

    fn without_answer(&self, operation: &QueueOperation) -> QueueOperation {
        match *operation {
            QueueOperation::Enqueue(item) => QueueOperation::Enqueue(item),
            _ => QueueOperation::DequeueUnseen,
        }
    }

    fn changes_nothing(&self, operation: &QueueOperation) -> bool {
        matches!(operation, QueueOperation::FoundEmpty)
    }

    /// What leaves the queue first must enter it first.
    fn urgency(&self, operation: &QueueOperation) -> u64 {
        match *operation {
            QueueOperation::Enqueue(item) => self.taken.get(item as usize).map_or(0, |(_, returned)| *returned),
            _ => 0,
        }
    }

    fn heap_bytes(&self, state: &Vec<u32>) -> usize {
        size_of_val(state.as_slice())
    }

    fn shortcut(&self, calls: &[Call<QueueOperation>]) -> Shortcut {
        order_in_fifo(calls)
    }
}

pub(crate) fn model_of(entries: &[&Entry]) -> (Fifo, Vec<Call<QueueOperation>>) {
    let mut numbers = Numbers::from(NEVER_SEEN + 1);
    let mut taken: Vec<(u64, u64)> = vec![(u64::MAX, u64::MAX)];
    let mut unique = true;
    for entry in entries {
        if let (Operation::Dequeue { found: Some(value) }, Some(ret)) = (&entry.operation, entry.ret) {
            match numbers.number(value) as usize {
                new if new == taken.len() => taken.push((entry.call, ret)),
                _ => unique = false,
            }
        }
    }
    let mut put_in = vec![false; taken.len()];
    let mut calls = Vec::with_capacity(entries.len());
    for entry in entries {
        let operation = match &entry.operation {
            // It could only be in the way.
            Operation::Enqueue { value } if entry.ret.is_none() && numbers.known(value).is_none() => continue,
            Operation::Enqueue { value } => QueueOperation::Enqueue(numbers.known(value).unwrap_or(NEVER_SEEN)),
            Operation::Dequeue { .. } if entry.ret.is_none() => QueueOperation::DequeueUnseen,
            Operation::Dequeue { found: Some(value) } => {
                QueueOperation::Dequeue(numbers.known(value).unwrap_or(NEVER_SEEN))
            }
            Operation::Dequeue { found: None } => QueueOperation::FoundEmpty,
            _ => continue,
        };
        if let QueueOperation::Enqueue(item) = operation
            && item != NEVER_SEEN
        {
            unique &= !std::mem::replace(&mut put_in[item as usize], true);
        }
        calls.push(Call { called_at: entry.call, returned_at: entry.ret, operation });
    }
    if calls.iter().any(|call| call.operation == QueueOperation::DequeueUnseen) {
        // What nobody was seen to take may have been taken unseen, at any time.
        taken[NEVER_SEEN as usize] = (0, u64::MAX);
    }
    let taken = if unique { taken } else { Vec::new() };
    (Fifo { taken, unique }, calls)
}
