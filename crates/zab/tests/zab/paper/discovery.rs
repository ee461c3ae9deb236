//! Phase 1.

use crate::cluster::*;
use quorate_protocol::Verdict::{Allowed, Refused, Waiting};
use quorate_types::NodeId;
use quorate_zab::{FollowerWord, LeaderWord, Mark, Timer};

#[test]
fn rule_5_a_follower_opens_with_the_epoch_it_promised_and_the_end_of_its_history() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.run();
    cluster.elect(3, &[1, 2]);
    let cepoch = FollowerWord::Cepoch { accepted_epoch: 1, last: mark(1, 1, 1) };
    assert_eq!(*cluster.word_up("cepoch", 1, 3), cepoch);
    cluster.lose_all();
    cluster.expire(1, Timer::Tick);
    assert_eq!(*cluster.word_up("cepoch", 1, 3), cepoch, "said again while there is no answer");
}

#[test]
fn rule_6_a_quorum_of_cepochs_gives_an_epoch_above_all_of_them_durable_before_it_is_told() {
    let mut cluster = Cluster::of(3);
    // Node 1 has promised epoch 1 to a leader that failed.
    cluster.elect(2, &[1]);
    cluster.deliver("cepoch", 1, 2);
    cluster.complete(2);
    cluster.deliver("new-epoch", 2, 1);
    assert_eq!(cluster.epochs(1), (1, 0));
    cluster.bed.crash(NodeId(2), 0);
    cluster.elect(3, &[1]);
    cluster.hand_over("cepoch", 1, 3);
    assert_eq!(cluster.epochs(3), (2, 0), "one above");
    assert_eq!(cluster.in_flight("new-epoch", 3, 1), None, "its own promise is not durable yet");
    cluster.complete(3);
    assert_eq!(*cluster.word_down("new-epoch", 3, 1), LeaderWord::NewEpoch { epoch: 2 });
    cluster.holds();
}

/// A follower that promised more than its leader's epoch would be sent back to election for ever: its leader makes way.
#[test]
fn rule_6_an_established_leader_resigns_when_a_follower_has_promised_a_later_epoch() {
    let mut cluster = Cluster::led(3);
    cluster.elect(2, &[1]);
    cluster.deliver("cepoch", 1, 2);
    cluster.complete(2);
    cluster.deliver("new-epoch", 2, 1);
    assert_eq!(cluster.epochs(1), (2, 1), "it promised epoch 2 to a candidate that fails now");
    cluster.look(2);
    cluster.join(2, 3, &[]);
    assert!(cluster.node(3).is_established(), "node 3 still leads epoch 1");
    cluster.lose_all();
    cluster.expire(2, Timer::Tick);
    cluster.deliver("cepoch", 2, 3);
    assert_eq!(cluster.phase(3), "election");
    assert!(cluster.told(3, "zab.resign", Allowed));
    cluster.establish(3, &[1, 2]);
    assert_eq!(cluster.epochs(1), (3, 3), "the next epoch is above all promises");
    cluster.holds();
}

#[test]
fn rule_7_a_later_epoch_is_promised_durably_before_it_is_acknowledged() {
    let mut cluster = Cluster::of(3);
    cluster.elect(3, &[1, 2]);
    cluster.deliver("cepoch", 1, 3);
    cluster.complete(3);
    cluster.hand_over("new-epoch", 3, 1);
    assert_eq!(cluster.in_flight("ack-epoch", 1, 3), None);
    cluster.complete(1);
    let ack = FollowerWord::AckEpoch { epoch: 1, current_epoch: 0, last: Mark::default(), counts: true };
    assert_eq!(*cluster.word_up("ack-epoch", 1, 3), ack);
    assert!(cluster.told(1, "zab.promise", Allowed));
}

#[test]
fn rule_7_the_same_epoch_is_acknowledged_but_does_not_count() {
    let mut cluster = Cluster::of(3);
    cluster.elect(3, &[1, 2]);
    cluster.deliver("cepoch", 1, 3);
    cluster.complete(3);
    cluster.deliver("new-epoch", 3, 1);
    // Its acknowledgement is lost with its memory.
    cluster.bed.crash(NodeId(1), 0);
    cluster.lose_all();
    cluster.bed.restart(NodeId(1));
    cluster.join(1, 3, &[2]);
    cluster.deliver("cepoch", 1, 3);
    cluster.deliver("new-epoch", 3, 1);
    assert!(cluster.told(1, "zab.promise", Waiting));
    assert!(matches!(cluster.word_up("ack-epoch", 1, 3), FollowerWord::AckEpoch { epoch: 1, counts: false, .. }));
    cluster.deliver("ack-epoch", 1, 3);
    assert_eq!(cluster.epochs(3), (1, 0), "the epoch is not node 3's yet: it may have been promised to another");
    cluster.expire(2, Timer::Tick);
    cluster.run();
    assert_eq!(cluster.epochs(3), (1, 1), "node 2 promised it for the first time");
    cluster.holds();
}

#[test]
fn rule_7_an_earlier_epoch_is_not_followed() {
    let mut cluster = Cluster::of(5);
    cluster.elect(5, &[1, 2]);
    for follower in [1, 2] {
        cluster.deliver("cepoch", follower, 5);
    }
    assert_eq!(cluster.epochs(5), (1, 0));
    cluster.complete(5);
    // Meanwhile node 2 promises epoch 2 to node 4, which knows of epoch 1 from node 5's promise to itself.
    let held_back = cluster.sent("new-epoch", 5, 2).clone();
    cluster.elect(4, &[2, 3]);
    for follower in [2, 3] {
        cluster.deliver("cepoch", follower, 4);
    }
    cluster.complete(4);
    cluster.deliver("new-epoch", 4, 2);
    assert_eq!(cluster.epochs(2), (1, 0), "equal: both chose epoch 1, and only one can get a quorum for it");
    cluster.say(5, 2, held_back);
    assert_eq!(cluster.epochs(2), (1, 0), "what was said in an earlier connection means nothing");
    cluster.holds();
}

#[test]
fn rule_7_a_leader_of_an_earlier_epoch_than_promised_is_left() {
    let mut cluster = Cluster::of(3);
    cluster.elect(2, &[1]);
    cluster.deliver("cepoch", 1, 2);
    cluster.complete(2);
    let quorate_zab::Message::Down { sequence, word, .. } = cluster.sent("new-epoch", 2, 1).clone() else { panic!() };
    cluster.deliver("new-epoch", 2, 1);
    cluster.look(1);
    cluster.elect(3, &[1]);
    let quorate_zab::Message::Up { connection, .. } = cluster.sent("cepoch", 1, 3).clone() else { panic!() };
    let LeaderWord::NewEpoch { epoch: 1 } = word else { panic!("{word:?}") };
    let earlier = quorate_zab::Message::Down { connection, sequence, word: LeaderWord::NewEpoch { epoch: 0 } };
    cluster.say(3, 1, earlier);
    assert!(cluster.told(1, "zab.promise", Refused));
    assert_eq!(cluster.phase(1), "election");
    assert_eq!(cluster.epochs(1), (1, 0));
}

#[test]
fn rule_8_a_leader_resigns_when_the_quorum_being_formed_has_a_better_history() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.complete(3);
    cluster.deliver("proposal", 3, 1);
    cluster.lose_all();
    // Node 2 lacks a. Node 1, which has it, votes for node 2 all the same: votes are hints.
    cluster.bed.crash(NodeId(3), 0);
    for id in [1, 2] {
        cluster.look(id);
    }
    cluster.lose_all();
    for (from, to) in [(1, 2), (3, 2), (2, 1), (3, 1)] {
        let named = vote(7, zxid(7, 7), 2);
        let message = looks(named, 99);
        if from != 3 {
            cluster.say(from, to, message);
        }
    }
    cluster.lose_all();
    for id in [2, 1] {
        cluster.bed.expire(NodeId(id), Timer::Finalize);
    }
    assert_eq!(cluster.phase(2), "discovery");
    cluster.deliver("cepoch", 1, 2);
    cluster.complete(2);
    cluster.deliver("new-epoch", 2, 1);
    cluster.deliver("ack-epoch", 1, 2);
    assert!(cluster.told(2, "zab.resign", Allowed));
    assert_eq!(cluster.epochs(2), (2, 1), "epoch 2 is nobody's");
    cluster.establish(1, &[2]);
    assert_eq!(cluster.history(2), ["a"]);
    cluster.holds();
}

#[test]
fn rule_8_the_epoch_is_durably_the_leaders_before_it_goes_on() {
    let mut cluster = Cluster::of(3);
    cluster.elect(3, &[1, 2]);
    cluster.deliver("cepoch", 1, 3);
    cluster.complete(3);
    cluster.deliver("new-epoch", 3, 1);
    cluster.hand_over("ack-epoch", 1, 3);
    assert_eq!(cluster.epochs(3), (1, 1));
    assert_eq!(cluster.kinds(3, 1), Vec::<&str>::new(), "in memory only");
    cluster.complete(3);
    assert_eq!(cluster.kinds(3, 1), ["diff", "new-leader"]);
    cluster.holds();
}

/// Its (1, (1, 2)) is better than the leader's was when it was elected: that election is over.
#[test]
fn rule_8_whoever_joins_later_is_not_compared() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "only at node 3");
    cluster.complete(3);
    cluster.lose_all();
    cluster.bed.crash(NodeId(3), 0);
    cluster.establish(2, &[1]);
    cluster.bed.restart(NodeId(3));
    cluster.join(3, 2, &[1]);
    cluster.run();
    assert!(cluster.node(2).is_established());
    assert_eq!(cluster.history(3), Vec::<String>::new());
    assert_eq!(cluster.epochs(3), (2, 2));
    cluster.holds();
}
