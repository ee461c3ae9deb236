//! Phase 2.

use crate::cluster::*;
use quorate_protocol::Replica;
use quorate_protocol::Verdict::{Allowed, Refused, Waiting};
use quorate_types::{NodeId, Slot};
use quorate_zab::{Config, FollowerWord, LeaderWord, Mark, Message, Payload, Standing, Timer, Txn};

#[test]
fn rule_9_a_follower_whose_history_is_a_prefix_gets_the_rest() {
    let mut cluster = Cluster::led(3);
    for words in ["a", "b"] {
        cluster.propose(3, words);
        cluster.run_among(&[2, 3]);
    }
    cluster.join(1, 3, &[2]);
    cluster.discover(3, 1);
    assert_eq!(*cluster.word_down("diff", 3, 1), LeaderWord::Diff { from: Mark::default() });
    assert_eq!(cluster.kinds(3, 1), ["diff", "proposal", "new-leader", "commit"]);
    cluster.run();
    assert_eq!(cluster.decided(1), ["a", "b"]);
    cluster.holds();
}

#[test]
fn rule_9_a_follower_that_lacks_nothing_gets_an_empty_diff() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.run();
    cluster.expire(3, Timer::Tick);
    cluster.run();
    cluster.join(1, 3, &[2]);
    cluster.discover(3, 1);
    assert_eq!(*cluster.word_down("diff", 3, 1), LeaderWord::Diff { from: mark(1, 1, 1) });
    assert_eq!(cluster.kinds(3, 1), ["diff", "new-leader", "commit"]);
}

#[test]
fn rule_9_what_is_not_in_the_leaders_history_is_truncated_to_the_greatest_below_it() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.run();
    for words in ["b", "c"] {
        cluster.propose(3, words);
    }
    cluster.complete(3);
    cluster.bed.crash(NodeId(3), 0);
    cluster.lose_all();
    cluster.establish(2, &[1]);
    cluster.propose(2, "d");
    cluster.run_among(&[1, 2]);
    cluster.bed.restart(NodeId(3));
    cluster.lose_all();
    assert_eq!(cluster.history(3), ["a", "b", "c"]);
    cluster.join(3, 2, &[1]);
    cluster.discover(2, 3);
    assert_eq!(*cluster.word_down("truncate", 2, 3), LeaderWord::Truncate { to: mark(1, 1, 1) });
    cluster.run();
    assert_eq!(cluster.history(3), ["a", "d"]);
    assert_eq!(cluster.decided(3), ["a", "d"]);
    cluster.holds();
}

/// Histories of established epochs contain each other, so no correct run gets here: what a leader cannot have goes all the same, and
/// what is committed does not.
#[test]
fn rule_9_a_follower_that_lacks_the_target_gives_up_what_lies_above_it_and_asks_anew() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.deliver("proposal", 3, 1);
    cluster.bed.crash(NodeId(3), 0);
    cluster.lose_all();
    cluster.elect(1, &[2]);
    cluster.look(1);
    cluster.lose_all();
    let leading = Message::Notification { vote: Some(vote(9, zxid(9, 9), 2)), round: 50, standing: Standing::Leading };
    cluster.say(2, 1, leading);
    let Message::Up { connection, .. } = cluster.sent("cepoch", 1, 2).clone() else { panic!("another message") };
    let epoch = cluster.node(1).accepted_epoch() + 1;
    cluster.lose_all();
    let words = [LeaderWord::NewEpoch { epoch }, LeaderWord::Truncate { to: mark(9, 1, 1) }];
    for (word, sequence) in words.into_iter().zip(1..) {
        cluster.say(2, 1, Message::Down { connection, sequence, word });
        cluster.complete(1);
    }
    assert!(cluster.told(1, "zab.truncate", Waiting));
    assert_eq!(cluster.node(1).log().count(), 0);
    let FollowerWord::Cepoch { last, .. } = cluster.word_up("cepoch", 1, 2) else { panic!("another word") };
    assert_eq!(*last, Mark::default(), "and joins again with what is left");
}

#[test]
fn rule_9_nobody_gives_up_what_is_committed() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.run();
    cluster.look(1);
    cluster.lose_all();
    cluster.join(1, 3, &[2]);
    let Message::Up { connection, .. } = cluster.sent("cepoch", 1, 3).clone() else { panic!("another message") };
    cluster.lose_all();
    let words = [LeaderWord::NewEpoch { epoch: 1 }, LeaderWord::Truncate { to: Mark::default() }];
    for (word, sequence) in words.into_iter().zip(1..) {
        cluster.say(3, 1, Message::Down { connection, sequence, word });
    }
    assert!(cluster.told(1, "zab.truncate", Refused));
    assert_eq!((cluster.history(1), cluster.phase(1)), (vec!["a".to_owned()], "election".to_owned()));
}

#[test]
fn rule_9_who_needs_what_is_no_longer_held_gets_a_snapshot_and_then_the_rest() {
    let config = Config { keep_log_entries: 2, compact_keep_entries: 0, ..Config::default() };
    let mut cluster = Cluster::with(quorate_types::Membership::of_voters(3), config);
    cluster.establish(3, &[1, 2]);
    cluster.bed.crash(NodeId(1), 0);
    for words in ["a", "b", "c", "d"] {
        cluster.propose(3, words);
        cluster.run_among(&[2, 3]);
    }
    cluster.bed.checkpoint(NodeId(3));
    cluster.complete(3);
    assert!(cluster.node(3).log().base().slot > Slot::ZERO, "it has forgotten what it applied");
    cluster.bed.restart(NodeId(1));
    cluster.lose_all();
    cluster.join(1, 3, &[2]);
    cluster.run();
    assert!(cluster.told(1, "zab.snapshot", Allowed));
    cluster.propose(3, "e");
    cluster.go_on(2);
    assert_eq!(cluster.decided(1), ["a", "b", "c", "d", "e"]);
    cluster.holds();
}

/// Begun anew at each election it might never get there.
#[test]
fn rule_9_a_snapshot_that_a_leader_was_sending_when_it_resigned_goes_on_until_the_driver_says_that_it_ended() {
    let config = Config { keep_log_entries: 2, compact_keep_entries: 0, ..Config::default() };
    let mut cluster = Cluster::with_slow_snapshots(quorate_types::Membership::of_voters(3), config);
    cluster.establish(3, &[1, 2]);
    cluster.bed.crash(NodeId(1), 0);
    for words in ["a", "b", "c", "d"] {
        cluster.propose(3, words);
        cluster.run_among(&[2, 3]);
    }
    cluster.bed.checkpoint(NodeId(3));
    cluster.complete(3);
    cluster.bed.restart(NodeId(1));
    cluster.lose_all();
    cluster.join(1, 3, &[2]);
    cluster.run();
    assert_eq!(cluster.bed.transfers().len(), 1);
    cluster.lose_all();
    cluster.establish(3, &[2]);
    cluster.join(1, 3, &[2]);
    cluster.run();
    assert_eq!(cluster.bed.transfers().len(), 1, "it is on its way");
    cluster.bed.deliver_snapshot(0);
    cluster.run();
    assert!(cluster.node(1).log().base().slot > Slot::ZERO, "it arrives in the later epoch");
    cluster.holds();
}

#[test]
fn rule_9_acknowledgements_of_an_earlier_connection_are_forgotten() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.deliver("proposal", 3, 1);
    let old = cluster.sent("ack", 1, 3).clone();
    cluster.lose_all();
    cluster.join(1, 3, &[2]);
    cluster.discover(3, 1);
    cluster.say(1, 3, old);
    cluster.complete(3);
    assert_eq!(cluster.node(3).committed(), Slot::ZERO);
}

#[test]
fn rule_9_a_follower_offered_the_epoch_gets_every_new_proposal_and_applies_nothing_before_up_to_date() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.run_among(&[2, 3]);
    cluster.join(1, 3, &[2]);
    cluster.discover(3, 1);
    cluster.propose(3, "b");
    cluster.complete(3);
    cluster.deliver("proposal", 3, 2);
    cluster.deliver("ack", 2, 3);
    assert_eq!(cluster.kinds(3, 1), ["diff", "proposal", "new-leader", "commit", "proposal", "commit"]);
    cluster.deliver_all(&["diff", "proposal", "new-leader", "commit", "proposal", "commit"], 3, 1);
    assert_eq!(cluster.node(1).log().last(), mark(2, 1, 2));
    assert_eq!(cluster.decided(1), Vec::<String>::new());
    cluster.deliver("ack-new-leader", 1, 3);
    cluster.deliver("up-to-date", 3, 1);
    assert_eq!(cluster.decided(1), ["a", "b"]);
    cluster.holds();
}

#[test]
fn rule_10_the_history_is_durable_then_the_epoch_and_then_the_acknowledgement_leaves() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.run_among(&[2, 3]);
    cluster.bed.crash(NodeId(1), 0);
    cluster.bed.restart(NodeId(1));
    cluster.lose_all();
    cluster.establish(3, &[2]);
    cluster.join(1, 3, &[2]);
    cluster.discover(3, 1);
    for kind in ["diff", "proposal", "new-leader"] {
        cluster.hand_over(kind, 3, 1);
    }
    cluster.bed.complete_writes(NodeId(1), 1);
    let recovered = cluster.bed.recovered(NodeId(1)).expect("it opens").inside().expect("it is a member").clone();
    assert_eq!((recovered.log().last(), recovered.current_epoch()), (mark(1, 1, 1), 1), "the history comes first");
    assert_eq!(cluster.in_flight("ack-new-leader", 1, 3), None);
    cluster.complete(1);
    let ack = FollowerWord::AckNewLeader { epoch: 2, through: mark(1, 1, 1) };
    assert_eq!(*cluster.word_up("ack-new-leader", 1, 3), ack);
    assert_eq!(cluster.epochs(1), (2, 2));
    cluster.holds();
}

#[test]
fn rule_11_a_quorum_with_the_initial_history_commits_it_and_establishes_the_epoch() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.complete(3);
    cluster.deliver("proposal", 3, 1);
    cluster.bed.crash(NodeId(3), 0);
    cluster.lose_all();
    cluster.elect(1, &[2]);
    cluster.discover(1, 2);
    cluster.deliver_all(&["diff", "proposal", "new-leader"], 1, 2);
    cluster.propose(1, "too early");
    assert_eq!(cluster.bed.node(NodeId(1)).refusals().len(), 1, "it does not serve yet");
    assert_eq!(cluster.decided(1), Vec::<String>::new());
    cluster.deliver("ack-new-leader", 2, 1);
    assert_eq!(cluster.decided(1), ["a"]);
    assert!(cluster.told(1, "zab.establish", Allowed));
    assert_eq!(*cluster.word_down("up-to-date", 1, 2), LeaderWord::UpToDate { committed: mark(1, 1, 1) });
    cluster.deliver("up-to-date", 1, 2);
    assert_eq!(cluster.decided(2), ["a"]);
    cluster.holds();
}

#[test]
fn a_loss_is_noticed_by_the_second_ping_and_costs_a_connection() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.lose_to(1);
    cluster.run_among(&[2, 3]);
    for _ in 0..2 {
        assert_eq!(cluster.history(1), Vec::<String>::new());
        cluster.expire(3, Timer::Tick);
        cluster.run();
    }
    assert!(cluster.told(1, "zab.reconnect", Allowed));
    assert_eq!(cluster.decided(1), ["a"]);
    assert!(!cluster.told(1, "zab.promise", Waiting) || cluster.epochs(1) == (1, 1));
    cluster.holds();
}

#[test]
fn a_follower_without_a_leader_and_a_leader_without_a_quorum_of_pongs_look_for_another() {
    let mut cluster = Cluster::led(3);
    cluster.expire(3, Timer::Tick);
    cluster.run();
    cluster.expire(3, Timer::Limit);
    assert!(cluster.node(3).is_established(), "both answered");
    cluster.expire(3, Timer::Tick);
    cluster.lose_all();
    cluster.expire(3, Timer::Limit);
    assert_eq!(cluster.phase(3), "election");
    cluster.deliver("connection-closed", 3, 1);
    assert_eq!(cluster.phase(1), "election", "it hears at once");
    cluster.lose_all();
    cluster.expire(2, Timer::Limit);
    assert_eq!(cluster.phase(2), "election", "or notices itself");
}

/// No leader asks before the acknowledgement of its epoch, which comes behind all earlier writes; if one did, this would hold still.
#[test]
fn rule_9_the_completion_of_a_write_that_was_given_up_proves_nothing() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.hand_over("proposal", 3, 1);
    cluster.look(1);
    cluster.lose_all();
    cluster.expire(1, Timer::Notify);
    for other in [2, 3] {
        cluster.hand_over("notification", 1, other);
        cluster.hand_over("notification", other, 1);
    }
    let Message::Up { connection, .. } = cluster.sent("cepoch", 1, 3).clone() else { panic!("another message") };
    let txns = vec![Txn { zxid: zxid(1, 1), payload: Payload::Command("b".into()) }];
    let words = [
        LeaderWord::NewEpoch { epoch: 1 },
        LeaderWord::Truncate { to: Mark::default() },
        LeaderWord::Proposal { first: Slot(1), txns },
    ];
    for (word, sequence) in words.into_iter().zip(1..) {
        cluster.say(3, 1, Message::Down { connection, sequence, word });
    }
    assert_eq!((cluster.history(1), cluster.bed.node(NodeId(1)).outstanding()), (vec!["b".to_owned()], 3));
    for durable in [0, 0, 1] {
        cluster.bed.complete_writes(NodeId(1), 1);
        assert_eq!(cluster.node(1).status().durable, Slot(durable), "a, then the truncation, then b");
    }
}
