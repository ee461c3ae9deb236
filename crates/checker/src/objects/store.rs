//! Many keys under transactions, with etcd's revisions.

use super::numbers::Numbers;
use super::{Groups, Part};
use crate::history::{Entry, History, Operation};
use crate::model::{Call, Model};
use crate::transaction::{Compare, Relation, Step, Target, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// A store of one part of the keys.
///
/// A list is, as for lists by themselves, how far it has come towards the longest read of it.
pub(crate) struct Store {
    keys: usize,
    /// Whether anything that was seen depends on revisions. If not they are left at zero, so that states that nobody can tell
    /// apart are one.
    counts_revisions: bool,
    /// For each key the elements of the longest read.
    longest: Vec<Vec<u32>>,
}

/// What one key holds. All zero: it does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Held {
    /// A value by number, or for a list how many elements.
    value: u32,
    created: u64,
    modified: u64,
    version: u64,
}

/// All keys of a part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StoreState {
    revision: u64,
    held: Vec<Held>,
}

/// A transaction with keys and values by number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Transacted {
    compares: Vec<(usize, Relation, NumberedTarget)>,
    success: Vec<NumberedStep>,
    failure: Vec<NumberedStep>,
    succeeded: Option<bool>,
    revision: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum NumberedTarget {
    /// Stands for version, creation and modification compared with 0, which tell whether the key exists.
    Existence,
    Value(u32),
    Created(u64),
    Modified(u64),
    Version(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum NumberedStep {
    Get { key: usize, found: Option<u32> },
    Put { key: usize, value: u32 },
    Delete { key: usize, existed: Option<bool> },
    Append { key: usize, element: u32 },
    List { key: usize, found: Seen },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Seen {
    Nothing,
    /// The first so many elements of the longest read.
    First(u32),
    /// What is no prefix of the longest read.
    Another,
}

/// A key that does not exist.
const ABSENT: u32 = 0;

/// An element that nobody read.
const UNREAD: u32 = 0;

/// The revision of an etcd store in which nothing was written.
const FIRST_REVISION: u64 = 1;

impl Model for Store {
    type State = StoreState;
    type Operation = Transacted;

    fn initial(&self) -> StoreState {
        let revision = if self.counts_revisions { FIRST_REVISION } else { 0 };
        StoreState { revision, held: vec![Held::default(); self.keys] }
    }

    fn step(&self, state: &StoreState, operation: &Transacted) -> Option<StoreState> {
        // Cheap, and refuses nearly all that do not fit.
        if operation.revision.is_some_and(|seen| seen < state.revision || seen - state.revision > 1) {
            return None;
        }
        let holds = operation.compares.iter().all(|compare| compares(state, compare));
        if operation.succeeded.is_some_and(|succeeded| succeeded != holds) {
            return None;
        }
        let steps = if holds { &operation.success } else { &operation.failure };
        let mut doing = Doing { store: self, state, changed: Vec::new(), wrote: false };
        if !steps.iter().all(|step| doing.step(*step)) {
            return None;
        }
        let (changed, wrote) = (doing.changed, doing.wrote && self.counts_revisions);
        let revision = state.revision + u64::from(wrote);
        if operation.revision.is_some_and(|seen| seen != revision) {
            return None;
        }
        let mut next = StoreState { revision, held: state.held.clone() };
        changed.into_iter().for_each(|(key, held)| next.held[key] = held);
        Some(next)
    }

    fn without_answer(&self, operation: &Transacted) -> Transacted {
        let forget = |steps: &[NumberedStep]| steps.iter().map(|step| step.without_answer()).collect();
        Transacted {
            compares: operation.compares.clone(),
            success: forget(&operation.success),
            failure: forget(&operation.failure),
            succeeded: None,
            revision: None,
        }
    }

    fn changes_nothing(&self, operation: &Transacted) -> bool {
        operation.success.iter().chain(&operation.failure).all(|step| step.only_reads())
    }

    fn overwrites(&self, operation: &Transacted) -> bool {
        let puts = |step: &NumberedStep| matches!(step, NumberedStep::Put { .. });
        let keys = || operation.success.iter().map(NumberedStep::key).collect::<BTreeSet<usize>>();
        operation.compares.is_empty()
            && operation.succeeded != Some(false)
            && !self.counts_revisions
            && operation.success.len() >= self.keys
            && operation.success.iter().all(puts)
            && keys().len() == self.keys
    }

    /// A fact is a key and what it holds. A length that a list had never comes back.
    fn needs(&self, operation: &Transacted, facts: &mut Vec<u64>) {
        let compared = operation.compares.iter().filter(|_| operation.succeeded == Some(true));
        facts.extend(compared.filter_map(|(key, relation, target)| match (relation, target) {
            (Relation::Equal, NumberedTarget::Value(value)) => Some(fact(*key, *value)),
            (Relation::Equal, NumberedTarget::Existence) => Some(fact(*key, ABSENT)),
            _ => None,
        }));
        let steps = match operation.succeeded {
            Some(false) => &operation.failure,
            Some(true) => &operation.success,
            None if operation.compares.is_empty() => &operation.success,
            None => return,
        };
        // What it reads of its own writes needs nothing.
        let before_writes = steps.iter().take_while(|step| step.only_reads());
        facts.extend(before_writes.filter_map(|step| match *step {
            NumberedStep::Get { key, found: Some(value) } => Some(fact(key, value)),
            NumberedStep::List { key, found: Seen::First(length) } => Some(fact(key, length)),
            _ => None,
        }));
    }

    fn brings(&self, operation: &Transacted, facts: &mut Vec<u64>) {
        facts.extend(operation.success.iter().chain(&operation.failure).filter_map(|step| match *step {
            NumberedStep::Put { key, value } => Some(fact(key, value)),
            NumberedStep::Delete { key, .. } => Some(fact(key, ABSENT)),
            _ => None,
        }));
    }

    fn ended(&self, before: &StoreState, after: &StoreState, facts: &mut Vec<u64>) {
        let pairs = before.held.iter().zip(&after.held).enumerate();
        facts
            .extend(pairs.filter(|(_, (old, new))| old.value != new.value).map(|(key, (old, _))| fact(key, old.value)));
    }

    fn holds(&self, state: &StoreState, fact: u64) -> bool {
        state
            .held
            .get((fact >> u32::BITS) as usize)
            .is_none_or(|held| u64::from(held.value) == fact & u64::from(u32::MAX))
    }

    fn height(&self, state: &StoreState) -> u64 {
        state.revision
    }

    fn limit(&self, operation: &Transacted) -> u64 {
        operation.revision.unwrap_or(u64::MAX)
    }

    /// Where revisions were seen they are the order.
    fn urgency(&self, operation: &Transacted) -> u64 {
        operation.revision.unwrap_or(0)
    }

    fn heap_bytes(&self, state: &StoreState) -> usize {
        size_of_val(state.held.as_slice())
    }
}

fn fact(key: usize, value: u32) -> u64 {
    (key as u64) << u32::BITS | u64::from(value)
}

fn compares(state: &StoreState, (key, relation, target): &(usize, Relation, NumberedTarget)) -> bool {
    let held = state.held[*key];
    match *target {
        NumberedTarget::Existence => relation.holds(&u32::from(held.value != ABSENT), &0),
        NumberedTarget::Value(value) => held.value != ABSENT && relation.holds(&held.value, &value),
        NumberedTarget::Created(revision) => relation.holds(&held.created, &revision),
        NumberedTarget::Modified(revision) => relation.holds(&held.modified, &revision),
        NumberedTarget::Version(version) => relation.holds(&held.version, &version),
    }
}

/// A transaction being done: what it has changed so far, over the state it began in.
struct Doing<'a> {
    store: &'a Store,
    state: &'a StoreState,
    changed: Vec<(usize, Held)>,
    wrote: bool,
}

impl Doing<'_> {
    fn held(&self, key: usize) -> Held {
        let changed = self.changed.iter().rev().find(|(changed, _)| *changed == key);
        changed.map_or(self.state.held[key], |(_, held)| *held)
    }

    fn write(&mut self, key: usize, value: u32) {
        self.wrote = true;
        if !self.store.counts_revisions {
            self.changed.push((key, Held { value, ..Held::default() }));
            return;
        }
        let revision = self.state.revision + 1;
        let before = self.held(key);
        let created = if before.version == 0 { revision } else { before.created };
        self.changed.push((key, Held { value, created, modified: revision, version: before.version + 1 }));
    }

    /// Whether it could answer so.
    fn step(&mut self, step: NumberedStep) -> bool {
        match step {
            NumberedStep::Get { key, found } => found.is_none_or(|found| found == self.held(key).value),
            NumberedStep::Put { key, value } => {
                self.write(key, value);
                true
            }
            NumberedStep::Delete { key, existed } => {
                let exists = self.held(key).value != ABSENT;
                if exists {
                    self.wrote = true;
                    self.changed.push((key, Held::default()));
                }
                existed.is_none_or(|existed| existed == exists)
            }
            NumberedStep::Append { key, element } => {
                let (length, longest) = (self.held(key).value, &self.store.longest[key]);
                let (fits, length) = match longest.get(length as usize) {
                    Some(expected) => (*expected == element, length + 1),
                    None => (true, longest.len() as u32 + 1),
                };
                self.write(key, length);
                fits
            }
            NumberedStep::List { key, found } => match found {
                Seen::Nothing => true,
                Seen::First(length) => length == self.held(key).value,
                Seen::Another => false,
            },
        }
    }
}

impl NumberedStep {
    fn key(&self) -> usize {
        match *self {
            NumberedStep::Get { key, .. }
            | NumberedStep::Put { key, .. }
            | NumberedStep::Delete { key, .. }
            | NumberedStep::Append { key, .. }
            | NumberedStep::List { key, .. } => key,
        }
    }

    fn only_reads(self) -> bool {
        matches!(self, NumberedStep::Get { .. } | NumberedStep::List { .. })
    }

    fn without_answer(self) -> NumberedStep {
        match self {
            NumberedStep::Get { key, .. } => NumberedStep::Get { key, found: None },
            NumberedStep::Delete { key, .. } => NumberedStep::Delete { key, existed: None },
            NumberedStep::List { key, .. } => NumberedStep::List { key, found: Seen::Nothing },
            NumberedStep::Put { .. } | NumberedStep::Append { .. } => self,
        }
    }
}

/// An entry as a transaction; `None` if no store has such an operation.
pub(crate) fn transaction_of(entry: &Entry) -> Option<Transaction> {
    let key = || entry.key.clone();
    let transaction = match &entry.operation {
        Operation::Transact(transaction) => transaction.clone(),
        Operation::Read { found } => Transaction::of_steps(vec![Step::Get { key: key(), found: Some(found.clone()) }]),
        Operation::Write { value } => Transaction::of_steps(vec![Step::Put { key: key(), value: value.clone() }]),
        Operation::Delete { existed } => Transaction::of_steps(vec![Step::Delete { key: key(), existed: *existed }]),
        Operation::CompareAndSet { expected, value, succeeded } => {
            let target = match expected {
                Some(expected) => Target::Value(expected.clone()),
                None => Target::Version(0),
            };
            let compares = vec![Compare { key: key(), target, relation: Relation::Equal }];
            let success = vec![Step::Put { key: key(), value: value.clone() }];
            Transaction { compares, success, succeeded: *succeeded, ..Transaction::default() }
        }
        Operation::Append { value } => Transaction::of_steps(vec![Step::Append { key: key(), value: value.clone() }]),
        Operation::ReadList { found } => {
            Transaction::of_steps(vec![Step::List { key: key(), found: Some(found.clone()) }])
        }
        _ => return None,
    };
    Some(transaction)
}

/// A key that is used as a value and as a list. Lists are only ever appended to and read, so that their lengths never come back.
pub(crate) fn key_of_two_kinds(history: &History) -> Option<Vec<u8>> {
    let mut kinds: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
    let transactions: Vec<Transaction> = history.entries().filter_map(transaction_of).collect();
    let steps = transactions.iter().flat_map(Transaction::steps);
    steps.into_iter().find_map(|step| {
        let is_list = matches!(step, Step::Append { .. } | Step::List { .. });
        let before = kinds.insert(step.key().to_vec(), is_list);
        before.is_some_and(|before| before != is_list).then(|| step.key().to_vec())
    })
}

/// Keys that a transaction names together stay together; all keys do if somebody saw a revision, which counts them all.
pub(crate) fn parts(history: &History) -> Vec<Part<'_>> {
    let transactions: Vec<(Transaction, &Entry)> =
        history.entries().filter_map(|entry| Some((transaction_of(entry)?, entry))).collect();
    let mut groups = Groups::new();
    transactions.iter().for_each(|(transaction, _)| groups.join(transaction.keys()));
    if transactions.iter().any(|(transaction, entry)| tells_revision(transaction, entry)) {
        groups.join(transactions.iter().flat_map(|(transaction, _)| transaction.keys()));
    }
    let mut entries: BTreeMap<usize, Vec<&Entry>> = BTreeMap::new();
    for (transaction, entry) in &transactions {
        // One that names no key can only tell the revision; it belongs to whatever part there is.
        let group = transaction.keys().next().and_then(|key| groups.group(key)).unwrap_or(0);
        entries.entry(group).or_default().push(entry);
    }
    let names = groups.names();
    let name = |group: &usize| {
        names.get(group).map_or(Vec::new(), |keys| keys.iter().copied().collect::<Vec<_>>().join(&b", "[..]))
    };
    entries.into_iter().map(|(group, entries)| Part { name: name(&group), entries }).collect()
}

fn tells_revision(transaction: &Transaction, entry: &Entry) -> bool {
    let compared = |compare: &Compare| matches!(compare.target, Target::CreateRevision(1..) | Target::ModRevision(1..));
    (transaction.revision.is_some() && entry.ret.is_some()) || transaction.compares.iter().any(compared)
}

/// Whether it asks for anything that only exists with revisions.
fn needs_revisions(transaction: &Transaction, entry: &Entry) -> bool {
    let compared = |compare: &Compare| {
        matches!(compare.target, Target::CreateRevision(1..) | Target::ModRevision(1..) | Target::Version(1..))
    };
    (transaction.revision.is_some() && entry.ret.is_some()) || transaction.compares.iter().any(compared)
}

pub(crate) fn model_of(entries: &[&Entry]) -> (Store, Vec<Call<Transacted>>) {
    let transactions: Vec<(Transaction, &Entry)> =
        entries.iter().filter_map(|entry| Some((transaction_of(entry)?, *entry))).collect();
    let mut numbering = Numbering::of(&transactions);
    let calls = transactions.iter().map(|(transaction, entry)| Call {
        called_at: entry.call,
        returned_at: entry.ret,
        operation: numbering.transacted(transaction, entry.ret.is_some()),
    });
    let calls = calls.collect();
    let counts_revisions = transactions.iter().any(|(transaction, entry)| needs_revisions(transaction, entry));
    let longest = numbering
        .longest
        .iter()
        .map(|list| list.iter().map(|element| numbering.elements[element.as_slice()]).collect());
    (Store { keys: numbering.keys.len(), counts_revisions, longest: longest.collect() }, calls)
}

/// Keys, values and list elements by number.
struct Numbering<'a> {
    keys: Numbers<'a>,
    /// Ascending as the values, so that numbers compare as values do.
    values: BTreeMap<&'a [u8], u32>,
    elements: BTreeMap<&'a [u8], u32>,
    longest: Vec<&'a [Vec<u8>]>,
}

impl<'a> Numbering<'a> {
    fn of(transactions: &'a [(Transaction, &Entry)]) -> Numbering<'a> {
        let mut keys = Numbers::from(0);
        let mut longest: Vec<&[Vec<u8>]> = Vec::new();
        let mut values: BTreeSet<&[u8]> = BTreeSet::new();
        for (transaction, entry) in transactions {
            transaction.keys().for_each(|key| _ = keys.number(key));
            longest.resize(keys.len(), &[]);
            for compare in &transaction.compares {
                if let Target::Value(value) = &compare.target {
                    values.insert(value);
                }
            }
            for step in transaction.steps() {
                let key = keys.number(step.key()) as usize;
                match step {
                    Step::Put { value, .. } | Step::Get { found: Some(Some(value)), .. } => _ = values.insert(value),
                    Step::List { found: Some(found), .. }
                        if entry.ret.is_some() && found.len() > longest[key].len() =>
                    {
                        longest[key] = found;
                    }
                    _ => {}
                }
            }
        }
        let mut elements = BTreeMap::new();
        for element in longest.iter().flat_map(|list| list.iter()) {
            let next = elements.len() as u32 + UNREAD + 1;
            elements.entry(element.as_slice()).or_insert(next);
        }
        let values = values.into_iter().zip(ABSENT + 1..).collect();
        Numbering { keys, values, elements, longest }
    }

    fn key(&mut self, key: &'a [u8]) -> usize {
        self.keys.number(key) as usize
    }

    fn transacted(&mut self, transaction: &'a Transaction, answered: bool) -> Transacted {
        let compares = transaction.compares.iter().map(|compare| {
            let target = match &compare.target {
                Target::Value(value) => NumberedTarget::Value(self.values[value.as_slice()]),
                Target::CreateRevision(0) | Target::ModRevision(0) | Target::Version(0) => NumberedTarget::Existence,
                Target::CreateRevision(revision) => NumberedTarget::Created(*revision),
                Target::ModRevision(revision) => NumberedTarget::Modified(*revision),
                Target::Version(version) => NumberedTarget::Version(*version),
            };
            (self.key(&compare.key), compare.relation, target)
        });
        Transacted {
            compares: compares.collect(),
            success: transaction.success.iter().map(|step| self.step(step, answered)).collect(),
            failure: transaction.failure.iter().map(|step| self.step(step, answered)).collect(),
            succeeded: transaction.succeeded.filter(|_| answered),
            revision: transaction.revision.filter(|_| answered),
        }
    }

    fn step(&mut self, step: &'a Step, answered: bool) -> NumberedStep {
        let key = self.key(step.key());
        match step {
            Step::Get { found, .. } => {
                let number = |found: &Option<Vec<u8>>| found.as_deref().map_or(ABSENT, |value| self.values[value]);
                NumberedStep::Get { key, found: found.as_ref().filter(|_| answered).map(number) }
            }
            Step::Put { value, .. } => NumberedStep::Put { key, value: self.values[value.as_slice()] },
            Step::Delete { existed, .. } => NumberedStep::Delete { key, existed: existed.filter(|_| answered) },
            Step::Append { value, .. } => {
                let element = self.elements.get(value.as_slice()).copied().unwrap_or(UNREAD);
                NumberedStep::Append { key, element }
            }
            Step::List { found, .. } => {
                let seen = match found.as_ref().filter(|_| answered) {
                    None => Seen::Nothing,
                    Some(found) if self.longest[key].starts_with(found) => Seen::First(found.len() as u32),
                    Some(_) => Seen::Another,
                };
                NumberedStep::List { key, found: seen }
            }
        }
    }
}
