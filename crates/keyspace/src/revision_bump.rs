//! Moving the revision of a restored state forward, past what the lost cluster may have told its clients.

use crate::change::{Change, ChangeKind};
use crate::image::REVISION_MAX;
use crate::keyspace::Keyspace;
use crate::lease_request::LogPlace;
use crate::request::Request;
use crate::revision::Revision;
use bytes::Bytes;

impl Keyspace {
    /// Raises the revision by so much and compacts at it, so that whoever knew a revision of the state that was lost, or of
    /// a later one, is told that it is compacted instead of something that is not what it saw. Answers the new revision;
    /// nothing, without any change, if `by` is 0 or the revision would be out of range.
    ///
    /// A history has a change at the revision that it is compacted at. This one is the removal of a key that does not live:
    /// no read shows it, and only a watcher that starts at this very revision is told.
    pub fn bump_revision(&mut self, by: u64) -> Option<i64> {
        let by = i64::try_from(by).ok().filter(|by| *by > 0)?;
        let main = self.revision.checked_add(by).filter(|main| *main <= REVISION_MAX)?;
        let key = self.key_that_does_not_live();
        self.record(&Change { revision: Revision { main, sub: 0 }, key, kind: ChangeKind::Delete }.view());
        self.revision = main;
        self.compact_revision = main;
        self.note(&Request::Compact { revision: main }, LogPlace::default());
        self.tidying = self.tidying_from(0, 0);
        Some(main)
    }

    /// Zero bytes, so that it is before all others, and as many as it takes.
    fn key_that_does_not_live(&self) -> Bytes {
        let mut key = vec![0];
        while self.index.live_at(&key, self.log.len()).is_some() {
            key.push(0);
        }
        Bytes::from(key)
    }
}
