//! Long histories of a register that is atomic by construction are accepted; the same with one answer
//! falsified are not.

use quorate_checker::{Budget, Entry, History, Object, Operation, Verdict, check};
use std::collections::BTreeMap;

/// Numbers that look random and are the same every time (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// How a simulated history looks.
struct Shape {
    operations: u64,
    keys: u64,
    clients: u64,
    /// One in so many operations loses its answer.
    lost_one_in: u64,
}

fn key_of(number: u64) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

/// Clients call one operation after another; each takes effect on a real map at one instant between call and
/// return. Those whose answer is lost take effect late or never, and their client goes on under a new number.
fn simulate(shape: &Shape, seed: u64) -> Vec<Entry> {
    let mut numbers = Numbers(seed);
    let mut planned = Vec::new();
    let mut free_at: Vec<u64> = vec![0; shape.clients as usize];
    let mut next_client = shape.clients;
    let mut names: Vec<u64> = (0..shape.clients).collect();
    for sequence in 0..shape.operations {
        let slot = numbers.below(shape.clients) as usize;
        let call = free_at[slot] + numbers.below(5);
        let effect = call + numbers.below(20);
        let ret = effect + numbers.below(20);
        free_at[slot] = ret + 1;
        let lost = numbers.below(shape.lost_one_in) == 0;
        let late = effect + numbers.below(400);
        let effect = if lost { (numbers.below(3) > 0).then_some(late) } else { Some(effect) };
        let key = key_of(numbers.below(shape.keys));
        let choice = numbers.below(10);
        planned.push((
            effect,
            sequence,
            choice,
            Entry {
                client: names[slot],
                key,
                call,
                ret: (!lost).then_some(ret),
                operation: Operation::Read { found: None },
            },
        ));
        if lost {
            names[slot] = next_client;
            next_client += 1;
        }
    }
    planned.sort_by_key(|(effect, sequence, ..)| (effect.unwrap_or(u64::MAX), *sequence));
    let mut store: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    planned
        .into_iter()
        .map(|(effect, sequence, choice, entry)| perform(&mut store, effect, sequence, choice, entry))
        .collect()
}

fn perform(
    store: &mut BTreeMap<Vec<u8>, Vec<u8>>,
    effect: Option<u64>,
    sequence: u64,
    choice: u64,
    mut entry: Entry,
) -> Entry {
    let value = sequence.to_string().into_bytes();
    let current = store.get(&entry.key).cloned();
    let mut next = current.clone();
    entry.operation = match choice {
        0..=4 => Operation::Read { found: current },
        5..=7 => {
            next = Some(value.clone());
            Operation::Write { value }
        }
        8 => {
            next = None;
            Operation::Delete { existed: Some(current.is_some()) }
        }
        _ => {
            let expected = if sequence.is_multiple_of(2) { current.clone() } else { Some(b"never".to_vec()) };
            let succeeded = expected == current;
            if succeeded {
                next = Some(value.clone());
            }
            Operation::CompareAndSet { expected, value, succeeded: Some(succeeded) }
        }
    };
    if effect.is_some() {
        match next {
            Some(value) => store.insert(entry.key.clone(), value),
            None => store.remove(&entry.key),
        };
    }
    entry
}

fn verdict(entries: Vec<Entry>) -> Verdict {
    check(&History::new(entries).expect("simulated time goes forward"), Object::Register, &Budget::default())
}

#[test]
fn an_atomic_register_is_always_accepted() {
    for seed in 0..40 {
        let shape = Shape { operations: 600, keys: 1 + seed % 5, clients: 1 + seed % 12, lost_one_in: 3 + seed * 2 };
        assert_eq!(verdict(simulate(&shape, seed)), Verdict::Linearizable, "seed {seed}");
    }
}

#[test]
fn a_long_history_over_many_keys_is_accepted() {
    let shape = Shape { operations: 20_000, keys: 20, clients: 30, lost_one_in: 200 };
    assert_eq!(verdict(simulate(&shape, 7)), Verdict::Linearizable);
}

/// The reads of the history that returned and whose answer `falsify` changes.
fn falsified(entries: &[Entry], falsify: impl Fn(&Entry) -> Option<Operation>) -> Vec<(usize, Vec<Entry>)> {
    let mut histories = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        if let Some(operation) = falsify(entry) {
            let mut changed = entries.to_vec();
            changed[at].operation = operation;
            histories.push((at, changed));
        }
    }
    histories
}

const SHORT: Shape = Shape { operations: 60, keys: 1, clients: 4, lost_one_in: 15 };

#[test]
fn a_value_from_nowhere_is_rejected_and_named() {
    let mut rejected = 0;
    for seed in 0..10 {
        let entries = simulate(&SHORT, seed);
        let nowhere = |entry: &Entry| match entry.operation {
            Operation::Read { .. } if entry.ret.is_some() => Some(Operation::Read { found: Some(b"nowhere".to_vec()) }),
            _ => None,
        };
        for (at, changed) in falsified(&entries, nowhere) {
            let Verdict::Violation { key, explanation } = verdict(changed.clone()) else {
                panic!("seed {seed} at {at}")
            };
            assert_eq!(key, key_of(0));
            assert_eq!(explanation.entries, [changed[at].clone()], "the read contradicts alone");
            assert!(explanation.sentence.ends_with("but nobody wrote that"), "{explanation}");
            rejected += 1;
        }
    }
    assert!(rejected > 200, "{rejected} histories tried");
}

#[test]
fn a_read_of_the_distant_past_is_rejected() {
    let mut rejected = 0;
    for seed in 0..10 {
        let entries = simulate(&Shape { lost_one_in: u64::MAX, ..SHORT }, seed);
        // Every value is written once; what was read in the first fifth is long gone in the last.
        let Some(old) = entries.iter().find_map(|entry| match &entry.operation {
            Operation::Read { found: Some(found) } => Some(found.clone()),
            _ => None,
        }) else {
            continue;
        };
        let start_of_end = entries[48].call;
        let stale = |entry: &Entry| match &entry.operation {
            Operation::Read { found } if entry.call > start_of_end && *found != Some(old.clone()) => {
                Some(Operation::Read { found: Some(old.clone()) })
            }
            _ => None,
        };
        for (at, changed) in falsified(&entries, stale) {
            let Verdict::Violation { explanation, .. } = verdict(changed.clone()) else {
                panic!("seed {seed} at {at}")
            };
            assert!(explanation.entries.contains(&changed[at]), "{explanation}");
            assert!(explanation.entries.len() <= 4, "not shrunk: {explanation}");
            rejected += 1;
        }
    }
    assert!(rejected > 20, "{rejected} histories tried");
}

#[test]
fn a_lost_write_that_somebody_read_is_rejected() {
    let mut rejected = 0;
    for seed in 0..10 {
        let entries = simulate(&SHORT, seed);
        for (at, entry) in entries.iter().enumerate() {
            let Operation::Write { value } = &entry.operation else { continue };
            let found = Some(value.clone());
            let was_read = entries
                .iter()
                .any(|other| other.ret.is_some() && other.operation == Operation::Read { found: found.clone() });
            if was_read {
                let mut without = entries.clone();
                without.remove(at);
                assert!(matches!(verdict(without), Verdict::Violation { .. }), "seed {seed} without entry {at}");
                rejected += 1;
            }
        }
    }
    assert!(rejected > 30, "{rejected} histories tried");
}

#[test]
fn a_history_too_hard_for_its_budget_is_unknown_and_never_passes() {
    let entries = simulate(&SHORT, 3);
    let history = History::new(entries).unwrap();
    for steps_per_key in [0, 1, 10, 30] {
        let budget = Budget { steps_per_key, ..Budget::default() };
        assert!(matches!(check(&history, Object::Register, &budget), Verdict::Unknown { .. }), "{steps_per_key} steps");
    }
    let forgetful = Budget { memory_bytes: 1, ..Budget::default() };
    assert!(matches!(check(&history, Object::Register, &forgetful), Verdict::Unknown { .. }), "one configuration");
    let strict = Budget { unknown_per_key: 0, ..Budget::default() };
    let Verdict::Unknown { why, .. } = check(&history, Object::Register, &strict) else {
        panic!("there are lost answers")
    };
    assert!(why.to_string().ends_with("operations without a return are more than the 0 allowed"), "{why}");
}
