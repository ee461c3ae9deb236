//! The smallest part of a contradiction.
//!
//! Leaving operations out is not enough: a read contradicts anything once the write it saw is gone. So
//! nothing is left out, only *weakened*: an operation whose time and answer are forgotten may have happened at
//! any time, or never. Whatever is linearizable stays so when weakened; so if what is left is still
//! impossible, the contradiction lies between the operations not weakened, wherever the others are put.

use crate::check::Budget;
use crate::history::{Entry, Operation};
use crate::objects::Object;
use crate::search::{Effort, Linearization};

/// Steps in all, so that explaining never takes much longer than finding. When they are used up the
/// explanation is correct but not the shortest.
const MOST_STEPS: u64 = 6_000_000;

/// Steps per attempt. An attempt that would take more counts as failed.
const MOST_STEPS_PER_ATTEMPT: u64 = 500_000;

/// The indices of an impossible history's operations that contradict each other, ascending, such that
/// weakening any one more (of those tried within bounds) would explain everything.
pub(crate) fn contradiction(object: Object, entries: &[&Entry], keep_going: &dyn Fn() -> bool) -> Vec<usize> {
    let indices = (0..entries.len()).collect();
    let mut shrinking = Shrinking {
        object,
        keep_going,
        indices,
        entries: entries.iter().map(|entry| (*entry).clone()).collect(),
        kept: Vec::new(),
        steps: 0,
    };
    shrinking.cut();
    shrinking.kept = vec![true; shrinking.entries.len()];
    // What only observes goes first: it is cheap to do without, and people look for the writes.
    shrinking.weaken(only_observes);
    shrinking.weaken(|_| true);
    shrinking.contradictory()
}

fn only_observes(entry: &Entry) -> bool {
    match &entry.operation {
        Operation::Read { .. }
        | Operation::ReadList { .. }
        | Operation::ReadCounter { .. }
        | Operation::Delete { existed: Some(false) }
        | Operation::CompareAndSet { succeeded: Some(false), .. }
        | Operation::Dequeue { found: None } => true,
        Operation::Transact(transaction) => transaction.steps().all(crate::transaction::Step::only_reads),
        _ => false,
    }
}

/// A contradiction on its way to being smaller.
///
/// Invariant: `entries`, with those not `kept` weakened, are not linearizable.
struct Shrinking<'a> {
    object: Object,
    keep_going: &'a dyn Fn() -> bool,
    /// For each entry its index in the history given.
    indices: Vec<usize>,
    entries: Vec<Entry>,
    kept: Vec<bool>,
    steps: u64,
}

impl Shrinking<'_> {
    /// Forgets everything after the first impossible moment. Cutting a history at a time keeps it
    /// linearizable, so the least such time can be found by halving.
    fn cut(&mut self) {
        let mut returns: Vec<u64> = self.entries.iter().filter_map(|entry| entry.ret).collect();
        returns.sort_unstable();
        returns.dedup();
        let (mut low, mut high) = (0, returns.len());
        let mut shortest = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let (indices, entries) = self.known_at(returns[middle]);
            if self.is_impossible(&entries) {
                shortest = Some((indices, entries));
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        if let Some((indices, entries)) = shortest {
            (self.indices, self.entries) = (indices, entries);
        }
    }

    /// The history as it stood at `time`: what was called by then, answered if it was by then.
    fn known_at(&self, time: u64) -> (Vec<usize>, Vec<Entry>) {
        let called = self.indices.iter().zip(&self.entries).filter(|(_, entry)| entry.call <= time);
        let known = called.map(|(index, entry)| {
            let ret = entry.ret.filter(|ret| *ret <= time);
            (*index, Entry { ret, ..entry.clone() })
        });
        known.unzip()
    }

    /// Weakens as many of the entries as can be, in runs of half of them, a quarter, and so on to single ones.
    fn weaken(&mut self, which: impl Fn(&Entry) -> bool) {
        let kept = |this: &Self| -> Vec<usize> {
            (0..this.entries.len()).filter(|at| this.kept[*at] && which(&this.entries[*at])).collect()
        };
        let mut part = kept(self).len().div_ceil(2);
        while part > 0 && self.steps < MOST_STEPS && (self.keep_going)() {
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

    /// Weakens these entries if the rest is still impossible. Says whether it did.
    fn weaken_run(&mut self, run: &[usize]) -> bool {
        if self.steps >= MOST_STEPS {
            return false;
        }
        run.iter().for_each(|at| self.kept[*at] = false);
        let impossible = self.is_impossible(&self.weakened());
        if !impossible {
            run.iter().for_each(|at| self.kept[*at] = true);
        }
        impossible
    }

    fn weakened(&self) -> Vec<Entry> {
        let weaken = |(entry, kept): (&Entry, &bool)| match (kept, &entry.operation) {
            (true, _) => Some(entry.clone()),
            // Without an answer these explain nothing.
            (false, Operation::Read { .. } | Operation::ReadList { .. } | Operation::ReadCounter { .. }) => None,
            (false, _) => Some(Entry { call: 0, ret: None, ..entry.clone() }),
        };
        self.entries.iter().zip(&self.kept).filter_map(weaken).collect()
    }

    fn is_impossible(&mut self, entries: &[Entry]) -> bool {
        let steps_per_key = MOST_STEPS_PER_ATTEMPT.min(MOST_STEPS - self.steps.min(MOST_STEPS));
        let budget = Budget { steps_per_key, unknown_per_key: usize::MAX, ..Budget::default() };
        let mut effort = Effort { keep_going: self.keep_going, ..Effort::within(&budget) };
        let impossible = matches!(
            self.object.linearize(&entries.iter().collect::<Vec<_>>(), &mut effort),
            Linearization::Impossible { .. }
        );
        self.steps += effort.steps;
        impossible
    }

    fn contradictory(&self) -> Vec<usize> {
        self.indices.iter().zip(&self.kept).filter(|(_, kept)| **kept).map(|(index, _)| *index).collect()
    }
}
