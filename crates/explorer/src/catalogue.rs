//! The parts that states are made of, each kept once and named by a number.

use crate::bounds::Spent;
use crate::seen::{AsItIs, held};
use quorate_protocol::testbed::{Flight, TestNode};
use quorate_protocol::{Decision, Replica};
use quorate_types::Slot;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::{Arc, Mutex};

/// Parts of one kind, shared by the threads.
pub(crate) struct Shelf<T> {
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    entries: Vec<(u128, Arc<T>)>,
    numbers: HashMap<[u64; 2], u32, BuildHasherDefault<AsItIs>>,
}

impl<T> Shelf<T> {
    fn empty() -> Shelf<T> {
        Shelf { inner: Mutex::new(Inner { entries: Vec::new(), numbers: HashMap::default() }) }
    }

    /// The number of the part with this fingerprint, made if it is new.
    pub(crate) fn number(&self, fingerprint: u128, make: impl FnOnce() -> T) -> u32 {
        let mut inner = held(&self.inner);
        let key = [(fingerprint >> 64) as u64, fingerprint as u64];
        if let Some(number) = inner.numbers.get(&key) {
            return *number;
        }
        let number = u32::try_from(inner.entries.len()).expect("memory ends before the numbers do");
        inner.entries.push((fingerprint, Arc::new(make())));
        inner.numbers.insert(key, number);
        number
    }

    pub(crate) fn len(&self) -> usize {
        held(&self.inner).entries.len()
    }
}

/// One thread's view of a shelf, so that it need not ask the others.
pub(crate) struct View<'a, T> {
    shelf: &'a Shelf<T>,
    fingerprints: Vec<u128>,
    entries: Vec<Arc<T>>,
}

impl<'a, T> View<'a, T> {
    pub(crate) fn of(shelf: &'a Shelf<T>) -> View<'a, T> {
        View { shelf, fingerprints: Vec::new(), entries: Vec::new() }
    }

    /// The number of the part with this fingerprint, made if it is new. The view shows it from then on.
    pub(crate) fn number(&mut self, fingerprint: u128, make: impl FnOnce() -> T) -> u32 {
        let number = self.shelf.number(fingerprint, make);
        self.look(number);
        number
    }

    /// Makes the view show a part that another thread numbered.
    pub(crate) fn look(&mut self, number: u32) {
        if number as usize >= self.entries.len() {
            for (fingerprint, entry) in &held(&self.shelf.inner).entries[self.entries.len()..] {
                self.fingerprints.push(*fingerprint);
                self.entries.push(Arc::clone(entry));
            }
        }
    }

    /// A part that was looked at.
    pub(crate) fn get(&self, number: u32) -> &Arc<T> {
        &self.entries[number as usize]
    }

    /// Its fingerprint.
    pub(crate) fn fingerprint(&self, number: u32) -> u128 {
        self.fingerprints[number as usize]
    }
}

/// A node at one moment.
pub(crate) struct NodePart<R: Replica> {
    /// Which of the nodes, from 0.
    pub(crate) place: usize,
    /// Its disk stalls until it crashes.
    pub(crate) stalled: bool,
    pub(crate) node: Arc<TestNode<R>>,
    /// What may happen to it besides messages.
    pub(crate) deeds: Vec<Deed<R::Timer>>,
}

/// What may happen to a node besides messages, and what it uses of the bounds: a position among a task's spendings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deed<T> {
    pub(crate) what: DeedKind<T>,
    pub(crate) spending: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum DeedKind<T> {
    Expire(T),
    Complete(usize),
    Crash(usize),
    Wish(u32),
}

/// A message in flight.
pub(crate) struct FlightPart<R: Replica> {
    /// The place of the sender, if it is one of the nodes.
    pub(crate) from: Option<usize>,
    /// The place of the receiver.
    pub(crate) to: usize,
    pub(crate) flight: Flight<R>,
}

/// What was decided.
pub(crate) type Decided = BTreeMap<Slot, Decision>;

/// All parts.
pub(crate) struct Catalogue<R: Replica> {
    pub(crate) nodes: Shelf<NodePart<R>>,
    pub(crate) flights: Shelf<FlightPart<R>>,
    pub(crate) decided: Shelf<Decided>,
    pub(crate) spent: Shelf<Spent>,
}

impl<R: Replica> Catalogue<R> {
    pub(crate) fn empty() -> Catalogue<R> {
        Catalogue { nodes: Shelf::empty(), flights: Shelf::empty(), decided: Shelf::empty(), spent: Shelf::empty() }
    }
}
