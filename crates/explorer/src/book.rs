//! What follows from what: one thread's book of all steps that single nodes have made.
//!
//! Replicas are deterministic values, so a node that is told the same in the same state does the same. Millions of states of
//! a cluster are made of some ten thousand states of its nodes; each step of a node is carried out once and then looked up.

use crate::action::{Action, Step, perform, variants};
use crate::bounds::{Disks, Spent};
use crate::catalogue::{Catalogue, Decided, Deed, DeedKind, FlightPart, NodePart, View};
use crate::seen::Spread;
use crate::state::State;
use crate::task::Task;
use quorate_protocol::testbed::{Flight, TestNode, Testbed, fingerprint};
use quorate_protocol::{Replica, Violation};
use quorate_types::NodeId;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

type Memo<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

/// Not known yet.
const UNKNOWN: u32 = u32::MAX;
/// Known to be impossible.
const NONE: u32 = u32::MAX - 1;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Deliver {
        flight: u32,
        copy: bool,
    },
    Lose {
        flight: u32,
    },
    /// One of the deeds of the node at this place.
    Deed {
        place: usize,
        deed: usize,
    },
}

/// A state that follows, not yet built: most of them were seen before.
#[derive(Clone, Debug)]
pub(crate) struct Successor {
    pub(crate) fingerprint: u128,
    pub(crate) violation: Option<u32>,
    pub(crate) what: What,
    /// Which outcome of it.
    variant: u32,
    effect: Effect,
    decided: u32,
    spent: u32,
}

/// What it does to the nodes and the messages.
#[derive(Clone, Copy, Debug)]
enum Effect {
    Nothing,
    /// Position among the moves of single nodes.
    Move {
        place: usize,
        at: u32,
    },
    /// Position among the joint moves of this state.
    Joint(u32),
}

/// What a step did to a node that took it alone.
struct Move {
    /// What it adds to the fingerprint of a cluster, but for what becomes of the message that brought it about.
    change: u128,
    node: u32,
    launched: Vec<u32>,
    decided: u32,
    violation: Option<u32>,
    stalls: bool,
}

/// The outcomes of a step in the book.
#[derive(Clone, Copy)]
enum Outcomes {
    /// So many moves, from this one on.
    Alone { first: u32, count: u32 },
    /// It takes several nodes at once.
    Joint,
}

/// What a step did to several nodes.
struct Joint {
    nodes: Vec<u32>,
    launched: Vec<u32>,
    decided: u32,
    violation: Option<u32>,
    stalls: bool,
}

/// A step carried out.
struct Played<R: Replica> {
    testbed: Testbed<R>,
    stalled: BTreeSet<NodeId>,
    stalls: bool,
}

/// One thread's book.
pub(crate) struct Book<'a, R: Replica> {
    task: &'a Task<R>,
    nodes: View<'a, NodePart<R>>,
    flights: View<'a, FlightPart<R>>,
    decided: View<'a, Decided>,
    spent: View<'a, Spent>,
    /// By node and input.
    outcomes: Memo<(u32, u32), Outcomes>,
    moves: Vec<Move>,
    joints: Vec<Joint>,
    /// By what is spent, then by spending.
    spending: Vec<Vec<u32>>,
    merged: Memo<(u32, u32), u32>,
    forgotten: Memo<(u32, u32, u32), bool>,
    violations: Vec<Violation>,
    scratch: State,
    /// Steps of single nodes carried out, and not looked up.
    pub(crate) carried_out: u64,
}

/// Inputs that are no messages are numbered from here on.
const DEEDS_FROM: u32 = 1 << 31;

impl<'a, R: Replica> Book<'a, R> {
    pub(crate) fn new(task: &'a Task<R>, catalogue: &'a Catalogue<R>) -> Book<'a, R> {
        let mut decided = View::of(&catalogue.decided);
        let nothing = decided.number(fingerprint(&(2u8, Decided::new())), Decided::new);
        assert_eq!(nothing, 0, "the first that is decided is nothing");
        Book {
            task,
            nodes: View::of(&catalogue.nodes),
            flights: View::of(&catalogue.flights),
            decided,
            spent: View::of(&catalogue.spent),
            outcomes: Memo::default(),
            moves: Vec::new(),
            joints: Vec::new(),
            spending: Vec::new(),
            merged: Memo::default(),
            forgotten: Memo::default(),
            violations: Vec::new(),
            scratch: State::default(),
            carried_out: 0,
        }
    }

    /// The state a search starts from.
    pub(crate) fn root(&mut self) -> State {
        let mut testbed = self.task.testbed.clone();
        let launched = self.file_flights(testbed.take_flights());
        let decided = self.file_decided(testbed.chosen().clone());
        let ids = &self.task.ids;
        let nodes = ids.iter().map(|id| self.file_node(&mut testbed, *id, false)).collect();
        let spent = self.file_spent(Spent::nothing(&self.task.bounds));
        let mut root = State { link: 0, nodes, decided, spent, flights: Vec::new() };
        launched.into_iter().for_each(|flight| root.launch(flight));
        self.sweep(&mut root, None);
        root
    }

    /// Makes the book show a state that another thread may have found.
    pub(crate) fn look(&mut self, state: &State) {
        state.nodes.iter().for_each(|node| self.nodes.look(*node));
        if let Some(last) = state.flights.last() {
            self.flights.look(*last);
        }
        self.decided.look(state.decided);
        self.spent.look(state.spent);
    }

    pub(crate) fn fingerprint(&self, state: &State) -> u128 {
        self.fingerprint_of_replicas(state)
            .wrapping_add(self.spent.fingerprint(state.spent))
            .wrapping_add(sum(state.flights.iter().map(|flight| self.flights.fingerprint(*flight))))
    }

    /// Of nodes and decisions alone.
    pub(crate) fn fingerprint_of_replicas(&self, state: &State) -> u128 {
        sum(state.nodes.iter().map(|node| self.nodes.fingerprint(*node)))
            .wrapping_add(self.decided.fingerprint(state.decided))
    }

    /// Nodes and decisions as a cluster, and the messages too if they are wanted.
    pub(crate) fn cluster(&self, state: &State, with_flights: bool) -> Testbed<R> {
        let nodes = state.nodes.iter().map(|node| Arc::clone(&self.nodes.get(*node).node));
        let decided = (**self.decided.get(state.decided)).clone();
        let flights = match with_flights {
            true => state.flights.iter().map(|flight| self.flights.get(*flight).flight.clone()).collect(),
            false => Vec::new(),
        };
        self.task.assembled(nodes, decided, flights)
    }

    pub(crate) fn violation(&self, number: u32) -> Violation {
        self.violations[number as usize].clone()
    }

    /// All states that can follow within the bounds; but none that differs from this one only in having fewer messages in flight
    /// or less left of its bounds: whatever can follow from that follows from this one too.
    pub(crate) fn successors(&mut self, state: &State, into: &mut Vec<Successor>) {
        into.clear();
        self.joints.clear();
        let base = self.fingerprint(state);
        let copies = self.spend(state.spent, Task::<R>::DUPLICATE);
        let dropped = self.spend(state.spent, Task::<R>::DROP);
        for (at, flight) in state.flights.iter().copied().enumerate() {
            if at > 0 && state.flights[at - 1] == flight {
                continue;
            }
            let place = self.flights.get(flight).to;
            let without = base.wrapping_sub(self.flights.fingerprint(flight));
            let deliver = |copy| What::Deliver { flight, copy };
            self.follow(state, without, deliver(false), (place, flight), state.spent, into);
            if let Some(spent) = copies {
                self.follow(state, base, deliver(true), (place, flight), spent, into);
            }
            if let Some(spent) = dropped {
                let (what, effect) = (What::Lose { flight }, Effect::Nothing);
                let (fingerprint, decided) = (without, state.decided);
                let lost = Successor { fingerprint, violation: None, what, variant: 0, effect, decided, spent };
                self.note(state, lost, into);
            }
        }
        for place in 0..state.nodes.len() {
            let part = Arc::clone(self.nodes.get(state.nodes[place]));
            for (deed, Deed { spending, .. }) in part.deeds.iter().enumerate() {
                let left = spending.map_or(Some(state.spent), |spending| self.spend(state.spent, spending));
                if let Some(spent) = left {
                    let input = (place, DEEDS_FROM | deed as u32);
                    self.follow(state, base, What::Deed { place, deed }, input, spent, into);
                }
            }
        }
    }

    /// Adds all outcomes of one input at one place. `base` is the fingerprint that the outcome changes.
    fn follow(
        &mut self,
        state: &State,
        base: u128,
        what: What,
        (place, input): (usize, u32),
        spent: u32,
        into: &mut Vec<Successor>,
    ) {
        let node = state.nodes[place];
        let outcomes = match self.outcomes.get(&(node, input)) {
            Some(outcomes) => *outcomes,
            None => self.carry_out(state, place, input, what),
        };
        let (first, count) = match outcomes {
            Outcomes::Alone { first, count } => (first, count),
            Outcomes::Joint => return self.follow_jointly(state, what, spent, into),
        };
        for variant in 0..count {
            let one = &self.moves[(first + variant) as usize];
            let (stalls, delta, violation, change) = (one.stalls, one.decided, one.violation, one.change);
            let is_idle = one.node == node && one.launched.is_empty() && delta == 0;
            if is_idle && !stalls && violation.is_none() {
                continue;
            }
            let left = if stalls { self.spend(spent, Task::<R>::CRASH) } else { Some(spent) };
            let Some(spent) = left else { continue };
            let (decided, disagreement) = self.merge(state.decided, delta);
            let effect = Effect::Move { place, at: first + variant };
            let (fingerprint, violation) = (base.wrapping_add(change), violation.or(disagreement));
            self.note(state, Successor { fingerprint, violation, what, variant, effect, decided, spent }, into);
        }
    }

    /// The same where several nodes move at once.
    fn follow_jointly(&mut self, state: &State, what: What, spent: u32, into: &mut Vec<Successor>) {
        for (variant, (_, played)) in self.play(state, None, what).into_iter().enumerate() {
            let joint = self.file_joint(played);
            let left = if joint.stalls { self.spend(spent, Task::<R>::CRASH) } else { Some(spent) };
            let Some(spent) = left else { continue };
            let (decided, disagreement) = self.merge(state.decided, joint.decided);
            let violation = joint.violation.or(disagreement);
            let effect = Effect::Joint(self.joints.len() as u32);
            self.joints.push(joint);
            let variant = variant as u32;
            let mut next = Successor { fingerprint: 0, violation, what, variant, effect, decided, spent };
            let mut built = std::mem::take(&mut self.scratch);
            self.build(state, &next, &mut built);
            next.fingerprint = self.fingerprint(&built);
            self.scratch = built;
            into.push(next);
        }
    }

    /// Adds one successor, whose fingerprint is right but for what is decided, spent and swept.
    fn note(&mut self, state: &State, mut next: Successor, into: &mut Vec<Successor>) {
        let mut change = 0u128;
        if next.decided != state.decided {
            let (before, after) = (self.decided.fingerprint(state.decided), self.decided.fingerprint(next.decided));
            change = change.wrapping_add(after).wrapping_sub(before);
        }
        if next.spent != state.spent {
            let (before, after) = (self.spent.fingerprint(state.spent), self.spent.fingerprint(next.spent));
            change = change.wrapping_add(after).wrapping_sub(before);
        }
        if let Effect::Move { place, at } = next.effect
            && self.task.forgets()
        {
            change = change.wrapping_sub(self.swept(state, next.what, place, at));
        }
        next.fingerprint = next.fingerprint.wrapping_add(change);
        into.push(next);
    }

    /// What the messages add to a fingerprint that this move makes worthless.
    fn swept(&mut self, state: &State, what: What, place: usize, at: u32) -> u128 {
        let moved = self.moves[at as usize].node;
        // Taken for a moment, so that the book can be asked.
        let launched = std::mem::take(&mut self.moves[at as usize].launched);
        let mut arrives = match what {
            What::Deliver { flight, copy: false } => Some(flight),
            _ => None,
        };
        let node = |at: usize| if at == place { moved } else { state.nodes[at] };
        let mut swept = 0u128;
        for (position, flight) in state.flights.iter().chain(&launched).copied().enumerate() {
            if arrives == Some(flight) {
                arrives = None;
                continue;
            }
            let (from, to) = (self.flights.get(flight).from, self.flights.get(flight).to);
            let is_new = position >= state.flights.len();
            let concerns = is_new || to == place || from == Some(place);
            if concerns && self.is_forgotten(node(to), from.map(node), flight) {
                swept = swept.wrapping_add(self.flights.fingerprint(flight));
            }
        }
        self.moves[at as usize].launched = launched;
        swept
    }

    /// Builds a successor of a state; its link is the caller's to set.
    pub(crate) fn build(&mut self, state: &State, next: &Successor, built: &mut State) {
        built.copy_from(state);
        (built.decided, built.spent) = (next.decided, next.spent);
        match next.what {
            What::Deliver { flight, copy: false } | What::Lose { flight } => built.land(flight),
            What::Deliver { copy: true, .. } | What::Deed { .. } => {}
        }
        match next.effect {
            Effect::Nothing => {}
            Effect::Move { place, at } => {
                let one = &self.moves[at as usize];
                built.nodes[place] = one.node;
                one.launched.iter().for_each(|flight| built.launch(*flight));
            }
            Effect::Joint(at) => {
                let joint = &self.joints[at as usize];
                built.nodes.clone_from(&joint.nodes);
                joint.launched.iter().for_each(|flight| built.launch(*flight));
            }
        }
        match next.effect {
            Effect::Nothing => {}
            Effect::Move { place, .. } => self.sweep(built, Some(place)),
            Effect::Joint(_) => self.sweep(built, None),
        }
    }

    /// The step that leads to a successor, in full.
    pub(crate) fn step(&mut self, state: &State, next: &Successor) -> Step<R> {
        if let What::Lose { flight } = next.what {
            return Step::plain(Action::Lose(self.flights.get(flight).flight.clone()));
        }
        let place = match next.effect {
            Effect::Move { place, .. } => Some(place),
            Effect::Nothing | Effect::Joint(_) => None,
        };
        let (step, _) = self.play(state, place, next.what).swap_remove(next.variant as usize);
        step
    }

    fn action(&self, state: &State, what: What) -> Action<R> {
        let flight = |number: u32| self.flights.get(number).flight.clone();
        match what {
            What::Deliver { flight: number, copy: false } => Action::Deliver(flight(number)),
            What::Deliver { flight: number, copy: true } => Action::DeliverCopy(flight(number)),
            What::Lose { flight: number } => Action::Lose(flight(number)),
            What::Deed { place, deed } => {
                let id = self.task.ids[place];
                match self.nodes.get(state.nodes[place]).deeds[deed].what {
                    DeedKind::Expire(timer) => Action::Expire(id, timer),
                    DeedKind::Complete(count) => Action::Complete(id, count),
                    DeedKind::Crash(surviving) => Action::Crash(id, surviving),
                    DeedKind::Wish(number) => Action::Wish(id, self.task.wishes[number as usize].input.clone()),
                }
            }
        }
    }

    /// Carries an input out with all its outcomes: on the node at one place alone, or on all.
    fn play(&mut self, state: &State, alone: Option<usize>, what: What) -> Vec<(Step<R>, Played<R>)> {
        let task = self.task;
        let members: Vec<usize> = alone.map_or_else(|| (0..state.nodes.len()).collect(), |place| vec![place]);
        let parts: Vec<Arc<NodePart<R>>> =
            members.iter().map(|place| Arc::clone(self.nodes.get(state.nodes[*place]))).collect();
        let shared = || parts.iter().map(|part| (task.ids[part.place], Arc::clone(&part.node)));
        let stalled: BTreeSet<NodeId> =
            parts.iter().filter(|part| part.stalled).map(|part| task.ids[part.place]).collect();
        let mut steps = vec![Step::plain(self.action(state, what))];
        let mut all = Vec::new();
        while let Some(step) = steps.pop() {
            let mut testbed = task.testbed.assembled(shared(), Decided::new(), Vec::new());
            let mut stalled = stalled.clone();
            let stalling = (task.bounds.disks == Disks::StallBeforeCrash).then_some(&mut stalled);
            let outcome = perform(&mut testbed, &step, stalling);
            self.carried_out += 1;
            steps.extend(variants(&step, &outcome, task.disks_stall()));
            all.push((step, Played { testbed, stalled, stalls: outcome.stalls.is_some() }));
        }
        all
    }

    /// Carries a step of a single node out and enters it into the book.
    fn carry_out(&mut self, state: &State, place: usize, input: u32, what: What) -> Outcomes {
        let node = state.nodes[place];
        let played = self.play(state, Some(place), what);
        let takes_others = played.iter().any(|(_, played)| played.testbed.reached_out());
        let outcomes = if takes_others {
            Outcomes::Joint
        } else {
            let first = self.moves.len() as u32;
            for (_, played) in played {
                let joint = self.file_joint(played);
                let change = self.nodes.fingerprint(joint.nodes[0]).wrapping_sub(self.nodes.fingerprint(node));
                let launched = joint.launched.iter().map(|flight| self.flights.fingerprint(*flight));
                self.moves.push(Move {
                    change: change.wrapping_add(sum(launched)),
                    node: joint.nodes[0],
                    launched: joint.launched,
                    decided: joint.decided,
                    violation: joint.violation,
                    stalls: joint.stalls,
                });
            }
            Outcomes::Alone { first, count: self.moves.len() as u32 - first }
        };
        self.outcomes.insert((node, input), outcomes);
        outcomes
    }

    /// Numbers what a step left behind.
    fn file_joint(&mut self, played: Played<R>) -> Joint {
        let Played { mut testbed, stalled, stalls } = played;
        let violation = testbed.violation().cloned().map(|violation| self.file_violation(violation));
        let launched = self.file_flights(testbed.take_flights());
        let decided = self.file_decided(testbed.chosen().clone());
        let ids: Vec<NodeId> = testbed.ids().collect();
        let nodes = ids.iter().map(|id| self.file_node(&mut testbed, *id, stalled.contains(id))).collect();
        Joint { nodes, launched, decided, violation, stalls }
    }

    fn file_node(&mut self, testbed: &mut Testbed<R>, id: NodeId, stalled: bool) -> u32 {
        if !self.task.keeps_refusals {
            testbed.take_refusals(id);
        }
        let print = fingerprint(&(0u8, testbed.node_fingerprint(id), stalled));
        let task = self.task;
        self.nodes.number(print, || {
            let node: Arc<TestNode<R>> = testbed.shared_node(id);
            let place = task.place(id).expect("nobody joins during a search");
            NodePart { place, stalled, deeds: task.deeds(id, &node, stalled), node }
        })
    }

    /// Numbers messages that were sent: those that may get somewhere.
    fn file_flights(&mut self, flights: Vec<Flight<R>>) -> Vec<u32> {
        let task = self.task;
        let mut numbers = Vec::new();
        for flight in flights {
            let passes = task.passes.as_ref().is_none_or(|passes| passes(&flight));
            if let Some(to) = task.place(flight.to).filter(|_| passes) {
                let part = || FlightPart { from: task.place(flight.from), to, flight: flight.clone() };
                numbers.push(self.flights.number(fingerprint(&(1u8, &flight)), part));
            }
        }
        numbers
    }

    fn file_decided(&mut self, decided: Decided) -> u32 {
        if decided.is_empty() {
            return 0;
        }
        self.decided.number(fingerprint(&(2u8, &decided)), || decided)
    }

    fn file_spent(&mut self, spent: Spent) -> u32 {
        self.spent.number(fingerprint(&(3u8, &spent)), || spent)
    }

    fn file_violation(&mut self, violation: Violation) -> u32 {
        self.violations.push(violation);
        self.violations.len() as u32 - 1
    }

    /// What is spent with this spent too; `None` if the bounds do not leave it.
    fn spend(&mut self, spent: u32, spending: u32) -> Option<u32> {
        if self.spending.len() <= spent as usize {
            self.spending.resize(spent as usize + 1, Vec::new());
        }
        if self.spending[spent as usize].is_empty() {
            self.spending[spent as usize] = vec![UNKNOWN; self.task.spendings.len()];
        }
        let known = self.spending[spent as usize][spending as usize];
        if known != UNKNOWN {
            return (known != NONE).then_some(known);
        }
        let next = self.spent.get(spent).with(self.task.spendings[spending as usize], &self.task.bounds);
        let number = next.map_or(NONE, |next| self.file_spent(next));
        self.spending[spent as usize][spending as usize] = number;
        (number != NONE).then_some(number)
    }

    /// What is decided with this decided too, and the disagreement if there is one.
    fn merge(&mut self, decided: u32, more: u32) -> (u32, Option<u32>) {
        if more == 0 || decided == more {
            return (decided, None);
        }
        if let Some(merged) = self.merged.get(&(decided, more)) {
            return (*merged, None);
        }
        let (known, news) = (Arc::clone(self.decided.get(decided)), Arc::clone(self.decided.get(more)));
        let other = |slot, decision| known.get(slot).filter(|first| *first != decision);
        let differs = news.iter().find_map(|(slot, decision)| Some((slot, other(slot, decision)?, decision)));
        if let Some((slot, first, decision)) = differs {
            let detail = format!("slot {slot} was decided to be {first:?}, and is now decided to be {decision:?}");
            return (decided, Some(self.file_violation(Violation { invariant: "Agreement", detail })));
        }
        let mut all = (*known).clone();
        all.extend(news.iter().map(|(slot, decision)| (*slot, decision.clone())));
        let merged = self.file_decided(all);
        self.merged.insert((decided, more), merged);
        (merged, None)
    }

    /// Forgets the messages that can change nothing any more; where only the node at one place has changed, only its own.
    fn sweep(&mut self, state: &mut State, changed: Option<usize>) {
        if !self.task.forgets() {
            return;
        }
        let mut in_flight = std::mem::take(&mut state.flights);
        in_flight.retain(|flight| {
            let (from, to) = (self.flights.get(*flight).from, self.flights.get(*flight).to);
            let concerns = changed.is_none_or(|place| place == to || Some(place) == from);
            !concerns || !self.is_forgotten(state.nodes[to], from.map(|place| state.nodes[place]), *flight)
        });
        state.flights = in_flight;
    }

    /// Whether this message can change nothing any more.
    fn is_forgotten(&mut self, receiver: u32, sender: Option<u32>, flight: u32) -> bool {
        let (task, nodes, flights) = (self.task, &self.nodes, &self.flights);
        let message = || &flights.get(flight).flight.message;
        let alone = task.forgetting.as_ref().is_some_and(|forgetting| {
            let judge = || forgetting(&nodes.get(receiver).node, message());
            *self.forgotten.entry((receiver, NONE, flight)).or_insert_with(judge)
        });
        let between = task.forgetting_between.as_ref().filter(|_| !alone);
        alone
            || between.is_some_and(|forgetting| {
                let node = sender.map(|sender| &*nodes.get(sender).node);
                let judge = || forgetting(&nodes.get(receiver).node, node, message());
                *self.forgotten.entry((receiver, sender.unwrap_or(UNKNOWN), flight)).or_insert_with(judge)
            })
    }
}

fn sum(fingerprints: impl Iterator<Item = u128>) -> u128 {
    fingerprints.fold(0, u128::wrapping_add)
}
