//! What a history is a history of: the objects that are known, and how each history is split and searched.

mod bag;
mod counter;
mod fifo;
mod list;
mod lock;
mod numbers;
mod queue;
mod register;
mod register_order;
mod store;

pub use counter::{Counter, CounterOperation};
pub use lock::{Lock, LockOperation, LockState};
pub use register::{ABSENT, Register, RegisterOperation, ValueId};

use crate::history::{Entry, History, Operation};
use crate::search::{Effort, Linearization, linearize_with};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use thiserror::Error;

/// The sequential specification that a history is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// Keys with a value or nothing: read, write, delete, compare and set. Split by key.
    Register,
    /// Keys with lists: append, read. Split by key.
    List,
    /// Keys with numbers: add, read. Split by key.
    Counter,
    /// Locks with fencing tokens: acquire, release, expire. Split by key.
    Lock,
    /// Queues, first in first out. Split by key.
    Fifo,
    /// Queues that may give any item. Split by key, and by item where nobody found one empty.
    Bag,
    /// Many keys under transactions. Split where no transaction ties keys together and no answer has a revision.
    Store,
}

/// Entries that no object has together.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ObjectError {
    /// The object has no such operation.
    #[error("{object} has no such operation: {entry}")]
    WrongOperation {
        /// Which object.
        object: Object,
        /// The first such entry.
        entry: String,
    },
    /// In a store, a key holds either a value or a list.
    #[error("key {key} is used both as a value and as a list")]
    TwoKinds {
        /// Which key.
        key: String,
    },
}

impl Object {
    /// The narrowest object that has all operations of `history`; a queue is taken to be first in first out, and an empty history
    /// one of registers.
    ///
    /// # Errors
    /// If no object has all of them.
    pub fn of(history: &History) -> Result<Object, ObjectError> {
        let narrow = history.entries().next().map_or(Object::Register, |entry| narrowest(&entry.operation));
        let all = [narrow, Object::Store];
        let fits = |object: &&Object| history.entries().all(|entry| object.has(&entry.operation));
        match all.iter().find(fits) {
            Some(object) => Ok(*object),
            None => narrow.check_operations(history).map(|()| narrow),
        }
    }

    /// Whether this object has all operations of `history`.
    ///
    /// # Errors
    /// The first that it does not have; or a key that is used in two ways that do not go together.
    pub fn check_operations(self, history: &History) -> Result<(), ObjectError> {
        match history.entries().find(|entry| !self.has(&entry.operation)) {
            Some(entry) => Err(ObjectError::WrongOperation { object: self, entry: entry.to_string() }),
            None if self == Object::Store => match store::key_of_two_kinds(history) {
                Some(key) => Err(ObjectError::TwoKinds { key: key.escape_ascii().to_string() }),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    fn has(self, operation: &Operation) -> bool {
        let own = narrowest(operation);
        own == self
            || (own == Object::Fifo && self == Object::Bag)
            || (self == Object::Store && matches!(own, Object::Register | Object::List))
    }

    /// The history's parts. Each is linearizable for itself, or the whole is not. Operations that the object does not have
    /// are left out; [`Object::check_operations`] finds them.
    pub(crate) fn parts<'a>(self, history: &'a History) -> Vec<Part<'a>> {
        match self {
            Object::Store => store::parts(history),
            Object::Bag => bag::parts(history),
            _ => {
                let part = |(key, entries): (&[u8], &'a [Entry])| Part {
                    name: key.to_vec(),
                    entries: entries.iter().collect(),
                };
                history.by_key().map(part).collect()
            }
        }
    }

    /// Searches one part.
    pub(crate) fn linearize(self, entries: &[&Entry], effort: &mut Effort<'_>) -> Linearization {
        match self {
            Object::Register => linearize_with(&Register, &register::calls_of(entries), effort),
            Object::Counter => {
                let (counter, calls) = counter::model_of(entries);
                linearize_with(&counter, &calls, effort)
            }
            Object::Lock => linearize_with(&Lock, &lock::calls_of(entries), effort),
            Object::Bag => linearize_with(&bag::Bag, &bag::calls_of(entries), effort),
            Object::List => {
                let (list, calls) = list::model_of(entries);
                linearize_with(&list, &calls, effort)
            }
            Object::Fifo => {
                let (queue, calls) = fifo::model_of(entries);
                linearize_with(&queue, &calls, effort)
            }
            Object::Store => {
                let (store, calls) = store::model_of(entries);
                linearize_with(&store, &calls, effort)
            }
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}",
            match self {
                Object::Register => "a register",
                Object::List => "a list",
                Object::Counter => "a counter",
                Object::Lock => "a lock",
                Object::Fifo => "a first-in-first-out queue",
                Object::Bag => "an unordered queue",
                Object::Store => "a store with transactions",
            }
        )
    }
}

/// A part of a history that is searched for itself.
#[derive(Clone, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) name: Vec<u8>,
    pub(crate) entries: Vec<&'a Entry>,
}

fn narrowest(operation: &Operation) -> Object {
    match operation {
        Operation::Read { .. }
        | Operation::Write { .. }
        | Operation::Delete { .. }
        | Operation::CompareAndSet { .. } => Object::Register,
        Operation::Append { .. } | Operation::ReadList { .. } => Object::List,
        Operation::Add { .. } | Operation::ReadCounter { .. } => Object::Counter,
        Operation::Acquire { .. } | Operation::Release { .. } | Operation::Expire { .. } => Object::Lock,
        Operation::Enqueue { .. } | Operation::Dequeue { .. } => Object::Fifo,
        Operation::Transact(_) => Object::Store,
    }
}

/// Groups that were joined pair by pair.
pub(crate) struct Groups<'a> {
    number: BTreeMap<&'a [u8], usize>,
    parent: Vec<usize>,
}

impl<'a> Groups<'a> {
    pub(crate) fn new() -> Groups<'a> {
        Groups { number: BTreeMap::new(), parent: Vec::new() }
    }

    /// Puts these names into one group.
    pub(crate) fn join(&mut self, names: impl Iterator<Item = &'a [u8]>) {
        let mut first = None;
        for name in names {
            let next = self.parent.len();
            let number = *self.number.entry(name).or_insert(next);
            if number == next {
                self.parent.push(number);
            }
            let root = self.root(number);
            let first = *first.get_or_insert(root);
            self.parent[root] = first;
        }
    }

    /// The group of a name that was joined to something, or to nothing.
    pub(crate) fn group(&mut self, name: &[u8]) -> Option<usize> {
        let number = *self.number.get(name)?;
        Some(self.root(number))
    }

    /// The names of each group, ascending.
    pub(crate) fn names(&mut self) -> BTreeMap<usize, BTreeSet<&'a [u8]>> {
        let mut groups: BTreeMap<usize, BTreeSet<&'a [u8]>> = BTreeMap::new();
        let numbers: Vec<(&'a [u8], usize)> = self.number.iter().map(|(name, number)| (*name, *number)).collect();
        for (name, number) in numbers {
            groups.entry(self.root(number)).or_default().insert(name);
        }
        groups
    }

    fn root(&mut self, mut number: usize) -> usize {
        while self.parent[number] != number {
            self.parent[number] = self.parent[self.parent[number]];
            number = self.parent[number];
        }
        number
    }
}
