//! A leader emerges and stays: whatever happened before, whichever links stay cut for ever.

use crate::timed::World;
use quorate_raft::{Config, Raft};

/// T of the default settings.
const T_MS: u64 = 150;

fn small_limits() -> Config {
    Config {
        append_entries: 3,
        window_messages: 2,
        compact_after_entries: 20,
        compact_keep_entries: 2,
        ..Config::default()
    }
}

/// All nodes run, follow one leader of one term, and have nearly everything it committed.
fn in_step(world: &World) -> Result<(), String> {
    let leader = world.leader().ok_or("nobody leads")?;
    let commit = world.commit();
    for id in world.ids() {
        let raft = world.raft(id).ok_or("a node is down")?;
        let (term, behind) = (raft.term(), commit - raft.commit().0);
        if term != world.term() || behind > 5 {
            return Err(format!("{id} is in term {term} and {behind} behind {leader} of term {}", world.term()));
        }
    }
    Ok(())
}

fn trouble(world: &mut World) {
    let ids = world.ids();
    let count = ids.len() as u64;
    let (one, other) = (world.draw(count) + 1, world.draw(count) + 1);
    match world.draw(9) {
        0..=2 => world.cut(one, other),
        3 => {
            world.crash(one);
        }
        4 => world.stall(one),
        5 => world.refused(one, other),
        6 => world.transfer(world.leader().unwrap_or(one), other),
        7 => {
            if world.raft(one).is_none() {
                world.open(one);
            }
        }
        _ => world.heal(),
    }
    let pause = world.draw(120);
    world.pass_ms(pause);
}

#[test]
fn within_ten_election_timeouts_of_a_heal_everybody_is_in_step() {
    for count in [2, 3, 4, 5] {
        for seed in 0..40 {
            let mut world = World::of(count, seed, small_limits());
            for _ in 0..30 {
                trouble(&mut world);
            }
            world.heal();
            let before = world.commit();
            world.pass_ms(10 * T_MS);
            in_step(&world).unwrap_or_else(|why| panic!("{count} nodes, seed {seed}: {why}"));
            assert!(world.commit() > before, "{count} nodes, seed {seed}: nothing new is committed");
        }
    }
}

/// Three of five see each other; of all other links each direction is cut with even odds and stays so (the outage of 2020
/// was of this kind). Somebody leads for good, and no node can keep disturbing it.
#[test]
fn a_fully_connected_majority_is_enough_whatever_else_is_cut() {
    for seed in 0..120 {
        let mut world = World::of(5, seed, small_limits());
        world.pass_ms(4 * T_MS);
        let core: Vec<u64> = (0..3).map(|at| (seed + at * (1 + seed % 2)) % 5 + 1).collect();
        for from in 1..=5 {
            for to in 1..=5 {
                let within = core.contains(&from) && core.contains(&to);
                if !within && world.draw(2) == 0 {
                    world.cut(from, to);
                }
            }
        }
        world.pass_ms(10 * T_MS);
        let (commit, term, sent) = (world.commit(), world.term(), world.sent);
        world.pass_ms(20 * T_MS);
        // Three seconds with a proposal every ten milliseconds.
        assert!(world.commit() >= commit + 250, "seed {seed}: only {} new commits", world.commit() - commit);
        assert_eq!(world.term(), term, "seed {seed}: the lead changes hands without end");
        assert!(world.sent - sent < 12_000, "seed {seed}: {} messages in three seconds", world.sent - sent);
    }
}

/// The outage of 2020: 1, 2 and 3 see each other, 4 sees only 2, and 5 only 3. Whoever led before, somebody leads for good.
#[test]
fn the_links_of_the_outage_of_2020_leave_a_stable_leader() {
    for seed in 0..20 {
        let mut world = World::of(5, seed, Config::default());
        world.pass_ms(6 * T_MS);
        for (one, other) in [(1, 4), (1, 5), (2, 5), (3, 4), (4, 5)] {
            world.cut(one, other);
            world.cut(other, one);
        }
        world.pass_ms(10 * T_MS);
        let (leader, term, commit) = (world.leader(), world.term(), world.commit());
        assert!(leader.is_some_and(|leader| leader <= 3), "seed {seed}: {leader:?}");
        world.pass_ms(40 * T_MS);
        assert_eq!((world.leader(), world.term()), (leader, term), "seed {seed}");
        assert!(world.commit() >= commit + 550, "seed {seed}: {} commits in six seconds", world.commit() - commit);
    }
}

/// It goes on sending heartbeats, and hears no answer: without the check of the quorum it would lead for ever and commit nothing.
#[test]
fn a_leader_that_can_send_and_not_receive_is_replaced_and_disturbs_nobody() {
    for count in [3, 5] {
        for seed in 0..10 {
            let mut world = World::of(count, seed, Config::default());
            world.pass_ms(6 * T_MS);
            let deaf = world.leader().expect("somebody leads");
            (1..=count).filter(|id| *id != deaf).for_each(|id| world.cut(id, deaf));
            world.pass_ms(6 * T_MS);
            let (leader, term, commit) = (world.leader(), world.term(), world.commit());
            assert!(leader.is_some_and(|leader| leader != deaf), "{count} nodes, seed {seed}: {leader:?}");
            world.pass_ms(30 * T_MS);
            assert_eq!((world.leader(), world.term()), (leader, term), "{count} nodes, seed {seed}");
            assert!(world.commit() >= commit + 400, "{count} nodes, seed {seed}");
        }
    }
}

/// One link of three is cut: of the two that do not see each other at most one leads, and the other does not disturb it.
#[test]
fn one_cut_link_of_three_leaves_a_stable_leader() {
    for seed in 0..10 {
        let mut world = World::of(3, seed, Config::default());
        world.pass_ms(6 * T_MS);
        let leader = world.leader().expect("somebody leads");
        let follower = leader % 3 + 1;
        world.cut(leader, follower);
        world.cut(follower, leader);
        world.pass_ms(6 * T_MS);
        let (leader, term) = (world.leader(), world.term());
        world.pass_ms(30 * T_MS);
        assert_eq!((world.leader(), world.term()), (leader, term), "seed {seed}");
    }
}

#[test]
fn a_transfer_costs_the_cluster_a_few_round_trips() {
    for seed in 0..20 {
        let mut world = World::of(3, seed, Config::default());
        world.pass_ms(6 * T_MS);
        let (old, term) = (world.leader().expect("somebody leads"), world.term());
        let next = old % 3 + 1;
        world.transfer(old, next);
        let mut waited_ms = 0;
        while world.leader() != Some(next) && waited_ms < 1_000 {
            world.pass_ms(1);
            waited_ms += 1;
        }
        // Two flushes of 2.5 ms and four messages of 1.8 ms, and what was under way when it began.
        assert!(waited_ms <= 25 && world.term() == term + 1, "seed {seed}: {waited_ms} ms, term {}", world.term());
    }
}

/// The preferred one leads when it can; when it dies somebody else does, and hands back when it lives again; then all is quiet.
#[test]
fn the_preferred_node_leads_whenever_it_can_and_nothing_flaps() {
    let config = |priority| Config { priority, tenure_heartbeats: 20, ..Config::default() };
    for seed in 0..10 {
        let nodes = [(config(0), 1_000_000), (config(3), 1_000_000), (config(7), 1_000_000)];
        let mut world = World::of_each(&nodes, seed);
        world.pass_ms(10 * T_MS);
        let mut last_term = 0;
        for (gone, expected) in [(None, 3), (Some(3), 2), (None, 3)] {
            world.heal();
            gone.into_iter().for_each(|id| world.crash(id));
            // Somebody is elected, leads for its tenure, and hands over.
            world.pass_ms(12 * T_MS);
            let (leader, term) = (world.leader(), world.term());
            assert_eq!(leader, Some(expected), "seed {seed}: without {gone:?}");
            assert!(term <= last_term + 5, "seed {seed}: from term {last_term} to {term}");
            world.pass_ms(30 * T_MS);
            assert_eq!((world.leader(), world.term()), (leader, term), "seed {seed}: without {gone:?}");
            last_term = term;
        }
    }
}

/// Everybody has another priority and a bad network: somebody leads all the same.
#[test]
fn elections_are_live_whatever_the_priorities() {
    for seed in 0..30 {
        let of =
            |at: u64| Config { priority: ((seed * 7 + at * 5) % 11) as u8, tenure_heartbeats: 10, ..small_limits() };
        let nodes: Vec<(Config, u64)> = (0..5).map(|at| (of(at), 1_000_000)).collect();
        let mut world = World::of_each(&nodes, seed);
        for _ in 0..30 {
            trouble(&mut world);
        }
        world.heal();
        let before = world.commit();
        world.pass_ms(10 * T_MS);
        in_step(&world).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert!(world.commit() > before + 50, "seed {seed}: {} commits", world.commit() - before);
    }
}

#[test]
fn a_leader_whose_disk_stalls_hands_over_before_an_election_timeout_is_over() {
    for seed in 0..20 {
        let mut world = World::of(3, seed, Config::default());
        world.pass_ms(6 * T_MS);
        let (old, term) = (world.leader().expect("somebody leads"), world.term());
        world.stall(old);
        let mut waited_ms = 0;
        while world.leader().is_none_or(|leader| leader == old) && waited_ms < 10 * T_MS {
            world.pass_ms(1);
            waited_ms += 1;
        }
        // Half of T until it is noticed; then a few round trips.
        assert!(waited_ms < T_MS && world.term() == term + 1, "seed {seed}: {waited_ms} ms, term {}", world.term());
        world.pass_ms(4 * T_MS);
        let before = world.commit();
        world.pass_ms(4 * T_MS);
        assert!(world.commit() > before + 30, "seed {seed}: nothing moves");
        world.heal();
        world.pass_ms(10 * T_MS);
        in_step(&world).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// The hint is wrong: the leader lives. One follower that keeps being told so can unseat nobody.
#[test]
fn a_false_hint_at_one_follower_changes_nothing() {
    for seed in 0..20 {
        let mut world = World::of(3, seed, Config::default());
        world.pass_ms(6 * T_MS);
        let leader = world.leader().expect("somebody leads");
        let (term, follower) = (world.term(), leader % 3 + 1);
        for _ in 0..200 {
            world.refused(follower, leader);
            world.pass_ms(7);
        }
        assert_eq!((world.leader(), world.term()), (Some(leader), term), "seed {seed}");
    }
}

/// `kill -9`: the leader's machine answers its followers that nobody listens. Unless two candidates split the vote, which takes
/// another election timeout.
#[test]
fn followers_told_that_the_leader_is_gone_replace_it_within_a_few_heartbeats() {
    let heartbeat_ms = Config::default().heartbeat_interval.as_millis() as u64;
    let mut waits_ms: Vec<u64> = (0..60).map(gap_after_a_kill_ms).collect();
    waits_ms.sort_unstable();
    assert!(waits_ms[50] < 4 * heartbeat_ms && waits_ms[59] < 3 * T_MS, "{waits_ms:?}");
}

fn gap_after_a_kill_ms(seed: u64) -> u64 {
    let mut world = World::of(3, seed, Config::default());
    world.pass_ms(6 * T_MS);
    let old = world.leader().expect("somebody leads");
    world.crash(old);
    // What it sent before is heard first.
    let mut waited_ms = 2;
    world.pass_ms(waited_ms);
    for follower in world.ids().into_iter().filter(|id| *id != old) {
        world.refused(follower, old);
    }
    while world.leader().is_none() {
        world.pass_ms(1);
        waited_ms += 1;
    }
    waited_ms
}

/// Members come and go for long, and the log does not grow without end.
#[test]
fn the_log_stays_short_while_everybody_lives() {
    let mut world = World::of(3, 7, small_limits());
    world.pass_ms(60 * T_MS);
    let lengths: Vec<u64> = world.ids().into_iter().filter_map(|id| world.raft(id).map(length)).collect();
    assert!(world.commit() > 500 && lengths.iter().all(|length| *length < 60), "{lengths:?}");
}

fn length(raft: &Raft) -> u64 {
    raft.log().count()
}
