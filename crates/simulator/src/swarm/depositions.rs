//! Leaders that fall one after the other: logs end in tails of several terms then, some longer than the newer ones, and what a leader
//! found in its log may have reached others, or not, when it falls.

use super::plan::Plan;
use super::storm::{Reminders, Storm, StormAlarm};
use crate::act::Act;
use crate::random::{Chance, nanos};
use crate::world::World;
use quorate_machine::StateMachine;
use quorate_protocol::Replica;
use quorate_types::NodeId;
use std::time::Duration;

/// In so many election timeouts somebody else comes to lead, or it goes on without.
const HEIR_PATIENCES: u64 = 8;

/// How it is looked for somebody who leads in a later era than this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    era: u64,
    every: Duration,
    left: u64,
}

impl Storm {
    pub(super) fn depose_some<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
    ) -> Reminders {
        self.count("depositions");
        let times = self.random.between(2, 8);
        self.depose(plan, world, times)
    }

    /// Cuts off, suspends or crashes who leads, and lets those come back who were cut off before. 0 times: all come back. A leader that is
    /// suspended and cut off hears its clients first when it goes on.
    pub(super) fn depose<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
        times: u64,
    ) -> Reminders {
        world.act(&Act::Heal);
        // A partition of before is not to be healed in the midst of this.
        self.partitions += 1;
        if times == 0 {
            return Vec::new();
        }
        let (era, leader) = world.reign().unwrap_or_else(|| (0, self.any(world)));
        // What takes less than a message: the more often it is looked, the fewer heard of the new leader before it falls.
        let looks_per_patience = self.random.log_uniform(20, 1000);
        let look = Look {
            era,
            every: plan.patience / u32::try_from(looks_per_patience).unwrap_or(1),
            left: looks_per_patience * HEIR_PATIENCES,
        };
        let mut reminders = self.look_for_heir(plan, world, times - 1, look);
        if self.random.happens(Chance::percent(25)) {
            world.act(&Act::Crash(leader));
            reminders.push((self.up_to_patiences(plan, 8), StormAlarm::Recover(leader)));
            return reminders;
        }
        if self.random.happens(Chance::percent(25)) {
            let duration = self.up_to_patiences(plan, 4);
            world.act(&Act::Pause { node: leader, duration: Some(duration) });
            if self.random.happens(Chance::percent(25)) {
                return reminders;
            }
        }
        // Alone, or with others who are too few with it.
        let mut rest: Vec<NodeId> = world.nodes().filter(|node| *node != leader).collect();
        self.random.shuffle(&mut rest);
        let companions = self.random.below((rest.len() as u64 / 2).max(1));
        let mut with_it = rest.split_off(rest.len().saturating_sub(usize::try_from(companions).unwrap_or(0)));
        reminders.extend(self.hold_back(plan, world, leader));
        with_it.push(leader);
        world.act(&Act::Partition(vec![with_it, rest]));
        reminders
    }

    /// Now and then what somebody says to a leader, or what it says to him, stays under way until another one leads, or this one again.
    fn hold_back<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
        leader: NodeId,
    ) -> Reminders {
        let other = self.any(world);
        if other == leader || !self.random.happens(Chance::percent(30)) {
            return Vec::new();
        }
        let mut reminders = Vec::new();
        let both = self.random.happens(Chance::percent(50));
        for (from, to) in [(other, leader), (leader, other)].into_iter().take(if both { 2 } else { 1 }) {
            world.act(&Act::Clog { from, to });
            reminders.push((self.up_to_patiences(plan, 16), StormAlarm::Unclog { from, to }));
        }
        reminders
    }

    /// When somebody leads in a later era, its days are counted: from less than a message takes to twice an election timeout.
    pub(super) fn look_for_heir<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
        times: u64,
        look: Look,
    ) -> Reminders {
        let heir = world.reign().filter(|(newest, _)| *newest > look.era).map(|(_, heir)| heir);
        if look.left == 0 || heir.is_some() {
            let patience = nanos(plan.patience);
            let reign = Duration::from_nanos(self.random.log_uniform(patience / 10_000, patience * 2));
            let mut reminders = heir.map_or_else(Vec::new, |heir| self.hold_back(plan, world, heir));
            reminders.push((reign, StormAlarm::Depose { times }));
            return reminders;
        }
        vec![(look.every, StormAlarm::LookForHeir { times, look: Look { left: look.left - 1, ..look } })]
    }
}
