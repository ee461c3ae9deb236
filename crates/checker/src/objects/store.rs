//! Many keys under transactions, with etcd's revisions.

mod grown;

use super::numbers::Numbers;
use super::{Groups, Part};
use crate::history::{Entry, History, Operation};
use crate::model::{Call, Model};
use crate::transaction::{Compare, Relation, Step, Target, Transaction};
use grown::{EMPTY, Grown};
use std::collections::{BTreeMap, BTreeSet};

/// A store of one part of the keys.
pub(crate) struct Store {
    keys: usize,
    /// Whether anything that was seen depends on revisions. If not they are left at zero, so that states that nobody can tell
    /// apart are one.
    counts_revisions: bool,
    /// For each key what its list can grow to.
    lists: Vec<Grown>,
}

/// What one key holds. All zero: it does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Held {
    /// A value by number, or a list's state, see [`Grown`].
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
    /// A list in this state.
    State(u32),
    /// What no list can be beside the longest read.
    Another,
}

/// A key that does not exist.
const ABSENT: u32 = EMPTY;

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
        let (then, otherwise) = (operation.success.iter(), operation.failure.iter());
        match operation.succeeded {
            Some(true) => then.cloned().all(NumberedStep::only_reads),
            Some(false) => otherwise.cloned().all(NumberedStep::only_reads),
            None => then.chain(otherwise).cloned().all(NumberedStep::only_reads),
        }
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

    /// A fact is a key and what it holds.
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
            NumberedStep::List { key, found: Seen::State(state) } => Some(fact(key, state)),
            _ => None,
        }));
    }

    fn brings(&self, operation: &Transacted, facts: &mut Vec<u64>) {
        let then = operation.success.iter().filter(|_| operation.succeeded != Some(false));
        let otherwise = operation.failure.iter().filter(|_| operation.succeeded != Some(true));
        for step in then.chain(otherwise) {
            match *step {
                NumberedStep::Put { key, value } => facts.push(fact(key, value)),
                NumberedStep::Delete { key, .. } => facts.push(fact(key, ABSENT)),
                NumberedStep::Append { key, element } => {
                    facts.extend(self.lists[key].led_to(element).iter().map(|state| fact(key, *state)));
                }
                NumberedStep::Get { .. } | NumberedStep::List { .. } => {}
            }
        }
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
                let next = self.store.lists[key].append(self.held(key).value, element);
                next.inspect(|next| self.write(key, *next)).is_some()
            }
            NumberedStep::List { key, found } => match found {
                Seen::Nothing => true,
                Seen::State(state) => state == self.held(key).value,
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
    (Store { keys: numbering.keys.len(), counts_revisions, lists: numbering.lists }, calls)
}

/// Keys, values and list elements by number.
struct Numbering<'a> {
    keys: Numbers<'a>,
    /// Ascending as the values, so that numbers compare as values do.
    values: BTreeMap<&'a [u8], u32>,
    elements: Numbers<'a>,
    /// For each key the longest read that certainly was.
    longest: Vec<&'a [Vec<u8>]>,
    lists: Vec<Grown>,
}

impl<'a> Numbering<'a> {
    fn of(transactions: &'a [(Transaction, &Entry)]) -> Numbering<'a> {
        let mut keys = Numbers::from(0);
        let mut values: BTreeSet<&[u8]> = BTreeSet::new();
        for (transaction, _) in transactions {
            transaction.keys().for_each(|key| _ = keys.number(key));
            for compare in &transaction.compares {
                if let Target::Value(value) = &compare.target {
                    values.insert(value);
                }
            }
            for step in transaction.steps() {
                if let Step::Put { value, .. } | Step::Get { found: Some(Some(value)), .. } = step {
                    values.insert(value);
                }
            }
        }
        let values = values.into_iter().zip(ABSENT + 1..).collect();
        let longest = vec![&[][..]; keys.len()];
        let mut numbering = Numbering { keys, values, elements: Numbers::from(UNREAD + 1), longest, lists: Vec::new() };
        numbering.note_lists(transactions);
        numbering
    }

    /// Takes note of what was read of lists.
    fn note_lists(&mut self, transactions: &'a [(Transaction, &Entry)]) {
        let mut perhaps: Vec<(usize, &[Vec<u8>])> = Vec::new();
        for (transaction, _) in transactions.iter().filter(|(_, entry)| entry.ret.is_some()) {
            let done = transaction.certainly_done();
            for step in done.map_or_else(|| transaction.steps().collect(), |done| done.iter().collect::<Vec<_>>()) {
                let Step::List { key, found: Some(found) } = step else { continue };
                let key = self.key(key);
                if done.is_none() {
                    perhaps.push((key, found));
                } else if found.len() > self.longest[key].len() {
                    self.longest[key] = found;
                }
            }
        }
        for longest in self.longest.clone() {
            let grown = Grown::of(self.numbers(longest));
            self.lists.push(grown);
        }
        for (key, found) in perhaps {
            let read = self.numbers(found);
            self.lists[key].add(&read);
        }
    }

    fn numbers(&mut self, elements: &'a [Vec<u8>]) -> Vec<u32> {
        elements.iter().map(|element| self.elements.number(element)).collect()
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
                let element = self.elements.known(value).unwrap_or(UNREAD);
                NumberedStep::Append { key, element }
            }
            Step::List { found, .. } => {
                let seen = match found.as_ref().filter(|_| answered) {
                    None => Seen::Nothing,
                    // Most are, and this is cheap.
                    Some(found) if self.longest[key].starts_with(found) => Seen::State(found.len() as u32),
                    Some(found) => {
                        let read: Vec<u32> =
                            found.iter().map(|element| self.elements.known(element).unwrap_or(UNREAD)).collect();
                        self.lists[key].state_of(&read).map_or(Seen::Another, Seen::State)
                    }
                };
                NumberedStep::List { key, found: seen }
            }
        }
    }
}
