//! What is on disk and what is on its way there; what waits for it.
//!
//! Changes of the view and changes of the log are written in the order they happened in memory, so that any prefix of the
//! stream is a state this replica was in.

use crate::entry::Entries;
use crate::message::Message;
use crate::record::Record;
use crate::replica::{Stage, Viewstamped};
use crate::view::View;
use quorate_protocol::{Landmarks, Outbox, Pending};
use quorate_types::{NodeId, Slot, Ticket};

/// About how many places of the log to remember tickets for.
const LANDMARKS_MOST: usize = 64;

/// What will be true once a write completes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// This replica left every earlier view for this one, durably.
    View {
        /// The view it is changing to, or that is normal.
        view: View,
    },
    /// The log is durable up to here.
    Log {
        /// The last slot written.
        through: Slot,
    },
}

/// How far the disk is. `durable <= written <= log.last()`, but for entries that wait for `settle`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DiskMarks {
    /// The log was handed to the disk up to here.
    pub written: Slot,
    /// The log is durable up to here.
    pub durable: Slot,
    /// Claims of the writes under way.
    pub pending: Pending<Claim>,
    /// Which tickets hold which slots.
    pub landmarks: Landmarks,
}

impl DiskMarks {
    /// Everything up to `durable` is on disk and nothing is under way.
    #[must_use]
    pub fn at_rest(durable: Slot, landmarks: Landmarks) -> DiskMarks {
        DiskMarks { written: durable, durable, pending: Pending::new(), landmarks }
    }

    /// The slots from `from` on are overwritten. Whatever completes of them from now on proves nothing.
    pub fn overwrite(&mut self, from: Slot) {
        self.written = self.written.min(from.previous());
        self.durable = self.durable.min(from.previous());
        self.pending.revoke(|claim| matches!(claim, Claim::Log { through } if *through >= from));
    }

    /// The write to wait for until the log is durable up to `slot`, which was handed to the disk.
    #[must_use]
    pub fn ticket_for_log(&self, slot: Slot) -> Ticket {
        if slot <= self.durable {
            return Ticket::NONE;
        }
        let covers = |claim: &Claim| matches!(claim, Claim::Log { through } if *through >= slot);
        let earliest = self.pending.iter().find(|claim| covers(claim)).cloned();
        self.pending.ticket_of(|claim| Some(claim) == earliest.as_ref()).unwrap_or(Ticket::NONE)
    }

    /// The write that everything said in the present view must wait for.
    #[must_use]
    pub fn ticket_for_view(&self) -> Ticket {
        self.pending.ticket_of(|claim| matches!(claim, Claim::View { .. })).unwrap_or(Ticket::NONE)
    }
}

impl Viewstamped {
    /// Hands everything new in the log to the disk, in one write.
    pub(crate) fn write_log(&mut self, out: &mut Outbox<Viewstamped>) {
        let (first, through) = (self.disk.written.next(), self.log.last());
        if self.disk.written >= through {
            return;
        }
        let entries = self.log.between(self.disk.written, through);
        let ticket = out.persist(vec![Record::Append { first, entries }]);
        self.log_written(first, through, ticket);
    }

    /// This replica goes to another view, and says so to its disk.
    pub(crate) fn write_change(&mut self, view: View, out: &mut Outbox<Viewstamped>) {
        self.write_log(out);
        self.view = view;
        let ticket = out.persist(vec![Record::Changing { view }]);
        self.disk.pending.push(ticket, Claim::View { view });
    }

    /// The view is normal here from now on, with these entries from `first` on.
    pub(crate) fn write_entered(&mut self, view: View, first: Slot, entries: &Entries, out: &mut Outbox<Viewstamped>) {
        self.write_log(out);
        self.disk.overwrite(first);
        self.log.truncate(first);
        for entry in entries.iter() {
            self.log.push(entry.clone());
        }
        (self.view, self.last_normal) = (view, view);
        let ticket = out.persist(vec![Record::Entered { view, first, entries: entries.clone() }]);
        self.disk.pending.push(ticket, Claim::View { view });
        self.log_written(first, self.log.last(), ticket);
    }

    fn log_written(&mut self, first: Slot, through: Slot, ticket: Ticket) {
        if through >= first {
            self.disk.pending.push(ticket, Claim::Log { through });
        }
        self.disk.written = through;
        self.disk.landmarks.note(first, ticket);
        self.disk.landmarks.forget_before(self.log.first(), LANDMARKS_MOST);
    }

    /// A write completed.
    pub(crate) fn persisted(&mut self, ticket: Ticket, out: &mut Outbox<Viewstamped>) {
        for claim in self.disk.pending.settle(ticket) {
            match claim {
                Claim::Log { through } => self.disk.durable = self.disk.durable.max(through),
                Claim::View { view } if view == self.view => self.view_is_durable(out),
                Claim::View { .. } => {}
            }
        }
    }

    /// Says something of the present view.
    pub(crate) fn send(&self, to: NodeId, message: Message, out: &mut Outbox<Viewstamped>) {
        out.send_after(self.disk.ticket_for_view(), to, message);
    }
}

/// Whether this replica, just opened from what is durable, stands by what the message claims.
///
/// What was acknowledged in an earlier view needs no look at the log: it was durable when this replica left that view, and its
/// offer to the next view's primary had it.
pub(crate) fn vouches(replica: &Viewstamped, message: &Message) -> bool {
    let has = |view: View, last: Slot| {
        replica.last_normal > view || (replica.last_normal == view && replica.log.last() >= last)
    };
    match message {
        Message::PrepareOk { view, through, .. } => has(*view, *through),
        Message::StartViewChange { view, .. } => replica.view >= *view,
        Message::DoViewChange { view, last_normal, last, .. } => replica.view >= *view && has(*last_normal, *last),
        Message::StartView { view, first, entries, .. } => {
            has(*view, Slot(first.previous().0.saturating_add(entries.len() as u64)))
        }
        Message::Prepare { view, .. } => replica.last_normal >= *view,
        Message::EpochStarted { view } => replica.last_normal.epoch >= view.epoch,
        Message::GetState { .. }
        | Message::NewState { .. }
        | Message::StartEpoch { .. }
        | Message::ReadIndex { .. }
        | Message::ReadIndexResponse { .. } => true,
    }
}

/// Whether it acts for its view, as primary or backup.
pub(crate) fn is_normal(stage: &Stage) -> bool {
    matches!(stage, Stage::Primary(_) | Stage::Backup(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writing(through: &[u64]) -> DiskMarks {
        let mut disk = DiskMarks::at_rest(Slot::ZERO, Landmarks::new());
        for (write, slot) in through.iter().enumerate() {
            disk.pending.push(Ticket(write as u64 + 1), Claim::Log { through: Slot(*slot) });
            disk.written = Slot(*slot);
        }
        disk
    }

    #[test]
    fn an_answer_waits_for_the_earliest_write_that_covers_it() {
        let disk = writing(&[3, 6, 9]);
        assert_eq!(disk.ticket_for_log(Slot(4)), Ticket(2));
        assert_eq!(disk.ticket_for_log(Slot::ZERO), Ticket::NONE);
    }

    #[test]
    fn the_completion_of_an_overwritten_write_proves_nothing() {
        let mut disk = writing(&[3, 6]);
        disk.overwrite(Slot(5));
        assert_eq!(disk.pending.settle(Ticket(2)), [Claim::Log { through: Slot(3) }]);
        assert_eq!((disk.written, disk.durable), (Slot(4), Slot::ZERO));
    }
}
