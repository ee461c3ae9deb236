//! Phase 3.

use crate::cluster::*;
use quorate_protocol::Verdict::Waiting;
use quorate_protocol::{Decision, Refusal};
use quorate_types::{Membership, NodeId, Slot};
use quorate_zab::{Config, FollowerWord, LeaderWord, Payload, Txn};

#[test]
fn rule_12_proposals_are_counted_from_one_and_travel_while_the_leader_writes() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    let txn = Txn { zxid: zxid(1, 1), payload: Payload::Command("a".into()) };
    assert_eq!(txn.zxid.number(), 0x1_0000_0001);
    for follower in [1, 2] {
        let proposal = LeaderWord::Proposal { first: Slot(1), txns: vec![txn.clone()] };
        assert_eq!(*cluster.word_down("proposal", 3, follower), proposal);
    }
    cluster.deliver("proposal", 3, 1);
    cluster.deliver("ack", 1, 3);
    assert_eq!(cluster.node(3).committed(), Slot(1), "the delivery completed its own write too");
    cluster.holds();
}

#[test]
fn rule_12_a_leaders_own_acknowledgement_counts_after_its_write() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.deliver("proposal", 3, 1);
    cluster.hand_over("ack", 1, 3);
    assert_eq!(cluster.node(3).committed(), Slot::ZERO);
    cluster.complete(3);
    assert_eq!(cluster.node(3).committed(), Slot(1));
}

#[test]
fn rule_12_an_epoch_whose_counter_is_used_up_makes_way_for_a_new_one() {
    let config = Config { counter_most: 2, ..Config::default() };
    let mut cluster = Cluster::with(Membership::of_voters(3), config);
    cluster.establish(3, &[1, 2]);
    for words in ["a", "b", "c"] {
        cluster.propose(3, words);
    }
    let refused = cluster.bed.node(NodeId(3)).refusals().last().map(|(_, why)| why.clone());
    assert!(matches!(refused, Some(Refusal::NotReady(_))), "{refused:?}");
    cluster.run();
    assert_eq!(cluster.decided(3), ["a", "b"]);
    cluster.go_on(3);
    assert!(cluster.node(3).is_established());
    cluster.propose(3, "c");
    cluster.run();
    assert_eq!(cluster.node(1).log().last(), mark(3, 2, 1));
    assert_eq!(cluster.decided(1), ["a", "b", "c"]);
    cluster.holds();
}

#[test]
fn rule_12_whoever_does_not_lead_takes_no_proposal() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "a");
    let refusals = cluster.bed.node(NodeId(1)).refusals();
    assert_eq!(refusals.last().map(|(_, why)| why.clone()), Some(Refusal::NotLeader { hint: Some(NodeId(3)) }));
}

#[test]
fn rule_13_a_follower_acknowledges_what_is_durable() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.hand_over("proposal", 3, 1);
    assert_eq!(cluster.in_flight("ack", 1, 3), None);
    cluster.complete(1);
    assert_eq!(*cluster.word_up("ack", 1, 3), FollowerWord::Ack { epoch: 1, through: mark(1, 1, 1) });
}

#[test]
fn rule_13_proposals_are_taken_in_order_whatever_the_network_does() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    let first = cluster.sent("proposal", 3, 1).clone();
    cluster.lose_to(1);
    cluster.propose(3, "b");
    cluster.deliver("proposal", 3, 1);
    assert_eq!(cluster.history(1), Vec::<String>::new(), "b waits for a");
    cluster.say(3, 1, first.clone());
    assert_eq!(cluster.history(1), ["a", "b"]);
    cluster.say(3, 1, first);
    assert_eq!(cluster.history(1), ["a", "b"], "and a again is nothing new");
}

#[test]
fn rule_14_a_quorum_commits_with_everything_before() {
    let mut cluster = Cluster::led(5);
    for words in ["a", "b"] {
        cluster.propose(5, words);
    }
    cluster.complete(5);
    for follower in [1, 2] {
        cluster.deliver("proposal", 5, follower);
        cluster.deliver("proposal", 5, follower);
    }
    // The first acknowledgement of node 1 is lost: the second says as much.
    cluster.bed.lose_where(|flight| flight.from == NodeId(1) && matches!(last_acked(flight), Some(1)));
    cluster.deliver("ack", 1, 5);
    assert_eq!(cluster.node(5).committed(), Slot::ZERO, "two of five");
    cluster.deliver("ack", 2, 5);
    assert_eq!(cluster.node(5).committed(), Slot(1));
    cluster.deliver("ack", 2, 5);
    assert_eq!(cluster.node(5).committed(), Slot(2));
    assert_eq!(*cluster.word_down("commit", 5, 1), LeaderWord::Commit { through: mark(1, 1, 1) });
}

fn last_acked(flight: &quorate_protocol::testbed::Flight<quorate_zab::Zab>) -> Option<u64> {
    match &flight.message.body {
        quorate_succession::Body::Within(quorate_zab::Message::Up {
            word: FollowerWord::Ack { through, .. }, ..
        }) => Some(through.slot.0),
        _ => None,
    }
}

#[test]
fn rule_15_a_follower_delivers_in_order_what_is_committed_and_durable() {
    let mut cluster = Cluster::led(3);
    for words in ["a", "b"] {
        cluster.propose(3, words);
    }
    cluster.complete(3);
    for _ in 0..2 {
        cluster.deliver("proposal", 3, 2);
        cluster.deliver("ack", 2, 3);
        cluster.hand_over("proposal", 3, 1);
    }
    for _ in 0..2 {
        cluster.hand_over("commit", 3, 1);
    }
    assert_eq!(cluster.decided(1), Vec::<String>::new(), "committed, but not durable here");
    assert!(cluster.told(1, "zab.deliver", Waiting));
    cluster.complete(1);
    let decided: Vec<Decision> = cluster.bed.node(NodeId(1)).decided().values().cloned().collect();
    assert_eq!(decided, [Decision::Commands("a".into()), Decision::Commands("b".into())]);
    cluster.holds();
}
