//! Three whole nodes under Raft: messages lost, repeated and reordered, timers at any moment, crashes with torn disks, checkpoints
//! all the while. What was acknowledged stays, reads are fresh, replicas agree, and after the faults everything is answered.

mod rig;

use bytes::Bytes;
use proptest::prelude::*;
use quorate_disk::model::ModelDisk;
use quorate_disk::{Disk, Operation};
use quorate_node::{ClientTag, Consistency, Lane, NodeInput, NodeMessage, NodeTimer};
use quorate_raft::{Config, Raft};
use quorate_types::{Membership, NodeId, Slot};
use rig::Rig;
use std::collections::BTreeMap;

const NODES: u64 = 3;

#[derive(Clone, Debug)]
enum Step {
    Write(u64),
    Read(u64),
    Deliver { pick: usize, keep_a_copy: bool },
    Lose(usize),
    Complete(u64, Lane),
    Expire { node: u64, pick: usize },
    Crash(u64, Vec<u64>),
    Calm(u64),
}

fn step() -> impl Strategy<Value = Step> {
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
    ]
}

struct Cluster {
    rigs: BTreeMap<u64, Rig<Raft>>,
    messages: Vec<(NodeId, NodeId, NodeMessage<Raft>)>,
    last_tag: u64,
    /// For each read, how many writes were acknowledged before it was asked.
    reads: BTreeMap<u64, u64>,
    /// The highest place in the order that any answer showed.
    highest_answer: u64,
    answers: BTreeMap<u64, (u64, Result<u64, quorate_node::RequestError>)>,
    asked: BTreeMap<u64, u64>,
    digests: BTreeMap<Slot, u64>,
}

impl Cluster {
    fn new(checkpoint_slots: u64) -> Cluster {
        let rig = |me| {
            let mut config = rig::config::<Raft>(Config { compact_after_entries: 4, ..Config::default() });
            // Without mercy: every entry that all members have durably is dropped, and segments are cut all the time.
            config.protocol.compact_keep_entries = 0;
            config.journal.segment_bytes = 14 * 1024;
            config.checkpoint.after_slots = checkpoint_slots;
            config.tracing = false;
            let mut rig = Rig::of(me, Membership::of_voters(NODES), config);
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
            digests: BTreeMap::new(),
        };
        (1..=NODES).for_each(|node| cluster.collect(node));
        cluster
    }

    fn rig(&mut self, node: u64) -> &mut Rig<Raft> {
        self.rigs.get_mut(&node).expect("one of ours")
    }

    /// Takes what a node said, and checks it.
    fn collect(&mut self, node: u64) {
        let rig = self.rigs.get_mut(&node).expect("one of ours");
        assert_eq!(rig.stopped, None);
        self.messages.extend(rig.sent.drain(..).map(|(to, message)| (NodeId(node), to, message)));
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
        for (slot, digest) in rig.applied.drain(..) {
            assert_eq!(*self.digests.entry(slot).or_insert(digest), digest, "replicas differ at slot {slot}");
        }
    }

    fn ask(&mut self, node: u64, read: bool) {
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

    fn deliver(&mut self, index: usize, keep_a_copy: bool) {
        let (from, to, message) = self.messages[index].clone();
        if !keep_a_copy {
            self.messages.remove(index);
        }
        self.rig(to.0).inputs([NodeInput::Message { from, message }]);
        self.collect(to.0);
    }

    fn crash(&mut self, node: u64, choices: &[u64]) {
        let mut drawn = choices.iter().cycle();
        let rig = self.rig(node);
        rig.crash(&mut |bound| drawn.next().expect("a cycle never ends") % bound);
        if let Err(error) = rig.start() {
            panic!("an undamaged disk refused: {error}");
        }
        self.asked.retain(|tag, asked| *asked != node || self.answers.contains_key(tag));
        self.collect(node);
    }

    fn step(&mut self, step: Step) {
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
        }
    }

    /// For so long nothing is lost and nothing takes time but timers.
    fn calm(&mut self, millis: u64) {
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

    fn drain(&mut self) {
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

    fn check_end(&self) {
        let reference = self.rigs[&1].items();
        for rig in self.rigs.values() {
            assert_eq!(rig.items(), reference);
            assert!(!rig.timers.contains_key(&NodeTimer::Requests), "nothing waits any more");
        }
        for (tag, node) in &self.asked {
            let (answered_by, result) =
                self.answers.get(tag).unwrap_or_else(|| panic!("{tag} at {node} was never answered"));
            assert_eq!(answered_by, node);
            let places: Vec<_> = (1u64..).zip(&reference).filter(|(_, item)| **item == tag.to_string()).collect();
            match result {
                Ok(place) if !self.reads.contains_key(tag) => {
                    assert_eq!(places.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [*place]);
                }
                Ok(_) => {}
                Err(quorate_node::RequestError::Unknown) => assert!(places.len() <= 1),
                Err(_) => assert!(places.is_empty(), "{tag} was refused for certain and is there all the same"),
            }
        }
    }
}

#[test]
fn a_calm_cluster_elects_writes_and_reads_from_every_node() {
    let mut cluster = Cluster::new(4);
    cluster.calm(1_000);
    for node in (1..=NODES).cycle().take(30) {
        cluster.ask(node, false);
        cluster.ask(node, true);
        cluster.calm(30);
    }
    cluster.calm(1_000);
    cluster.check_end();
    assert_eq!(cluster.rigs[&2].items().len(), 30);
    assert!(cluster.answers.values().all(|(_, result)| result.is_ok()), "{:?}", cluster.answers);
    assert!(cluster.rigs.values().all(|rig| rig.node().status().checkpointed > Slot::ZERO));
}

#[test]
fn writes_of_followers_outlive_their_leader() {
    let mut cluster = Cluster::new(1_000);
    cluster.calm(1_000);
    let leader = cluster.rigs[&1].node().status().protocol.leader.expect("calm").0;
    let follower = leader % NODES + 1;
    cluster.ask(follower, false);
    cluster.messages.clear();
    cluster.crash(leader, &[0]);
    cluster.calm(3_000);
    cluster.check_end();
    let answer = cluster.answers.values().next().cloned();
    assert_eq!(answer, Some((follower, Ok(1))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_answers_tell_the_truth(
        steps in proptest::collection::vec(step(), 0..400),
        checkpoint_slots in 1u64..10,
    ) {
        let mut cluster = Cluster::new(checkpoint_slots);
        cluster.calm(600);
        for step in steps {
            cluster.step(step);
        }
        cluster.calm(8_000);
        cluster.check_end();
    }
}

/// A calm cluster whose journals were cut, all of it durable.
fn cut_cluster() -> Cluster {
    let mut cluster = Cluster::new(4);
    cluster.calm(1_000);
    for node in (1..=NODES).cycle().take(60) {
        cluster.ask(node, false);
        cluster.calm(30);
    }
    cluster.calm(1_000);
    let first_segment = |rig: &Rig<Raft>| rig.journal.list().expect("a model disk lists").first().cloned();
    let cut = |rig: &Rig<Raft>| first_segment(rig).is_some_and(|file| file != "journal-0000000000000000.seg");
    assert!(cluster.rigs.values().all(cut), "the scene needs compacted journals");
    cluster
}

#[test]
fn a_store_that_lost_what_the_journal_no_longer_holds_refuses_the_start_in_one_sentence() {
    let mut rig = cut_cluster().rigs.remove(&2).expect("one of ours");
    rig.crash(&mut |_| 0);
    let whole = rig.store.clone();
    // Everything, or only the manifest.
    let lost_manifest = |rig: &mut Rig<Raft>| {
        for file in rig.store.list().unwrap().into_iter().filter(|file| file.starts_with("checkpoint-")) {
            rig.store.perform_all(&[Operation::Unlink { file }, Operation::FlushDirectory]).unwrap();
        }
    };
    let lost_all = |rig: &mut Rig<Raft>| rig.store = ModelDisk::default();
    for lose in [&lost_manifest as &dyn Fn(&mut Rig<Raft>), &lost_all] {
        rig.store = whole.clone();
        lose(&mut rig);
        let left = rig.store.list().unwrap();
        let said = rig.start().expect_err("slots are missing").to_string();
        let names_the_gap = said.contains("applied") && said.contains("slot 0");
        assert!(names_the_gap || said.contains("it is missing"), "{said}");
        assert!(!said.contains('\n') && !said.contains("panic"), "{said}");
        assert_eq!(rig.store.list().unwrap(), left, "nothing that could be evidence is touched");
    }
    rig.store = whole;
    rig.start().expect("with its store it starts");
}
