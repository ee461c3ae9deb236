//! Bounded exhaustive exploration: every schedule within each bound.

use quorate_explorer::{Bounds, Report, targets};
use quorate_multi_paxos::{Config, MultiPaxos, Timer};
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Input, RequestId};
use quorate_types::{Member, Membership, NodeId};

fn covers(report: &Report<MultiPaxos>, marks: &[&str]) {
    println!("{report}");
    assert!(report.complete && report.violation.is_none(), "{report}");
    for mark in marks {
        assert!(report.happened(mark), "{mark} never happened: {report}");
    }
}

fn voters(count: u64) -> Testbed<MultiPaxos> {
    let mut cluster = Testbed::new(count, Config::default());
    cluster.run(1_000, |_| true);
    cluster
}

/// Two voters, one candidate, one proposal; one message may arrive twice.
#[test]
fn two_voters_and_a_message_that_arrives_twice() {
    let bounds = Bounds { max_duplicates: 1, ..Bounds::default() }.with_timer_at(NodeId(1), Timer::Election, 1);
    let explorer = targets::multi_paxos_from(voters(2), &[(NodeId(1), "x")], bounds);
    covers(&explorer.explore(), &["a leader", "a command decided"]);
}

/// Two voters, both candidates once, no proposal; any node crashes at any moment and loses any unfinished write.
#[test]
fn two_candidates_of_two_and_a_crash_of_either_at_any_moment() {
    let bounds = Bounds { max_crashes: 1, ..Bounds::default() }
        .with_timer_at(NodeId(1), Timer::Election, 1)
        .with_timer_at(NodeId(2), Timer::Election, 1);
    covers(&targets::multi_paxos_from(voters(2), &[], bounds).explore(), &["a leader"]);
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
    let explorer = targets::multi_paxos_from(cluster, &[], bounds).wish(NodeId(1), wish);
    covers(&explorer.explore(), &["a stop-sign decided", "the next configuration opened"]);
}

/// Three voters, each of two stands once, and a command is proposed at one of them: the first hundred thousand states.
#[test]
fn two_candidates_of_three_and_a_command() {
    let bounds = Bounds { max_states: 100_000, ..Bounds::default() }
        .with_timer_at(NodeId(1), Timer::Election, 1)
        .with_timer_at(NodeId(2), Timer::Election, 1);
    let report = targets::multi_paxos_from(voters(3), &[(NodeId(1), "x")], bounds).explore();
    assert!(report.violation.is_none(), "{report}");
    assert!(report.happened("a leader") && report.happened("a command decided"), "{report}");
    println!("{report}");
}
