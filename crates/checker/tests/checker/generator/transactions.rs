//! What a store with transactions is asked and answers: values and lists, several steps, both branches, answers that say less.

use super::{Numbers, Shape};
use quorate_checker::{Compare, Entry, Operation, Relation, Step, Target, Transaction};
use std::collections::BTreeMap;

#[derive(Clone, Default)]
struct Cell {
    value: Vec<u8>,
    created: u64,
    modified: u64,
    version: u64,
}

/// What really is there. Keys with an odd number hold lists, the others values.
#[derive(Clone)]
pub struct Mixed {
    cells: BTreeMap<Vec<u8>, Cell>,
    lists: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    revision: u64,
}

impl Mixed {
    pub fn new() -> Mixed {
        Mixed { cells: BTreeMap::new(), lists: BTreeMap::new(), revision: 1 }
    }

    /// What `entry` asks, with what is answered if it happens.
    pub fn perform(
        &mut self,
        shape: &Shape,
        entry: &Entry,
        sequence: u64,
        happens: bool,
        numbers: &mut Numbers,
    ) -> Operation {
        let before = self.clone();
        let operation = match numbers.below(5) {
            0 => self.plain(shape, &entry.key, sequence, numbers),
            _ => Operation::Transact(self.transact(shape, sequence, numbers)),
        };
        if !happens {
            *self = before;
        }
        operation
    }

    /// An operation of a register or a list, on a key of its kind.
    fn plain(&mut self, shape: &Shape, key: &[u8], sequence: u64, numbers: &mut Numbers) -> Operation {
        let mut step = asked(shape, key, sequence * 10, numbers);
        self.revision += u64::from(self.answer(&mut step, self.revision + 1, &mut Numbers(u64::MAX)));
        match step {
            Step::Get { found, .. } => Operation::Read { found: found.flatten() },
            Step::Put { value, .. } => Operation::Write { value },
            Step::Delete { existed, .. } => Operation::Delete { existed },
            Step::Append { value, .. } => Operation::Append { value },
            Step::List { found, .. } => Operation::ReadList { found: found.unwrap_or_default() },
        }
    }

    fn transact(&mut self, shape: &Shape, sequence: u64, numbers: &mut Numbers) -> Transaction {
        let count = [0, 0, 0, 1, 1, 2][numbers.below(6) as usize];
        let compares: Vec<Compare> = (0..count).map(|_| self.compare(shape, numbers)).collect();
        let mut steps = |most: u64, first: u64| -> Vec<Step> {
            let count = numbers.below(most) + u64::from(first == 0);
            let step = |at| {
                let key = key(numbers.below(shape.keys));
                asked(shape, &key, sequence * 10 + first + at, numbers)
            };
            (0..count).map(step).collect()
        };
        let mut success = steps(3, 0);
        let mut failure = if compares.is_empty() { Vec::new() } else { steps(3, 5) };
        let holds = compares.iter().all(|compare| self.holds(compare));
        let revision = self.revision + 1;
        let mut wrote = false;
        for step in if holds { &mut success } else { &mut failure } {
            wrote |= self.answer(step, revision, numbers);
        }
        self.revision += u64::from(wrote);
        Transaction {
            compares,
            success,
            failure,
            succeeded: (numbers.below(4) > 0).then_some(holds),
            revision: (shape.revisions && numbers.below(4) > 0).then_some(self.revision),
        }
    }

    /// One that holds, more often than not.
    fn compare(&self, shape: &Shape, numbers: &mut Numbers) -> Compare {
        let key = key(2 * numbers.below(shape.keys.div_ceil(2)));
        let cell = self.cells.get(&key).cloned().unwrap_or_default();
        let off = u64::from(numbers.below(4) == 0);
        let target = match (numbers.below(if shape.revisions { 5 } else { 3 }), off) {
            (0, _) => Target::Version(0),
            (1 | 2, 0) => Target::Value(cell.value),
            (1 | 2, _) => Target::Value(b"1".to_vec()),
            (3, _) => Target::ModRevision(cell.modified + off),
            _ if numbers.below(2) == 0 => Target::CreateRevision(cell.created + off),
            _ => Target::Version(cell.version + off),
        };
        let relation = match numbers.below(8) {
            0 => Relation::NotEqual,
            1 => Relation::Less,
            2 => Relation::Greater,
            _ => Relation::Equal,
        };
        Compare { key, target, relation }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let cell = self.cells.get(&compare.key);
        let stands = |order: std::cmp::Ordering| match compare.relation {
            Relation::Equal => order.is_eq(),
            Relation::NotEqual => order.is_ne(),
            Relation::Less => order.is_lt(),
            Relation::Greater => order.is_gt(),
        };
        match &compare.target {
            Target::Value(value) => cell.is_some_and(|cell| stands(cell.value.cmp(value))),
            Target::CreateRevision(wanted) => stands(cell.map_or(0, |cell| cell.created).cmp(wanted)),
            Target::ModRevision(wanted) => stands(cell.map_or(0, |cell| cell.modified).cmp(wanted)),
            Target::Version(wanted) => stands(cell.map_or(0, |cell| cell.version).cmp(wanted)),
        }
    }

    /// Does a step, and notes what it saw, mostly. Whether it wrote.
    fn answer(&mut self, step: &mut Step, revision: u64, numbers: &mut Numbers) -> bool {
        let tells = numbers.below(6) > 0;
        match step {
            Step::Get { key, found } => {
                *found = tells.then(|| self.cells.get(key).map(|cell| cell.value.clone()));
                false
            }
            Step::List { key, found } => {
                *found = tells.then(|| self.lists.get(key).cloned().unwrap_or_default());
                false
            }
            Step::Put { key, value } => {
                let cell = self.cells.entry(key.clone()).or_default();
                let created = if cell.version == 0 { revision } else { cell.created };
                *cell = Cell { value: value.clone(), created, modified: revision, version: cell.version + 1 };
                true
            }
            Step::Delete { key, existed } => {
                let existed_really = self.cells.remove(key).is_some();
                *existed = tells.then_some(existed_really);
                existed_really
            }
            Step::Append { key, value } => {
                self.lists.entry(key.clone()).or_default().push(value.clone());
                true
            }
        }
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("k{number}").into_bytes()
}

/// A step as it is asked; what a branch that is not taken seems to have seen is of no account.
fn asked(shape: &Shape, key: &[u8], unique: u64, numbers: &mut Numbers) -> Step {
    let key = key.to_vec();
    let number = if shape.values == u64::MAX { unique } else { numbers.below(shape.values) };
    let value = number.to_string().into_bytes();
    let holds_a_list = key.last().is_some_and(|digit| digit % 2 == 1);
    match (holds_a_list, numbers.below(8)) {
        (true, 0..=3) => Step::List { key, found: Some(vec![value]) },
        (true, _) => Step::Append { key, value },
        (false, 0..=3) => Step::Get { key, found: Some(Some(value)) },
        (false, 4) => Step::Delete { key, existed: Some(true) },
        (false, _) => Step::Put { key, value },
    }
}
