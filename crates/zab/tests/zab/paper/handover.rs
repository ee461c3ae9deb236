//! Leadership handed to somebody named.

use crate::cluster::*;
use quorate_protocol::{Input, Refusal, Replica, RequestId, TRANSFER_IN_VAIN, Verdict};
use quorate_types::{MemberRole, NodeId};
use quorate_zab::Timer;

fn keeping_up(count: u64) -> Cluster {
    let mut cluster = Cluster::led(count);
    cluster.expire(count, Timer::Tick);
    cluster.run();
    cluster
}

fn hand_over(cluster: &mut Cluster, from: u64, to: u64) {
    cluster.bed.input(NodeId(from), Input::Transfer { request: RequestId(9), to: NodeId(to) });
}

fn refusal(cluster: &Cluster, id: u64) -> Option<Refusal> {
    cluster.bed.node(NodeId(id)).refusals().last().map(|(_, why)| why.clone())
}

fn leaders(cluster: &Cluster, count: u64) -> Vec<u64> {
    (1..=count).filter(|id| cluster.node(*id).is_established()).collect()
}

/// Node 1 would lose any election of equals: all others have higher ids.
#[test]
fn the_one_named_leads_though_its_id_is_the_lowest() {
    for count in [3, 5] {
        let mut cluster = keeping_up(count);
        cluster.propose(count, "a");
        cluster.run();
        hand_over(&mut cluster, count, 1);
        cluster.run();
        cluster.go_on(2);
        assert_eq!(leaders(&cluster, count), [1]);
        cluster.propose(1, "b");
        cluster.run();
        let decided: Vec<String> = cluster.decided(2).into_iter().filter(|words| words.len() == 1).collect();
        assert_eq!(decided, ["a", "b"]);
        cluster.holds();
    }
}

/// It needs no quorum for what makes its heir's history better: no other follower is sent that.
#[test]
fn the_others_hear_of_it_only_from_the_heir() {
    let mut cluster = keeping_up(5);
    hand_over(&mut cluster, 5, 1);
    let told: Vec<u64> = (1..=4).filter(|id| cluster.in_flight("proposal", 5, *id).is_some()).collect();
    assert_eq!(told, [1]);
    cluster.deliver("proposal", 5, 1);
    assert!(cluster.node(5).is_established());
    cluster.deliver("ack", 1, 5);
    assert_eq!(cluster.phase(5), "election");
    assert!(cluster.told(5, "zab.hand-over", Verdict::Allowed));
    cluster.run();
    cluster.go_on(2);
    assert_eq!(leaders(&cluster, 5), [1]);
    cluster.holds();
}

/// Under steady writes there is always one that the heir does not have yet.
#[test]
fn who_is_asked_with_a_proposal_under_way_takes_no_more_and_hands_over_when_the_heir_has_it() {
    let mut cluster = keeping_up(3);
    cluster.propose(3, "a");
    hand_over(&mut cluster, 3, 1);
    assert_eq!(refusal(&cluster, 3), None, "it is taken");
    assert!(cluster.told(3, "zab.hand-over", Verdict::Waiting));
    cluster.propose(3, "late");
    assert_eq!(refusal(&cluster, 3), Some(Refusal::NotReady("leadership is being handed over")));
    cluster.deliver("proposal", 3, 1);
    cluster.deliver("ack", 1, 3);
    assert!(cluster.node(3).is_established(), "what only the heir gets is still to come");
    cluster.run();
    cluster.go_on(2);
    assert_eq!(leaders(&cluster, 3), [1]);
    cluster.propose(1, "b");
    cluster.run();
    let decided: Vec<String> = cluster.decided(2).into_iter().filter(|words| words.len() == 1).collect();
    assert_eq!(decided, ["a", "b"]);
    cluster.holds();
}

#[test]
fn an_heir_that_dies_before_it_has_what_was_under_way_is_given_up() {
    let mut cluster = keeping_up(3);
    cluster.propose(3, "a");
    hand_over(&mut cluster, 3, 1);
    cluster.bed.crash(NodeId(1), 0);
    for _ in 0..10 {
        cluster.expire(3, Timer::Tick);
        cluster.run_among(&[2, 3]);
    }
    assert_eq!(refusal(&cluster, 3), Some(Refusal::NotReady(TRANSFER_IN_VAIN)));
    cluster.propose(3, "b");
    cluster.run_among(&[2, 3]);
    let decided: Vec<String> = cluster.decided(2).into_iter().filter(|words| words.len() == 1).collect();
    assert_eq!(decided, ["a", "b"]);
    cluster.holds();
}

/// Proposals do not stop for it: it would be in vain.
#[test]
fn who_was_silent_lately_and_lacks_something_is_refused() {
    let mut cluster = keeping_up(3);
    cluster.bed.crash(NodeId(1), 0);
    cluster.propose(3, "a");
    for _ in 0..3 {
        cluster.expire(3, Timer::Tick);
        cluster.run_among(&[2, 3]);
    }
    hand_over(&mut cluster, 3, 1);
    assert_eq!(refusal(&cluster, 3), Some(Refusal::NotReady("it does not keep up")));
    cluster.propose(3, "b");
    cluster.run_among(&[2, 3]);
    assert_eq!(cluster.decided(2).last().map(String::as_str), Some("b"));
}

#[test]
fn an_heir_that_does_not_answer_is_given_up_and_the_leader_leads_on() {
    let mut cluster = keeping_up(3);
    cluster.bed.crash(NodeId(1), 0);
    cluster.lose_all();
    hand_over(&mut cluster, 3, 1);
    cluster.propose(3, "meanwhile");
    assert_eq!(refusal(&cluster, 3), Some(Refusal::NotReady("leadership is being handed over")));
    for _ in 0..10 {
        cluster.expire(3, Timer::Tick);
        cluster.run_among(&[2, 3]);
    }
    assert_eq!(refusal(&cluster, 3), Some(Refusal::NotReady(TRANSFER_IN_VAIN)));
    cluster.propose(3, "a");
    cluster.run_among(&[2, 3]);
    assert_eq!(cluster.decided(2).last().map(String::as_str), Some("a"));
    cluster.holds();
}

/// The two others vote for the heir, wait for it in vain, and then for whoever of them is better.
#[test]
fn an_heir_that_dies_with_the_better_history_keeps_nobody_from_leading() {
    let mut cluster = keeping_up(3);
    hand_over(&mut cluster, 3, 1);
    cluster.deliver("proposal", 3, 1);
    cluster.complete(3);
    cluster.deliver("ack", 1, 3);
    cluster.bed.crash(NodeId(1), 0);
    cluster.run_among(&[2, 3]);
    for _ in 0..3 {
        for (id, timer) in [(2, Timer::Finalize), (3, Timer::Finalize), (2, Timer::Limit), (3, Timer::Limit)] {
            cluster.bed.expire(NodeId(id), timer);
            cluster.run_among(&[2, 3]);
        }
    }
    for id in [2, 3] {
        cluster.bed.expire(NodeId(id), Timer::Tick);
        cluster.run_among(&[2, 3]);
    }
    assert!(cluster.node(3).is_established(), "it has what it gave its heir");
    cluster.bed.restart(NodeId(1));
    cluster.run();
    cluster.go_on(3);
    assert_eq!(cluster.decided(1), cluster.decided(3));
    cluster.holds();
}

#[test]
fn who_cannot_lead_is_refused_by_what_it_lacks() {
    let mut cluster = keeping_up(3);
    let refused = |cluster: &mut Cluster, from: u64, to: u64| {
        hand_over(cluster, from, to);
        refusal(cluster, from)
    };
    assert_eq!(refused(&mut cluster, 1, 2), Some(Refusal::NotLeader { hint: Some(NodeId(3)) }));
    assert_eq!(refused(&mut cluster, 3, 3), Some(Refusal::Invalid("it leads already")));
    assert_eq!(refused(&mut cluster, 3, 7), Some(Refusal::Invalid("only a voter can lead")));
    cluster.bed.reconfigure(NodeId(3), 2, three_and(4, MemberRole::Learner));
    assert_eq!(refused(&mut cluster, 3, 1), Some(Refusal::NotReady("the members are being changed")));
}

#[test]
fn members_do_not_change_meanwhile() {
    let mut cluster = keeping_up(3);
    hand_over(&mut cluster, 3, 1);
    cluster.bed.reconfigure(NodeId(3), 2, three_and(4, MemberRole::Learner));
    assert_eq!(refusal(&cluster, 3), Some(Refusal::NotReady("leadership is being handed over")));
    assert_eq!(cluster.node(3).status().leader, Some(NodeId(3)));
}
