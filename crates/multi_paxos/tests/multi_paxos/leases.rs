//! Lease reads, and what must be true for them.

use crate::cluster::*;
use quorate_multi_paxos::{Config, LeaseReads, Message, MultiPaxos, QuorumSizes, Timer};
use quorate_protocol::Verdict::{Allowed, Refused, Waiting};
use quorate_protocol::{Footprint, Input, LinkState, ReadToken, Replica, RequestId};
use quorate_types::{Incarnation, Membership, NodeId, Slot, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const LEASES: LeaseReads = LeaseReads { clock_rate_error_ppm: 10_000 };

fn with_leases() -> Config {
    Config { lease_reads: Some(LEASES), ..Config::default() }
}

fn ms(ms: u64) -> Time {
    Time(ms * 1_000_000)
}

fn usable() -> Duration {
    LEASES.usable(with_leases().election_timeout)
}

/// Node 1 leads in ballot (1, 1), and everything is settled. What it sent, it sent at time 0.
fn led_with(count: u64, config: Config) -> Cluster {
    let mut cluster = Cluster::with(Membership::of_voters(count), config);
    cluster.elect(1, &(2..=count).collect::<Vec<_>>());
    cluster.run();
    cluster
}

fn led(count: u64) -> Cluster {
    led_with(count, with_leases())
}

/// A round that everybody answers, sent now.
fn renew(cluster: &mut Cluster) {
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
}

fn released(cluster: &Cluster, id: u64) -> Vec<(u64, u64)> {
    cluster.bed.node(NodeId(id)).reads().iter().map(|(token, slot)| (token.number, slot.0)).collect()
}

/// Reads at node 1 at this time; whether it was answered at once, and by its lease.
fn read_at(cluster: &mut Cluster, now: Time, number: u64) -> bool {
    cluster.bed.set_now(now);
    cluster.bed.take_events(NodeId(1));
    cluster.read(1, number);
    let at_once = released(cluster, 1).iter().any(|(known, _)| *known == number);
    assert_eq!(at_once, cluster.told(1, "multi-paxos.lease", Allowed));
    at_once
}

#[test]
fn a_read_under_a_lease_is_answered_without_a_round_at_what_is_chosen() {
    let mut cluster = led(3);
    cluster.propose(1, "a");
    cluster.run();
    renew(&mut cluster);
    assert!(read_at(&mut cluster, ms(10), 1));
    assert_eq!((released(&cluster, 1), cluster.bed.flights().len()), (vec![(1, 1)], 0));
}

#[test]
fn leases_are_off_unless_asked_for() {
    let mut cluster = Cluster::led(3);
    renew(&mut cluster);
    assert!(!read_at(&mut cluster, ms(10), 1));
    assert!(!cluster.node(1).has_lease(ms(10)));
}

#[test]
fn a_lease_lasts_from_when_its_round_was_first_sent_and_not_from_when_it_was_answered() {
    let mut cluster = led(3);
    cluster.bed.set_now(ms(1_000));
    cluster.expire(1, Timer::Heartbeat);
    cluster.bed.set_now(ms(1_040));
    cluster.run();
    let end = ms(1_000) + usable();
    assert!(read_at(&mut cluster, Time(end.0 - 1), 1));
    assert!(!read_at(&mut cluster, end, 2), "it asks");
}

#[test]
fn grants_must_meet_every_phase_1_quorum() {
    let quorums = BTreeMap::from([(5, QuorumSizes { phase1: 4, phase2: 2 })]);
    let mut few = led_with(5, Config { quorums, ..with_leases() });
    few.bed.set_now(ms(1_000));
    few.expire(1, Timer::Heartbeat);
    few.run_among(&[1, 2]);
    assert!(few.node(1).has_lease(ms(1_001)), "of any four of five, one is 1 or 2");
    let mut five = led(5);
    five.bed.set_now(ms(1_000));
    five.expire(1, Timer::Heartbeat);
    five.run_among(&[1, 2]);
    assert!(!five.node(1).has_lease(ms(1_001)));
    assert!(!read_at(&mut five, ms(1_001), 1));
}

#[test]
fn who_granted_answers_no_candidate_and_does_not_stand_for_an_election_timeout() {
    let mut cluster = led(3);
    renew(&mut cluster);
    cluster.say(3, 2, Message::Prepare { ballot: ballot(9, 3), from: Slot(1), asked_in: None });
    assert!(cluster.told(2, "multi-paxos.grant", Waiting));
    assert!(cluster.bed.flights().is_empty() && cluster.node(2).promised() == ballot(1, 1));
    cluster.expire(2, Timer::Election);
    assert!(cluster.told(2, "multi-paxos.campaign", Refused));
    assert_eq!(cluster.node(2).promised(), ballot(1, 1));
    cluster.expire(2, Timer::Grant);
    cluster.say(3, 2, Message::Prepare { ballot: ballot(9, 3), from: Slot(1), asked_in: None });
    cluster.complete(2);
    assert_eq!(cluster.node(2).promised(), ballot(9, 3));
}

#[test]
fn a_leader_that_promises_another_ballot_has_no_lease_any_more() {
    let mut cluster = led(3);
    renew(&mut cluster);
    assert!(cluster.node(1).has_lease(ms(1)));
    cluster.say(3, 1, Message::Prepare { ballot: ballot(9, 3), from: Slot(1), asked_in: None });
    assert!(!cluster.node(1).has_lease(ms(1)) && !cluster.node(1).is_leader());
}

#[test]
fn who_restarts_may_have_granted_and_answers_nobody_for_an_election_timeout() {
    let mut cluster = led(3);
    renew(&mut cluster);
    cluster.bed.crash(NodeId(2), 0);
    cluster.bed.restart(NodeId(2));
    cluster.say(3, 2, Message::Prepare { ballot: ballot(9, 3), from: Slot(1), asked_in: None });
    assert!(cluster.told(2, "multi-paxos.grant", Waiting));
    cluster.expire(2, Timer::Election);
    assert_eq!(cluster.node(2).promised(), ballot(1, 1));
    cluster.expire(2, Timer::Grant);
    cluster.expire(2, Timer::Election);
    assert_eq!(cluster.node(2).promised(), ballot(2, 2));
}

/// A node that was suspended finds a round of its leader and the end of its last grant in one batch.
#[test]
fn a_round_that_comes_with_the_end_of_the_last_grant_is_granted() {
    let mut cluster = led(3);
    renew(&mut cluster);
    cluster.expire(1, Timer::Heartbeat);
    let round = cluster.take("heartbeat", 1, 2);
    cluster.bed.batch(NodeId(2), [round, Input::Expired(Timer::Grant), Input::Expired(Timer::Election)]);
    assert!(cluster.in_flight("alive", 2, 1).is_some(), "its leader may rest a lease on that");
    cluster.say(3, 2, Message::Prepare { ballot: ballot(9, 3), from: Slot(1), asked_in: None });
    assert!(cluster.told(2, "multi-paxos.grant", Waiting));
    assert_eq!(cluster.node(2).promised(), ballot(1, 1));
    cluster.expire(2, Timer::Grant);
    cluster.expire(2, Timer::Election);
    assert_eq!(cluster.node(2).promised(), ballot(2, 2));
}

/// A read that came with a heartbeat goes by its round, and others come all the time which need none.
#[test]
fn a_read_that_waits_for_a_round_is_not_held_up_by_those_that_need_none() {
    let mut cluster = led(3);
    renew(&mut cluster);
    let read = |number| Input::Read {
        token: ReadToken { node: NodeId(1), incarnation: Incarnation(1), number },
        footprint: Footprint::Everything,
    };
    cluster.bed.batch(NodeId(1), [read(1), Input::Expired(Timer::Heartbeat)]);
    for (from, number) in [(2, 2), (3, 3)] {
        cluster.deliver("heartbeat", 1, from);
        let answer = cluster.take("alive", from, 1);
        cluster.bed.batch(NodeId(1), [answer, read(number)]);
    }
    let numbers = released(&cluster, 1).iter().map(|(number, _)| *number).collect::<BTreeSet<_>>();
    assert_eq!(numbers, BTreeSet::from([1, 2, 3]));
}

#[test]
fn a_refused_connection_shortens_no_grant_and_is_thought_of_when_it_is_over() {
    let mut cluster = led(3);
    renew(&mut cluster);
    cluster.bed.input(NodeId(2), Input::Link { peer: NodeId(1), state: LinkState::Refused });
    assert!(!cluster.told(2, "multi-paxos.dead-leader", Allowed));
    cluster.expire(2, Timer::Grant);
    assert!(cluster.told(2, "multi-paxos.dead-leader", Allowed));
    cluster.expire(2, Timer::Election);
    cluster.complete(2);
    assert!(cluster.in_flight("prepare", 2, 3).is_some());
}

#[test]
fn who_is_asked_to_take_over_overrides_the_grants_of_the_ballot_it_was_asked_in() {
    let mut cluster = led(3);
    renew(&mut cluster);
    cluster.bed.input(NodeId(1), transfer_to(2));
    assert!(!cluster.node(1).has_lease(ms(1)), "it is given up before anybody hears of it");
    cluster.run();
    assert!(cluster.node(2).is_leader());
    cluster.holds();
}

/// What the heir lacks is on its way, and it is not asked to stand yet.
#[test]
fn a_leader_that_waits_for_its_heir_has_no_lease() {
    let mut cluster = led(3);
    renew(&mut cluster);
    cluster.propose(1, "a");
    cluster.bed.input(NodeId(1), transfer_to(2));
    assert!(cluster.in_flight("take-over", 1, 2).is_none());
    assert!(!cluster.node(1).has_lease(ms(1)), "nor any more in this ballot");
}

/// The word to take over comes late: meanwhile another leader has grants, which must not fall to it.
#[test]
fn a_late_word_to_take_over_overrides_no_grant_to_a_later_leader() {
    let mut cluster = led(3);
    renew(&mut cluster);
    cluster.bed.input(NodeId(1), transfer_to(2));
    let late = Message::Prepare { ballot: ballot(9, 2), from: Slot(1), asked_in: Some(ballot(1, 1)) };
    cluster.lose_all();
    cluster.expire(3, Timer::Grant);
    cluster.expire(1, Timer::Transfer);
    cluster.elect(3, &[1]);
    cluster.expire(3, Timer::Heartbeat);
    cluster.run_among(&[1, 3]);
    assert!(cluster.node(3).has_lease(ms(0)), "1 granted it");
    cluster.say(2, 1, late);
    assert!(cluster.told(1, "multi-paxos.grant", Waiting));
    assert_eq!(cluster.node(1).promised(), ballot(2, 3));
    cluster.holds();
}

#[test]
fn a_transfer_in_vain_leaves_the_ballot_without_leases() {
    let mut cluster = led(3);
    renew(&mut cluster);
    cluster.bed.input(NodeId(1), transfer_to(2));
    cluster.lose_all();
    cluster.expire(1, Timer::Transfer);
    renew(&mut cluster);
    assert!(!cluster.node(1).has_lease(ms(1)), "the word may still be under way");
    assert!(!read_at(&mut cluster, ms(1), 1));
    cluster.run();
    assert_eq!(released(&cluster, 1).len(), 1, "by a round");
}

#[test]
fn nothing_is_read_under_a_lease_once_a_stop_sign_is_proposed() {
    let mut cluster = led(3);
    renew(&mut cluster);
    assert!(cluster.node(1).has_lease(ms(1)));
    cluster.bed.reconfigure(NodeId(1), 2, Membership::of_voters(2));
    assert!(!cluster.node(1).has_lease(ms(1)));
    cluster.read(1, 1);
    assert_eq!(released(&cluster, 1), []);
    assert!(cluster.told(1, "multi-paxos.read", Refused));
}

#[test]
fn who_votes_alone_has_nobody_to_wait_for_when_it_restarts() {
    let mut cluster = Cluster::with(Membership::of_voters(1), with_leases());
    cluster.expire(1, Timer::Election);
    cluster.complete(1);
    cluster.bed.crash(NodeId(1), 0);
    cluster.bed.restart(NodeId(1));
    cluster.expire(1, Timer::Election);
    cluster.complete(1);
    assert!(cluster.node(1).is_leader());
    assert!(read_at(&mut cluster, ms(1), 1));
}

fn transfer_to(to: u64) -> Input<MultiPaxos> {
    Input::Transfer { request: RequestId(7), to: NodeId(to) }
}

/// A driver that opens it with settings under which it would grant less waits for so long.
#[test]
fn grants_outlive_the_settings_they_were_given_with() {
    assert_eq!(MultiPaxos::promises_last(&with_leases()), with_leases().election_timeout);
    assert_eq!(MultiPaxos::promises_last(&Config::default()), Duration::ZERO);
}
