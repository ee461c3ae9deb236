//! Bare replicas on virtual time, with the default settings: how long it takes until somebody leads and decides. All times are in
//! microseconds.

use quorate_multi_paxos::{Config, MultiPaxos};
use quorate_protocol::testbed::Timed;
use quorate_types::NodeId;

/// A message takes so long.
const DELAY: (u64, u64) = (200, 2_000);

/// A candidate's own promise, those of the others, and what they find: four messages and three writes at most.
const PHASES: u64 = 4 * DELAY.1 + 3 * 2_000;

/// T of the default settings.
fn timeout() -> u64 {
    u64::try_from(Config::default().election_timeout.as_micros()).expect("settings are short")
}

fn leads(whole: &MultiPaxos) -> bool {
    whole.inside().is_some_and(|node| node.is_leader())
}

fn cluster(count: u64, seed: u64) -> Timed<MultiPaxos> {
    let mut world = Timed::new(count, Config::default(), seed, DELAY);
    until_led(&mut world);
    world
}

/// Everybody stands T to 2T after it heard a leader last, and of two that stand at once the higher ballot wins.
fn until_led(world: &mut Timed<MultiPaxos>) -> u64 {
    world.until(2 * timeout() + PHASES, "somebody leads", |world| world.leader(leads).is_some())
}

fn mean_and_longest(gaps: &[u64]) {
    println!("longest {:?} us, mean {} us", gaps.iter().max(), gaps.iter().sum::<u64>() / gaps.len() as u64);
}

#[test]
fn a_leader_that_dies_is_succeeded_within_two_timeouts_and_an_election() {
    for count in [3, 5] {
        let gaps: Vec<u64> = (0..100).map(|seed| gap_after_a_death(count, seed)).collect();
        mean_and_longest(&gaps);
    }
}

fn gap_after_a_death(count: u64, seed: u64) -> u64 {
    let mut world = cluster(count, seed);
    world.work(20, leads);
    let leader = world.leader(leads).expect("somebody leads");
    world.kill(leader);
    let gap = until_led(&mut world);
    world.open(leader);
    world.work(100, leads);
    world.run_until(world.now_micros() + 2 * timeout());
    assert!(world.decided_everywhere() >= 100, "{count} nodes, seed {seed}: {}", world.decided_everywhere());
    gap
}

/// Nobody hears anybody for up to two seconds, in which whoever led steps down and all stand again and again.
#[test]
fn within_three_timeouts_of_an_outage_of_all_links_all_follow_one_leader() {
    let mut gaps = Vec::new();
    for seed in 0..100 {
        let mut world = cluster(3, seed);
        world.work(20, leads);
        world.lose_per_mille(1_000);
        world.run_until(world.now_micros() + 20_000 * (seed + 1));
        world.lose_per_mille(0);
        gaps.push(world.until(3 * timeout(), "a leader that all follow", follow_one));
        world.work(10, leads);
        world.run_until(world.now_micros() + timeout());
        assert!(world.decided_everywhere() >= 25, "seed {seed}: {}", world.decided_everywhere());
    }
    mean_and_longest(&gaps);
}

fn follow_one(world: &Timed<MultiPaxos>) -> bool {
    let ballots = (1..=3).filter_map(|id| Some(world.replica(NodeId(id))?.inside()?.promised()));
    let ballots: Vec<_> = ballots.collect();
    world
        .leader(leads)
        .is_some_and(|leader| ballots.iter().all(|ballot| ballot.node == leader && *ballot == ballots[0]))
}
