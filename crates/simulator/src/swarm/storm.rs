//! Faults that come one by one: which, when, where and for how long.

use super::plan::{FaultClass, Plan};
use crate::latency::Latency;
use crate::random::{Chance, Random, nanos};
use crate::world::{DiskModel, World};
use quorate_machine::StateMachine;
use quorate_node::Lane;
use quorate_protocol::{LinkState, Replica};
use quorate_types::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a storm wants to be reminded of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StormAlarm {
    /// The next fault of a class is due.
    Next(FaultClass),
    /// A partition is over, if it is still this one.
    Reunite { partition: u64 },
    /// A crashed node comes back, and may crash again while it recovers.
    Recover(NodeId),
    /// A slow node is itself again.
    Hurry(NodeId),
    /// A slow disk is itself again.
    HurryDisk(NodeId),
    /// A stalled disk goes on.
    ReleaseDisk(NodeId),
}

/// A storm under way.
#[derive(Debug)]
pub(super) struct Storm {
    random: Random,
    partitions: u64,
    counts: BTreeMap<&'static str, u64>,
    over: bool,
}

/// Reminders to set: after how long, of what.
pub(super) type Reminders = Vec<(Duration, StormAlarm)>;

impl Storm {
    pub(super) fn new(random: Random) -> Storm {
        Storm { random, partitions: 0, counts: BTreeMap::new(), over: false }
    }

    /// How many faults of each kind happened.
    pub(super) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Begins: the links change at once, single faults follow.
    pub(super) fn begin<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        world.remark("the storm begins");
        world.set_all_links(plan.storm_link);
        plan.faults.iter().map(|(class, gap)| (self.gap(*gap), StormAlarm::Next(*class))).collect()
    }

    /// Ends: everything is repaired but what `core` leaves out, which is broken for ever.
    pub(super) fn end<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>, core: &[NodeId]) {
        self.over = true;
        world.forget_traps();
        world.remark("the storm is over");
        world.set_all_links(plan.calm_link);
        world.heal();
        for node in world.nodes().collect::<Vec<_>>() {
            world.release_disk(node);
            world.set_disk(node, plan.disk);
            world.set_processing(node, plan.processing);
            world.resume(node);
            if core.contains(&node) {
                world.restart(node);
            } else {
                world.crash(node);
            }
        }
    }

    /// Lets happen what is due.
    pub(super) fn alarm<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
        alarm: StormAlarm,
    ) -> Reminders {
        if self.over {
            return Vec::new();
        }
        match alarm {
            StormAlarm::Next(class) => {
                let mut reminders = self.strike(plan, world, class);
                let gap = plan.faults.iter().find(|(drawn, _)| *drawn == class).map(|(_, gap)| *gap);
                reminders.extend(gap.map(|gap| (self.gap(gap), alarm)));
                reminders
            }
            StormAlarm::Reunite { partition } => {
                if partition == self.partitions {
                    world.heal();
                }
                Vec::new()
            }
            StormAlarm::Recover(node) => self.recover(plan, world, node),
            StormAlarm::Hurry(node) => {
                world.set_processing(node, plan.processing);
                Vec::new()
            }
            StormAlarm::HurryDisk(node) => {
                world.set_disk(node, plan.disk);
                Vec::new()
            }
            StormAlarm::ReleaseDisk(node) => {
                world.release_disk(node);
                Vec::new()
            }
        }
    }

    fn strike<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
        class: FaultClass,
    ) -> Reminders {
        match class {
            FaultClass::Partition => self.partition(plan, world),
            FaultClass::Crash => self.crash(plan, world),
            FaultClass::Pause => {
                let node = self.victim(world);
                let duration = self.up_to_patiences(plan, 20);
                self.count("pause");
                world.pause(node, Some(duration));
                Vec::new()
            }
            FaultClass::SlowNode => {
                let node = self.victim(world);
                self.count("slow-node");
                world.set_processing(node, Latency::between(Duration::ZERO, self.up_to_patiences(plan, 1)));
                vec![(self.up_to_patiences(plan, 10), StormAlarm::Hurry(node))]
            }
            FaultClass::SlowDisk => {
                if self.random.happens(Chance::percent(30)) {
                    return self.slow_all_disks(plan, world);
                }
                let node = self.victim(world);
                self.count("slow-disk");
                let slow = self.up_to_patiences(plan, 2);
                let disk = DiskModel {
                    write: Latency::between(Duration::ZERO, slow / 10),
                    flush: Latency::between(slow / 10, slow),
                };
                world.set_disk(node, disk);
                vec![(self.up_to_patiences(plan, 10), StormAlarm::HurryDisk(node))]
            }
            FaultClass::DiskStall => {
                let node = self.victim(world);
                self.count("disk-stall");
                world.hold_disk(node);
                vec![(self.up_to_patiences(plan, 10), StormAlarm::ReleaseDisk(node))]
            }
            FaultClass::FalseNews => {
                let (node, peer) = (self.any(world), self.any(world));
                if node != peer {
                    let state = *self
                        .random
                        .pick(&[LinkState::Up, LinkState::Down, LinkState::Refused])
                        .unwrap_or(&LinkState::Down);
                    self.count("false-news");
                    world.tell_link(node, peer, state);
                }
                Vec::new()
            }
            FaultClass::Loss
            | FaultClass::Repetition
            | FaultClass::Overtaking
            | FaultClass::Stragglers
            | FaultClass::Damage
            | FaultClass::Drift => Vec::new(),
        }
    }

    /// Every disk at once: what one node says too early is not made good by the speed of the others.
    fn slow_all_disks<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        self.count("slow-disks");
        let slow = self.up_to_patiences(plan, 1);
        let duration = self.up_to_patiences(plan, 10);
        let disk = DiskModel { write: Latency::ZERO, flush: Latency::between(slow / 10, slow) };
        let nodes: Vec<NodeId> = world.nodes().collect();
        nodes.iter().for_each(|node| world.set_disk(*node, disk));
        nodes.into_iter().map(|node| (duration, StormAlarm::HurryDisk(node))).collect()
    }

    /// Isolates one, splits in two, cuts single directions, or builds a bridge, a ring of one-way links, ... for a while.
    fn partition<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        let mut nodes: Vec<NodeId> = world.nodes().collect();
        self.random.shuffle(&mut nodes);
        world.heal();
        match self.random.below(6) {
            0 => {
                let alone = self.victim(world);
                self.count("isolate-one");
                let rest = nodes.iter().copied().filter(|node| *node != alone).collect();
                world.partition(&[vec![alone], rest]);
            }
            1 => {
                let at = usize::try_from(self.random.below(nodes.len() as u64 + 1)).unwrap_or(0);
                self.count("split");
                world.partition(&[nodes[..at].to_vec(), nodes[at..].to_vec()]);
            }
            2 => {
                let half = nodes.len() / 2;
                self.count("bridge");
                world.partition(&[nodes[..=half.min(nodes.len() - 1)].to_vec(), nodes[half..].to_vec()]);
            }
            3 => {
                let deaf = self.victim(world);
                let to_it = self.random.happens(Chance::percent(50));
                self.count("one-way-isolation");
                for other in nodes.iter().copied().filter(|node| *node != deaf) {
                    if to_it { world.block(other, deaf) } else { world.block(deaf, other) }
                }
            }
            4 => {
                self.count("ring");
                let neighbours: Vec<Vec<NodeId>> =
                    (0..nodes.len()).map(|at| vec![nodes[at], nodes[(at + 1) % nodes.len()]]).collect();
                world.partition(&neighbours);
            }
            _ => {
                self.count("cut-some");
                for from in &nodes {
                    for to in nodes.iter().filter(|to| from != *to) {
                        if self.random.happens(Chance::percent(30)) {
                            world.block(*from, *to);
                        }
                    }
                }
            }
        }
        self.partitions += 1;
        vec![(self.up_to_patiences(plan, 20), StormAlarm::Reunite { partition: self.partitions })]
    }

    /// One node, or now and then all of them at once: the power fails.
    fn crash<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        let victims = if self.random.happens(Chance::percent(15)) {
            self.count("power-failure");
            world.nodes().collect()
        } else {
            self.count("crash");
            vec![self.victim(world)]
        };
        if self.random.happens(Chance::percent(50)) {
            self.count("crash-during-write");
            let watched = victims.first().copied().unwrap_or_default();
            let victims = victims.into_iter().map(|node| (node, self.up_to_patiences(plan, 8))).collect();
            world.crash_during_write(watched, victims);
            return Vec::new();
        }
        let mut reminders = Vec::new();
        for node in victims {
            if world.is_running(node) {
                world.crash(node);
                reminders.push((self.up_to_patiences(plan, 8), StormAlarm::Recover(node)));
            }
        }
        reminders
    }

    fn recover<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
        node: NodeId,
    ) -> Reminders {
        if self.random.happens(Chance::percent(25)) {
            let lane = if self.random.happens(Chance::percent(75)) { Lane::Journal } else { Lane::Store };
            let operations = self.random.below(8);
            if !world.restart_crashing(node, lane, operations) {
                self.count("crash-in-recovery");
                return vec![(self.up_to_patiences(plan, 2), StormAlarm::Recover(node))];
            }
        } else {
            world.restart(node);
        }
        Vec::new()
    }

    /// Half the time the leader, where there is one: that is where it hurts.
    fn victim<R: Replica, S: StateMachine>(&mut self, world: &World<R, S>) -> NodeId {
        match world.leader() {
            Some(leader) if self.random.happens(Chance::percent(50)) => leader,
            _ => self.any(world),
        }
    }

    fn any<R: Replica, S: StateMachine>(&mut self, world: &World<R, S>) -> NodeId {
        let nodes: Vec<NodeId> = world.nodes().collect();
        self.random.pick(&nodes).copied().unwrap_or_default()
    }

    /// From a tenth of the cluster's patience to so many times it, every doubling equally likely.
    fn up_to_patiences(&mut self, plan: &Plan, most: u64) -> Duration {
        let patience = nanos(plan.patience);
        Duration::from_nanos(self.random.log_uniform(patience / 10, patience * most))
    }

    /// Between two faults: from nothing to twice the mean.
    fn gap(&mut self, mean: Duration) -> Duration {
        self.random.duration(Duration::ZERO, mean * 2)
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_insert(0) += 1;
    }
}
