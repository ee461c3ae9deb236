//! The node's side of journal and store: writes begin, complete, and are told on.

use crate::boot::{StateItems, encode_store_meta};
use crate::interface::{Lane, NodeOutput, NodeTimer, StopReason};
use crate::node::Node;
use bytes::Bytes;
use quorate_machine::StateMachine;
use quorate_protocol::{Env, Input, Replica};
use quorate_store::{Completed, Outline};
use quorate_types::{Ticket, Time};
use quorate_wire::encode_to_bytes;

/// When the journal's housekeeping is due: after a while in which no write began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JournalIdle {
    /// The timer runs.
    armed: bool,
    /// A write began since the timer was set, or is to be counted as if.
    disturbed: bool,
    /// The timer fired after a quiet time.
    due: bool,
}

impl JournalIdle {
    /// Opening the journal was a write.
    pub(crate) fn after_opening() -> JournalIdle {
        JournalIdle { armed: false, disturbed: true, due: false }
    }
}

impl<R: Replica, S: StateMachine> Node<R, S> {
    pub(crate) fn persist(&mut self, ticket: Ticket, records: &[R::Record]) {
        let records = encode_records::<R>(records);
        if let Err(error) = self.journal.append(ticket, records) {
            self.halt(StopReason::Inconsistent(format!("the journal cannot take the replica's records: {error}")));
        }
    }

    pub(crate) fn compact(&mut self, ticket: Ticket, baseline: &[R::Record], drop_before: Ticket) {
        let baseline = encode_records::<R>(baseline);
        if let Err(error) = self.journal.compact(ticket, baseline, drop_before) {
            self.halt(StopReason::Inconsistent(format!("the journal cannot take the replica's compaction: {error}")));
        }
    }

    /// A journal write is durable: held messages become free, and the replica hears of it.
    pub(crate) fn journal_done(&mut self, env: &mut dyn Env, write: u64) {
        let durable = match self.journal.completed(write) {
            Ok(durable) => durable,
            Err(error) => return self.halt(StopReason::Inconsistent(format!("journal: {error}"))),
        };
        if durable > self.gate.durable() {
            self.released.extend(self.gate.advance(durable));
            self.tell_replica(env, Input::Persisted(durable));
        }
    }

    /// A slice of what the store writes is durable; with the last one, the whole counts.
    pub(crate) fn store_done(&mut self, env: &mut dyn Env, write: u64) {
        if self.store_write != Some(write) {
            let under_way = self.store_write;
            return self.halt(StopReason::Inconsistent(format!(
                "store: write {write} was reported complete while the write under way is {under_way:?}"
            )));
        }
        self.store_write = None;
        match self.store.completed(write) {
            Some(Completed::Checkpoint(applied)) => {
                self.checkpointed = applied;
                self.tidy.checkpoint_ended();
            }
            Some(Completed::Incoming(_)) => self.snapshot_written(env),
            Some(Completed::Installed(_)) => self.snapshot_installed(),
            None => {}
        }
    }

    /// Everything that was queued while the last write was under way leaves as one.
    pub(crate) fn begin_journal_write(&mut self, out: &mut Vec<NodeOutput<R, S>>) {
        let mut write = self.journal.next_write();
        if write.is_some() {
            self.idle.disturbed = true;
        } else if self.idle.due {
            write = self.journal.idle_write();
        }
        let write = write.or_else(|| self.journal.spare_write());
        self.idle.due = false;
        if let Some(write) = write {
            out.push(NodeOutput::Disk { lane: Lane::Journal, write: write.id, operations: write.operations });
        }
        if self.idle.disturbed && !self.idle.armed {
            self.idle.armed = true;
            self.idle.disturbed = false;
            let (at_least, at_most) = (self.journal_idle, self.journal_idle);
            out.push(NodeOutput::SetTimer { timer: NodeTimer::JournalIdle, at_least, at_most });
        }
    }

    /// The time for housekeeping has come if nothing was written meanwhile; else it starts over.
    pub(crate) fn journal_idle_over(&mut self) {
        let quiet = !self.idle.disturbed && self.journal.durable() == self.journal.appended();
        self.idle = JournalIdle { armed: false, disturbed: !quiet, due: quiet };
    }

    /// Begins a checkpoint if one is due, and writes the next slice of the one under way.
    pub(crate) fn begin_store_write(&mut self, out: &mut Vec<NodeOutput<R, S>>) {
        if let Some(delay) = self.pace.arm() {
            out.push(NodeOutput::SetTimer { timer: NodeTimer::Checkpoint, at_least: delay, at_most: delay });
        }
        let has_to_wait = self.begin_snapshot_write() || self.store.is_writing() || self.tidy.has_precedence();
        if !has_to_wait && (self.pace.is_due(&self.machine) || self.store.has_garbage()) {
            self.pace.begin(&self.machine);
            let meta = encode_store_meta(&self.setup, self.anchor_of_state().as_ref(), &self.machine.meta());
            let state = self.machine.state();
            let (applied, item_count) = (self.machine.applied(), state.item_count());
            if !self.store.begin(Outline { applied, meta, head: state.head(), item_count }) {
                let why = "the store takes no checkpoint of this state: it holds a later slot, or more items";
                return self.halt(StopReason::Inconsistent(why.to_owned()));
            }
        }
        if self.store_write.is_some() {
            return;
        }
        let state = match self.snapshots.stage() {
            Some(stage) if !self.store.is_checkpointing() => stage.staged.state(),
            _ => self.machine.state(),
        };
        if let Some(write) = self.store.next_write(&StateItems(state)) {
            self.store_write = Some(write.id);
            out.push(NodeOutput::Disk { lane: Lane::Store, write: write.id, operations: write.operations });
        }
    }
}

impl<R: Replica, S: StateMachine> Node<R, S> {
    /// Drops a slice of what commands have condemned, if it is time and nothing is being written from the state. Before anything
    /// new is applied: whoever reads the history beside the node (watchers) has seen what is there by now, and must get the
    /// chance to read what one batch brings and condemns.
    pub(crate) fn tidy_a_slice(&mut self, now: Time) {
        if !self.may_tidy(now) || !self.tidy.take_turn() {
            return;
        }
        // Then what was dropped is looked at where it is stored, so that its space comes back too.
        let more_is_left = self.machine.tidy() || self.store.survey(&StateItems(self.machine.state()));
        self.tidy.dropped(more_is_left);
    }

    /// A next slice comes even if nothing else happens.
    pub(crate) fn arm_tidying(&mut self, now: Time, out: &mut Vec<NodeOutput<R, S>>) {
        if self.may_tidy(now)
            && let Some(delay) = self.tidy.arm()
        {
            out.push(NodeOutput::SetTimer { timer: NodeTimer::Tidy, at_least: delay, at_most: delay });
        }
    }

    fn may_tidy(&mut self, now: Time) -> bool {
        !self.store.is_checkpointing() && !self.snapshots.has_views() && !self.has_backups(now)
    }
}

fn encode_records<R: Replica>(records: &[R::Record]) -> Vec<Bytes> {
    records.iter().map(encode_to_bytes).collect()
}
