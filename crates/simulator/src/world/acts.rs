//! Acts, carried out.

use super::World;
use super::event::WorldEvent;
use crate::act::{Act, Deed, Moment};
use crate::marks::Mark;
use quorate_machine::StateMachine;
use quorate_protocol::{Replica, Start};
use quorate_types::{NodeId, Time};
use std::time::Duration;

impl<R: Replica, S: StateMachine> World<R, S> {
    /// Does one thing to the world. What makes no sense now does nothing.
    pub fn act(&mut self, act: &Act) {
        self.record_deed(|| Deed::Act(act.clone()));
        match act {
            Act::SetLinks(link) => self.set_all_links(*link),
            Act::SetLink { from, to, link } => self.set_link(*from, *to, *link),
            Act::Block { from, to } => self.block(*from, *to),
            Act::Unblock { from, to } => self.unblock(*from, *to),
            Act::Clog { from, to } => self.clog(*from, *to),
            Act::Unclog { from, to } => self.unclog(*from, *to),
            Act::Partition(groups) => self.partition(groups),
            Act::Heal => self.heal(),
            Act::Hint { node, peer, state } => self.tell_link(*node, *peer, *state),
            Act::Replay { from, to, back } => self.replay(*from, *to, *back),
            Act::Crash(node) => self.crash(*node),
            Act::Kill(node) => self.kill(*node),
            Act::CrashAt { watched, moment, victims } => self.crash_at(*watched, *moment, victims.clone()),
            Act::ForgetTraps => self.forget_traps(),
            Act::Restart(node) => self.restart(*node),
            Act::RestartCrashing { node, lane, operations } => {
                self.restart_crashing(*node, *lane, *operations);
            }
            Act::Pause { node, duration } => self.pause(*node, *duration),
            Act::Freeze { node, duration } => self.freeze(*node, *duration),
            Act::Resume(node) => self.resume(*node),
            Act::StepClock { node, by } => self.step_clock(*node, *by),
            Act::SetProcessing { node, processing } => self.set_processing(*node, *processing),
            Act::HoldDisk(node) => self.hold_disk(*node),
            Act::ReleaseDisk(node) => self.release_disk(*node),
            Act::SetDisk { node, disk } => self.set_disk(*node, *disk),
            Act::Rot { node, lane, pick, harm } => self.rot(*node, *lane, *pick, *harm),
            Act::Malfunction { node, lane, what } => self.malfunction(*node, *lane, *what),
            Act::Fill { node, lane, free_bytes } => self.fill(*node, *lane, *free_bytes),
            Act::MendDisks(node) => self.mend_disks(*node),
            Act::Wipe(node) => self.wipe(*node),
            Act::Copy(node) => self.copy_disks(*node),
            Act::PutBack(node) => self.put_back(*node),
            Act::StartJoining(node) => self.add_node(*node, Start::Join),
            Act::MoveLeader { node, to } => self.ask_for_leader(*node, *to),
            Act::ChangeMembers { node, wish } => self.ask_for_members(*node, *wish),
        }
    }

    /// The faults are over: whatever can be repaired is, and every node runs that can, but `left_down`, which crash for ever.
    pub fn repair(&mut self, left_down: &[NodeId]) {
        self.remark("the faults are over");
        self.forget_traps();
        self.set_all_links(self.config.usual_link);
        for (from, to, link) in self.config.links.clone() {
            self.set_link(from, to, link);
        }
        self.heal();
        let (disk, processing) = (self.config.disk, self.config.processing);
        for id in self.nodes().collect::<Vec<_>>() {
            if left_down.contains(&id) {
                self.crash(id);
                continue;
            }
            self.mend_disks(id);
            self.release_disk(id);
            self.set_disk(id, disk);
            self.set_processing(id, processing);
            self.resume(id);
            self.restart(id);
        }
        // Everybody meets everybody anew: whoever is not let in any more is out before anything is demanded of it.
        for id in self.nodes().collect::<Vec<_>>() {
            if self.is_running(id) {
                self.say_hello(id);
            }
        }
    }

    /// From now on remembers everything that is done to the world.
    pub fn record_deeds(&mut self) {
        self.is_recording = true;
    }

    /// What is done from now on is not remembered.
    pub(crate) fn stop_recording(&mut self) {
        self.is_recording = false;
    }

    /// What was done to the world, and when, since [`World::record_deeds`].
    #[must_use]
    pub fn deeds(&self) -> &[(Time, Deed)] {
        &self.deeds
    }

    /// Remembers a deed, if deeds are remembered.
    pub(crate) fn record_deed(&mut self, deed: impl FnOnce() -> Deed) {
        if self.is_recording {
            self.deeds.push((self.now, deed()));
        }
    }

    /// Crashes all of `victims` at once at the next such moment of `watched`: whoever spoke too early is caught out. Each starts
    /// again that much later.
    pub fn crash_at(&mut self, watched: NodeId, moment: Moment, victims: Vec<(NodeId, Duration)>) {
        self.traps.insert(watched, (moment, victims));
    }

    /// Takes back every [`World::crash_at`] that has not happened, and every restart that was to follow one.
    pub fn forget_traps(&mut self) {
        self.traps.clear();
        self.traps_forgotten += 1;
    }

    /// A node is at such a moment.
    pub(super) fn moment(&mut self, id: NodeId, moment: Moment) {
        if let Some(victims) = self.take_trap(id, moment) {
            self.power_failure(victims, self.traps_forgotten);
        }
    }

    /// A node is at such a moment for so long: the crash comes at some time within.
    pub(super) fn moment_within(&mut self, id: NodeId, moment: Moment, duration: Duration) {
        if let Some(victims) = self.take_trap(id, moment) {
            let delay = self.crash_random.duration(Duration::ZERO, duration);
            self.schedule(self.now + delay, WorldEvent::PowerFailure { victims, traps: self.traps_forgotten });
        }
    }

    fn take_trap(&mut self, id: NodeId, moment: Moment) -> Option<Vec<(NodeId, Duration)>> {
        if self.traps.get(&id).is_none_or(|(wanted, _)| *wanted != moment) {
            return None;
        }
        self.mark(Mark::CrashAtMoment);
        self.traps.remove(&id).map(|(_, victims)| victims)
    }
}
