//! Events per second with 1000 watchers on one key; puts per second among 10,000 prefix watchers; and how long 1000
//! watchers take to catch up with 100,000 changes. `cargo run --release -p quorate-watch --example watch_timing`

use quorate_keyspace::{Keyspace, LogPlace, PutRequest, Request};
use quorate_machine::StateMachine;
use quorate_types::Time;
use quorate_watch::{CreateWatch, Sink, StreamId, WatchHub, WatchLimits, WatchResponse};
use std::time::{Duration, Instant};

/// Has room for everything and keeps nothing.
struct Discard;

impl Sink for Discard {
    fn room(&self, _stream: StreamId) -> usize {
        usize::MAX
    }

    fn deliver(&mut self, _stream: StreamId, response: WatchResponse) {
        drop(response);
    }
}

fn put(keyspace: &mut Keyspace, key: String) {
    let request = PutRequest { key: key.into(), value: vec![b'v'; 256].into(), ..PutRequest::default() };
    keyspace.apply_request(LogPlace::default(), &Request::Put(request));
}

fn create(hub: &mut WatchHub, stream: StreamId, keyspace: &Keyspace, request: &CreateWatch) {
    hub.create(stream, request, keyspace, Time::ZERO, &mut Discard).expect("nothing is wrong with it");
}

fn settle(hub: &mut WatchHub, keyspace: &Keyspace) {
    while hub.advance(keyspace, Time::ZERO, &mut Discard).more_work {}
}

fn report(what: &str, count: u64, began: Instant) {
    let elapsed = began.elapsed();
    let nanos_each = elapsed.as_nanos() as f64 / count as f64;
    println!("{what}: {count} in {:.3} s, {nanos_each:.0} ns each", elapsed.as_secs_f64());
}

fn one_key(batch: usize) {
    let mut keyspace = Keyspace::empty();
    let mut hub = WatchHub::new(WatchLimits::default(), &keyspace);
    for _ in 0..100 {
        let stream = hub.open_stream();
        for _ in 0..10 {
            create(&mut hub, stream, &keyspace, &CreateWatch { key: "key".into(), ..CreateWatch::default() });
        }
    }
    let began = Instant::now();
    for _ in 0..3000 / batch {
        for _ in 0..batch {
            put(&mut keyspace, "key".to_owned());
        }
        settle(&mut hub, &keyspace);
    }
    report(&format!("events, 1000 watchers on one key, {batch} puts a batch"), hub.stats().events_delivered, began);
}

fn prefix(number: u64) -> CreateWatch {
    let (key, range_end) = (format!("/registry/{number:05}/"), format!("/registry/{number:05}0"));
    CreateWatch { key: key.into(), range_end: range_end.into(), ..CreateWatch::default() }
}

fn prefixes(watchers: u64, batch: u64) {
    let mut keyspace = Keyspace::empty();
    let mut hub = WatchHub::new(WatchLimits::default(), &keyspace);
    let stream = hub.open_stream();
    let began = Instant::now();
    for number in 0..watchers {
        create(&mut hub, stream, &keyspace, &prefix(number));
    }
    let creating = began.elapsed();
    let mut watching = Duration::ZERO;
    const PUTS: u64 = 100_000;
    for round in 0..PUTS / batch {
        for number in 0..batch {
            put(&mut keyspace, format!("/registry/{:05}/pod", (round * batch + number) * 7919 % watchers.max(1)));
        }
        let watch_began = Instant::now();
        settle(&mut hub, &keyspace);
        watching += watch_began.elapsed();
    }
    let nanos_a_put = watching.as_nanos() as f64 / PUTS as f64;
    println!("puts among {watchers} prefix watchers, {batch} a batch: {nanos_a_put:.0} ns each without apply");
    if watchers > 0 {
        println!("    creating a watcher: {} ns", creating.as_nanos() / u128::from(watchers));
    }
}

fn catch_up() {
    let mut keyspace = Keyspace::empty();
    for number in 0..100_000u64 {
        put(&mut keyspace, format!("/registry/{:05}/pod", number % 1000));
    }
    let mut hub = WatchHub::new(WatchLimits::default(), &keyspace);
    let stream = hub.open_stream();
    let began = Instant::now();
    for number in 0..1000 {
        create(&mut hub, stream, &keyspace, &CreateWatch { start_revision: 1, ..prefix(number) });
    }
    let (mut longest, mut advances) = (Duration::ZERO, 0);
    loop {
        let advance_began = Instant::now();
        let more_work = hub.advance(&keyspace, Time::ZERO, &mut Discard).more_work;
        longest = longest.max(advance_began.elapsed());
        advances += 1;
        if !more_work {
            break;
        }
    }
    report("events, 1000 prefix watchers from 100,000 changes ago", hub.stats().events_delivered, began);
    println!("    in {advances} advances, the longest {} us", longest.as_micros());
}

fn main() {
    one_key(1);
    one_key(100);
    for (watchers, batch) in [(0, 1), (1, 1), (100, 1), (100, 100), (10_000, 1), (10_000, 100)] {
        prefixes(watchers, batch);
    }
    catch_up();
}
