//! Learners, and nodes that join (dissertation, 4.2.1).

use super::membership::{beat, decided_members, in_force, joined, payloads, reach, refusals, voters, wish, with};
use crate::cluster::*;
use quorate_protocol::{Input, LEARNER_NOT_IN_SYNC, Output, Refusal, Refused, Replica, RequestId, Role, Verdict};
use quorate_raft::{Config, Timer};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot};

/// RM8: a third acknowledgement that is a learner's makes no majority, and its absence holds nothing up.
#[test]
fn a_learner_is_never_counted() {
    let mut cluster = Cluster::led(3);
    joined(&mut cluster, &[4, 5]);
    let members = with(&with(&voters(&[1, 2, 3]), 4, MemberRole::Learner), 5, MemberRole::Learner);
    wish(&mut cluster, 1, &members);
    cluster.run();
    let commit = cluster.node(1).commit();
    cluster.propose(1, "x");
    cluster.run_only(&[1, 4, 5]);
    assert_eq!(cluster.node(1).commit(), commit, "three of five have it, one of three voters");
    cluster.crash(4);
    cluster.crash(5);
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    assert!(cluster.node(1).commit() > commit);
    cluster.assert_sound();
}

/// RE9 and RM8.
#[test]
fn a_learner_whose_urls_change_stays_a_learner_and_never_campaigns() {
    let mut cluster = Cluster::led(3);
    joined(&mut cluster, &[4]);
    wish(&mut cluster, 1, &with(&voters(&[1, 2, 3]), 4, MemberRole::Learner));
    cluster.run();
    let moved = Member {
        role: MemberRole::Learner,
        peer_urls: vec!["http://elsewhere".to_owned()],
        ..Member::voter(NodeId(4))
    };
    wish(&mut cluster, 1, &Membership::new(voters(&[1, 2, 3]).members().iter().cloned().chain([moved])));
    cluster.run();
    beat(&mut cluster, 1, 3);
    assert_eq!(in_force(&cluster, 4), (None, vec![1, 2, 3]));
    cluster.crash(4);
    cluster.restart(4);
    cluster.expire(4, Timer::Election);
    assert_eq!(cluster.take_sent(4), []);
    assert!(cluster.saw(4, "raft.campaign", Verdict::Refused));
}

#[test]
fn a_plain_learner_becomes_a_voter_by_a_wish_once_it_is_in_sync() {
    let mut cluster = Cluster::led(3);
    joined(&mut cluster, &[4]);
    let learns = with(&voters(&[1, 2, 3]), 4, MemberRole::Learner);
    wish(&mut cluster, 1, &learns);
    cluster.run_only(&[1, 2, 3]);
    wish(&mut cluster, 1, &voters(&[1, 2, 3, 4]));
    assert_eq!(refusals(&cluster, 1), [Refusal::NotReady(LEARNER_NOT_IN_SYNC)]);
    beat(&mut cluster, 1, 3);
    assert_eq!(cluster.node(1).configuration().members, learns, "it stays one until it is wished otherwise");
    wish(&mut cluster, 1, &voters(&[1, 2, 3, 4]));
    cluster.run();
    assert_eq!(in_force(&cluster, 4), (None, vec![1, 2, 3, 4]));
    cluster.assert_sound();
}

/// Nothing is proposed, so nothing lacks; but nobody is there.
#[test]
fn a_learner_that_fell_silent_is_not_in_sync() {
    let mut cluster = Cluster::led(3);
    joined(&mut cluster, &[4]);
    wish(&mut cluster, 1, &with(&voters(&[1, 2, 3]), 4, MemberRole::Learner));
    cluster.run();
    beat(&mut cluster, 1, 3);
    cluster.crash(4);
    beat(&mut cluster, 1, 11);
    assert!(cluster.saw(1, "raft.catch-up", Verdict::Refused));
    wish(&mut cluster, 1, &voters(&[1, 2, 3, 4]));
    assert_eq!(refusals(&cluster, 1), [Refusal::NotReady(LEARNER_NOT_IN_SYNC)]);
}

#[test]
fn those_who_join_become_voters_by_themselves_several_in_one_change() {
    let mut cluster = Cluster::led(1);
    joined(&mut cluster, &[2, 3]);
    let members = with(&with(&voters(&[1]), 2, MemberRole::Joining), 3, MemberRole::Joining);
    wish(&mut cluster, 1, &members);
    cluster.run();
    assert_eq!(in_force(&cluster, 1), (None, vec![1]));
    beat(&mut cluster, 1, 2);
    for id in 1..=3 {
        assert_eq!(cluster.node(id).configuration().members, voters(&[1, 2, 3]));
        assert_eq!(payloads(&cluster, id), ["no-op", "members", "joint", "members"]);
        assert_eq!(decided_members(&cluster, id), [members.clone(), voters(&[1, 2, 3])]);
    }
    assert_eq!(cluster.node(3).status().role, Role::Follower);
    cluster.assert_sound();
}

#[test]
fn a_later_leader_promotes_who_joined_under_an_earlier_one() {
    let mut cluster = Cluster::led(3);
    joined(&mut cluster, &[4]);
    wish(&mut cluster, 1, &with(&voters(&[1, 2, 3]), 4, MemberRole::Joining));
    cluster.run_only(&[1, 2, 3]);
    beat(&mut cluster, 1, 0);
    cluster.crash(1);
    cluster.elect(2, &[3]);
    cluster.run();
    beat(&mut cluster, 2, 3);
    assert_eq!(cluster.node(4).configuration().members, voters(&[1, 2, 3, 4]));
    cluster.assert_sound();
}

/// The last round must be shorter than an election timeout: ten heartbeats here.
#[test]
fn who_joins_and_is_slow_waits_until_it_keeps_up() {
    let mut cluster = Cluster::led(1);
    joined(&mut cluster, &[2]);
    for _ in 0..5 {
        cluster.propose(1, "x");
    }
    cluster.run();
    wish(&mut cluster, 1, &with(&voters(&[1]), 2, MemberRole::Joining));
    cluster.complete(1);
    for _ in 0..12 {
        cluster.expire(1, Timer::Heartbeat);
        cluster.take_sent(1);
    }
    cluster.propose(1, "y");
    cluster.run();
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    assert_eq!(cluster.node(1).status().peers[0].matched, cluster.node(1).log().last());
    assert!(!payloads(&cluster, 1).contains(&"joint".to_owned()), "it has everything, but took too long for it");
    beat(&mut cluster, 1, 3);
    assert_eq!(in_force(&cluster, 2), (None, vec![1, 2]));
    cluster.assert_sound();
}

// --- a node that joins ---

#[test]
fn who_joins_waits_silently_votes_when_asked_and_learns_the_members_from_the_log() {
    let mut cluster = Cluster::led(3);
    joined(&mut cluster, &[4]);
    assert_eq!(cluster.node(4).status().role, Role::Outsider);
    for _ in 0..3 {
        cluster.expire(4, Timer::Election);
        assert_eq!(cluster.take_sent(4), []);
    }
    assert_eq!(cluster.bed.node(NodeId(4)).retired(), None, "it never was a member");
    cluster.say(9, 4, request_vote(1, (1, 1)));
    cluster.complete(4);
    assert_eq!(cluster.take_sent(4), [(9, vote(1, true))]);
    wish(&mut cluster, 1, &with(&voters(&[1, 2, 3]), 4, MemberRole::Learner));
    cluster.run();
    assert_eq!(reach(&cluster, 4), [1, 2, 3, 4]);
    cluster.crash(4);
    cluster.restart(4);
    assert_eq!(reach(&cluster, 4), [1, 2, 3, 4]);
    assert_eq!(cluster.node(4).status().role, Role::Learner);
    cluster.assert_sound();
}

/// The configuration comes with the snapshot; the log says no more how it came about.
#[test]
fn who_joins_late_gets_a_snapshot_with_its_configuration() {
    let config = Config { compact_after_entries: 1, compact_keep_entries: 0, ..Config::default() };
    let mut cluster = Cluster::led_with(3, config);
    for _ in 0..5 {
        cluster.propose(1, "x");
        cluster.run();
    }
    cluster.bed.checkpoint(NodeId(1));
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    assert!(cluster.node(1).log().base() > Slot(3));
    joined(&mut cluster, &[4]);
    wish(&mut cluster, 1, &with(&voters(&[1, 2, 3]), 4, MemberRole::Joining));
    cluster.run();
    beat(&mut cluster, 1, 5);
    assert!(cluster.node(4).log().base() > Slot(3), "it came by snapshot");
    assert_eq!(in_force(&cluster, 4), (None, vec![1, 2, 3, 4]));
    cluster.assert_sound();
}

/// It took the log from its beginning, so what was in force before the first change is not known to it.
#[test]
fn a_snapshot_never_says_that_nobody_is_a_member() {
    let mut lone = Lone::of(3, &Config::default());
    lone.hear(2, append(1, (0, 0), &[1, 1], 2));
    lone.complete();
    assert!(lone.raft.configuration().quorum().contains(NodeId(1)));
    let mut cluster = Cluster::led(1);
    cluster.propose(1, "x");
    cluster.run();
    joined(&mut cluster, &[2]);
    wish(&mut cluster, 1, &with(&voters(&[1]), 2, MemberRole::Joining));
    beat(&mut cluster, 1, 4);
    cluster.crash(1);
    cluster.restart(1);
    cluster.elect(2, &[1]);
    cluster.run();
    let id = quorate_protocol::SnapshotId(5);
    let view = |through| Input::SnapshotPinned { id, to: NodeId(1), through: Slot(through) };
    cluster.bed.input(NodeId(2), view(1));
    assert!(cluster.saw(2, "raft.snapshot-view", Verdict::Refused));
    assert_eq!(cluster.node(2).log().base(), Slot::ZERO);
}

#[test]
fn a_request_of_a_change_is_refused_by_its_name() {
    let mut lone = Lone::of(3, &Config::default());
    let input = Input::Reconfigure { request: RequestId(3), based_on: voters(&[1, 2, 3]), members: voters(&[1]) };
    let outputs = lone.batch(vec![input]);
    let refused = Refused::Request(RequestId(3));
    assert_eq!(outputs, [Output::Refuse { refused, why: Refusal::NotLeader { hint: None } }]);
}
