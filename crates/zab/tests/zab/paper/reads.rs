//! Linearizable reads: a sync through the leader.

use crate::cluster::*;
use quorate_protocol::{Refusal, Refused, Verdict};
use quorate_types::{Membership, NodeId, Slot};
use quorate_zab::{Config, Timer};

#[test]
fn a_read_at_the_leader_waits_until_a_quorum_confirms_after_it_came() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.run();
    cluster.expire(3, Timer::Tick);
    cluster.deliver("ping", 3, 1);
    let token = cluster.read(3, 1);
    cluster.deliver("pong", 1, 3);
    assert!(cluster.bed.node(NodeId(3)).reads().is_empty(), "that pong is older than the read");
    cluster.deliver("confirm", 3, 1);
    cluster.deliver("pong", 1, 3);
    assert_eq!(cluster.bed.node(NodeId(3)).reads(), [(token, Slot(1))]);
}

#[test]
fn a_read_begins_a_round_of_its_own_and_a_later_rounds_answer_confirms_earlier_ones() {
    let mut cluster = Cluster::led(3);
    cluster.run();
    let [first, second] = [1, 2].map(|number| cluster.read(3, number));
    cluster.deliver("confirm", 3, 1);
    cluster.deliver("pong", 1, 3);
    assert_eq!(cluster.bed.node(NodeId(3)).reads(), [(first, Slot(0))], "the second came after that round began");
    cluster.deliver("confirm", 3, 1);
    cluster.deliver("pong", 1, 3);
    assert_eq!(cluster.bed.node(NodeId(3)).reads().last(), Some(&(second, Slot(0))));
    cluster.read(3, 3);
    cluster.lose_all();
    cluster.expire(3, Timer::Tick);
    cluster.deliver("ping", 3, 2);
    cluster.deliver("pong", 2, 3);
    assert_eq!(cluster.bed.node(NodeId(3)).reads().len(), 3, "a ping is a round too");
}

#[test]
fn questions_for_reads_that_are_lost_or_overtake_something_cost_no_connection() {
    let mut cluster = Cluster::led(3);
    cluster.run();
    for number in 1..=5 {
        cluster.read(3, number);
    }
    cluster.lose_all();
    cluster.propose(3, "a");
    for number in 6..=9 {
        cluster.read(3, number);
        cluster.deliver("confirm", 3, 1);
        cluster.deliver("pong", 1, 3);
    }
    assert_eq!(cluster.bed.node(NodeId(3)).reads().len(), 9);
    cluster.run();
    assert!(!cluster.told(1, "zab.reconnect", Verdict::Allowed));
    assert_eq!(cluster.decided(1).len(), 1);
}

#[test]
fn nobody_confirms_in_a_connection_that_is_over() {
    let mut cluster = Cluster::led(3);
    cluster.run();
    cluster.read(3, 1);
    cluster.look(1);
    cluster.deliver("confirm", 3, 1);
    assert_eq!(cluster.in_flight("pong", 1, 3), None);
    assert!(cluster.told(1, "zab.stale", Verdict::Refused));
}

#[test]
fn a_read_at_a_follower_goes_through_its_leader() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.complete(3);
    cluster.deliver("proposal", 3, 2);
    cluster.deliver("ack", 2, 3);
    let token = cluster.read(1, 1);
    cluster.run();
    assert_eq!(cluster.bed.node(NodeId(1)).reads(), [(token, Slot(1))], "not before what node 3 has committed");
}

#[test]
fn a_leader_that_was_succeeded_serves_no_read() {
    let mut cluster = Cluster::led(3);
    cluster.establish(2, &[1]);
    cluster.propose(2, "a");
    cluster.run_among(&[1, 2]);
    assert!(cluster.node(3).is_established(), "it has not noticed");
    let token = cluster.read(3, 1);
    cluster.run();
    assert!(cluster.bed.node(NodeId(3)).reads().is_empty());
    cluster.look(3);
    let refusals = cluster.bed.node(NodeId(3)).refusals();
    assert_eq!(refusals, [(Refused::Read(token), Refusal::LeaderChanged)]);
}

#[test]
fn a_read_without_a_leader_or_beyond_the_bound_is_refused() {
    let mut cluster = Cluster::with(Membership::of_voters(3), Config { waiting_reads: 1, ..Config::default() });
    cluster.read(1, 1);
    assert_eq!(cluster.bed.node(NodeId(1)).refusals().len(), 1, "no leader is known");
    cluster.establish(3, &[1, 2]);
    cluster.read(1, 2);
    let token = cluster.read(1, 3);
    let refusals = cluster.bed.node(NodeId(1)).refusals();
    assert_eq!(refusals.last(), Some(&(Refused::Read(token), Refusal::Overloaded)));
}

#[test]
fn a_lost_question_is_asked_again() {
    let mut cluster = Cluster::led(3);
    let token = cluster.read(1, 1);
    cluster.lose_all();
    cluster.expire(1, Timer::ReadRetry);
    cluster.run();
    assert_eq!(cluster.bed.node(NodeId(1)).reads(), [(token, Slot::ZERO)]);
}
