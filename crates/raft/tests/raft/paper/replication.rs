//! Replication and commit: Raft §5.3, §5.4.2; dissertation, 10.2.1.

use crate::cluster::*;
use bytes::Bytes;
use quorate_protocol::{Batch, Input, Output, Refusal, Refused, Replica, RequestId, Verdict};
use quorate_raft::{Config, Message, Record, Timer};
use quorate_types::{NodeId, Slot};

fn propose(request: u64, commands: &'static str) -> Input<quorate_raft::Raft> {
    Input::Propose { request: RequestId(request), batch: Batch::new(Bytes::from_static(commands.as_bytes())) }
}

fn sends(outputs: &[Output<quorate_raft::Raft>]) -> Vec<(u64, Message)> {
    let of = |output: &Output<_>| match output {
        Output::Send { to, message, .. } => Some((to.0, Message::clone(message))),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}

#[test]
fn rule_9_what_is_compacted_matches_without_a_look() {
    let config = Config { compact_after_entries: 1, compact_keep_entries: 0, ..Config::default() };
    let mut cluster = Cluster::led_with(3, config);
    for _ in 0..4 {
        cluster.propose(1, "x");
        cluster.run();
    }
    cluster.bed.checkpoint(NodeId(2));
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    let base = cluster.node(2).log().base();
    assert!(base >= Slot(3), "only {base} is compacted");
    let last = cluster.marks(2).2;
    cluster.say(1, 2, append(1, (1, 1), &vec![1; last as usize], 0));
    cluster.complete(2);
    assert_eq!(cluster.take_sent(2), [(1, accepted(1, last + 1, 0))]);
    assert_eq!(cluster.terms(2).len() as u64, last + 1 - base.0);
    cluster.assert_sound();
}

#[test]
fn rule_10_an_append_that_does_not_meet_the_log_is_rejected() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, append(3, (0, 0), &[1, 1, 3], 0));
    cluster.complete(1);
    cluster.take_sent(1);
    cluster.say(2, 1, append(3, (5, 3), &[3], 0));
    cluster.say(2, 1, append(3, (3, 2), &[3], 0));
    assert_eq!(cluster.take_sent(1), [(2, rejected(3, 5, (3, 3), 0)), (2, rejected(3, 3, (2, 1), 0))]);
    assert_eq!(cluster.terms(1), [1, 1, 3]);
}

#[test]
fn rule_11_a_delayed_short_append_truncates_nothing() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, append(1, (0, 0), &[1, 1, 1], 0));
    cluster.say(2, 1, append(1, (0, 0), &[1], 0));
    cluster.say(2, 1, heartbeat(1, (1, 1), 0, 1));
    assert_eq!(cluster.terms(1), [1, 1, 1]);
}

#[test]
fn rule_11_what_conflicts_is_overwritten_from_there_on() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, append(1, (0, 0), &[1, 1, 1, 1], 1));
    cluster.complete(1);
    cluster.say(3, 1, append(2, (1, 1), &[1, 2], 1));
    assert_eq!(cluster.terms(1), [1, 1, 2]);
    cluster.complete(1);
    assert!(cluster.bed.node(NodeId(1)).records().any(|record| *record == Record::Truncate { from: Slot(3) }));
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!(cluster.terms(1), [1, 1, 2]);
    cluster.assert_sound();
}

#[test]
fn rule_11_what_is_committed_is_never_truncated() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, append(1, (0, 0), &[1, 1], 2));
    cluster.say(3, 1, append(2, (0, 0), &[2], 0));
    assert_eq!(cluster.terms(1), [1, 1]);
    assert_eq!(cluster.bed.violation().unwrap().invariant, "NoTruncateBelowCommit");
}

#[test]
fn rule_12_an_acceptance_speaks_of_what_was_sent_and_not_of_the_own_last_slot() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, append(1, (0, 0), &[1, 1, 1], 0));
    cluster.complete(1);
    cluster.take_sent(1);
    cluster.say(3, 1, append(2, (0, 0), &[1], 0));
    cluster.complete(1);
    assert_eq!(cluster.take_sent(1), [(3, accepted(2, 1, 0))], "slots 2 and 3 may not be in its log");
}

#[test]
fn rule_13_a_follower_commits_no_further_than_the_append_proves() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, append(1, (0, 0), &[1, 1, 1], 0));
    cluster.say(3, 1, append(2, (0, 0), &[1], 3));
    assert_eq!(cluster.node(1).commit(), Slot(1), "slots 2 and 3 may be overwritten by the new leader");
}

/// Leader 1,1,1,4,4,5,5,6,6,6; follower 1,1,1,2,2,2,3,3,3,3,3: one rejection is enough, the paper's hint takes two.
#[test]
fn rule_14_hints_skip_whole_terms_on_both_sides() {
    let mut cluster = Cluster::of(3);
    cluster.say(3, 1, append(6, (0, 0), &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6], 0));
    cluster.say(3, 2, append(3, (0, 0), &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], 0));
    cluster.elect(1, &[3]);
    cluster.take_sent(2);
    let to_follower = cluster.take_sent(1).into_iter().find(|(to, _)| *to == 2).unwrap().1;
    assert_eq!(appends(&[(2, to_follower.clone())]), [(2, 10, vec![7])]);
    cluster.say(1, 2, to_follower);
    cluster.complete(2);
    let [(1, rejection)] = &cluster.take_sent(2)[..] else { panic!("one answer") };
    assert_eq!(*rejection, rejected(7, 10, (10, 3), 0));
    cluster.say(2, 1, rejection.clone());
    assert_eq!(appends(&cluster.take_sent(1)), [(2, 3, vec![4, 4, 5, 5, 6, 6, 6, 7])]);
}

#[test]
fn rule_14_a_hint_never_takes_the_leader_below_what_is_known_to_match() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "x");
    cluster.say(2, 1, rejected(1, 2, (0, 0), 0));
    assert_eq!(appends(&cluster.take_sent(1)).last(), Some(&(2, 1, vec![1])));
}

#[test]
fn rule_15_a_rejection_of_what_is_known_to_match_is_old() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "x");
    cluster.run();
    cluster.say(2, 1, rejected(1, 1, (0, 0), 0));
    assert_eq!(cluster.node(1).status().peers[0].state, "replicate");
    assert!(cluster.saw(1, "raft.progress", Verdict::Refused));
}

#[test]
fn rule_15_a_hint_equal_to_what_matches_is_not_old() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "lost on the way");
    cluster.bed.lose_where(|flight| flight.to == NodeId(2));
    cluster.propose(1, "arrives");
    cluster.run();
    assert_eq!(cluster.terms(2).len(), 3);
    assert!(cluster.saw(1, "raft.progress", Verdict::Waiting), "the gap was noticed by a rejection");
    cluster.assert_sound();
}

#[test]
fn rule_16_an_entry_of_an_earlier_term_is_not_committed_by_counting() {
    let mut cluster = Cluster::led_with(3, Config { append_entries: 1, ..Config::default() });
    cluster.propose(1, "of term 1");
    cluster.complete(1);
    cluster.bed.checkpoint(NodeId(1));
    cluster.crash(1);
    cluster.restart(1);
    cluster.bed.lose_where(|_| true);
    cluster.elect(1, &[2, 3]);
    cluster.complete(1);
    cluster.say(2, 1, rejected(2, 2, (1, 1), 0));
    cluster.say(2, 1, accepted(2, 2, 0));
    assert_eq!(cluster.node(1).commit(), Slot(1), "slot 2 is on a majority");
    assert!(cluster.saw(1, "raft.commit", Verdict::Refused));
    cluster.say(2, 1, accepted(2, 3, 0));
    assert_eq!(cluster.node(1).commit(), Slot(3), "with the no-op of its own term above it");
}

#[test]
fn rule_16_a_commit_needs_a_majority_and_not_the_greatest_mark() {
    let mut cluster = Cluster::led(5);
    cluster.propose(1, "x");
    cluster.complete(1);
    cluster.say(2, 1, accepted(1, 2, 0));
    assert_eq!(cluster.node(1).commit(), Slot(1));
    cluster.say(2, 1, accepted(1, 2, 0));
    assert_eq!(cluster.node(1).commit(), Slot(1), "one follower answering twice is one");
    cluster.say(3, 1, accepted(1, 2, 0));
    assert_eq!(cluster.node(1).commit(), Slot(2));
}

#[test]
fn rule_17_a_leader_may_commit_on_the_others_disks_and_applies_once_its_own_is_done() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "x");
    cluster.say(2, 1, accepted(1, 2, 0));
    cluster.say(3, 1, accepted(1, 2, 0));
    assert_eq!(cluster.node(1).commit(), Slot(2));
    assert!(!cluster.bed.node(NodeId(1)).decided().contains_key(&Slot(2)));
    assert!(cluster.saw(1, "raft.decide", Verdict::Waiting));
    cluster.complete(1);
    assert!(cluster.bed.node(NodeId(1)).decided().contains_key(&Slot(2)));
}

#[test]
fn rule_17_all_that_is_proposed_in_a_batch_goes_in_one_write_and_one_append_per_peer() {
    let mut lone = Lone::leading(3, &Config::default());
    for peer in [2, 3] {
        lone.hear(peer, accepted(1, 1, 0));
    }
    lone.complete();
    let outputs = lone.batch(vec![propose(1, "a"), propose(2, "b"), propose(3, "c")]);
    let writes: Vec<_> = outputs.iter().filter(|output| matches!(output, Output::Persist { .. })).collect();
    let [Output::Persist { records, .. }] = writes[..] else { panic!("one write: {writes:?}") };
    let entries = ["a", "b", "c"].map(|commands| command(1, commands)).to_vec().into();
    assert_eq!(*records, [Record::Append { first: Slot(2), entries }]);
    assert_eq!(appends(&sends(&outputs)), [(2, 1, vec![1, 1, 1]), (3, 1, vec![1, 1, 1])]);
}

#[test]
fn a_peer_of_which_nothing_is_known_is_probed_once_per_answer() {
    let mut lone = Lone::leading(3, &Config::default());
    let outputs = lone.batch(vec![propose(1, "a")]);
    assert_eq!(appends(&sends(&outputs)), [], "the no-op is under way to both");
    let outputs = lone.batch(vec![Input::Expired(Timer::Heartbeat)]);
    assert_eq!(appends(&sends(&outputs)), [(2, 0, vec![]), (3, 0, vec![])]);
    let outputs = lone.hear(2, accepted(1, 1, 0));
    assert_eq!(appends(&sends(&outputs)), [(2, 1, vec![1])]);
}

#[test]
fn a_full_window_holds_entries_back_but_not_heartbeats() {
    let config = Config { window_messages: 1, ..Config::default() };
    let mut lone = Lone::leading(3, &config);
    lone.hear(2, accepted(1, 1, 0));
    lone.hear(3, accepted(1, 1, 0));
    lone.complete();
    assert_eq!(sends(&lone.batch(vec![propose(1, "a")])).len(), 2);
    assert_eq!(sends(&lone.batch(vec![propose(2, "b")])), []);
    let outputs = lone.batch(vec![Input::Expired(Timer::Heartbeat)]);
    assert_eq!(appends(&sends(&outputs)), [(2, 2, vec![]), (3, 2, vec![])]);
    assert_eq!(appends(&sends(&lone.hear(3, accepted(1, 2, 1)))), [(3, 2, vec![1])]);
}

#[test]
fn a_lost_append_is_noticed_by_the_next_heartbeat() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "x");
    cluster.bed.lose_where(|_| true);
    cluster.run();
    assert_eq!(cluster.node(1).commit(), Slot(1));
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    assert_eq!(cluster.node(1).commit(), Slot(2));
    cluster.assert_sound();
}

#[test]
fn proposals_beyond_the_budget_are_refused_and_taken_again_once_decided() {
    let mut cluster = Cluster::led_with(3, Config { undecided_bytes: 40, ..Config::default() });
    let refused = |cluster: &Cluster| cluster.bed.node(NodeId(1)).refusals().len();
    cluster.propose(1, "a proposal that is longer than the whole budget is taken alone");
    assert_eq!(refused(&cluster), 0);
    cluster.propose(1, "b");
    assert_eq!(cluster.bed.node(NodeId(1)).refusals(), [(Refused::Request(RequestId(0)), Refusal::Overloaded)]);
    cluster.run();
    for _ in 0..50 {
        cluster.propose(1, "c");
        cluster.run();
    }
    assert_eq!(refused(&cluster), 1, "the count does not leak");
}

#[test]
fn a_proposal_elsewhere_is_refused_with_the_leaders_name() {
    let mut cluster = Cluster::led(3);
    cluster.propose(2, "x");
    let why = Refusal::NotLeader { hint: Some(NodeId(1)) };
    assert_eq!(cluster.bed.node(NodeId(2)).refusals(), [(Refused::Request(RequestId(0)), why)]);
}

#[test]
fn what_makes_no_sense_is_dropped() {
    let mut cluster = Cluster::led(3);
    cluster.take_sent(2);
    let before = cluster.node(2).clone();
    for message in [append(1, (1, 1), &[2], 0), append(1, (1, 1), &[1, 0], 0), append(1, (u64::MAX, 1), &[1], 0)] {
        cluster.say(1, 2, message);
    }
    assert_eq!(*cluster.node(2), before);
    let before = cluster.node(1).clone();
    cluster.say(2, 1, accepted(1, 77, 0));
    cluster.say(2, 1, accepted(1, 1, 77));
    cluster.say(1, 1, accepted(1, 1, 0));
    assert_eq!(*cluster.node(1), before);
}

#[test]
fn a_peer_that_lacks_what_is_compacted_gets_heartbeats_only() {
    let config = Config { compact_after_entries: 1, compact_keep_entries: 0, ..Config::default() };
    let mut cluster = Cluster::led_with(3, config);
    for _ in 0..4 {
        cluster.propose(1, "x");
        cluster.run();
        cluster.bed.checkpoint(NodeId(1));
    }
    assert!(cluster.node(1).log().base() >= Slot(3));
    cluster.complete_all();
    cluster.crash(1);
    cluster.restart(1);
    cluster.elect(1, &[2, 3]);
    cluster.take_sent(1);
    let probed = cluster.node(1).log().last().0 - 1;
    cluster.say(2, 1, rejected(2, probed, (1, 1), 0));
    assert!(cluster.saw(1, "raft.window", Verdict::Refused));
    assert_eq!(cluster.take_sent(1), []);
    cluster.expire(1, Timer::Heartbeat);
    assert!(appends(&cluster.take_sent(1)).iter().all(|(_, _, entries)| entries.is_empty()));
    assert!(cluster.node(1).is_leader());
}

#[test]
fn a_link_that_comes_up_is_used_at_once() {
    let mut cluster = Cluster::led(3);
    cluster.bed.input(NodeId(1), Input::Link { peer: NodeId(2), state: quorate_protocol::LinkState::Up });
    assert_eq!(appends(&cluster.take_sent(1)), [(2, 1, vec![])]);
}

/// Only a broken disk makes a peer deny what it acknowledged. It is asked again, but not at the speed of the network.
#[test]
fn a_peer_that_denies_what_it_acknowledged_is_asked_by_heartbeats_only() {
    let mut lone = Lone::leading(3, &Config::default());
    lone.hear(2, accepted(1, 1, 0));
    lone.batch(vec![propose(1, "x")]);
    let to_two = |outputs: &[Output<quorate_raft::Raft>]| {
        appends(&sends(outputs)).into_iter().filter(|sent| sent.0 == 2).count()
    };
    assert_eq!(to_two(&lone.hear(2, rejected(1, 2, (0, 0), 0))), 1, "back to the slot it acknowledged");
    for _ in 0..3 {
        assert_eq!(to_two(&lone.hear(2, rejected(1, 1, (0, 0), 0))), 0);
    }
    assert_eq!(to_two(&lone.batch(vec![Input::Expired(Timer::Heartbeat)])), 1);
    assert_eq!(to_two(&lone.hear(2, rejected(1, 1, (0, 0), 0))), 0);
    // Should it find its log again, all goes on.
    lone.hear(2, accepted(1, 2, 0));
    lone.complete();
    assert_eq!(lone.raft.commit(), Slot(2));
}

/// Whatever numbers two messages carry, from a member or a stranger, to a follower or a leader: nothing overflows.
#[test]
fn extreme_numbers_overflow_nothing() {
    const EXTREMES: [u64; 4] = [0, 1, u64::MAX - 1, u64::MAX];
    let mut messages = Vec::new();
    for term in EXTREMES {
        messages.extend([vote(term, true), vote(term, false), would_vote(term, true), would_vote(term, false)]);
        for number in EXTREMES {
            messages.extend([request_vote(term, (number, term)), pre_vote(term, (number, 1))]);
            messages.extend([
                accepted(term, number, 0),
                accepted(term, 0, number),
                rejected(term, number, (number, 1), 0),
            ]);
            messages.extend([append(term, (number, 1), &[term], 0), heartbeat(term, (number, term), 0, number)]);
            messages.push(append(term, (0, 0), &[number, term], 0));
        }
    }
    for leads in [false, true] {
        for first in &messages {
            for (at, second) in messages.iter().enumerate() {
                let config = Config::default();
                let mut lone = if leads { Lone::leading(3, &config) } else { Lone::of(3, &config) };
                lone.hear(3, first.clone());
                lone.hear(if at % 2 == 0 { 2 } else { 9 }, second.clone());
                lone.complete();
                for timer in [Timer::Stickiness, Timer::Election, Timer::Heartbeat, Timer::CheckQuorum] {
                    lone.batch(vec![Input::Expired(timer)]);
                }
                lone.complete();
            }
        }
    }
}
