//! Bare replicas on virtual time, with the default settings: how long it takes until the next view begins. All times are in
//! microseconds.

use quorate_protocol::testbed::Timed;
use quorate_types::NodeId;
use quorate_viewstamped::{Config, View, Viewstamped};

/// A message takes so long.
const DELAY: (u64, u64) = (200, 2_000);

/// Leaving a view, offering, and beginning the next one: three messages and three writes.
const CHANGE: u64 = 3 * DELAY.1 + 3 * 2_000;

/// T of the default settings.
fn timeout() -> u64 {
    u64::try_from(Config::default().view_timeout.as_micros()).expect("settings are short")
}

fn leads(replica: &Viewstamped) -> bool {
    replica.is_primary()
}

fn cluster(count: u64, seed: u64) -> Timed<Viewstamped> {
    let mut world = Timed::new(count, Config::default(), seed, DELAY);
    world.run_until(50_000);
    world.work(20, leads);
    world
}

fn mean_and_longest(gaps: &[u64]) {
    println!("longest {:?} us, mean {} us", gaps.iter().max(), gaps.iter().sum::<u64>() / gaps.len() as u64);
}

/// Dead at once, in the order of their turns: the primary and those that would be next.
fn gap_after_deaths(count: u64, dead: u64, seed: u64, most: u64) -> u64 {
    let mut world = cluster(count, seed);
    (1..=dead).map(NodeId).for_each(|id| world.kill(id));
    let gap = world.until(most, "the next view begins", |world| world.leader(leads).is_some());
    (1..=dead).map(NodeId).for_each(|id| world.open(id));
    world.work(100, leads);
    world.run_until(world.now_micros() + 2 * timeout());
    assert!(world.decided_everywhere() >= 100, "{count} nodes, seed {seed}: {}", world.decided_everywhere());
    gap
}

#[test]
fn a_primary_that_dies_is_succeeded_within_two_timeouts_and_a_view_change() {
    for count in [3, 5] {
        let gap = |seed| gap_after_deaths(count, 1, seed, 2 * timeout() + CHANGE);
        mean_and_longest(&(0..100).map(gap).collect::<Vec<_>>());
    }
}

/// A view whose primary is dead too is waited for in vain.
#[test]
fn with_the_next_in_turn_dead_too_it_takes_twice_as_long() {
    let gap = |seed| gap_after_deaths(5, 2, seed, 4 * timeout() + 2 * CHANGE);
    mean_and_longest(&(0..100).map(gap).collect::<Vec<_>>());
}

/// Nobody hears anybody for up to two seconds, in which backups leave their view and primaries go on in vain.
#[test]
fn within_a_timeout_of_an_outage_of_all_links_all_are_normal_in_one_view() {
    let mut gaps = Vec::new();
    for seed in 0..100 {
        let mut world = cluster(3, seed);
        world.lose_per_mille(1_000);
        world.run_until(world.now_micros() + 20_000 * (seed + 1));
        world.lose_per_mille(0);
        gaps.push(world.until(timeout(), "all are normal in one view", normal_in_one_view));
        world.work(10, leads);
        world.run_until(world.now_micros() + timeout());
        assert!(world.decided_everywhere() >= 25, "seed {seed}: {}", world.decided_everywhere());
    }
    mean_and_longest(&gaps);
}

fn normal_in_one_view(world: &Timed<Viewstamped>) -> bool {
    let views: Vec<Option<View>> = (1..=3)
        .map(|id| world.replica(NodeId(id)).filter(|replica| replica.is_normal()).map(Viewstamped::view))
        .collect();
    views[0].is_some() && views.iter().all(|view| *view == views[0]) && world.leader(leads).is_some()
}
