//! What a keyspace costs in memory and time: `cargo bench -p quorate-keyspace --bench footprint -- [KEYS] [VALUE_BYTES]`.
//!
//! Memory is the process's resident set (Linux), so the figures are those of the allocator too. Time is what this thread
//! had of a processor, so that other work on the machine disturbs it less; but for slices, which are too short for that.

use bytes::Bytes;
use quorate_keyspace::{
    Compare, CompareOperator, CompareTarget, Keyspace, Operation, PutRequest, Query, RangeRequest, Reply, Request,
    TxnRequest,
};
use quorate_machine::{ApplyContext, StateMachine};
use quorate_types::{Slot, Time};
use quorate_wire::encode_to_bytes;
use std::time::{Duration, Instant};

const CONTEXT: ApplyContext = ApplyContext { slot: Slot(1), index: 0, stamp: Time::ZERO };
const BATCH: u64 = 10_000;
const MEBIBYTE: f64 = 1_048_576.0;

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// How long this thread has run.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// Keys in an order that is neither ascending nor local.
fn key(number: u64, keys: u64) -> String {
    format!("key-{:012}", number.wrapping_mul(2_654_435_761) % keys)
}

fn value(number: u64, value_bytes: usize) -> Bytes {
    Bytes::from(vec![number as u8; value_bytes])
}

fn put(number: u64, keys: u64, value_bytes: usize) -> PutRequest {
    PutRequest { key: key(number, keys).into(), value: value(number, value_bytes), ..PutRequest::default() }
}

fn compare_and_put(number: u64, keys: u64, value_bytes: usize) -> Request {
    let put = put(number, keys, value_bytes);
    let compare = Compare {
        key: put.key.clone(),
        range_end: Bytes::new(),
        operator: CompareOperator::Greater,
        target: CompareTarget::ModRevision(0),
    };
    Request::Txn(TxnRequest { compares: vec![compare], success: vec![Operation::Put(put)], failure: vec![] })
}

/// Applies them in batches; only applying, with its decoding, is timed.
fn apply(keyspace: &mut Keyspace, count: u64, request: impl Fn(u64) -> Request) -> Duration {
    let mut spent = Duration::ZERO;
    for first in (0..count).step_by(BATCH as usize) {
        let payloads: Vec<Bytes> =
            (first..(first + BATCH).min(count)).map(|number| encode_to_bytes(&request(number))).collect();
        let began = processor_time();
        for payload in &payloads {
            let reply = keyspace.apply(&CONTEXT, payload);
            assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
        }
        spent += processor_time() - began;
    }
    spent
}

fn report(what: &str, spent: Duration, count: u64, keyspace: &Keyspace, base_bytes: u64) {
    println!(
        "{what:<28} {:>7.2} us each   resident {:>7.1} MiB   history {:>7.1} MiB in {:>7.1} MiB",
        spent.as_secs_f64() * 1e6 / count as f64,
        (resident_bytes() - base_bytes) as f64 / MEBIBYTE,
        keyspace.history_bytes() as f64 / MEBIBYTE,
        keyspace.history_memory_bytes() as f64 / MEBIBYTE,
    );
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<u64>().ok());
    let keys = numbers.next().unwrap_or(1_000_000);
    let value_bytes = numbers.next().unwrap_or(256) as usize;
    let base_bytes = resident_bytes();
    let mut keyspace = Keyspace::empty();

    let spent = apply(&mut keyspace, keys, |number| Request::Put(put(number, keys, value_bytes)));
    report("put of new keys", spent, keys, &keyspace, base_bytes);
    let payload_bytes = keyspace.live_keys() * (key(0, keys).len() as u64 + value_bytes as u64);
    println!("{:<28} {} keys, {:.1} MiB of keys and values", "", keyspace.live_keys(), payload_bytes as f64 / MEBIBYTE);

    let some = keys / 4;
    let spent = apply(&mut keyspace, some, |number| Request::Put(put(number * 3, keys, value_bytes)));
    report("put of existing keys", spent, some, &keyspace, base_bytes);
    let spent = apply(&mut keyspace, some, |number| compare_and_put(number * 7, keys, value_bytes));
    report("txn of a compare and a put", spent, some, &keyspace, base_bytes);

    let began = processor_time();
    for number in 0..some {
        let request = RangeRequest { key: key(number * 5, keys).into(), ..RangeRequest::default() };
        let reply = keyspace.query(&Query::Range(request));
        assert!(matches!(reply, Reply::Range { count: 1, .. }), "{reply:?}");
    }
    report("get of one key", processor_time() - began, some, &keyspace, base_bytes);

    let began = processor_time();
    let mut cursor = 1;
    while cursor < keyspace.revision() {
        let batch = keyspace.events_after(cursor, 1_000, &mut |key| key.ends_with(b"0"));
        cursor = batch.expect("nothing is compacted").through;
    }
    report("event passed by a watcher", processor_time() - began, keyspace.item_count(), &keyspace, base_bytes);

    let revision = keyspace.revision();
    keyspace.apply(&CONTEXT, &encode_to_bytes(&Request::Compact { revision }));
    let mut slices = Vec::new();
    let began = processor_time();
    loop {
        let slice = Instant::now();
        let is_left = keyspace.tidy();
        slices.push(slice.elapsed());
        if !is_left {
            break;
        }
    }
    report("change looked at by tidy", processor_time() - began, keyspace.item_count(), &keyspace, base_bytes);
    slices.sort_unstable();
    let microseconds = |place: usize| slices.get(slices.len() * place / 1_000).map_or(0, Duration::as_micros);
    let [half, most, nearly_all] = [500, 990, 999].map(microseconds);
    let longest = slices.last().map_or(0, Duration::as_micros);
    println!("{:<28} slices in us: half {half}, 99 % {most}, 99.9 % {nearly_all}, longest {longest}", "");

    let began = processor_time();
    let hash = keyspace.query(&Query::HashKv { revision: 0 });
    println!("{:<28} {:.1} ms: {hash:?}", "HashKV", (processor_time() - began).as_secs_f64() * 1e3);

    let head = keyspace.head();
    let items = (0..keyspace.item_count()).filter_map(|number| Some((number, keyspace.item(number)?)));
    let items: Vec<(u64, Bytes)> = items.collect();
    let began = processor_time();
    let restored = Keyspace::restore(head, &mut items.into_iter()).expect("its own image");
    println!(
        "{:<28} {:.2} us each",
        "restore",
        (processor_time() - began).as_secs_f64() * 1e6 / restored.live_keys() as f64
    );
}
