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
    /// A lease id that is in use.
    #[error("lease already exists")]
    LeaseExists,
    /// A time to live over [`crate::LEASE_TTL_SECONDS_MAX`].
    #[error("too large lease TTL")]
    LeaseTtlTooLarge,
    /// A revision below the compaction mark; or, to compact, one that is not above it.
    #[error("mvcc: required revision has been compacted")]
    Compacted,
    /// A revision that no write has reached.
    #[error("mvcc: required revision is a future revision")]
    FutureRevision,
    /// A sort order or target that etcd does not define.
    #[error("invalid sort option")]
    InvalidSortOption,
    /// A transaction with more operations than are allowed.
    #[error("too many operations in txn request")]
    TooManyOperations,
    /// A transaction that would write a key twice.
    #[error("duplicate key given in txn request")]
    DuplicateKey,
    /// The alarm [`crate::AlarmKind::NoSpace`] is raised.
    #[error("mvcc: database space exceeded")]
    NoSpace,
    /// The alarm [`crate::AlarmKind::Corrupt`] is raised.
    #[error("corrupt cluster")]
    Corrupt,
    /// A transaction that could write was asked as a query. The text is Quorate's own: a defect of the asker.
    #[error("a transaction that may write was asked as a query")]
    NotReadOnly,
    /// The bytes are no command of this version. The text is Quorate's own; etcd has none.
    #[error("the command cannot be decoded: {why}")]
    Malformed {
        /// What the codec found.
        why: WireError,
    },
}
