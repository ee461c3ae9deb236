//! Leadership handed to somebody named.

use crate::cluster::*;
use quorate_multi_paxos::{Config, QuorumSizes, Timer};
use quorate_protocol::Verdict::{Allowed, Waiting};
use quorate_protocol::{Input, Refusal, Replica, RequestId, TRANSFER_IN_VAIN};
use quorate_types::{MemberRole, Membership, NodeId};
use std::collections::BTreeMap;

const UNDER_WAY: Refusal = Refusal::NotReady("leadership is being handed over");

/// Node 1 leads, and all have answered a heartbeat.
fn keeping_up(count: u64) -> Cluster {
    let mut cluster = Cluster::led(count);
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    cluster
}

fn transfer(cluster: &mut Cluster, from: u64, to: u64) {
    cluster.bed.input(NodeId(from), Input::Transfer { request: RequestId(9), to: NodeId(to) });
}

fn refusals(cluster: &Cluster, id: u64) -> Vec<Refusal> {
    cluster.bed.node(NodeId(id)).refusals().iter().map(|(_, why)| why.clone()).collect()
}

/// Under steady writes there is always one that the heir does not have yet.
#[test]
fn who_is_asked_with_a_proposal_under_way_takes_no_more_and_hands_over_when_the_heir_has_it() {
    let mut cluster = keeping_up(3);
    cluster.propose(1, "a");
    transfer(&mut cluster, 1, 2);
    assert_eq!(refusals(&cluster, 1), [], "it is taken");
    assert!(cluster.told(1, "multi-paxos.transfer", Waiting));
    cluster.propose(1, "late");
    assert_eq!(refusals(&cluster, 1), [UNDER_WAY]);
    cluster.deliver("accept", 1, 2);
    assert!(cluster.in_flight("take-over", 1, 2).is_none(), "it does not know yet that the heir has it");
    cluster.deliver("accepted", 2, 1);
    assert!(cluster.told(1, "multi-paxos.transfer", Allowed));
    cluster.run();
    assert!(cluster.node(2).is_leader());
    cluster.propose(2, "b");
    cluster.run();
    assert_eq!(cluster.decided(2), ["a", "b"]);
    assert_eq!(refusals(&cluster, 1), [UNDER_WAY], "who asked sees who leads");
    cluster.holds();
}

#[test]
fn who_has_everything_is_asked_to_stand_at_once_and_again_with_every_heartbeat() {
    let mut cluster = keeping_up(3);
    transfer(&mut cluster, 1, 2);
    assert!(cluster.in_flight("take-over", 1, 2).is_some());
    cluster.lose_all();
    cluster.expire(1, Timer::Heartbeat);
    assert!(cluster.in_flight("take-over", 1, 2).is_some(), "the word may have been lost");
    cluster.run();
    assert!(cluster.node(2).is_leader());
    cluster.holds();
}

#[test]
fn an_heir_that_does_not_answer_is_given_up_and_the_leader_leads_on() {
    let mut cluster = keeping_up(3);
    cluster.propose(1, "a");
    transfer(&mut cluster, 1, 2);
    cluster.bed.crash(NodeId(2), 0);
    cluster.run_among(&[1, 3]);
    cluster.propose(1, "meanwhile");
    cluster.expire(1, Timer::Transfer);
    assert_eq!(refusals(&cluster, 1), [UNDER_WAY, Refusal::NotReady(TRANSFER_IN_VAIN)]);
    cluster.propose(1, "b");
    cluster.run_among(&[1, 3]);
    assert_eq!(cluster.decided(1), ["a", "b"]);
    cluster.bed.restart(NodeId(2));
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    assert!(cluster.in_flight("take-over", 1, 2).is_none());
    assert!(cluster.node(1).is_leader(), "nobody is asked any more");
    cluster.holds();
}

/// Proposals do not stop for it: it would be in vain.
#[test]
fn who_was_silent_lately_and_lacks_something_is_refused() {
    let mut cluster = keeping_up(3);
    cluster.bed.crash(NodeId(2), 0);
    cluster.propose(1, "a");
    for _ in 0..3 {
        cluster.expire(1, Timer::Heartbeat);
        cluster.run_among(&[1, 3]);
    }
    transfer(&mut cluster, 1, 2);
    assert_eq!(refusals(&cluster, 1), [Refusal::NotReady("it does not keep up")]);
    cluster.propose(1, "b");
    cluster.run_among(&[1, 3]);
    assert_eq!(cluster.decided(1), ["a", "b"]);
}

#[test]
fn who_cannot_lead_is_refused_by_what_it_lacks() {
    let mut cluster = keeping_up(3);
    let mut refused = |from, to| {
        transfer(&mut cluster, from, to);
        refusals(&cluster, from).pop()
    };
    assert_eq!(refused(2, 3), Some(Refusal::NotLeader { hint: Some(NodeId(1)) }));
    assert_eq!(refused(1, 1), Some(Refusal::Invalid("it leads already")));
    assert_eq!(refused(1, 7), Some(Refusal::Invalid("only a voter can lead")));
    transfer(&mut cluster, 1, 2);
    transfer(&mut cluster, 1, 3);
    assert_eq!(refusals(&cluster, 1).pop(), Some(Refusal::NotReady("leadership is being handed over already")));
}

#[test]
fn nobody_is_handed_the_lead_while_the_members_change_nor_do_they_change_meanwhile() {
    let mut cluster = keeping_up(3);
    cluster.propose(1, "a");
    transfer(&mut cluster, 1, 2);
    cluster.bed.reconfigure(NodeId(1), 2, three_and(4, MemberRole::Learner));
    assert_eq!(refusals(&cluster, 1), [UNDER_WAY]);
    assert_eq!(cluster.node(1).status().leader, Some(NodeId(1)));
    let mut cluster = keeping_up(3);
    cluster.bed.reconfigure(NodeId(1), 2, three_and(4, MemberRole::Learner));
    transfer(&mut cluster, 1, 2);
    assert_eq!(refusals(&cluster, 1), [Refusal::NotReady("the members are being changed")]);
}

/// Its successor is somebody else, who came by itself.
#[test]
fn whoever_stands_meanwhile_ends_it() {
    let mut cluster = keeping_up(3);
    cluster.propose(1, "a");
    transfer(&mut cluster, 1, 2);
    cluster.lose_all();
    cluster.elect(3, &[1]);
    cluster.run();
    assert!(cluster.node(3).is_leader());
    assert!(!cluster.bed.expire(NodeId(1), Timer::Transfer), "nothing is left to give up");
    assert_eq!(refusals(&cluster, 1), []);
    cluster.holds();
}

/// Three of four elect, and two decide: a leader that two hear goes on, and would have no successor.
#[test]
fn nobody_is_asked_to_stand_while_too_few_answer_to_elect() {
    let quorums = BTreeMap::from([(4, QuorumSizes { phase1: 3, phase2: 2 })]);
    let mut cluster = Cluster::with(Membership::of_voters(4), Config { quorums, ..Config::default() });
    cluster.elect(1, &[2, 3]);
    for _ in 0..3 {
        cluster.expire(1, Timer::Heartbeat);
        cluster.run_among(&[1, 2]);
        cluster.lose_all();
    }
    transfer(&mut cluster, 1, 2);
    assert_eq!(refusals(&cluster, 1), [Refusal::NotReady("too few members answer to elect another leader")]);
    cluster.propose(1, "a");
    cluster.run_among(&[1, 2]);
    assert_eq!(cluster.decided(1), ["a"]);
    cluster.lose_all();
    for _ in 0..3 {
        cluster.expire(1, Timer::Heartbeat);
        cluster.run_among(&[1, 2, 3]);
    }
    transfer(&mut cluster, 1, 2);
    cluster.run_among(&[1, 2, 3]);
    assert!(cluster.node(2).is_leader());
    cluster.holds();
}
