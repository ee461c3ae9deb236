//! What is asked without changing anything.

use crate::range_request::RangeRequest;
use crate::txn_request::TxnRequest;

/// A question that changes nothing. It is never written to the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// The pairs of a range. Answered with [`crate::Reply::Range`].
    Range(RangeRequest),
    /// A transaction whose branches only read ([`TxnRequest::is_read_only`]). Answered with [`crate::Reply::Txn`], or
    /// with [`crate::KeyspaceError::NotReadOnly`].
    Txn(TxnRequest),
    /// The store's current revision. Answered with [`crate::Reply::Revision`].
    Revision,
    /// All leases there are. Answered with [`crate::Reply::Leases`].
    Leases,
    /// What is attached to a lease. Answered with [`crate::Reply::LeaseKeys`], or
    /// [`crate::KeyspaceError::LeaseNotFound`]. How long it still has is the leader's to say: [`crate::LeaseErrand`].
    LeaseKeys {
        /// The lease.
        id: i64,
    },
    /// A hash of all that is readable from the compaction mark up to a revision. Answered with
    /// [`crate::Reply::HashKv`]; the cost is that of a pass over the whole history.
    HashKv {
        /// The main revision; 0 or less for now.
        revision: i64,
    },
    /// The alarms that are raised. Answered with [`crate::Reply::Alarms`].
    Alarms,
    /// Whether this replica has freed what the compaction at this revision condemned: what a physical compaction waits
    /// for. Answered with [`crate::Reply::Tidied`].
    Tidied {
        /// The compaction's revision.
        revision: i64,
    },
}
