//! Wing and Gong's search with Lowe's memory, for any model, level by level.
//!
//! *Levels.* The completed operations, in order of return, are the levels: level `n` is just before the return of the `n`th, the
//! *blocker*, and from there only a sequence of running operations that ends with the blocker leads to level `n + 1`. That is enough:
//! in any order of all operations each can wait for the first return of those from it on, so that it takes effect just before that
//! return, and those that do so at one level end with the one that returns (Lowe's just-in-time linearization). A configuration is a level,
//! what waits there, and the state.
//!
//! *The better one.* Of two configurations of a level only the better is followed, where one can do all that the other
//! can ([`Configuration::dominates`]).
//!
//! *Take what changes nothing.* If an operation that changes nothing is running and legal, it is taken at once: in any
//! completion it can be moved to the front, where it is legal, disturbs nobody, and is after everything that returned before its call.
//!
//! *No unseen optional operation.* After an operation without return, the next must not overwrite it ([`Model::overwrites`]), and
//! the history must not end: such an operation could as well never have happened, so a completion with the
//! fewest visible operations contains none (`must_observe`). A reader that was moved to the front is itself one that sees. An optional operation
//! that would change nothing here is left out by the same argument, unless it makes another one free.
//!
//! *Free operations.* A waiting overwriting operation is *free* once there was a point, after its call, where it could
//! have been put without anyone seeing it: where it leads to the state that there already was, or where what took effect next leads to
//! the same state behind it (as every overwriting operation does, or a delete that found something behind a write). All that are free
//! can be put there together, as of several overwriting ones at one point the last decides. A free one is dropped without effect as late as can be,
//! when it is the blocker: nothing that is possible after dropping it earlier is lost by waiting. And an overwriting operation
//! takes effect visibly only if it is seen next, or if it is the blocker and not free: were it neither, the overwriting `x` behind it
//! would have made it free.
//!
//! *Equals by deadline.* Of several waiting operations that are the same, the one that returned first goes first, those without
//! return last and in order of call: once called, they can be exchanged. This holds beside the rule before it: if the one with the later
//! return takes the place of a dropped one, what the exchange put in front overwrites too, so the later one is free. Of several
//! that returned at the same time the blocker is the first, as only it leads on.
//!
//! *No way on.* A way is closed as soon as something waiting can never be: it needs a fact that nothing can bring (`hopeless.rs`), or a
//! lesser height ([`Model::height`]).
//!
//! *Sweeps.* Which choice comes first decides whether a search is short or long, and a wrong one far back cannot be told from
//! many. So the search goes through the levels in sweeps, following at each the likeliest that is left; a sweep that came no further
//! is followed by one that begins further back, twice as far each time. Nothing is looked at twice, and when nothing is left there is no order.

mod hopeless;

use crate::check::{Budget, UnknownReason};
use crate::configuration::{Configuration, Dealt, OptionalSets, Pick, Preference, worst_first};
use crate::model::{Call, Model, Shortcut};
use crate::moment::Moment;
use crate::plan::Plan;
use crate::slots::Slots;
use crate::visited::{Visited, hash_of};
use crate::witness::{in_order, is_witness};

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

/// How many operations may run at the same time on one object, see [`UnknownReason::TooManyAtOnce`].
const MOST_AT_ONCE: usize = 64 * 64;

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
    let plan = Plan::new(model, calls);
    let (found, most) = (plan.optional_count(), effort.budget.unknown_per_key);
    if found > most {
        return Linearization::Unknown(UnknownReason::TooManyUnknown { found, most });
    }
    match plan.slots {
        0 => Linearization::Found { witness: Vec::new() },
        1..=64 => Search::<M, 1>::new(&plan, effort).run(),
        65..=256 => Search::<M, 4>::new(&plan, effort).run(),
        257..=MOST_AT_ONCE => Search::<M, { MOST_AT_ONCE / 64 }>::new(&plan, effort).run(),
        found => Linearization::Unknown(UnknownReason::TooManyAtOnce { found, most: MOST_AT_ONCE }),
    }
}

/// A configuration and how the search came to it.
struct Node<S, const WORDS: usize> {
    configuration: Configuration<S, WORDS>,
    level: usize,
    /// Number of the node before it; its own for the first.
    parent: u32,
    /// How that one's operation was dealt with.
    pick: Pick,
}

/// What can follow a configuration.
struct Child<S, const WORDS: usize> {
    preference: Preference,
    pick: Pick,
    configuration: Configuration<S, WORDS>,
    /// Whether it is at the next level.
    goes_on: bool,
}

struct Search<'a, 'b, 'c, M: Model, const WORDS: usize> {
    plan: &'a Plan<'b, M>,
    effort: &'a mut Effort<'c>,
    moment: Moment<'a, 'b, M, WORDS>,
    nodes: Vec<Node<M::State, WORDS>>,
    /// For each level the nodes not looked at, the likeliest last.
    open: Vec<Vec<u32>>,
    /// The nodes looked at.
    visited: Visited,
    optional: OptionalSets,
    /// The last node looked at of the highest level reached.
    farthest: u32,
    state_heap_bytes: usize,
    next_question: u64,
    /// For each kind, in which round it was met, and in which slot the one that returned first is.
    met: Vec<(u64, usize)>,
    round: u64,
    /// Emptied and used again.
    dealt: Vec<Dealt>,
    children: Vec<Child<M::State, WORDS>>,
    ended: Vec<u64>,
}

/// The first node, before everything.
const FIRST: u32 = 0;

/// Whether a node leads to the next level.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WayOn {
    None,
    /// But another way seems better.
    Unlikely,
    Likeliest,
}

/// How many nodes of one level are looked at before an earlier level is looked at again; the more, the further back that is.
const NODES_AT_FIRST: usize = 16;

/// The end of a search.
type Answer = Result<(), Linearization>;

impl<'a, 'b, 'c, M: Model, const WORDS: usize> Search<'a, 'b, 'c, M, WORDS> {
    fn new(plan: &'a Plan<'b, M>, effort: &'a mut Effort<'c>) -> Search<'a, 'b, 'c, M, WORDS> {
        let mut search = Search {
            plan,
            effort,
            moment: Moment::first(plan),
            nodes: Vec::new(),
            open: vec![Vec::new(); plan.levels()],
            visited: Visited::new(),
            optional: OptionalSets::new(),
            farthest: 0,
            state_heap_bytes: 0,
            next_question: 0,
            met: vec![(0, 0); plan.kinds],
            round: 0,
            dealt: Vec::new(),
            children: Vec::new(),
            ended: Vec::new(),
        };
        let first = search.first();
        search.nodes.push(Node { configuration: first, level: 0, parent: FIRST, pick: Pick::Nothing });
        search.open[0].push(FIRST);
        search
    }

    fn first(&self) -> Configuration<M::State, WORDS> {
        Configuration {
            state: self.plan.model.initial(),
            waiting: Slots::EMPTY,
            free: Slots::EMPTY,
            optional: 0,
            must_observe: false,
        }
    }

    fn run(mut self) -> Linearization {
        let (mut window, mut highest, mut record) = (1, 0, 0);
        loop {
            while self.open[highest].is_empty() {
                if highest == 0 {
                    return Linearization::Impossible { longest: self.path(self.farthest) };
                }
                highest -= 1;
            }
            let start = highest.saturating_sub(window);
            match self.sweep(start, NODES_AT_FIRST.saturating_mul(window)) {
                Err(answer) => return answer,
                Ok(reached) => {
                    window = if reached > record || start == 0 { 1 } else { window * 2 };
                    record = reached.max(record);
                    highest = reached.max(highest);
                }
            }
        }
    }

    /// Goes through the levels from `start` on once, following the likeliest at each. The highest level at which nodes were added.
    fn sweep(&mut self, start: usize, most_nodes: usize) -> Result<usize, Linearization> {
        let (mut level, mut reached) = (start, start);
        while level < self.open.len() {
            if !self.open[level].is_empty() {
                self.moment.go_to(level);
                if self.look_at(level, most_nodes)? {
                    reached = level + 1;
                }
            }
            level += 1;
        }
        Ok(reached)
    }

    /// Looks at nodes of a level, up to so many, until the likeliest way on leads to the next. Whether any did.
    fn look_at(&mut self, level: usize, most_nodes: usize) -> Result<bool, Linearization> {
        let mut went_on = false;
        for _ in 0..most_nodes {
            let Some(number) = self.open[level].pop() else { break };
            self.charge(1)?;
            let parent = self.nodes[number as usize].parent;
            if number == FIRST || self.nodes[parent as usize].level != level {
                self.dealt.clear();
                self.nodes[number as usize].configuration.enter(&self.moment, &mut self.dealt);
            }
            if self.was_here(number)? {
                continue;
            }
            if level >= self.nodes[self.farthest as usize].level {
                self.farthest = number;
            }
            let way_on = self.expand(number)?;
            went_on |= way_on != WayOn::None;
            if way_on == WayOn::Likeliest {
                break;
            }
        }
        Ok(went_on)
    }

    /// Whether one looked at before is at least as good; from now on this one was looked at.
    fn was_here(&mut self, number: u32) -> Result<bool, Linearization> {
        let node = &self.nodes[number as usize];
        let hash = hash_of(node.level, &node.configuration.state);
        let mut looked_at = 0;
        let dominated = self.visited.with_hash(hash).any(|other| {
            looked_at += 1;
            let other = &self.nodes[other as usize];
            other.level == node.level
                && other.configuration.dominates(&node.configuration, &self.moment, &self.optional)
        });
        if !dominated {
            self.visited.add(hash, number);
        }
        self.charge(looked_at / 4)?;
        Ok(dominated)
    }

    /// Adds all that can follow.
    fn expand(&mut self, number: u32) -> Result<WayOn, Linearization> {
        let node = &self.nodes[number as usize];
        let (configuration, level) = (node.configuration.clone(), node.level);
        let blocker = self.plan.completed[self.moment.blocker()].slot;
        if self.plan.model.height(&configuration.state) > self.limit(&configuration) {
            return Ok(WayOn::None);
        }
        if !configuration.waiting.has(blocker) {
            self.push(configuration, level + 1, number, Pick::Nothing)?;
            return Ok(WayOn::Likeliest);
        }
        if !self.can_be_reached(blocker, &configuration) {
            return Ok(WayOn::None);
        }
        let mut children = std::mem::take(&mut self.children);
        self.find_children(&configuration, blocker, &mut children)?;
        children.sort_by(|left, right| worst_first(&left.preference, &right.preference));
        let mut way_on = WayOn::None;
        for child in children.drain(..) {
            way_on = match (child.goes_on, way_on) {
                (true, _) => WayOn::Likeliest,
                (false, WayOn::None) => WayOn::None,
                (false, _) => WayOn::Unlikely,
            };
            self.push(child.configuration, level + usize::from(child.goes_on), number, child.pick)?;
        }
        self.children = children;
        Ok(way_on)
    }

    fn push(&mut self, configuration: Configuration<M::State, WORDS>, level: usize, parent: u32, pick: Pick) -> Answer {
        let number = self.nodes.len() as u32;
        self.state_heap_bytes += self.plan.model.heap_bytes(&configuration.state);
        self.nodes.push(Node { configuration, level, parent, pick });
        match self.open.get_mut(level) {
            Some(open) => {
                open.push(number);
                Ok(())
            }
            None => Err(Linearization::Found { witness: self.path(number) }),
        }
    }

    /// The least limit of all that did not take effect.
    fn limit(&self, configuration: &Configuration<M::State, WORDS>) -> u64 {
        let limits = configuration.waiting.iter().map(|slot| self.plan.limit(self.moment.rank_in(slot)));
        limits.fold(self.plan.limit_from(self.moment.called()), u64::min)
    }

    fn find_children(
        &mut self,
        from: &Configuration<M::State, WORDS>,
        blocker: usize,
        children: &mut Vec<Child<M::State, WORDS>>,
    ) -> Answer {
        let plan = self.plan;
        let changing = from.waiting.without(&self.moment.readers);
        self.meet(&changing, blocker);
        let useful = |overwrites: bool| !(from.must_observe && overwrites);
        for slot in changing.iter() {
            let one = self.moment.at(slot);
            if self.met[one.kind].1 == slot && useful(one.overwrites) {
                self.charge(1)?;
                children.extend(self.child(from, Pick::Taken(slot), blocker));
            }
        }
        let time = self.moment.time();
        for (kind, one) in plan.optional.iter().enumerate() {
            if one.members[0].0 > time {
                break;
            }
            let next = one.members.get(self.optional.taken(from.optional, kind) as usize);
            if useful(one.overwrites)
                && self.met[one.kind].0 != self.round
                && next.is_some_and(|(called_at, _)| *called_at <= time)
            {
                self.charge(1)?;
                children.extend(self.child(from, Pick::Optional(kind), blocker));
            }
        }
        if from.free.has(blocker) {
            children.extend(self.child(from, Pick::Dropped, blocker));
        }
        Ok(())
    }

    /// Finds of each kind the one that returned first; of several at the same time the blocker, as nothing else leads on.
    fn meet(&mut self, changing: &Slots<WORDS>, blocker: usize) {
        self.round += 1;
        for slot in changing.iter() {
            let one = self.moment.at(slot);
            let (round, best) = &mut self.met[one.kind];
            let is_first = *round != self.round || one.returned_at < self.moment.at(*best).returned_at;
            if is_first || slot == blocker {
                (*round, *best) = (self.round, slot);
            }
        }
    }

    /// What follows if `pick` is next; `None` if nothing good can come of it.
    fn child(
        &mut self,
        from: &Configuration<M::State, WORDS>,
        pick: Pick,
        blocker: usize,
    ) -> Option<Child<M::State, WORDS>> {
        let (plan, model) = (self.plan, self.plan.model);
        let (next, brings, overwrites): (_, &[usize], _) = match pick {
            Pick::Nothing => return None,
            Pick::Dropped => (from.state.clone(), &self.moment.at(blocker).brings, true),
            Pick::Taken(slot) => {
                let one = self.moment.at(slot);
                (model.step(&from.state, self.moment.operation(slot))?, &one.brings, one.overwrites)
            }
            Pick::Optional(kind) => {
                let one = &plan.optional[kind];
                (model.step(&from.state, plan.optional_operation(kind))?, &one.brings, one.overwrites)
            }
        };
        let goes_on = pick == Pick::Dropped || pick == Pick::Taken(blocker);
        let frees = overwrites && !from.not_free(&self.moment, &from.waiting).is_empty();
        // One that does not overwrite may be legal here only.
        let is_needed = goes_on || frees || matches!(pick, Pick::Taken(_)) && !overwrites;
        if !is_needed && next == from.state {
            return None;
        }
        let preference = self.preference(from, pick, &next, brings, blocker);
        self.dealt.clear();
        let mut child = from.clone();
        child.take(&self.moment, &mut self.optional, pick, next, &mut self.dealt);
        let hopeless = match pick {
            Pick::Dropped => brings
                .iter()
                .any(|fact| !model.holds(&child.state, plan.facts[*fact].name) && self.is_lost(*fact, &child)),
            _ => {
                self.ends_what_is_needed(&from.state, &child)
                    || self.is_too_early(brings, &child)
                    || !goes_on && child.must_observe && !self.can_be_seen(&child)
            }
        };
        (!hopeless).then_some(Child { preference, pick, configuration: child, goes_on })
    }

    fn preference(
        &self,
        from: &Configuration<M::State, WORDS>,
        pick: Pick,
        next: &M::State,
        brings: &[usize],
        blocker: usize,
    ) -> Preference {
        let (plan, moment) = (self.plan, &self.moment);
        let needed_by = |fact: &usize| {
            let needers = moment.needers(*fact).and(&from.waiting);
            needers.iter().map(|slot| moment.at(slot).returned_at).min()
        };
        let needed_by = brings.iter().filter_map(needed_by).min().unwrap_or(u64::MAX);
        let (operation, deadline) = match pick {
            // At once if nobody asks for it yet, else only where nothing else helps.
            Pick::Nothing | Pick::Dropped => return (needed_by < u64::MAX, needed_by < u64::MAX, 0, 0, 0),
            Pick::Taken(slot) => (moment.operation(slot), moment.at(slot).returned_at),
            Pick::Optional(kind) => (plan.optional_operation(kind), u64::MAX),
        };
        // What lets the blocker go on is the likeliest.
        let serves = !moment.at(blocker).overwrites
            && (pick == Pick::Taken(blocker) || plan.model.step(next, moment.operation(blocker)).is_some());
        (false, !serves, plan.model.urgency(operation), needed_by, deadline)
    }

    /// Counts steps, and ends the search if there were too many.
    fn charge(&mut self, steps: u64) -> Answer {
        let budget = self.effort.budget;
        self.effort.steps += steps;
        let why = if self.effort.steps > budget.steps_per_key {
            UnknownReason::TooManySteps { most: budget.steps_per_key }
        } else if self.bytes() > budget.memory_bytes {
            UnknownReason::TooMuchMemory { most_bytes: budget.memory_bytes }
        } else if self.effort.steps >= self.next_question {
            self.next_question = self.effort.steps + STEPS_BETWEEN_QUESTIONS;
            if (self.effort.keep_going)() {
                return Ok(());
            }
            UnknownReason::Stopped
        } else {
            return Ok(());
        };
        Err(Linearization::Unknown(why))
    }

    fn bytes(&self) -> usize {
        self.nodes.len() * (size_of::<Node<M::State, WORDS>>() + size_of::<u32>())
            + self.visited.bytes()
            + self.optional.bytes()
            + self.state_heap_bytes
    }

    /// The operations that led to a node, in an order in which they can have taken effect.
    fn path(&mut self, node: u32) -> Vec<usize> {
        let mut numbers = vec![node];
        let mut at = node;
        while at != FIRST {
            at = self.nodes[at as usize].parent;
            numbers.push(at);
        }
        numbers.reverse();
        let mut dealt = Vec::new();
        let mut configuration = self.first();
        self.moment.go_to(0);
        configuration.enter(&self.moment, &mut dealt);
        for pair in numbers.windows(2) {
            let (level, to) = (self.nodes[pair[0] as usize].level, &self.nodes[pair[1] as usize]);
            configuration.take(&self.moment, &mut self.optional, to.pick, to.configuration.state.clone(), &mut dealt);
            if to.level > level && to.level < self.open.len() {
                self.moment.go_to(to.level);
                configuration.enter(&self.moment, &mut dealt);
            }
        }
        in_order(self.plan.model, self.plan.calls, &dealt)
    }
}
