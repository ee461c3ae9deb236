//! Normal operation: VRR §4.1.

use crate::cluster::*;
use quorate_protocol::{Refusal, Verdict};
use quorate_types::{NodeId, Slot};
use quorate_viewstamped::{Message, Timer};

#[test]
fn rule_1_a_primary_orders_a_request_and_sends_it_to_all_while_its_own_write_goes_on() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    assert!(cluster.bed.node(NodeId(1)).outstanding() > 0);
    for backup in [2, 3] {
        let Message::Prepare { view: of, first, entries: sent, .. } = cluster.message("prepare", 1, backup) else {
            panic!("another message")
        };
        assert_eq!((of, first, sent), (view(0), Slot(1), entries("a")));
    }
    cluster.assert_sound();
}

#[test]
fn rule_1_nobody_but_the_primary_takes_requests() {
    let mut cluster = Cluster::of(3);
    cluster.propose(2, "a");
    assert_eq!(cluster.refused(2), [Refusal::NotLeader { hint: Some(NodeId(1)) }]);
    assert_eq!(cluster.log(2), "");
}

#[test]
fn rule_1_a_prepare_without_an_answer_is_sent_again_on_the_timer() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    cluster.lose_all();
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    assert_eq!((cluster.log(2), cluster.log(3), cluster.chosen()), ("a".into(), "a".into(), "a".into()));
    cluster.assert_sound();
}

#[test]
fn rule_2_a_backup_answers_once_everything_up_to_there_is_durable() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    cluster.deliver("prepare", 1, 2);
    assert_eq!((cluster.log(2), cluster.sent(2, 1)), ("a".into(), vec![]));
    cluster.complete(2);
    let through = Slot(1);
    assert_eq!(cluster.message("prepare-ok", 2, 1), Message::PrepareOk { view: view(0), through, round: 0 });
}

#[test]
fn rule_2_a_backup_answers_in_order_only_and_asks_for_what_is_missing() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    cluster.lose_to(3);
    cluster.propose(1, "b");
    cluster.deliver("prepare", 1, 3);
    cluster.complete(3);
    assert_eq!(cluster.log(3), "", "slot 2 is not taken before slot 1");
    let asks = Message::GetState { view: view(0), have: Slot::ZERO, joins: false };
    assert_eq!(cluster.message("get-state", 3, 1), asks);
    assert!(cluster.saw(3, "viewstamped.prepare", Verdict::Waiting));
    cluster.run();
    assert_eq!((cluster.log(3), cluster.decided(3)), ("ab".into(), 2));
}

#[test]
fn rule_2_a_repeated_prepare_is_answered_again_after_the_same_write() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    cluster.deliver_copy("prepare", 1, 2);
    cluster.deliver_copy("prepare", 1, 2);
    assert_eq!(cluster.sent(2, 1), Vec::<&str>::new());
    cluster.complete(2);
    assert_eq!(cluster.sent(2, 1), ["prepare-ok", "prepare-ok"]);
    cluster.deliver("prepare", 1, 2);
    assert_eq!(cluster.sent(2, 1).len(), 3);
    assert_eq!(cluster.log(2), "a");
    cluster.assert_sound();
}

#[test]
fn rule_3_q_others_and_the_primarys_own_write_commit() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    cluster.deliver("prepare", 1, 2);
    cluster.complete(2);
    cluster.deliver("prepare-ok", 2, 1);
    assert_eq!(cluster.commit(1), 0, "its own entry is not durable");
    cluster.complete(1);
    assert_eq!((cluster.commit(1), cluster.decided(1), cluster.chosen()), (1, 1, "a".into()));
}

#[test]
fn rule_3_what_a_majority_of_others_has_is_committed_and_handed_out_when_it_is_durable_here_too() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    for backup in [2, 3] {
        cluster.deliver("prepare", 1, backup);
        cluster.complete(backup);
        cluster.deliver("prepare-ok", backup, 1);
    }
    assert_eq!((cluster.commit(1), cluster.decided(1)), (1, 0));
    cluster.complete(1);
    assert_eq!(cluster.decided(1), 1);
    cluster.assert_sound();
}

#[test]
fn rule_3_k_rides_on_the_next_prepare_or_goes_alone() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    cluster.complete(1);
    cluster.deliver("prepare", 1, 2);
    cluster.complete(2);
    cluster.deliver("prepare-ok", 2, 1);
    let Message::Prepare { commit, entries: sent, .. } = cluster.message("commit", 1, 2) else { panic!("another") };
    assert_eq!((commit, sent.len()), (Slot(1), 0));
    cluster.propose(1, "b");
    let Message::Prepare { commit, first, .. } = cluster.message("prepare", 1, 2) else { panic!("another") };
    assert_eq!((commit, first), (Slot(1), Slot(2)));
}

#[test]
fn rule_4_a_backup_decides_up_to_k_what_it_has_and_no_further() {
    let mut cluster = Cluster::of(3);
    cluster.say(1, 2, prepare(0, 1, "a", 0));
    cluster.complete(2);
    assert_eq!(cluster.decided(2), 0);
    cluster.say(1, 2, prepare(0, 2, "", 7));
    assert_eq!((cluster.commit(2), cluster.decided(2)), (1, 1));
    cluster.say(1, 2, prepare(0, 2, "b", 2));
    assert_eq!((cluster.commit(2), cluster.decided(2)), (2, 1), "slot 2 is not durable here");
    cluster.complete(2);
    assert_eq!(cluster.decided(2), 2);
}
