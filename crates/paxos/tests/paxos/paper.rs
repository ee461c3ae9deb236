//! One test per sentence of the rules on the crate's first page, errata included.

use crate::solo::{Solo, ballot, proposal, sends, timer_bounds, writes};
use quorate_paxos::{AcceptedTo, Config, Message, QuorumSizes, Record, Timer};
use quorate_protocol::{Decision, Output};
use quorate_types::{Slot, Ticket};
use std::time::Duration;

fn acceptor() -> Solo {
    Solo::of(3, 2, &Config::default())
}

fn promise(round: u64, id: u64, accepted: Option<quorate_paxos::Proposal>) -> Message {
    Message::Promise { ballot: ballot(round, id), accepted }
}

fn accept(round: u64, id: u64, value: &'static str) -> Message {
    Message::Accept { ballot: ballot(round, id), value: value.into() }
}

fn accepted(round: u64, id: u64, value: &'static str) -> Message {
    Message::Accepted { ballot: ballot(round, id), value: value.into() }
}

fn nack(of: (u64, u64), promised: (u64, u64)) -> Message {
    Message::Nack { ballot: ballot(of.0, of.1), promised: ballot(promised.0, promised.1) }
}

/// A proposer n1 of `count`, its ballot (1,n1) under way with its own promise durable.
fn proposer(count: u64, config: &Config) -> Solo {
    let mut solo = Solo::of(count, 1, config);
    solo.propose(1, "own");
    solo.persisted();
    solo
}

#[test]
fn rule_1_the_round_and_the_own_promise_are_durable_before_prepare_leaves() {
    let mut solo = Solo::of(3, 1, &Config::default());
    let outputs = solo.propose(1, "x");
    assert_eq!(writes(&outputs), [Record::Round(1), Record::Promised(ballot(1, 1))]);
    let ticket = solo.last_ticket();
    let prepare = Message::Prepare { ballot: ballot(1, 1) };
    assert_eq!(sends(&outputs), [(2, prepare.clone(), ticket), (3, prepare, ticket)]);
}

#[test]
fn rule_1_a_round_is_above_every_round_seen() {
    let mut solo = Solo::of(3, 1, &Config::default());
    solo.receive(3, Message::Prepare { ballot: ballot(41, 3) });
    solo.propose(1, "x");
    assert_eq!(solo.paxos.preparing(), Some(ballot(42, 1)));
}

#[test]
fn rule_1_a_restarted_proposer_never_uses_a_round_again() {
    let config = Config::default();
    let mut solo = proposer(3, &config);
    solo.receive(2, promise(1, 1, None));
    assert_eq!(solo.paxos.proposing(), Some(&proposal(1, 1, "own")));
    // Its prepare request has left, so at least the round's write is durable: founding, round, promise.
    let mut again = solo.restart(1, &config, 3);
    assert_eq!(again.paxos.last_round(), 1);
    again.propose(2, "another");
    assert_eq!(again.paxos.preparing(), Some(ballot(2, 1)));
    // Old promises count for nothing.
    again.persisted();
    again.receive(2, promise(1, 1, None));
    assert_eq!(again.paxos.proposing(), None);
}

#[test]
fn rule_1_without_a_higher_round_no_ballot_is_started() {
    let mut solo = Solo::of(3, 1, &Config::default());
    solo.receive(3, Message::Prepare { ballot: ballot(u64::MAX, 3) });
    let outputs = solo.propose(1, "x");
    assert_eq!((sends(&outputs), solo.paxos.preparing()), (vec![], None));
}

#[test]
fn rule_2_a_promise_leaves_after_its_write_and_reports_what_was_accepted() {
    let mut solo = acceptor();
    let outputs = solo.receive(1, Message::Prepare { ballot: ballot(5, 1) });
    assert_eq!(writes(&outputs), [Record::Promised(ballot(5, 1))]);
    assert_eq!(sends(&outputs), [(1, promise(5, 1, None), solo.last_ticket())]);
    solo.receive(1, accept(5, 1, "x"));
    let outputs = solo.receive(3, Message::Prepare { ballot: ballot(6, 3) });
    assert_eq!(sends(&outputs), [(3, promise(6, 3, Some(proposal(5, 1, "x"))), solo.last_ticket())]);
}

#[test]
fn rule_2_the_same_request_again_gets_the_same_answer_after_the_same_write() {
    let mut solo = acceptor();
    let prepare = Message::Prepare { ballot: ballot(5, 1) };
    let first = sends(&solo.receive(1, prepare.clone()));
    // Sent before the first write ends, it would be a promise that a crash forgets.
    let again = solo.receive(1, prepare.clone());
    assert_eq!((sends(&again), writes(&again)), (first, vec![]));
    solo.persisted();
    assert_eq!(sends(&solo.receive(1, prepare)), [(1, promise(5, 1, None), Ticket::NONE)]);
}

#[test]
fn rule_2_a_lower_ballot_is_refused_and_named_what_is_promised() {
    let mut solo = acceptor();
    solo.receive(3, Message::Prepare { ballot: ballot(5, 3) });
    // Same round, lower id: ballots are ordered by both.
    let outputs = solo.receive(1, Message::Prepare { ballot: ballot(5, 1) });
    assert_eq!(sends(&outputs), [(1, nack((5, 1), (5, 3)), Ticket::NONE)]);
    assert_eq!((solo.paxos.promised(), writes(&outputs)), (ballot(5, 3), vec![]));
}

#[test]
fn rule_2_the_promise_survives_a_crash() {
    let mut solo = acceptor();
    solo.receive(3, Message::Prepare { ballot: ballot(5, 3) });
    let mut again = solo.restart(2, &Config::default(), 2);
    let outputs = again.receive(1, Message::Prepare { ballot: ballot(5, 1) });
    assert_eq!(sends(&outputs), [(1, nack((5, 1), (5, 3)), Ticket::NONE)]);
}

#[test]
fn rule_3_with_nothing_accepted_the_own_value_is_proposed() {
    let mut solo = proposer(3, &Config::default());
    let outputs = solo.receive(2, promise(1, 1, None));
    assert_eq!(sends(&outputs), [(2, accept(1, 1, "own"), Ticket::NONE), (3, accept(1, 1, "own"), Ticket::NONE)]);
    assert_eq!(writes(&outputs), [Record::Accepted(proposal(1, 1, "own"))]);
}

#[test]
fn rule_3_the_value_of_the_highest_ballot_wins_and_not_the_most_frequent() {
    let config = Config::default();
    let mut solo = Solo::of(5, 1, &config);
    solo.receive(4, Message::Prepare { ballot: ballot(8, 4) });
    solo.propose(1, "own");
    solo.persisted();
    solo.receive(2, promise(9, 1, Some(proposal(3, 2, "frequent"))));
    solo.receive(3, promise(9, 1, Some(proposal(7, 3, "newest"))));
    assert_eq!(solo.paxos.proposing(), Some(&proposal(9, 1, "newest")));
}

#[test]
fn rule_3_a_promise_for_another_ballot_counts_for_nothing() {
    // PX5: a delayed promise of the first ballot must not complete the second's quorum.
    let mut solo = proposer(5, &Config::default());
    solo.receive(2, promise(1, 1, None));
    solo.receive(3, nack((1, 1), (1, 3)));
    solo.expire(Timer::Retry);
    solo.persisted();
    assert_eq!(solo.paxos.preparing(), Some(ballot(2, 1)));
    solo.receive(4, promise(1, 1, None));
    solo.receive(5, promise(1, 1, None));
    assert_eq!(solo.paxos.preparing(), Some(ballot(2, 1)));
    solo.receive(4, promise(2, 1, None));
    solo.receive(4, promise(2, 1, None));
    assert_eq!(solo.paxos.preparing(), Some(ballot(2, 1)), "the same promise twice is one");
    solo.receive(5, promise(2, 1, None));
    assert_eq!(solo.paxos.proposing(), Some(&proposal(2, 1, "own")));
}

#[test]
fn rule_3_the_own_promise_counts_only_when_durable() {
    let mut solo = Solo::of(1, 1, &Config::default());
    solo.propose(1, "x");
    assert_eq!(solo.paxos.preparing(), Some(ballot(1, 1)));
    solo.persisted();
    assert_eq!(solo.paxos.proposing(), Some(&proposal(1, 1, "x")));
}

#[test]
fn rule_4_an_acceptance_raises_the_promise_of_who_never_promised() {
    // The erratum: Paxos Made Simple raises it for prepare requests only.
    let mut solo = acceptor();
    let outputs = solo.receive(1, accept(5, 1, "x"));
    assert_eq!(writes(&outputs), [Record::Accepted(proposal(5, 1, "x"))], "both fields in one record");
    assert_eq!(sends(&outputs), [(1, accepted(5, 1, "x"), solo.last_ticket())]);
    assert_eq!(solo.paxos.promised(), ballot(5, 1));
    assert_eq!(sends(&solo.receive(3, accept(4, 3, "y"))), [(3, nack((4, 3), (5, 1)), Ticket::NONE)]);
    let again = solo.restart(2, &Config::default(), 2);
    assert_eq!((again.paxos.promised(), again.paxos.accepted()), (ballot(5, 1), Some(&proposal(5, 1, "x"))));
}

#[test]
fn rule_4_nothing_below_the_promise_is_accepted_and_the_promised_ballot_is() {
    // PX1.
    let mut solo = acceptor();
    solo.receive(3, Message::Prepare { ballot: ballot(5, 3) });
    assert_eq!(sends(&solo.receive(1, accept(5, 1, "x"))), [(1, nack((5, 1), (5, 3)), Ticket::NONE)]);
    assert_eq!(solo.paxos.accepted(), None);
    solo.receive(3, accept(5, 3, "y"));
    assert_eq!(solo.paxos.accepted(), Some(&proposal(5, 3, "y")));
}

#[test]
fn rule_4_the_same_request_again_gets_the_same_answer_after_the_same_write() {
    let mut solo = acceptor();
    let first = sends(&solo.receive(1, accept(5, 1, "x")));
    let again = solo.receive(1, accept(5, 1, "x"));
    assert_eq!((sends(&again), writes(&again)), (first, vec![]));
    solo.persisted();
    assert_eq!(sends(&solo.receive(1, accept(5, 1, "x"))), [(1, accepted(5, 1, "x"), Ticket::NONE)]);
}

#[test]
fn rule_4_a_second_value_at_the_same_ballot_is_dropped() {
    let mut solo = acceptor();
    solo.receive(1, accept(5, 1, "x"));
    let outputs = solo.receive(1, accept(5, 1, "y"));
    assert_eq!((sends(&outputs), writes(&outputs)), (vec![], vec![]));
    assert_eq!(solo.paxos.accepted(), Some(&proposal(5, 1, "x")));
}

#[test]
fn rule_5_a_quorum_for_the_same_ballot_decides_and_everybody_is_told() {
    let mut solo = proposer(3, &Config::default());
    solo.receive(2, promise(1, 1, None));
    solo.persisted();
    let outputs = solo.receive(3, accepted(1, 1, "own"));
    let chosen = Message::Chosen { value: "own".into() };
    assert_eq!(sends(&outputs), [(2, chosen.clone(), Ticket::NONE), (3, chosen, Ticket::NONE)]);
    assert_eq!(writes(&outputs), [Record::Chosen("own".into())]);
    // Handed out when its record is durable, and once.
    let decide = Output::Decide { slot: Slot(1), decision: Decision::Commands("own".into()) };
    assert_eq!(solo.persisted(), [decide]);
    assert_eq!(solo.persisted(), []);
}

#[test]
fn rule_5_the_own_acceptance_counts_only_when_durable() {
    let mut solo = proposer(3, &Config::default());
    solo.receive(2, promise(1, 1, None));
    solo.receive(3, accepted(1, 1, "own"));
    assert_eq!(solo.paxos.chosen(), None);
    solo.persisted();
    assert!(solo.paxos.chosen().is_some());
}

#[test]
fn rule_5_acceptances_of_different_ballots_do_not_add_up() {
    // PX6: even where the values are equal.
    let config = Config { accepted_to: AcceptedTo::Everybody, ..Config::default() };
    let mut solo = Solo::of(5, 1, &config);
    solo.receive(2, accepted(1, 2, "x"));
    solo.receive(3, accepted(2, 3, "x"));
    solo.receive(4, accepted(3, 4, "x"));
    solo.receive(4, accepted(1, 2, "x"));
    solo.receive(4, accepted(1, 2, "x"));
    assert_eq!(solo.paxos.chosen(), None);
    solo.receive(5, accepted(1, 2, "x"));
    assert_eq!(solo.paxos.chosen(), Some(&"x".into()));
}

#[test]
fn rule_5_acceptances_of_two_ballots_of_one_proposer_do_not_add_up_either() {
    let config = Config { accepted_to: AcceptedTo::Everybody, ..Config::default() };
    let mut solo = Solo::of(5, 1, &config);
    solo.receive(2, accepted(1, 2, "x"));
    solo.receive(3, accepted(1, 2, "x"));
    solo.receive(4, accepted(2, 2, "x"));
    solo.receive(5, accepted(1, 2, "x"));
    assert_eq!(solo.paxos.chosen(), None, "the old ballot is not counted on once the new one is known");
    solo.receive(2, accepted(2, 2, "x"));
    solo.receive(3, accepted(2, 2, "x"));
    assert_eq!(solo.paxos.chosen(), Some(&"x".into()));
}

#[test]
fn rule_5_who_knows_the_decision_answers_any_request_with_it_and_votes_no_more() {
    let mut solo = acceptor();
    solo.receive(1, Message::Chosen { value: "x".into() });
    let chosen = Message::Chosen { value: "x".into() };
    for request in
        [Message::Prepare { ballot: ballot(9, 3) }, accept(9, 3, "y"), Message::Prepare { ballot: ballot(0, 3) }]
    {
        let outputs = solo.receive(3, request);
        assert_eq!((sends(&outputs), writes(&outputs)), (vec![(3, chosen.clone(), Ticket::NONE)], vec![]));
    }
    assert_eq!((solo.paxos.accepted(), solo.paxos.promised()), (None, ballot(0, 0)));
}

#[test]
fn rule_5_acceptances_sent_to_everybody_let_everybody_learn() {
    let config = Config { accepted_to: AcceptedTo::Everybody, ..Config::default() };
    let mut solo = Solo::of(3, 2, &config);
    let outputs = solo.receive(1, accept(1, 1, "x"));
    let ticket = solo.last_ticket();
    assert_eq!(sends(&outputs), [(1, accepted(1, 1, "x"), ticket), (3, accepted(1, 1, "x"), ticket)]);
    solo.receive(3, accepted(1, 1, "x"));
    assert_eq!(solo.paxos.chosen(), None, "its own acceptance is not durable yet");
    let outputs = solo.persisted();
    assert_eq!(solo.paxos.chosen(), Some(&"x".into()));
    assert_eq!(sends(&outputs), [], "the proposer tells; the others count for themselves");
}

#[test]
fn rule_6_the_back_off_doubles_up_to_its_cap_and_is_drawn_around_it() {
    let config = Config { back_off_base_ms: 20, back_off_cap_ms: 100, ..Config::default() };
    let mut solo = proposer(3, &config);
    for around_ms in [20, 40, 80, 100, 100] {
        let current = solo.paxos.preparing().expect("a ballot is under way").round;
        let outputs = solo.receive(3, nack((current, 1), (current, 3)));
        let bounds = (Duration::from_millis(around_ms / 2), Duration::from_millis(around_ms + around_ms / 2));
        assert_eq!(timer_bounds(&outputs, Timer::Retry), Some(bounds));
        assert!(outputs.contains(&Output::CancelTimer(Timer::Resend)));
        solo.expire(Timer::Retry);
        solo.persisted();
        assert_eq!(solo.paxos.preparing(), Some(ballot(current + 1, 1)));
    }
}

#[test]
fn rule_6_a_refusal_raises_the_next_round_above_what_was_promised() {
    let mut solo = proposer(3, &Config::default());
    solo.receive(3, nack((1, 1), (70, 3)));
    solo.expire(Timer::Retry);
    assert_eq!(solo.paxos.preparing(), Some(ballot(71, 1)));
}

#[test]
fn rule_6_a_stale_refusal_changes_nothing_but_the_highest_round() {
    let mut solo = proposer(3, &Config::default());
    assert_eq!(timer_bounds(&solo.receive(3, nack((0, 1), (9, 3))), Timer::Retry), None);
    assert_eq!(solo.paxos.preparing(), Some(ballot(1, 1)));
}

#[test]
fn rule_6_silence_repeats_requests_then_times_out() {
    let config = Config { resends_per_ballot: 2, ..Config::default() };
    let mut solo = proposer(5, &config);
    solo.receive(2, promise(1, 1, None));
    let prepare = Message::Prepare { ballot: ballot(1, 1) };
    for _ in 0..2 {
        let repeated: Vec<_> = [3, 4, 5].map(|to| (to, prepare.clone(), Ticket::NONE)).to_vec();
        assert_eq!(sends(&solo.expire(Timer::Resend)), repeated, "who answered is not asked again");
    }
    let outputs = solo.expire(Timer::Resend);
    assert_eq!(sends(&outputs), []);
    assert!(timer_bounds(&outputs, Timer::Retry).is_some());
}

#[test]
fn rule_6_a_repeated_prepare_waits_for_the_same_write_as_the_first() {
    let mut solo = Solo::of(3, 1, &Config::default());
    let first = sends(&solo.propose(1, "x"));
    assert_eq!(sends(&solo.expire(Timer::Resend)), first);
}

#[test]
fn unequal_quorums_are_each_counted_with_their_own_size() {
    let config = Config { quorums: QuorumSizes::Flexible { phase1: 4, phase2: 2 }, ..Config::default() };
    let mut solo = proposer(5, &config);
    solo.receive(2, promise(1, 1, None));
    solo.receive(3, promise(1, 1, None));
    assert_eq!(solo.paxos.proposing(), None, "a majority promised, four must");
    solo.receive(4, promise(1, 1, None));
    assert!(solo.paxos.proposing().is_some());
    solo.persisted();
    solo.receive(5, accepted(1, 1, "own"));
    assert!(solo.paxos.chosen().is_some(), "two accepted, a minority, and a quorum");
}

#[test]
fn a_member_that_heard_nothing_asks_with_a_question_that_nobody_promises() {
    let mut solo = acceptor();
    let outputs = solo.expire(Timer::Inquire);
    let question = Message::Prepare { ballot: ballot(0, 2) };
    assert_eq!(sends(&outputs), [(1, question.clone(), Ticket::NONE), (3, question, Ticket::NONE)]);
    let outputs = acceptor().receive(1, Message::Prepare { ballot: ballot(0, 1) });
    assert_eq!(sends(&outputs), [(1, nack((0, 1), (0, 0)), Ticket::NONE)]);
    assert_eq!(writes(&outputs), []);
}

#[test]
fn a_member_that_accepted_and_heard_no_decision_finishes_it() {
    let mut solo = acceptor();
    solo.receive(1, accept(1, 1, "x"));
    solo.expire(Timer::Inquire);
    solo.persisted();
    assert_eq!(solo.paxos.preparing(), Some(ballot(2, 2)));
    solo.receive(3, promise(2, 2, None));
    assert_eq!(solo.paxos.proposing(), Some(&proposal(2, 2, "x")));
}
