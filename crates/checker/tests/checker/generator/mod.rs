//! Histories that are legal by construction: clients overlap, and each operation takes effect at one instant on a real object.

mod transactions;

use quorate_checker::{Compare, Entry, Object, Operation, Relation, Step, Target, Transaction};
use std::collections::{BTreeMap, VecDeque};
use transactions::Mixed;

/// Numbers that look random and are the same every time (SplitMix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// How a generated history looks.
#[derive(Clone, Debug)]
pub struct Shape {
    pub object: Object,
    pub operations: u64,
    pub keys: u64,
    pub clients: u64,
    /// Different values written; `u64::MAX` for each one its own.
    pub values: u64,
    /// One in so many operations loses its answer; `u64::MAX` for none.
    pub lost_one_in: u64,
    /// Longest time between call and effect, and between effect and return.
    pub longest: u64,
    /// Whether transactions tell revisions.
    pub revisions: bool,
    /// Whether registers see deletes, and compare-and-sets that find another value.
    pub deletes: bool,
    /// Whether a store is asked for everything that it has, see [`Mixed`]. Keys with an odd number hold lists then.
    pub mixed: bool,
}

impl Shape {
    pub fn of(object: Object) -> Shape {
        Shape {
            object,
            operations: 60,
            keys: 1,
            clients: 5,
            values: u64::MAX,
            lost_one_in: u64::MAX,
            longest: 20,
            revisions: false,
            deletes: true,
            mixed: false,
        }
    }
}

/// The client, and its token.
type Holder = (u64, u64);

/// What really is there.
#[derive(Default)]
struct World {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    modified: BTreeMap<Vec<u8>, u64>,
    lists: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    counters: BTreeMap<Vec<u8>, i64>,
    queues: BTreeMap<Vec<u8>, VecDeque<Vec<u8>>>,
    locks: BTreeMap<Vec<u8>, (Option<Holder>, u64)>,
    revision: u64,
}

struct Planned {
    effect: Option<u64>,
    entry: Entry,
}

/// A legal history.
pub fn generate(shape: &Shape, seed: u64) -> Vec<Entry> {
    let mut numbers = Numbers(seed);
    let mut planned = plan(shape, &mut numbers);
    planned.sort_by_key(|one| (one.effect.unwrap_or(u64::MAX), one.entry.call));
    let mut world = World { revision: 1, ..World::default() };
    let mut mixed = Mixed::new();
    let mut entries = Vec::new();
    for (sequence, mut one) in planned.into_iter().enumerate() {
        let happens = one.effect.is_some();
        let sequence = sequence as u64;
        let operation = match shape.mixed {
            true => Some(mixed.perform(shape, &one.entry, sequence, happens, &mut numbers)),
            false => world.perform(shape, &one.entry, sequence, happens, &mut numbers),
        };
        if let Some(operation) = operation {
            one.entry.operation = operation;
            entries.push(one.entry);
        }
    }
    entries.sort_by_key(|entry| entry.call);
    entries
}

/// When who calls, takes effect and returns. A client whose answer is lost goes on under a new number.
fn plan(shape: &Shape, numbers: &mut Numbers) -> Vec<Planned> {
    let mut free_at: Vec<u64> = vec![0; shape.clients as usize];
    let mut names: Vec<u64> = (0..shape.clients).collect();
    let mut next_name = shape.clients;
    let mut planned = Vec::new();
    for _ in 0..shape.operations {
        let slot = (0..shape.clients as usize).min_by_key(|slot| free_at[*slot]).expect("there are clients");
        let call = free_at[slot] + numbers.below(4);
        let effect = call + numbers.below(shape.longest);
        let ret = effect + numbers.below(shape.longest);
        free_at[slot] = ret + 1;
        let lost = shape.lost_one_in != u64::MAX && numbers.below(shape.lost_one_in) == 0;
        let late = effect + numbers.below(shape.longest * 20);
        let effect = if lost { (numbers.below(3) > 0).then_some(late) } else { Some(effect) };
        let key = format!("k{}", numbers.below(shape.keys)).into_bytes();
        let entry = Entry {
            client: names[slot],
            key,
            call,
            ret: (!lost).then_some(ret),
            operation: Operation::Read { found: None },
        };
        planned.push(Planned { effect, entry });
        if lost {
            names[slot] = next_name;
            next_name += 1;
        }
    }
    planned
}

impl World {
    /// What `entry` did and saw, `None` if it was refused for certain.
    fn perform(
        &mut self,
        shape: &Shape,
        entry: &Entry,
        sequence: u64,
        happens: bool,
        numbers: &mut Numbers,
    ) -> Option<Operation> {
        let number = if shape.values == u64::MAX { sequence } else { numbers.below(shape.values) };
        let value = number.to_string().into_bytes();
        let choice = numbers.below(10);
        match shape.object {
            Object::Register => Some(self.register(shape, entry, value, sequence, choice, happens)),
            Object::List => Some(self.list(entry, value, choice, happens)),
            Object::Counter => Some(self.counter(shape, entry, number, choice, happens)),
            Object::Lock => self.lock(entry, choice, happens),
            Object::Fifo | Object::Bag => Some(self.queue(shape, entry, value, choice, happens, numbers)),
            Object::Store => Some(Operation::Transact(self.transact(shape, entry, value, choice, happens, numbers))),
        }
    }

    fn register(
        &mut self,
        shape: &Shape,
        entry: &Entry,
        value: Vec<u8>,
        sequence: u64,
        choice: u64,
        happens: bool,
    ) -> Operation {
        let current = self.values.get(&entry.key).cloned();
        let mut next = current.clone();
        let operation = match choice {
            0..=4 => Operation::Read { found: current },
            5..=7 => {
                next = Some(value.clone());
                Operation::Write { value }
            }
            8 if shape.deletes && sequence.is_multiple_of(2) => {
                next = None;
                Operation::Delete { existed: Some(current.is_some()) }
            }
            _ => {
                let expected =
                    if shape.deletes && sequence.is_multiple_of(3) { Some(b"7".to_vec()) } else { current.clone() };
                let succeeded = expected == current;
                if succeeded {
                    next = Some(value.clone());
                }
                Operation::CompareAndSet { expected, value, succeeded: Some(succeeded) }
            }
        };
        if happens {
            match next {
                Some(value) => self.values.insert(entry.key.clone(), value),
                None => self.values.remove(&entry.key),
            };
        }
        operation
    }

    fn list(&mut self, entry: &Entry, value: Vec<u8>, choice: u64, happens: bool) -> Operation {
        let list = self.lists.entry(entry.key.clone()).or_default();
        if choice < 5 {
            return Operation::ReadList { found: list.clone() };
        }
        if happens {
            list.push(value.clone());
        }
        Operation::Append { value }
    }

    fn counter(&mut self, shape: &Shape, entry: &Entry, number: u64, choice: u64, happens: bool) -> Operation {
        let counter = self.counters.entry(entry.key.clone()).or_default();
        if choice < 4 {
            return Operation::ReadCounter { found: *counter };
        }
        let amount = if shape.values == u64::MAX { (number % 5) as i64 } else { number as i64 - 1 };
        if happens {
            *counter += amount;
        }
        Operation::Add { amount }
    }

    fn lock(&mut self, entry: &Entry, choice: u64, happens: bool) -> Option<Operation> {
        let (holder, last) = self.locks.entry(entry.key.clone()).or_default();
        match *holder {
            None => {
                *last += 1;
                let token = *last;
                if happens {
                    *holder = Some((entry.client, token));
                }
                Some(Operation::Acquire { token: (happens && !choice.is_multiple_of(4)).then_some(token) })
            }
            Some((client, token)) if client == entry.client => {
                if happens {
                    *holder = None;
                }
                Some(Operation::Release { token: choice.is_multiple_of(2).then_some(token) })
            }
            Some((_, token)) if choice == 9 => {
                if happens {
                    *holder = None;
                }
                Some(Operation::Expire { token: Some(token) })
            }
            Some(_) => None,
        }
    }

    fn queue(
        &mut self,
        shape: &Shape,
        entry: &Entry,
        value: Vec<u8>,
        choice: u64,
        happens: bool,
        numbers: &mut Numbers,
    ) -> Operation {
        let queue = self.queues.entry(entry.key.clone()).or_default();
        if choice < 5 {
            if happens {
                queue.push_back(value.clone());
            }
            return Operation::Enqueue { value };
        }
        let at = match shape.object {
            Object::Bag if !queue.is_empty() => numbers.below(queue.len() as u64) as usize,
            _ => 0,
        };
        let found = if happens { queue.remove(at) } else { None };
        Operation::Dequeue { found }
    }

    fn transact(
        &mut self,
        shape: &Shape,
        entry: &Entry,
        value: Vec<u8>,
        choice: u64,
        happens: bool,
        numbers: &mut Numbers,
    ) -> Transaction {
        let mut keys = vec![entry.key.clone(), format!("k{}", numbers.below(shape.keys)).into_bytes()];
        keys.dedup();
        let of = |world: &World, key: &Vec<u8>| world.values.get(key).cloned();
        let mut transaction = Transaction { succeeded: Some(true), ..Transaction::default() };
        let get = |world: &World, key: &Vec<u8>| Step::Get { key: key.clone(), found: Some(of(world, key)) };
        let mut puts: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        match choice {
            0..=3 => transaction.success = keys.iter().map(|key| get(self, key)).collect(),
            4..=6 => {
                for key in &keys {
                    transaction.success.push(Step::Put { key: key.clone(), value: value.clone() });
                    puts.push((key.clone(), value.clone()));
                }
            }
            _ => {
                let current = of(self, &keys[0]);
                let wrong = choice == 9;
                let target = match (&current, shape.revisions) {
                    (Some(_), true) if !wrong => Target::ModRevision(self.modified[&keys[0]]),
                    (Some(current), _) if !wrong => Target::Value(current.clone()),
                    (None, _) if !wrong => Target::Version(0),
                    _ => Target::Value(b"nobody's".to_vec()),
                };
                transaction.compares = vec![Compare { key: keys[0].clone(), target, relation: Relation::Equal }];
                transaction.succeeded = Some(!wrong);
                let last = keys.last().expect("there is one").clone();
                let put = Step::Put { key: last.clone(), value: value.clone() };
                if wrong {
                    transaction.success = vec![put];
                    transaction.failure = vec![get(self, &last)];
                } else {
                    puts.push((last.clone(), value));
                    transaction.success = vec![get(self, &last), put];
                }
            }
        }
        if happens {
            if !puts.is_empty() {
                self.revision += 1;
            }
            for (key, value) in puts {
                self.modified.insert(key.clone(), self.revision);
                self.values.insert(key, value);
            }
        }
        transaction.revision = shape.revisions.then_some(self.revision);
        transaction
    }
}
