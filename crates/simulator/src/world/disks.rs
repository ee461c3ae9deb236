//! Writes under way: what is handed to a disk when, and when it is durable.

use super::World;
use super::event::WorldEvent;
use super::host::{Host, Waiting, Write, lane_name};
use crate::act::Moment;
use crate::latency::Latency;
use crate::marks::Mark;
use quorate_disk::{Disk, DiskError, DiskErrorKind, Operation};
use quorate_machine::StateMachine;
use quorate_narrator::What;
use quorate_node::{Lane, NodeInput};
use quorate_protocol::Replica;
use quorate_types::NodeId;
use std::time::Duration;

impl<R: Replica, S: StateMachine> World<R, S> {
    /// Begins a write. Its operations up to the first flush reach the disk now, unflushed; the flush happens when it ends.
    pub(super) fn start_write(&mut self, id: NodeId, lane: Lane, write: u64, operations: Vec<Operation>) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if operations.iter().any(|operation| matches!(operation, Operation::Unlink { .. })) && lane == Lane::Journal {
            self.marks.hit(Mark::Compaction);
        }
        if host.write_mut(lane).is_some() {
            let detail = format!("write {write} begins in the {} while another is under way", lane_name(lane));
            self.report_broken("OneWritePerLane", Some(id), detail);
            return;
        }
        *host.write_mut(lane) = Some(Write { id: write, operations, next: 0 });
        host.journal_busy |= lane == Lane::Journal;
        self.advance_write(id, lane);
    }

    /// A flush, or the end of the last operations, is due.
    pub(super) fn disk_step(&mut self, id: NodeId, life: u64, lane: Lane) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if host.life != life {
            return;
        }
        if host.disk_held {
            host.held_lanes.push(lane);
            return;
        }
        match host.perform_flush(lane) {
            Err(error) => return self.disk_failed(id, &error),
            Ok(true) => self.traffic.note_flush(lane),
            Ok(false) => {}
        }
        self.moment(id, Moment::Flushed(lane));
        if self.is_running(id) {
            self.advance_write(id, lane);
        }
    }

    /// Stops a disk: writes under way do not complete until it is released.
    pub fn hold_disk(&mut self, id: NodeId) {
        if let Some(host) = self.hosts.get_mut(&id).filter(|host| !host.disk_held) {
            host.disk_held = true;
            self.note(Some(id), What::DiskHeld);
        }
    }

    /// Lets a held disk complete what waits.
    pub fn release_disk(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.disk_held) else { return };
        host.disk_held = false;
        let life = host.life;
        let lanes = std::mem::take(&mut host.held_lanes);
        self.note(Some(id), What::DiskReleased);
        for lane in lanes {
            self.schedule(self.now, WorldEvent::DiskStep { node: id, life, lane });
        }
    }

    /// Hands operations to the disk up to the next flush, and schedules that; or reports the write as done.
    fn advance_write(&mut self, id: NodeId, lane: Lane) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        match host.perform_until_flush(lane) {
            Err(error) => self.disk_failed(id, &error),
            Ok(Some(took)) => {
                let event = WorldEvent::DiskStep { node: id, life: host.life, lane };
                // Before the flush is scheduled: at the same moment, the crash comes first.
                self.moment_within(id, Moment::Write(lane), took);
                self.schedule(self.now + took, event);
            }
            Ok(None) => {
                let Some(write) = host.write_mut(lane).take() else { return };
                if lane == Lane::Journal && host.note_journal_write(write.operations) {
                    self.marks.hit(Mark::WriteFaulted);
                }
                host.inbox.push_back(Waiting::Input(NodeInput::DiskDone { lane, write: write.id }));
                self.note(Some(id), What::WriteDurable { lane: lane_name(lane), write: write.id });
                self.schedule_work(id);
            }
        }
    }

    /// A failed operation ends the process: the driver's duty. The machine keeps its power, and its cache.
    fn disk_failed(&mut self, id: NodeId, error: &DiskError) {
        self.note(Some(id), What::DiskFailed { why: error.to_string() });
        self.mark(if error.kind == DiskErrorKind::Full { Mark::DiskFull } else { Mark::DiskFailed });
        self.kill(id);
    }
}

impl<R: Replica, S: StateMachine> Host<R, S> {
    /// Performs operations up to the next flush. Answers how long they and the flush take; `None` when nothing is left.
    fn perform_until_flush(&mut self, lane: Lane) -> Result<Option<Duration>, DiskError> {
        let Some(mut write) = self.write_mut(lane).take() else { return Ok(None) };
        let mut took = Duration::ZERO;
        let mut performed = false;
        while let Some(operation) = write.operations.get(write.next) {
            if is_flush(operation) {
                took += self.draw(self.disk.flush);
                performed = true;
                break;
            }
            self.disk_mut(lane).perform(operation)?;
            took += self.draw(self.disk.write);
            performed = true;
            write.next += 1;
        }
        *self.write_mut(lane) = Some(write);
        Ok(performed.then_some(took))
    }

    /// Performs the flush that was waited for, if it was one: says whether it was.
    fn perform_flush(&mut self, lane: Lane) -> Result<bool, DiskError> {
        let Some(mut write) = self.write_mut(lane).take() else { return Ok(false) };
        let flush = write.operations.get(write.next);
        let is_flush = flush.is_some();
        if let Some(operation) = flush {
            self.disk_mut(lane).perform(operation)?;
            self.flushes += 1;
            write.next += 1;
        }
        *self.write_mut(lane) = Some(write);
        Ok(is_flush)
    }

    fn draw(&mut self, latency: Latency) -> Duration {
        latency.draw(&mut self.disk_random)
    }
}

fn is_flush(operation: &Operation) -> bool {
    matches!(operation, Operation::Flush { .. } | Operation::FlushDirectory)
}
