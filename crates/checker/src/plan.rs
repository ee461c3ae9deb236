//! What a search knows of its operations before it begins.

use crate::holds::{Holds, Needer};
use crate::model::{Call, Model};
use std::collections::BTreeMap;

/// An operation that returned, so that it took effect.
pub(crate) struct Completed {
    /// Its place in the list of calls.
    pub(crate) index: usize,
    pub(crate) called_at: u64,
    pub(crate) returned_at: u64,
    /// Operations of one kind are the same.
    pub(crate) kind: usize,
    /// Its name while it runs.
    pub(crate) slot: usize,
    pub(crate) overwrites: bool,
    pub(crate) changes_nothing: bool,
    limit: u64,
    /// Numbers of facts.
    pub(crate) needs: Vec<usize>,
    pub(crate) brings: Vec<usize>,
}

/// The operations that did not return and are the same.
pub(crate) struct OptionalKind {
    pub(crate) kind: usize,
    pub(crate) overwrites: bool,
    pub(crate) brings: Vec<usize>,
    /// Called at, and index; ascending.
    pub(crate) members: Vec<(u64, usize)>,
}

/// A fact that something needs or brings, and who does, ascending by call.
#[derive(Default)]
pub(crate) struct Fact {
    pub(crate) name: u64,
    needed_by: Vec<usize>,
    /// Without those that need it themselves: they do not help to bring it back.
    brought_by: Vec<usize>,
    /// Optional kinds by place.
    pub(crate) perhaps_brought_by: Vec<usize>,
    /// How many operations of any kind may bring it.
    brought: usize,
}

impl Fact {
    /// Those called at or after this rank that need it.
    pub(crate) fn later_needers(&self, rank: usize) -> &[usize] {
        &self.needed_by[self.needed_by.partition_point(|needer| *needer < rank)..]
    }

    /// Those called at or after this rank that bring it.
    pub(crate) fn later_bringers(&self, rank: usize) -> &[usize] {
        &self.brought_by[self.brought_by.partition_point(|bringer| *bringer < rank)..]
    }
}

/// The operations of one object, ready to be searched.
pub(crate) struct Plan<'a, M: Model> {
    pub(crate) model: &'a M,
    pub(crate) calls: &'a [Call<M::Operation>],
    /// In order of call; an operation's place here is its rank.
    pub(crate) completed: Vec<Completed>,
    /// By the call of the first member.
    pub(crate) optional: Vec<OptionalKind>,
    /// Ranks in order of return. The operation at place `n` is the one that *level* `n` waits for.
    pub(crate) by_return: Vec<usize>,
    /// For each level how many ranks were called by the time of its return.
    pub(crate) called: Vec<usize>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) fact_numbers: BTreeMap<u64, usize>,
    pub(crate) holds: Holds,
    pub(crate) kinds: usize,
    /// How many slots there are: the most operations that ran at the same time.
    pub(crate) slots: usize,
    /// The least limit of the completed operations from each rank on.
    least_limit: Vec<u64>,
}

impl<'a, M: Model> Plan<'a, M> {
    pub(crate) fn new(model: &'a M, calls: &'a [Call<M::Operation>]) -> Plan<'a, M> {
        let mut by_call: Vec<usize> = (0..calls.len()).collect();
        by_call.sort_by_key(|index| calls[*index].called_at);
        let mut sorting = Sorting::default();
        let mut kinds: BTreeMap<&M::Operation, usize> = BTreeMap::new();
        for index in by_call {
            let next_kind = kinds.len();
            let kind = *kinds.entry(&calls[index].operation).or_insert(next_kind);
            sorting.add(model, index, &calls[index], kind);
        }
        let Sorting { mut completed, optional, facts, fact_numbers } = sorting;
        let mut by_return: Vec<usize> = (0..completed.len()).collect();
        by_return.sort_by_key(|rank| completed[*rank].returned_at);
        let called_by = |rank: &usize| completed.partition_point(|one| one.called_at <= completed[*rank].returned_at);
        let called: Vec<usize> = by_return.iter().map(called_by).collect();
        let slots = give_slots(&mut completed, &by_return, &called);
        let holds = holds_of(model, &facts, &completed);
        let mut least_limit = vec![u64::MAX; completed.len() + 1];
        for (rank, one) in completed.iter().enumerate().rev() {
            least_limit[rank] = one.limit.min(least_limit[rank + 1]);
        }
        let mut optional: Vec<OptionalKind> = optional.into_values().collect();
        optional.sort_by_key(|kind| kind.members.first().copied());
        let mut plan = Plan {
            model,
            calls,
            completed,
            optional,
            by_return,
            called,
            facts,
            fact_numbers,
            holds,
            kinds: kinds.len(),
            slots,
            least_limit,
        };
        plan.note_optional();
        plan
    }

    fn note_optional(&mut self) {
        for (at, kind) in self.optional.iter().enumerate() {
            for fact in &kind.brings {
                self.facts[*fact].perhaps_brought_by.push(at);
            }
        }
    }

    pub(crate) fn operation(&self, rank: usize) -> &'a M::Operation {
        &self.calls[self.completed[rank].index].operation
    }

    /// The operation of an optional kind.
    pub(crate) fn optional_operation(&self, kind: usize) -> &'a M::Operation {
        &self.calls[self.optional[kind].members[0].1].operation
    }

    /// How many operations have no return and could matter.
    pub(crate) fn optional_count(&self) -> usize {
        self.optional.iter().map(|kind| kind.members.len()).sum()
    }

    /// How many levels there are.
    pub(crate) fn levels(&self) -> usize {
        self.by_return.len()
    }

    pub(crate) fn limit(&self, rank: usize) -> u64 {
        self.completed[rank].limit
    }

    /// The least limit of those called at or after this rank.
    pub(crate) fn limit_from(&self, rank: usize) -> u64 {
        self.least_limit[rank]
    }
}

#[derive(Default)]
struct Sorting {
    completed: Vec<Completed>,
    optional: BTreeMap<usize, OptionalKind>,
    facts: Vec<Fact>,
    fact_numbers: BTreeMap<u64, usize>,
}

impl Sorting {
    fn number(&mut self, name: u64) -> usize {
        let number = *self.fact_numbers.entry(name).or_insert(self.facts.len());
        if number == self.facts.len() {
            self.facts.push(Fact { name, ..Fact::default() });
        }
        number
    }

    fn numbers(&mut self, names: Vec<u64>) -> Vec<usize> {
        names.into_iter().map(|name| self.number(name)).collect()
    }

    /// Takes in the next operation in order of call.
    fn add<M: Model>(&mut self, model: &M, index: usize, call: &Call<M::Operation>, kind: usize) {
        let Call { called_at, returned_at, operation } = call;
        let changes_nothing = model.changes_nothing(operation);
        let overwrites = model.overwrites(operation);
        if returned_at.is_none() && changes_nothing {
            return;
        }
        let (mut brings, mut needs) = (Vec::new(), Vec::new());
        model.brings(operation, &mut brings);
        let brings = self.numbers(brings);
        brings.iter().for_each(|fact| self.facts[*fact].brought += 1);
        let Some(returned_at) = *returned_at else {
            let new = || OptionalKind { kind, overwrites, brings, members: Vec::new() };
            self.optional.entry(kind).or_insert_with(new).members.push((*called_at, index));
            return;
        };
        model.needs(operation, &mut needs);
        let needs = self.numbers(needs);
        let rank = self.completed.len();
        needs.iter().for_each(|fact| self.facts[*fact].needed_by.push(rank));
        let helping = brings.iter().filter(|fact| !needs.contains(fact));
        helping.for_each(|fact| self.facts[*fact].brought_by.push(rank));
        let limit = model.limit(operation);
        let called_at = *called_at;
        self.completed.push(Completed {
            index,
            called_at,
            returned_at,
            kind,
            slot: 0,
            overwrites,
            changes_nothing,
            limit,
            needs,
            brings,
        });
    }
}

/// Gives each operation a slot that is its own from its call to its return. How many there are.
fn give_slots(completed: &mut [Completed], by_return: &[usize], called: &[usize]) -> usize {
    let (mut unused, mut slots, mut next) = (Vec::new(), 0, 0);
    for (rank, called) in by_return.iter().zip(called) {
        while next < *called {
            completed[next].slot = unused.pop().unwrap_or_else(|| {
                slots += 1;
                slots - 1
            });
            next += 1;
        }
        unused.push(completed[*rank].slot);
    }
    slots
}

/// How long each fact must hold.
fn holds_of<M: Model>(model: &M, facts: &[Fact], completed: &[Completed]) -> Holds {
    let initial = model.initial();
    let comes_once: Vec<bool> =
        facts.iter().map(|fact| fact.brought == 1 && !model.holds(&initial, fact.name)).collect();
    let needer = |one| {
        let Completed { called_at, needs, brings, .. }: &Completed = one;
        Needer { called_at: *called_at, needs, brings }
    };
    Holds::new(&comes_once, completed.iter().map(needer))
}
