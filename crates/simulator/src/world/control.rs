//! What a script or a fault schedule can do to a world.

use super::World;
use super::config::DiskModel;
use super::event::WorldEvent;
use super::host::Waiting;
use super::processing::{timer_name, timer_named};
use crate::latency::Latency;
use crate::marks::Mark;
use crate::network::{FilterRule, Link};
use quorate_machine::StateMachine;
use quorate_narrator::What;
use quorate_protocol::{LinkState, Replica};
use quorate_types::NodeId;
use std::time::Duration;

impl<R: Replica, S: StateMachine> World<R, S> {
    /// Suspends a node's process, for this long or until [`World::resume`]. Its clock runs on, its inbox fills, and what it
    /// handed to its disk and the network goes on. A pause during a pause replaces it.
    pub fn pause(&mut self, id: NodeId, duration: Option<Duration>) {
        let leads = self.leader() == Some(id);
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.node.is_some()) else { return };
        host.paused = true;
        host.pauses += 1;
        let pause = host.pauses;
        self.note(Some(id), What::Paused { duration });
        if leads {
            self.mark(Mark::LeaderPaused);
        }
        if let Some(duration) = duration {
            self.schedule(self.now + duration, WorldEvent::Resume { node: id, pause });
        }
    }

    /// Suspends a node's whole machine for this long: its clock stands still meanwhile.
    pub fn freeze(&mut self, id: NodeId, duration: Duration) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.node.is_some()) else { return };
        host.clock.freeze(now, duration);
        self.schedule_deadlines_anew(id);
        self.mark(Mark::ClockFrozen);
        self.pause(id, Some(duration));
    }

    /// Lets a node's clock jump forward. What was to come due meanwhile comes due now.
    pub fn step_clock(&mut self, id: NodeId, by: Duration) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(&id) else { return };
        host.clock.step(now, by);
        self.note(Some(id), What::Note { text: format!("the clock of {id} jumps forward by {by:?}") });
        self.mark(Mark::ClockStepped);
        self.schedule_deadlines_anew(id);
    }

    /// Lets a suspended node go on.
    pub fn resume(&mut self, id: NodeId) {
        let now = self.now;
        if let Some(host) = self.hosts.get_mut(&id).filter(|host| host.paused) {
            host.paused = false;
            if host.clock.thaw(now) {
                self.schedule_deadlines_anew(id);
            }
            self.note(Some(id), What::Resumed);
            self.schedule_work(id);
        }
    }

    pub(super) fn resume_after(&mut self, id: NodeId, pause: u64) {
        if self.hosts.get(&id).is_some_and(|host| host.pauses == pause) {
            self.resume(id);
        }
    }

    /// Cuts one direction between two nodes. What is under way there is lost too.
    pub fn block(&mut self, from: NodeId, to: NodeId) {
        if self.network.block(from, to) {
            self.note(None, What::LinkBlocked { from, to });
            self.mark_isolation();
        }
    }

    /// Opens one direction again.
    pub fn unblock(&mut self, from: NodeId, to: NodeId) {
        if self.network.unblock(from, to) {
            self.note(None, What::LinkOpened { from, to });
        }
    }

    /// Cuts everything between nodes of different groups, both ways, and opens everything within each. A node in no group is
    /// alone; one in several reaches all of them.
    pub fn partition(&mut self, groups: &[Vec<NodeId>]) {
        let together =
            |one: NodeId, other: NodeId| groups.iter().any(|group| group.contains(&one) && group.contains(&other));
        self.network.unblock_all();
        let ids: Vec<NodeId> = self.nodes().collect();
        for from in &ids {
            for to in ids.iter().filter(|to| from != *to && !together(*from, **to)) {
                self.network.block(*from, *to);
            }
        }
        self.note(None, What::Partitioned { groups: groups.to_vec() });
        self.mark_isolation();
    }

    /// Opens all links.
    pub fn heal(&mut self) {
        self.network.unblock_all();
        self.note(None, What::Healed);
        for (from, to) in self.clogged.keys().copied().collect::<Vec<_>>() {
            self.unclog(from, to);
        }
    }

    /// Whether this direction is cut.
    #[must_use]
    pub fn is_blocked(&self, from: NodeId, to: NodeId) -> bool {
        self.network.is_blocked(from, to)
    }

    /// Lets a node hear news of a connection, true or not.
    pub fn tell_link(&mut self, node: NodeId, peer: NodeId, state: LinkState) {
        self.hint(node, peer, state);
    }

    /// Makes one directed link another.
    pub fn set_link(&mut self, from: NodeId, to: NodeId, link: Link) {
        self.network.set_link(from, to, link);
    }

    /// Makes every link this one.
    pub fn set_all_links(&mut self, link: Link) {
        self.network.set_all(link);
    }

    /// The link from one node to another.
    #[must_use]
    pub fn link(&self, from: NodeId, to: NodeId) -> Link {
        self.network.link(from, to)
    }

    /// Makes a node's disks this fast, from the next write on.
    pub fn set_disk(&mut self, id: NodeId, disk: DiskModel) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.disk = disk;
        }
    }

    /// Makes a node get to its inbox this fast.
    pub fn set_processing(&mut self, id: NodeId, processing: Latency) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.processing = processing;
        }
    }

    /// Adds a rule about messages, behind all others. It applies to messages sent from now on.
    pub fn add_filter(&mut self, rule: FilterRule) {
        self.filters.push(rule);
    }

    /// Removes all rules about messages. What is held stays held.
    pub fn clear_filters(&mut self) {
        self.filters.clear();
    }

    /// With `true`, no timer fires by itself any more: only [`World::fire_timer`] does. With `false`, every timer that is
    /// set comes due at its deadline, at once if that has passed.
    pub fn set_manual_timers(&mut self, manual: bool) {
        if std::mem::replace(&mut self.manual_timers, manual) && !manual {
            for id in self.nodes().collect::<Vec<_>>() {
                self.schedule_deadlines_anew(id);
            }
        }
    }

    /// Lets a timer come due now, if it is set: says whether it is. `name` is one of the protocol's timers, or `requests`,
    /// `checkpoint` or `journal-idle`.
    pub fn fire_timer(&mut self, id: NodeId, name: &str) -> bool {
        let Some(timer) = timer_named::<R>(name) else { return false };
        let Some(host) = self.hosts.get(&id).filter(|host| host.node.is_some()) else { return false };
        let Some(generation) = host.timers.get(&timer).map(|armed| armed.generation) else { return false };
        self.enqueue(id, Waiting::Expired { timer, generation });
        true
    }

    /// The names of the timers that are set at a node.
    #[must_use]
    pub fn armed_timers(&self, id: NodeId) -> Vec<&'static str> {
        self.hosts
            .get(&id)
            .map_or_else(Vec::new, |host| host.timers.keys().map(|timer| timer_name::<R>(*timer)).collect())
    }

    fn mark_isolation(&mut self) {
        let Some(leader) = self.leader() else { return };
        let reached = self
            .nodes()
            .filter(|id| *id == leader || !(self.is_blocked(*id, leader) || self.is_blocked(leader, *id)))
            .count();
        if reached * 2 <= self.hosts.len() {
            self.mark(Mark::LeaderIsolated);
        }
    }
}
