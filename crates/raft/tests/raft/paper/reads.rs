//! Linearizable reads: Raft §8; dissertation, 6.4.

use crate::cluster::*;
use quorate_protocol::{Refusal, Refused, Replica, Verdict};
use quorate_raft::{AppendOutcome, Message, ReadAnswer, Timer};
use quorate_types::{NodeId, Slot};

fn released(cluster: &Cluster, id: u64) -> Vec<(u64, u64)> {
    cluster.bed.node(NodeId(id)).reads().iter().map(|(token, slot)| (token.number, slot.0)).collect()
}

fn refused(cluster: &Cluster, id: u64) -> Vec<(u64, Refusal)> {
    let of = |(refused, why): &(Refused, Refusal)| match refused {
        Refused::Read(token) => Some((token.number, why.clone())),
        Refused::Request(_) => None,
    };
    cluster.bed.node(NodeId(id)).refusals().iter().filter_map(of).collect()
}

fn rounds(sent: &[(u64, Message)]) -> Vec<u64> {
    let of = |(_, message): &(u64, Message)| match message {
        Message::Append(append) => Some(append.round),
        _ => None,
    };
    sent.iter().filter_map(of).collect()
}

#[test]
fn a_read_is_held_until_something_of_the_leaders_own_term_is_committed() {
    let mut cluster = Cluster::led(3);
    cluster.elect(2, &[1, 3]);
    cluster.read(2, 1);
    assert!(cluster.saw(2, "raft.read", Verdict::Waiting));
    for peer in [1, 3] {
        cluster.say(peer, 2, accepted(2, 1, 9));
    }
    assert_eq!(released(&cluster, 2), []);
    cluster.run();
    assert_eq!(released(&cluster, 2), [(1, 2)], "at the no-op, which everything acknowledged before is under");
    cluster.assert_sound();
}

#[test]
fn one_round_covers_all_reads_that_came_before_it_was_sent() {
    let mut cluster = Cluster::led(3);
    cluster.read(1, 1);
    let first = cluster.take_sent(1);
    let [round, _] = rounds(&first)[..] else { panic!("one append per peer: {first:?}") };
    cluster.read(1, 2);
    cluster.say(2, 1, accepted(1, 1, round));
    assert_eq!(released(&cluster, 1), [(1, 1)], "the second came after the round was sent");
    cluster.run();
    assert_eq!(released(&cluster, 1), [(1, 1), (2, 1)]);
}

#[test]
fn an_isolated_leader_releases_no_read() {
    let mut cluster = Cluster::led(5);
    cluster.read(1, 1);
    cluster.bed.lose_where(|_| true);
    cluster.elect(2, &[3, 4]);
    cluster.propose(2, "newer");
    cluster.run_only(&[2, 3, 4, 5]);
    assert_eq!(cluster.node(2).commit(), Slot(3));
    cluster.say(5, 1, accepted(1, 1, 0));
    cluster.expire(1, Timer::CheckQuorum);
    cluster.expire(1, Timer::CheckQuorum);
    assert_eq!(released(&cluster, 1), []);
    assert_eq!(refused(&cluster, 1), [(1, Refusal::LeaderChanged)]);
    cluster.assert_sound();
}

#[test]
fn an_old_rounds_answers_and_refusals_of_old_appends_confirm_nothing() {
    let mut cluster = Cluster::led(5);
    cluster.expire(1, Timer::Heartbeat);
    let [round, ..] = rounds(&cluster.take_sent(1))[..] else { panic!("a heartbeat") };
    cluster.read(1, 1);
    for peer in [2, 3, 4, 5] {
        cluster.say(peer, 1, accepted(1, 1, round));
        cluster.say(peer, 1, Message::AppendResponse { term: 1, outcome: AppendOutcome::StaleTerm });
    }
    assert_eq!(released(&cluster, 1), []);
}

#[test]
fn a_rejection_confirms_the_leader_too() {
    let mut cluster = Cluster::led(3);
    cluster.read(1, 1);
    let [round, ..] = rounds(&cluster.take_sent(1))[..] else { panic!("a round") };
    cluster.say(2, 1, rejected(1, 1, (0, 0), round));
    assert_eq!(released(&cluster, 1), [(1, 1)]);
}

#[test]
fn a_read_anywhere_is_served_there_as_of_the_leaders_commit() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "x");
    cluster.run();
    cluster.read(3, 1);
    assert!(matches!(cluster.bed.flights(), [flight] if flight.to == NodeId(1)));
    cluster.run();
    assert_eq!((released(&cluster, 1), released(&cluster, 3)), (vec![], vec![(1, 2)]));
}

#[test]
fn a_lost_question_or_answer_is_asked_again_and_answered_once() {
    let mut cluster = Cluster::led(3);
    let token = cluster.read(3, 1);
    cluster.bed.lose_where(|_| true);
    cluster.expire(3, Timer::ReadRetry);
    cluster.expire(3, Timer::ReadRetry);
    assert_eq!(cluster.bed.flights().len(), 2);
    cluster.run();
    assert_eq!(released(&cluster, 3), [(1, 1)]);
    cluster.say(1, 3, Message::ReadIndexResponse { term: 1, token, answer: ReadAnswer::At(Slot(1)) });
    assert_eq!(released(&cluster, 3), [(1, 1)]);
    assert!(!cluster.bed.expire(NodeId(3), Timer::ReadRetry), "nothing waits");
}

#[test]
fn only_the_newest_forwarded_read_is_asked_again_and_its_answer_serves_the_earlier_ones() {
    let mut cluster = Cluster::led(3);
    for number in 1..=3 {
        cluster.read(2, number);
    }
    assert_eq!(cluster.take_sent(2).len(), 3);
    cluster.expire(2, Timer::ReadRetry);
    assert_eq!(cluster.take_sent(2).len(), 1, "a slow leader is not drowned in questions");
    cluster.expire(2, Timer::ReadRetry);
    cluster.run();
    assert_eq!(released(&cluster, 2), [(1, 1), (2, 1), (3, 1)]);
    cluster.assert_sound();
}

#[test]
fn forwarded_reads_fail_when_the_leader_changes() {
    let mut cluster = Cluster::led(3);
    cluster.read(3, 1);
    cluster.bed.lose_where(|_| true);
    cluster.elect(2, &[1, 3]);
    assert_eq!(refused(&cluster, 3), [(1, Refusal::LeaderChanged)]);
    cluster.read(3, 2);
    assert_eq!(refused(&cluster, 3).last(), Some(&(2, Refusal::NotLeader { hint: None })));
    cluster.run();
    cluster.read(3, 3);
    cluster.run();
    assert_eq!(released(&cluster, 3), [(3, 2)]);
}

#[test]
fn a_leader_that_steps_down_tells_those_who_wait() {
    let mut cluster = Cluster::led(3);
    let token = cluster.read(3, 1);
    cluster.run_among(&[]);
    let question = Message::ReadIndex { term: 1, token };
    cluster.bed.lose_where(|_| true);
    cluster.say(3, 1, question.clone());
    cluster.take_sent(1);
    cluster.bed.expire(NodeId(1), Timer::CheckQuorum);
    cluster.bed.expire(NodeId(1), Timer::CheckQuorum);
    let told = Message::ReadIndexResponse { term: 1, token, answer: ReadAnswer::NotLeading };
    assert_eq!(cluster.take_sent(1), [(3, told.clone())]);
    cluster.say(3, 1, question);
    assert_eq!(cluster.take_sent(1), [(3, told.clone())]);
    cluster.say(1, 3, told);
    assert_eq!(refused(&cluster, 3), [(1, Refusal::LeaderChanged)]);
}

#[test]
fn a_single_voter_reads_at_once() {
    let mut cluster = Cluster::of(1);
    cluster.expire(1, Timer::Election);
    cluster.run();
    cluster.read(1, 1);
    assert_eq!(released(&cluster, 1), [(1, 1)]);
    assert_eq!(cluster.node(1).status().committed, Slot(1));
}
