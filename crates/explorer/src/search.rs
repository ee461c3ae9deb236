//! The search itself.

use crate::action::{Outcome, Step, Wish, complete_all, describe, perform, possible};
use crate::bounds::{Bounds, Disks, Order, Spent};
use crate::report::{Counterexample, Progress, Report};
use bytes::Bytes;
use quorate_narrator::sentence;
use quorate_protocol::testbed::{Flight, Testbed};
use quorate_protocol::{Batch, Footprint, Input, ReadToken, Replica, RequestId, Violation};
use quorate_types::{Incarnation, NodeId};
use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};

/// Wishes are bits of one number.
const WISHES_MOST: usize = 64;

type Property<R> = Box<dyn Fn(&Testbed<R>) -> Result<(), String>>;
type Predicate<R> = Box<dyn Fn(&Testbed<R>) -> bool>;
type Filter<R> = Box<dyn Fn(&Testbed<R>, &Flight<R>) -> bool>;
type Listener = Box<dyn FnMut(&Progress)>;

/// A search to be: the cluster it starts from, its bounds, what clients want, what must hold.
pub struct Explorer<R: Replica> {
    root: Testbed<R>,
    bounds: Bounds<R>,
    wishes: Vec<Wish<R>>,
    properties: Vec<(&'static str, Property<R>)>,
    sometimes: Vec<(&'static str, Predicate<R>)>,
    cut: Option<Filter<R>>,
    spent_for_good: Option<Filter<R>>,
    progress: Option<(usize, Listener)>,
}

/// A state not yet looked at.
struct Position<R: Replica> {
    testbed: Testbed<R>,
    spent: Spent,
    depth: u32,
    link: u32,
}

/// Where a state came from, for telling the way there.
struct Link<R: Replica> {
    parent: u32,
    step: Option<Step<R>>,
}

/// A search under way.
struct Search<R: Replica> {
    /// The least depth each state was seen at, by fingerprint.
    seen: HashMap<u64, u32>,
    links: Vec<Link<R>>,
    waiting: VecDeque<Position<R>>,
    transitions: u64,
    max_depth: u32,
    cut_short: bool,
    counts: Vec<u64>,
}

impl<R: Replica> Explorer<R> {
    /// A search from this cluster. Whatever is under way in it may happen at any time; usually the founding
    /// writes are completed first with [`Explorer::settled`].
    #[must_use]
    pub fn new(root: Testbed<R>, bounds: Bounds<R>) -> Explorer<R> {
        Explorer {
            root,
            bounds,
            wishes: Vec::new(),
            properties: Vec::new(),
            sometimes: Vec::new(),
            cut: None,
            spent_for_good: None,
            progress: None,
        }
    }

    /// Completes the writes under way before the search: a fresh cluster's founding records.
    #[must_use]
    pub fn settled(mut self) -> Explorer<R> {
        complete_all(&mut self.root);
        self
    }

    /// A client proposes this at this node, once, at any moment.
    #[must_use]
    pub fn propose(self, node: NodeId, commands: impl Into<Bytes>) -> Explorer<R> {
        let request = RequestId(self.wishes.len() as u64 + 1);
        self.wish(node, Input::Propose { request, batch: Batch::new(commands.into()) })
    }

    /// A client reads at this node, once, at any moment.
    #[must_use]
    pub fn read(self, node: NodeId) -> Explorer<R> {
        let token = ReadToken { node, incarnation: Incarnation(1), number: self.wishes.len() as u64 + 1 };
        self.wish(node, Input::Read { token, footprint: Footprint::Everything })
    }

    /// This input reaches this node, once, at any moment.
    ///
    /// # Panics
    /// With more than 64 wishes: each doubles the states.
    #[must_use]
    pub fn wish(mut self, node: NodeId, input: Input<R>) -> Explorer<R> {
        assert!(self.wishes.len() < WISHES_MOST, "an explorer takes up to 64 wishes");
        self.wishes.push(Wish { node, input });
        self
    }

    /// Must hold in every state.
    #[must_use]
    pub fn always(
        mut self,
        name: &'static str,
        check: impl Fn(&Testbed<R>) -> Result<(), String> + 'static,
    ) -> Explorer<R> {
        self.properties.push((name, Box::new(check)));
        self
    }

    /// Counted, so that a search which never gets to the point is noticed.
    #[must_use]
    pub fn sometimes(mut self, name: &'static str, holds: impl Fn(&Testbed<R>) -> bool + 'static) -> Explorer<R> {
        self.sometimes.push((name, Box::new(holds)));
        self
    }

    /// Never sends messages that the predicate does not pass: a partition, to get to the point. The report is not
    /// complete then.
    #[must_use]
    pub fn only_messages(mut self, passes: impl Fn(&Testbed<R>, &Flight<R>) -> bool + 'static) -> Explorer<R> {
        self.cut = Some(Box::new(passes));
        self
    }

    /// Takes messages out of flight that can change nothing any more, whatever happens: two states that
    /// differ only in such messages are one. The caller answers for it: wherever the predicate holds of a message, delivering it
    /// in this state or in any that follows must change no replica and send nothing. The report stays complete.
    #[must_use]
    pub fn forgetting(mut self, spent: impl Fn(&Testbed<R>, &Flight<R>) -> bool + 'static) -> Explorer<R> {
        self.spent_for_good = Some(Box::new(spent));
        self
    }

    /// Is told now and then, every so many states.
    #[must_use]
    pub fn on_progress(mut self, every_states: usize, listener: impl FnMut(&Progress) + 'static) -> Explorer<R> {
        self.progress = Some((every_states.max(1), Box::new(listener)));
        self
    }

    /// Searches.
    #[must_use]
    pub fn explore(mut self) -> Report {
        let start = Position {
            testbed: self.root.clone().without_tracing(),
            spent: Spent::nothing(&self.bounds),
            depth: 0,
            link: 0,
        };
        let mut search = Search {
            seen: HashMap::new(),
            links: vec![Link { parent: 0, step: None }],
            waiting: VecDeque::new(),
            transitions: 0,
            max_depth: 0,
            cut_short: self.cut.is_some(),
            counts: vec![0; self.sometimes.len()],
        };
        search.seen.insert(fingerprint(&start), 0);
        self.count_sometimes(&start.testbed, &mut search);
        if let Some(violation) = self.broken(&start.testbed) {
            return self.report(search, Some((0, violation)));
        }
        search.waiting.push_back(start);
        let mut looked_at = 0;
        loop {
            let next = match self.bounds.order {
                Order::BreadthFirst => search.waiting.pop_front(),
                Order::DepthFirst => search.waiting.pop_back(),
            };
            let Some(position) = next else { return self.report(search, None) };
            looked_at += 1;
            self.tell_progress(looked_at, position.depth, &search);
            if let Some(found) = self.expand(&position, &mut search) {
                return self.report(search, Some(found));
            }
            if search.seen.len() >= self.bounds.max_states {
                search.cut_short = true;
                return self.report(search, None);
            }
        }
    }

    /// Tries everything that can happen in one state.
    fn expand(&self, position: &Position<R>, search: &mut Search<R>) -> Option<(u32, Violation)> {
        let actions = possible(&position.testbed, &self.bounds, &position.spent, &self.wishes);
        if position.depth >= self.bounds.max_depth {
            search.cut_short |= !actions.is_empty();
            return None;
        }
        for action in actions {
            let mut steps = vec![Step { action, choices: Vec::new(), stalls_after: None }];
            while let Some(step) = steps.pop() {
                let mut testbed = position.testbed.clone();
                let mut spent = position.spent.clone();
                let outcome = perform(&mut testbed, &mut spent, &step, &self.wishes, &self.bounds);
                steps.extend(self.variants(&step, &outcome, &spent));
                self.sweep(&mut testbed);
                let child = Position { testbed, spent, depth: position.depth + 1, link: search.links.len() as u32 };
                if let Some(found) = self.enter(child, position.link, step, search) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// The same action with other luck: together with the step just made, every outcome of every choice and every
    /// moment for the disk to stall is tried once.
    fn variants(&self, step: &Step<R>, outcome: &Outcome, spent: &Spent) -> Vec<Step<R>> {
        let mut variants: Vec<Step<R>> = other_choices(&step.choices, &outcome.asked)
            .into_iter()
            .map(|choices| Step { choices, ..step.clone() })
            .collect();
        if step.stalls_after.is_none() && spent.leaves_a_crash(&self.bounds) {
            let stall = |completed| Step { stalls_after: Some(completed), ..step.clone() };
            variants.extend((0..outcome.completed).map(stall));
        }
        variants
    }

    /// Looks at a state just reached and keeps it if it is new.
    fn enter(
        &self,
        child: Position<R>,
        parent: u32,
        step: Step<R>,
        search: &mut Search<R>,
    ) -> Option<(u32, Violation)> {
        search.transitions += 1;
        let broken = self.broken(&child.testbed);
        let fingerprint = fingerprint(&child);
        let known = search.seen.get(&fingerprint).copied();
        // A state reached again on a shorter way matters only where depth is bounded: more can follow.
        let unbounded = self.bounds.max_depth == u32::MAX;
        if broken.is_none() && known.is_some_and(|depth| unbounded || depth <= child.depth) {
            return None;
        }
        search.links.push(Link { parent, step: Some(step) });
        if let Some(violation) = broken {
            return Some((child.link, violation));
        }
        search.seen.insert(fingerprint, child.depth);
        search.max_depth = search.max_depth.max(child.depth);
        if known.is_none() {
            self.count_sometimes(&child.testbed, search);
        }
        search.waiting.push_back(child);
        None
    }

    fn sweep(&self, testbed: &mut Testbed<R>) {
        let unwanted: Vec<bool> = testbed
            .flights()
            .iter()
            .map(|flight| {
                self.cut.as_ref().is_some_and(|passes| !passes(testbed, flight))
                    || self.spent_for_good.as_ref().is_some_and(|spent| spent(testbed, flight))
            })
            .collect();
        if unwanted.contains(&true) {
            let mut at = unwanted.into_iter();
            testbed.lose_where(|_| at.next().unwrap_or(false));
        }
    }

    fn broken(&self, testbed: &Testbed<R>) -> Option<Violation> {
        if let Some(violation) = testbed.violation() {
            return Some(violation.clone());
        }
        self.properties
            .iter()
            .find_map(|(invariant, check)| check(testbed).err().map(|detail| Violation { invariant, detail }))
    }

    fn count_sometimes(&self, testbed: &Testbed<R>, search: &mut Search<R>) {
        for (count, (_, holds)) in search.counts.iter_mut().zip(&self.sometimes) {
            *count += u64::from(holds(testbed));
        }
    }

    fn tell_progress(&mut self, looked_at: usize, depth: u32, search: &Search<R>) {
        if let Some((every, listener)) = &mut self.progress
            && looked_at.is_multiple_of(*every)
        {
            let (unique_states, waiting) = (search.seen.len(), search.waiting.len());
            listener(&Progress { unique_states, waiting, transitions: search.transitions, depth });
        }
    }

    fn report(&self, search: Search<R>, found: Option<(u32, Violation)>) -> Report {
        let names = self.sometimes.iter().map(|(name, _)| *name);
        Report {
            unique_states: search.seen.len(),
            transitions: search.transitions,
            max_depth: search.max_depth,
            complete: !search.cut_short && found.is_none(),
            assumptions: self.assumptions(),
            sometimes: names.zip(search.counts.iter().copied()).collect(),
            violation: found.map(|(link, violation)| self.counterexample(&search.links, link, violation)),
        }
    }

    fn assumptions(&self) -> Vec<&'static str> {
        let mut assumptions = Vec::new();
        if self.bounds.disks == Disks::StallBeforeCrash {
            assumptions.push("a write that completes late can be matched by late messages");
        }
        if self.spent_for_good.is_some() {
            assumptions.push("the messages taken out of flight could change nothing any more");
        }
        assumptions
    }

    /// Goes the way again, with tracing, and writes down what happens.
    fn counterexample(&self, links: &[Link<R>], last: u32, violation: Violation) -> Counterexample {
        let mut steps = Vec::new();
        let mut at = last;
        while let Some(step) = &links[at as usize].step {
            steps.push(step.clone());
            at = links[at as usize].parent;
        }
        let mut testbed = self.root.clone();
        let mut spent = Spent::nothing(&self.bounds);
        take_sentences(&mut testbed);
        let (mut actions, mut text) = (Vec::new(), String::new());
        for step in steps.into_iter().rev() {
            let words = describe(&testbed, step.action, &self.wishes);
            text.push_str(&format!("{:3}. {words}\n", actions.len() + 1));
            if step.choices.iter().any(|choice| *choice > 0) {
                text.push_str(&format!("     with the choices {:?}\n", step.choices));
            }
            actions.push(words);
            if let Some(completed) = step.stalls_after {
                text.push_str(&format!("     then {completed} writes complete and the disk stalls\n"));
            }
            perform(&mut testbed, &mut spent, &step, &self.wishes, &self.bounds);
            self.sweep(&mut testbed);
            for sentence in take_sentences(&mut testbed) {
                text.push_str(&format!("     {sentence}\n"));
            }
        }
        text.push_str(&format!("{violation}\n"));
        Counterexample { property: violation.invariant.to_owned(), detail: violation.detail, actions, text }
    }
}

/// The scripts that differ from one just played in a later choice: together with it, every outcome of every
/// choice is tried once.
fn other_choices(played: &[u64], asked: &[u64]) -> Vec<Vec<u64>> {
    let mut scripts = Vec::new();
    for (at, bound) in asked.iter().enumerate().skip(played.len()) {
        for choice in 1..*bound {
            let mut script = played.to_vec();
            script.resize(at, 0);
            script.push(choice);
            scripts.push(script);
        }
    }
    scripts
}

fn fingerprint<R: Replica>(position: &Position<R>) -> u64 {
    let mut hasher = DefaultHasher::new();
    position.testbed.fingerprint().hash(&mut hasher);
    position.spent.hash(&mut hasher);
    hasher.finish()
}

fn take_sentences<R: Replica>(testbed: &mut Testbed<R>) -> Vec<String> {
    let ids: Vec<NodeId> = testbed.ids().collect();
    let mut sentences = Vec::new();
    for id in ids {
        sentences.extend(testbed.take_events(id).iter().map(|event| sentence(id, event)));
    }
    sentences
}
