//! Linearizable reads: shared rounds, fresh tokens, release at the applied mark.

use crate::appending::{self, Out, answers, at, decide, fresh, one, session};
use quorate_machine::{ClientTag, Consistency, Lead, MachineConfig, MachineOutput, RequestError};
use quorate_protocol::{ReadToken, Refusal, Refused};
use quorate_types::{Incarnation, NodeId, Slot};

fn tokens(out: &Out) -> Vec<ReadToken> {
    out.iter()
        .filter_map(|output| match output {
            MachineOutput::Read { token } => Some(*token),
            _ => None,
        })
        .collect()
}

fn with_a_leader(config: MachineConfig) -> (appending::ListMachine, Out) {
    let mut machine = fresh(1, config);
    let mut out = Out::new();
    machine.lead(Lead { era: 1, who: Some(NodeId(2)), ready: false, settled: false }, &mut out);
    (machine, out)
}

fn read(machine: &mut appending::ListMachine, millis: u64, tag: u64, out: &mut Out) {
    machine.read(at(millis), ClientTag(tag), (), Consistency::Linearizable, out);
}

#[test]
fn reads_that_wait_share_a_round_and_later_ones_get_another() {
    let (mut machine, mut out) = with_a_leader(MachineConfig { max_read_rounds: 1, ..MachineConfig::default() });
    read(&mut machine, 0, 1, &mut out);
    read(&mut machine, 0, 2, &mut out);
    machine.settle(at(0), &mut out);
    read(&mut machine, 1, 3, &mut out);
    machine.settle(at(1), &mut out);
    let [first] = tokens(&out).try_into().expect("one round at a time");
    machine.read_at(first, Slot::ZERO, &mut out);
    machine.settle(at(2), &mut out);
    assert_eq!(
        answers(&out),
        [(ClientTag(1), Ok(0)), (ClientTag(2), Ok(0))],
        "the third arrived after the round began"
    );
    let second = tokens(&out)[1];
    machine.read_at(second, Slot::ZERO, &mut out);
    assert_eq!(answers(&out).last(), Some(&(ClientTag(3), Ok(0))));
}

#[test]
fn a_released_read_waits_until_its_slot_is_applied() {
    let (mut machine, mut out) = with_a_leader(MachineConfig::default());
    read(&mut machine, 0, 1, &mut out);
    machine.settle(at(0), &mut out);
    machine.read_at(tokens(&out)[0], Slot(2), &mut out);
    decide(&mut machine, one(session(2), 1, 1, "a"), &mut out);
    assert_eq!(answers(&out), []);
    decide(&mut machine, one(session(2), 2, 1, "b"), &mut out);
    assert_eq!(answers(&out), [(ClientTag(1), Ok(2))]);
}

#[test]
fn a_local_read_is_answered_at_once_whoever_leads() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    machine.read(at(0), ClientTag(1), (), Consistency::Local, &mut out);
    assert_eq!(answers(&out), [(ClientTag(1), Ok(0))]);
}

#[test]
fn a_refused_round_is_tried_again_with_a_fresh_token_but_not_at_once() {
    let (mut machine, mut out) = with_a_leader(MachineConfig::default());
    read(&mut machine, 0, 1, &mut out);
    machine.settle(at(0), &mut out);
    let first = tokens(&out)[0];
    machine.refuse(Refused::Read(first), &Refusal::LeaderChanged, &mut out);
    machine.settle(at(0), &mut out);
    assert_eq!(tokens(&out).len(), 1);
    machine.lead(Lead { era: 2, who: Some(NodeId(3)), ready: false, settled: false }, &mut out);
    machine.settle(at(1), &mut out);
    let second = tokens(&out)[1];
    assert_ne!(first, second);
    machine.read_at(first, Slot::ZERO, &mut out);
    assert_eq!(answers(&out), [], "a late answer to a refused round releases nothing");
    machine.read_at(second, Slot::ZERO, &mut out);
    assert_eq!(answers(&out), [(ClientTag(1), Ok(0))]);
}

#[test]
fn a_silent_round_is_given_up_after_the_retry_delay() {
    let (mut machine, mut out) = with_a_leader(MachineConfig::default());
    read(&mut machine, 0, 1, &mut out);
    machine.settle(at(0), &mut out);
    machine.expired(at(299), &mut out);
    machine.settle(at(299), &mut out);
    assert_eq!(tokens(&out).len(), 1);
    machine.expired(at(300), &mut out);
    machine.settle(at(300), &mut out);
    assert_eq!(tokens(&out).len(), 2);
}

#[test]
fn reads_end_definitely_whether_or_not_somebody_leads() {
    let (mut machine, mut out) = with_a_leader(MachineConfig::default());
    read(&mut machine, 0, 1, &mut out);
    machine.settle(at(0), &mut out);
    machine.expired(at(5_000), &mut out);
    machine.lead(Lead { era: 2, who: None, ready: false, settled: false }, &mut out);
    read(&mut machine, 5_000, 2, &mut out);
    machine.expired(at(10_000), &mut out);
    let expected = [(ClientTag(1), Err(RequestError::TimedOut)), (ClientTag(2), Err(RequestError::NoLeader))];
    assert_eq!(answers(&out), expected);
    assert_eq!(machine.status().outstanding_reads, 0);
}

#[test]
fn a_protocol_without_reads_says_so() {
    let (mut machine, mut out) = with_a_leader(MachineConfig::default());
    read(&mut machine, 0, 1, &mut out);
    machine.settle(at(0), &mut out);
    machine.refuse(Refused::Read(tokens(&out)[0]), &Refusal::Unsupported("reads"), &mut out);
    assert_eq!(answers(&out), [(ClientTag(1), Err(RequestError::Unsupported("reads")))]);
}

#[test]
fn another_incarnations_token_releases_nothing() {
    let (mut machine, mut out) = with_a_leader(MachineConfig::default());
    read(&mut machine, 0, 1, &mut out);
    machine.settle(at(0), &mut out);
    let mine = tokens(&out)[0];
    machine.read_at(ReadToken { incarnation: Incarnation(9), ..mine }, Slot::ZERO, &mut out);
    machine.read_at(ReadToken { node: NodeId(9), ..mine }, Slot::ZERO, &mut out);
    assert_eq!(answers(&out), []);
}

#[test]
fn reads_are_bounded() {
    let (mut machine, mut out) = with_a_leader(MachineConfig { max_outstanding_reads: 1, ..MachineConfig::default() });
    read(&mut machine, 0, 1, &mut out);
    read(&mut machine, 0, 2, &mut out);
    assert_eq!(answers(&out), [(ClientTag(2), Err(RequestError::TooManyRequests))]);
}
