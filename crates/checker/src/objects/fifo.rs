//! A queue, first in first out.

use super::numbers::Numbers;
use crate::history::{Entry, Operation};
use crate::model::{Call, Model, Shortcut};
use std::collections::BTreeMap;

/// A queue, with the knowledge of when each item was taken out.
///
/// If every item was put in and taken out at most once, an item must not go behind another that is certainly taken out
/// later, or never: no completion could follow. Nor may it be taken out unseen.
pub(crate) struct Fifo {
    /// For each item the call and the return of its dequeue; empty if some item was put in or taken out twice.
    taken: Vec<(u64, u64)>,
    /// Whether the four patterns of a wrong history can be looked for.
    unique: bool,
}

/// An operation on a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FifoOperation {
    /// Put this item in at the end.
    Enqueue(u32),
    /// Took this item from the front.
    Dequeue(u32),
    /// Found nothing to take.
    FoundEmpty,
    /// Took something, or found nothing; nobody saw it.
    DequeueUnseen,
}

/// An item that nobody was seen to take out.
const NEVER_SEEN: u32 = 0;

impl Model for Fifo {
    type State = Vec<u32>;
    type Operation = FifoOperation;

    fn initial(&self) -> Vec<u32> {
        Vec::new()
    }

    fn step(&self, state: &Vec<u32>, operation: &FifoOperation) -> Option<Vec<u32>> {
        match *operation {
            FifoOperation::Enqueue(item) => {
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
            FifoOperation::Dequeue(item) => (state.first() == Some(&item)).then(|| state[1..].to_vec()),
            FifoOperation::FoundEmpty => state.is_empty().then(Vec::new),
            FifoOperation::DequeueUnseen if self.unique && state.first().is_some_and(|item| *item != NEVER_SEEN) => {
                None
            }
            FifoOperation::DequeueUnseen => Some(state.get(1..).unwrap_or_default().to_vec()),
        }
    }

    fn without_answer(&self, operation: &FifoOperation) -> FifoOperation {
        match *operation {
            FifoOperation::Enqueue(item) => FifoOperation::Enqueue(item),
            _ => FifoOperation::DequeueUnseen,
        }
    }

    fn changes_nothing(&self, operation: &FifoOperation) -> bool {
        matches!(operation, FifoOperation::FoundEmpty)
    }

    /// What leaves the queue first must enter it first.
    fn urgency(&self, operation: &FifoOperation) -> u64 {
        match *operation {
            FifoOperation::Enqueue(item) => self.taken.get(item as usize).map_or(0, |(_, returned)| *returned),
            _ => 0,
        }
    }

    fn heap_bytes(&self, state: &Vec<u32>) -> usize {
        size_of_val(state.as_slice())
    }

    fn shortcut(&self, calls: &[Call<FifoOperation>]) -> Shortcut {
        if self.unique && has_bad_pattern(calls) { Shortcut::Impossible } else { Shortcut::Undecided }
    }
}

/// When an item was put in and taken out. What did not return did so at the end of time, and what was not called too.
#[derive(Clone, Copy)]
struct Life {
    put_in: (u64, u64),
    taken_out: (u64, u64),
    is_put_in: bool,
}

const NEVER: (u64, u64) = (u64::MAX, u64::MAX);

/// The patterns of Henzinger, Sezgin and Vafeiadis (2013), except the one of emptiness: a value out of nowhere, and one that
/// overtook another. (A value taken out twice makes the items not unique.)
fn has_bad_pattern(calls: &[Call<FifoOperation>]) -> bool {
    let unseen = calls.iter().any(|call| call.operation == FifoOperation::DequeueUnseen);
    let mut lives: BTreeMap<u32, Life> = BTreeMap::new();
    // Items that nobody took out: the earliest return of the putting in is all that counts.
    let mut first_forgotten = u64::MAX;
    let new = Life { put_in: NEVER, taken_out: NEVER, is_put_in: false };
    for call in calls {
        let interval = (call.called_at, call.returned_at.unwrap_or(u64::MAX));
        match call.operation {
            FifoOperation::Enqueue(NEVER_SEEN) => first_forgotten = first_forgotten.min(interval.1),
            FifoOperation::Enqueue(item) => {
                let life = lives.entry(item).or_insert(new);
                (life.put_in, life.is_put_in) = (interval, true);
            }
            FifoOperation::Dequeue(item) => lives.entry(item).or_insert(new).taken_out = interval,
            FifoOperation::FoundEmpty | FifoOperation::DequeueUnseen => {}
        }
    }
    let nowhere = lives.values().any(|life| !life.is_put_in || life.taken_out.1 < life.put_in.0);
    let stuck_behind_forgotten = !unseen && lives.values().any(|life| first_forgotten < life.put_in.0);
    nowhere || stuck_behind_forgotten || is_overtaken(lives.into_values().collect())
}

/// Whether one was certainly put in before another and certainly taken out after it.
fn is_overtaken(mut lives: Vec<Life>) -> bool {
    let mut by_return = lives.clone();
    by_return.sort_by_key(|life| life.put_in.1);
    lives.sort_by_key(|life| life.put_in.0);
    let mut earlier = by_return.into_iter().peekable();
    let mut last_taken = 0;
    lives.into_iter().any(|life| {
        while let Some(before) = earlier.next_if(|before| before.put_in.1 < life.put_in.0) {
            last_taken = last_taken.max(before.taken_out.0);
        }
        last_taken > life.taken_out.1
    })
}

pub(crate) fn model_of(entries: &[&Entry]) -> (Fifo, Vec<Call<FifoOperation>>) {
    let mut numbers = Numbers::from(NEVER_SEEN + 1);
    let mut taken: Vec<(u64, u64)> = vec![NEVER];
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
            Operation::Enqueue { value } => FifoOperation::Enqueue(numbers.known(value).unwrap_or(NEVER_SEEN)),
            Operation::Dequeue { .. } if entry.ret.is_none() => FifoOperation::DequeueUnseen,
            Operation::Dequeue { found: Some(value) } => {
                FifoOperation::Dequeue(numbers.known(value).unwrap_or(NEVER_SEEN))
            }
            Operation::Dequeue { found: None } => FifoOperation::FoundEmpty,
            _ => continue,
        };
        if let FifoOperation::Enqueue(item) = operation
            && item != NEVER_SEEN
        {
            unique &= !std::mem::replace(&mut put_in[item as usize], true);
        }
        calls.push(Call { called_at: entry.call, returned_at: entry.ret, operation });
    }
    if calls.iter().any(|call| call.operation == FifoOperation::DequeueUnseen) {
        // What nobody was seen to take may have been taken unseen, at any time.
        taken[NEVER_SEEN as usize] = (0, u64::MAX);
    }
    let taken = if unique { taken } else { Vec::new() };
    (Fifo { taken, unique }, calls)
}
