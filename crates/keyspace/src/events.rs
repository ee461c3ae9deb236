//! Reading history as watchers do: whole revisions in order.

use crate::change::{Change, ChangeView};
use crate::error::KeyspaceError;
use crate::keyspace::Keyspace;
use crate::reply::KeyValue;
use quorate_wire::decode_exact;

/// Some consecutive revisions of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventBatch {
    /// The wanted changes of main revisions after the one asked for, up to and with `through`, in order. Always whole
    /// revisions.
    pub events: Vec<Change>,
    /// The cursor to go on with: everything up to and with this main revision was read.
    pub through: i64,
}

impl Keyspace {
    /// The changes of main revisions after `revision` whose key is wanted. Stops behind the revision with which
    /// `changes_max` changes or more were looked at, wanted or not; so the work is bounded, but for one revision of many
    /// changes. The answer is the same on every replica.
    ///
    /// A cursor costs one search of the log to take up; holes in the numbers cost nothing.
    ///
    /// # Errors
    /// [`KeyspaceError::Compacted`] if the next revision is below the compaction mark. The mark itself can be read.
    pub fn events_after(
        &self,
        revision: i64,
        changes_max: usize,
        wanted: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<EventBatch, KeyspaceError> {
        if revision >= self.revision {
            return Ok(EventBatch { events: Vec::new(), through: revision });
        }
        if revision.saturating_add(1) < self.compact_revision {
            return Err(KeyspaceError::Compacted);
        }
        let mut events = Vec::new();
        let mut through = revision;
        for (seen, (number, item)) in self.log.from(self.first_change_after(revision)).enumerate() {
            let change = ChangeView::of(item).expect("only encoded changes are ever appended");
            if change.revision.main != through && seen >= changes_max.max(1) {
                return Ok(EventBatch { events, through });
            }
            through = change.revision.main;
            if wanted(change.key) {
                let item = self.log.item(number);
                let event = item.and_then(|item| decode_exact::<Change>(item).ok());
                events.push(event.expect("the log has just shown this change"));
            }
        }
        Ok(EventBatch { events, through: self.revision })
    }

    /// The pair that a change replaced: its key's at the revision before. Nothing if the key did not live then, or if that
    /// revision is below the compaction mark.
    #[must_use]
    pub fn pair_before(&self, change: &Change) -> Option<KeyValue> {
        let before = change.revision.main - 1;
        if before < self.compact_revision {
            return None;
        }
        self.index.live_at(&change.key, self.first_change_after(before)).map(|number| self.pair(number))
    }
}
