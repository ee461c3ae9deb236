//! Lease reads: dissertation, 6.4.1, and what must be true for them.

use crate::cluster::*;
use quorate_protocol::{Input, LinkState, Output, Verdict};
use quorate_raft::{Config, LeaseReads, Message, Raft, Timer};
use quorate_types::{NodeId, Slot, Time};
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

/// Node 1 leads term 1 and everything is settled. What it sent, it sent at time 0.
fn led(count: u64) -> Cluster {
    Cluster::led_with(count, with_leases())
}

/// A round that everybody answers, sent now.
fn renew(cluster: &mut Cluster) {
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
}

fn released(cluster: &Cluster, id: u64) -> Vec<(u64, u64)> {
    cluster.bed.node(NodeId(id)).reads().iter().map(|(token, slot)| (token.number, slot.0)).collect()
}

/// Reads at node 1 at this time; whether it was answered at once.
fn read_at(cluster: &mut Cluster, now: Time, number: u64) -> bool {
    cluster.bed.set_now(now);
    cluster.read(1, number);
    let at_once = released(cluster, 1).iter().any(|(known, _)| *known == number);
    assert_eq!(at_once, cluster.saw(1, "raft.lease", Verdict::Allowed));
    at_once
}

#[test]
fn a_read_under_a_lease_is_answered_without_a_round_and_noted_at_the_commit_mark() {
    let mut cluster = led(3);
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
    assert!(!read_at(&mut cluster, end, 2));
    assert_eq!(released(&cluster, 1), [(1, 1)]);
}

#[test]
fn a_round_sent_again_later_starts_no_later_lease() {
    let mut cluster = led(3);
    cluster.bed.set_now(ms(1_000));
    cluster.expire(1, Timer::Heartbeat);
    cluster.bed.lose_where(|_| true);
    cluster.bed.set_now(ms(1_100));
    cluster.propose(1, "x");
    cluster.run();
    assert_eq!(cluster.node(1).commit(), Slot(2));
    assert!(cluster.node(1).has_lease(ms(1_100)) && !cluster.node(1).has_lease(ms(1_000) + usable()));
}

/// Found by a campaign: what it had sent before was forgotten by then, and looked new when it was sent once more.
#[test]
fn a_leader_that_wakes_up_has_no_lease_by_what_was_answered_before_it_slept() {
    let mut cluster = led(3);
    cluster.bed.set_now(ms(1_000));
    renew(&mut cluster);
    assert!(cluster.node(1).has_lease(ms(1_001)));
    let awake = ms(1_000) + with_leases().election_timeout * 2;
    cluster.bed.set_now(awake);
    cluster.propose(1, "x");
    assert!(!cluster.node(1).has_lease(awake), "meanwhile others may have elected somebody");
    assert!(!read_at(&mut cluster, awake, 1));
    cluster.run();
    assert_eq!(released(&cluster, 1).len(), 1, "it had to ask");
    assert!(cluster.node(1).has_lease(awake));
}

#[test]
fn answers_of_a_minority_start_no_lease() {
    let mut cluster = led(5);
    cluster.bed.set_now(ms(1_000));
    cluster.expire(1, Timer::Heartbeat);
    cluster.run_only(&[1, 2]);
    assert!(!read_at(&mut cluster, ms(1_001), 1));
    cluster.bed.lose_where(|_| true);
    cluster.expire(1, Timer::Heartbeat);
    cluster.run_only(&[1, 2, 3]);
    assert!(read_at(&mut cluster, ms(1_002), 2));
}

#[test]
fn no_answer_starts_no_lease_although_nothing_is_older_than_round_0() {
    let mut cluster = Cluster::with(3, with_leases());
    cluster.elect(1, &[2, 3]);
    assert!(!cluster.node(1).has_lease(ms(0)));
    let mut cluster = led(3);
    cluster.elect(2, &[1, 3]);
    assert!(!cluster.node(2).has_lease(ms(0)), "answers of an earlier term start none either");
}

#[test]
fn a_lease_serves_no_read_before_something_of_the_leaders_own_term_is_committed() {
    let mut cluster = led(3);
    cluster.elect(2, &[1, 3]);
    cluster.take_sent(2);
    cluster.expire(2, Timer::Heartbeat);
    for peer in [1, 3] {
        cluster.say(peer, 2, accepted(2, 1, 1));
    }
    assert!(cluster.node(2).has_lease(ms(0)));
    cluster.read(2, 1);
    assert_eq!(released(&cluster, 2), []);
    cluster.bed.lose_where(|_| true);
    cluster.expire(2, Timer::Heartbeat);
    cluster.run();
    assert_eq!(released(&cluster, 2), [(1, 2)]);
}

/// Committed on the followers' disks, not yet durable at the leader: the follower that applied it may have answered a client.
#[test]
fn a_read_under_a_lease_waits_for_the_commit_mark_even_if_the_leaders_own_disk_is_behind() {
    let mut cluster = led(3);
    renew(&mut cluster);
    cluster.propose(1, "x");
    for peer in [2, 3] {
        cluster.say(peer, 1, accepted(1, 2, 0));
    }
    assert_eq!((cluster.node(1).commit(), cluster.node(1).durable()), (Slot(2), Slot(1)));
    assert!(read_at(&mut cluster, ms(10), 1));
    assert_eq!(released(&cluster, 1), [(1, 2)], "not at what is applied, slot 1");
}

#[test]
fn a_followers_read_profits_too() {
    let mut cluster = led(3);
    renew(&mut cluster);
    cluster.bed.set_now(ms(10));
    cluster.read(3, 1);
    let mut kinds = Vec::new();
    while !cluster.bed.flights().is_empty() {
        kinds.push(cluster.bed.flights()[0].message.kind());
        cluster.bed.deliver(0);
    }
    assert_eq!(kinds, ["read-index", "read-index-response"]);
    assert_eq!(released(&cluster, 3), [(1, 1)]);
}

/// The look at the clock comes after everything at hand, and is not kept for the next batch.
#[test]
fn every_batch_looks_at_the_clock_anew() {
    let mut cluster = led(3);
    renew(&mut cluster);
    assert!(read_at(&mut cluster, ms(1), 1));
    assert!(!read_at(&mut cluster, ms(1) + usable(), 2));
    cluster.run();
    assert_eq!(released(&cluster, 1), [(1, 1), (2, 1)], "it was answered by a round instead");
}

#[test]
fn a_leader_in_a_configuration_of_another_node_alone_has_no_lease_of_its_own() {
    use quorate_raft::{Append, Configuration, Entry, Payload};
    use quorate_types::{Member, Membership};
    let only = |ids: &[u64]| Membership::new(ids.iter().map(|id| Member::voter(NodeId(*id))));
    let mut cluster = Cluster::with(2, with_leases());
    let joint = Configuration { outgoing: Some(only(&[1, 2])), members: only(&[2]) };
    let brings = |configuration| Entry { term: 1, payload: Payload::Members(Box::new(configuration)) };
    let entries = vec![brings(joint), brings(Configuration::of(only(&[2])))];
    let append = Append {
        term: 1,
        prev_slot: Slot::ZERO,
        prev_term: 0,
        entries: entries.into(),
        commit: Slot(1),
        everyone_has: Slot::ZERO,
        round: 1,
    };
    cluster.say(2, 1, Message::Append(append));
    cluster.complete_all();
    cluster.bed.lose_where(|_| true);
    cluster.bed.expire(NodeId(1), Timer::Stickiness);
    cluster.expire(1, Timer::Election);
    cluster.say(2, 1, would_vote(2, true));
    cluster.complete_all();
    cluster.say(2, 1, vote(2, true));
    assert!(cluster.node(1).is_leader());
    cluster.complete_all();
    cluster.read(1, 1);
    assert!(!cluster.node(1).has_lease(ms(0)));
    assert_eq!(released(&cluster, 1), [], "it is alone in what it knows of itself, and must still ask node 2");
    cluster.say(2, 1, accepted(2, 3, 0));
    assert_eq!((cluster.node(1).commit(), cluster.node(1).is_leader()), (Slot(3), false), "its part is over");
    assert_eq!((cluster.node(1).has_lease(ms(0)), released(&cluster, 1)), (false, vec![]));
}

#[test]
fn a_lease_is_gone_before_anybody_is_asked_to_stand_and_for_the_rest_of_the_term() {
    let mut cluster = led(3);
    renew(&mut cluster);
    assert!(cluster.node(1).has_lease(ms(1)));
    cluster.transfer(1, 7, 3);
    assert!(!cluster.node(1).has_lease(ms(1)));
    assert!(cluster.saw(1, "raft.lease", Verdict::Refused));
    cluster.bed.lose_where(|_| true);
    cluster.expire(1, Timer::Transfer);
    renew(&mut cluster);
    assert!(!read_at(&mut cluster, ms(2), 1), "reads need a round from now on");
    cluster.run();
    assert_eq!(released(&cluster, 1), [(1, 1)]);
    cluster.elect(2, &[1, 3]);
    cluster.run();
    cluster.elect(1, &[2, 3]);
    cluster.run();
    renew(&mut cluster);
    assert!(read_at(&mut cluster, ms(3), 2), "a new term");
}

/// The request to stand is delayed; the leader gives up waiting and is answered by node 2 again. Then node 3 hears the
/// request, and its flagged candidacy passes node 2's promise: node 3 leads and commits while node 1 thinks it leads.
#[test]
fn a_transfer_that_was_given_up_and_happens_all_the_same_meets_no_lease() {
    let mut cluster = led(3);
    renew(&mut cluster);
    cluster.transfer(1, 7, 3);
    let late = cluster.take_sent(1);
    cluster.expire(1, Timer::Transfer);
    cluster.expire(1, Timer::Heartbeat);
    cluster.run_only(&[1, 2]);
    for (to, message) in late {
        cluster.say(1, to, message);
    }
    cluster.run_only(&[2, 3]);
    assert!(cluster.node(3).is_leader() && cluster.node(1).is_leader());
    cluster.propose(3, "newer");
    cluster.run_only(&[2, 3]);
    assert_eq!(cluster.node(3).commit(), Slot(3));
    assert!(!read_at(&mut cluster, ms(0), 1), "node 1 would answer without what node 3 committed");
    cluster.run();
    assert_eq!(released(&cluster, 1), []);
    cluster.assert_sound();
}

#[test]
fn a_promise_outlives_the_term_it_was_given_in() {
    let mut cluster = led(3);
    renew(&mut cluster);
    cluster.say(3, 2, would_vote(2, false));
    assert_eq!(cluster.node(2).term(), 2, "it learnt of term 2");
    cluster.complete(2);
    cluster.take_sent(2);
    cluster.say(3, 2, request_vote(2, (9, 1)));
    assert_eq!(cluster.take_sent(2), [(3, vote(2, false))], "a request that came twice, of a term that is now its own");
    cluster.say(3, 2, request_vote(3, (9, 1)));
    assert_eq!((cluster.take_sent(2), cluster.node(2).term()), (vec![], 2));
    cluster.expire(2, Timer::Stickiness);
    cluster.say(3, 2, request_vote(2, (9, 1)));
    cluster.complete(2);
    assert_eq!(cluster.take_sent(2), [(3, vote(2, true))]);
}

#[test]
fn without_leases_a_promise_ends_with_its_term() {
    let mut cluster = Cluster::led(3);
    cluster.say(3, 2, would_vote(2, false));
    cluster.complete(2);
    cluster.say(3, 2, request_vote(2, (9, 1)));
    cluster.complete(2);
    assert!(cluster.take_sent(2).contains(&(3, vote(2, true))));
}

#[test]
fn who_is_bound_does_not_stand_either() {
    let mut lone = Lone::of(3, &with_leases());
    lone.hear(2, append(1, (0, 0), &[1], 0));
    lone.complete();
    let sent = |outputs: &[Output<Raft>]| outputs.iter().any(|output| matches!(output, Output::Send { .. }));
    assert!(!sent(&lone.batch(vec![Input::Expired(Timer::Election)])));
    lone.batch(vec![Input::Expired(Timer::Stickiness)]);
    assert!(sent(&lone.batch(vec![Input::Expired(Timer::Election)])));
}

#[test]
fn a_promise_renewed_in_a_batch_that_ends_the_term_lasts_its_time() {
    let config = with_leases();
    let mut lone = Lone::of(3, &config);
    let from = |id, message| Input::Receive { from: NodeId(id), message };
    let outputs = lone.batch(vec![
        from(2, heartbeat(1, (0, 0), 0, 1)),
        Input::Expired(Timer::Stickiness),
        from(3, would_vote(2, false)),
    ]);
    let after = config.election_timeout;
    let armed = Output::SetTimer { timer: Timer::Stickiness, at_least: after, at_most: after };
    assert!(lone.raft.term() == 2 && outputs.contains(&armed), "it would be bound for ever: {outputs:?}");
}

#[test]
fn a_restarted_voter_elects_nobody_for_an_election_timeout() {
    let mut cluster = led(3);
    renew(&mut cluster);
    cluster.crash(2);
    cluster.restart(2);
    cluster.say(3, 2, request_vote(2, (9, 1)));
    cluster.say(3, 2, pre_vote(2, (9, 1)));
    assert_eq!((cluster.take_sent(2), cluster.node(2).term()), (vec![], 1));
    cluster.expire(2, Timer::Stickiness);
    cluster.say(3, 2, pre_vote(2, (9, 1)));
    assert_eq!(cluster.take_sent(2), [(3, would_vote(2, true))]);
    let fresh = Cluster::with(3, with_leases());
    assert!(!fresh.bed.node(NodeId(1)).armed().contains(&Timer::Stickiness), "a new node answered nobody before");
}

#[test]
fn a_single_voter_that_restarts_waits_too_for_it_may_have_answered_a_leader_outside_its_configuration() {
    let mut cluster = Cluster::with(1, with_leases());
    cluster.expire(1, Timer::Election);
    cluster.run();
    cluster.crash(1);
    cluster.restart(1);
    cluster.expire(1, Timer::Election);
    cluster.complete(1);
    assert!(!cluster.node(1).is_leader());
    cluster.expire(1, Timer::Stickiness);
    cluster.expire(1, Timer::Election);
    cluster.complete(1);
    assert!(cluster.node(1).is_leader());
}

#[test]
fn a_refused_connection_shortens_no_promise_but_the_wait_behind_it() {
    let config = with_leases();
    let mut lone = Lone::of(3, &config);
    lone.hear(2, append(1, (0, 0), &[1], 0));
    lone.complete();
    let gone = || vec![Input::Link { peer: NodeId(2), state: LinkState::Refused }];
    assert_eq!(lone.batch(gone()), [], "neither timer is touched");
    let answers = lone.hear(3, pre_vote(2, (1, 1)));
    assert_eq!(answers, [], "still bound");
    let heartbeat_interval = config.heartbeat_interval;
    let soon = |least: Duration| Output::SetTimer { timer: Timer::Election, at_least: least, at_most: least * 2 };
    assert!(lone.batch(vec![Input::Expired(Timer::Stickiness)]).contains(&soon(heartbeat_interval)));
    lone.hear(2, heartbeat(1, (1, 1), 0, 2));
    assert!(
        !lone.batch(vec![Input::Expired(Timer::Stickiness)]).contains(&soon(heartbeat_interval)),
        "it was heard again"
    );
    assert!(lone.batch(gone()).contains(&soon(heartbeat_interval)), "bound no more: at once");
}

#[test]
fn a_hint_beside_a_word_of_the_leader_does_not_keep_the_promise_from_being_renewed() {
    let config = with_leases();
    let mut lone = Lone::of(3, &config);
    let outputs = lone.batch(vec![
        Input::Receive { from: NodeId(2), message: heartbeat(1, (0, 0), 0, 1) },
        Input::Link { peer: NodeId(2), state: LinkState::Refused },
    ]);
    let after = config.election_timeout;
    assert!(outputs.contains(&Output::SetTimer { timer: Timer::Stickiness, at_least: after, at_most: after }));
}
