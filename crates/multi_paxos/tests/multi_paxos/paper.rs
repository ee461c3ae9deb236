//! The rules of Multi-Paxos, one by one.

use crate::cluster::*;
use quorate_multi_paxos::{Config, Message, MultiPaxos, Payload, QuorumSizes, Timer};
use quorate_protocol::Verdict::{Allowed, Refused, Waiting};
use quorate_protocol::{Decision, Durable, Input, Inspectable, OpenError, Outbox, Refusal, Replica, Setup, Start};
use quorate_types::{ClusterId, DiskId, Incarnation, Membership, NodeId, Slot, Ticket};
use std::collections::BTreeMap;

/// A node that was suspended finds the word of its leader and the end of its patience in one batch.
#[test]
fn a_deadline_of_before_does_not_count_in_the_batch_that_moves_it() {
    let mut cluster = Cluster::led(3);
    cluster.expire(1, Timer::Heartbeat);
    let word = cluster.take("heartbeat", 1, 2);
    cluster.bed.batch(NodeId(2), [word, Input::Expired(Timer::Election)]);
    assert_eq!(cluster.node(2).promised(), ballot(1, 1), "it does not stand");
    cluster.expire(2, Timer::Election);
    assert_eq!(cluster.node(2).promised(), ballot(2, 2), "but when nobody is heard again");
}

#[test]
fn rule_1_a_candidate_asks_only_when_its_own_promise_is_durable() {
    let mut cluster = Cluster::of(3);
    cluster.expire(1, Timer::Election);
    assert_eq!(cluster.bed.flights().len(), 0, "nothing is asked before");
    cluster.complete(1);
    assert!(matches!(cluster.sent("prepare", 1, 2), Message::Prepare { from: Slot(1), .. }));
    assert_eq!(cluster.node(1).promised(), ballot(1, 1));
}

#[test]
fn rule_1_a_ballot_is_never_used_twice_even_after_a_crash() {
    let mut cluster = Cluster::of(3);
    cluster.expire(1, Timer::Election);
    cluster.complete(1);
    cluster.lose_all();
    cluster.bed.crash(NodeId(1), 0);
    cluster.bed.restart(NodeId(1));
    cluster.expire(1, Timer::Election);
    assert_eq!(cluster.node(1).promised(), ballot(2, 1));
}

#[test]
fn rule_2_a_promise_waits_for_its_write_and_reports_every_acceptance_from_there_on() {
    let mut cluster = Cluster::led(3);
    for words in ["a", "b", "c"] {
        cluster.propose(1, words);
        cluster.run();
    }
    cluster.expire(2, Timer::Election);
    cluster.complete(2);
    cluster.hand_over("prepare", 2, 3);
    assert!(cluster.in_flight("promise", 3, 2).is_none(), "the promise is not durable yet");
    cluster.complete(3);
    let Message::Promise { accepted, chosen, .. } = cluster.sent("promise", 3, 2) else { panic!("another message") };
    assert_eq!((accepted.len(), *chosen), (0, Slot(3)), "asked from slot 4 on");
    cluster.say(2, 3, Message::Prepare { ballot: ballot(2, 2), from: Slot(2), asked_in: None });
    cluster.hand_over("promise", 3, 2);
    let Message::Promise { accepted, .. } = cluster.sent("promise", 3, 2) else { panic!("another message") };
    let slots: Vec<_> = accepted.iter().map(|reported| (reported.slot, reported.ballot)).collect();
    assert_eq!(slots, [(Slot(2), ballot(1, 1)), (Slot(3), ballot(1, 1))], "asked again, it answers in full again");
}

/// What an acceptor has may be more than a frame takes, and would never arrive as one message.
#[test]
fn rule_2_a_great_promise_comes_in_parts_and_counts_when_the_last_is_there() {
    let config = Config { promise_bytes: 1, ..Config::default() };
    let mut cluster = Cluster::with(Membership::of_voters(3), config);
    cluster.elect(1, &[2, 3]);
    cluster.run();
    for words in ["a", "b", "c"] {
        cluster.propose(1, words);
        cluster.run_among(&[1, 3]);
    }
    cluster.expire(2, Timer::Election);
    cluster.complete(2);
    for slot in [1, 2] {
        cluster.deliver("prepare", 2, 3);
        let Message::Promise { accepted, more, .. } = cluster.sent("promise", 3, 2) else { panic!("another message") };
        assert_eq!((accepted.len(), *more), (1, Some(Slot(slot + 1))));
        cluster.deliver("promise", 3, 2);
        assert!(!cluster.node(2).is_leader() && cluster.told(2, "multi-paxos.election", Waiting));
    }
    cluster.deliver("prepare", 2, 3);
    cluster.deliver("promise", 3, 2);
    assert!(cluster.node(2).is_leader());
    cluster.run_among(&[2, 3]);
    assert_eq!(cluster.decided(2), ["a", "b", "c"]);
    cluster.holds();
}

#[test]
fn rule_2_a_lower_ballot_is_refused_with_the_one_promised() {
    let mut cluster = Cluster::led(3);
    cluster.say(2, 3, Message::Prepare { ballot: ballot(0, 2), from: Slot(1), asked_in: None });
    let refused = Message::Nack { refused: ballot(0, 2), promised: ballot(1, 1) };
    assert_eq!(*cluster.sent("nack", 3, 2), refused);
    assert!(cluster.told(3, "multi-paxos.promise", Refused));
}

/// The pitfall "trim > from": asked from slot 1 on, an acceptor that no longer keeps just slot 1 reports nothing for it, and a no-op would
/// undo it.
#[test]
fn rule_2_what_an_acceptor_trimmed_is_not_filled_but_fetched_as_a_snapshot() {
    let config = Config { keep_log_entries: 3, compact_keep_entries: 0, ..Config::default() };
    let mut cluster = Cluster::with(Membership::of_voters(3), config);
    cluster.elect(1, &[2]);
    cluster.run_among(&[1, 2]);
    for words in ["a", "b", "c", "d"] {
        cluster.propose(1, words);
        cluster.run_among(&[1, 2]);
    }
    cluster.expire(1, Timer::Heartbeat);
    cluster.run_among(&[1, 2]);
    cluster.bed.checkpoint(NodeId(2));
    cluster.complete(2);
    assert_eq!(cluster.node(2).log().trim(), Slot(1), "it has forgotten one slot");
    cluster.expire(3, Timer::Election);
    cluster.complete(3);
    cluster.lose_where_to(1);
    assert!(matches!(cluster.sent("prepare", 3, 2), Message::Prepare { from: Slot(1), .. }), "and is asked from it on");
    cluster.deliver("prepare", 3, 2);
    cluster.deliver("promise", 2, 3);
    assert!(cluster.told(3, "multi-paxos.election", Refused));
    cluster.run_among(&[2, 3]);
    assert_eq!(cluster.node(3).log().trim(), cluster.node(3).chosen(), "it has the snapshot");
    assert!(cluster.node(3).chosen() > Slot::ZERO);
    cluster.expire(3, Timer::Election);
    cluster.complete(3);
    cluster.run_among(&[2, 3]);
    cluster.propose(3, "e");
    cluster.run_among(&[2, 3]);
    assert_eq!(cluster.bed.chosen().get(&Slot(5)), Some(&Decision::Commands("e".into())));
    cluster.holds();
}

#[test]
fn rule_5_a_leaders_own_vote_counts_only_after_its_own_write() {
    let mut cluster = Cluster::of(1);
    cluster.expire(1, Timer::Election);
    cluster.complete(1);
    cluster.propose(1, "a");
    assert_eq!(cluster.node(1).chosen(), Slot::ZERO);
    cluster.complete(1);
    assert_eq!(cluster.decided(1), ["a"]);
}

/// A proposal for every sign of life: there is never one behind which nothing was sent.
#[test]
fn rule_5_what_was_lost_is_sent_again_also_while_more_is_proposed_all_the_time() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "a");
    cluster.complete(1);
    cluster.lose_where_to(3);
    for words in ["b", "c", "d"] {
        cluster.expire(1, Timer::Heartbeat);
        cluster.propose(1, words);
        cluster.run();
    }
    assert!(cluster.told(1, "multi-paxos.resend", Waiting));
    assert_eq!(cluster.decided(3)[..2], ["a", "b"]);
    cluster.holds();
}

#[test]
fn rule_5_what_is_still_on_its_way_is_not_sent_again() {
    let mut cluster = Cluster::led(3);
    cluster.expire(1, Timer::Heartbeat);
    cluster.propose(1, "a");
    cluster.deliver("heartbeat", 1, 3);
    cluster.deliver("alive", 3, 1);
    assert!(!cluster.told(1, "multi-paxos.resend", Waiting), "the heartbeat was sent before it");
    cluster.expire(1, Timer::Heartbeat);
    cluster.deliver("heartbeat", 1, 3);
    cluster.deliver("alive", 3, 1);
    assert!(cluster.told(1, "multi-paxos.resend", Waiting), "this one was sent behind it");
    cluster.bed.take_events(NodeId(1));
    cluster.deliver("heartbeat", 1, 2);
    cluster.deliver("alive", 2, 1);
    cluster.run();
    assert!(!cluster.told(1, "multi-paxos.resend", Waiting), "once is enough");
    assert_eq!(cluster.decided(1), ["a"]);
}

/// Begun anew at each candidacy it might never get there.
#[test]
fn a_snapshot_that_a_leader_was_sending_when_it_lost_the_lead_goes_on_until_the_driver_says_that_it_ended() {
    let config = Config { keep_log_entries: 2, compact_keep_entries: 0, ..Config::default() };
    let mut cluster = Cluster::with_slow_snapshots(Membership::of_voters(3), config);
    cluster.elect(1, &[2]);
    cluster.run_among(&[1, 2]);
    for words in ["a", "b", "c", "d"] {
        cluster.propose(1, words);
        cluster.run_among(&[1, 2]);
    }
    cluster.bed.checkpoint(NodeId(1));
    cluster.complete(1);
    assert!(cluster.node(1).log().trim() > Slot::ZERO, "it has compacted");
    let who_lacks_it_answers = |cluster: &mut Cluster| {
        cluster.lose_all();
        cluster.expire(1, Timer::Heartbeat);
        cluster.deliver("heartbeat", 1, 3);
        cluster.deliver("alive", 3, 1);
    };
    who_lacks_it_answers(&mut cluster);
    assert_eq!(cluster.bed.transfers().len(), 1);
    cluster.elect(2, &[1]);
    cluster.run_among(&[1, 2]);
    cluster.elect(1, &[2]);
    cluster.run_among(&[1, 2]);
    who_lacks_it_answers(&mut cluster);
    assert_eq!(cluster.bed.transfers().len(), 1, "it is on its way");
    cluster.elect(2, &[1]);
    cluster.run_among(&[1, 2]);
    cluster.bed.lose_snapshot(0);
    cluster.elect(1, &[2]);
    cluster.run_among(&[1, 2]);
    assert_eq!(cluster.bed.transfers().len(), 0);
    who_lacks_it_answers(&mut cluster);
    assert_eq!(cluster.bed.transfers().len(), 1, "it got nowhere while another one led");
    cluster.holds();
}

/// A driver sends few at once, and waits long for a receiver that is gone.
#[test]
fn no_snapshot_is_sent_to_a_member_that_is_silent() {
    let config = Config { window_entries: 1, keep_log_entries: 2, compact_keep_entries: 0, ..Config::default() };
    let mut cluster = Cluster::with_slow_snapshots(Membership::of_voters(3), config);
    cluster.elect(1, &[2, 3]);
    cluster.run();
    cluster.propose(1, "a");
    cluster.run();
    cluster.bed.crash(NodeId(3), 0);
    cluster.expire(1, Timer::CheckQuorum);
    for words in ["b", "c", "d", "e"] {
        cluster.propose(1, words);
        cluster.run_among(&[1, 2]);
    }
    cluster.bed.checkpoint(NodeId(1));
    cluster.complete(1);
    assert!(cluster.node(1).log().trim() >= Slot(3), "what it lacks is no longer kept");
    assert_eq!(cluster.bed.transfers().len(), 0, "it would take the place of another's");
    cluster.bed.restart(NodeId(3));
    cluster.expire(1, Timer::Heartbeat);
    cluster.deliver("heartbeat", 1, 3);
    cluster.deliver("alive", 3, 1);
    assert_eq!(cluster.bed.transfers().len(), 1);
    cluster.holds();
}

#[test]
fn rule_6_acceptances_wait_for_their_write_and_slots_may_come_out_of_order() {
    let mut cluster = Cluster::led(3);
    let accept = |first: u64, words: &str| Message::Accept {
        ballot: ballot(1, 1),
        first: Slot(first),
        payloads: vec![command(words)],
        chosen: Slot(0),
        everyone: Slot(0),
    };
    cluster.say(1, 2, accept(2, "b"));
    assert!(cluster.in_flight("accepted", 2, 1).is_none());
    cluster.complete(2);
    let Message::Accepted { reach, .. } = cluster.sent("accepted", 2, 1) else { panic!("another message") };
    assert_eq!(reach.through, Slot(0), "slot 1 is missing");
    cluster.lose_all();
    cluster.say(1, 2, accept(1, "a"));
    cluster.complete(2);
    let Message::Accepted { reach, .. } = cluster.sent("accepted", 2, 1) else { panic!("another message") };
    assert_eq!(reach.through, Slot(2));
}

#[test]
fn rule_6_an_acceptance_promises_its_ballot_too() {
    let mut cluster = Cluster::of(3);
    let (payloads, chosen, everyone) = (vec![command("a")], Slot(0), Slot(0));
    cluster.say(2, 3, Message::Accept { ballot: ballot(100, 2), first: Slot(1), payloads, chosen, everyone });
    cluster.complete(3);
    cluster.bed.crash(NodeId(3), 0);
    cluster.bed.restart(NodeId(3));
    let (payloads, chosen, everyone) = (vec![command("late")], Slot(0), Slot(0));
    cluster.say(1, 3, Message::Accept { ballot: ballot(1, 1), first: Slot(1), payloads, chosen, everyone });
    assert_eq!(cluster.accepted(3, 1), Some((ballot(100, 2), command("a"))));
    let refused = Message::Nack { refused: ballot(1, 1), promised: ballot(100, 2) };
    assert_eq!(*cluster.sent("nack", 3, 1), refused);
}

#[test]
fn rule_7_a_follower_believes_chosen_only_of_entries_of_the_senders_ballot() {
    let mut cluster = Cluster::of(3);
    let (payloads, chosen, everyone) = (vec![command("loser")], Slot(0), Slot(0));
    cluster.say(1, 3, Message::Accept { ballot: ballot(1, 1), first: Slot(1), payloads, chosen, everyone });
    cluster.say(
        2,
        3,
        Message::Heartbeat { ballot: ballot(2, 2), round: 1, chosen: Slot(1), everyone: Slot(0), sent: Slot(0) },
    );
    cluster.complete(3);
    assert_eq!(cluster.node(3).chosen(), Slot(0), "what it has there lost");
    assert!(cluster.told(3, "multi-paxos.learn", Waiting));
    let (payloads, chosen, everyone) = (vec![command("winner")], Slot(1), Slot(0));
    cluster.say(2, 3, Message::Accept { ballot: ballot(2, 2), first: Slot(1), payloads, chosen, everyone });
    cluster.complete(3);
    assert_eq!(cluster.decided(3), ["winner"]);
}

#[test]
fn rule_8_a_higher_ballot_ends_a_leadership_and_forgets_its_phase_1() {
    let mut cluster = Cluster::led(3);
    cluster.elect(2, &[1]);
    assert!(cluster.told(1, "multi-paxos.step-down", Allowed));
    cluster.propose(1, "late");
    let refusals = cluster.bed.node(NodeId(1)).refusals();
    assert!(matches!(refusals.last(), Some((_, Refusal::NotLeader { .. }))), "{refusals:?}");
}

#[test]
fn quorums_of_unequal_sizes_count_each_by_its_own() {
    let quorums = BTreeMap::from([(4, QuorumSizes { phase1: 3, phase2: 2 })]);
    let mut cluster = Cluster::with(Membership::of_voters(4), Config { quorums, ..Config::default() });
    cluster.elect(1, &[2]);
    cluster.propose(1, "early");
    assert_eq!(cluster.node(1).log().last(), Slot(0), "two promises are not enough");
    cluster.deliver("prepare", 1, 3);
    cluster.deliver("promise", 3, 1);
    cluster.propose(1, "a");
    cluster.run_among(&[1, 4]);
    assert_eq!(cluster.decided(1), ["a"], "two acceptances are");
}

/// Two acceptances of four that were enough yesterday need not meet the majority that is asked today.
#[test]
fn quorum_sizes_are_those_of_the_founding_for_life() {
    let sized =
        |phase1, phase2| Config { quorums: BTreeMap::from([(4, QuorumSizes { phase1, phase2 })]), ..Config::default() };
    let members = Membership::of_voters(4);
    let setup = Setup {
        cluster: ClusterId(9),
        me: NodeId(1),
        disk: DiskId(1),
        incarnation: Incarnation(1),
        start: Start::Found(members.clone()),
    };
    let (records, anchor) = MultiPaxos::founded_behind(&sized(3, 2), &members, Slot(7), 3);
    let beginning = records[0].clone();
    let records: Vec<_> = records.into_iter().map(|record| (Ticket(1), record)).collect();
    let open = |config: &Config| {
        let found = Durable { records: records.clone(), anchor: Some(anchor.clone()), applied: Slot(7) };
        MultiPaxos::open(&setup, config, found, &mut Outbox::new(Ticket(1), true)).map(|_| ())
    };
    assert_eq!(open(&sized(3, 2)), Ok(()));
    for other in [sized(2, 3), Config::default()] {
        let Err(OpenError::Settings { why }) = open(&other) else { panic!("opened with other sizes") };
        assert!(why.contains("fixed at founding as 4=3+2"), "{why}");
    }
    let log = MultiPaxos::stored_log(NodeId(1), records).unwrap();
    assert_eq!(log.quorum_sizes, BTreeMap::from([(4, 3)]));
    let left = MultiPaxos::stored_log(NodeId(9), vec![(Ticket(1), beginning)]).unwrap();
    assert_eq!(left.quorum_sizes, log.quorum_sizes, "who left knows them too");
}

#[test]
fn reads_wait_until_everything_inherited_is_chosen_and_a_quorum_confirms() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "a");
    cluster.deliver("accept", 1, 2);
    cluster.lose_all();
    cluster.elect(2, &[3]);
    cluster.lose_all();
    cluster.read(2, 1);
    assert_eq!(cluster.node(2).chosen(), Slot(0));
    assert!(cluster.bed.node(NodeId(2)).reads().is_empty(), "slot 1 may be chosen and acknowledged");
    cluster.complete(2);
    cluster.expire(2, Timer::Heartbeat);
    cluster.run_among(&[2, 3]);
    cluster.expire(2, Timer::Heartbeat);
    cluster.run_among(&[2, 3]);
    let released: Vec<Slot> = cluster.bed.node(NodeId(2)).reads().iter().map(|(_, slot)| *slot).collect();
    assert_eq!(released, [Slot(1)]);
    cluster.read(1, 2);
    cluster.run_among(&[1]);
    assert!(cluster.bed.node(NodeId(1)).reads().is_empty(), "an old leader answers nothing");
}

#[test]
fn a_read_begins_a_round_of_its_own_and_a_later_rounds_answer_confirms_earlier_ones() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "a");
    cluster.run();
    let [first, second] = [1, 2].map(|number| cluster.read(1, number));
    cluster.deliver("heartbeat", 1, 2);
    cluster.deliver("alive", 2, 1);
    assert_eq!(cluster.bed.node(NodeId(1)).reads(), [(first, Slot(1))], "the second came after that round began");
    cluster.deliver("heartbeat", 1, 2);
    cluster.deliver("alive", 2, 1);
    assert_eq!(cluster.bed.node(NodeId(1)).reads().last(), Some(&(second, Slot(1))));
    cluster.read(1, 3);
    cluster.lose_all();
    cluster.read(1, 4);
    cluster.deliver("heartbeat", 1, 3);
    cluster.deliver("alive", 3, 1);
    assert_eq!(cluster.bed.node(NodeId(1)).reads().len(), 4, "the round of the third was lost");
}

#[test]
fn a_heartbeat_confirms_reads_whose_rounds_were_lost_and_carries_those_that_found_no_room() {
    let mut cluster = Cluster::with(Membership::of_voters(3), Config { read_rounds: 1, ..Config::default() });
    cluster.elect(1, &[2]);
    cluster.run();
    cluster.read(1, 1);
    cluster.read(1, 2);
    cluster.lose_all();
    cluster.expire(1, Timer::Heartbeat);
    cluster.deliver("heartbeat", 1, 2);
    cluster.deliver("alive", 2, 1);
    assert_eq!(cluster.bed.node(NodeId(1)).reads().len(), 2);
}

/// The golden run: S1 leads, slot 1 is at all, slot 2 only at S1, slot 3 at S1 and S2; S1 dies.
#[test]
fn rule_3_a_hole_is_filled_with_a_no_op_and_what_may_be_chosen_is_proposed_again() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "a");
    cluster.deliver("accept", 1, 2);
    cluster.deliver("accept", 1, 3);
    cluster.lose_all();
    cluster.propose(1, "b");
    cluster.lose_all();
    cluster.propose(1, "c");
    cluster.complete(1);
    cluster.deliver("accept", 1, 2);
    cluster.lose_all();
    cluster.bed.crash(NodeId(1), 0);
    assert_eq!(cluster.accepted(2, 2), None, "a hole");
    assert_eq!(cluster.accepted(2, 3), Some((ballot(1, 1), command("c"))));
    cluster.elect(2, &[3]);
    cluster.propose(2, "d");
    cluster.run_among(&[2, 3]);
    cluster.expire(2, Timer::Heartbeat);
    cluster.run_among(&[2, 3]);
    for id in [2, 3] {
        assert_eq!(cluster.decided(id), ["a", "no-op", "c", "d"]);
    }
    assert_eq!(cluster.accepted(2, 2), Some((ballot(2, 2), Payload::NoOp)));
    cluster.bed.restart(NodeId(1));
    for _ in 0..3 {
        cluster.expire(2, Timer::Heartbeat);
        cluster.run();
    }
    assert_eq!(cluster.decided(1), ["a", "no-op", "c", "d"], "it overwrites its slot 2");
    cluster.holds();
}
