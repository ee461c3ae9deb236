//! Which operations have taken effect and which wait, as a search moves.

use crate::holds::{Holds, Needer};
use crate::model::{Call, Model};
use std::collections::BTreeMap;

/// An operation: by its rank among the completed ones in order of call, or by its kind among the optional ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// It returned, so it took effect.
    Completed(usize),
    /// It returned and nobody saw its effect: it went just before an overwriting operation taken earlier.
    Dropped(usize),
    /// It did not return, so it may have. The earliest called of its kind.
    Optional(usize),
}

/// What taking one operation changed, for [`Waiting::undo`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Undo {
    pub(crate) pick: Pick,
    /// The operation's index in the list of calls.
    pub(crate) index: usize,
    top: usize,
    free_below: usize,
}

/// A completed operation.
struct Completed {
    index: usize,
    called_at: u64,
    returned_at: u64,
    kind: usize,
    overwrites: bool,
    changes_nothing: bool,
    limit: u64,
    needs: Vec<usize>,
    brings: Vec<usize>,
}

impl Completed {
    fn needer(&self) -> Needer<'_> {
        Needer { called_at: self.called_at, needs: &self.needs, brings: &self.brings }
    }
}

/// How long each fact must hold.
fn holds_of<M: Model>(model: &M, facts: &Facts, completed: &[Completed]) -> Holds {
    let initial = model.initial();
    let comes_once: Vec<bool> = std::iter::zip(&facts.names, &facts.brought)
        .map(|(name, brought)| *brought == 1 && !model.holds(&initial, *name))
        .collect();
    Holds::new(&comes_once, completed.iter().map(Completed::needer))
}

/// The least limit from each rank on.
fn least_limits(completed: &[Completed]) -> Vec<u64> {
    let mut least = vec![u64::MAX; completed.len() + 1];
    for (rank, one) in completed.iter().enumerate().rev() {
        least[rank] = one.limit.min(least[rank + 1]);
    }
    least
}

/// The optional operations that are the same.
struct OptionalKind {
    kind: usize,
    overwrites: bool,
    brings: Vec<usize>,
    /// Called at, and index; ascending.
    members: Vec<(u64, usize)>,
    taken: usize,
}

/// Invariants: the links go through exactly the waiting completed operations, ascending by call, and end at
/// `completed.len()`; none at or after `top` is taken.
pub(crate) struct Waiting<'a, M: Model> {
    calls: &'a [Call<M::Operation>],
    completed: Vec<Completed>,
    optional: Vec<OptionalKind>,
    next: Vec<usize>,
    previous: Vec<usize>,
    count: usize,
    top: usize,
    /// Waiting overwriting operations below this rank are free.
    free_below: usize,
    /// For each kind, in which round of `representatives` it was met, and who was best.
    met: Vec<(u64, usize)>,
    round: u64,
    spare: Vec<usize>,
    facts: Facts,
    holds: Holds,
    /// The least limit of the completed operations from each rank on.
    least_limit: Vec<u64>,
}

/// The facts that waiting operations need.
struct Facts {
    numbers: BTreeMap<u64, usize>,
    names: Vec<u64>,
    /// By how many waiting completed operations.
    needed: Vec<u32>,
    /// How many waiting operations may bring it about.
    brought: Vec<u32>,
    /// In which round of `representatives` an enabled operation needed it, and when the first of them returned.
    needed_by: Vec<(u64, u64)>,
}

impl Facts {
    fn number(&mut self, fact: u64) -> usize {
        let number = *self.numbers.entry(fact).or_insert(self.needed.len());
        if number == self.needed.len() {
            self.names.push(fact);
            self.needed.push(0);
            self.brought.push(0);
            self.needed_by.push((0, u64::MAX));
        }
        number
    }

    fn are_lost(&self, number: usize) -> bool {
        self.needed[number] > 0 && self.brought[number] == 0
    }
}

/// The waiting operations called before any waiting one returned.
pub(crate) struct Enabled {
    ranks: Vec<usize>,
    pub(crate) blocker: Option<usize>,
    first_return: u64,
    /// The first waiting rank that was called later.
    pub(crate) called: usize,
}

impl Enabled {
    pub(crate) fn len(&self) -> usize {
        self.ranks.len()
    }

    pub(crate) fn ranks(&self) -> &[usize] {
        &self.ranks
    }
}

impl<'a, M: Model> Waiting<'a, M> {
    pub(crate) fn all(model: &M, calls: &'a [Call<M::Operation>]) -> Waiting<'a, M> {
        let mut by_call: Vec<usize> = (0..calls.len()).collect();
        by_call.sort_by_key(|index| calls[*index].called_at);
        let mut kinds: BTreeMap<&M::Operation, usize> = BTreeMap::new();
        let mut completed: Vec<Completed> = Vec::new();
        let mut optional: BTreeMap<usize, OptionalKind> = BTreeMap::new();
        let mut facts = Facts {
            numbers: BTreeMap::new(),
            names: Vec::new(),
            needed: Vec::new(),
            brought: Vec::new(),
            needed_by: Vec::new(),
        };
        let mut found = Vec::new();
        for index in by_call {
            let Call { called_at, returned_at, operation } = &calls[index];
            let changes_nothing = model.changes_nothing(operation);
            if returned_at.is_none() && changes_nothing {
                continue;
            }
            let next_kind = kinds.len();
            let kind = *kinds.entry(operation).or_insert(next_kind);
            let overwrites = model.overwrites(operation);
            model.brings(operation, &mut found);
            let brings: Vec<usize> = found.drain(..).map(|fact| facts.number(fact)).collect();
            brings.iter().for_each(|fact| facts.brought[*fact] += 1);
            if returned_at.is_some() {
                model.needs(operation, &mut found);
            }
            let needs: Vec<usize> = found.drain(..).map(|fact| facts.number(fact)).collect();
            needs.iter().for_each(|fact| facts.needed[*fact] += 1);
            match *returned_at {
                Some(returned_at) => completed.push(Completed {
                    index,
                    called_at: *called_at,
                    returned_at,
                    kind,
                    overwrites,
                    changes_nothing,
                    limit: model.limit(operation),
                    needs,
                    brings,
                }),
                None => {
                    let new = || OptionalKind { kind, overwrites, brings, members: Vec::new(), taken: 0 };
                    optional.entry(kind).or_insert_with(new).members.push((*called_at, index));
                }
            }
        }
        let end = completed.len();
        let holds = holds_of(model, &facts, &completed);
        Waiting {
            holds,
            facts,
            least_limit: least_limits(&completed),
            calls,
            next: (1..=end).chain([0]).collect(),
            previous: std::iter::once(end).chain(0..end).collect(),
            count: end,
            completed,
            optional: optional.into_values().collect(),
            top: 0,
            free_below: 0,
            met: vec![(0, 0); kinds.len()],
            round: 0,
            spare: Vec::new(),
        }
    }

    /// Whether something waiting needs what just ended, and nothing waiting can bring it back in time.
    pub(crate) fn loses(&self, ended: &[u64]) -> bool {
        let numbers = ended.iter().filter_map(|fact| self.facts.numbers.get(fact));
        numbers
            .filter(|number| self.facts.needed[**number] > 0)
            .any(|number| self.facts.brought[*number] == 0 || self.is_needed_before_brought(*number))
    }

    /// Whether something waiting needs this fact, which does not hold, and returned before anyone who could bring it was called.
    fn is_needed_before_brought(&self, number: usize) -> bool {
        let unknown = self.optional.iter().filter(|kind| kind.brings.contains(&number));
        let first_unknown =
            unknown.filter_map(|kind| kind.members.get(kind.taken)).map(|(called_at, _)| *called_at).min();
        let first_unknown = first_unknown.unwrap_or(u64::MAX);
        let end = self.completed.len();
        let (mut rank, mut needed_until) = (self.next[end], u64::MAX);
        while rank != end && self.completed[rank].called_at <= first_unknown.min(needed_until) {
            let one = &self.completed[rank];
            // One that both needs and brings it does not help the first.
            if one.needs.contains(&number) {
                needed_until = needed_until.min(one.returned_at);
            } else if one.brings.contains(&number) {
                return false;
            }
            rank = self.next[rank];
        }
        needed_until < first_unknown
    }

    /// Whether something waiting needs a fact that only the operation just dropped could have brought about.
    pub(crate) fn lost_with(&self, pick: Pick, holds: impl Fn(u64) -> bool) -> bool {
        self.brings(pick).iter().any(|number| self.facts.are_lost(*number) && !holds(self.facts.names[*number]))
    }

    /// When the first returned that was enabled, at the last [`Waiting::representatives`], and needs what this operation brings.
    pub(crate) fn needed_by(&self, pick: Pick) -> u64 {
        let needed = self.brings(pick).iter().map(|number| self.facts.needed_by[*number]);
        needed.filter(|(round, _)| *round == self.round).map(|(_, by)| by).min().unwrap_or(u64::MAX)
    }

    /// Whether `pick` would come too early: something that waits would have to be before it, and visible. See [`Holds`].
    pub(crate) fn is_too_early(&self, model: &M, pick: Pick, enabled: &Enabled) -> bool {
        let frees = self.overwrites(pick);
        let itself = match pick {
            Pick::Completed(rank) | Pick::Dropped(rank) => Some(rank),
            Pick::Optional(_) => None,
        };
        self.brings(pick).iter().any(|fact| {
            let until = self.holds.until(*fact);
            until > enabled.first_return
                && enabled.ranks.iter().any(|rank| {
                    let one = &self.completed[*rank];
                    one.returned_at < until
                        && Some(*rank) != itself
                        && !self.holds.is_link(*rank)
                        && !(one.overwrites && (frees || self.is_free(*rank)) && !self.alone_brings_what_is_needed(one))
                        && self.holds.excludes(model, &self.facts.names, *fact, self.operation(*rank))
                })
        })
    }

    fn alone_brings_what_is_needed(&self, one: &Completed) -> bool {
        one.brings.iter().any(|fact| self.facts.needed[*fact] > 0 && self.facts.brought[*fact] == 1)
    }

    fn brings(&self, pick: Pick) -> &[usize] {
        match pick {
            Pick::Completed(rank) | Pick::Dropped(rank) => &self.completed[rank].brings,
            Pick::Optional(kind) => &self.optional[kind].brings,
        }
    }

    /// The least limit of all that waits.
    pub(crate) fn limit(&self, enabled: &Enabled) -> u64 {
        let limits = enabled.ranks.iter().map(|rank| self.completed[*rank].limit);
        limits.fold(self.least_limit[enabled.called], u64::min)
    }

    /// How many operations have no return and could matter.
    pub(crate) fn optional(&self) -> usize {
        self.optional.iter().map(|kind| kind.members.len()).sum()
    }

    pub(crate) fn all_completed(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn operation(&self, rank: usize) -> &'a M::Operation {
        &self.calls[self.completed[rank].index].operation
    }

    pub(crate) fn changes_nothing(&self, rank: usize) -> bool {
        self.completed[rank].changes_nothing
    }

    pub(crate) fn overwrites(&self, pick: Pick) -> bool {
        match pick {
            Pick::Completed(rank) | Pick::Dropped(rank) => self.completed[rank].overwrites,
            Pick::Optional(kind) => self.optional[kind].overwrites,
        }
    }

    /// Whether this waiting operation could have taken effect unseen, just before the last overwriting one.
    pub(crate) fn is_free(&self, rank: usize) -> bool {
        rank < self.free_below && self.completed[rank].overwrites
    }

    /// Whether an overwriting operation taken now, `called` as in [`Enabled`], could make another one free.
    pub(crate) fn would_free(&self, called: usize) -> bool {
        called > self.free_below
    }

    /// When it returned.
    pub(crate) fn deadline(&self, pick: Pick) -> u64 {
        match pick {
            Pick::Completed(rank) | Pick::Dropped(rank) => self.completed[rank].returned_at,
            Pick::Optional(_) => u64::MAX,
        }
    }

    /// The index, in the list of calls, of a waiting operation.
    pub(crate) fn index_of(&self, pick: Pick) -> usize {
        match pick {
            Pick::Completed(rank) | Pick::Dropped(rank) => self.completed[rank].index,
            Pick::Optional(kind) => self.optional[kind].members[self.optional[kind].taken].1,
        }
    }

    pub(crate) fn enabled(&mut self) -> Enabled {
        let end = self.completed.len();
        let mut ranks = std::mem::take(&mut self.spare);
        ranks.clear();
        let (mut blocker, mut first_return) = (None, u64::MAX);
        let mut rank = self.next[end];
        while rank != end && self.completed[rank].called_at <= first_return {
            ranks.push(rank);
            let returned_at = self.completed[rank].returned_at;
            if blocker.is_none() || returned_at < first_return {
                (blocker, first_return) = (Some(rank), returned_at);
            }
            rank = self.next[rank];
        }
        Enabled { ranks, blocker, first_return, called: rank }
    }

    /// Gives the memory back for the next [`Waiting::enabled`].
    pub(crate) fn reuse(&mut self, enabled: Enabled) {
        self.spare = enabled.ranks;
    }

    /// Of the enabled operations that change something, and of the optional ones, one of each kind: the one to go first.
    pub(crate) fn representatives(&mut self, enabled: &Enabled, must_observe: bool) -> Vec<Pick> {
        self.round += 1;
        let useful = |overwrites: bool| !(must_observe && overwrites);
        for rank in &enabled.ranks {
            let one = &self.completed[*rank];
            let (round, best) = &mut self.met[one.kind];
            if *round != self.round || one.returned_at < self.completed[*best].returned_at {
                (*round, *best) = (self.round, *rank);
            }
            for number in &one.needs {
                let (round, by) = &mut self.facts.needed_by[*number];
                *by = if *round == self.round { one.returned_at.min(*by) } else { one.returned_at };
                *round = self.round;
            }
        }
        let best = enabled.ranks.iter().filter(|rank| {
            let one = &self.completed[**rank];
            !one.changes_nothing && useful(one.overwrites) && self.met[one.kind].1 == **rank
        });
        let mut picks: Vec<Pick> = best.map(|rank| Pick::Completed(*rank)).collect();
        for (at, one) in self.optional.iter().enumerate() {
            let called = one.members.get(one.taken).is_some_and(|(called_at, _)| *called_at <= enabled.first_return);
            if called && useful(one.overwrites) && self.met[one.kind].0 != self.round {
                picks.push(Pick::Optional(at));
            }
        }
        picks
    }

    /// Lets `pick` take effect; `called` as in [`Enabled`].
    pub(crate) fn take(&mut self, pick: Pick, called: usize) -> Undo {
        let undo = Undo { pick, index: self.index_of(pick), top: self.top, free_below: self.free_below };
        match pick {
            Pick::Completed(rank) | Pick::Dropped(rank) => {
                let (next, previous) = (self.next[rank], self.previous[rank]);
                self.next[previous] = next;
                self.previous[next] = previous;
                self.count -= 1;
                self.top = self.top.max(rank + 1);
            }
            Pick::Optional(kind) => self.optional[kind].taken += 1,
        }
        self.count_facts(pick, |count| *count -= 1);
        if !matches!(pick, Pick::Dropped(_)) && self.overwrites(pick) {
            self.free_below = self.free_below.max(called);
        }
        undo
    }

    pub(crate) fn undo(&mut self, undo: Undo) {
        match undo.pick {
            Pick::Completed(rank) | Pick::Dropped(rank) => {
                let (next, previous) = (self.next[rank], self.previous[rank]);
                self.next[previous] = rank;
                self.previous[next] = rank;
                self.count += 1;
            }
            Pick::Optional(kind) => self.optional[kind].taken -= 1,
        }
        self.count_facts(undo.pick, |count| *count += 1);
        self.top = undo.top;
        self.free_below = undo.free_below;
    }

    fn count_facts(&mut self, pick: Pick, count: impl Fn(&mut u32)) {
        let (brings, needs) = match pick {
            Pick::Completed(rank) | Pick::Dropped(rank) => {
                (&self.completed[rank].brings, &self.completed[rank].needs[..])
            }
            Pick::Optional(kind) => (&self.optional[kind].brings, &[][..]),
        };
        brings.iter().for_each(|number| count(&mut self.facts.brought[*number]));
        needs.iter().for_each(|number| count(&mut self.facts.needed[*number]));
    }

    /// Appends words that tell this apart from every other set of waiting and free operations. They grow with
    /// concurrency, not with the history's length.
    pub(crate) fn describe(&self, words: &mut Vec<u32>) {
        // Ranks fit: more operations than that do not fit in memory.
        let word = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let end = self.completed.len();
        words.push(word(self.top));
        let count_at = words.len();
        words.push(0);
        let (mut rank, mut last_free) = (self.next[end], end);
        while rank != end && rank < self.top.max(self.free_below) {
            if rank < self.top {
                words.push(word(rank));
            }
            if self.is_free(rank) {
                last_free = rank;
            }
            rank = self.next[rank];
        }
        words[count_at] = word(words.len() - count_at);
        words.push(word(last_free));
        for (at, kind) in self.optional.iter().enumerate().filter(|(_, kind)| kind.taken > 0) {
            words.extend([word(at), word(kind.taken)]);
        }
    }
}
