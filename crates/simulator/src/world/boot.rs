//! Starts and crashes.

use super::World;
use super::event::WorldEvent;
use super::host::Host;
use crate::marks::Mark;
use quorate_disk::DiskErrorKind;
use quorate_disk::model::Unsynced;
use quorate_journal::{Expected, Journal, JournalConfig};
use quorate_machine::StateMachine;
use quorate_narrator::What;
use quorate_node::{Boot, Lane, Node};
use quorate_protocol::{LinkState, Replica};
use quorate_types::{ClusterId, DiskId, NodeId, Slot};
use std::time::Duration;

impl<R: Replica, S: StateMachine> World<R, S> {
    /// Crashes a node: its memory is gone, what it had not flushed may be, and clients lose their connections. Does nothing to
    /// one that is down.
    pub fn crash(&mut self, id: NodeId) {
        if self.is_running(id) {
            self.lose_power(id, false);
            self.abandon_calls(id);
            self.spread_hints(id, LinkState::Refused);
        }
    }

    /// Crashes all of `victims` at once at some moment while the next journal write of `watched` is under way: what it wrote is
    /// not flushed then, and whoever spoke too early is caught out. Each starts again that much later.
    pub fn crash_during_write(&mut self, watched: NodeId, victims: Vec<(NodeId, Duration)>) {
        self.traps.insert(watched, victims);
    }

    /// Takes back every [`World::crash_during_write`] that has not happened, and every restart that was to follow one.
    pub fn forget_traps(&mut self) {
        self.traps.clear();
        self.traps_forgotten += 1;
    }

    /// Springs the trap on a node whose journal write is under way for this long.
    pub(super) fn spring_trap(&mut self, id: NodeId, under_way: Duration) {
        if let Some(victims) = self.traps.remove(&id) {
            let delay = self.crash_random.duration(Duration::ZERO, under_way);
            self.schedule(self.now + delay, WorldEvent::PowerFailure { victims, traps: self.traps_forgotten });
        }
    }

    pub(super) fn power_failure(&mut self, victims: Vec<(NodeId, Duration)>, traps: u64) {
        for (node, down_for) in victims {
            if traps == self.traps_forgotten && self.is_running(node) {
                self.crash(node);
                self.schedule(self.now + down_for, WorldEvent::Restart { node, traps: Some(traps) });
            }
        }
    }

    /// Starts a crashed node from what its disks hold. Does nothing to one that runs.
    ///
    /// Nothing here damages what was synced, so a node that refuses to start has broken a promise.
    pub fn restart(&mut self, id: NodeId) {
        self.boot(id, None);
    }

    /// Starts a crashed node and lets it crash again when it has done so many operations on the disk of this lane. If its
    /// recovery needs no more than that, it simply runs. Says whether it runs.
    pub fn restart_crashing(&mut self, id: NodeId, lane: Lane, operations: u64) -> bool {
        self.boot(id, Some((lane, operations)));
        self.is_running(id)
    }

    /// Starts a crashed node after this long.
    pub fn restart_after(&mut self, id: NodeId, delay: Duration) {
        self.schedule(self.now + delay, WorldEvent::Restart { node: id, traps: None });
    }

    fn boot(&mut self, id: NodeId, crash_after: Option<(Lane, u64)>) {
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.node.is_none()) else { return };
        if let Some((lane, operations)) = crash_after {
            host.disk_mut(lane).faults_mut().fail_after = Some((operations, DiskErrorKind::Medium));
        }
        if host.has_torn_tail(&self.config.node.journal) {
            self.marks.hit(Mark::TornTailRepaired);
        }
        let boot = host.boot(self.config.cluster, DiskId(self.crash_random.bits()));
        let booted = Node::boot(boot, self.config.node.clone(), &mut host.journal, &mut host.store);
        let failed = crash_after.is_some_and(|(lane, _)| host.disk_mut(lane).faults_mut().fail_after.take().is_none());
        let (node, mut outputs) = match booted {
            Err(_) if failed => {
                self.lose_power(id, true);
                return self.mark(Mark::CrashInRecovery);
            }
            Err(why) => {
                let detail = format!("{id} refuses to start from disks that nobody damaged: {why}");
                self.note(Some(id), What::StartRefused { why: why.to_string() });
                return self.report_broken("StartsFromItsDisk", Some(id), detail);
            }
            Ok(_) if failed => {
                let detail = format!("{id} started although its disk failed an operation");
                return self.report_broken("FailedWriteIsACrash", Some(id), detail);
            }
            Ok(booted) => booted,
        };
        let status = node.status();
        host.life += 1;
        host.flushes += 1;
        let incarnation_before = std::mem::replace(&mut host.incarnation, status.incarnation.0);
        host.first_flight = self.flights + 1;
        host.node = Some(node);
        let applied = status.checkpointed;
        if applied > Slot::ZERO {
            self.marks.hit(Mark::StartFromCheckpoint);
        }
        self.note(Some(id), What::Started { incarnation: status.incarnation.0, applied });
        self.check_after_start(id, incarnation_before);
        self.carry_out(id, &mut outputs);
        self.check_after_settle(id);
        self.spread_hints(id, LinkState::Up);
    }

    /// What a crash does to one machine, running or still recovering.
    fn lose_power(&mut self, id: NodeId, recovering: bool) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let (journal, store) = (host.journal.unsynced(), host.store.unsynced());
        if host.journal_write.as_ref().is_some_and(|write| write.next > 0) {
            self.marks.hit(Mark::CrashMidWrite);
        }
        if !journal.is_empty() || !store.is_empty() {
            self.marks.hit(Mark::CrashWithUnsynced);
        }
        if let Some(status) = host.node.as_ref().map(Node::status) {
            self.marks.hit_times(Mark::DuplicateSkipped, status.machine.skipped_commands);
            host.checkpointed = host.checkpointed.max(status.checkpointed);
        }
        host.lose_memory();
        let random = &mut self.crash_random;
        for disk in [&mut host.journal, &mut host.store] {
            disk.crash(&mut |bound| random.below(bound));
        }
        let unsynced_bytes = bytes(&journal) + bytes(&store);
        let unsynced_names = (journal.name_changes + store.name_changes) as u64;
        self.note(Some(id), What::Crashed { unsynced_bytes, unsynced_names, recovering });
    }
}

impl<R: Replica, S: StateMachine> Host<R, S> {
    /// What this node is started with. `new_disk` counts only where no journal is found.
    pub(super) fn boot(&self, cluster: ClusterId, new_disk: DiskId) -> Boot {
        Boot { cluster, me: self.id, start: self.start.clone(), new_disk }
    }

    /// Whether opening the journal will find what a crash tore. Changes nothing.
    fn has_torn_tail(&self, config: &JournalConfig) -> bool {
        Journal::open(&self.journal, &Expected::default(), config.clone())
            .is_ok_and(|opened| opened.found.repaired.is_some())
    }
}

fn bytes(unsynced: &Unsynced) -> u64 {
    unsynced.bytes_by_file.values().sum()
}
