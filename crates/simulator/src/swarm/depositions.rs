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
        if let Some(companion) = with_it.first().copied().filter(|_| self.random.happens(Chance::percent(40))) {
            reminders.extend(self.hold_back(plan, world, companion, leader));
        }
        with_it.push(leader);
        world.act(&Act::Partition(vec![with_it, rest]));
        reminders
    }

    /// What one says to a leader on its way down stays under way, until another one leads or this one again.
    fn hold_back<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
        from: NodeId,
        to: NodeId,
    ) -> Reminders {
        world.act(&Act::Clog { from, to });
        vec![(self.up_to_patiences(plan, 16), StormAlarm::Unclog { from, to })]
    }

    /// When somebody leads in a later era, its days are counted: from less than a message takes to twice an election timeout.
    pub(super) fn look_for_heir<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &World<R, S>,
        times: u64,
        look: Look,
    ) -> Reminders {
        if look.left == 0 || world.reign().is_some_and(|(newest, _)| newest > look.era) {
            let patience = nanos(plan.patience);
            let reign = Duration::from_nanos(self.random.log_uniform(patience / 10_000, patience * 2));
            return vec![(reign, StormAlarm::Depose { times })];
        }
        vec![(look.every, StormAlarm::LookForHeir { times, look: Look { left: look.left - 1, ..look } })]
    }
}
