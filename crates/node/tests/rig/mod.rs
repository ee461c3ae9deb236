//! A node on model disks, moved one thing at a time.

#![allow(dead_code)]

pub mod counting;
pub mod solo;

use bytes::Bytes;
use counting::Counting;
use quorate_disk::model::ModelDisk;
use quorate_disk::{Disk, Operation};
use quorate_node::{
    Boot, BootError, ClientTag, Consistency, Lane, Node, NodeConfig, NodeInput, NodeMessage, NodeOutput, NodeTimer,
    RequestError, StopReason,
};
use quorate_protocol::{Env, Event, Replica, Start};
use quorate_types::{ClusterId, DiskId, Membership, NodeId, Slot, Time};
use solo::{Solo, SoloConfig};
use std::collections::BTreeMap;
use std::time::Duration;

pub type TestNode = Node<Solo, Counting>;

/// The clock of a test.
pub struct Clock(pub Time);

impl Env for Clock {
    fn now(&self) -> Time {
        self.0
    }
    fn choose(&mut self, _: u64) -> u64 {
        0
    }
}

/// A write under way on one lane, and how many of its operations were performed.
#[derive(Clone, Debug)]
pub struct UnderWay {
    pub lane: Lane,
    pub write: u64,
    pub operations: Vec<Operation>,
}

/// One node with its disks, and everything it ever said.
#[derive(Clone, Debug)]
pub struct Rig<R: Replica> {
    pub boot: Boot,
    pub config: NodeConfig<R>,
    pub journal: ModelDisk,
    pub store: ModelDisk,
    pub node: Option<Node<R, Counting>>,
    pub now: Time,
    pub under_way: Vec<UnderWay>,
    /// Armed timers and their deadlines, for whoever wants to keep them.
    pub timers: BTreeMap<NodeTimer<R::Timer>, Time>,
    pub sent: Vec<(NodeId, NodeMessage<R>)>,
    pub replies: Vec<(ClientTag, Result<u64, RequestError>)>,
    pub applied: Vec<(Slot, u64)>,
    pub traces: Vec<Event>,
    pub members: Option<Membership>,
    /// Errands and changes of the members that were refused, and why.
    pub refused: Vec<(ClientTag, String)>,
    pub stopped: Option<StopReason>,
}

/// Everything traced, small segments.
pub fn config<R: Replica>(protocol: R::Config) -> NodeConfig<R> {
    let mut config = NodeConfig::new(protocol);
    config.tracing = true;
    config.journal.segment_bytes = 64 * 1024;
    config
}

impl Rig<Solo> {
    /// Node `me` of a cluster of two in which node 1 leads, booted on empty disks.
    pub fn new(me: u64, solo: SoloConfig) -> Rig<Solo> {
        let mut rig = Rig::off(me, solo);
        rig.start().expect("empty disks boot");
        rig
    }

    /// The same, not booted.
    pub fn off(me: u64, solo: SoloConfig) -> Rig<Solo> {
        Rig::of(me, Membership::of_voters(2), config(solo))
    }
}

impl<R: Replica> Rig<R> {
    /// Node `me` of a cluster of these, not booted, on empty disks.
    pub fn of(me: u64, members: Membership, config: NodeConfig<R>) -> Rig<R> {
        Rig {
            boot: Boot {
                cluster: ClusterId(7),
                me: NodeId(me),
                start: Start::Found(members),
                new_disk: DiskId(100 + me),
            },
            config,
            journal: ModelDisk::new(),
            store: ModelDisk::new(),
            node: None,
            now: Time::ZERO,
            under_way: Vec::new(),
            timers: BTreeMap::new(),
            sent: Vec::new(),
            replies: Vec::new(),
            applied: Vec::new(),
            traces: Vec::new(),
            members: None,
            refused: Vec::new(),
            stopped: None,
        }
    }

    pub fn start(&mut self) -> Result<(), BootError> {
        let booted = Node::boot(self.boot.clone(), self.config.clone(), &(), &mut self.journal, &mut self.store)?;
        self.node = Some(booted.0);
        self.collect(booted.1);
        Ok(())
    }

    pub fn node(&self) -> &Node<R, Counting> {
        self.node.as_ref().expect("it runs")
    }

    /// Steps these inputs, settles once and keeps what the node says.
    pub fn inputs(&mut self, inputs: impl IntoIterator<Item = NodeInput<R, Counting>>) {
        let mut clock = Clock(self.now);
        let node = self.node.as_mut().expect("it runs");
        for input in inputs {
            node.step(&mut clock, input);
        }
        let mut outputs = Vec::new();
        node.settle(&mut clock, &mut outputs);
        self.collect(outputs);
    }

    fn collect(&mut self, outputs: Vec<NodeOutput<R, Counting>>) {
        for output in outputs {
            assert_eq!(self.stopped, None, "nothing after Stop, but {output:?}");
            match output {
                NodeOutput::Send { to, message } => self.sent.push((to, message)),
                NodeOutput::SetTimer { timer, at_least, at_most } => {
                    // Nodes draw different deadlines, or they would campaign at the same moment for ever.
                    let share = (at_most - at_least) / 5 * u32::try_from(self.boot.me.0 % 5).expect("below 5");
                    self.timers.insert(timer, self.now + at_least + share);
                }
                NodeOutput::CancelTimer(timer) => {
                    self.timers.remove(&timer);
                }
                NodeOutput::Disk { lane, write, operations } => {
                    assert!(!self.is_under_way(lane), "one write at a time");
                    self.under_way.push(UnderWay { lane, write, operations });
                }
                NodeOutput::Reply { tag, result } => self.replies.push((tag, result)),
                // There is no duty here.
                NodeOutput::Answer { tag, result } => {
                    self.refused.push((tag, result.expect_err("nobody could answer").to_string()));
                }
                NodeOutput::Asked { tag, result: Err(why) } => self.refused.push((tag, why.to_string())),
                NodeOutput::Asked { result: Ok(()), .. } => {}
                NodeOutput::Lead { .. } => {}
                NodeOutput::Members(members) => self.members = Some(members),
                NodeOutput::Applied { slot, digest } => self.applied.push((slot, digest)),
                NodeOutput::Trace(event) => self.traces.push(event),
                NodeOutput::Stop(reason) => self.stopped = Some(reason),
            }
        }
    }

    /// Whether a write of this lane is under way.
    pub fn is_under_way(&self, lane: Lane) -> bool {
        self.under_way.iter().any(|write| write.lane == lane)
    }

    pub fn write(&mut self, tag: u64, payload: &'static str) {
        self.inputs([write(tag, payload)]);
    }

    pub fn read(&mut self, tag: u64, consistency: Consistency) {
        self.inputs([NodeInput::Read { tag: ClientTag(tag), query: (), consistency }]);
    }

    /// Performs the write under way on this lane and says so; false if there is none.
    pub fn complete(&mut self, lane: Lane) -> bool {
        let Some(at) = self.under_way.iter().position(|write| write.lane == lane) else { return false };
        let UnderWay { write, operations, .. } = self.under_way.remove(at);
        self.disk(lane).perform_all(&operations).expect("a model disk without faults");
        self.inputs([NodeInput::DiskDone { lane, write }]);
        true
    }

    /// Completes writes until none is left.
    pub fn complete_all(&mut self) {
        while self.complete(Lane::Journal) || self.complete(Lane::Store) {}
    }

    pub fn expire(&mut self, timer: NodeTimer<R::Timer>) -> bool {
        let armed = self.timers.remove(&timer).is_some();
        if armed {
            self.inputs([NodeInput::Expired(timer)]);
        }
        armed
    }

    pub fn advance(&mut self, millis: u64) {
        self.now = after(self.now, millis);
    }

    /// The process is killed and the machine goes on: some of each write under way was performed, flushed or not.
    pub fn kill(&mut self, choose: &mut dyn FnMut(u64) -> u64) {
        for UnderWay { lane, operations, .. } in std::mem::take(&mut self.under_way) {
            let performed = choose(operations.len() as u64 + 1) as usize;
            self.disk(lane).perform_all(&operations[..performed]).expect("a model disk without faults");
        }
        self.node = None;
        self.timers.clear();
        self.sent.clear();
        self.stopped = None;
    }

    /// The power fails: as a kill, and what was not flushed survives as `choose` says.
    pub fn crash(&mut self, choose: &mut dyn FnMut(u64) -> u64) {
        self.kill(choose);
        self.journal.crash(choose);
        self.store.crash(choose);
    }

    pub fn disk(&mut self, lane: Lane) -> &mut ModelDisk {
        match lane {
            Lane::Journal => &mut self.journal,
            Lane::Store => &mut self.store,
        }
    }

    /// What is there and not condemned.
    pub fn items(&self) -> Vec<String> {
        self.node().state().kept().into_iter().map(|(_, item)| item).collect()
    }
}

/// So much later.
pub fn after(time: Time, millis: u64) -> Time {
    time + Duration::from_millis(millis)
}

pub fn write<R: Replica>(tag: u64, payload: &'static str) -> NodeInput<R, Counting> {
    NodeInput::Write { tag: ClientTag(tag), payload: Bytes::from_static(payload.as_bytes()) }
}
