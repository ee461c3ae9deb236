//! The protocol alone: three Raft replicas in one thread, no disk, no network. `cargo bench -p quorate-bench-paths --bench core`
//! prints the CPU time for each entry; the best of several rounds, because the machine only ever adds to it.

use bytes::Bytes;
use quorate_bench_paths::Trio;
use std::time::Instant;

const ENTRIES: u64 = 100;
const BATCHES: u64 = 2_000;
const ROUNDS: usize = 9;

fn main() {
    // `cargo test --benches` calls it with `--test`: then it only has to run.
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (batches, rounds) = if is_test { (2, 1) } else { (BATCHES, ROUNDS) };
    for bytes in [16, 256, 4096] {
        let entry = Bytes::from(vec![b'x'; bytes]);
        let best = (0..rounds).map(|_| nanoseconds_per_entry(batches, &entry)).fold(f64::INFINITY, f64::min);
        println!("3 replicas, one thread, batch {ENTRIES} x {bytes} B: {best:.0} ns/entry");
    }
}

fn nanoseconds_per_entry(batches: u64, entry: &Bytes) -> f64 {
    let mut trio = Trio::new();
    let begun = Instant::now();
    for _ in 0..batches {
        trio.decide(ENTRIES, entry);
    }
    begun.elapsed().as_nanos() as f64 / (batches * ENTRIES) as f64
}
