//! Bounded exhaustive exploration: every schedule within each bound, and the beginning of larger searches.

use quorate_explorer::{Bounds, Disks, Report, targets};
use quorate_multi_paxos::{Config, MultiPaxos, QuorumSizes, Timer};
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Input, RequestId};
use quorate_types::{Member, Membership, NodeId};
use std::collections::BTreeMap;

fn covers(report: &Report<MultiPaxos>, marks: &[&str]) {
    assert!(report.complete, "{report}");
    reaches(report, marks);
}

fn reaches(report: &Report<MultiPaxos>, marks: &[&str]) {
    println!("{report}");
    assert!(report.violation.is_none(), "{report}");
    for mark in marks {
        assert!(report.happened(mark), "{mark} never happened: {report}");
    }
}

fn voters(count: u64) -> Testbed<MultiPaxos> {
    voters_with(count, Config::default())
}

fn voters_with(count: u64, config: Config) -> Testbed<MultiPaxos> {
    let mut cluster = Testbed::new(count, config);
    cluster.run(1_000, |_| true);
    cluster
}

/// So many voters, led by node 1 with what it said delivered, and equal disks merged.
fn led(count: u64, config: Config) -> Testbed<MultiPaxos> {
    let mut cluster = voters_with(count, config).merging_equal_disks();
    cluster.expire(NodeId(1), Timer::Election);
    cluster.run(1_000, |_| true);
    cluster
}

fn sizes(voters: usize, phase1: usize, phase2: usize) -> Config {
    Config { quorums: BTreeMap::from([(voters, QuorumSizes { phase1, phase2 })]), ..Config::default() }
}

fn stalling(max_states: usize) -> Bounds<MultiPaxos> {
    Bounds { disks: Disks::StallBeforeCrash, max_states, ..Bounds::default() }
}

/// Two voters, one candidate, one proposal; one message may arrive twice.
#[test]
fn two_voters_and_a_message_that_arrives_twice() {
    let bounds = Bounds { max_duplicates: 1, ..Bounds::default() }.with_timer_at(NodeId(1), Timer::Election, 1);
    let explorer = targets::multi_paxos_from(voters(2), Config::default(), &[(NodeId(1), "x")], bounds);
    covers(&explorer.explore(), &["a leader", "a command decided"]);
}

/// Two voters, both candidates once, no proposal; any node crashes at any moment and loses any unfinished write.
#[test]
fn two_candidates_of_two_and_a_crash_of_either_at_any_moment() {
    let bounds = Bounds { max_crashes: 1, ..Bounds::default() }
        .with_timer_at(NodeId(1), Timer::Election, 1)
        .with_timer_at(NodeId(2), Timer::Election, 1);
    covers(&targets::multi_paxos_from(voters(2), Config::default(), &[], bounds).explore(), &["a leader"]);
}

/// Node 1 leads two voters and is asked to leave node 2 out; either may crash at any moment, and node 2 may stand.
#[test]
fn a_stop_sign_and_a_crash_at_any_moment() {
    let mut cluster = voters(2);
    cluster.expire(NodeId(1), Timer::Election);
    cluster.run(1_000, |_| true);
    cluster.expire(NodeId(1), Timer::Heartbeat);
    cluster.run(1_000, |_| true);
    let members = Membership::new([Member::voter(NodeId(1))]);
    let wish = Input::Reconfigure { request: RequestId(7), based_on: Membership::of_voters(2), members };
    let bounds = Bounds { max_crashes: 1, ..Bounds::default() }.with_timer_at(NodeId(2), Timer::Election, 1);
    let explorer = targets::multi_paxos_from(cluster, Config::default(), &[], bounds).wish(NodeId(1), wish);
    covers(&explorer.explore(), &["a stop-sign decided", "the next configuration opened"]);
}

/// Three voters, each of two stands once, and a command is proposed at one of them: the first hundred thousand states.
#[test]
fn two_candidates_of_three_and_a_command() {
    let bounds = Bounds { max_states: 100_000, ..Bounds::default() }
        .with_timer_at(NodeId(1), Timer::Election, 1)
        .with_timer_at(NodeId(2), Timer::Election, 1);
    let report = targets::multi_paxos_from(voters(3), Config::default(), &[(NodeId(1), "x")], bounds).explore();
    assert!(report.violation.is_none(), "{report}");
    assert!(report.happened("a leader") && report.happened("a command decided"), "{report}");
    println!("{report}");
}

/// Three voters, one candidate, one proposal; any node crashes at any moment, and one message may arrive twice.
#[test]
fn three_voters_a_command_a_crash_and_a_message_that_arrives_twice() {
    let bounds = Bounds { max_crashes: 1, max_duplicates: 1, ..stalling(1_500_000) };
    let bounds = bounds.with_timer_at(NodeId(1), Timer::Election, 1);
    let report = targets::multi_paxos(Membership::of_voters(3), Config::default(), &[(NodeId(1), "x")], bounds);
    covers(&report.explore(), &["a leader", "a command decided"]);
}

/// Three voters of which two stand once, at any moment, and nothing is proposed: a crash of any node, or a message that arrives twice.
#[test]
fn two_candidates_of_three_with_a_crash_or_a_message_that_arrives_twice() {
    for (max_crashes, max_duplicates) in [(1, 0), (0, 1)] {
        let bounds = Bounds { max_crashes, max_duplicates, ..stalling(500_000) }
            .with_timer_at(NodeId(1), Timer::Election, 1)
            .with_timer_at(NodeId(2), Timer::Election, 1);
        let explorer = targets::multi_paxos(Membership::of_voters(3), Config::default(), &[], bounds);
        covers(&explorer.explore(), &["a leader"]);
    }
}

/// Node 1 leads and has a command to decide; node 2 stands at any moment.
fn one_succeeds_the_other(count: u64, config: Config, bounds: Bounds<MultiPaxos>) -> Report<MultiPaxos> {
    let bounds = bounds.with_timer_at(NodeId(2), Timer::Election, 1);
    let explorer = targets::multi_paxos_from(led(count, config.clone()), config, &[(NodeId(1), "x")], bounds);
    let leads = |cluster: &Testbed<MultiPaxos>| {
        cluster.node(NodeId(2)).replica().and_then(MultiPaxos::inside).is_some_and(|node| node.is_leader())
    };
    explorer.sometimes("node 2 leads", leads).explore()
}

const SUCCEEDED: [&str; 2] = ["node 2 leads", "a command decided"];

#[test]
fn a_leader_of_three_that_is_succeeded_while_it_proposes() {
    covers(&one_succeeds_the_other(3, Config::default(), stalling(500_000)), &SUCCEEDED);
}

/// The same with a crash of any node at any moment, and with a message that arrives twice: the states nearest to the beginning.
#[test]
fn a_leader_that_is_succeeded_with_a_crash_or_a_message_that_arrives_twice() {
    for (max_crashes, max_duplicates) in [(1, 0), (0, 1)] {
        let bounds = Bounds { max_crashes, max_duplicates, ..stalling(300_000) };
        reaches(&one_succeeds_the_other(3, Config::default(), bounds), &SUCCEEDED);
    }
}

/// Node 1 leads, has a command to decide and is asked to hand over to node 2; it asks that one to stand twice, or gives up, at any moment.
fn hands_over(bounds: Bounds<MultiPaxos>) -> Report<MultiPaxos> {
    let mut cluster = led(3, Config::default());
    cluster.expire(NodeId(1), Timer::Heartbeat);
    cluster.run(1_000, |_| true);
    let bounds = bounds.with_timer_at(NodeId(1), Timer::Heartbeat, 1).with_timer_at(NodeId(1), Timer::Transfer, 1);
    let wish = Input::Transfer { request: RequestId(1_000), to: NodeId(2) };
    let explorer = targets::multi_paxos_from(cluster, Config::default(), &[(NodeId(1), "x")], bounds);
    let leads = |cluster: &Testbed<MultiPaxos>| {
        cluster.node(NodeId(2)).replica().and_then(MultiPaxos::inside).is_some_and(|node| node.is_leader())
    };
    explorer.wish(NodeId(1), wish).sometimes("node 2 leads", leads).explore()
}

#[test]
fn a_leader_that_hands_over_while_it_proposes() {
    reaches(&hands_over(stalling(300_000)), &SUCCEEDED);
    reaches(&hands_over(Bounds { max_crashes: 1, ..stalling(300_000) }), &SUCCEEDED);
}

/// Of three all elect and one chooses, or one elects and all choose.
#[test]
fn unequal_quorums_of_three() {
    for (phase1, phase2) in [(3, 1), (1, 3)] {
        covers(&one_succeeds_the_other(3, sizes(3, phase1, phase2), stalling(500_000)), &SUCCEEDED);
    }
}

/// Of four three elect and any two choose: one candidate and a command, all schedules; and a leader that is succeeded, the states nearest
/// to the beginning.
#[test]
fn four_voters_of_which_two_choose() {
    let config = sizes(4, 3, 2);
    let bounds = stalling(500_000).with_timer_at(NodeId(1), Timer::Election, 1);
    let explorer = targets::multi_paxos(Membership::of_voters(4), config.clone(), &[(NodeId(1), "x")], bounds);
    covers(&explorer.explore(), &["a leader", "a command decided"]);
    reaches(&one_succeeds_the_other(4, config, stalling(300_000)), &SUCCEEDED);
}
