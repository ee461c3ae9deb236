//! Instruction counts of the hot paths, under Valgrind: the same on a busy machine as on a quiet one. See bench/README.md.
#![allow(missing_docs, reason = "made by macros")]

use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group, main};
use quorate_bench_paths::{Trio, apply_all, batch_of, flush_one, get_all, journal, keyspace_with, puts};
use quorate_journal::Journal;
use quorate_keyspace::Keyspace;
use quorate_machine::{StateMachine, decode_batch};
use std::hint::black_box;

fn trio_and_entry() -> (Trio, Bytes) {
    (Trio::new(), Bytes::from(vec![b'x'; 16]))
}

fn warm_keyspace() -> (Keyspace, Vec<Bytes>) {
    (keyspace_with(&puts(10_000, 256)), puts(1_000, 256))
}

fn empty_keyspace() -> (Keyspace, Vec<Bytes>) {
    (Keyspace::empty(), puts(1_000, 256))
}

fn journal_and_record() -> (Journal, Bytes) {
    (journal(), batch_of(&puts(100, 256)))
}

#[library_benchmark]
#[bench::of_16_bytes(trio_and_entry())]
fn three_replicas_decide_100_entries((mut trio, entry): (Trio, Bytes)) -> Trio {
    trio.decide(100, black_box(&entry));
    trio
}

#[library_benchmark]
#[bench::new_keys(empty_keyspace())]
#[bench::overwrites(warm_keyspace())]
fn apply_1000_puts((mut keyspace, payloads): (Keyspace, Vec<Bytes>)) -> Keyspace {
    apply_all(&mut keyspace, black_box(&payloads));
    keyspace
}

#[library_benchmark]
#[bench::of_10_000(warm_keyspace())]
fn get_1000_keys((keyspace, _): (Keyspace, Vec<Bytes>)) -> Keyspace {
    get_all(black_box(&keyspace), 1_000);
    keyspace
}

#[library_benchmark]
#[bench::of_256_bytes(puts(100, 256))]
fn encode_batch_of_100(payloads: Vec<Bytes>) -> Bytes {
    batch_of(black_box(&payloads))
}

#[library_benchmark]
#[bench::of_256_bytes(batch_of(&puts(100, 256)))]
fn decode_batch_of_100(batch: Bytes) -> usize {
    decode_batch(black_box(batch)).map_or(0, |commands| commands.len())
}

#[library_benchmark]
#[bench::batch_of_100(journal_and_record())]
fn plan_one_flush((mut journal, record): (Journal, Bytes)) -> Journal {
    flush_one(&mut journal, black_box(&record));
    journal
}

library_benchmark_group!(
    name = hot_paths,
    benchmarks = [
        three_replicas_decide_100_entries,
        apply_1000_puts,
        get_1000_keys,
        encode_batch_of_100,
        decode_batch_of_100,
        plan_one_flush
    ]
);
main!(library_benchmark_groups = hot_paths);
