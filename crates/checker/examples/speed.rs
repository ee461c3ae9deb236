//! How long checks take: `cargo run --release -p quorate-checker --example speed`, for some: `-- "a register"`, with more seeds: `-- "" 100`.

#[path = "../tests/checker/generator/mod.rs"]
mod generator;

use generator::{Shape, generate};
use quorate_checker::{Budget, History, Object, Operation, Verdict, check};
use std::time::Instant;

/// Several seeds, as the hardest of a kind is what counts.
const SEEDS: u64 = 20;

fn main() {
    let busy = |object| Shape { operations: 2_000, clients: 50, longest: 100, ..Shape::of(object) };
    let lossy = |object| Shape { lost_one_in: 50, ..busy(object) };
    let plain = Shape { deletes: false, ..busy(Object::Register) };
    measure("a register without deletes, 50 clients, 2,000 operations", &plain, seeds());
    measure("  a register without deletes, one in 50 without an answer", &Shape { lost_one_in: 50, ..plain }, seeds());
    for object in [Object::Register, Object::List, Object::Counter, Object::Lock, Object::Fifo, Object::Bag] {
        measure(&format!("{object}, 1 key, 50 clients, 2,000 operations"), &busy(object), seeds());
        measure(&format!("  {object}, one in 50 without an answer"), &lossy(object), seeds());
    }
    for values in [2, 5, 20] {
        let few = Shape { values, ..busy(Object::Register) };
        measure(&format!("a register of {values} values, 50 clients, 2,000 operations"), &few, seeds());
        let lossy = Shape { lost_one_in: 50, ..few };
        measure(&format!("  a register of {values} values, one in 50 without an answer"), &lossy, seeds());
    }
    for object in [Object::Fifo, Object::Bag] {
        let few = Shape { values: 20, ..busy(object) };
        measure(&format!("{object} of 20 different items, 50 clients, 2,000 operations"), &few, seeds());
    }
    let store = Shape { keys: 10, clients: 20, ..busy(Object::Store) };
    measure("a store, 10 keys, 20 clients, 2,000 transactions", &store, seeds());
    measure("  and with revisions", &Shape { revisions: true, ..store.clone() }, seeds());
    measure("  and 50 clients, one in 50 without an answer", &Shape { clients: 50, lost_one_in: 50, ..store }, seeds());
    let many = Shape { operations: 100_000, keys: 100, clients: 100, ..Shape::of(Object::Register) };
    measure("registers, 100 keys, 100 clients, 100,000 operations", &many, 3);
    measure("  and one in 100 without an answer", &Shape { lost_one_in: 100, ..many }, 3);
    let one = Shape { operations: 100_000, clients: 50, ..Shape::of(Object::Register) };
    measure("a register, 1 key, 50 clients, 100,000 operations", &one, 3);
}

/// How many seeds, [`SEEDS`] if the second argument does not say.
fn seeds() -> u64 {
    std::env::args().nth(2).and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS)
}

fn measure(name: &str, shape: &Shape, seeds: u64) {
    if std::env::args().nth(1).is_some_and(|wanted| !name.contains(&wanted)) {
        return;
    }
    let (mut legal, mut stale) = (Vec::new(), Vec::new());
    let (mut unknown, mut accepted) = (0, 0);
    for seed in 0..seeds {
        let mut entries = generate(shape, seed);
        let history = History::new(entries.clone()).expect("generated time goes forward");
        let from = Instant::now();
        match check(&history, shape.object, &Budget::default()) {
            Verdict::Linearizable => {}
            Verdict::Unknown { .. } => unknown += 1,
            Verdict::Violation { explanation, .. } => panic!("{name}, seed {seed}: rejected wrongly: {explanation}"),
        }
        legal.push(from.elapsed());
        if spoil(&mut entries) {
            let history = History::new(entries).expect("times are the same");
            let from = Instant::now();
            match check(&history, shape.object, &Budget::default()) {
                Verdict::Linearizable => accepted += 1,
                Verdict::Unknown { .. } => unknown += 1,
                Verdict::Violation { .. } => {}
            }
            stale.push(from.elapsed());
        }
    }
    let (worst, worst_stale) = (legal.iter().max().copied(), stale.iter().max().copied());
    legal.sort();
    println!(
        "{name}: median {:?}, p99 {:?}, worst {:?}; spoilt in the middle: worst {:?} (with explanation), {accepted} still legal; {unknown} unknown",
        legal[legal.len() / 2],
        legal[legal.len() * 99 / 100],
        worst.unwrap_or_default(),
        worst_stale.unwrap_or_default()
    );
}

/// Gives one reader in the middle the answer of another far before it.
fn spoil(entries: &mut [quorate_checker::Entry]) -> bool {
    let reads = |operation: &Operation| {
        matches!(
            operation,
            Operation::Read { .. }
                | Operation::ReadList { .. }
                | Operation::ReadCounter { .. }
                | Operation::Dequeue { found: Some(_) }
                | Operation::Acquire { token: Some(_) }
        ) || matches!(operation, Operation::Transact(transaction) if transaction.steps().all(quorate_checker::Step::only_reads))
    };
    let middle = entries.len() / 2;
    let early = entries.iter().position(|entry| entry.ret.is_some() && reads(&entry.operation));
    let Some((early, at)) = early.and_then(|early| {
        let key = entries[early].key.clone();
        let fits = |at: &usize| {
            entries[*at].key == key
                && entries[*at].ret.is_some()
                && reads(&entries[*at].operation)
                && std::mem::discriminant(&entries[*at].operation) == std::mem::discriminant(&entries[early].operation)
        };
        Some((early, (middle..entries.len()).find(fits)?))
    }) else {
        return false;
    };
    entries[at].operation = entries[early].operation.clone();
    true
}
