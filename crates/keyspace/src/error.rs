//! Why a request or query is refused.

use quorate_wire::WireError;
use thiserror::Error;

/// A refusal. It changed nothing.
///
/// `Display` gives etcd's text without its `etcdserver: ` prefix, which clients match on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyspaceError {
    /// The key is empty.
    #[error("key is not provided")]
    KeyNotProvided,
    /// `ignore_value` or `ignore_lease` on a key that does not exist.
    #[error("key not found")]
    KeyNotFound,
    /// `ignore_value` together with a value.
    #[error("value is provided")]
    ValueProvided,
    /// `ignore_lease` together with a lease.
    #[error("lease is provided")]
    LeaseProvided,
    /// No such lease.
    #[error("requested lease not found")]
    LeaseNotFound,
    /// A revision that was dropped. Not answered before there is compaction.
    #[error("mvcc: required revision has been compacted")]
    Compacted,
    /// A revision that no write has reached.
    #[error("mvcc: required revision is a future revision")]
    FutureRevision,
    /// A sort order or target that etcd does not define.
    #[error("invalid sort option")]
    InvalidSortOption,
    /// The bytes are no command of this version. The text is Quorate's own; etcd has none.
    #[error("the command cannot be decoded: {why}")]
    Malformed {
        /// What the codec found.
        why: WireError,
    },
}
