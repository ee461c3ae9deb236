//! Normal operation: VRR §4.1.

use crate::cluster::*;
use quorate_protocol::{Input, LinkState, Refusal, Verdict};
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

/// Each answer brings everything: one for each message under way would be as many copies of it, and each is followed by one more message
/// that shows the gap.
#[test]
fn rule_2_what_is_missing_is_asked_for_once_until_the_answer_is_late() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    cluster.lose_to(3);
    for value in ["b", "c", "d"] {
        cluster.propose(1, value);
        cluster.deliver("prepare", 1, 3);
    }
    assert_eq!(cluster.sent(3, 1).iter().filter(|kind| **kind == "get-state").count(), 1);
    cluster.lose_to(1);
    cluster.expire(3, Timer::Resend);
    assert_eq!(cluster.sent(3, 1), ["get-state"], "it was lost, or its answer");
    cluster.run();
    assert_eq!((cluster.log(3), cluster.decided(3)), ("abcd".into(), 4));
    cluster.expire(3, Timer::Resend);
    assert_eq!(cluster.sent(3, 1), Vec::<&str>::new(), "nothing is missing");
    cluster.assert_sound();
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

/// Heartbeats of node 1, all of which are lost; what each of them was to node 3.
fn unheard_heartbeats(cluster: &mut Cluster, count: usize) -> Vec<Vec<&'static str>> {
    let heartbeat = |_| {
        cluster.lose_all();
        cluster.expire(1, Timer::Heartbeat);
        cluster.sent(1, 3)
    };
    (0..count).map(heartbeat).collect()
}

/// Whoever is down or cut off would otherwise be sent the same entries with every heartbeat.
#[test]
fn a_peer_that_was_not_heard_for_two_intervals_gets_signs_of_life_and_no_entries() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    let sent = unheard_heartbeats(&mut cluster, 5);
    assert_eq!(sent, [["prepare"], ["prepare"], ["commit"], ["commit"], ["commit"]]);
    cluster.propose(1, "b");
    assert_eq!(cluster.sent(1, 3), ["commit"], "what is new waits too");
}

#[test]
fn a_silent_peer_gets_all_it_lacks_as_soon_as_it_answers_a_sign_of_life() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    unheard_heartbeats(&mut cluster, 3);
    cluster.propose(1, "b");
    cluster.deliver("commit", 1, 3);
    assert_eq!(cluster.sent(3, 1), ["prepare-ok"]);
    cluster.deliver("prepare-ok", 3, 1);
    let Message::Prepare { first, entries: sent, .. } = cluster.message("prepare", 1, 3) else { panic!("another") };
    assert_eq!((first, sent), (Slot(1), entries("ab")));
    cluster.run();
    assert_eq!((cluster.log(3), cluster.chosen()), ("ab".into(), "ab".into()));
    cluster.assert_sound();
}

/// To be silent something must wait for an answer: a peer that has everything is sent what is new at once, however long ago it spoke.
#[test]
fn a_peer_of_which_no_answer_is_wanted_is_not_silent() {
    let mut cluster = Cluster::of(3);
    unheard_heartbeats(&mut cluster, 5);
    cluster.lose_all();
    cluster.propose(1, "a");
    assert_eq!(cluster.sent(1, 3), ["prepare"]);
}

#[test]
fn that_more_is_committed_is_taken_without_an_answer_and_the_same_once_more_is_a_sign_of_life() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    cluster.run();
    cluster.lose_all();
    cluster.say(1, 2, prepare(0, 2, "b", 1));
    cluster.complete(2);
    assert_eq!(cluster.sent(2, 1), ["prepare-ok"], "entries are acknowledged");
    cluster.lose_all();
    cluster.say(1, 2, prepare(0, 3, "", 2));
    cluster.complete(2);
    assert_eq!((cluster.commit(2), cluster.sent(2, 1)), (2, vec![]));
    cluster.say(1, 2, prepare(0, 3, "", 2));
    assert_eq!(cluster.sent(2, 1), ["prepare-ok"]);
}

/// A read waits for it.
#[test]
fn news_of_a_commit_that_begins_a_round_is_answered() {
    let mut cluster = Cluster::of(3);
    cluster.say(1, 2, prepare(0, 1, "a", 0));
    cluster.complete(2);
    cluster.lose_all();
    let Message::Prepare { view, first, entries, everyone_has, .. } = prepare(0, 2, "", 1) else { unreachable!() };
    cluster.say(1, 2, Message::Prepare { view, first, entries, commit: Slot(1), everyone_has, round: 7 });
    assert_eq!(cluster.message("prepare-ok", 2, 1), Message::PrepareOk { view, through: Slot(1), round: 7 });
}

#[test]
fn news_that_a_connection_is_up_or_refused_shortens_waits_and_proves_nothing() {
    let mut cluster = Cluster::of(3);
    let mut hears = |id: u64, peer: u64, state| {
        cluster.bed.input(NodeId(id), Input::Link { peer: NodeId(peer), state });
        let cares = cluster.saw(id, "viewstamped.link", Verdict::Allowed);
        (cares, cluster.sent(id, peer), cluster.node(id).view().number)
    };
    assert_eq!(hears(1, 3, LinkState::Up), (true, vec!["commit"], 0), "a sign of life at once");
    assert_eq!(hears(2, 1, LinkState::Refused), (true, vec![], 0), "its primary's process is gone: it waits less");
    assert_eq!(hears(2, 3, LinkState::Refused), (false, vec![], 0));
    assert_eq!(hears(2, 1, LinkState::Down), (false, vec![], 0), "a lost connection is no lost process");
}
