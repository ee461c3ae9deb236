//! A queue that may give any of its items.

use super::Part;
use super::numbers::Numbers;
use super::queue::{QueueOperation, order_in_bag};
use crate::history::{Entry, History, Operation};
use crate::model::{Call, Model, Shortcut};
use std::collections::BTreeMap;

/// Items in any order, each as often as it was put in and not taken out.
pub(crate) struct Bag;

impl Model for Bag {
    /// How often each item is there, ascending by item; none with zero.
    type State = Vec<(u32, u32)>;
    type Operation = QueueOperation;

    fn initial(&self) -> Self::State {
        Vec::new()
    }

    /// What was taken unseen only matters to one who then finds the bag empty; so it can be put just before that, where
    /// everything left is taken, in whatever order.
    fn step(&self, state: &Self::State, operation: &QueueOperation) -> Option<Self::State> {
        let mut next = state.clone();
        match *operation {
            QueueOperation::Enqueue(item) => match next.binary_search_by_key(&item, |(item, _)| *item) {
                Ok(at) => next[at].1 += 1,
                Err(at) => next.insert(at, (item, 1)),
            },
            QueueOperation::Dequeue(item) => {
                let at = next.binary_search_by_key(&item, |(item, _)| *item).ok()?;
                remove_one(&mut next, at);
            }
            QueueOperation::FoundEmpty if next.is_empty() => {}
            QueueOperation::FoundEmpty => return None,
            QueueOperation::DequeueUnseen if next.is_empty() => {}
            QueueOperation::DequeueUnseen => remove_one(&mut next, 0),
        }
        Some(next)
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

    fn heap_bytes(&self, state: &Self::State) -> usize {
        size_of_val(state.as_slice())
    }

    fn shortcut(&self, calls: &[Call<QueueOperation>]) -> Shortcut {
        order_in_bag(calls)
    }
}

fn remove_one(items: &mut Vec<(u32, u32)>, at: usize) {
    if items[at].1 > 1 {
        items[at].1 -= 1;
    } else {
        items.remove(at);
    }
}

/// By key, and then by item where nobody found the bag empty: then items have nothing to do with each other, and what was
/// taken unseen explains nothing.
pub(crate) fn parts(history: &History) -> Vec<Part<'_>> {
    history.by_key().flat_map(|(key, entries)| parts_of_key(key, entries)).collect()
}

fn parts_of_key<'a>(key: &[u8], entries: &'a [Entry]) -> Vec<Part<'a>> {
    let found_empty = |entry: &Entry| entry.ret.is_some() && entry.operation == Operation::Dequeue { found: None };
    if entries.iter().any(found_empty) {
        return vec![Part { name: key.to_vec(), entries: entries.iter().collect() }];
    }
    let mut items: BTreeMap<&[u8], Vec<&'a Entry>> = BTreeMap::new();
    for entry in entries {
        match &entry.operation {
            Operation::Enqueue { value } => items.entry(value).or_default().push(entry),
            Operation::Dequeue { found: Some(value) } if entry.ret.is_some() => {
                items.entry(value).or_default().push(entry);
            }
            _ => {}
        }
    }
    items.into_values().map(|entries| Part { name: key.to_vec(), entries }).collect()
}

pub(crate) fn calls_of(entries: &[&Entry]) -> Vec<Call<QueueOperation>> {
    let mut numbers = Numbers::from(0);
    let mut calls = Vec::with_capacity(entries.len());
    for entry in entries {
        let operation = operation_of(entry, |value| numbers.number(value));
        calls.extend(operation.map(|operation| Call { called_at: entry.call, returned_at: entry.ret, operation }));
    }
    calls
}

fn operation_of<'a>(entry: &'a Entry, mut number: impl FnMut(&'a [u8]) -> u32) -> Option<QueueOperation> {
    match &entry.operation {
        Operation::Enqueue { value } => Some(QueueOperation::Enqueue(number(value))),
        Operation::Dequeue { .. } if entry.ret.is_none() => Some(QueueOperation::DequeueUnseen),
        Operation::Dequeue { found: Some(value) } => Some(QueueOperation::Dequeue(number(value))),
        Operation::Dequeue { found: None } => Some(QueueOperation::FoundEmpty),
        _ => None,
    }
}
