//! Writes at one machine: exactly once, definite and unknown ends, bounds.

use crate::appending::{self, Out, answers, at, decide, fresh, items, one, session};
use bytes::Bytes;
use quorate_machine::{
    ClientTag, Lead, Machine, MachineConfig, MachineError, MachineImage, MachineMessage, MachineOutput,
    OpenMachineError, RequestError, decode_batch,
};
use quorate_protocol::{Batch, Decision, Refusal, Refused, RequestId};
use quorate_types::{Incarnation, NodeId, Session, Slot, Time};

const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

fn proposals(out: &Out) -> Vec<(RequestId, Batch)> {
    out.iter()
        .filter_map(|output| match output {
            MachineOutput::Propose { request, batch } => Some((*request, batch.clone())),
            _ => None,
        })
        .collect()
}

fn forwards(out: &Out) -> Vec<(NodeId, Vec<u64>)> {
    out.iter()
        .filter_map(|output| match output {
            MachineOutput::Send { to, message: MachineMessage::Forward { commands, .. } } => {
                Some((*to, commands.iter().map(|(sequence, _)| *sequence).collect()))
            }
            _ => None,
        })
        .collect()
}

fn refused_forwards(out: &Out) -> Vec<(NodeId, Vec<u64>, Option<NodeId>)> {
    out.iter()
        .filter_map(|output| match output {
            MachineOutput::Send { to, message: MachineMessage::ForwardRefused { sequences, hint, .. } } => {
                Some((*to, sequences.clone(), *hint))
            }
            _ => None,
        })
        .collect()
}

fn forward(node: u64, sequences: impl IntoIterator<Item = u64>) -> MachineMessage {
    let commands =
        sequences.into_iter().map(|sequence| (sequence, Bytes::from(format!("{node}-{sequence}")))).collect();
    MachineMessage::Forward { session: session(node), acked_below: 1, commands }
}

fn submit(machine: &mut appending::ListMachine, now: Time, tag: u64, payload: &'static str, out: &mut Out) {
    machine.submit(now, ClientTag(tag), Bytes::from_static(payload.as_bytes()), out);
}

/// A machine whose own node leads and is ready.
fn leading(config: MachineConfig) -> (appending::ListMachine, Out) {
    let mut machine = fresh(1, config);
    let mut out = Out::new();
    machine.lead(Lead { era: 1, who: Some(ME), ready: true, settled: true }, &mut out);
    (machine, out)
}

#[test]
fn a_leaders_writes_of_one_batch_of_inputs_share_a_slot_and_are_answered_when_applied() {
    let (mut machine, mut out) = leading(MachineConfig::default());
    submit(&mut machine, at(3), 1, "a", &mut out);
    submit(&mut machine, at(3), 2, "b", &mut out);
    machine.settle(at(3), &mut out);
    let [(_, batch)] = proposals(&out).try_into().expect("one proposal");
    let commands = decode_batch(batch.commands.clone()).unwrap();
    assert_eq!(commands.iter().map(|command| command.sequence).collect::<Vec<_>>(), [1, 2]);
    assert!(commands.iter().all(|command| command.stamp == at(3) && command.acked_below == 1));
    assert_eq!(answers(&out), []);
    out.clear();
    decide(&mut machine, Decision::Commands(batch.commands), &mut out);
    assert_eq!(answers(&out), [(ClientTag(1), Ok(1)), (ClientTag(2), Ok(2))]);
    assert_eq!(machine.status().proposals_in_flight, 0);
    assert_eq!(machine.status().outstanding_bytes, 0);
}

#[test]
fn a_batch_that_is_decided_twice_is_applied_once() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    decide(&mut machine, one(session(2), 1, 1, "a"), &mut out);
    decide(&mut machine, one(session(2), 2, 1, "b"), &mut out);
    decide(&mut machine, one(session(2), 1, 1, "a"), &mut out);
    assert_eq!(items(&machine), ["a", "b"]);
    assert_eq!(machine.applied(), Slot(3));
}

#[test]
fn a_command_of_an_earlier_incarnation_comes_too_late() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    let reborn = Session { owner: 2, incarnation: Incarnation(2) };
    decide(&mut machine, one(session(2), 1, 1, "old"), &mut out);
    decide(&mut machine, one(reborn, 1, 1, "new"), &mut out);
    decide(&mut machine, one(session(2), 2, 1, "too late"), &mut out);
    assert_eq!(items(&machine), ["old", "new"]);
}

#[test]
fn a_slot_out_of_order_or_damaged_applies_nothing() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    let gap = machine.decide(Time::ZERO, Slot(2), one(session(2), 1, 1, "a"), &mut out);
    assert_eq!(gap, Err(MachineError::OutOfOrder { decided: Slot(2), expected: Slot(1) }));
    let Decision::Commands(good) = one(session(2), 1, 1, "abc") else { unreachable!() };
    let cut = Decision::Commands(good.slice(..good.len() - 1));
    assert!(matches!(
        machine.decide(Time::ZERO, Slot(1), cut, &mut out),
        Err(MachineError::Undecodable { slot: Slot(1), .. })
    ));
    assert_eq!((items(&machine), machine.applied()), (vec![], Slot::ZERO));
}

#[test]
fn a_follower_forwards_and_answers_when_it_applies_the_command_itself() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    submit(&mut machine, at(0), 1, "a", &mut out);
    machine.settle(at(0), &mut out);
    assert_eq!(forwards(&out), [], "nobody leads yet");
    machine.lead(Lead { era: 1, who: Some(OTHER), ready: false, settled: false }, &mut out);
    machine.settle(at(1), &mut out);
    assert_eq!(forwards(&out), [(OTHER, vec![1])]);
    decide(&mut machine, one(session(1), 1, 1, "a"), &mut out);
    assert_eq!(answers(&out), [(ClientTag(1), Ok(1))]);
}

#[test]
fn a_new_leader_gets_the_same_sequences_and_a_repeated_decision_answers_nobody_twice() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    machine.lead(Lead { era: 1, who: Some(OTHER), ready: false, settled: false }, &mut out);
    submit(&mut machine, at(0), 1, "a", &mut out);
    machine.settle(at(0), &mut out);
    machine.lead(Lead { era: 2, who: Some(NodeId(3)), ready: false, settled: false }, &mut out);
    machine.settle(at(1), &mut out);
    assert_eq!(forwards(&out), [(OTHER, vec![1]), (NodeId(3), vec![1])]);
    decide(&mut machine, one(session(1), 1, 1, "a"), &mut out);
    decide(&mut machine, one(session(1), 1, 1, "a"), &mut out);
    assert_eq!(answers(&out), [(ClientTag(1), Ok(1))]);
}

#[test]
fn a_lost_forward_is_sent_again_after_growing_delays() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    machine.lead(Lead { era: 1, who: Some(OTHER), ready: false, settled: false }, &mut out);
    submit(&mut machine, at(0), 1, "a", &mut out);
    let mut sent = Vec::new();
    for millis in (0..2000).step_by(50) {
        out.clear();
        machine.expired(at(millis), &mut out);
        machine.settle(at(millis), &mut out);
        sent.extend(forwards(&out).iter().map(|_| millis));
    }
    assert_eq!(sent, [0, 300, 900]);
}

#[test]
fn a_leader_takes_forwards_while_it_is_not_ready_and_proposes_a_repeated_one_once() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    machine.lead(Lead { era: 4, who: Some(ME), ready: false, settled: false }, &mut out);
    machine.receive(Time::ZERO, OTHER, forward(2, [1, 2]), &mut out);
    machine.receive(Time::ZERO, OTHER, forward(2, [2, 3]), &mut out);
    machine.settle(at(0), &mut out);
    assert_eq!(proposals(&out).len(), 0);
    machine.lead(Lead { era: 4, who: Some(ME), ready: true, settled: true }, &mut out);
    machine.settle(at(0), &mut out);
    machine.receive(Time::ZERO, OTHER, forward(2, [3]), &mut out);
    machine.settle(at(0), &mut out);
    let [(_, batch)] = proposals(&out).try_into().expect("one proposal");
    let commands = decode_batch(batch.commands).unwrap();
    assert_eq!(commands.iter().map(|command| command.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(refused_forwards(&out), []);
}

#[test]
fn a_node_that_does_not_lead_refuses_forwards_and_points_at_the_leader() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    machine.lead(Lead { era: 1, who: Some(NodeId(3)), ready: false, settled: false }, &mut out);
    machine.receive(Time::ZERO, OTHER, forward(2, [1, 2]), &mut out);
    assert_eq!(refused_forwards(&out), [(OTHER, vec![1, 2], Some(NodeId(3)))]);
}

#[test]
fn a_leader_that_loses_its_lead_refuses_what_waits() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    machine.lead(Lead { era: 4, who: Some(ME), ready: false, settled: false }, &mut out);
    machine.receive(Time::ZERO, OTHER, forward(2, [1]), &mut out);
    machine.receive(Time::ZERO, NodeId(3), forward(3, [7]), &mut out);
    machine.lead(Lead { era: 5, who: Some(NodeId(3)), ready: false, settled: false }, &mut out);
    assert_eq!(refused_forwards(&out), [(OTHER, vec![1], Some(NodeId(3))), (NodeId(3), vec![7], Some(NodeId(3)))]);
    assert_eq!(machine.status().forwarded_commands, 0);
}

#[test]
fn a_refused_proposal_gives_own_writes_back_and_refuses_forwarded_ones() {
    let (mut machine, mut out) = leading(MachineConfig::default());
    submit(&mut machine, at(0), 1, "a", &mut out);
    machine.receive(Time::ZERO, OTHER, forward(2, [1]), &mut out);
    machine.settle(at(0), &mut out);
    let [(request, _)] = proposals(&out).try_into().expect("one proposal");
    out.clear();
    machine.refuse(Refused::Request(request), &Refusal::NotLeader { hint: Some(OTHER) }, &mut out);
    machine.settle(at(0), &mut out);
    assert_eq!(refused_forwards(&out), [(OTHER, vec![1], Some(OTHER))]);
    assert_eq!(proposals(&out).len(), 0, "the refuser would refuse again");
    machine.lead(Lead { era: 2, who: Some(OTHER), ready: false, settled: false }, &mut out);
    machine.settle(at(0), &mut out);
    assert_eq!(forwards(&out), [(OTHER, vec![1])]);
}

#[test]
fn a_forward_that_our_replica_refused_is_taken_when_it_comes_again() {
    let (mut machine, mut out) = leading(MachineConfig::default());
    for _ in 0..2 {
        out.clear();
        machine.receive(Time::ZERO, OTHER, forward(2, [1]), &mut out);
        machine.settle(at(0), &mut out);
        let [(request, _)] = proposals(&out).try_into().expect("one proposal");
        machine.refuse(Refused::Request(request), &Refusal::LeaderChanged, &mut out);
    }
}

/// Its leadership is being handed over, in vain.
#[test]
fn a_leader_that_is_not_ready_gets_nothing_until_it_is_again() {
    let (mut machine, mut out) = leading(MachineConfig::default());
    submit(&mut machine, at(0), 1, "a", &mut out);
    machine.settle(at(0), &mut out);
    let [(request, _)] = proposals(&out).try_into().expect("one proposal");
    out.clear();
    let lead = |ready| Lead { era: 1, who: Some(ME), ready, settled: true };
    machine.lead(lead(false), &mut out);
    machine.refuse(Refused::Request(request), &Refusal::NotReady("it hands over"), &mut out);
    submit(&mut machine, at(0), 2, "b", &mut out);
    machine.receive(Time::ZERO, OTHER, forward(2, [1]), &mut out);
    machine.settle(at(0), &mut out);
    assert_eq!((proposals(&out).len(), refused_forwards(&out).len()), (0, 0), "they wait here");
    machine.lead(lead(true), &mut out);
    machine.settle(at(0), &mut out);
    let [(_, batch)] = proposals(&out).try_into().expect("one proposal");
    assert_eq!(decode_batch(batch.commands).expect("a batch").len(), 3);
}

#[test]
fn an_overloaded_replica_gets_nothing_more_until_something_is_decided() {
    let (mut machine, mut out) = leading(MachineConfig::default());
    submit(&mut machine, at(0), 1, "a", &mut out);
    machine.settle(at(0), &mut out);
    let [(request, _)] = proposals(&out).try_into().expect("one proposal");
    out.clear();
    machine.refuse(Refused::Request(request), &Refusal::Overloaded, &mut out);
    machine.settle(at(0), &mut out);
    assert_eq!(proposals(&out).len(), 0);
    decide(&mut machine, one(session(2), 1, 1, "other"), &mut out);
    machine.settle(at(0), &mut out);
    assert_eq!(proposals(&out).len(), 1);
}

#[test]
fn an_overloaded_leader_of_others_writes_goes_on_after_any_decided_slot_and_in_any_case_at_the_next_tick() {
    let held_back = || {
        let (mut machine, mut out) = leading(MachineConfig::default());
        machine.receive(Time::ZERO, OTHER, forward(2, [1]), &mut out);
        machine.settle(at(0), &mut out);
        let [(request, _)] = proposals(&out).try_into().expect("one proposal");
        machine.refuse(Refused::Request(request), &Refusal::Overloaded, &mut out);
        out.clear();
        machine.receive(Time::ZERO, OTHER, forward(2, [1]), &mut out);
        machine.settle(at(0), &mut out);
        assert_eq!(proposals(&out).len(), 0);
        assert!(out.iter().any(|output| matches!(output, MachineOutput::SetTimer(_))), "it will look again");
        out.clear();
        (machine, out)
    };
    let (mut machine, mut out) = held_back();
    decide(&mut machine, Decision::Nothing, &mut out);
    machine.settle(at(0), &mut out);
    assert_eq!(proposals(&out).len(), 1);
    let (mut machine, mut out) = held_back();
    machine.expired(at(1), &mut out);
    machine.settle(at(1), &mut out);
    assert_eq!(proposals(&out).len(), 1);
}

#[test]
fn a_refused_forward_follows_the_hint_once_and_then_waits() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    machine.lead(Lead { era: 1, who: Some(OTHER), ready: false, settled: false }, &mut out);
    submit(&mut machine, at(0), 1, "a", &mut out);
    machine.settle(at(0), &mut out);
    let refusal =
        |hint| MachineMessage::ForwardRefused { session: session(1), sequences: vec![1], hint: Some(NodeId(hint)) };
    machine.receive(Time::ZERO, OTHER, refusal(3), &mut out);
    machine.settle(at(1), &mut out);
    machine.receive(Time::ZERO, NodeId(3), refusal(2), &mut out);
    machine.settle(at(2), &mut out);
    assert_eq!(forwards(&out), [(OTHER, vec![1]), (NodeId(3), vec![1])]);
    machine.expired(at(50), &mut out);
    machine.settle(at(50), &mut out);
    assert_eq!(forwards(&out).len(), 3);
}

#[test]
fn a_refusal_of_another_session_or_by_a_bystander_changes_nothing() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    machine.lead(Lead { era: 1, who: Some(OTHER), ready: false, settled: false }, &mut out);
    submit(&mut machine, at(0), 1, "a", &mut out);
    machine.settle(at(0), &mut out);
    out.clear();
    let past = Session { owner: 1, incarnation: Incarnation(0) };
    machine.receive(
        Time::ZERO,
        OTHER,
        MachineMessage::ForwardRefused { session: past, sequences: vec![1], hint: None },
        &mut out,
    );
    let ours = MachineMessage::ForwardRefused { session: session(1), sequences: vec![1, 9], hint: None };
    machine.receive(Time::ZERO, NodeId(3), ours, &mut out);
    machine.expired(at(50), &mut out);
    machine.settle(at(50), &mut out);
    assert_eq!(forwards(&out), []);
    assert_eq!(machine.status().dropped_messages, 1);
}

#[test]
fn a_node_speaks_only_for_its_own_session() {
    let (mut machine, mut out) = leading(MachineConfig::default());
    machine.receive(Time::ZERO, NodeId(3), forward(2, [1]), &mut out);
    machine.settle(at(0), &mut out);
    assert_eq!((proposals(&out).len(), machine.status().dropped_messages), (0, 1));
}

#[test]
fn a_write_nobody_ever_took_ends_definitely_and_is_never_applied() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    submit(&mut machine, at(0), 1, "a", &mut out);
    machine.expired(at(4_999), &mut out);
    assert_eq!(answers(&out), []);
    machine.expired(at(5_000), &mut out);
    assert_eq!(answers(&out), [(ClientTag(1), Err(RequestError::NoLeader))]);
    machine.lead(Lead { era: 1, who: Some(ME), ready: true, settled: true }, &mut out);
    machine.settle(at(5_001), &mut out);
    assert_eq!(proposals(&out).len(), 0);
}

#[test]
fn a_write_that_was_handed_out_ends_unknown_and_later_ones_close_the_door_behind_it() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    machine.lead(Lead { era: 1, who: Some(OTHER), ready: false, settled: false }, &mut out);
    submit(&mut machine, at(0), 1, "a", &mut out);
    machine.settle(at(0), &mut out);
    machine.expired(at(5_000), &mut out);
    assert_eq!(answers(&out), [(ClientTag(1), Err(RequestError::Unknown))]);
    machine.lead(Lead { era: 2, who: Some(ME), ready: true, settled: true }, &mut out);
    submit(&mut machine, at(5_001), 2, "b", &mut out);
    machine.settle(at(5_001), &mut out);
    let [(_, batch)] = proposals(&out).try_into().expect("one proposal");
    decide(&mut machine, Decision::Commands(batch.commands), &mut out);
    decide(&mut machine, one(session(1), 1, 1, "a"), &mut out);
    assert_eq!(items(&machine), ["b"]);
}

#[test]
fn a_write_that_only_our_own_replica_refused_ends_definitely() {
    let (mut machine, mut out) = leading(MachineConfig::default());
    submit(&mut machine, at(0), 1, "a", &mut out);
    machine.settle(at(0), &mut out);
    machine.refuse(Refused::Request(RequestId(1)), &Refusal::Unsupported("writes"), &mut out);
    assert_eq!(answers(&out), [(ClientTag(1), Err(RequestError::Unsupported("writes")))]);
}

#[test]
fn the_taken_single_decree_is_definite_only_for_what_was_never_elsewhere() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    machine.lead(Lead { era: 1, who: Some(OTHER), ready: false, settled: false }, &mut out);
    submit(&mut machine, at(0), 1, "forwarded first", &mut out);
    machine.settle(at(0), &mut out);
    machine.lead(Lead { era: 2, who: Some(ME), ready: true, settled: true }, &mut out);
    submit(&mut machine, at(0), 2, "only here", &mut out);
    machine.settle(at(0), &mut out);
    machine.refuse(Refused::Request(RequestId(1)), &Refusal::AlreadyDecided, &mut out);
    let expected = [(ClientTag(1), Err(RequestError::Unknown)), (ClientTag(2), Err(RequestError::AlreadyDecided))];
    assert_eq!(answers(&out), expected);
}

#[test]
fn what_is_over_a_bound_is_refused_at_once() {
    let config = MachineConfig {
        max_outstanding_writes: 2,
        max_payload_bytes: 4,
        max_outstanding_bytes: 5,
        ..MachineConfig::default()
    };
    let mut machine = fresh(1, config);
    let mut out = Out::new();
    submit(&mut machine, at(0), 1, "12345", &mut out);
    submit(&mut machine, at(0), 2, "1234", &mut out);
    submit(&mut machine, at(0), 3, "12", &mut out);
    submit(&mut machine, at(0), 4, "1", &mut out);
    submit(&mut machine, at(0), 5, "", &mut out);
    let too_many = |tag| (ClientTag(tag), Err(RequestError::TooManyRequests));
    assert_eq!(answers(&out), [(ClientTag(1), Err(RequestError::TooLarge)), too_many(3), too_many(5)]);
}

#[test]
fn sequences_do_not_run_further_ahead_than_the_window() {
    let config = MachineConfig { session_window: 2, ..MachineConfig::default() };
    let (mut machine, mut out) = leading(config);
    submit(&mut machine, at(0), 1, "slow", &mut out);
    submit(&mut machine, at(0), 2, "quick", &mut out);
    machine.settle(at(0), &mut out);
    decide(&mut machine, one(session(1), 2, 1, "quick"), &mut out);
    out.clear();
    submit(&mut machine, at(0), 3, "too far", &mut out);
    assert_eq!(answers(&out), [(ClientTag(3), Err(RequestError::TooManyRequests))]);
}

#[test]
fn batches_and_their_number_in_flight_are_bounded() {
    let config = MachineConfig { max_batch_commands: 2, max_proposals_in_flight: 2, ..MachineConfig::default() };
    let (mut machine, mut out) = leading(config);
    for tag in 1..=5 {
        submit(&mut machine, at(0), tag, "x", &mut out);
    }
    machine.settle(at(0), &mut out);
    let sizes: Vec<_> =
        proposals(&out).iter().map(|(_, batch)| decode_batch(batch.commands.clone()).unwrap().len()).collect();
    assert_eq!(sizes, [2, 2]);
    let (_, first) = proposals(&out)[0].clone();
    decide(&mut machine, Decision::Commands(first.commands), &mut out);
    machine.settle(at(0), &mut out);
    assert_eq!(proposals(&out).len(), 3);
}

#[test]
fn a_full_leader_refuses_forwards_and_names_itself() {
    let config = MachineConfig { max_forwarded_commands: 1, ..MachineConfig::default() };
    let mut machine = fresh(1, config);
    let mut out = Out::new();
    machine.lead(Lead { era: 1, who: Some(ME), ready: false, settled: false }, &mut out);
    machine.receive(Time::ZERO, OTHER, forward(2, [1, 2]), &mut out);
    assert_eq!(refused_forwards(&out), [(OTHER, vec![2], Some(ME))]);
}

#[test]
fn own_and_forwarded_commands_take_turns() {
    let (mut machine, mut out) = leading(MachineConfig { max_batch_commands: 4, ..MachineConfig::default() });
    for tag in 1..=3 {
        submit(&mut machine, at(0), tag, "own", &mut out);
    }
    machine.receive(Time::ZERO, OTHER, forward(2, [1, 2, 3]), &mut out);
    machine.settle(at(0), &mut out);
    let first = decode_batch(proposals(&out)[0].1.commands.clone()).unwrap();
    assert_eq!(first.iter().filter(|command| command.session == session(1)).count(), 2);
}

#[test]
fn an_image_brings_back_state_sessions_and_digest() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    decide(&mut machine, one(session(2), 1, 1, "a"), &mut out);
    decide(&mut machine, one(session(3), 5, 4, "b"), &mut out);
    let state = machine.state().clone();
    let (applied, meta, head) = (machine.applied(), machine.meta(), quorate_machine::StateMachine::head(&state));
    let open = |meta: Bytes, head: Bytes| -> Result<appending::ListMachine, OpenMachineError> {
        let items = &mut (0..).zip(state.items.iter().cloned());
        let image = MachineImage { applied, meta, head, items };
        Machine::open(ME, Incarnation(2), MachineConfig::default(), &(), Some(image))
    };
    let mut reopened = open(meta.clone(), head.clone()).unwrap();
    assert_eq!((reopened.digest(), reopened.applied()), (machine.digest(), Slot(2)));
    for machine in [&mut machine, &mut reopened] {
        decide(machine, one(session(2), 1, 1, "a"), &mut out);
        decide(machine, one(session(3), 4, 4, "c"), &mut out);
        assert_eq!(items(machine), ["a", "b", "c"]);
    }
    assert_eq!(reopened.digest(), machine.digest());

    let newer = open(Bytes::from_static(&[9]), head);
    assert_eq!(newer.unwrap_err(), OpenMachineError::Version { found: 9 });
    let damaged = open(meta, Bytes::from_static(b"lost"));
    assert!(matches!(damaged.unwrap_err(), OpenMachineError::State(_)));
}

#[test]
fn machine_messages_survive_the_wire() {
    let messages = [
        forward(2, [1, 300]),
        MachineMessage::ForwardRefused { session: session(2), sequences: vec![1, 2], hint: Some(ME) },
        MachineMessage::ForwardRefused { session: session(2), sequences: vec![], hint: None },
    ];
    for message in messages {
        assert_eq!(quorate_wire::decode_exact(quorate_wire::encode_to_bytes(&message)), Ok(message));
    }
}

/// One batch of one command at a time: what else arrives waits.
fn leading_one_by_one() -> (appending::ListMachine, Out) {
    leading(MachineConfig { max_batch_commands: 1, max_proposals_in_flight: 1, ..MachineConfig::default() })
}

fn commands_of(batch: &Batch) -> Vec<(u64, u64)> {
    let commands = decode_batch(batch.commands.clone()).expect("a machine proposes what machines can read");
    commands.iter().map(|command| (command.session.owner, command.sequence)).collect()
}

#[test]
fn a_forward_that_its_node_waits_for_no_more_is_not_proposed() {
    let (mut machine, mut out) = leading_one_by_one();
    machine.receive(at(0), OTHER, forward(2, [1, 2, 3]), &mut out);
    machine.settle(at(0), &mut out);
    let commands = vec![(4, Bytes::from_static(b"2-4"))];
    let message = MachineMessage::Forward { session: session(2), acked_below: 3, commands };
    machine.receive(at(1), OTHER, message, &mut out);
    let [(_, first)] = proposals(&out).try_into().expect("one proposal");
    assert_eq!(commands_of(&first), [(2, 1)]);
    out.clear();
    decide(&mut machine, Decision::Commands(first.commands), &mut out);
    machine.settle(at(2), &mut out);
    let [(_, second)] = proposals(&out).try_into().expect("one proposal");
    assert_eq!(commands_of(&second), [(2, 3)]);
    assert_eq!(machine.status().forwarded_commands, 1);
}

#[test]
fn a_forward_that_waited_as_long_as_a_client_would_is_refused() {
    let (mut machine, mut out) = leading_one_by_one();
    machine.receive(at(0), OTHER, forward(2, [1, 2]), &mut out);
    machine.settle(at(0), &mut out);
    machine.receive(at(1), NodeId(3), forward(3, [1]), &mut out);
    machine.expired(at(4_999), &mut out);
    assert_eq!(refused_forwards(&out), []);
    machine.expired(at(5_000), &mut out);
    assert_eq!(refused_forwards(&out), [(OTHER, vec![2], Some(ME))]);
    assert_eq!(machine.status().forwarded_commands, 1);
    out.clear();
    machine.receive(at(5_000), OTHER, forward(2, [2]), &mut out);
    assert_eq!((refused_forwards(&out), machine.status().forwarded_commands), (vec![], 2));
}
