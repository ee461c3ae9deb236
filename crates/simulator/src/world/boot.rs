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
use quorate_node::{Boot, BootError, Lane, Node, NodeOutput};
use quorate_protocol::{LinkState, Replica, Start};
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

    /// Ends a node's process and nothing else: what it wrote is in the machine's cache, flushed or not. Does nothing to one that
    /// is down.
    pub fn kill(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.node.is_some()) else { return };
        let has_unflushed = !host.journal.unsynced().is_empty() || !host.store.unsynced().is_empty();
        host.trouble.starts_from_cache = has_unflushed;
        self.end_process(id);
        self.note(Some(id), What::Stopped { why: "its process is gone, its machine runs on".to_owned() });
        self.take_unproven_out(id);
        self.abandon_calls(id);
        self.spread_hints(id, LinkState::Refused);
    }

    pub(super) fn power_failure(&mut self, victims: Vec<(NodeId, Duration)>, traps: u64) {
        for (node, down_for) in victims {
            if traps == self.traps_forgotten && self.is_running(node) {
                self.crash(node);
                self.schedule(self.now + down_for, WorldEvent::Restart { node, traps: Some(traps) });
            }
        }
    }

    /// Starts a crashed node from what its disks hold. Does nothing to one that runs, or that is out of service.
    ///
    /// A node that refuses to start although nobody damaged what it had synced, nor filled its disks, has broken a promise. One
    /// whose disks were damaged may refuse, and is out of service from then on.
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
        if host.trouble.out_of_service.is_some() {
            return;
        }
        if let Some((lane, operations)) = crash_after {
            host.disk_mut(lane).faults_mut().fail_after = Some((operations, DiskErrorKind::Medium));
        }
        if host.has_torn_tail(&self.config.node.journal) {
            self.marks.hit(Mark::TornTailRepaired);
        }
        let new_disk = DiskId(self.crash_random.bits());
        let failures_due = host.failures_due();
        let boot = host.boot(self.config.cluster, new_disk);
        let booted = Node::boot(boot, self.config.settings_of(id), &self.duty, &mut host.journal, &mut host.store);
        let failed = host.failures_due() < failures_due;
        if let Some((lane, _)) = crash_after {
            host.disk_mut(lane).faults_mut().fail_after = None;
        }
        match booted {
            Ok(_) if failed => {
                let detail = format!("{id} started although its disk failed an operation");
                self.report_broken("FailedWriteIsACrash", Some(id), detail);
            }
            Ok((node, outputs)) => self.live(id, node, outputs),
            Err(_) if failed => {
                self.lose_power(id, true);
                self.mark(Mark::CrashInRecovery);
            }
            Err(why) => self.start_refused(id, &why),
        }
    }

    /// A node that was opened begins its life.
    fn live(&mut self, id: NodeId, node: Node<R, S>, mut outputs: Vec<NodeOutput<R, S>>) {
        self.changes += 1;
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let status = node.status();
        host.life += 1;
        host.flushes += 1;
        host.trouble.life_begins();
        let incarnation_before = std::mem::replace(&mut host.incarnation, status.incarnation.0);
        host.first_flight = self.flights + 1;
        host.node = Some(node);
        if std::mem::take(&mut host.trouble.starts_from_cache) {
            self.marks.hit(Mark::StartFromCache);
        }
        if host.is_damaged() {
            self.marks.hit(Mark::StartedDamaged);
        }
        let applied = status.checkpointed;
        if applied > Slot::ZERO {
            self.marks.hit(Mark::StartFromCheckpoint);
        }
        self.note(Some(id), What::Started { incarnation: status.incarnation.0, applied });
        self.check_after_start(id, incarnation_before);
        self.introduce_itself(id);
        self.say_hello(id);
        if self.is_running(id) {
            self.check_who_leads(id, &outputs);
            self.carry_out(id, &mut outputs);
            self.check_after_settle(id);
            self.spread_hints(id, LinkState::Up);
        }
        let life = self.hosts.get(&id).map_or(0, |host| host.life);
        self.look_at_space(id, life);
    }

    /// It stops and does not lie, which is right if its disks were damaged, or have no room.
    fn start_refused(&mut self, id: NodeId, why: &BootError) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let is_damaged = host.is_damaged();
        let is_full = matches!(why, BootError::Disk { why, .. } if why.kind == DiskErrorKind::Full);
        self.note(Some(id), What::StartRefused { why: why.to_string() });
        if is_damaged {
            self.take_out_of_service(id, "its disks are damaged", Mark::StartRefused);
        } else if is_full {
            self.mark(Mark::DiskFull);
        } else {
            let detail = format!("{id} refuses to start from disks that nobody damaged: {why}");
            self.report_broken("StartsFromItsDisk", Some(id), detail);
        }
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
        self.end_process(id);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        host.trouble.starts_from_cache = false;
        let random = &mut self.crash_random;
        for disk in [&mut host.journal, &mut host.store] {
            disk.crash(&mut |bound| random.below(bound));
        }
        let unsynced_bytes = bytes(&journal) + bytes(&store);
        let unsynced_names = (journal.name_changes + store.name_changes) as u64;
        self.note(Some(id), What::Crashed { unsynced_bytes, unsynced_names, recovering });
        self.take_unproven_out(id);
    }

    /// What only a running process has is gone.
    fn end_process(&mut self, id: NodeId) {
        let now = self.now;
        self.changes += 1;
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if let Some(status) = host.node.as_ref().map(Node::status) {
            self.marks.hit_times(Mark::DuplicateSkipped, status.machine.skipped_commands);
            self.marks.hit_times(Mark::SnapshotInstalled, status.snapshots.installed);
            if host.start == Start::Join {
                self.marks.hit_times(Mark::SnapshotToJoiner, status.snapshots.installed);
            }
            self.marks.hit_times(Mark::SnapshotAbandoned, u64::from(status.snapshots.receiving.is_some()));
            host.checkpointed = host.checkpointed.max(status.checkpointed);
        }
        host.forget_write_faults();
        host.clock.thaw(now);
        host.lose_memory();
    }
}

impl<R: Replica, S: StateMachine> Host<R, S> {
    /// How many of its disks are about to fail an operation.
    fn failures_due(&mut self) -> usize {
        [Lane::Journal, Lane::Store]
            .into_iter()
            .filter(|lane| self.disk_mut(*lane).faults_mut().fail_after.is_some())
            .count()
    }

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
