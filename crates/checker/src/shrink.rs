//! The smallest part of a contradiction.
//!
//! Leaving operations out is not enough: a read contradicts anything once the write it saw is gone. So
//! nothing is left out, only *weakened*: an operation whose time and answer are forgotten may have happened at
//! any time, or never. Whatever is linearizable stays so when weakened; so if what is left is still
//! impossible, the contradiction lies between the operations not weakened, wherever the others are put.

use crate::check::Budget;
use crate::model::{Call, Model};
use crate::search::is_impossible;

/// Steps in all, so that explaining never takes much longer than finding. When they are used up the
/// explanation is correct but not the shortest.
const MOST_STEPS: u64 = 20_000_000;

/// Steps per attempt. An attempt that would take more counts as failed.
const MOST_STEPS_PER_ATTEMPT: u64 = 1_000_000;

/// The indices of an impossible history's operations that contradict each other, ascending, such that
/// weakening any one more (of those tried within bounds) would explain everything.
pub(crate) fn contradiction<M: Model>(model: &M, calls: &[Call<M::Operation>]) -> Vec<usize> {
    let mut shrinking =
        Shrinking { model, indices: (0..calls.len()).collect(), calls: calls.to_vec(), kept: Vec::new(), steps: 0 };
    shrinking.cut();
    shrinking.kept = vec![true; shrinking.calls.len()];
    // What only observes goes first: it is cheap to do without, and people look for the writes.
    shrinking.weaken(|call| model.changes_nothing(&call.operation));
    shrinking.weaken(|_| true);
    shrinking.contradictory()
}

/// A contradiction on its way to being smaller.
///
/// Invariant: `calls`, with those not `kept` weakened, are not linearizable.
struct Shrinking<'a, M: Model> {
    model: &'a M,
    /// For each call its index in the history given.
    indices: Vec<usize>,
    calls: Vec<Call<M::Operation>>,
    kept: Vec<bool>,
    steps: u64,
}

impl<M: Model> Shrinking<'_, M> {
    /// Forgets everything after the first impossible moment. Cutting a history at a time keeps it
    /// linearizable, so the least such time can be found by halving.
    fn cut(&mut self) {
        let mut returns: Vec<u64> = self.calls.iter().filter_map(|call| call.returned_at).collect();
        returns.sort_unstable();
        returns.dedup();
        let (mut low, mut high) = (0, returns.len());
        let mut shortest = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let (indices, calls) = self.known_at(returns[middle]);
            if self.is_impossible(&calls) {
                shortest = Some((indices, calls));
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        if let Some((indices, calls)) = shortest {
            (self.indices, self.calls) = (indices, calls);
        }
    }

    /// The history as it stood at `time`: what was called by then, answered if it was by then.
    fn known_at(&self, time: u64) -> (Vec<usize>, Vec<Call<M::Operation>>) {
        let called = self.indices.iter().zip(&self.calls).filter(|(_, call)| call.called_at <= time);
        let known = called.map(|(index, call)| {
            let call = if call.returned_at.is_some_and(|returned_at| returned_at <= time) {
                call.clone()
            } else {
                Call { returned_at: None, operation: self.model.without_answer(&call.operation), ..call.clone() }
            };
            (*index, call)
        });
        known.unzip()
    }

    /// Weakens as many of the calls as can be, in runs of half of them, a quarter, and so on to single ones.
    fn weaken(&mut self, which: impl Fn(&Call<M::Operation>) -> bool) {
        let kept = |this: &Self| -> Vec<usize> {
            (0..this.calls.len()).filter(|at| this.kept[*at] && which(&this.calls[*at])).collect()
        };
        let mut part = kept(self).len().div_ceil(2);
        while part > 0 && self.steps < MOST_STEPS {
            let mut any = false;
            for run in kept(self).chunks(part) {
                any |= self.weaken_run(run);
            }
            part = match part {
                1 if any => 1,
                1 => 0,
                more => more.div_ceil(2),
            };
        }
    }

    /// Weakens these calls if the rest is still impossible. Says whether it did.
    fn weaken_run(&mut self, run: &[usize]) -> bool {
        run.iter().for_each(|at| self.kept[*at] = false);
        let impossible = self.is_impossible(&self.weakened());
        if !impossible {
            run.iter().for_each(|at| self.kept[*at] = true);
        }
        impossible
    }

    fn weakened(&self) -> Vec<Call<M::Operation>> {
        let weaken = |(call, kept): (&Call<M::Operation>, &bool)| {
            if *kept {
                call.clone()
            } else {
                Call { called_at: 0, returned_at: None, operation: self.model.without_answer(&call.operation) }
            }
        };
        self.calls.iter().zip(&self.kept).map(weaken).collect()
    }

    fn is_impossible(&mut self, calls: &[Call<M::Operation>]) -> bool {
        let steps_per_key = MOST_STEPS_PER_ATTEMPT.min(MOST_STEPS - self.steps.min(MOST_STEPS));
        let (impossible, steps) = is_impossible(
            self.model,
            calls,
            &Budget { steps_per_key, unknown_per_key: usize::MAX, ..Budget::default() },
        );
        self.steps += steps;
        impossible
    }

    fn contradictory(&self) -> Vec<usize> {
        self.indices.iter().zip(&self.kept).filter(|(_, kept)| **kept).map(|(index, _)| *index).collect()
    }
}
