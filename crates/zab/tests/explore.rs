//! Bounded exhaustive exploration: every schedule within each bound.

use quorate_explorer::{Bounds, Disks, Explorer, Report, targets};
use quorate_protocol::testbed::Testbed;
use quorate_types::{Membership, NodeId};
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
