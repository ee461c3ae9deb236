//! What an object would do if it did one thing at a time.

use std::hash::Hash;

/// The sequential specification of an object. An operation carries the answer that was seen, or says that
/// none was.
///
/// `State` is kept small and cheap to compare (numbers rather than byte strings): the search stores many.
///
/// ```
/// use quorate_checker::{Call, Linearization, Model, linearize};
///
/// /// A first-in-first-out queue of numbers.
/// struct Queue;
///
/// #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
/// enum QueueOperation {
///     Enqueue(u32),
///     /// The answer: `None` if it never came, `Some(None)` if the queue was empty.
///     Dequeue(Option<Option<u32>>),
/// }
///
/// impl Model for Queue {
///     type State = Vec<u32>;
///     type Operation = QueueOperation;
///
///     fn initial(&self) -> Vec<u32> {
///         Vec::new()
///     }
///
///     fn step(&self, state: &Vec<u32>, operation: &QueueOperation) -> Option<Vec<u32>> {
///         let mut next = state.clone();
///         match operation {
///             QueueOperation::Enqueue(item) => next.push(*item),
///             QueueOperation::Dequeue(answer) => {
///                 let head = if next.is_empty() { None } else { Some(next.remove(0)) };
///                 if answer.is_some_and(|answer| answer != head) {
///                     return None;
///                 }
///             }
///         }
///         Some(next)
///     }
///
///     fn without_answer(&self, operation: &QueueOperation) -> QueueOperation {
///         match operation {
///             QueueOperation::Enqueue(item) => QueueOperation::Enqueue(*item),
///             QueueOperation::Dequeue(_) => QueueOperation::Dequeue(None),
///         }
///     }
/// }
///
/// // The same item leaves the queue twice.
/// let calls = [
///     Call { called_at: 0, returned_at: Some(1), operation: QueueOperation::Enqueue(7) },
///     Call { called_at: 2, returned_at: Some(5), operation: QueueOperation::Dequeue(Some(Some(7))) },
///     Call { called_at: 3, returned_at: Some(4), operation: QueueOperation::Dequeue(Some(Some(7))) },
/// ];
/// let verdict = linearize(&Queue, &calls, &Default::default());
/// assert!(matches!(verdict, Linearization::Impossible { .. }));
/// ```
pub trait Model {
    /// The object's state.
    type State: Clone + Eq + Hash;
    /// One operation with the answer that was seen, if any was.
    type Operation: Clone + Ord;

    /// The state before everything.
    fn initial(&self) -> Self::State;

    /// The state after `operation`, or `None` if in `state` it would not have answered as it did. Without an
    /// answer it must be possible in every state.
    fn step(&self, state: &Self::State, operation: &Self::Operation) -> Option<Self::State>;

    /// The same operation as if its answer had been lost. Every state in which `operation` is legal leads
    /// to the same next state without the answer.
    fn without_answer(&self, operation: &Self::Operation) -> Self::Operation;

    /// Whether `operation`, with the answer it carries, leaves **every** state in which it is legal as it
    /// was. A sound reduction, and the greatest one; `false` is always safe.
    fn changes_nothing(&self, _operation: &Self::Operation) -> bool {
        false
    }

    /// Whether `operation` is legal in **every** state and leads to the **same** state from all of them, so
    /// that nothing before it can be told from what follows. `false` is always safe.
    fn overwrites(&self, _operation: &Self::Operation) -> bool {
        false
    }

    /// Which of several possible operations to try first: the least. Changes how long a search takes, never what it says.
    fn urgency(&self, _operation: &Self::Operation) -> u64 {
        0
    }

    /// The *facts* without which `operation`, with the answer it carries, is not legal. A fact is a number for what holds in
    /// some states, such as "the value is 3". Naming fewer is always safe; together with the next three this closes ways that
    /// lead nowhere long before they end.
    fn needs(&self, _operation: &Self::Operation, _facts: &mut Vec<u64>) {}

    /// The facts that `operation` may bring about. All that are needed must be named: what does not hold, and nothing that is
    /// left brings, is taken to be lost. Only where [`Model::holds`] is always true may those be left out that never hold again once
    /// they ended.
    fn brings(&self, _operation: &Self::Operation, _facts: &mut Vec<u64>) {}

    /// Some of the facts that hold in `before` and not in `after`.
    fn ended(&self, _before: &Self::State, _after: &Self::State, _facts: &mut Vec<u64>) {}

    /// Whether `operation`, with the answer it carries, is illegal in every state in which the fact holds, or ends it. `false` is
    /// always safe; `true` lets a search see early what must come before a fact that many need.
    fn excludes(&self, _operation: &Self::Operation, _fact: u64) -> bool {
        false
    }

    /// Whether a fact, one of those that some operation brings, holds. `true` is always safe.
    fn holds(&self, _state: &Self::State, _fact: u64) -> bool {
        true
    }

    /// A measure that no operation makes less, such as a count of all writes.
    fn height(&self, _state: &Self::State) -> u64 {
        0
    }

    /// The greatest height of a state in which `operation`, with the answer it carries, is legal.
    fn limit(&self, _operation: &Self::Operation) -> u64 {
        u64::MAX
    }

    /// Bytes that `state` holds outside itself, for the bound on memory.
    fn heap_bytes(&self, _state: &Self::State) -> usize {
        0
    }

    /// A way to decide these calls without a search, where the model has one.
    fn shortcut(&self, _calls: &[Call<Self::Operation>]) -> Shortcut {
        Shortcut::Undecided
    }
}

/// What could be said without a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// Certainly no order explains every answer.
    Impossible,
    /// Perhaps this order does: indices of calls. It is believed only after it was replayed.
    Order(Vec<usize>),
    /// Nothing.
    Undecided,
}

/// One operation with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call<O> {
    /// When it was called.
    pub called_at: u64,
    /// When its answer arrived, not before `called_at`; `None` if never: it may have taken effect at any time
    /// after the call, or never.
    pub returned_at: Option<u64>,
    /// What was asked and answered.
    pub operation: O,
}
