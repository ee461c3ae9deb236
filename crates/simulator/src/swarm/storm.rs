//! Faults that come one by one: when they begin, end and come again.

use super::depositions::Look;
use super::plan::{FaultClass, Plan};
use crate::act::Act;
use crate::random::{Chance, Random, nanos};
use crate::world::World;
use quorate_machine::StateMachine;
use quorate_node::Lane;
use quorate_protocol::Replica;
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
    /// A node crashes, comes back, and crashes again.
    CrashAgain { node: NodeId, times: u64 },
    /// A slow node is itself again.
    Hurry(NodeId),
    /// A slow disk is itself again.
    HurryDisk(NodeId),
    /// A stalled disk goes on.
    ReleaseDisk(NodeId),
    /// A full disk has room again, and its node comes back.
    MendDisks(NodeId),
    /// A bad link is like the others again.
    MendLink { from: NodeId, to: NodeId },
    /// A clogged link lets everything go.
    Unclog { from: NodeId, to: NodeId },
    /// Who leads now falls, so many times more.
    Depose { times: u64 },
    /// Has somebody come to lead in a later era than this one? Then that one falls.
    LookForHeir { times: u64, look: Look },
    /// A cut comes or goes, and so on.
    Flap { from: NodeId, to: NodeId, both: bool, times: u64 },
}

/// A storm under way.
#[derive(Debug)]
pub(super) struct Storm {
    pub(super) random: Random,
    pub(super) partitions: u64,
    /// The nodes that may be lost for ever: the rest can manage alone.
    pub(super) doomed: Vec<NodeId>,
    counts: BTreeMap<&'static str, u64>,
    over: bool,
}

/// Reminders to set: after how long, of what.
pub(super) type Reminders = Vec<(Duration, StormAlarm)>;

impl Storm {
    pub(super) fn new(random: Random) -> Storm {
        Storm { random, partitions: 0, doomed: Vec::new(), counts: BTreeMap::new(), over: false }
    }

    /// How many faults of each kind happened.
    pub(super) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Begins: the links change at once, single faults follow.
    pub(super) fn begin<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        world.remark("the storm begins");
        world.act(&Act::SetLinks(plan.storm_link));
        let mut nodes: Vec<NodeId> = world.nodes().collect();
        self.random.shuffle(&mut nodes);
        nodes.truncate(nodes.len().saturating_sub(1) / 2);
        self.doomed = nodes;
        plan.faults.iter().map(|(class, gap)| (self.gap(*gap), StormAlarm::Next(*class))).collect()
    }

    /// Ends: nothing more happens.
    pub(super) fn end(&mut self) {
        self.over = true;
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
        let act = match alarm {
            StormAlarm::Next(class) => {
                let mut reminders = self.strike(plan, world, class);
                let gap = plan.faults.iter().find(|(drawn, _)| *drawn == class).map(|(_, gap)| *gap);
                reminders.extend(gap.map(|gap| (self.gap(gap), alarm)));
                return reminders;
            }
            StormAlarm::Recover(node) => return self.recover(plan, world, node),
            StormAlarm::CrashAgain { node, times } => {
                world.act(&Act::Crash(node));
                world.act(&Act::Restart(node));
                let again = StormAlarm::CrashAgain { node, times: times - 1 };
                return if times > 1 { vec![(self.up_to_patiences(plan, 1), again)] } else { Vec::new() };
            }
            StormAlarm::Depose { times } => return self.depose(plan, world, times),
            StormAlarm::LookForHeir { times, look } => return self.look_for_heir(plan, world, times, look),
            StormAlarm::Flap { from, to, both, times } => return self.flap_once(plan, world, (from, to), both, times),
            StormAlarm::MendDisks(node) => {
                world.act(&Act::MendDisks(node));
                return self.recover(plan, world, node);
            }
            StormAlarm::Reunite { partition } if partition != self.partitions => return Vec::new(),
            StormAlarm::Reunite { .. } => Act::Heal,
            StormAlarm::Hurry(node) => Act::SetProcessing { node, processing: plan.processing },
            StormAlarm::HurryDisk(node) => Act::SetDisk { node, disk: plan.disk },
            StormAlarm::ReleaseDisk(node) => Act::ReleaseDisk(node),
            StormAlarm::MendLink { from, to } => Act::SetLink { from, to, link: plan.storm_link },
            StormAlarm::Unclog { from, to } => Act::Unclog { from, to },
        };
        world.act(&act);
        Vec::new()
    }

    fn flap_once<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
        (from, to): (NodeId, NodeId),
        both: bool,
        times: u64,
    ) -> Reminders {
        let cut = times.is_multiple_of(2);
        for (from, to) in [(from, to), (to, from)].into_iter().take(if both { 2 } else { 1 }) {
            world.act(&if cut { Act::Block { from, to } } else { Act::Unblock { from, to } });
        }
        let again = StormAlarm::Flap { from, to, both, times: times.saturating_sub(1) };
        if times > 1 { vec![(self.up_to_patiences(plan, 1), again)] } else { Vec::new() }
    }

    fn recover<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
        node: NodeId,
    ) -> Reminders {
        if world.is_running(node) {
            return Vec::new();
        }
        if self.random.happens(Chance::percent(75)) {
            world.act(&Act::Restart(node));
        } else {
            let lane = if self.random.happens(Chance::percent(75)) { Lane::Journal } else { Lane::Store };
            world.act(&Act::RestartCrashing { node, lane, operations: self.random.below(8) });
        }
        if world.is_running(node) || world.is_out_of_service(node) {
            return Vec::new();
        }
        self.count("crash-in-recovery");
        vec![(self.up_to_patiences(plan, 2), StormAlarm::Recover(node))]
    }

    /// A node that may be lost for ever; any, if the plan wants more than can be borne.
    pub(super) fn doomed_node<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &World<R, S>,
    ) -> Option<NodeId> {
        if plan.damage_anywhere {
            return Some(self.any(world));
        }
        self.random.pick(&self.doomed).copied()
    }

    /// Half the time the leader, where there is one: that is where it hurts.
    pub(super) fn victim<R: Replica, S: StateMachine>(&mut self, world: &World<R, S>) -> NodeId {
        match world.leader() {
            Some(leader) if self.random.happens(Chance::percent(50)) => leader,
            _ => self.any(world),
        }
    }

    pub(super) fn any<R: Replica, S: StateMachine>(&mut self, world: &World<R, S>) -> NodeId {
        let nodes: Vec<NodeId> = world.nodes().collect();
        self.random.pick(&nodes).copied().unwrap_or_default()
    }

    /// From a tenth of the cluster's patience to so many times it, every doubling equally likely.
    pub(super) fn up_to_patiences(&mut self, plan: &Plan, most: u64) -> Duration {
        let patience = nanos(plan.patience);
        Duration::from_nanos(self.random.log_uniform(patience / 10, patience * most))
    }

    /// Between two faults: from nothing to twice the mean.
    fn gap(&mut self, mean: Duration) -> Duration {
        self.random.duration(Duration::ZERO, mean * 2)
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_insert(0) += 1;
    }
}
