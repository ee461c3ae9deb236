//! What has taken effect at some point of a search, and which of two such points is the better one.

use crate::model::Model;
use crate::moment::Moment;
use crate::slots::Slots;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A point of a search, at a level.
#[derive(Clone, Debug)]
pub(crate) struct Configuration<S, const WORDS: usize> {
    pub(crate) state: S,
    /// The running operations that have not taken effect.
    pub(crate) waiting: Slots<WORDS>,
    /// Of those, the overwriting ones that can have taken effect unseen.
    pub(crate) free: Slots<WORDS>,
    /// Which optional operations took effect, see [`OptionalSets`].
    pub(crate) optional: u32,
    /// Whether the next operation must not overwrite.
    pub(crate) must_observe: bool,
}

/// How one operation was dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// Nothing was, the blocker had taken effect before.
    Nothing,
    /// The operation in this slot took effect.
    Taken(usize),
    /// The blocker took effect unseen at an earlier point.
    Dropped,
    /// The first that is left of an optional kind took effect.
    Optional(usize),
}

/// An operation in the order in which a search dealt with them, by its place in the list of calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dealt {
    Took(usize),
    Dropped(usize),
}

impl<S: Clone + Eq, const WORDS: usize> Configuration<S, WORDS> {
    /// Comes to the moment's level from the one before: takes note of what was called since.
    pub(crate) fn enter<M: Model<State = S>>(&mut self, moment: &Moment<'_, '_, M, WORDS>, dealt: &mut Vec<Dealt>) {
        self.waiting = self.waiting.or(&moment.new);
        self.read(moment, &moment.new, dealt);
        self.free_what_changes_nothing(moment, &moment.new);
    }

    /// Lets the operation of `pick`, which leads to `next`, take effect, and then all that can see that.
    pub(crate) fn take<M: Model<State = S>>(
        &mut self,
        moment: &Moment<'_, '_, M, WORDS>,
        optional: &mut OptionalSets,
        pick: Pick,
        next: S,
        dealt: &mut Vec<Dealt>,
    ) {
        let plan = moment.plan;
        let operation = match pick {
            Pick::Nothing => return,
            Pick::Dropped => {
                let blocker = &plan.completed[moment.blocker()];
                self.waiting.remove(blocker.slot);
                self.free.remove(blocker.slot);
                dealt.push(Dealt::Dropped(blocker.index));
                return;
            }
            Pick::Taken(slot) => {
                let one = moment.at(slot);
                let may_stay_unseen = moment.rank_in(slot) == moment.blocker() && !self.free.has(slot);
                self.waiting.remove(slot);
                self.free.remove(slot);
                self.must_observe = one.overwrites && !may_stay_unseen;
                dealt.push(Dealt::Took(one.index));
                moment.operation(slot)
            }
            Pick::Optional(kind) => {
                let taken = optional.taken(self.optional, kind);
                dealt.push(Dealt::Took(plan.optional[kind].members[taken as usize].1));
                self.optional = optional.with(self.optional, kind);
                self.must_observe = true;
                plan.optional_operation(kind)
            }
        };
        for slot in self.not_free(moment, &self.waiting).iter() {
            let hidden = plan.model.step(&self.state, moment.operation(slot));
            if hidden.and_then(|hidden| plan.model.step(&hidden, operation)).as_ref() == Some(&next) {
                self.free.insert(slot);
            }
        }
        self.state = next;
        let waiting = self.waiting;
        self.read(moment, &waiting, dealt);
        self.free_what_changes_nothing(moment, &waiting);
    }

    /// Of `among`, those that overwrite and are not free.
    pub(crate) fn not_free<M: Model<State = S>>(
        &self,
        moment: &Moment<'_, '_, M, WORDS>,
        among: &Slots<WORDS>,
    ) -> Slots<WORDS> {
        among.and(&moment.overwriting).without(&self.free)
    }

    fn read<M: Model<State = S>>(
        &mut self,
        moment: &Moment<'_, '_, M, WORDS>,
        among: &Slots<WORDS>,
        dealt: &mut Vec<Dealt>,
    ) {
        for slot in among.and(&moment.readers).iter() {
            if moment.plan.model.step(&self.state, moment.operation(slot)).is_some() {
                self.waiting.remove(slot);
                self.must_observe = false;
                dealt.push(Dealt::Took(moment.at(slot).index));
            }
        }
    }

    fn free_what_changes_nothing<M: Model<State = S>>(
        &mut self,
        moment: &Moment<'_, '_, M, WORDS>,
        among: &Slots<WORDS>,
    ) {
        for slot in self.not_free(moment, among).iter() {
            if moment.plan.model.step(&self.state, moment.operation(slot)).as_ref() == Some(&self.state) {
                self.free.insert(slot);
            }
        }
    }

    /// Whether everything that can follow `other` can follow this one, both being entered at the moment's level.
    ///
    /// *What waits there and not here* must be of no use, as it changes nothing; or it can be replaced: by one of its kind that
    /// waits here and not there, returns no earlier, and is free if it is free. *What waits here and not there*, and replaces nothing, must be free, so that it can be dropped; and what waits in
    /// both and is free there must be free here. Then from a completion of the other one follows one of this: leave out the readers
    /// that took effect here, put the replacements in place of what they replace, and drop the rest when it is time. The
    /// states are the same, and so is every answer; and no operation more takes effect visibly.
    pub(crate) fn dominates<M: Model<State = S>>(
        &self,
        other: &Configuration<S, WORDS>,
        moment: &Moment<'_, '_, M, WORDS>,
        optional: &OptionalSets,
    ) -> bool {
        let mut spare = self.waiting.without(&other.waiting);
        let missing = other.waiting.without(&self.waiting).without(&moment.readers);
        if self.must_observe && !other.must_observe
            || !other.free.and(&self.waiting).is_within(&self.free)
            || missing.len() > spare.len()
            || missing.is_empty() && !spare.is_within(&self.free)
            || !optional.is_within(self.optional, other.optional)
            || self.state != other.state
        {
            return false;
        }
        for slot in missing.iter() {
            let one = moment.at(slot);
            let replaces = |by: &usize| {
                let by_one = moment.at(*by);
                by_one.kind == one.kind
                    && by_one.returned_at >= one.returned_at
                    && (self.free.has(*by) || !other.free.has(slot))
            };
            match spare.iter().find(replaces) {
                Some(by) => spare.remove(by),
                None => return false,
            }
        }
        spare.is_within(&self.free)
    }
}

/// Sets of optional operations by number: of each kind the first so many, as they can be exchanged. Zero is the empty set.
pub(crate) struct OptionalSets {
    /// Kind and how many, ascending by kind, none with zero.
    sets: Vec<Vec<(usize, u32)>>,
    numbers: BTreeMap<Vec<(usize, u32)>, u32>,
    bytes: usize,
}

impl OptionalSets {
    pub(crate) fn new() -> OptionalSets {
        OptionalSets { sets: vec![Vec::new()], numbers: BTreeMap::from([(Vec::new(), 0)]), bytes: 0 }
    }

    /// Bytes held, nearly.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many of a kind a set has.
    pub(crate) fn taken(&self, set: u32, kind: usize) -> u32 {
        let set = &self.sets[set as usize];
        set.binary_search_by_key(&kind, |(kind, _)| *kind).map_or(0, |at| set[at].1)
    }

    /// The set with one more of a kind.
    pub(crate) fn with(&mut self, set: u32, kind: usize) -> u32 {
        let mut more = self.sets[set as usize].clone();
        match more.binary_search_by_key(&kind, |(kind, _)| *kind) {
            Ok(at) => more[at].1 += 1,
            Err(at) => more.insert(at, (kind, 1)),
        }
        if let Some(number) = self.numbers.get(&more) {
            return *number;
        }
        let number = self.sets.len() as u32;
        self.bytes += 2 * (size_of_val(more.as_slice()) + size_of::<Vec<(usize, u32)>>());
        self.sets.push(more.clone());
        self.numbers.insert(more, number);
        number
    }

    /// Whether all of `inner` is in `outer`.
    fn is_within(&self, inner: u32, outer: u32) -> bool {
        if inner == outer || inner == 0 {
            return true;
        }
        let mut outer = self.sets[outer as usize].iter();
        self.sets[inner as usize].iter().all(|(kind, count)| {
            outer.by_ref().find(|(other, _)| other >= kind).is_some_and(|(other, most)| other == kind && count <= most)
        })
    }
}

/// What a preference is made of; the least is tried first.
pub(crate) type Preference = (bool, bool, u64, u64, u64);

/// The best comes last, so that it is the first to be taken from a stack.
pub(crate) fn worst_first(left: &Preference, right: &Preference) -> Ordering {
    right.cmp(left)
}
