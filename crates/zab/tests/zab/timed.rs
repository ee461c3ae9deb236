//! Bare replicas on virtual time, with the default settings: how long it takes when the network is slow, unfair or lossy. All times
//! are in microseconds.

use quorate_protocol::Verdict;
use quorate_protocol::testbed::Timed;
use quorate_zab::{Config, Zab};
use std::time::Duration;

/// So long after the beginning somebody leads: a few messages, a short wait for better votes, two writes.
const FIRST_MOST: u64 = 150_000;

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("settings are short")
}

fn leads(zab: &Zab) -> bool {
    zab.inside().is_some_and(|node| node.is_established())
}

fn three(seed: u64, delay_micros: (u64, u64)) -> Timed<Zab> {
    Timed::new(3, Config::default(), seed, delay_micros)
}

fn until_led(world: &mut Timed<Zab>, most_micros: u64) -> u64 {
    world.until(most_micros, "somebody leads", |world| world.leader(leads).is_some())
}

#[test]
fn an_unfair_network_costs_neither_connections_nor_elections() {
    for seed in 0..20 {
        // Messages overtake each other all the time.
        let mut world = three(seed, (200, 8_000));
        until_led(&mut world, FIRST_MOST);
        world.run_until(world.now_micros() + 100_000);
        world.forget_events();
        world.work(500, leads);
        world.run_until(world.now_micros() + 100_000);
        for rule in ["zab.reconnect", "zab.look"] {
            assert_eq!(world.told(rule, Verdict::Allowed), 0, "seed {seed}: {rule}");
        }
        assert_eq!(world.decided_everywhere(), 500, "seed {seed}");
    }
}

#[test]
fn a_leader_that_dies_is_succeeded_within_a_sync_limit_and_an_election() {
    let config = Config::default();
    let limit = micros(config.tick) * u64::from(config.sync_limit_ticks);
    let (mut longest, mut total) = (0, 0);
    for seed in 0..50 {
        let mut world = three(seed, (200, 2_000));
        until_led(&mut world, FIRST_MOST);
        world.work(20, leads);
        let leader = world.leader(leads).expect("somebody leads");
        world.kill(leader);
        let gap = until_led(&mut world, limit + FIRST_MOST);
        (longest, total) = (longest.max(gap), total + gap);
        world.open(leader);
        world.work(100, leads);
        world.run_until(world.now_micros() + 2 * limit);
        assert!(world.decided_everywhere() >= 100, "seed {seed}: {}", world.decided_everywhere());
    }
    println!("longest {longest} us, mean {} us", total / 50);
}

#[test]
fn a_lossy_network_is_slow_and_gets_there() {
    for seed in 0..20 {
        let mut world = three(seed, (200, 2_000));
        world.lose_per_mille(20);
        until_led(&mut world, 2_000_000);
        world.work(500, leads);
        let lost = world.told("zab.reconnect", Verdict::Allowed);
        world.lose_per_mille(0);
        world.run_until(world.now_micros() + 1_000_000);
        assert!(world.decided_everywhere() >= 250, "seed {seed}: {}, {lost} connections", world.decided_everywhere());
    }
}
