//! The leader's duty and the errands that reach it: begun when it is safe, confirmed before answered, over with the era.

use bytes::Bytes;
use quorate_machine::{
    ApplyContext, ClientTag, Command, Duty, DutyOutput, ErrandId, Lead, Machine, MachineConfig, MachineMessage,
    MachineOutput, RequestError, RestoreError, StateMachine, decode_batch, encode_batch,
};
use quorate_protocol::{Decision, ReadToken, Refusal, Refused};
use quorate_types::{Incarnation, NodeId, Session, Slot, Time};
use std::collections::BTreeMap;
use std::time::Duration;

const PATIENCE_MS: u64 = 100;

/// Who is present: a name comes with a command, and goes when the duty finds that nobody has called it for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Presence {
    names: Vec<String>,
}

impl StateMachine for Presence {
    type Query = ();
    type Reply = String;
    type Duty = Caller;

    fn empty() -> Presence {
        Presence::default()
    }
    fn apply(&mut self, _: &ApplyContext, payload: &Bytes) -> String {
        let text = String::from_utf8_lossy(payload).into_owned();
        match text.strip_prefix("gone ") {
            Some(name) => self.names.retain(|known| known != name),
            None => self.names.push(text.clone()),
        }
        text
    }
    fn query(&self, (): &()) -> String {
        self.names.join(" ")
    }
    fn digest(&self) -> u64 {
        self.names
            .iter()
            .flat_map(|name| name.bytes())
            .fold(self.names.len() as u64, |digest, byte| digest.wrapping_mul(31).wrapping_add(u64::from(byte)))
    }
    fn head(&self) -> Bytes {
        Bytes::from(self.names.join(" "))
    }
    fn item_count(&self) -> u64 {
        0
    }
    fn item(&self, _: u64) -> Option<Bytes> {
        None
    }
    fn restore(head: Bytes, _: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Presence, RestoreError> {
        let text = String::from_utf8_lossy(&head).into_owned();
        Ok(Presence { names: text.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect() })
    }
}

/// Calls the present: an errand `name` puts its deadline off, and is answered with how many were known.
#[derive(Clone, Debug)]
struct Caller {
    deadlines: BTreeMap<String, Time>,
    asked: BTreeMap<ErrandId, String>,
    begun: bool,
}

fn later(now: Time) -> Time {
    now + Duration::from_millis(PATIENCE_MS)
}

impl Duty<Presence> for Caller {
    type Config = ();

    fn new((): &()) -> Caller {
        Caller { deadlines: BTreeMap::new(), asked: BTreeMap::new(), begun: false }
    }
    fn begin(&mut self, state: &Presence, now: Time, _: bool) {
        assert!(!self.begun, "one tenure at a time");
        self.begun = true;
        self.deadlines = state.names.iter().map(|name| (name.clone(), later(now))).collect();
    }
    fn end(&mut self) {
        assert!(self.begun, "what never began does not end");
        *self = Caller::new(&());
    }
    fn given_up(&mut self, errand: ErrandId) {
        self.asked.remove(&errand).expect("arrived and not answered: given up once");
    }
    fn applied(&mut self, state: &Presence, reply: &String, now: Time) {
        assert!(self.begun, "a duty at rest hears nothing");
        if state.names.contains(reply) {
            self.deadlines.insert(reply.clone(), later(now));
        }
    }
    fn arrived(&mut self, _: &Presence, errand: ErrandId, payload: &Bytes, now: Time) {
        let name = String::from_utf8_lossy(payload).into_owned();
        if let Some(deadline) = self.deadlines.get_mut(&name) {
            *deadline = later(now);
        }
        self.asked.insert(errand, name);
    }
    fn confirmed(&mut self, state: &Presence, errand: ErrandId, _: Time, out: &mut Vec<DutyOutput>) {
        let name = self.asked.remove(&errand).expect("arrived before");
        let answer = if state.names.contains(&name) { format!("{name} stays") } else { format!("who is {name}?") };
        out.push(DutyOutput::Answer { errand, answer: Bytes::from(answer) });
    }
    fn work(&mut self, _: &Presence, now: Time, out: &mut Vec<DutyOutput>) -> Option<Time> {
        let late: Vec<String> =
            self.deadlines.iter().filter(|(_, deadline)| **deadline <= now).map(|(name, _)| name.clone()).collect();
        for name in late {
            self.deadlines.remove(&name);
            out.push(DutyOutput::Propose(Bytes::from(format!("gone {name}"))));
        }
        self.deadlines.values().min().copied()
    }
}

type Out = Vec<MachineOutput<String>>;

fn at(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

/// Two machines under one leader, and whatever is between them.
struct Pair {
    machines: BTreeMap<u64, Machine<Presence>>,
    messages: Vec<(u64, u64, MachineMessage)>,
    tokens: Vec<(u64, ReadToken)>,
    /// Proposed at node.
    proposed: Vec<(u64, quorate_protocol::RequestId, Bytes)>,
    answers: Vec<(ClientTag, Result<Bytes, RequestError>)>,
    duty_timers: Vec<(u64, Duration)>,
    now: Time,
}

impl Pair {
    fn new() -> Pair {
        let machine = |node| {
            let config = MachineConfig::default();
            Machine::open(NodeId(node), Incarnation(1), config, &(), None).expect("nothing to read")
        };
        Pair {
            machines: (1..=2).map(|node| (node, machine(node))).collect(),
            messages: Vec::new(),
            tokens: Vec::new(),
            proposed: Vec::new(),
            answers: Vec::new(),
            duty_timers: Vec::new(),
            now: Time::ZERO,
        }
    }

    /// Node 1 leads and is settled, and these are present.
    fn led_by_1(names: &[&str]) -> Pair {
        let mut pair = Pair::new();
        for name in names {
            let sequence = pair.machines[&1].applied().0 + 1;
            pair.decide_all(Session { owner: 9, incarnation: Incarnation(1) }, sequence, name);
        }
        pair.lead(1, 1, true);
        pair
    }

    fn with(&mut self, node: u64, act: impl FnOnce(&mut Machine<Presence>, Time, &mut Out)) {
        let mut out = Out::new();
        let machine = self.machines.get_mut(&node).expect("one of two");
        act(machine, self.now, &mut out);
        machine.settle(self.now, &mut out);
        for output in out {
            match output {
                MachineOutput::Propose { request, batch } => self.proposed.push((node, request, batch.commands)),
                MachineOutput::Read { token } => self.tokens.push((node, token)),
                MachineOutput::Send { to, message } => self.messages.push((node, to.0, message)),
                MachineOutput::Answer { tag, result } => self.answers.push((tag, result)),
                MachineOutput::SetDutyTimer(delay) => self.duty_timers.push((node, delay)),
                MachineOutput::Reply { .. }
                | MachineOutput::Applied { .. }
                | MachineOutput::SetTimer(_)
                | MachineOutput::SetBatchTimer(_) => {}
                MachineOutput::Asked { .. } | MachineOutput::Reconfigure { .. } | MachineOutput::Transfer { .. } => {
                    panic!("nobody asked for it")
                }
            }
        }
    }

    fn lead(&mut self, era: u64, leader: u64, settled: bool) {
        for node in 1..=2 {
            let here = node == leader;
            let lead = Lead { era, who: Some(NodeId(leader)), ready: here, settled: here && settled };
            self.with(node, |machine, _, out| machine.lead(lead, out));
        }
    }

    fn errand(&mut self, node: u64, tag: u64, name: &'static str) {
        let payload = Bytes::from_static(name.as_bytes());
        self.with(node, |machine, now, out| machine.errand(now, ClientTag(tag), payload, out));
    }

    fn deliver(&mut self) {
        while !self.messages.is_empty() {
            let (from, to, message) = self.messages.remove(0);
            self.with(to, |machine, now, out| machine.receive(now, NodeId(from), message, out));
        }
    }

    /// Ends every read round that runs.
    fn end_rounds(&mut self) {
        for (node, token) in std::mem::take(&mut self.tokens) {
            self.with(node, |machine, _, out| machine.read_at(token, machine.applied(), out));
        }
    }

    fn tick(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        for node in 1..=2 {
            self.with(node, |machine, now, out| {
                machine.duty_expired();
                machine.expired(now, out);
            });
        }
    }

    fn decide_all(&mut self, session: Session, sequence: u64, text: &str) {
        let command =
            Command { session, sequence, acked_below: 1, stamp: Time::ZERO, payload: Bytes::from(text.to_owned()) };
        self.decide_batch(encode_batch(&[command]));
    }

    fn decide_batch(&mut self, batch: Bytes) {
        for node in 1..=2 {
            let decision = Decision::Commands(batch.clone());
            self.with(node, |machine, now, out| {
                machine.decide(now, machine.applied().next(), decision, out).expect("in order");
            });
        }
    }

    fn heard(&mut self) -> Vec<(u64, String)> {
        let text = |result: Result<Bytes, RequestError>| match result {
            Ok(answer) => String::from_utf8_lossy(&answer).into_owned(),
            Err(error) => error.to_string(),
        };
        std::mem::take(&mut self.answers).into_iter().map(|(tag, result)| (tag.0, text(result))).collect()
    }

    fn proposed_texts(&self) -> Vec<(u64, String)> {
        let texts = |(node, _, batch): &(u64, _, Bytes)| {
            let commands = decode_batch(batch.clone()).expect("our own batch");
            let text = |command: Command| (*node, String::from_utf8_lossy(&command.payload).into_owned());
            commands.into_iter().map(text).collect::<Vec<_>>()
        };
        self.proposed.iter().flat_map(texts).collect()
    }
}

#[test]
fn an_errand_of_any_node_is_answered_by_the_leader_once_a_later_read_round_has_ended() {
    for node in [1, 2] {
        let mut pair = Pair::led_by_1(&["ann"]);
        pair.errand(node, 7, "ann");
        pair.deliver();
        assert_eq!((pair.heard(), pair.tokens.len()), (vec![], 1), "arrived, and to be confirmed");
        pair.end_rounds();
        pair.deliver();
        assert_eq!(pair.heard(), [(7, "ann stays".to_owned())]);
        assert_eq!(pair.machines[&node].status().outstanding_errands, 0);
        assert_eq!(pair.machines[&1].status().held_errands, 0);
    }
}

#[test]
fn a_round_that_began_before_the_arrival_confirms_nothing() {
    let mut pair = Pair::led_by_1(&["ann"]);
    pair.errand(1, 1, "ann");
    let (_, first) = pair.tokens.remove(0);
    pair.errand(1, 2, "ann");
    pair.with(1, |machine, _, out| machine.read_at(first, Slot::ZERO, out));
    assert_eq!(pair.heard(), [(1, "ann stays".to_owned())]);
    pair.end_rounds();
    assert_eq!(pair.heard(), [(2, "ann stays".to_owned())]);
}

#[test]
fn many_errands_share_a_round() {
    let mut pair = Pair::led_by_1(&["ann"]);
    pair.with(1, |machine, now, out| {
        for tag in 0..100 {
            machine.errand(now, ClientTag(tag), Bytes::from_static(b"ann"), out);
        }
    });
    assert_eq!(pair.tokens.len(), 1);
    pair.end_rounds();
    assert_eq!(pair.heard().len(), 100);
}

#[test]
fn the_duty_begins_only_when_the_leader_is_settled_and_early_errands_wait_for_it() {
    let mut pair = Pair::led_by_1(&["ann"]);
    pair.lead(2, 1, false);
    assert!(!pair.machines[&1].status().on_duty);
    pair.errand(2, 1, "ann");
    pair.deliver();
    assert_eq!((pair.tokens.len(), pair.machines[&1].status().held_errands), (0, 1));
    pair.lead(2, 1, true);
    assert!(pair.machines[&1].status().on_duty);
    pair.end_rounds();
    pair.deliver();
    assert_eq!(pair.heard(), [(1, "ann stays".to_owned())]);
}

#[test]
fn a_deposed_leader_answers_nothing_even_if_its_round_ends_and_the_errand_goes_to_the_next() {
    let mut pair = Pair::led_by_1(&["ann"]);
    pair.errand(1, 1, "ann");
    let (_, token) = pair.tokens.remove(0);
    // The round's end and the news of the other leader come in one batch of inputs: the news is heard first.
    let lead = Lead { era: 2, who: Some(NodeId(2)), ready: false, settled: false };
    pair.with(1, |machine, _, out| {
        machine.read_at(token, Slot::ZERO, out);
        machine.lead(lead, out);
    });
    assert_eq!((pair.heard(), pair.messages.len()), (vec![], 1), "it was forwarded instead");
    pair.lead(2, 2, true);
    pair.deliver();
    pair.end_rounds();
    pair.deliver();
    assert_eq!(pair.heard(), [(1, "ann stays".to_owned())]);
}

#[test]
fn what_another_node_asked_of_a_deposed_leader_is_refused_and_goes_to_the_next() {
    let mut pair = Pair::led_by_1(&["ann"]);
    pair.errand(2, 5, "ann");
    pair.deliver();
    pair.tokens.clear();
    let lead = Lead { era: 2, who: None, ready: false, settled: false };
    pair.with(1, |machine, _, out| machine.lead(lead, out));
    pair.deliver();
    assert_eq!(pair.machines[&2].status().outstanding_errands, 1);
    pair.lead(3, 2, true);
    pair.end_rounds();
    assert_eq!(pair.heard(), [(5, "ann stays".to_owned())]);
}

#[test]
fn a_lost_errand_is_tried_again_under_another_number_and_answered_once() {
    let mut pair = Pair::led_by_1(&["ann"]);
    pair.errand(2, 1, "ann");
    let lost = std::mem::take(&mut pair.messages);
    pair.tick(300);
    assert_eq!(pair.messages.len(), 1);
    assert_ne!(pair.messages, lost);
    pair.messages.extend(lost);
    pair.deliver();
    pair.end_rounds();
    pair.deliver();
    assert_eq!(pair.heard(), [(1, "ann stays".to_owned())], "the late copy's answer serves nobody");
}

#[test]
fn an_errand_that_reached_nobody_ends_definitely_and_one_that_may_have_does_not() {
    let mut pair = Pair::new();
    pair.errand(2, 1, "ann");
    pair.tick(5_000);
    assert_eq!(pair.heard(), [(1, "no leader".to_owned())]);
    pair.lead(1, 1, true);
    pair.errand(2, 2, "ann");
    pair.tick(5_000);
    assert_eq!(pair.heard(), [(2, RequestError::Unknown.to_string())]);
    assert_eq!(pair.machines[&2].status().outstanding_errands, 0);
}

#[test]
fn an_errand_that_timed_out_is_forgotten_by_the_duty_too() {
    let mut pair = Pair::led_by_1(&["ann"]);
    pair.errand(2, 1, "ann");
    pair.deliver();
    assert_eq!(pair.machines[&1].duty().asked.len(), 1);
    // No round ends: the leader is cut off, and does not know it yet.
    pair.tick(10_000);
    assert_eq!(pair.machines[&1].status().held_errands, 0);
    assert!(pair.machines[&1].duty().asked.is_empty(), "else it stays until the leadership ends");
    pair.end_rounds();
    assert_eq!(pair.heard(), [(1, RequestError::Unknown.to_string())]);
}

#[test]
fn queues_are_bounded_at_the_asker_and_at_the_leader() {
    let config = MachineConfig { max_outstanding_errands: 2, max_held_errands: 1, ..MachineConfig::default() };
    let mut machine: Machine<Presence> =
        Machine::open(NodeId(1), Incarnation(1), config, &(), None).expect("nothing to read");
    let mut out = Out::new();
    for tag in 1..=3 {
        machine.errand(at(0), ClientTag(tag), Bytes::from_static(b"ann"), &mut out);
    }
    let [MachineOutput::Answer { tag: ClientTag(3), result: Err(RequestError::TooManyRequests) }] = &out[..] else {
        panic!("the third is refused at once: {out:?}");
    };
    out.clear();
    let session = Session { owner: 2, incarnation: Incarnation(1) };
    machine.lead(Lead { era: 1, who: Some(NodeId(1)), ready: true, settled: true }, &mut out);
    let errands = vec![(1, Bytes::new()), (2, Bytes::new())];
    machine.receive(at(0), NodeId(2), MachineMessage::Errands { session, errands }, &mut out);
    let refused = MachineMessage::ErrandsRefused { session, numbers: vec![2], hint: Some(NodeId(1)) };
    assert!(out.iter().any(|output| matches!(output, MachineOutput::Send { message, .. } if *message == refused)));
}

#[test]
fn errands_of_somebody_elses_session_are_dropped() {
    let mut pair = Pair::led_by_1(&["ann"]);
    let session = Session { owner: 3, incarnation: Incarnation(1) };
    let message = MachineMessage::Errands { session, errands: vec![(1, Bytes::new())] };
    pair.with(1, |machine, now, out| machine.receive(now, NodeId(2), message, out));
    assert_eq!((pair.tokens.len(), pair.machines[&1].status().dropped_messages), (0, 1));
}

#[test]
fn the_duty_is_called_in_time_and_what_it_proposes_is_applied_without_an_answer() {
    let mut pair = Pair::led_by_1(&["ann", "bob"]);
    assert_eq!(pair.duty_timers.last(), Some(&(1, Duration::from_millis(PATIENCE_MS))));
    pair.tick(60);
    pair.errand(1, 1, "ann");
    pair.tick(40);
    assert_eq!(pair.proposed_texts(), [(1, "gone bob".to_owned())]);
    let (_, _, batch) = pair.proposed.remove(0);
    pair.decide_batch(batch);
    for machine in pair.machines.values() {
        assert_eq!(machine.state().names, ["ann"]);
    }
    assert_eq!(pair.machines[&1].status().outstanding_writes, 0);
    assert_eq!(pair.machines[&1].digest(), pair.machines[&2].digest());
}

#[test]
fn what_the_duty_proposed_is_kept_within_the_era_and_forgotten_with_it() {
    let mut pair = Pair::led_by_1(&["ann"]);
    pair.tick(100);
    let (_, request, _) = pair.proposed.remove(0);
    let refusal = Refusal::Overloaded;
    pair.with(1, |machine, _, out| machine.refuse(Refused::Request(request), &refusal, out));
    pair.tick(10_000);
    assert_eq!(pair.proposed_texts(), [(1, "gone ann".to_owned())], "no time-out gives it up");
    pair.proposed.clear();
    // The next leader begins anew; nothing of the old duty is forwarded to it.
    pair.lead(2, 2, false);
    assert_eq!((pair.messages.len(), pair.proposed.len()), (0, 0));
    assert_eq!(pair.machines[&1].status().outstanding_writes, 0);
    // Nor does it come back when the first leads again.
    pair.lead(3, 1, true);
    assert_eq!(pair.proposed.len(), 0);
}

#[test]
fn a_forgotten_proposal_may_still_be_decided_and_breaks_no_later_write() {
    let mut pair = Pair::led_by_1(&["ann"]);
    pair.tick(100);
    let (_, _, of_duty) = pair.proposed.remove(0);
    pair.lead(2, 2, false);
    pair.with(1, |machine, now, out| machine.submit(now, ClientTag(1), Bytes::from_static(b"cid"), out));
    pair.deliver();
    let (node, _, of_client) = pair.proposed.remove(0);
    assert_eq!(node, 2);
    pair.decide_batch(of_duty);
    pair.decide_batch(of_client);
    assert_eq!(pair.machines[&1].state().names, ["cid"]);
    assert_eq!(pair.machines[&1].digest(), pair.machines[&2].digest());
}
