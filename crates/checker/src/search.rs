//! Wing and Gong's search with Lowe's memory, for any model.
//!
//! A configuration is what has taken effect and the state. From it, an operation may be next if no other that
//! has not taken effect returned before it was called. The one that returned first is the *blocker*. These
//! reductions keep the search small.
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
//! by the same argument, unless it makes another one free (below).
//!
//! *Unseen overwriting operations vanish.* Let `w` and then at once `x` take effect, both overwriting, nobody
//! having seen `w`. Had `x` been possible before `w`, then `w` may be put before `x` whenever that suits. So when
//! an overwriting operation takes effect, every waiting overwriting one that may be next is *free*: it can be
//! put just before it. A free one is dropped without effect as late as can be, when it is the blocker: nothing
//! that is possible after dropping it earlier is lost by waiting. And an overwriting operation takes effect
//! visibly only if it is seen next, or if it is the blocker and not free: were it neither, the `x` behind it would
//! have been possible before it.
//!
//! *Equals by deadline.* Of several waiting operations that are the same, the one that returned first goes first,
//! those without return last and in order of call: once called, they can be exchanged. This holds beside the rule
//! before it: if the one with the later return takes the place of a dropped one, what the exchange put in front
//! overwrites too, so the later one is free.
//!
//! *No way on.* A way is closed as soon as something waiting can never be: it needs a fact that ended and that nothing
//! waiting can bring about ([`Model::needs`]), or a lesser height ([`Model::height`]). Nor is one begun that would have to be left
//! before it is done: where a fact that comes once is brought about while another operation can neither wait until it is no
//! longer needed nor take effect under it (`holds.rs`). One that may be dropped is no such other, unless it alone brings what is needed.
//!
//! *Trying anew.* Which choice comes first decides whether a search is short or hopelessly long, and one wrong choice far
//! back cannot be told from many. So an attempt that takes long is given up, and the next one chooses otherwise at some
//! places and may take twice as long. Every
//! other attempt keeps operations that overwrite for later, as it is the others that need a certain state. An attempt that ends has looked at everything, so its answer is final.

use crate::check::{Budget, UnknownReason};
use crate::memory::Memory;
use crate::model::{Call, Model, Shortcut};
use crate::waiting::{Pick, Undo, Waiting};
use crate::witness::is_witness;

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
        /// The longest order found before every way on was closed; empty where it was clear without a search.
        longest: Vec<usize>,
    },
    /// The search gave up. This is not a pass.
    Unknown(UnknownReason),
}

/// Whether `calls`, given in any order, are linearizable as operations on one object. Calls without return
/// that change nothing are ignored.
pub fn linearize<M: Model>(model: &M, calls: &[Call<M::Operation>], budget: &Budget) -> Linearization {
    linearize_with(model, calls, &mut Effort::within(budget))
}

/// The work a search may do and has done.
pub(crate) struct Effort<'a> {
    pub(crate) budget: &'a Budget,
    /// Asked now and then; `false` ends the search.
    pub(crate) keep_going: &'a dyn Fn() -> bool,
    /// Of the last search.
    pub(crate) steps: u64,
}

impl<'a> Effort<'a> {
    pub(crate) fn within(budget: &'a Budget) -> Effort<'a> {
        Effort { budget, keep_going: &|| true, steps: 0 }
    }
}

/// How many steps may pass between two questions whether to go on.
const STEPS_BETWEEN_QUESTIONS: u64 = 1 << 14;

pub(crate) fn linearize_with<M: Model>(
    model: &M,
    calls: &[Call<M::Operation>],
    effort: &mut Effort<'_>,
) -> Linearization {
    effort.steps = calls.len() as u64;
    if effort.steps > effort.budget.steps_per_key {
        return Linearization::Unknown(UnknownReason::TooManySteps { most: effort.budget.steps_per_key });
    }
    match model.shortcut(calls) {
        Shortcut::Impossible => return Linearization::Impossible { longest: Vec::new() },
        Shortcut::Order(order) if is_witness(model, calls, &order) => return Linearization::Found { witness: order },
        Shortcut::Order(_) | Shortcut::Undecided => {}
    }
    let mut patience = STEPS_AT_FIRST_PER_CALL.saturating_mul(calls.len() as u64).max(STEPS_AT_FIRST);
    let mut attempt = 0;
    loop {
        let until_step = effort.steps.saturating_add(patience);
        if let Some(answer) = Search::new(model, calls, effort, attempt, until_step).run() {
            return answer;
        }
        attempt += 1;
        patience = patience.saturating_mul(2);
    }
}

/// How many steps the first attempt has, for each call and at least; each later one has twice as many.
const STEPS_AT_FIRST_PER_CALL: u64 = 16;
const STEPS_AT_FIRST: u64 = 1 << 14;
/// An attempt after the first makes an unlikely choice once in so many, in turn.
const STRAYS_ONE_IN: [u64; 4] = [8, 8, 3, 3];

struct Search<'a, 'b, M: Model> {
    model: &'a M,
    calls: &'a [Call<M::Operation>],
    effort: &'a mut Effort<'b>,
    waiting: Waiting<'a, M>,
    seen: Memory<M::State>,
    words: Vec<u32>,
    /// What ended with the operation last taken.
    ended: Vec<u64>,
    next_question: u64,
    attempt: u64,
    /// When to try anew.
    until_step: u64,
    longest: Vec<usize>,
}

/// One operation taken, or the start, and what can follow.
struct Frame<S> {
    state: S,
    must_observe: bool,
    /// How to take back the operation that led here; `None` at the start.
    undo: Option<Undo>,
    choice: Choice,
    tried: usize,
}

/// What may be next, the likeliest first.
struct Choice {
    picks: Vec<Pick>,
    /// The waiting operation that returned first.
    blocker: Option<usize>,
    /// How many operations, in order of call, were called before anything waiting returned.
    called: usize,
}

impl<'a, 'b, M: Model> Search<'a, 'b, M> {
    fn new(
        model: &'a M,
        calls: &'a [Call<M::Operation>],
        effort: &'a mut Effort<'b>,
        attempt: u64,
        until_step: u64,
    ) -> Search<'a, 'b, M> {
        Search {
            model,
            calls,
            effort,
            waiting: Waiting::all(model, calls),
            seen: Memory::new(),
            words: Vec::new(),
            ended: Vec::new(),
            next_question: 0,
            attempt,
            until_step,
            longest: Vec::new(),
        }
    }

    /// The answer, or `None` if it is time to try anew.
    fn run(&mut self) -> Option<Linearization> {
        let (found, most) = (self.waiting.optional(), self.effort.budget.unknown_per_key);
        if found > most {
            return Some(Linearization::Unknown(UnknownReason::TooManyUnknown { found, most }));
        }
        let mut stack = vec![self.frame(self.model.initial(), false, None)];
        if self.waiting.all_completed() {
            return Some(Linearization::Found { witness: Vec::new() });
        }
        while let Some(frame) = stack.last_mut() {
            let Some(pick) = frame.choice.picks.get(frame.tried).copied() else {
                self.retreat(&mut stack);
                continue;
            };
            frame.tried += 1;
            let branching = frame.choice.picks.len() > 1;
            if let Some(why) = self.over_budget() {
                return Some(Linearization::Unknown(why));
            }
            if self.effort.steps > self.until_step {
                return None;
            }
            let Some((state, must_observe)) = self.after(frame, pick) else { continue };
            self.ended.clear();
            self.model.ended(&frame.state, &state, &mut self.ended);
            let undo = self.waiting.take(pick, frame.choice.called);
            if self.waiting.all_completed() {
                return Some(Linearization::Found { witness: self.path(&stack, Some(undo)) });
            }
            if self.is_hopeless(pick, &state) {
                self.waiting.undo(undo);
                continue;
            }
            let next = self.frame(state, must_observe, Some(undo));
            // Where there is no choice there is no second way to arrive, except through a choice remembered before.
            if next.choice.picks.is_empty() || branching && self.was_here(&next.state, must_observe) {
                self.waiting.undo(undo);
            } else {
                stack.push(next);
            }
        }
        Some(Linearization::Impossible { longest: std::mem::take(&mut self.longest) })
    }

    /// The state after `pick`, and whether it must be seen next; `None` if it is of no use.
    fn after(&mut self, frame: &Frame<M::State>, pick: Pick) -> Option<(M::State, bool)> {
        self.effort.steps += 1;
        if let Pick::Dropped(_) = pick {
            return Some((frame.state.clone(), frame.must_observe));
        }
        let state = self.model.step(&frame.state, &self.calls[self.waiting.index_of(pick)].operation)?;
        match pick {
            Pick::Optional(_) => {
                let frees = self.waiting.overwrites(pick) && self.waiting.would_free(frame.choice.called);
                (state != frame.state || frees).then_some((state, true))
            }
            Pick::Completed(rank) | Pick::Dropped(rank) => {
                let may_stay_unseen = frame.choice.blocker == Some(rank) && !self.waiting.is_free(rank);
                let must_observe = self.waiting.overwrites(pick) && !may_stay_unseen;
                Some((state, must_observe))
            }
        }
    }

    /// Whether something waiting can never be: it needs what was ended or dropped, and nothing can bring that again.
    fn is_hopeless(&self, pick: Pick, state: &M::State) -> bool {
        self.waiting.loses(&self.ended)
            || matches!(pick, Pick::Dropped(_)) && self.waiting.lost_with(pick, |fact| self.model.holds(state, fact))
    }

    fn over_budget(&mut self) -> Option<UnknownReason> {
        let budget = self.effort.budget;
        if self.effort.steps > budget.steps_per_key {
            return Some(UnknownReason::TooManySteps { most: budget.steps_per_key });
        }
        if self.seen.bytes() > budget.memory_bytes {
            return Some(UnknownReason::TooMuchMemory { most_bytes: budget.memory_bytes });
        }
        if self.effort.steps >= self.next_question {
            self.next_question = self.effort.steps + STEPS_BETWEEN_QUESTIONS;
            return (!(self.effort.keep_going)()).then_some(UnknownReason::Stopped);
        }
        None
    }

    /// Whether the search has been at this configuration before; from now on it has.
    fn was_here(&mut self, state: &M::State, must_observe: bool) -> bool {
        self.words.clear();
        self.words.push(u32::from(must_observe));
        self.waiting.describe(&mut self.words);
        !self.seen.insert(state, &self.words, self.model.heap_bytes(state))
    }

    fn retreat(&mut self, stack: &mut Vec<Frame<M::State>>) {
        if stack.len() > self.longest.len() + 1 {
            self.longest = self.path(stack, None);
        }
        if let Some(undo) = stack.pop().and_then(|frame| frame.undo) {
            self.waiting.undo(undo);
        }
    }

    fn frame(&mut self, state: M::State, must_observe: bool, undo: Option<Undo>) -> Frame<M::State> {
        let choice = self.choice(&state, must_observe);
        Frame { state, must_observe, undo, choice, tried: 0 }
    }

    /// The operations that may be next: called no later than every waiting completed operation returned.
    fn choice(&mut self, state: &M::State, must_observe: bool) -> Choice {
        let enabled = self.waiting.enabled();
        self.effort.steps += 1 + enabled.len() as u64 / 8;
        if self.model.height(state) > self.waiting.limit(&enabled) {
            return Choice { picks: Vec::new(), blocker: enabled.blocker, called: enabled.called };
        }
        let legal_reader = |rank: &&usize| {
            let operation = self.waiting.operation(**rank);
            self.waiting.changes_nothing(**rank) && self.model.step(state, operation).is_some()
        };
        if let Some(reader) = enabled.ranks().iter().find(legal_reader) {
            let picks = vec![Pick::Completed(*reader)];
            return Choice { picks, blocker: enabled.blocker, called: enabled.called };
        }
        let mut picks = self.waiting.representatives(&enabled, must_observe);
        let blocking = enabled.blocker.filter(|rank| !self.waiting.overwrites(Pick::Completed(*rank)));
        self.effort.steps += picks.len() as u64;
        let mut keyed = Vec::with_capacity(picks.len());
        for pick in picks.drain(..) {
            let operation = &self.calls[self.waiting.index_of(pick)].operation;
            let Some(next) = self.model.step(state, operation) else { continue };
            if self.waiting.is_too_early(self.model, pick, &enabled) {
                continue;
            }
            // What lets the blocker go on is the likeliest.
            let serves = match blocking {
                Some(rank) if pick == Pick::Completed(rank) => true,
                Some(rank) => self.model.step(&next, self.waiting.operation(rank)).is_some(),
                None => false,
            };
            let urgency = (self.model.urgency(operation), self.waiting.needed_by(pick));
            let for_later = self.attempt % 2 == 1 && self.waiting.overwrites(pick);
            keyed.push(((!serves, for_later, urgency, self.waiting.deadline(pick)), pick));
        }
        keyed.sort_by_key(|(key, _)| *key);
        let mut picks: Vec<Pick> = keyed.into_iter().map(|(_, pick)| pick).collect();
        self.stray(&mut picks);
        if let Some(rank) = enabled.blocker.filter(|rank| self.waiting.is_free(*rank)) {
            // Dropped at once if nobody asks for it yet, else only where nothing else helps.
            let wanted = self.waiting.needed_by(Pick::Dropped(rank)) < u64::MAX;
            picks.insert(if wanted { picks.len() } else { 0 }, Pick::Dropped(rank));
        }
        let choice = Choice { picks, blocker: enabled.blocker, called: enabled.called };
        self.waiting.reuse(enabled);
        choice
    }

    /// Puts another choice first, now and then and in each attempt elsewhere.
    fn stray(&self, picks: &mut [Pick]) {
        if self.attempt > 0 && picks.len() > 1 {
            let mixed =
                (self.effort.steps ^ (self.attempt << u32::BITS)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> u32::BITS;
            let one_in = STRAYS_ONE_IN[self.attempt as usize % STRAYS_ONE_IN.len()];
            if mixed.is_multiple_of(one_in) {
                let other = 1 + (mixed / one_in) as usize % (picks.len() - 1);
                picks.swap(0, other);
            }
        }
    }

    /// The operations that led to the top of the stack, and then `last`, in an order in which they can have taken effect.
    fn path(&self, stack: &[Frame<M::State>], last: Option<Undo>) -> Vec<usize> {
        let mut order = Vec::with_capacity(stack.len() + 1);
        // Those dropped go just before the last overwriting one: all of them overlap.
        let mut last_overwriting = 0;
        let mut dropped: Vec<(usize, usize)> = Vec::new();
        for undo in stack.iter().filter_map(|frame| frame.undo).chain(last) {
            let pick = undo.pick;
            match pick {
                Pick::Dropped(_) => dropped.push((last_overwriting, self.waiting.index_of(pick))),
                Pick::Completed(_) | Pick::Optional(_) => {
                    if self.waiting.overwrites(pick) {
                        last_overwriting = order.len();
                    }
                    order.push(undo.index);
                }
            }
        }
        let mut path = Vec::with_capacity(order.len() + dropped.len());
        let mut dropped = dropped.into_iter().peekable();
        for (at, index) in order.into_iter().enumerate() {
            while let Some((_, unseen)) = dropped.next_if(|(before, _)| *before <= at) {
                path.push(unseen);
            }
            path.push(index);
        }
        path
    }
}
