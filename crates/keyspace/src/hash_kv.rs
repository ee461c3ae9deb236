//! The hash that operators compare members by.

use crate::change::ChangeView;
use crate::error::KeyspaceError;
use crate::keyspace::Keyspace;
use crate::reply::Reply;

impl Keyspace {
    /// CRC-32C over the changes that the compaction mark leaves, up to and with `revision`, in order. They are the same on
    /// all members, whatever is dropped already.
    pub(crate) fn hash_kv(&self, revision: i64) -> Result<Reply, KeyspaceError> {
        self.check_readable(revision)?;
        let hash_revision = if revision <= 0 { self.revision } else { revision };
        let mut hash = 0;
        for (_, item) in self.needed_changes() {
            let change = ChangeView::of(item).expect("only encoded changes are ever appended");
            if change.revision.main > hash_revision {
                break;
            }
            hash = crc32c::crc32c_append(hash, item);
        }
        Ok(Reply::HashKv { revision: self.revision, hash, compact_revision: self.compact_revision, hash_revision })
    }
}
