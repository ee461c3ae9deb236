//! Quiet times: among some nodes, for a while; among all, after the faults.

use super::Walk;
use crate::conformance::node::{Broken, broken};
use crate::testbed::Flight;
use crate::{Input, Replica};
use quorate_types::{NodeId, Slot};

/// So many deliveries between two timers.
const DELIVERIES_PER_ROUND: usize = 400;
/// A node is left behind for up to so many timers and proposals of the others.
const BEHIND_ROUNDS_MOST: usize = 12;

impl<R: Replica> Walk<'_, R> {
    /// Faults stop: something new must be decided everywhere.
    pub(super) fn heal(&mut self) -> Result<(), Broken> {
        self.log(|| "faults stop".to_owned());
        let ids: Vec<NodeId> = self.nodes.iter().filter(|(_, node)| !node.retired).map(|(id, _)| *id).collect();
        for id in &ids {
            if self.nodes[id].replica.is_none() {
                self.restart(*id)?;
            }
        }
        let newest = self.chosen.keys().next_back().copied().unwrap_or(Slot::ZERO).next();
        let target = self.subject.last_slot.map_or(newest, |last| last.min(newest));
        for round in 0..self.subject.heal_rounds {
            self.calm(&ids)?;
            let members = self.decided_members();
            if members.members().iter().all(|member| self.nodes[&member.id].decided >= target) {
                self.tally.note("healed");
                return Ok(());
            }
            let id = self.random_node();
            let input = if round % 4 == 0 { Some(self.draw_proposal()) } else { self.draw_timer(id) };
            self.feed(id, input.into_iter().collect())?;
        }
        let reached: Vec<String> = self.nodes.iter().map(|(id, node)| format!("{id} at {}", node.decided)).collect();
        let detail = format!(
            "slot {target} is not decided everywhere after {} timers: {}",
            self.subject.heal_rounds,
            reached.join(", ")
        );
        broken("LiveAfterHeal", detail)
    }

    /// The others get on without this node, which hears nothing meanwhile.
    pub(super) fn leave_behind(&mut self, id: NodeId) -> Result<(), Broken> {
        let others: Vec<NodeId> =
            self.nodes.keys().copied().filter(|other| *other != id && self.nodes[other].replica.is_some()).collect();
        self.log(|| format!("{id} is left behind by {others:?}"));
        for _ in 0..self.dice.below(BEHIND_ROUNDS_MOST) {
            let Some(one) = self.dice.pick(&others).copied() else { return Ok(()) };
            let input = if self.dice.one_in(4) { self.draw_timer(one) } else { Some(self.draw_proposal()) };
            self.feed(one, input.into_iter().collect())?;
            self.calm(&others)?;
            self.checkpoint(one)?;
        }
        Ok(())
    }

    /// Writes complete, messages among these nodes arrive in order and others are lost, the machine applies; no timer fires.
    fn calm(&mut self, ids: &[NodeId]) -> Result<(), Broken> {
        for _ in 0..DELIVERIES_PER_ROUND {
            for id in ids {
                while !self.nodes[id].outstanding.is_empty() {
                    self.complete_writes(*id, usize::MAX)?;
                }
                let owed: Vec<Input<R>> =
                    self.nodes.get_mut(id).map(|node| node.owed.drain(..).collect()).unwrap_or_default();
                let applied = self.draw_applied(*id);
                self.feed(*id, owed.into_iter().chain(applied).collect())?;
                self.install(*id)?;
            }
            if let Some(at) = self.snapshot_for(ids) {
                self.deliver_snapshot(at)?;
            } else if self.flights.is_empty() && ids.iter().all(|id| self.nodes[id].owed.is_empty()) {
                return Ok(());
            }
            if self.flights.is_empty() {
                continue;
            }
            let Flight { from, to, message } = self.flights.remove(0);
            if !ids.contains(&to) {
                continue;
            }
            self.feed(to, vec![Input::Receive { from, message }])?;
        }
        Ok(())
    }
}
