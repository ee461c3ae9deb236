//! Links that work for some: a leader that hears one peer only, a hub that everybody depends on, a chain.
//!
//! Whoever reaches a majority should lead, and who does not should disturb nobody. Half of the time the leader stands where it
//! hurts, as in the outage of November 2020: it reaches one peer, and that peer reaches everybody.

use super::aftermath::Aftermath;
use super::plan::Plan;
use super::storm::{Reminders, Storm, StormAlarm};
use super::subject::{Judged, Subject};
use crate::act::Act;
use crate::random::Chance;
use crate::world::World;
use quorate_machine::StateMachine;
use quorate_protocol::Replica;
use quorate_types::NodeId;

/// So many eras may still come after something was decided: a candidate may have been under way.
const SEATS_MAX: u64 = 3;

impl Storm {
    /// Leaves some links, for a while.
    pub(super) fn link_partly<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
    ) -> Reminders {
        if !self.leave_some_links(world) {
            return Vec::new();
        }
        self.partitions += 1;
        vec![(self.up_to_patiences(plan, 30), StormAlarm::Reunite { partition: self.partitions })]
    }

    /// Cuts all links but some. Says whether there are enough nodes for that.
    pub(super) fn leave_some_links<R: Replica, S: StateMachine>(&mut self, world: &mut World<R, S>) -> bool {
        let mut nodes: Vec<NodeId> = world.nodes().collect();
        self.random.shuffle(&mut nodes);
        // The first of them is in the corner.
        let corner = self.victim(world);
        nodes.retain(|node| *node != corner);
        nodes.insert(0, corner);
        if nodes.len() < 3 {
            return false;
        }
        let linked = match self.random.below(4) {
            0 => {
                self.count("star");
                star(&nodes)
            }
            1 => {
                self.count("chain");
                nodes.windows(2).map(<[NodeId]>::to_vec).collect()
            }
            2 => {
                self.count("one-link-cut");
                vec![nodes[..nodes.len() - 1].to_vec(), nodes[1..].to_vec()]
            }
            _ => {
                self.count("corner");
                self.cornered(&nodes)
            }
        };
        world.act(&Act::Partition(linked));
        true
    }

    /// The first reaches the second only; each two of the others reach each other or not.
    fn cornered(&mut self, nodes: &[NodeId]) -> Vec<Vec<NodeId>> {
        let mut linked = vec![nodes[..2].to_vec()];
        for (at, one) in nodes.iter().enumerate().skip(1) {
            for other in &nodes[at + 1..] {
                if self.random.happens(Chance::percent(60)) {
                    linked.push(vec![*one, *other]);
                }
            }
        }
        linked
    }
}

/// Everybody reaches the second only.
fn star(nodes: &[NodeId]) -> Vec<Vec<NodeId>> {
    let hub = nodes[1];
    nodes.iter().filter(|node| **node != hub).map(|node| vec![hub, *node]).collect()
}

impl<R: Subject, S: Judged> Aftermath<'_, R, S> {
    /// `LiveOnPartialLinks`: where somebody reaches a majority and has a log that these would vote for, somebody comes to lead and
    /// decides something new, though other links are cut for as long as it takes; and once that is so, whoever does not
    /// hear the leader does not unseat it. To be asked where everything else is repaired.
    pub(super) fn check_on_partial_links(&mut self) {
        // Logs may still change in ways that leave nobody electable, while a leader that is cut off does not know yet. So the demand
        // is made of what holds when that is over.
        for _ in 0..2 {
            if !self.has_quorum() {
                return;
            }
            if self.serves_somewhere() {
                return self.check_seat();
            }
        }
        if self.has_quorum() && self.world.broken_promise().is_none() {
            let who: Vec<NodeId> = self.world.nodes().collect();
            self.not_live_for("LiveOnPartialLinks", "some links are cut and nobody decides anything", &who);
        }
    }

    /// Whether anybody leads and decides a new write in time.
    fn serves_somewhere(&mut self) -> bool {
        let deadline = self.world.now() + self.times.patience * R::LIVE_AFTER_HEAL_PATIENCES;
        while self.world.now() < deadline && self.world.broken_promise().is_none() {
            self.run_while(deadline, |after| after.world.leader().is_none());
            let Some(leader) = self.world.leader() else { return false };
            let answered = self.history.answered_at(leader);
            self.history.probe_write(self.world, leader);
            let soon = deadline.min(self.world.now() + self.times.patience * 4);
            self.run_while(soon, |after| {
                after.history.answered_at(leader) == answered && after.world.leader() == Some(leader)
            });
            if self.history.answered_at(leader) > answered {
                return true;
            }
        }
        false
    }

    /// Who leads by the votes of a majority that hears it goes on leading.
    fn check_seat(&mut self) {
        let era = |after: &Self| {
            after.world.nodes().filter_map(|node| after.world.status(node)).map(|status| status.era).max()
        };
        let before = era(self);
        let until = self.world.now() + self.times.patience * 8;
        self.run_until(until);
        let after = era(self);
        let (Some(before), Some(after)) = (before, after) else { return };
        if self.world.broken_promise().is_none() && after > before + SEATS_MAX {
            let detail = format!(
                "some links are cut, and after a leader decided something the era goes from {before} to {after}"
            );
            self.world.report_broken("LiveOnPartialLinks", None, detail);
        }
    }
}
