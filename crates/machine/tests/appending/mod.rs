//! A state machine to test with: a list of everything it was ever told.

use bytes::Bytes;
use quorate_machine::{
    ApplyContext, ClientTag, Command, KeptReplies, Machine, MachineConfig, MachineOutput, RequestError, RestoreError,
    StateMachine, encode_batch,
};
use quorate_protocol::Decision;
use quorate_types::{Incarnation, NodeId, Session, Slot, Time};
use std::time::Duration;

/// The reply to opening a session has this bit, the slot above the lowest byte, and the index in it.
pub const OPENED: u64 = 1 << 63;
/// The reply to closing one.
pub const CLOSED: u64 = 1 << 62;

/// Appends each command; a command's reply is its position, a query's the length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendingList {
    pub items: Vec<Bytes>,
}

impl StateMachine for AppendingList {
    type Query = ();
    type Reply = u64;
    type Duty = ();

    const KEPT_REPLIES: Option<KeptReplies<u64>> = Some(KeptReplies {
        encode: |position| quorate_wire::encode_to_bytes(position),
        decode: quorate_wire::decode_exact,
        opened: |client, _| OPENED | client.slot.0 << 8 | u64::from(client.index),
        closed: || CLOSED,
    });

    fn empty() -> AppendingList {
        AppendingList { items: Vec::new() }
    }
    fn apply(&mut self, _: &ApplyContext, payload: &Bytes) -> u64 {
        self.items.push(payload.clone());
        self.items.len() as u64
    }
    fn query(&self, (): &()) -> u64 {
        self.items.len() as u64
    }
    fn digest(&self) -> u64 {
        let bytes = self.items.iter().flat_map(|item| item.iter().copied().chain([0xff]));
        bytes.fold(0, |digest: u64, byte| digest.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte) + 1))
    }
    fn head(&self) -> Bytes {
        Bytes::from_static(b"list")
    }
    fn item_count(&self) -> u64 {
        self.items.len() as u64
    }
    fn item(&self, number: u64) -> Option<Bytes> {
        self.items.get(number as usize).cloned()
    }
    fn restore(head: Bytes, items: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<AppendingList, RestoreError> {
        if head.as_ref() != b"list" {
            return Err(RestoreError { why: "the head is not a list's".to_owned() });
        }
        Ok(AppendingList { items: items.map(|(_, item)| item).collect() })
    }
}

pub type ListMachine = Machine<AppendingList>;
pub type Out = Vec<MachineOutput<u64>>;

/// What a client hears.
pub type Answer = (ClientTag, Result<u64, RequestError>);

/// A machine without an image.
pub fn fresh(node: u64, config: MachineConfig) -> ListMachine {
    Machine::open(NodeId(node), Incarnation(1), config, &(), None).expect("nothing to read")
}

/// Node `node` in its first incarnation.
#[allow(dead_code)]
pub fn session(node: u64) -> Session {
    Session { owner: node, incarnation: Incarnation(1) }
}

/// A decided batch of one.
#[allow(dead_code)]
pub fn one(session: Session, sequence: u64, acked_below: u64, payload: &'static str) -> Decision {
    let payload = Bytes::from_static(payload.as_bytes());
    Decision::Commands(encode_batch(&[Command { session, sequence, acked_below, stamp: Time::ZERO, payload }]))
}

#[allow(dead_code)]
pub fn answers(out: &Out) -> Vec<Answer> {
    out.iter()
        .filter_map(|output| match output {
            MachineOutput::Reply { tag, result } => Some((*tag, result.clone())),
            _ => None,
        })
        .collect()
}

#[allow(dead_code)]
pub fn at(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

#[allow(dead_code)]
pub fn items(machine: &ListMachine) -> Vec<&str> {
    machine.state().items.iter().map(|item| std::str::from_utf8(item).expect("tests write text")).collect()
}

/// Decides the next slot.
#[allow(dead_code)]
pub fn decide(machine: &mut ListMachine, decision: Decision, out: &mut Out) -> Slot {
    let slot = machine.applied().next();
    machine.decide(Time::ZERO, slot, decision, out).expect("a good batch in order");
    slot
}
