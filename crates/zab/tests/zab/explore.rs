//! Bounded exhaustive exploration: every schedule within each bound, and the beginning of two larger searches.

use quorate_explorer::{Bounds, Disks, Explorer, Report, targets};
use quorate_protocol::testbed::{Flight, Testbed};
use quorate_protocol::{Input, RequestId};
use quorate_types::{Membership, NodeId, Slot};
use quorate_zab::{Config, Timer, Zab};

fn covers(report: &Report<Zab>, marks: &[&str]) {
    println!("{report}");
    assert!(report.complete && report.violation.is_none(), "{report}");
    for mark in marks {
        assert!(report.happened(mark), "{mark} never happened: {report}");
    }
}

/// So many voters, the last of which leads epoch 1, established with all.
fn led(voters: u64) -> Testbed<Zab> {
    let mut cluster = Testbed::<Zab>::new(voters, Config::default()).merging_equal_disks();
    cluster.run(1_000, |_| true);
    for id in 1..voters {
        cluster.expire(NodeId(id), Timer::Tick);
        cluster.run(1_000, |_| true);
    }
    assert!(cluster.replica(NodeId(voters)).inside().is_some_and(|node| node.is_established()));
    cluster
}

fn stalling() -> Bounds<Zab> {
    Bounds { disks: Disks::StallBeforeCrash, ..Bounds::default() }
}

/// Two voters that have just opened, and a command.
#[test]
fn two_voters_find_a_leader_and_decide() {
    let bounds = Bounds::default().with_timer_at(NodeId(1), Timer::Tick, 1);
    let explorer = targets::zab(Membership::of_voters(2), Config::default(), &[(NodeId(2), "x")], bounds);
    covers(&explorer.explore(), &["an established epoch", "a command decided"]);
}

/// Two voters, one leads: a command, and either crashes at any moment and loses any unfinished write.
#[test]
fn a_command_and_a_crash_of_either_at_any_moment() {
    let bounds = Bounds { max_crashes: 1, ..stalling() };
    let explorer: Explorer<Zab> = targets::zab_from(led(2), &[(NodeId(2), "x")], bounds);
    covers(&explorer.explore(), &["an established epoch", "a command decided"]);
}

/// Two voters, one leads: a command, one message may arrive twice, and the follower may look for a leader meanwhile.
#[test]
fn a_command_a_message_that_arrives_twice_and_a_follower_that_comes_back() {
    let bounds = Bounds { max_duplicates: 1, ..stalling() }.with_timer_at(NodeId(1), Timer::Limit, 1);
    let explorer = targets::zab_from(led(2), &[(NodeId(2), "x")], bounds);
    covers(&explorer.explore(), &["a command decided"]);
}

/// Three voters, node 3 leads and has a command to decide. The others look for a leader, each once, at any moment.
#[test]
fn a_leader_of_three_that_is_succeeded_while_it_proposes() {
    let bounds = stalling()
        .with_timer_at(NodeId(1), Timer::Limit, 1)
        .with_timer_at(NodeId(2), Timer::Limit, 1)
        .with_timer_at(NodeId(1), Timer::Finalize, 1)
        .with_timer_at(NodeId(2), Timer::Finalize, 1);
    let explorer = targets::zab_from(led(3), &[(NodeId(3), "x")], bounds);
    covers(&explorer.explore(), &["a second epoch established", "a command decided"]);
}

/// Three voters, node 3 leads, has a command to decide and is asked to hand over to node 1: the states nearest to the beginning, and those with
/// a crash of any node.
#[test]
fn a_leader_that_hands_over_while_it_proposes() {
    for max_crashes in [0, 1] {
        let mut cluster = led(3);
        cluster.expire(NodeId(3), Timer::Tick);
        cluster.run(1_000, |_| true);
        let bounds = Bounds { max_crashes, max_states: 300_000, ..stalling() }
            .with_timer_at(NodeId(1), Timer::Finalize, 1)
            .with_timer_at(NodeId(2), Timer::Finalize, 1)
            .with_timer_at(NodeId(3), Timer::Finalize, 1);
        let wish = Input::Transfer { request: RequestId(1_000), to: NodeId(1) };
        let explorer = targets::zab_from(cluster, &[(NodeId(3), "x")], bounds).wish(NodeId(3), wish);
        let resigned = |cluster: &Testbed<Zab>| {
            cluster.node(NodeId(3)).replica().and_then(Zab::inside).is_some_and(|node| !node.is_established())
        };
        breaks_nothing_at_first(
            explorer.sometimes("node 3 resigned", resigned),
            &["node 3 resigned", "a command decided"],
        );
    }
}

/// Node 3 led, and has a transaction that nobody else has; node 2 leads epoch 2, established with node 1.
fn succeeded() -> Testbed<Zab> {
    let mut cluster = led(3);
    let others = |flight: &Flight<Zab>| flight.from != NodeId(3) && flight.to != NodeId(3);
    cluster.propose(NodeId(3), 1, "lost");
    while cluster.node(NodeId(3)).outstanding() > 0 {
        cluster.complete_writes(NodeId(3), usize::MAX);
    }
    cluster.lose_where(|_| true);
    for timer in [Timer::Limit, Timer::Finalize] {
        for id in [1, 2] {
            cluster.expire(NodeId(id), timer);
        }
        cluster.run(1_000, others);
    }
    cluster.expire(NodeId(1), Timer::Tick);
    cluster.run(1_000, others);
    cluster.lose_where(|_| true);
    assert!(cluster.replica(NodeId(2)).inside().is_some_and(|node| node.is_established()));
    cluster
}

/// Node 3 finds out at any moment, and gives up what node 2 does not have, while that proposes.
#[test]
fn a_leader_that_comes_back_with_what_nobody_else_has() {
    let bounds = stalling().with_timer_at(NodeId(3), Timer::Limit, 2);
    let explorer = targets::zab_from(succeeded(), &[(NodeId(2), "y")], bounds).sometimes("given up", |cluster| {
        let history = cluster.node(NodeId(3)).replica().and_then(Zab::inside).map(|node| node.log().clone());
        history.is_some_and(|log| log.get(Slot(1)).is_none_or(|txn| txn.zxid.epoch == 2))
    });
    covers(&explorer.explore(), &["given up", "a command decided"]);
}

/// Too large to finish here: so many states, breadth first, break nothing.
fn breaks_nothing_at_first(explorer: Explorer<Zab>, marks: &[&str]) {
    let report = explorer.explore();
    println!("{report}");
    assert!(report.violation.is_none(), "{report}");
    for mark in marks {
        assert!(report.happened(mark), "{mark} never happened: {report}");
    }
}

/// Any of the three crashes at any moment meanwhile, and loses any unfinished write.
#[test]
fn a_leader_that_comes_back_and_a_crash_of_any_node() {
    let bounds = Bounds { max_crashes: 1, max_states: 400_000, ..stalling() }.with_timer_at(NodeId(3), Timer::Limit, 2);
    let explorer = targets::zab_from(succeeded(), &[(NodeId(2), "y")], bounds);
    breaks_nothing_at_first(explorer, &["a second epoch established"]);
}

/// Node 3 leads and dies at any moment while it proposes; the others go on, or it comes back in time.
#[test]
fn a_leader_that_crashes_while_it_proposes() {
    let bounds = Bounds { max_crashes: 1, max_states: 400_000, ..stalling() }
        .with_timer_at(NodeId(1), Timer::Limit, 1)
        .with_timer_at(NodeId(2), Timer::Limit, 1)
        .with_timer_at(NodeId(1), Timer::Finalize, 1)
        .with_timer_at(NodeId(2), Timer::Finalize, 1);
    breaks_nothing_at_first(targets::zab_from(led(3), &[(NodeId(3), "x")], bounds), &["a command decided"]);
}
