//! One machine beside a replica that does as a test says.

use bytes::Bytes;
use quorate_machine::{
    ApplyContext, Ask, AskError, ClientTag, Lead, Machine, MachineConfig, MachineMessage, MachineOutput, MemberChange,
    RestoreError, StateMachine,
};
use quorate_protocol::{Decision, ReadToken, Refusal, Refused, RequestId};
use quorate_types::{DiskId, Incarnation, Member, MemberRole, Membership, NodeId, Slot, Time};
use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Empty;

impl StateMachine for Empty {
    type Query = ();
    type Reply = ();
    type Duty = ();

    fn empty() -> Empty {
        Empty
    }
    fn apply(&mut self, _: &ApplyContext, _: &Bytes) {}
    fn query(&self, (): &()) {}
    fn digest(&self) -> u64 {
        0
    }
    fn head(&self) -> Bytes {
        Bytes::new()
    }
    fn item_count(&self) -> u64 {
        0
    }
    fn item(&self, _: u64) -> Option<Bytes> {
        None
    }
    fn restore(_: Bytes, _: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Empty, RestoreError> {
        Ok(Empty)
    }
}

pub(crate) fn at(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

/// One machine with a replica that does as the test says.
pub(crate) struct Seat {
    pub(crate) id: u64,
    pub(crate) machine: Machine<Empty>,
    pub(crate) in_force: Membership,
    pub(crate) slot: Slot,
    pub(crate) out: Vec<MachineOutput<()>>,
}

/// What a leader asked its replica for.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) request: RequestId,
    pub(crate) based_on: Membership,
    pub(crate) members: Membership,
}

impl Seat {
    pub(crate) fn new(id: u64) -> Seat {
        let mut machine = Machine::open(NodeId(id), Incarnation(1), MachineConfig::default(), &(), None).unwrap();
        machine.know_own_disk(NodeId(id), DiskId(id * 100));
        Seat { id, machine, in_force: Membership::of_voters(3), slot: Slot::ZERO, out: Vec::new() }
    }

    pub(crate) fn leader(id: u64) -> Seat {
        let mut seat = Seat::new(id);
        seat.follow(1, id);
        seat
    }

    pub(crate) fn follow(&mut self, era: u64, who: u64) {
        let is_me = who == self.id;
        self.machine.lead(Lead { era, who: Some(NodeId(who)), ready: is_me, settled: is_me }, &mut self.out);
    }

    pub(crate) fn ask(&mut self, tag: u64, ask: Ask) {
        self.machine.ask(at(0), ClientTag(tag), ask, &mut self.out);
    }

    pub(crate) fn change(&mut self, tag: u64, change: MemberChange) {
        self.ask(tag, Ask::Change(change));
    }

    /// Settles until nothing more comes; read rounds succeed at once.
    pub(crate) fn settle(&mut self, millis: u64) {
        loop {
            let before = self.out.len();
            if self.machine.wants_members() {
                self.machine.note_members(self.in_force.clone());
            }
            self.machine.settle(at(millis), &mut self.out);
            let tokens: Vec<_> = self.out[before..]
                .iter()
                .filter_map(|output| match output {
                    MachineOutput::Read { token } => Some(*token),
                    _ => None,
                })
                .collect();
            for token in &tokens {
                self.machine.read_at(*token, self.slot, &mut self.out);
            }
            if tokens.is_empty() {
                return;
            }
        }
    }

    /// Its tick comes due.
    pub(crate) fn tick(&mut self, millis: u64) {
        self.machine.expired(at(millis), &mut self.out);
        self.settle(millis);
    }

    pub(crate) fn read_token(&self) -> ReadToken {
        let token = |output: &MachineOutput<()>| match output {
            MachineOutput::Read { token } => Some(*token),
            _ => None,
        };
        self.out.iter().rev().find_map(token).expect("a read round began")
    }

    pub(crate) fn wish(&mut self) -> Option<Wish> {
        let wishes = self.take(|output| match output {
            MachineOutput::Reconfigure { request, based_on, members } => {
                Some(Wish { request: *request, based_on: based_on.clone(), members: members.clone() })
            }
            _ => None,
        });
        assert!(wishes.len() <= 1, "one change at a time: {wishes:?}");
        wishes.into_iter().next()
    }

    pub(crate) fn answers(&mut self) -> Vec<(u64, Result<(), AskError>)> {
        self.take(|output| match output {
            MachineOutput::Asked { tag, result } => Some((tag.0, result.clone())),
            _ => None,
        })
    }

    pub(crate) fn sent_to(&mut self, id: u64) -> Vec<MachineMessage> {
        self.take(|output| match output {
            MachineOutput::Send { to, message } if *to == NodeId(id) => Some(message.clone()),
            _ => None,
        })
    }

    pub(crate) fn take<T>(&mut self, pick: impl Fn(&MachineOutput<()>) -> Option<T>) -> Vec<T> {
        let picked = self.out.iter().filter_map(&pick).collect();
        self.out.retain(|output| pick(output).is_none());
        picked
    }

    pub(crate) fn decide(&mut self, members: &Membership) {
        self.in_force = members.clone();
        self.slot = self.slot.next();
        self.machine.decide(at(0), self.slot, Decision::Members(members.clone()), &mut self.out).unwrap();
    }

    pub(crate) fn refuse(&mut self, request: RequestId, why: &Refusal) {
        self.machine.refuse(Refused::Request(request), why, &mut self.out);
    }
}

/// Carries what one says to the other.
pub(crate) fn carry(from: &mut Seat, to: &mut Seat) -> usize {
    let messages = from.sent_to(to.id);
    let count = messages.len();
    for message in messages {
        let encoded = quorate_wire::encode_to_bytes(&message);
        let message = quorate_wire::decode_exact(encoded).unwrap();
        to.machine.receive(at(0), NodeId(from.id), message, &mut to.out);
    }
    count
}

pub(crate) fn joining(id: u64) -> Member {
    let peer_urls = vec![format!("http://10.0.0.{id}:2380")];
    Member { role: MemberRole::Joining, name: String::new(), peer_urls, ..Member::voter(NodeId(id)) }
}

pub(crate) fn add(member: Member) -> MemberChange {
    MemberChange::Add { member, learners_max: 1, strict: true }
}

pub(crate) fn remove(id: u64) -> MemberChange {
    MemberChange::Remove { id: NodeId(id), strict: true }
}

/// The first change writes the founders into the log; only then comes what was asked.
pub(crate) fn established(seat: &mut Seat) {
    seat.settle(0);
    let founders = seat.wish().expect("the founders come first");
    assert_eq!(founders.based_on, Membership::of_voters(3));
    assert_eq!(founders.members.get(NodeId(1)).unwrap().disk, Some(DiskId(100)), "with the leader's disk");
    seat.decide(&founders.members);
    seat.settle(0);
}
