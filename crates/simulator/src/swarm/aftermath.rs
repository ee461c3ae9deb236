//! When the faults are over: whoever is left must serve, and everything that clients saw must be explained.

use super::history::History;
use super::judge;
use super::subject::Judged;
use crate::world::World;
use quorate_protocol::Replica;
use quorate_types::{NodeId, Slot, Time};
use std::time::Duration;

/// Within so many times its patience after the storm, a cluster must serve at every live node. A Raft with sensible settings
/// needs ten; drawn ones have windows and batches so small that a laggard may take longer to catch up.
const LIVE_AFTER_HEAL_PATIENCES: u32 = 20;

/// A world in which nothing goes wrong any more, and what its clients know.
pub(crate) struct Aftermath<'a, R: Replica, S: Judged> {
    pub(crate) world: &'a mut World<R, S>,
    pub(crate) history: &'a mut History,
    /// How long silence lasts before somebody else takes over.
    pub(crate) patience: Duration,
    /// No call may take longer.
    pub(crate) longest_call: Duration,
}

impl<R: Replica, S: Judged> Aftermath<'_, R, S> {
    /// Repairs everything but `left_down`, which is broken for ever, and demands of whoever runs then what is to be demanded; the
    /// first finding is reported to the world. Of fewer than a majority only that what was answered agrees with itself.
    pub(crate) fn examine(mut self, left_down: &[NodeId]) {
        self.world.repair(left_down);
        self.world.stop_recording();
        let core: Vec<NodeId> = self.world.nodes().filter(|node| self.world.is_running(*node)).collect();
        let quorum = self.world.nodes().count() / 2 + 1;
        if core.len() >= quorum {
            if self.check_live(&core) && self.check_leases_end(&core) && self.world.broken_promise().is_none() {
                judge::judge(self.world, self.history, &core);
            }
            return;
        }
        let over = self.world.now() + self.longest_call + self.patience * 2;
        self.run_until(over);
        if self.world.broken_promise().is_none() {
            judge::judge_answers(self.world, self.history);
        }
    }

    /// `LiveAfterHeal`: all calls end; a new write at every live node is decided; everything decided is applied at every
    /// live node; every key can be read.
    fn check_live(&mut self, core: &[NodeId]) -> bool {
        let healed = self.world.now();
        let every_call_over = healed + self.longest_call + self.patience * 2;
        if !self.run_while(every_call_over, |after| after.history.waiting() > 0) {
            return self.not_live("a call is still without an answer", core);
        }
        let deadline = self.world.now().max(healed) + self.patience * LIVE_AFTER_HEAL_PATIENCES;
        for node in core {
            if !self.answered_at(*node, deadline, |history, world| history.probe_write(world, *node)) {
                return self.not_live(&format!("a new write at {node} is not decided"), core);
            }
        }
        if !self.run_while(deadline, |after| {
            core.iter().any(|node| after.applied(*node) != Some(after.world.highest_applied()))
        }) {
            return self.not_live("not every node has applied everything", core);
        }
        for node in core {
            if !self.answered_at(*node, deadline, |history, world| history.probe_read(world, *node)) {
                return self.not_live(&format!("a read at {node} is not answered"), core);
            }
        }
        true
    }

    /// Calls again and again until one is answered.
    fn answered_at(
        &mut self,
        node: NodeId,
        deadline: Time,
        mut call: impl FnMut(&mut History, &mut World<R, S>),
    ) -> bool {
        while self.world.now() < deadline && self.world.broken_promise().is_none() {
            let answered = self.history.answered_at(node);
            call(self.history, self.world);
            if !self.run_while(deadline, |after| after.history.waiting() > 0) {
                return false;
            }
            if self.history.answered_at(node) > answered {
                return true;
            }
            let again = self.world.now() + self.patience / 4;
            self.run_until(again);
        }
        false
    }

    /// `LeasesEnd`: nobody renews any more, so every lease ends everywhere: after its time on the slowest clock, twice over
    /// because a leader that comes to lead meanwhile begins anew, and the time it takes to agree.
    fn check_leases_end(&mut self, core: &[NodeId]) -> bool {
        let is_left = |after: &Self| core.iter().any(|node| after.leases_at(*node) > 0);
        let longest = self.history.longest_lease() * 20 / 9;
        let deadline = self.world.now() + longest + self.patience * LIVE_AFTER_HEAL_PATIENCES;
        if self.run_while(deadline, is_left) || self.world.broken_promise().is_some() {
            return true;
        }
        let left: Vec<String> = core.iter().map(|node| format!("{} at {node}", self.leases_at(*node))).collect();
        let detail = format!("nobody renews for {longest:?} and more, and there are leases left: {}", left.join(", "));
        self.world.report_broken("LeasesEnd", None, detail);
        false
    }

    fn leases_at(&self, node: NodeId) -> usize {
        self.world.node(node).map_or(0, |node| node.state().leases().len())
    }

    fn applied(&self, node: NodeId) -> Option<Slot> {
        self.world.node(node).map(|node| node.status().machine.applied)
    }

    fn not_live(&mut self, what: &str, core: &[NodeId]) -> bool {
        let states: Vec<String> = core
            .iter()
            .map(|node| match self.world.node(*node) {
                None => format!("{node} is down"),
                Some(running) => {
                    let status = running.status();
                    let protocol = status.protocol;
                    format!(
                        "{node} is {} in era {}, log up to {}, durable {}, committed {}, applied {}",
                        protocol.role.name(),
                        protocol.era,
                        protocol.last,
                        protocol.durable,
                        protocol.committed,
                        status.machine.applied
                    )
                }
            })
            .collect();
        let detail = format!("faults are over and {what}; {}", states.join("; "));
        self.world.report_broken("LiveAfterHeal", None, detail);
        false
    }

    /// Runs while `needed`, up to `deadline`. Says whether it is no longer needed.
    fn run_while(&mut self, deadline: Time, needed: impl Fn(&Self) -> bool) -> bool {
        self.take_results();
        while needed(self) {
            if self.world.next_at().is_none_or(|next| next > deadline) || !self.world.step() {
                return false;
            }
            self.take_results();
        }
        true
    }

    fn run_until(&mut self, until: Time) {
        self.run_while(until, |_| true);
        if self.world.broken_promise().is_none() {
            self.world.run_until(until);
        }
    }

    /// No caller asks anything new, and no fault is due: alarms mean nothing any more.
    fn take_results(&mut self) {
        self.world.take_alarms();
        while !self.world.results().is_empty() {
            for result in self.world.take_results() {
                self.history.returned::<S>(result);
            }
        }
        self.history.look_at_leases(self.world);
    }
}
