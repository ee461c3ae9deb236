//! Every object against a slow obvious twin that knows nothing of parts, reductions and shortcuts: it tries every order of all
//! operations on all keys. Legal histories, the same with one thing falsified, and long ones.

use crate::generator::{Numbers, Shape, generate};
use quorate_checker::{
    Budget, Compare, Entry, History, Object, Operation, Relation, Step, Target, Transaction, Verdict, check,
};
use std::collections::{BTreeMap, VecDeque};

/// The client, and its token if that was seen.
type Holder = (u64, Option<u64>);

/// All that there can be, as a person would write it down.
#[derive(Clone, Debug, PartialEq)]
struct World {
    values: BTreeMap<Vec<u8>, Cell>,
    lists: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    counters: BTreeMap<Vec<u8>, i64>,
    queues: BTreeMap<Vec<u8>, VecDeque<Vec<u8>>>,
    locks: BTreeMap<Vec<u8>, (Option<Holder>, u64)>,
    revision: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Cell {
    value: Vec<u8>,
    created: u64,
    modified: u64,
    version: u64,
}

impl World {
    fn new() -> World {
        let (values, lists, counters) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        World { values, lists, counters, queues: BTreeMap::new(), locks: BTreeMap::new(), revision: 1 }
    }

    fn put(&mut self, key: &[u8], value: &[u8], revision: u64) {
        let before = self.values.get(key);
        let (created, version) = before.map_or((revision, 0), |cell| (cell.created, cell.version));
        let cell = Cell { value: value.to_vec(), created, modified: revision, version: version + 1 };
        self.values.insert(key.to_vec(), cell);
    }

    fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.values.get(key).map(|cell| cell.value.clone())
    }

    /// Every world that `entry` can lead to with the answer it had.
    fn after(&self, object: Object, entry: &Entry) -> Vec<World> {
        let mut next = self.clone();
        let (key, seen) = (&entry.key, entry.ret.is_some());
        let revision = self.revision + 1;
        let can = match &entry.operation {
            Operation::Read { found } => !seen || self.value(key) == *found,
            Operation::Write { value } => {
                next.put(key, value, revision);
                next.revision = revision;
                true
            }
            Operation::Delete { existed } => {
                let existed_really = next.values.remove(key).is_some();
                next.revision += u64::from(existed_really);
                !seen || existed.is_none_or(|existed| existed == existed_really)
            }
            Operation::CompareAndSet { expected, value, succeeded } => {
                let equal = self.value(key) == *expected;
                if equal {
                    next.put(key, value, revision);
                    next.revision = revision;
                }
                !seen || succeeded.is_none_or(|succeeded| succeeded == equal)
            }
            Operation::Append { value } => {
                next.lists.entry(key.clone()).or_default().push(value.clone());
                next.revision = revision;
                true
            }
            Operation::ReadList { found } => {
                !seen || self.lists.get(key).map_or(found.is_empty(), |list| list == found)
            }
            Operation::Add { amount } => {
                *next.counters.entry(key.clone()).or_default() += amount;
                true
            }
            Operation::ReadCounter { found } => !seen || self.counters.get(key).copied().unwrap_or(0) == *found,
            Operation::Acquire { .. } | Operation::Release { .. } | Operation::Expire { .. } => {
                return self.lock(entry);
            }
            Operation::Enqueue { value } => {
                next.queues.entry(key.clone()).or_default().push_back(value.clone());
                true
            }
            Operation::Dequeue { found } => return self.dequeue(object, entry, found.as_ref()),
            Operation::Transact(transaction) => next.transact(transaction, seen),
        };
        if can { vec![next] } else { Vec::new() }
    }

    fn lock(&self, entry: &Entry) -> Vec<World> {
        let seen = entry.ret.is_some();
        let mut next = self.clone();
        let (holder, least) = next.locks.entry(entry.key.clone()).or_default();
        let can = match entry.operation {
            Operation::Acquire { token } => {
                let token = token.filter(|_| seen);
                let can = holder.is_none() && token.is_none_or(|token| token >= *least);
                *holder = Some((entry.client, token));
                *least = token.map_or(*least, |token| token + 1);
                can
            }
            Operation::Release { token } | Operation::Expire { token } => {
                let owns = !matches!(entry.operation, Operation::Release { .. });
                let can = holder.is_some_and(|(client, held)| {
                    (owns || client == entry.client)
                        && match (held, token) {
                            (Some(held), Some(token)) => held == token,
                            (None, Some(token)) => token >= *least,
                            _ => true,
                        }
                });
                if let (Some((_, None)), Some(token)) = (*holder, token) {
                    *least = token + 1;
                }
                *holder = None;
                can
            }
            _ => false,
        };
        match (can, seen) {
            (true, _) => vec![next],
            (false, true) => Vec::new(),
            (false, false) => vec![self.clone()],
        }
    }

    fn dequeue(&self, object: Object, entry: &Entry, found: Option<&Vec<u8>>) -> Vec<World> {
        let queue = self.queues.get(&entry.key).cloned().unwrap_or_default();
        let without = |at: usize| {
            let mut next = self.clone();
            next.queues.get_mut(&entry.key).expect("it has items").remove(at);
            next
        };
        let mut takable: Vec<usize> = (0..queue.len()).collect();
        if object == Object::Fifo {
            takable.truncate(1);
        }
        match (entry.ret, found) {
            (Some(_), Some(item)) => takable.into_iter().filter(|at| queue[*at] == *item).map(without).collect(),
            (Some(_), None) if queue.is_empty() => vec![self.clone()],
            (Some(_), None) => Vec::new(),
            (None, _) if queue.is_empty() => vec![self.clone()],
            (None, _) => takable.into_iter().map(without).collect(),
        }
    }

    fn transact(&mut self, transaction: &Transaction, seen: bool) -> bool {
        let holds = transaction.compares.iter().all(|compare| {
            let cell = self.values.get(&compare.key);
            let relate = |have: u64, want: u64| match compare.relation {
                Relation::Equal => have == want,
                Relation::NotEqual => have != want,
                Relation::Less => have < want,
                Relation::Greater => have > want,
            };
            match &compare.target {
                Target::Value(value) => cell.is_some_and(|cell| match compare.relation {
                    Relation::Equal => cell.value == *value,
                    Relation::NotEqual => cell.value != *value,
                    Relation::Less => cell.value < *value,
                    Relation::Greater => cell.value > *value,
                }),
                Target::CreateRevision(want) => relate(cell.map_or(0, |cell| cell.created), *want),
                Target::ModRevision(want) => relate(cell.map_or(0, |cell| cell.modified), *want),
                Target::Version(want) => relate(cell.map_or(0, |cell| cell.version), *want),
            }
        });
        let revision = self.revision + 1;
        let mut wrote = false;
        let steps = if holds { &transaction.success } else { &transaction.failure };
        let mut can = !seen || transaction.succeeded.is_none_or(|succeeded| succeeded == holds);
        for step in steps {
            match step {
                Step::Get { key, found } => {
                    can &= !seen || found.as_ref().is_none_or(|found| *found == self.value(key));
                }
                Step::Put { key, value } => {
                    self.put(key, value, revision);
                    wrote = true;
                }
                Step::Delete { key, existed } => {
                    let existed_really = self.values.remove(key).is_some();
                    wrote |= existed_really;
                    can &= !seen || existed.is_none_or(|existed| existed == existed_really);
                }
                Step::Append { key, value } => {
                    self.lists.entry(key.clone()).or_default().push(value.clone());
                    wrote = true;
                }
                Step::List { key, found } => {
                    let list = self.lists.get(key).cloned().unwrap_or_default();
                    can &= !seen || found.as_ref().is_none_or(|found| *found == list);
                }
            }
        }
        self.revision += u64::from(wrote);
        can && (!seen || transaction.revision.is_none_or(|revision| revision == self.revision))
    }
}

/// Tries everything.
fn twin_accepts(object: Object, world: &World, waiting: &[&Entry]) -> bool {
    if waiting.iter().all(|entry| entry.ret.is_none()) {
        return true;
    }
    (0..waiting.len()).any(|at| {
        let entry = waiting[at];
        if waiting.iter().any(|other| other.ret.is_some_and(|ret| ret < entry.call)) {
            return false;
        }
        let rest: Vec<&Entry> =
            waiting.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, one)| *one).collect();
        world.after(object, entry).iter().any(|next| twin_accepts(object, next, &rest))
    })
}

fn verdict(object: Object, entries: &[Entry]) -> Verdict {
    check(&History::new(entries.to_vec()).expect("generated time goes forward"), object, &Budget::default())
}

/// Falsifies one thing, which may by chance leave the history legal.
fn falsify(entries: &mut Vec<Entry>, numbers: &mut Numbers) {
    let at = numbers.below(entries.len() as u64) as usize;
    let other = numbers.below(entries.len() as u64) as usize;
    match numbers.below(6) {
        // A stale answer, a double dequeue, swapped values: what one saw, another saw, or both each other's.
        0..=1 => {
            let operation = entries[other].operation.clone();
            entries[at].operation = operation;
        }
        2 => {
            let operation = entries[other].operation.clone();
            entries[other].operation = std::mem::replace(&mut entries[at].operation, operation);
        }
        // A lost update.
        3 => _ = entries.remove(at),
        // An answer too early.
        4 => {
            let entry = &mut entries[at];
            entry.ret = entry.ret.map(|_| entry.call);
        }
        _ => phantom(&mut entries[at].operation, numbers),
    }
}

/// An answer that nobody gave.
fn phantom(operation: &mut Operation, numbers: &mut Numbers) {
    let value = numbers.below(4).to_string().into_bytes();
    match operation {
        Operation::Read { found } | Operation::Dequeue { found } => *found = Some(value),
        Operation::Write { value: old } | Operation::Append { value: old } | Operation::Enqueue { value: old } => {
            *old = value
        }
        Operation::Delete { existed } => *existed = existed.map(|existed| !existed),
        Operation::CompareAndSet { succeeded, .. } => *succeeded = succeeded.map(|succeeded| !succeeded),
        Operation::ReadList { found } => found.push(value),
        Operation::Add { amount } => *amount += 1,
        Operation::ReadCounter { found } => *found += 1,
        Operation::Acquire { token } | Operation::Release { token } | Operation::Expire { token } => {
            *token = Some(numbers.below(4));
        }
        Operation::Transact(transaction) => {
            transaction.revision = transaction.revision.map(|revision| revision + numbers.below(2));
            let (then, otherwise) = (transaction.success.iter_mut(), transaction.failure.iter_mut());
            let mut reads: Vec<&mut Step> = then.chain(otherwise).filter(|step| step.only_reads()).collect();
            let at = numbers.below(reads.len().max(1) as u64) as usize;
            match reads.get_mut(at) {
                Some(Step::Get { found, .. }) => *found = Some(Some(value)),
                Some(Step::List { found: Some(found), .. }) if numbers.below(2) == 0 => _ = found.pop(),
                Some(Step::List { found, .. }) => found.get_or_insert_default().push(value),
                _ => transaction.succeeded = transaction.succeeded.map(|succeeded| !succeeded),
            }
        }
    }
}

fn told(entries: &[Entry]) -> String {
    entries.iter().map(|entry| format!("{entry} on {}\n", entry.key.escape_ascii())).collect()
}

/// Whether it asks a list for what lists have, and a value for what values have: the twin keeps them apart.
fn fits_its_key(entry: &Entry) -> bool {
    let is_list = entry.key.last().is_some_and(|digit| digit % 2 == 1);
    match entry.operation {
        Operation::Transact(_) => true,
        Operation::Append { .. } | Operation::ReadList { .. } => is_list,
        _ => !is_list,
    }
}

/// Small histories, legal and falsified, on which the twin has the last word. How many it rejected.
fn agree(shape: &Shape, seeds: u64) -> usize {
    let mut rejected = 0;
    for seed in 0..seeds {
        let mut numbers = Numbers(seed ^ 0xfa15e);
        let mut entries = generate(shape, seed);
        for falsified in 0..3 {
            let waiting: Vec<&Entry> = entries.iter().collect();
            let legal = twin_accepts(shape.object, &World::new(), &waiting);
            assert!(legal || falsified > 0, "generated wrongly: {shape:?} seed {seed}: {}", told(&entries));
            match verdict(shape.object, &entries) {
                Verdict::Linearizable => assert!(legal, "accepted wrongly: {shape:?} seed {seed}: {}", told(&entries)),
                Verdict::Violation { explanation, .. } => {
                    assert!(!legal, "rejected wrongly: {shape:?} seed {seed}: {explanation}\n{}", told(&entries));
                    assert!(!explanation.entries.is_empty(), "nothing is to blame: {}", told(&entries));
                    rejected += 1;
                }
                Verdict::Unknown { why, .. } => panic!("{why}: {}", told(&entries)),
            }
            if entries.is_empty() {
                break;
            }
            falsify(&mut entries, &mut numbers);
            if shape.mixed && !entries.iter().all(fits_its_key) {
                break;
            }
        }
    }
    rejected
}

const OBJECTS: [Object; 7] =
    [Object::Register, Object::List, Object::Counter, Object::Lock, Object::Fifo, Object::Bag, Object::Store];

#[test]
fn every_object_agrees_with_the_twin_on_small_histories() {
    for object in OBJECTS {
        for (values, lost_one_in, keys) in [(u64::MAX, u64::MAX, 1), (3, 4, 1), (u64::MAX, 4, 2), (2, u64::MAX, 2)] {
            let shape =
                Shape { operations: 7, clients: 3, values, lost_one_in, keys, longest: 12, ..Shape::of(object) };
            let rejected = agree(&shape, 250);
            assert!(rejected > 40, "{shape:?}: only {rejected} histories were wrong");
        }
    }
    let store = Shape { operations: 7, clients: 3, keys: 3, longest: 12, revisions: true, ..Shape::of(Object::Store) };
    assert!(agree(&store, 400) > 100);
    assert!(agree(&Shape { values: 2, lost_one_in: 4, ..store }, 400) > 100);
}

/// Transactions that read and append in one, several keys, both branches, answers that say less, and none.
#[test]
fn transactions_of_every_shape_agree_with_the_twin() {
    let mixed = Shape { mixed: true, operations: 7, clients: 4, longest: 8, ..Shape::of(Object::Store) };
    for (values, lost_one_in, keys) in [(u64::MAX, u64::MAX, 2), (u64::MAX, 4, 4), (2, u64::MAX, 3), (2, 4, 2)] {
        for revisions in [false, true] {
            let shape = Shape { values, lost_one_in, keys, revisions, ..mixed.clone() };
            let rejected = agree(&shape, 500);
            assert!(rejected > 100, "{shape:?}: only {rejected} histories were wrong");
        }
    }
}

/// Queues are decided by sorting, so many small ones are tried.
#[test]
fn queues_whose_items_differ_agree_with_the_twin() {
    for object in [Object::Fifo, Object::Bag] {
        for (operations, clients, lost_one_in, longest) in
            [(7, 3, u64::MAX, 12), (8, 4, 3, 12), (8, 2, u64::MAX, 4), (7, 5, 4, 3)]
        {
            let shape = Shape { operations, clients, lost_one_in, longest, ..Shape::of(object) };
            let rejected = agree(&shape, 1_500);
            assert!(rejected > 100, "{shape:?}: only {rejected} histories were wrong");
        }
    }
}

fn transaction(client: u64, call: u64, ret: u64, transaction: Transaction) -> Entry {
    let ret = Some(ret);
    Entry { client, key: Vec::new(), call, ret, operation: Operation::Transact(transaction) }
}

fn append(value: &str) -> Step {
    Step::Append { key: b"k".to_vec(), value: value.into() }
}

fn list(found: &[&str]) -> Step {
    Step::List { key: b"k".to_vec(), found: Some(found.iter().map(|element| element.as_bytes().to_vec()).collect()) }
}

/// What an append brings was left out, so that a read that returned first seemed to be out of reach.
#[test]
fn a_transaction_reads_what_one_that_returns_later_appended() {
    let entries = [
        transaction(1, 0, 10, Transaction::of_steps(vec![append("1"), list(&["1"])])),
        transaction(2, 1, 5, Transaction::of_steps(vec![list(&["1"])])),
        transaction(3, 2, 6, Transaction::of_steps(vec![list(&["1"]), append("2")])),
        transaction(2, 6, 7, Transaction::of_steps(vec![list(&["1", "2"])])),
    ];
    assert_eq!(verdict(Object::Store, &entries), Verdict::Linearizable);
}

/// What it seems to have read there was taken for the list's beginning.
#[test]
fn what_stands_in_a_branch_that_was_not_taken_was_not_read() {
    let missing =
        |value: &str| Compare { key: b"v".to_vec(), target: Target::Value(value.into()), relation: Relation::Equal };
    let branches = |succeeded| Transaction {
        compares: vec![missing("1")],
        success: vec![list(&["never", "was"])],
        failure: vec![append("1"), list(&["1"])],
        succeeded,
        ..Transaction::default()
    };
    for succeeded in [None, Some(false)] {
        let reads = transaction(2, 3, 4, Transaction::of_steps(vec![list(&["1"])]));
        let entries = [transaction(1, 0, 2, branches(succeeded)), reads];
        assert_eq!(verdict(Object::Store, &entries), Verdict::Linearizable);
    }
    let entries = [transaction(1, 0, 2, branches(Some(true)))];
    assert!(matches!(verdict(Object::Store, &entries), Verdict::Violation { .. }));
}

#[test]
fn long_histories_of_every_object_are_accepted() {
    for object in OBJECTS {
        for seed in 0..6 {
            let lost_one_in = if seed % 2 == 0 { u64::MAX } else { 20 };
            let shape =
                Shape { operations: 300, keys: 1 + seed % 3, clients: 2 + seed * 2, lost_one_in, ..Shape::of(object) };
            assert_eq!(verdict(object, &generate(&shape, seed)), Verdict::Linearizable, "{shape:?} seed {seed}");
        }
    }
}
