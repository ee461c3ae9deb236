//! Three machines on any total order of any proposals: lost, repeated and late messages, leaders that come and go, refusals,
//! crashes. Whatever happens, every command is applied at most once, an answer tells the truth, and replicas agree.

mod appending;

use appending::{AppendingList, ListMachine, Out, fresh};
use bytes::Bytes;
use proptest::prelude::*;
use quorate_machine::{
    ClientTag, Lead, Machine, MachineConfig, MachineImage, MachineMessage, MachineOutput, RequestError, StateMachine,
};
use quorate_protocol::{Decision, Refusal, Refused, RequestId};
use quorate_types::{Incarnation, NodeId, Slot, Time};
use std::collections::BTreeMap;
use std::time::Duration;

const NODES: u64 = 3;

/// What became of a client's write.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Waiting,
    Applied,
    Never,
    Unknown,
    /// The node crashed first.
    Orphaned,
}

struct Undecided {
    proposer: u64,
    incarnation: u64,
    request: RequestId,
    commands: Bytes,
}

/// Machines around an oracle that orders proposals as it likes.
struct World {
    machines: BTreeMap<u64, ListMachine>,
    incarnations: BTreeMap<u64, u64>,
    undecided: Vec<Undecided>,
    log: Vec<Bytes>,
    messages: Vec<(u64, u64, MachineMessage)>,
    era: u64,
    leader: u64,
    now: Time,
    fates: Vec<Fate>,
    digests: BTreeMap<Slot, u64>,
}

impl World {
    fn new() -> World {
        let config = World::config();
        World {
            machines: (1..=NODES).map(|node| (node, fresh(node, config.clone()))).collect(),
            incarnations: (1..=NODES).map(|node| (node, 1)).collect(),
            undecided: Vec::new(),
            log: Vec::new(),
            messages: Vec::new(),
            era: 1,
            leader: 1,
            now: Time::ZERO,
            fates: Vec::new(),
            digests: BTreeMap::new(),
        }
    }

    fn config() -> MachineConfig {
        MachineConfig {
            max_batch_commands: 3,
            max_proposals_in_flight: 3,
            session_window: 12,
            ..MachineConfig::default()
        }
    }

    fn with(&mut self, node: u64, act: impl FnOnce(&mut ListMachine, Time, &mut Out)) {
        let mut out = Out::new();
        let machine = self.machines.get_mut(&node).expect("one of ours");
        act(machine, self.now, &mut out);
        machine.settle(self.now, &mut out);
        for output in out {
            self.carry_out(node, output);
        }
    }

    fn carry_out(&mut self, node: u64, output: MachineOutput<u64>) {
        match output {
            MachineOutput::Propose { request, batch } => {
                let incarnation = self.incarnations[&node];
                self.undecided.push(Undecided { proposer: node, incarnation, request, commands: batch.commands });
            }
            MachineOutput::Send { to, message } => {
                assert_ne!(to.0, node, "never to yourself");
                self.messages.push((node, to.0, message));
            }
            MachineOutput::Reply { tag, result } => {
                let fate = &mut self.fates[usize::try_from(tag.0).expect("small")];
                assert_eq!(*fate, Fate::Waiting, "answered twice");
                *fate = match result {
                    Ok(_) => Fate::Applied,
                    Err(RequestError::Unknown) => Fate::Unknown,
                    Err(_) => Fate::Never,
                };
            }
            MachineOutput::Applied { slot, digest } => {
                assert_eq!(*self.digests.entry(slot).or_insert(digest), digest, "replicas differ at slot {slot}");
            }
            MachineOutput::Answer { .. } | MachineOutput::SetDutyTimer(_) | MachineOutput::SetBatchTimer(_) => {
                panic!("nobody asked for it")
            }
            MachineOutput::Read { .. } | MachineOutput::SetTimer(_) => {}
            MachineOutput::Asked { .. } | MachineOutput::Reconfigure { .. } | MachineOutput::Transfer { .. } => {
                panic!("nobody asked for it")
            }
        }
    }

    fn submit(&mut self, node: u64) {
        let tag = self.fates.len() as u64;
        self.fates.push(Fate::Waiting);
        self.with(node, |machine, now, out| machine.submit(now, ClientTag(tag), Bytes::from(tag.to_string()), out));
    }

    fn deliver(&mut self, index: usize, keep_a_copy: bool) {
        let (from, to, message) = self.messages[index].clone();
        if !keep_a_copy {
            self.messages.swap_remove(index);
        }
        self.with(to, |machine, now, out| machine.receive(now, NodeId(from), message, out));
    }

    fn apply_next(&mut self, node: u64) -> bool {
        let slot = self.machines[&node].applied().next();
        let Some(commands) = self.log.get(usize::try_from(slot.0 - 1).expect("small")).cloned() else { return false };
        self.with(node, |machine, _, out| {
            machine.decide(Time::ZERO, slot, Decision::Commands(commands), out).expect("in order")
        });
        true
    }

    fn learn_leader(&mut self, node: u64) {
        let (era, leader) = (self.era, self.leader);
        self.with(node, |machine, _, out| {
            machine.lead(Lead { era, who: Some(NodeId(leader)), ready: leader == node, settled: leader == node }, out)
        });
    }

    fn refuse(&mut self, index: usize, why: &Refusal) {
        let refused = self.undecided.swap_remove(index);
        if self.incarnations[&refused.proposer] == refused.incarnation {
            self.with(refused.proposer, |machine, _, out| machine.refuse(Refused::Request(refused.request), why, out));
        }
    }

    /// Memory is lost; what was applied comes back from an image. Clients of this node hear nothing any more.
    fn crash(&mut self, node: u64) {
        let old = &self.machines[&node];
        let state = old.state().clone();
        let items = &mut (0..state.item_count()).filter_map(|number| Some((number, state.item(number)?)));
        let image = MachineImage { applied: old.applied(), meta: old.meta(), head: state.head(), items };
        let incarnation = self.incarnations[&node] + 1;
        self.incarnations.insert(node, incarnation);
        let machine: Machine<AppendingList> =
            Machine::open(NodeId(node), Incarnation(incarnation), World::config(), &(), Some(image))
                .expect("our own image");
        self.machines.insert(node, machine);
    }

    fn step(&mut self, kind: u8, pick: usize, owners: &mut Vec<u64>) {
        let node = pick as u64 % NODES + 1;
        match kind {
            0..=3 => {
                owners.push(node);
                self.submit(node);
            }
            4..=6 if !self.messages.is_empty() => self.deliver(pick % self.messages.len(), kind == 6),
            7 if !self.messages.is_empty() => {
                self.messages.swap_remove(pick % self.messages.len());
            }
            8..=10 if !self.undecided.is_empty() => {
                let decided = self.undecided.swap_remove(pick % self.undecided.len());
                self.log.push(decided.commands);
            }
            11 if !self.undecided.is_empty() => {
                let why = match pick % 3 {
                    0 => Refusal::Overloaded,
                    1 => Refusal::NotLeader { hint: Some(NodeId(self.leader)) },
                    _ => Refusal::LeaderChanged,
                };
                self.refuse(pick % self.undecided.len(), &why);
            }
            // A log may lose what was never decided, without a word.
            12 if !self.undecided.is_empty() => {
                let lost = self.undecided.swap_remove(pick % self.undecided.len());
                if lost.proposer == self.leader {
                    self.era += 1;
                }
            }
            13..=16 => {
                self.apply_next(node);
            }
            17 => {
                self.era += 1;
                self.leader = node;
            }
            18 | 19 => self.learn_leader(node),
            20 => {
                self.now = self.now + Duration::from_millis(pick as u64 % 1500);
                self.with(node, |machine, now, out| machine.expired(now, out));
            }
            21 => {
                self.crash(node);
                for (owner, fate) in owners.iter().zip(&mut self.fates) {
                    if *owner == node && *fate == Fate::Waiting {
                        *fate = Fate::Orphaned;
                    }
                }
            }
            _ => {}
        }
    }

    /// Everything arrives and is decided, and all time is over.
    fn heal(&mut self) {
        self.era += 1;
        for node in 1..=NODES {
            self.learn_leader(node);
        }
        for _ in 0..200 {
            while !self.messages.is_empty() {
                self.deliver(0, false);
            }
            self.log.extend(self.undecided.drain(..).map(|undecided| undecided.commands));
            for node in 1..=NODES {
                while self.apply_next(node) {}
            }
            if self.messages.is_empty() && self.undecided.is_empty() {
                break;
            }
        }
        assert!(self.messages.is_empty() && self.undecided.is_empty(), "machines quieten down");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_tells_the_truth(steps in proptest::collection::vec((0u8..22, 0usize..1000), 0..300)) {
        let mut world = World::new();
        let mut owners = Vec::new();
        for (kind, pick) in steps {
            world.step(kind, pick, &mut owners);
        }
        world.heal();
        let reference = world.machines[&1].state().items.clone();
        for machine in world.machines.values() {
            prop_assert_eq!(&machine.state().items, &reference);
            prop_assert_eq!(machine.status().outstanding_writes, 0, "healed, so answered");
        }
        for (tag, fate) in world.fates.iter().enumerate() {
            let times = reference.iter().filter(|item| **item == tag.to_string().as_bytes()).count();
            match fate {
                Fate::Waiting => prop_assert!(false, "write {} was never answered", tag),
                Fate::Applied => prop_assert_eq!(times, 1),
                Fate::Never => prop_assert_eq!(times, 0),
                Fate::Unknown | Fate::Orphaned => prop_assert!(times <= 1),
            }
        }
    }
}
