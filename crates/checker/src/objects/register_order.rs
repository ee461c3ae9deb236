//! Registers whose values are written once each: decided by sorting.
//!
//! Gibbons and Korach (1997): each write with the reads that saw it is a *block*, and blocks do not overlap in any
//! order that explains the answers. Successful compare-and-sets join blocks to *chains*: the value compared with is
//! replaced by the value set, and nothing goes between. Within a chain the order is given. Of two chains one must come
//! first if some operation of it returned before some operation of the other was called, that is, if the earliest
//! return of the one is before the latest call of the other. So a chain is an interval between its earliest return and
//! its latest call. If the return comes first, the chain fills the interval and nothing may touch it; if not, the chain
//! can be put at any point within.

use super::register::{ABSENT, RegisterOperation, ValueId};
use crate::model::{Call, Shortcut};
use std::collections::{BTreeMap, BTreeSet};

/// The order in which these calls can have taken effect, if their values are written once each.
pub(crate) fn order_of(calls: &[Call<RegisterOperation>]) -> Shortcut {
    if is_from_nowhere(calls) {
        return Shortcut::Impossible;
    }
    let mut sorting = Sorting {
        calls,
        seen: calls.iter().filter_map(seen).collect(),
        values: BTreeMap::new(),
        alone: Vec::new(),
        made_up: ValueId::MAX,
    };
    sorting.values.insert(ABSENT, Block::default());
    for (index, call) in calls.iter().enumerate() {
        if !sorting.add(index, call) {
            return Shortcut::Undecided;
        }
    }
    sorting.chains().and_then(ordered).map_or(Shortcut::Impossible, Shortcut::Order)
}

/// Whether somebody saw a value that nobody had begun to write.
fn is_from_nowhere(calls: &[Call<RegisterOperation>]) -> bool {
    let mut first_written: BTreeMap<ValueId, u64> = BTreeMap::from([(ABSENT, 0)]);
    for call in calls {
        if let RegisterOperation::Write { value } | RegisterOperation::CompareAndSet { value, .. } = call.operation {
            let first = first_written.entry(value).or_insert(call.called_at);
            *first = call.called_at.min(*first);
        }
    }
    calls.iter().any(|call| {
        let seen = match call.operation {
            RegisterOperation::Read { found } => found,
            RegisterOperation::CompareAndSet { expected, succeeded: Some(true), .. } => Some(expected),
            _ => None,
        };
        let (Some(seen), Some(returned_at)) = (seen, call.returned_at) else { return false };
        first_written.get(&seen).is_none_or(|first| *first > returned_at)
    })
}

/// The value that a call saw or looked for.
fn seen(call: &Call<RegisterOperation>) -> Option<ValueId> {
    match call.operation {
        RegisterOperation::Read { found } => call.returned_at.and(found),
        RegisterOperation::CompareAndSet { expected, .. } => Some(expected),
        RegisterOperation::Write { .. } | RegisterOperation::Delete { .. } => None,
    }
}

/// One value.
#[derive(Clone, Debug, Default)]
struct Block {
    writer: Option<usize>,
    readers: Vec<usize>,
    /// The values that a compare-and-set replaced this one by. More than one is a contradiction.
    replaced_by: Vec<ValueId>,
    /// Whether the writer is a compare-and-set that found another value.
    is_continued: bool,
}

struct Sorting<'a> {
    calls: &'a [Call<RegisterOperation>],
    /// The values that somebody saw or looked for.
    seen: BTreeSet<ValueId>,
    values: BTreeMap<ValueId, Block>,
    /// Writes that nobody saw.
    alone: Vec<usize>,
    /// The last number made up for a value that nobody saw; they go down.
    made_up: ValueId,
}

/// Blocks joined, in the order in which their operations take effect.
struct Chain {
    earliest_return: u64,
    latest_call: u64,
    is_first: bool,
    order: Vec<usize>,
}

impl Sorting<'_> {
    /// Takes in one call; `false` if it is of a kind that this cannot decide.
    fn add(&mut self, index: usize, call: &Call<RegisterOperation>) -> bool {
        let is_optional = call.returned_at.is_none();
        match call.operation {
            // Nobody waits for these.
            RegisterOperation::Read { .. } if is_optional => true,
            RegisterOperation::Read { found: Some(found) } => {
                self.values.entry(found).or_default().readers.push(index);
                true
            }
            RegisterOperation::Write { value } if !self.seen.contains(&value) => {
                if !is_optional {
                    self.alone.push(index);
                }
                true
            }
            RegisterOperation::Write { value } => self.written(value, index),
            RegisterOperation::CompareAndSet { expected, value, succeeded: Some(true) } if !is_optional => {
                // A value that nobody saw ends a chain, as one of its own.
                let value = if self.seen.contains(&value) { value } else { self.unseen_value() };
                if expected == value || !self.written(value, index) {
                    return false;
                }
                self.values.entry(value).or_default().is_continued = true;
                self.values.entry(expected).or_default().replaced_by.push(value);
                true
            }
            RegisterOperation::Read { found: None }
            | RegisterOperation::CompareAndSet { .. }
            | RegisterOperation::Delete { .. } => false,
        }
    }

    fn unseen_value(&mut self) -> ValueId {
        self.made_up -= 1;
        while self.seen.contains(&self.made_up) {
            self.made_up -= 1;
        }
        self.made_up
    }

    fn written(&mut self, value: ValueId, index: usize) -> bool {
        self.values.entry(value).or_default().writer.replace(index).is_none()
    }

    /// All chains; `None` if already they contradict themselves.
    fn chains(mut self) -> Option<Vec<Chain>> {
        let mut chains: Vec<Chain> =
            self.alone.iter().map(|index| self.chain(&[vec![*index]], false)).collect::<Option<_>>()?;
        let starts: Vec<ValueId> =
            self.values.iter().filter(|(_, block)| !block.is_continued).map(|(value, _)| *value).collect();
        for start in starts {
            let mut positions: Vec<Vec<usize>> = Vec::new();
            let mut at = Some(start);
            while let Some(value) = at {
                // A value of the chain that was met before would mean that it goes in a circle; those never start.
                let block = self.values.remove(&value)?;
                if block.writer.is_none() && value != ABSENT {
                    let observed = !block.readers.is_empty() || !block.replaced_by.is_empty();
                    if observed {
                        return None;
                    }
                }
                positions.extend([block.writer.into_iter().collect(), block.readers]);
                at = match *block.replaced_by.as_slice() {
                    [] => None,
                    [next] => Some(next),
                    _ => return None,
                };
            }
            chains.push(self.chain(&positions, start == ABSENT)?);
        }
        // What is left was continued from a value that never started: a circle.
        self.values.is_empty().then_some(chains)
    }

    /// A chain of operations, those of one position in any order; `None` if time contradicts the positions.
    fn chain(&self, positions: &[Vec<usize>], is_first: bool) -> Option<Chain> {
        let returned = |index: &usize| self.calls[*index].returned_at.unwrap_or(u64::MAX);
        let called = |index: &usize| self.calls[*index].called_at;
        let mut earliest_return = u64::MAX;
        let mut latest_call = 0;
        for position in positions.iter().rev() {
            if position.iter().any(|index| called(index) > earliest_return) {
                return None;
            }
            earliest_return = position.iter().map(returned).fold(earliest_return, u64::min);
            latest_call = position.iter().map(called).fold(latest_call, u64::max);
        }
        let mut order = Vec::new();
        for position in positions {
            let mut position = position.clone();
            position.sort_by_key(called);
            order.extend(position);
        }
        Some(Chain { earliest_return, latest_call, is_first, order })
    }
}

impl Chain {
    /// Whether it fills its interval. One of a single point can as well be put there.
    fn fills(&self) -> bool {
        self.earliest_return < self.latest_call
    }
}

/// All chains one after another, or `None` if they get in each other's way.
fn ordered(chains: Vec<Chain>) -> Option<Vec<usize>> {
    let (first, others): (Vec<Chain>, Vec<Chain>) = chains.into_iter().partition(|chain| chain.is_first);
    let first = first.into_iter().next()?;
    if others.iter().any(|other| other.earliest_return < first.latest_call) {
        return None;
    }
    let (mut filling, mut points): (Vec<Chain>, Vec<Chain>) = others.into_iter().partition(Chain::fills);
    filling.sort_by_key(|chain| (chain.earliest_return, chain.latest_call));
    if filling.windows(2).any(|pair| pair[1].earliest_return < pair[0].latest_call) {
        return None;
    }
    points.sort_by_key(|chain| chain.latest_call);
    // Each of the others goes before the first filling one that cannot come before it.
    let mut placed: Vec<(usize, usize, Chain)> = Vec::with_capacity(points.len());
    for (at, chain) in points.into_iter().enumerate() {
        let before = filling.partition_point(|other| other.latest_call <= chain.earliest_return);
        if filling.get(before).is_some_and(|other| other.earliest_return < chain.latest_call) {
            return None;
        }
        placed.push((before, at, chain));
    }
    placed.sort_by_key(|(before, at, _)| (*before, *at));
    let mut placed = placed.into_iter().peekable();
    let mut order = first.order;
    for (at, chain) in filling.into_iter().enumerate() {
        while let Some((_, _, point)) = placed.next_if(|(before, ..)| *before <= at) {
            order.extend(point.order);
        }
        order.extend(chain.order);
    }
    placed.for_each(|(_, _, point)| order.extend(point.order));
    Some(order)
}
