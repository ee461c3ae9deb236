//! Wing and Gong's search with Lowe's memory, for any model.
//!
//! A configuration is what has taken effect and the state. From it, an operation may be next if no other that
//! has not taken effect returned before it was called. Three reductions keep the search small.
//!
//! *Take what changes nothing.* If an operation that changes nothing may be next and is legal, only it is
//! tried: in any completion it can be moved to the front, where it is legal, disturbs nobody, and is after
//! everything that returned before its call.
//!
//! *No unseen optional operation.* After an operation without return, the next must not overwrite it
//! ([`Model::overwrites`]), and the history must not end: such an operation could as well never have happened,
//! so a completion with the fewest operations contains none. Whether the last operation is still waiting to
//! be seen (`must_observe`) is part of the configuration. The first reduction stays right beside this one: the
//! operation moved to the front is itself one that sees, and dropping optional operations that the move left
//! unseen makes the completion shorter still. An optional operation that would change nothing here is left out
//! by the same argument.
//!
//! *Equals in order of call.* Of several optional operations that are the same, the earliest called goes first:
//! once called, they can be exchanged.

use crate::check::{Budget, UnknownReason};
use crate::configuration::{Configuration, Pick, Taken, Undo};
use crate::model::{Call, Model};
use std::collections::{BTreeMap, BTreeSet};

/// What a search found. Operations are named by their index in the list given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linearization {
    /// It is linearizable.
    Found {
        /// The order in which the operations can have taken effect. It has every operation with a return,
        /// and of those without only the ones needed.
        witness: Vec<usize>,
    },
    /// It is not.
    Impossible {
        /// The longest order found before every way on was closed.
        longest: Vec<usize>,
    },
    /// The search gave up. This is not a pass.
    Unknown(UnknownReason),
}

/// Whether `calls`, given in any order, are linearizable as operations on one object. Calls without return
/// that change nothing are ignored.
pub fn linearize<M: Model>(model: &M, calls: &[Call<M::Operation>], budget: &Budget) -> Linearization {
    Search::new(model, calls, budget).run()
}

/// Whether `calls` certainly are not linearizable, and how many steps it took to find out.
pub(crate) fn is_impossible<M: Model>(model: &M, calls: &[Call<M::Operation>], budget: &Budget) -> (bool, u64) {
    let mut search = Search::new(model, calls, budget);
    let impossible = matches!(search.run(), Linearization::Impossible { .. });
    (impossible, search.steps)
}

struct Search<'a, M: Model> {
    model: &'a M,
    calls: &'a [Call<M::Operation>],
    budget: &'a Budget,
    /// Indices of calls with a return, ascending by call time.
    completed: Vec<usize>,
    /// Indices of calls without, ascending by call time.
    optional: Vec<usize>,
    /// All ranks of `optional`, and those that may follow an optional operation.
    any: Vec<usize>,
    observing: Vec<usize>,
    /// For each rank of `optional`, the one before it that is the same operation.
    same_before: Vec<Option<usize>>,
    taken: Taken,
    seen: BTreeSet<Configuration<M::State>>,
    steps: u64,
    longest: Vec<usize>,
}

/// One operation taken, or the start, and what can follow.
struct Frame<S> {
    state: S,
    /// How to take back the operation that led here; `None` at the start.
    undo: Option<(usize, Undo)>,
    candidates: Vec<Pick>,
    tried: usize,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, calls: &'a [Call<M::Operation>], budget: &'a Budget) -> Search<'a, M> {
        let mut by_call: Vec<usize> = (0..calls.len()).collect();
        by_call.sort_by_key(|index| calls[*index].called_at);
        let (completed, optional): (Vec<usize>, Vec<usize>) = by_call
            .into_iter()
            .filter(|index| calls[*index].returned_at.is_some() || !model.changes_nothing(&calls[*index].operation))
            .partition(|index| calls[*index].returned_at.is_some());
        let mut last_same = BTreeMap::new();
        let operations = optional.iter().map(|index| &calls[*index].operation).enumerate();
        Search {
            model,
            calls,
            budget,
            taken: Taken::none_of(completed.len(), optional.len()),
            any: (0..optional.len()).collect(),
            observing: operations.clone().filter(|(_, one)| !model.overwrites(one)).map(|(rank, _)| rank).collect(),
            same_before: operations.map(|(rank, operation)| last_same.insert(operation, rank)).collect(),
            completed,
            optional,
            seen: BTreeSet::new(),
            steps: 0,
            longest: Vec::new(),
        }
    }

    fn run(&mut self) -> Linearization {
        if self.optional.len() > self.budget.unknown_per_key {
            let found = self.optional.len();
            return Linearization::Unknown(UnknownReason::TooManyUnknown { found, most: self.budget.unknown_per_key });
        }
        let mut stack = vec![self.frame(self.model.initial(), false, None)];
        if self.taken.all_completed() {
            return Linearization::Found { witness: Vec::new() };
        }
        while let Some(frame) = stack.last_mut() {
            let Some(pick) = frame.candidates.get(frame.tried).copied() else {
                self.retreat(&mut stack);
                continue;
            };
            frame.tried += 1;
            let branching = frame.candidates.len() > 1;
            self.steps += 1;
            if self.steps > self.budget.steps_per_key {
                return Linearization::Unknown(UnknownReason::TooManySteps { most: self.budget.steps_per_key });
            }
            if self.seen.len() > self.budget.configurations_per_key {
                let most = self.budget.configurations_per_key;
                return Linearization::Unknown(UnknownReason::TooManyConfigurations { most });
            }
            let index = self.index_of(pick);
            let Some(state) = self.model.step(&frame.state, &self.calls[index].operation) else { continue };
            let must_observe = matches!(pick, Pick::Optional(_));
            if must_observe && state == frame.state {
                continue;
            }
            let undo = self.taken.take(pick);
            if self.taken.all_completed() {
                let mut witness = path(&stack);
                witness.push(index);
                return Linearization::Found { witness };
            }
            let next = self.frame(state, must_observe, Some((index, undo)));
            // Where there is no choice there is no second way to arrive, except through a choice remembered before.
            if next.candidates.is_empty() || branching && self.was_here(&next.state, must_observe) {
                self.taken.undo(undo);
            } else {
                stack.push(next);
            }
        }
        Linearization::Impossible { longest: std::mem::take(&mut self.longest) }
    }

    /// Whether the search has been at this configuration before; from now on it has.
    fn was_here(&mut self, state: &M::State, must_observe: bool) -> bool {
        !self.seen.insert(self.taken.configuration(state.clone(), must_observe))
    }

    fn retreat(&mut self, stack: &mut Vec<Frame<M::State>>) {
        if stack.len() > self.longest.len() + 1 {
            self.longest = path(stack);
        }
        if let Some((_, undo)) = stack.pop().and_then(|frame| frame.undo) {
            self.taken.undo(undo);
        }
    }

    fn frame(&mut self, state: M::State, must_observe: bool, undo: Option<(usize, Undo)>) -> Frame<M::State> {
        let candidates = self.candidates(&state, must_observe);
        Frame { state, undo, candidates, tried: 0 }
    }

    /// The operations that may be next: called no later than every waiting completed operation returned.
    fn candidates(&mut self, state: &M::State, must_observe: bool) -> Vec<Pick> {
        let mut candidates = Vec::new();
        let mut first_return = u64::MAX;
        for rank in self.taken.prefix()..self.completed.len() {
            let call = &self.calls[self.completed[rank]];
            if call.called_at > first_return {
                break;
            }
            if self.taken.has_completed(rank) {
                continue;
            }
            first_return = first_return.min(call.returned_at.unwrap_or(u64::MAX));
            self.steps += 1;
            if self.model.changes_nothing(&call.operation) && self.model.step(state, &call.operation).is_some() {
                return vec![Pick::Completed(rank)];
            }
            if !must_observe || !self.model.overwrites(&call.operation) {
                candidates.push(Pick::Completed(rank));
            }
        }
        let optional = if must_observe { &self.observing } else { &self.any };
        for rank in optional {
            if self.calls[self.optional[*rank]].called_at > first_return {
                break;
            }
            self.steps += 1;
            let earlier_first = self.same_before[*rank].is_none_or(|earlier| self.taken.has_optional(earlier));
            if earlier_first && !self.taken.has_optional(*rank) {
                candidates.push(Pick::Optional(*rank));
            }
        }
        candidates
    }

    fn index_of(&self, pick: Pick) -> usize {
        match pick {
            Pick::Completed(rank) => self.completed[rank],
            Pick::Optional(rank) => self.optional[rank],
        }
    }
}

/// The operations that led to the top of the stack, in order.
fn path<S>(stack: &[Frame<S>]) -> Vec<usize> {
    stack.iter().filter_map(|frame| frame.undo.map(|(index, _)| index)).collect()
}
