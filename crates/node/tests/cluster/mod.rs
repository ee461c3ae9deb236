//! Three whole nodes under Raft, and whatever happens to them.

#![allow(dead_code, reason = "every test file includes it and uses its own part")]

use crate::rig::{self, Rig};
use bytes::Bytes;
use proptest::prelude::*;
use quorate_node::{ClientTag, Consistency, Lane, NodeConfig, NodeInput, NodeMessage, NodeTimer};
use quorate_raft::{Config, Raft};
use quorate_types::{Membership, NodeId, Slot};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub const NODES: u64 = 3;

#[derive(Clone, Debug)]
pub enum Step {
    Write(u64),
    Read(u64),
    Deliver {
        pick: usize,
        keep_a_copy: bool,
    },
    Lose(usize),
    Complete(u64, Lane),
    Expire {
        node: u64,
        pick: usize,
    },
    Crash(u64, Vec<u64>),
    Calm(u64),
    /// Two out of three of what is there are condemned.
    Condemn(u64),
    /// Nothing reaches or leaves the node any more, or everything does again.
    CutOff(u64),
}

pub fn step() -> impl Strategy<Value = Step> {
    let node = 1..=NODES;
    prop_oneof![
        5 => node.clone().prop_map(Step::Write),
        2 => node.clone().prop_map(Step::Read),
        12 => (any::<usize>(), proptest::bool::weighted(0.1))
            .prop_map(|(pick, keep_a_copy)| Step::Deliver { pick, keep_a_copy }),
        1 => any::<usize>().prop_map(Step::Lose),
        8 => node.clone().prop_map(|node| Step::Complete(node, Lane::Journal)),
        2 => node.clone().prop_map(|node| Step::Complete(node, Lane::Store)),
        3 => (node.clone(), any::<usize>()).prop_map(|(node, pick)| Step::Expire { node, pick }),
        1 => (node, proptest::collection::vec(any::<u64>(), 1..20)).prop_map(|(node, choices)| Step::Crash(node, choices)),
        1 => (1u64..2000).prop_map(Step::Calm),
        1 => (1..=NODES).prop_map(Step::Condemn),
        1 => (1..=NODES).prop_map(Step::CutOff),
    ]
}

pub struct Cluster {
    pub rigs: BTreeMap<u64, Rig<Raft>>,
    pub messages: Vec<(NodeId, NodeId, NodeMessage<Raft>)>,
    last_tag: u64,
    /// For each read, how many writes were acknowledged before it was asked.
    reads: BTreeMap<u64, u64>,
    /// The highest place in the order that any answer showed.
    highest_answer: u64,
    pub answers: BTreeMap<u64, (u64, Result<u64, quorate_node::RequestError>)>,
    asked: BTreeMap<u64, u64>,
    /// Requests that condemn.
    condemning: BTreeSet<u64>,
    cut_off: BTreeSet<u64>,
    digests: BTreeMap<Slot, u64>,
    /// Nodes that store no data, whose digests are their own.
    pub witnesses: BTreeSet<u64>,
    witnessed: BTreeMap<Slot, u64>,
}

impl Cluster {
    /// Compacts without mercy: every entry that all members have durably is dropped, and segments are cut all the time.
    pub fn new(checkpoint_slots: u64) -> Cluster {
        Cluster::with(|config| config.checkpoint.after_slots = checkpoint_slots)
    }

    /// Keeps next to nothing for those that lag behind: they need snapshots, which come in tiny chunks.
    pub fn forgetful(checkpoint_slots: u64) -> Cluster {
        Cluster::forgetful_of(&Membership::of_voters(NODES), checkpoint_slots)
    }

    /// The same of these founders.
    pub fn forgetful_of(founders: &Membership, checkpoint_slots: u64) -> Cluster {
        Cluster::of(founders, |config| {
            config.checkpoint.after_slots = checkpoint_slots;
            config.protocol.keep_log_entries = 2;
            config.protocol.compact_after_entries = 2;
            config.protocol.snapshot_retry_heartbeats = 1;
            config.transfer.chunk_bytes = 40;
            config.transfer.window_bytes = 160;
            config.transfer.bytes_per_second = 4_000;
            config.transfer.resend_after = Duration::from_millis(60);
            config.transfer.abandon_after = Duration::from_millis(400);
            config.store.slice_bytes = 60;
            config.store.file_bytes = 2000;
        })
    }

    pub fn with(adjust: impl Fn(&mut NodeConfig<Raft>)) -> Cluster {
        Cluster::of(&Membership::of_voters(NODES), adjust)
    }

    /// Of these founders, as many as ever.
    pub fn of(founders: &Membership, adjust: impl Fn(&mut NodeConfig<Raft>)) -> Cluster {
        let rig = |me| {
            let mut config = rig::config::<Raft>(Config { compact_after_entries: 4, ..Config::default() });
            config.protocol.compact_keep_entries = 0;
            config.journal.segment_bytes = 14 * 1024;
            config.tracing = false;
            adjust(&mut config);
            let mut rig = Rig::of(me, founders.clone(), config);
            rig.start().expect("empty disks boot");
            (me, rig)
        };
        let mut cluster = Cluster {
            rigs: (1..=NODES).map(rig).collect(),
            messages: Vec::new(),
            last_tag: 0,
            reads: BTreeMap::new(),
            highest_answer: 0,
            answers: BTreeMap::new(),
            asked: BTreeMap::new(),
            condemning: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            digests: BTreeMap::new(),
            witnesses: founders
                .members()
                .iter()
                .filter(|member| !member.stores_data())
                .map(|member| member.id.0)
                .collect(),
            witnessed: BTreeMap::new(),
        };
        (1..=NODES).for_each(|node| cluster.collect(node));
        cluster
    }

    pub fn rig(&mut self, node: u64) -> &mut Rig<Raft> {
        self.rigs.get_mut(&node).expect("one of ours")
    }

    /// Takes what a node said, and checks it.
    pub fn collect(&mut self, node: u64) {
        let rig = self.rigs.get_mut(&node).expect("one of ours");
        assert_eq!(rig.stopped, None);
        let sent = rig.sent.drain(..).map(|(to, message)| (NodeId(node), to, message));
        let cut_off = &self.cut_off;
        self.messages.extend(sent.filter(|(from, to, _)| !cut_off.contains(&from.0) && !cut_off.contains(&to.0)));
        for (ClientTag(tag), result) in rig.replies.drain(..) {
            if let Ok(place) = result {
                let floor = self.reads.get(&tag).copied().unwrap_or(0);
                assert!(
                    place >= floor,
                    "read {tag} saw {place} writes, and {floor} were acknowledged before it was asked"
                );
                self.highest_answer = self.highest_answer.max(place);
            }
            assert_eq!(self.answers.insert(tag, (node, result)), None, "request {tag} was answered twice");
        }
        let digests = if self.witnesses.contains(&node) { &mut self.witnessed } else { &mut self.digests };
        for (slot, digest) in rig.applied.drain(..) {
            assert_eq!(*digests.entry(slot).or_insert(digest), digest, "replicas differ at slot {slot}");
        }
    }

    pub fn ask(&mut self, node: u64, read: bool) {
        self.last_tag += 1;
        let tag = ClientTag(self.last_tag);
        self.asked.insert(self.last_tag, node);
        let input = if read {
            self.reads.insert(self.last_tag, self.highest_answer);
            NodeInput::Read { tag, query: (), consistency: Consistency::Linearizable }
        } else {
            NodeInput::Write { tag, payload: Bytes::from(self.last_tag.to_string()) }
        };
        self.rig(node).inputs([input]);
        self.collect(node);
    }

    pub fn condemn(&mut self, node: u64) {
        self.last_tag += 1;
        self.asked.insert(self.last_tag, node);
        self.condemning.insert(self.last_tag);
        let tag = ClientTag(self.last_tag);
        self.rig(node).inputs([NodeInput::Write { tag, payload: Bytes::from_static(b"drop") }]);
        self.collect(node);
    }

    /// Or connects it again.
    pub fn cut_off(&mut self, node: u64) {
        if !self.cut_off.remove(&node) {
            self.cut_off.insert(node);
            self.messages.retain(|(from, to, _)| from.0 != node && to.0 != node);
        }
    }

    pub fn connect_all(&mut self) {
        self.cut_off.clear();
    }

    pub fn installed(&self) -> u64 {
        self.rigs.values().map(|rig| rig.node().status().snapshots.installed).sum()
    }

    pub fn deliver(&mut self, index: usize, keep_a_copy: bool) {
        let (from, to, message) = self.messages[index].clone();
        if !keep_a_copy {
            self.messages.remove(index);
        }
        self.rig(to.0).inputs([NodeInput::Message { from, message }]);
        self.collect(to.0);
    }

    pub fn crash(&mut self, node: u64, choices: &[u64]) {
        let mut drawn = choices.iter().cycle();
        let rig = self.rig(node);
        rig.crash(&mut |bound| drawn.next().expect("a cycle never ends") % bound);
        if let Err(error) = rig.start() {
            panic!("an undamaged disk refused: {error}");
        }
        self.asked.retain(|tag, asked| *asked != node || self.answers.contains_key(tag));
        self.collect(node);
    }

    pub fn step(&mut self, step: Step) {
        match step {
            Step::Write(node) => self.ask(node, false),
            Step::Read(node) => self.ask(node, true),
            Step::Deliver { pick, keep_a_copy } if !self.messages.is_empty() => {
                self.deliver(pick % self.messages.len(), keep_a_copy);
            }
            Step::Lose(pick) if !self.messages.is_empty() => {
                self.messages.swap_remove(pick % self.messages.len());
            }
            Step::Deliver { .. } | Step::Lose(_) => {}
            Step::Complete(node, lane) => {
                self.rig(node).complete(lane);
                self.collect(node);
            }
            Step::Expire { node, pick } => {
                let rig = self.rig(node);
                let timer = rig.timers.keys().nth(pick % rig.timers.len().max(1)).copied();
                timer.map(|timer| rig.expire(timer));
                self.collect(node);
            }
            Step::Crash(node, choices) => self.crash(node, &choices),
            Step::Calm(millis) => self.calm(millis),
            Step::Condemn(node) => self.condemn(node),
            Step::CutOff(node) => self.cut_off(node),
        }
    }

    /// For so long nothing is lost and nothing takes time but timers.
    pub fn calm(&mut self, millis: u64) {
        let end = rig::after(self.rigs[&1].now, millis);
        loop {
            self.drain();
            let due = |(node, rig): (&u64, &Rig<Raft>)| {
                rig.timers.iter().map(|(timer, deadline)| (*deadline, *node, *timer)).min()
            };
            let next = self.rigs.iter().filter_map(due).min();
            let Some((deadline, node, timer)) = next.filter(|(deadline, ..)| *deadline <= end) else { break };
            for rig in self.rigs.values_mut() {
                rig.now = rig.now.max(deadline);
            }
            self.rig(node).expire(timer);
            self.collect(node);
        }
        for rig in self.rigs.values_mut() {
            rig.now = end;
        }
    }

    pub fn drain(&mut self) {
        let mut deliveries = 0;
        loop {
            let mut moved = false;
            for node in 1..=NODES {
                let rig = self.rig(node);
                while rig.complete(Lane::Journal) || rig.complete(Lane::Store) {
                    moved = true;
                }
                self.collect(node);
            }
            while !self.messages.is_empty() {
                self.deliver(0, false);
                deliveries += 1;
                assert!(deliveries < 100_000, "nodes never stop talking although no time passes");
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    pub fn check_end(&self) {
        let reference = self.rigs[&1].node().state();
        let kept = reference.kept();
        for (node, rig) in &self.rigs {
            let expected = if self.witnesses.contains(node) { Default::default() } else { kept.clone() };
            assert_eq!(rig.node().state().kept(), expected);
            assert!(!rig.timers.contains_key(&NodeTimer::Requests), "nothing waits any more");
            let snapshots = rig.node().status().snapshots;
            let on_its_way = (snapshots.sending.len(), snapshots.receiving);
            assert_eq!(on_its_way, (0, None), "node {}", rig.boot.me);
        }
        for (tag, node) in &self.asked {
            let (answered_by, result) =
                self.answers.get(tag).unwrap_or_else(|| panic!("{tag} at {node} was never answered"));
            assert_eq!(answered_by, node);
            let text = tag.to_string();
            let places: Vec<_> = kept.iter().filter(|(_, item)| *item == text).map(|(place, _)| *place).collect();
            match result {
                Ok(_) if self.reads.contains_key(tag) || self.condemning.contains(tag) => {}
                Ok(place) if reference.is_condemned(place - 1) => assert!(places.is_empty()),
                Ok(place) => assert_eq!(places, [*place]),
                Err(quorate_node::RequestError::Unknown) => assert!(places.len() <= 1),
                Err(_) => assert!(places.is_empty(), "{tag} was refused for certain and is there all the same"),
            }
        }
    }
}
