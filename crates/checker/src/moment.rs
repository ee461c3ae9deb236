//! Which operations run at a level, as a search moves between levels.

use crate::model::Model;
use crate::plan::{Completed, Plan};
use crate::slots::Slots;

/// The operations that were called by the return that a level waits for, and had not returned before it.
pub(crate) struct Moment<'a, 'b, M: Model, const WORDS: usize> {
    pub(crate) plan: &'a Plan<'b, M>,
    pub(crate) level: usize,
    /// The rank in each slot that is in use.
    rank_in: Vec<usize>,
    pub(crate) readers: Slots<WORDS>,
    pub(crate) overwriting: Slots<WORDS>,
    /// Those that were called since the return before.
    pub(crate) new: Slots<WORDS>,
    /// For each fact who needs it, and who brings it and does not need it.
    needers: Vec<Slots<WORDS>>,
    bringers: Vec<Slots<WORDS>>,
}

impl<'a, 'b, M: Model, const WORDS: usize> Moment<'a, 'b, M, WORDS> {
    /// Level 0. There must be one.
    pub(crate) fn first(plan: &'a Plan<'b, M>) -> Moment<'a, 'b, M, WORDS> {
        let mut moment = Moment {
            plan,
            level: 0,
            rank_in: vec![0; plan.slots],
            readers: Slots::EMPTY,
            overwriting: Slots::EMPTY,
            new: Slots::EMPTY,
            needers: vec![Slots::EMPTY; plan.facts.len()],
            bringers: vec![Slots::EMPTY; plan.facts.len()],
        };
        (0..plan.called[0]).for_each(|rank| moment.enter(rank));
        moment.note_new();
        moment
    }

    pub(crate) fn go_to(&mut self, level: usize) {
        if level == self.level {
            return;
        }
        while self.level < level {
            self.leave(self.plan.by_return[self.level]);
            let before = self.called();
            self.level += 1;
            (before..self.called()).for_each(|rank| self.enter(rank));
        }
        while self.level > level {
            let after = self.called();
            self.level -= 1;
            (self.called()..after).for_each(|rank| self.leave(rank));
            self.enter(self.plan.by_return[self.level]);
        }
        self.note_new();
    }

    fn note_new(&mut self) {
        self.new = Slots::EMPTY;
        let before = self.level.checked_sub(1).map_or(0, |level| self.plan.called[level]);
        (before..self.called()).for_each(|rank| self.new.insert(self.plan.completed[rank].slot));
    }

    fn enter(&mut self, rank: usize) {
        let one = &self.plan.completed[rank];
        self.rank_in[one.slot] = rank;
        if one.changes_nothing {
            self.readers.insert(one.slot);
        }
        if one.overwrites {
            self.overwriting.insert(one.slot);
        }
        one.needs.iter().for_each(|fact| self.needers[*fact].insert(one.slot));
        let helping = one.brings.iter().filter(|fact| !one.needs.contains(fact));
        helping.for_each(|fact| self.bringers[*fact].insert(one.slot));
    }

    fn leave(&mut self, rank: usize) {
        let one = &self.plan.completed[rank];
        self.readers.remove(one.slot);
        self.overwriting.remove(one.slot);
        one.needs.iter().for_each(|fact| self.needers[*fact].remove(one.slot));
        one.brings.iter().for_each(|fact| self.bringers[*fact].remove(one.slot));
    }

    /// How many ranks were called.
    pub(crate) fn called(&self) -> usize {
        self.plan.called[self.level]
    }

    /// The rank of the operation whose return this level waits for.
    pub(crate) fn blocker(&self) -> usize {
        self.plan.by_return[self.level]
    }

    /// When it returned.
    pub(crate) fn time(&self) -> u64 {
        self.plan.completed[self.blocker()].returned_at
    }

    pub(crate) fn rank_in(&self, slot: usize) -> usize {
        self.rank_in[slot]
    }

    pub(crate) fn at(&self, slot: usize) -> &'a Completed {
        &self.plan.completed[self.rank_in[slot]]
    }

    pub(crate) fn operation(&self, slot: usize) -> &'b M::Operation {
        self.plan.operation(self.rank_in[slot])
    }

    pub(crate) fn needers(&self, fact: usize) -> &Slots<WORDS> {
        &self.needers[fact]
    }

    pub(crate) fn bringers(&self, fact: usize) -> &Slots<WORDS> {
        &self.bringers[fact]
    }
}
