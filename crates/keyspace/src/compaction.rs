//! Compaction: a command sets the mark, slices of work drop what can no longer be read.
//!
//! Kept is what reads at the mark and later need, and what a watcher that starts at the mark is told: every change of
//! the mark's own revision and later ones, tombstones included, and of the earlier ones those that live at the mark.
//!
//! A change is condemned by a later one of the same key, so only changes since the last mark need to be looked at, in
//! ascending order; the cost of a compaction does not grow with what stays.

use crate::change::ChangeView;
use crate::error::KeyspaceError;
use crate::keyspace::Keyspace;
use crate::lease_request::LogPlace;
use crate::reply::Reply;
use crate::request::Request;

/// Changes looked at in one slice: a quarter of a millisecond, with keys and changes out of the processor's caches.
pub(crate) const SLICE_CHANGES: usize = 256;

/// How far dropping has come.
#[derive(Clone, Default)]
pub(crate) struct Tidying {
    /// Changes below were looked at.
    cursor: u64,
    /// Changes below belong to revisions before the mark.
    first_of_mark: u64,
    /// Changes below belong to revisions up to and with the mark.
    end: u64,
    /// What compactions up to this revision condemned is dropped.
    tidied_revision: i64,
}

impl Keyspace {
    pub(crate) fn compact(&mut self, revision: i64, place: LogPlace) -> Result<Reply, KeyspaceError> {
        if revision <= self.compact_revision {
            return Err(KeyspaceError::Compacted);
        }
        if revision > self.revision {
            return Err(KeyspaceError::FutureRevision);
        }
        self.compact_revision = revision;
        self.note(&Request::Compact { revision }, place);
        // Tombstones of the last mark's own revision were spared by it.
        let cursor = self.tidying.cursor.min(self.tidying.first_of_mark);
        self.tidying = self.tidying_from(cursor, self.tidying.tidied_revision);
        Ok(Reply::Compacted { revision: self.revision })
    }

    /// The work that the mark makes, if changes below `cursor` need not be looked at.
    pub(crate) fn tidying_from(&self, cursor: u64, tidied_revision: i64) -> Tidying {
        if self.compact_revision == 0 {
            return Tidying::default();
        }
        Tidying {
            cursor,
            first_of_mark: self.first_change_after(self.compact_revision - 1),
            end: self.first_change_after(self.compact_revision),
            tidied_revision,
        }
    }

    /// Whether everything that a compaction at `revision` condemned is dropped here.
    #[must_use]
    pub fn is_tidied(&self, revision: i64) -> bool {
        revision <= self.tidying.tidied_revision
    }

    /// As [`quorate_machine::StateMachine::tidy`], with a slice of this many changes to look at.
    pub fn tidy_slice(&mut self, changes: usize) -> bool {
        let mut forgotten = Vec::new();
        for _ in 0..changes {
            let Tidying { cursor, first_of_mark, end, .. } = self.tidying;
            let next = self.log.from(cursor).next().filter(|(number, _)| *number < end);
            let Some((number, item)) = next else {
                self.tidying.cursor = end;
                self.tidying.tidied_revision = self.compact_revision;
                return false;
            };
            let change = ChangeView::of(item).expect("only encoded changes are ever appended");
            // What this change superseded goes; if it is a tombstone from before the mark, so does it.
            let through_itself = change.put.is_none() && number < first_of_mark;
            let bound = if through_itself { number + 1 } else { number.min(first_of_mark) };
            self.index.forget_below(change.key, bound, &mut forgotten);
            for number in forgotten.drain(..) {
                self.log.drop_change(number);
            }
            self.tidying.cursor = number + 1;
        }
        true
    }

    /// The changes that are part of the replicated state: those that no compaction has condemned.
    pub(crate) fn needed_changes(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let is_tidied = self.is_tidied(self.compact_revision);
        let Tidying { first_of_mark, end, .. } = self.tidying;
        self.log.from(0).filter(move |(number, item)| {
            if is_tidied || *number >= first_of_mark {
                return true;
            }
            let key = ChangeView::of(item).expect("only encoded changes are ever appended").key;
            self.index.live_at(key, end) == Some(*number)
        })
    }

    /// Whether reads at `revision` are possible; 0 or less is now.
    pub(crate) fn check_readable(&self, revision: i64) -> Result<(), KeyspaceError> {
        match revision {
            ..=0 => Ok(()),
            _ if revision > self.revision => Err(KeyspaceError::FutureRevision),
            _ if revision < self.compact_revision => Err(KeyspaceError::Compacted),
            _ => Ok(()),
        }
    }
}
