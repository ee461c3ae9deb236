//! Members change by stop-sign: the rules of the succession, seen with Multi-Paxos inside.

use crate::cluster::*;
use quorate_multi_paxos::{Config, Message, Payload, Timer};
use quorate_protocol::Verdict::{Allowed, Refused};
use quorate_protocol::{Input, LEARNER_NOT_IN_SYNC, Refusal, Replica};
use quorate_succession::{Body, Heir, Message as Outer};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot};

/// The leader 1 hears these answer its heartbeats, so that it knows that they keep up.
fn hear(cluster: &mut Cluster, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        cluster.expire(1, Timer::Heartbeat);
        cluster.deliver("heartbeat", 1, id);
        cluster.deliver("alive", id, 1);
    }
    cluster.lose_all();
}

/// Heartbeats and promotions until nothing new happens.
fn go_on(cluster: &mut Cluster, leader: u64) {
    for _ in 0..4 {
        cluster.bed.expire(NodeId(leader), Timer::Heartbeat);
        cluster.run();
    }
}

#[test]
fn whoever_answers_heartbeats_keeps_up_however_many_rounds_reads_begin_meanwhile() {
    let mut cluster = Cluster::led(3);
    go_on(&mut cluster, 1);
    for number in 1..=20 {
        cluster.read(1, number);
    }
    cluster.lose_all();
    assert!(cluster.node(1).keeps_up(NodeId(2)), "none of those rounds was answered yet");
    for _ in 0..3 {
        cluster.expire(1, Timer::Heartbeat);
        cluster.lose_all();
    }
    assert!(!cluster.node(1).keeps_up(NodeId(2)), "three heartbeats without an answer");
}

#[test]
fn who_joins_gets_a_snapshot_catches_up_and_is_made_a_voter() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "a");
    cluster.run();
    cluster.bed.join(NodeId(4));
    cluster.bed.reconfigure(NodeId(1), 2, three_and(4, MemberRole::Joining));
    cluster.run();
    go_on(&mut cluster, 1);
    assert_eq!(cluster.whole(4).configuration(), 2);
    assert_eq!(cluster.decided(4), ["a", "stop: n1 n2 n3 n4"]);
    cluster.propose(1, "b");
    cluster.run();
    go_on(&mut cluster, 1);
    cluster.expire(1, Timer::Succession);
    cluster.run();
    go_on(&mut cluster, 1);
    assert_eq!(cluster.whole(4).configuration(), 3);
    assert!(cluster.whole(4).members().is_voter(NodeId(4)), "it keeps up, so it votes");
    cluster.propose(1, "c");
    cluster.run();
    assert_eq!(cluster.decided(4).last().map(String::as_str), Some("c"));
    cluster.holds();
}

#[test]
fn a_learner_that_lacks_the_log_is_not_made_a_voter() {
    let mut cluster = Cluster::with(three_and(4, MemberRole::Learner), Config::default());
    cluster.elect(1, &[2, 3]);
    cluster.run_among(&[1, 2, 3]);
    cluster.bed.reconfigure(NodeId(1), 2, Membership::of_voters(4));
    let refusals = cluster.bed.node(NodeId(1)).refusals();
    assert_eq!(refusals.last().map(|(_, why)| why.clone()), Some(Refusal::NotReady(LEARNER_NOT_IN_SYNC)));
}

#[test]
fn nothing_is_proposed_above_a_stop_sign_and_no_read_is_served() {
    let mut cluster = Cluster::led(3);
    cluster.bed.reconfigure(NodeId(1), 2, three_and(4, MemberRole::Learner));
    cluster.propose(1, "late");
    cluster.read(1, 1);
    assert_eq!(cluster.node(1).log().last(), Slot(1));
    assert_eq!(cluster.bed.node(NodeId(1)).refusals().len(), 2);
    assert!(cluster.bed.node(NodeId(1)).reads().is_empty());
}

/// S1 alone has the stop-sign at slot 1 in ballot (1,1); S2 leads at (2,2) without it, gets y chosen at slot 2 and dies; S1 at (3,1)
/// finds the stop-sign and y. y was never acknowledged, for slot 1 was open: it is void.
#[test]
fn what_was_chosen_above_a_stop_sign_is_void() {
    let mut cluster = Cluster::led(3);
    let next = Membership::new([Member::voter(NodeId(1)), Member::voter(NodeId(3))]);
    hear(&mut cluster, [2, 3]);
    cluster.bed.reconfigure(NodeId(1), 2, next.clone());
    cluster.complete(1);
    cluster.lose_all();
    assert_eq!(cluster.accepted(1, 1), Some((ballot(1, 1), Payload::Stop(next))));
    cluster.elect(2, &[3]);
    cluster.propose(2, "x");
    cluster.lose_all();
    cluster.propose(2, "y");
    cluster.complete(2);
    cluster.deliver("accept", 2, 3);
    cluster.bed.crash(NodeId(2), 0);
    cluster.lose_all();
    assert_eq!(cluster.accepted(3, 2), Some((ballot(2, 2), command("y"))), "chosen: S2 and S3 have it in one ballot");
    cluster.expire(1, Timer::Heartbeat);
    cluster.deliver("heartbeat", 1, 3);
    cluster.deliver("nack", 3, 1);
    cluster.elect(1, &[3]);
    assert_eq!(cluster.node(1).promised(), ballot(3, 1));
    cluster.run_among(&[1, 3]);
    assert_eq!(cluster.decided(1), ["stop: n1 n3"]);
    assert_eq!(cluster.whole(3).configuration(), 2);
    cluster.propose(1, "z");
    cluster.run_among(&[1, 3]);
    go_on_among(&mut cluster, &[1, 3]);
    assert_eq!(cluster.decided(3), ["stop: n1 n3", "z"], "y is void, and its slot is decided anew");
    cluster.bed.restart(NodeId(2));
    cluster.expire(2, Timer::Election);
    cluster.run();
    assert_eq!(cluster.whole(2).configuration(), 2);
    assert!(cluster.whole(2).inside().is_none(), "it left");
    cluster.expire(2, Timer::Succession);
    assert!(cluster.bed.node(NodeId(2)).retired().is_some());
    cluster.holds();
}

fn go_on_among(cluster: &mut Cluster, ids: &[u64]) {
    for _ in 0..3 {
        cluster.bed.expire(NodeId(ids[0]), Timer::Heartbeat);
        cluster.run_among(ids);
    }
}

#[test]
fn a_member_says_nothing_in_a_configuration_before_that_is_durable() {
    let mut cluster = Cluster::of(1);
    cluster.expire(1, Timer::Election);
    cluster.complete(1);
    cluster.bed.join(NodeId(2));
    let learner = Member { role: MemberRole::Joining, ..Member::voter(NodeId(2)) };
    cluster.bed.reconfigure(NodeId(1), 2, Membership::new([Member::voter(NodeId(1)), learner]));
    cluster.bed.complete_writes(NodeId(1), 1);
    assert_eq!(cluster.whole(1).configuration(), 2, "decided, and open in memory");
    assert_eq!(cluster.bed.flights().len(), 0);
    cluster.bed.crash(NodeId(1), 0);
    cluster.bed.restart(NodeId(1));
    assert_eq!(cluster.whole(1).configuration(), 1, "it finds the stop-sign in its log again");
    cluster.expire(1, Timer::Election);
    cluster.complete(1);
    assert_eq!(cluster.whole(1).configuration(), 2);
    cluster.holds();
}

#[test]
fn a_follower_that_lacks_only_the_news_needs_no_snapshot() {
    let mut cluster = Cluster::led(3);
    hear(&mut cluster, [2, 3]);
    cluster.bed.reconfigure(NodeId(1), 2, three_and(4, MemberRole::Learner));
    cluster.complete(1);
    cluster.deliver("accept", 1, 2);
    cluster.deliver("accepted", 2, 1);
    assert_eq!(cluster.whole(1).configuration(), 2);
    assert_eq!(cluster.whole(2).configuration(), 1);
    cluster.deliver("closed", 1, 2);
    assert_eq!(cluster.whole(2).configuration(), 2);
    assert!(!cluster.told(2, "succession.jump", Allowed));
    assert!(!cluster.told(2, "succession.fetch", Allowed));
}

#[test]
fn a_message_of_a_closed_configuration_is_answered_with_the_news_and_nothing_else() {
    let mut cluster = Cluster::led(3);
    cluster.bed.reconfigure(NodeId(1), 2, three_and(4, MemberRole::Learner));
    for id in [2, 3] {
        cluster.expire(1, Timer::Heartbeat);
        cluster.deliver("heartbeat", 1, id);
    }
    cluster.run_among(&[1, 2]);
    assert_eq!(cluster.whole(3).configuration(), 1);
    cluster.run_among(&[1, 2]);
    cluster.expire(3, Timer::Election);
    cluster.complete(3);
    cluster.deliver("prepare", 3, 1);
    assert!(cluster.in_flight("closed", 1, 3).is_some());
    assert!(cluster.in_flight("promise", 1, 3).is_none());
    assert!(cluster.told(1, "succession.configuration", Refused));
    cluster.run();
    assert_eq!(cluster.whole(3).configuration(), 2, "it decided or fetched what it missed");
    cluster.holds();
}

#[test]
fn who_left_stays_until_a_quorum_of_the_next_configuration_has_it_durably() {
    let mut cluster = Cluster::led(3);
    hear(&mut cluster, [2, 3]);
    let next = Membership::new([Member::voter(NodeId(2)), Member::voter(NodeId(3))]);
    cluster.bed.reconfigure(NodeId(1), 2, next);
    cluster.complete(1);
    cluster.deliver("accept", 1, 2);
    cluster.deliver("accepted", 2, 1);
    cluster.lose_all();
    assert!(cluster.whole(1).inside().is_none(), "it has closed, and left");
    cluster.expire(1, Timer::Succession);
    assert_eq!(cluster.bed.node(NodeId(1)).retired(), None, "nobody else knows yet");
    cluster.run();
    assert_eq!((cluster.whole(2).configuration(), cluster.whole(3).configuration()), (2, 2));
    cluster.expire(1, Timer::Succession);
    cluster.run();
    assert!(reaches(&cluster, 2, 1), "it asks who knows, and an answer must be able to reach it");
    cluster.expire(1, Timer::Succession);
    assert!(cluster.bed.node(NodeId(1)).retired().is_some(), "a quorum has it");
    for _ in 0..10 {
        cluster.expire(2, Timer::Succession);
        cluster.run();
    }
    assert!(!reaches(&cluster, 2, 1), "not for ever");
    cluster.holds();
}

fn reaches(cluster: &Cluster, from: u64, to: u64) -> bool {
    cluster.bed.node(NodeId(from)).reach().contains(NodeId(to))
}

/// Who is let go is told no more, and forgotten it would wait for ever for a quorum to say that it knows.
#[test]
fn who_left_and_speaks_when_it_is_let_go_is_answered() {
    let mut cluster = Cluster::led(3);
    hear(&mut cluster, [2, 3]);
    cluster.bed.reconfigure(NodeId(1), 2, Membership::new([Member::voter(NodeId(2)), Member::voter(NodeId(3))]));
    cluster.complete(1);
    for id in [2, 3] {
        cluster.deliver("accept", 1, id);
        cluster.deliver("accepted", id, 1);
    }
    cluster.lose_all();
    cluster.expire(1, Timer::Succession);
    for id in [2, 3] {
        cluster.deliver("closed", 1, id);
    }
    cluster.run_among(&[2, 3]);
    for _ in 0..11 {
        for id in [2, 3] {
            cluster.expire(id, Timer::Succession);
            cluster.run_among(&[2, 3]);
        }
    }
    assert!(!reaches(&cluster, 2, 1) && !reaches(&cluster, 3, 1), "it was told often enough, and heard nothing");
    cluster.expire(1, Timer::Succession);
    assert_eq!(cluster.bed.node(NodeId(1)).retired(), None);
    cluster.deliver("closed", 1, 2);
    assert!(reaches(&cluster, 2, 1), "what it asks can only be answered where it is");
    cluster.run();
    cluster.expire(1, Timer::Succession);
    assert!(cluster.bed.node(NodeId(1)).retired().is_some(), "a quorum has it");
    cluster.holds();
}

/// Of the configuration that it left with nobody is there but the one that has answered, and that has gone on.
#[test]
fn who_left_two_configurations_ago_hears_of_it_from_who_has_gone_on() {
    let mut cluster = Cluster::led(4);
    hear(&mut cluster, 2..=4);
    cluster.bed.reconfigure(NodeId(1), 2, Membership::of_voters(3));
    cluster.complete(1);
    for id in 2..=4 {
        cluster.deliver("accept", 1, id);
    }
    for id in 2..=3 {
        cluster.deliver("accepted", id, 1);
    }
    cluster.run_among(&[1, 2, 3]);
    cluster.expire(1, Timer::Succession);
    cluster.deliver("closed", 1, 4);
    assert!(cluster.whole(4).inside().is_none(), "it has decided the stop-sign, and left");
    cluster.expire(4, Timer::Succession);
    cluster.deliver("closed", 4, 1);
    cluster.deliver("known", 1, 4);
    cluster.lose_all();
    go_on_among(&mut cluster, &[1, 2, 3]);
    cluster.bed.reconfigure(NodeId(1), 3, Membership::of_voters(1));
    cluster.run_among(&[1, 2, 3]);
    assert_eq!(cluster.whole(1).configuration(), 3);
    for id in [2, 3] {
        cluster.bed.crash(NodeId(id), 0);
    }
    cluster.lose_all();
    cluster.expire(4, Timer::Succession);
    assert_eq!(cluster.bed.node(NodeId(4)).retired(), None, "one of three has said that it knows");
    cluster.deliver("closed", 4, 1);
    cluster.deliver("closed", 1, 4);
    cluster.expire(4, Timer::Succession);
    assert!(cluster.bed.node(NodeId(4)).retired().is_some(), "a later configuration is open");
    cluster.holds();
}

/// Nodes 1 and 2 are in configuration 2, and node 3 never heard of it, nor of anything before.
fn one_missed_it() -> Cluster {
    let config = Config { keep_log_entries: 2, compact_keep_entries: 0, ..Config::default() };
    let mut cluster = Cluster::with_slow_snapshots(Membership::of_voters(3), config);
    cluster.elect(1, &[2]);
    cluster.run_among(&[1, 2]);
    for _ in 0..2 {
        cluster.expire(1, Timer::Heartbeat);
        cluster.run_among(&[1, 2]);
    }
    cluster.bed.reconfigure(NodeId(1), 2, three_and(4, MemberRole::Learner));
    cluster.run_among(&[1, 2]);
    assert_eq!((cluster.whole(1).configuration(), cluster.whole(2).configuration()), (2, 2));
    cluster
}

/// Says "please send a snapshot" as node 3, which speaks of the first configuration.
fn fetch(cluster: &mut Cluster, from: u64) {
    let message = Outer { configuration: 1, body: Body::Fetch };
    cluster.bed.input(NodeId(from), Input::Receive { from: NodeId(3), message });
}

/// Seed 4134: what was sent was forgotten at every candidacy, and begun anew when it was asked for again. Who is slow never got the whole.
#[test]
fn what_is_sent_to_who_missed_a_configuration_goes_on_over_changes_of_the_lead_until_the_driver_says_that_it_ended() {
    let mut cluster = one_missed_it();
    fetch(&mut cluster, 1);
    assert_eq!(cluster.bed.transfers().len(), 1);
    fetch(&mut cluster, 1);
    assert_eq!(cluster.bed.transfers().len(), 1, "one is on its way");
    cluster.elect(2, &[1]);
    cluster.run_among(&[1, 2]);
    fetch(&mut cluster, 1);
    assert_eq!(cluster.bed.transfers().len(), 1, "it still is");
    cluster.bed.lose_snapshot(0);
    fetch(&mut cluster, 1);
    assert_eq!(cluster.bed.transfers().len(), 1, "it failed, so another one is needed");
    cluster.bed.deliver_snapshot(0);
    cluster.complete(3);
    assert!(cluster.bed.install(NodeId(3)));
    assert_eq!(cluster.whole(3).configuration(), 2);
    cluster.holds();
}

/// A driver that is asked for a second snapshot to a peer lets go of the first, and says nothing.
#[test]
fn a_snapshot_that_the_replica_inside_sends_is_not_replaced_by_one_for_a_late_fetch() {
    let mut cluster = one_missed_it();
    fetch(&mut cluster, 1);
    cluster.bed.deliver_snapshot(0);
    cluster.complete(3);
    assert!(cluster.bed.install(NodeId(3)));
    cluster.lose_all();
    for words in ["a", "b", "c", "d"] {
        cluster.propose(1, words);
        cluster.run_among(&[1, 2]);
    }
    cluster.bed.checkpoint(NodeId(1));
    cluster.complete(1);
    cluster.expire(1, Timer::Heartbeat);
    cluster.deliver("heartbeat", 1, 3);
    cluster.deliver("alive", 3, 1);
    assert!(cluster.told(1, "multi-paxos.snapshot-view", Allowed), "what it lacks is no longer kept");
    assert_eq!(cluster.bed.transfers().len(), 1);
    fetch(&mut cluster, 1);
    assert_eq!(cluster.bed.transfers().len(), 1, "that one gets it there too");
    cluster.bed.lose_snapshot(0);
    fetch(&mut cluster, 1);
    assert_eq!(cluster.bed.transfers().len(), 1, "it failed, so another one is needed");
    cluster.holds();
}

/// What was chosen is chosen, though the node that left with it has not got as far itself.
#[test]
fn who_is_told_that_it_left_takes_back_nothing_that_it_called_committed() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "a");
    cluster.complete(1);
    cluster.hand_over("accept", 1, 3);
    cluster.deliver("accept", 1, 2);
    cluster.deliver("accepted", 2, 1);
    cluster.expire(1, Timer::Heartbeat);
    cluster.hand_over("heartbeat", 1, 3);
    cluster.hand_over("heartbeat", 1, 3);
    let before = cluster.whole(3).status();
    assert_eq!((before.committed, cluster.decided(3).len()), (Slot(1), 0), "chosen, and not durable here");
    let members = Membership::new([Member::voter(NodeId(1)), Member::voter(NodeId(2))]);
    let body = Body::Closed { behind: Slot(2), members, last_word: None };
    cluster.bed.input(NodeId(3), Input::Receive { from: NodeId(1), message: Outer { configuration: 2, body } });
    assert!(cluster.whole(3).inside().is_none(), "it left");
    assert_eq!(cluster.whole(3).status().committed, Slot(2));
    cluster.holds();
}

/// Who decided the stop-sign is gone for good, and of those who stay two lack it: those who leave are needed to find it.
#[test]
fn who_left_is_not_told_to_go_while_the_stop_sign_could_be_lost_without_it() {
    let mut cluster = Cluster::led(5);
    cluster.expire(1, Timer::Heartbeat);
    for id in 2..=5 {
        cluster.deliver("heartbeat", 1, id);
        cluster.deliver("alive", id, 1);
    }
    cluster.lose_all();
    cluster.bed.reconfigure(NodeId(1), 2, Membership::of_voters(3));
    cluster.complete(1);
    for id in [4, 5] {
        cluster.deliver("accept", 1, id);
        cluster.deliver("accepted", id, 1);
    }
    assert_eq!(cluster.whole(1).configuration(), 2, "1, 4 and 5 have accepted it");
    cluster.complete(1);
    cluster.expire(1, Timer::Succession);
    cluster.say(4, 1, Message::NeedSnapshot);
    assert!(cluster.in_flight("closed", 1, 2).is_some());
    assert!(cluster.in_flight("closed", 1, 4).is_none() && cluster.in_flight("closed", 1, 5).is_none());
    cluster.bed.crash(NodeId(1), 0);
    cluster.lose_all();
    cluster.elect(2, &[4, 5]);
    cluster.run_among(&[2, 3, 4, 5]);
    cluster.expire(2, Timer::Succession);
    cluster.run_among(&[2, 3, 4, 5]);
    assert_eq!((cluster.whole(2).configuration(), cluster.whole(3).configuration()), (2, 2));
    assert!(cluster.whole(4).inside().is_none() && cluster.whole(5).inside().is_none(), "now they may go");
    cluster.propose(2, "a");
    cluster.run_among(&[2, 3]);
    assert_eq!(cluster.decided(2), ["stop: n1 n2 n3", "a"]);
    cluster.holds();
}
