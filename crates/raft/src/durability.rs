//! What is on disk and what is on its way there; what waits for it.
//!
//! Order of the durable stream: changes of term and vote and changes of the log are written in the order they happened in
//! memory, so that any prefix of the stream is a state this replica was in.

use crate::election::Position;
use crate::entry::Entries;
use crate::log::Taken;
use crate::message::{AppendOutcome, Message};
use crate::record::Record;
use crate::replica::Raft;
use quorate_protocol::{Landmarks, Outbox, Pending};
use quorate_types::{NodeId, Slot, Ticket};

/// About how many places of the log to remember tickets for.
const LANDMARKS_MOST: usize = 64;

/// What will be true once a write completes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// Term and vote are these, durably.
    Vote {
        /// The term.
        term: u64,
        /// The vote.
        voted_for: Option<NodeId>,
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
    /// Term or vote changed and are not yet handed to the disk.
    pub unsaved_vote: bool,
    /// The log was handed to the disk up to here.
    pub written: Slot,
    /// The first slot that is void in what was handed to the disk.
    pub void_from: Option<Slot>,
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
        DiskMarks {
            unsaved_vote: false,
            written: durable,
            void_from: None,
            durable,
            pending: Pending::new(),
            landmarks,
        }
    }

    /// The slots from `from` on are overwritten. Whatever completes of them from now on proves nothing.
    pub fn truncate(&mut self, from: Slot) {
        if from <= self.written {
            self.void_from = Some(self.void_from.map_or(from, |earlier| earlier.min(from)));
            self.written = from.previous();
        }
        self.durable = self.durable.min(from.previous());
        self.pending.revoke(|claim| matches!(claim, Claim::Log { through } if *through >= from));
    }

    /// The log is void, and behind `base` a new one begins with the write of this ticket, which also makes everything up
    /// to `base` durable. Until then nothing counts but what is decided.
    pub fn reset(&mut self, decided: Slot, base: Slot, ticket: Ticket) {
        self.pending.revoke(|claim| matches!(claim, Claim::Log { .. }));
        self.pending.push(ticket, Claim::Log { through: base });
        self.void_from = None;
        self.written = base;
        self.durable = self.durable.min(decided);
        self.landmarks.note(base.next(), ticket);
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
}

impl Raft {
    /// Term or vote change to these. What happened to the log before is written before.
    pub(crate) fn set_vote(&mut self, term: u64, voted_for: Option<NodeId>, out: &mut Outbox<Raft>) {
        self.write_log(out);
        self.term = term;
        self.voted_for = voted_for;
        self.disk.unsaved_vote = true;
    }

    /// Hands term and vote to the disk if they changed, and names the write that everything said in this term must wait
    /// for.
    pub(crate) fn save_vote(&mut self, out: &mut Outbox<Raft>) -> Ticket {
        let (term, voted_for) = (self.term, self.voted_for);
        if self.disk.unsaved_vote {
            self.disk.unsaved_vote = false;
            let ticket = out.persist(vec![Record::TermVote { term, voted_for }]);
            self.disk.pending.push(ticket, Claim::Vote { term, voted_for });
            return ticket;
        }
        self.disk.pending.ticket_of(|claim| matches!(claim, Claim::Vote { .. })).unwrap_or(Ticket::NONE)
    }

    /// Hands everything new in the log to the disk, in one write; returns what was taken from the log for it, for peers
    /// that want the same.
    pub(crate) fn write_log(&mut self, out: &mut Outbox<Raft>) -> Option<Taken> {
        let received = self.following.received.take();
        if self.disk.void_from.is_none() && self.disk.written == self.log.last() {
            return None;
        }
        self.save_vote(out);
        let mut records = Vec::with_capacity(2);
        if let Some(from) = self.disk.void_from.take() {
            records.push(Record::Truncate { from });
        }
        let first = self.disk.written.next();
        let through = self.log.last();
        let count = through.0 - first.previous().0;
        let as_received = |(at, entries): &(Slot, Entries)| *at == first && entries.len() as u64 == count;
        let (shared, taken) = match received.filter(as_received) {
            Some((_, entries)) => (entries, None),
            None => {
                let taken = self.log.take_from(first, usize::MAX, u64::MAX);
                (taken.entries.clone(), Some(taken))
            }
        };
        if count > 0 {
            records.push(Record::Append { first, entries: shared });
        }
        let ticket = out.persist(records);
        self.disk.written = through;
        self.disk.pending.push(ticket, Claim::Log { through });
        self.disk.landmarks.note(first, ticket);
        self.disk.landmarks.forget_before(self.log.first(), LANDMARKS_MOST);
        taken
    }

    /// A write completed.
    pub(crate) fn persisted(&mut self, ticket: Ticket, out: &mut Outbox<Raft>) {
        let claims = self.disk.pending.settle(ticket);
        if let (Position::Leader(leadership), false) = (&mut self.position, claims.is_empty()) {
            leadership.disk.moved = true;
            leadership.recount = true;
        }
        for claim in claims {
            match claim {
                Claim::Log { through } => self.disk.durable = self.disk.durable.max(through),
                Claim::Vote { term, voted_for } => self.own_vote_is_durable(term, voted_for, out),
            }
        }
    }

    /// Sends a message of the present term.
    pub(crate) fn send(&mut self, to: NodeId, message: Message, out: &mut Outbox<Raft>) {
        let after = self.save_vote(out);
        out.send_after(after, to, message);
    }
}

/// Whether this replica, just opened from what is durable, stands by what the message claims.
///
/// An acceptance of an earlier term needs no look at the log: it was durable once and no vote of this node in a later term
/// came before it, which is all that the leader of that term counts on; a later leader may have overwritten it since.
pub(crate) fn vouches(raft: &Raft, to: NodeId, message: &Message) -> bool {
    let voted = |term: u64, whom: NodeId| raft.term > term || (raft.term == term && raft.voted_for == Some(whom));
    match message {
        Message::PreVote { term, .. } => raft.term.checked_add(1).is_none_or(|next| next >= *term),
        Message::VoteResponse { granted: true, pre: true, .. } => true,
        Message::RequestVote { term, .. } | Message::TimeoutNow { term, .. } => voted(*term, raft.me),
        Message::VoteResponse { granted: true, pre: false, term } => voted(*term, to),
        Message::Append(append) => voted(append.term, raft.me),
        Message::AppendResponse { term, outcome: AppendOutcome::Accepted { matched, .. } } => {
            raft.term > *term || (raft.term == *term && raft.log.last() >= *matched)
        }
        Message::VoteResponse { granted: false, term, .. }
        | Message::AppendResponse { term, .. }
        | Message::ReadIndex { term, .. }
        | Message::ReadIndexResponse { term, .. }
        | Message::Priority { term, .. } => raft.term >= *term,
    }
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
        assert_eq!(disk.ticket_for_log(Slot(3)), Ticket(1));
        assert_eq!(disk.ticket_for_log(Slot::ZERO), Ticket::NONE);
    }

    #[test]
    fn the_completion_of_a_truncated_write_proves_nothing() {
        let mut disk = writing(&[3, 6]);
        disk.truncate(Slot(5));
        assert_eq!(disk.pending.settle(Ticket(2)), [Claim::Log { through: Slot(3) }]);
        assert_eq!((disk.written, disk.void_from), (Slot(4), Some(Slot(5))));
        disk.truncate(Slot(2));
        assert_eq!((disk.written, disk.void_from), (Slot(1), Some(Slot(2))));
    }
}
