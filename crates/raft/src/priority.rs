//! Preferred leaders (ours; dissertation, 3.10, leaves the policy open).
//!
//! Every node knows its own priority. A voter with one above 0 tells everybody when it begins to follow a leader, and again
//! every election timeout while it follows: nobody else can be wrong about it for long, and where all have 0 nothing is sent. Two things
//! follow from it.
//! - A leader hands over to a peer with a **strictly** higher priority that keeps up, but not before it led for
//!   [`crate::Config::tenure_heartbeats`]. Priorities never go down along such transfers, so they end. A peer that was chosen is then left
//!   alone by this node, longer each time, until it is seen to lead.
//! - A node that knows of a voter with a higher priority waits half of its shortest wait longer before it campaigns. It does
//!   campaign: what it knows is forgotten with the term, and a bounded delay keeps elections live whatever the priorities.

use crate::election::Position;
use crate::message::Message;
use crate::replica::{Raft, Timer};
use crate::rules;
use crate::transfer::Cause;
use quorate_protocol::{Event, Outbox};
use quorate_types::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Pauses double up to this many times.
const DOUBLINGS_MOST: u32 = 6;

/// What a node knows of the others' priorities, and whom it leaves alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Priorities {
    /// Told in this term; 0 where nothing was.
    pub(crate) told: BTreeMap<NodeId, u8>,
    /// Peers that were chosen and have not led since.
    pub(crate) pauses: BTreeMap<NodeId, Pause>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Pause {
    /// How often it was chosen in vain.
    pub(crate) chosen: u32,
    /// How many heartbeats of this node's leadership it is left alone for.
    pub(crate) heartbeats: u64,
}

impl Priorities {
    /// A new term: what is true in it will be told again.
    pub fn forget_told(&mut self) {
        self.told.clear();
    }

    /// It leads: it can.
    pub fn leads(&mut self, id: NodeId) {
        self.pauses.remove(&id);
    }

    fn pause(&mut self, id: NodeId, tenure_heartbeats: u32) {
        let pause = self.pauses.entry(id).or_default();
        pause.heartbeats = u64::from(tenure_heartbeats) << pause.chosen.min(DOUBLINGS_MOST);
        pause.chosen = pause.chosen.saturating_add(1);
    }

    fn heartbeat(&mut self) {
        self.pauses.values_mut().for_each(|pause| pause.heartbeats = pause.heartbeats.saturating_sub(1));
    }

    fn is_left_alone(&self, id: NodeId) -> bool {
        self.pauses.get(&id).is_some_and(|pause| pause.heartbeats > 0)
    }
}

impl Raft {
    /// Tells everybody this node's priority, if it has any and may lead; and again in an election timeout.
    pub(crate) fn tell_priority(&mut self, out: &mut Outbox<Raft>) {
        let priority = self.config.priority;
        if priority == 0 || !self.may_lead(self.me) {
            return;
        }
        self.send_to_all(&Message::Priority { term: self.term, priority }, out);
        self.set_exact_timer(Timer::Priority, self.config.election_timeout, out);
    }

    pub(crate) fn priority_expired(&mut self, out: &mut Outbox<Raft>) {
        if self.leader.is_none() || self.is_leader() {
            return self.drop_timer(Timer::Priority, "it follows nobody", out);
        }
        self.tell_priority(out);
    }

    pub(crate) fn priority_told(&mut self, from: NodeId, term: u64, priority: u8, out: &mut Outbox<Raft>) {
        if term < self.term {
            return self.drop_stale("priority", from, "it is of an earlier term", out);
        }
        if !self.may_lead(from) {
            return self.drop_stale("priority", from, "it is no voter that stores data", out);
        }
        self.priorities.told.insert(from, priority);
    }

    /// Whether a voter is known that should rather lead than this node.
    fn is_less_preferred(&self) -> bool {
        let higher = |(id, priority): (&NodeId, &u8)| *priority > self.config.priority && self.may_lead(*id);
        self.priorities.told.iter().any(higher)
    }

    /// How much longer than `shortest` this node waits before it campaigns.
    pub(crate) fn deference(&self, shortest: Duration) -> Duration {
        if self.is_less_preferred() { shortest / 2 } else { Duration::ZERO }
    }

    /// At every heartbeat of a leader.
    pub(crate) fn consider_priorities(&mut self, out: &mut Outbox<Raft>) {
        self.priorities.heartbeat();
        let Position::Leader(leadership) = &mut self.position else { return };
        leadership.tenure_heartbeats = leadership.tenure_heartbeats.saturating_add(1);
        if leadership.tenure_heartbeats <= self.config.tenure_heartbeats || leadership.is_handing_over() {
            return;
        }
        let own = self.config.priority;
        let candidates = self.priorities.told.iter().filter(|(id, priority)| {
            **priority > own && !self.priorities.is_left_alone(**id) && self.peer_keeps_up(**id)
        });
        let Some((to, priority)) = candidates.rev().max_by_key(|(_, priority)| **priority) else { return };
        let (to, priority) = (*to, *priority);
        out.trace(|| {
            let event = Event::allowed(&rules::PRIORITY).with("peer", to).with("priority", u64::from(priority));
            event.with("own_priority", u64::from(own))
        });
        self.priorities.pause(to, self.config.tenure_heartbeats);
        self.hand_over(to, Cause::Priority, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_chosen_in_vain_is_left_alone_for_longer_each_time_and_forgiven_when_it_leads() {
        let mut priorities = Priorities::default();
        let peer = NodeId(2);
        let mut lengths = Vec::new();
        for _ in 0..9 {
            priorities.pause(peer, 3);
            let mut length = 0;
            while priorities.is_left_alone(peer) {
                priorities.heartbeat();
                length += 1;
            }
            lengths.push(length);
        }
        assert_eq!(lengths, [3, 6, 12, 24, 48, 96, 192, 192, 192]);
        priorities.leads(peer);
        assert_eq!(priorities, Priorities::default());
    }
}
