//! Links that work for some: a leader that hears one peer only, a hub that everybody depends on, a chain.
//!
//! Whoever reaches a majority should lead, and who does not should disturb nobody. Half of the time the leader stands where it
//! hurts, as in the outage of November 2020: it reaches one peer, and that peer reaches everybody.

use super::plan::Plan;
use super::storm::{Reminders, Storm, StormAlarm};
use crate::act::Act;
use crate::random::Chance;
use crate::world::World;
use quorate_machine::StateMachine;
use quorate_protocol::Replica;
use quorate_types::NodeId;

impl Storm {
    /// Leaves some links, for a while.
    pub(super) fn link_partly<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
    ) -> Reminders {
        let mut nodes: Vec<NodeId> = world.nodes().collect();
        self.random.shuffle(&mut nodes);
        // The first of them is in the corner.
        let corner = self.victim(world);
        nodes.retain(|node| *node != corner);
        nodes.insert(0, corner);
        if nodes.len() < 3 {
            return Vec::new();
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
        self.partitions += 1;
        vec![(self.up_to_patiences(plan, 30), StormAlarm::Reunite { partition: self.partitions })]
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
