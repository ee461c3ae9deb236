//! etcd's errors. Clients match on text and code, so both are exact.

use quorate_keyspace::KeyspaceError;
use thiserror::Error;
use tonic::{Code, Status};

/// Why a request was not answered. The display text is what clients get.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The keyspace's refusal; nothing was changed.
    #[error("etcdserver: {0}")]
    Refused(#[from] KeyspaceError),
    /// The client's version metadata is not text.
    #[error("etcdserver: invalid client api version")]
    InvalidClientApiVersion,
    /// The encoded request is longer than allowed.
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    /// Overload: nothing was done, try again later.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    /// A session's request came to the log before one that is to happen before it. Nothing was done, try again.
    #[error("etcdserver: before its turn: an earlier request of this session is not done; repeat it")]
    BeforeItsTurn,
    /// No such member.
    #[error("etcdserver: member not found")]
    MemberNotFound,
    /// The member id is taken.
    #[error("etcdserver: member ID already exist")]
    MemberExists,
    /// Another member has that peer URL.
    #[error("etcdserver: Peer URLs already exists")]
    PeerUrlExists,
    /// A member URL does not parse.
    #[error("etcdserver: given member URLs are invalid")]
    MemberUrlsInvalid,
    /// The change would leave too few started members for a quorum.
    #[error("etcdserver: re-configuration failed due to not enough started members")]
    NotEnoughStartedMembers,
    /// A voter cannot be promoted.
    #[error("etcdserver: can only promote a learner member")]
    MemberNotLearner,
    /// The learner is too far behind to be promoted.
    #[error("etcdserver: can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
    /// There are as many learners as allowed.
    #[error("etcdserver: too many learner members in cluster")]
    TooManyLearners,
    /// Not all members are connected, so the membership stays as it is.
    #[error("etcdserver: unhealthy cluster")]
    UnhealthyCluster,
    /// The request was meant for another cluster.
    #[error("etcdserver: cluster ID mismatch")]
    ClusterIdMismatch,
    /// Only the leader does this.
    #[error("etcdserver: not leader")]
    NotLeader,
    /// The member to lead next is not a voter.
    #[error("etcdserver: bad leader transferee")]
    BadLeaderTransferee,
    /// A learner does not serve this.
    #[error("etcdserver: rpc not supported for learner")]
    NotSupportedForLearner,
    /// This member votes and stores no data, so it serves nobody. Nothing was done.
    #[error("etcdserver: this member is a witness: it votes and stores no data; ask another member")]
    Witness,
    /// The cluster's features do not include this.
    #[error("etcdserver: not capable")]
    NotCapable,
    /// Passwords and tokens are of no use: auth is off.
    #[error("etcdserver: authentication is not enabled")]
    AuthNotEnabled,
    /// There is no leader. Nothing was done.
    #[error("etcdserver: no leader")]
    NoLeader,
    /// The leader changed underway; a write's outcome is unknown.
    #[error("etcdserver: leader changed")]
    LeaderChanged,
    /// Not done in time; a write's outcome is unknown.
    #[error("etcdserver: request timed out")]
    TimedOut,
    /// As `TimedOut`, and the leader was lost meanwhile.
    #[error("etcdserver: request timed out, possibly due to previous leader failure")]
    TimedOutLeaderFailure,
    /// As `TimedOut`, and a connection to other members was lost meanwhile.
    #[error("etcdserver: request timed out, possibly due to connection lost")]
    TimedOutConnectionLost,
    /// The member that was to lead did not take over. etcd maps this text to no code of its own.
    #[error("etcdserver: request timed out, leader transfer took too long")]
    TimedOutLeaderTransfer,
    /// The read was agreed on, but this member was too slow to apply so far.
    #[error("etcdserver: request timed out, waiting for the applied index took too long")]
    TimedOutApplying,
    /// The server is going down.
    #[error("etcdserver: server stopped")]
    ServerStopped,
    /// A field holds what no version of the API defines.
    #[error("etcdserver: {0}")]
    Malformed(String),
    /// The client went away or gave up.
    #[error("etcdserver: request canceled")]
    Canceled,
    /// Something known but not there yet in this version; the text names it, as in "KV.Txn".
    #[error("etcdserver: {0} is not implemented in this version of quorate")]
    Unsupported(String),
    /// Anything else, in words for people.
    #[error("etcdserver: {0}")]
    Other(String),
}

impl BackendError {
    /// The gRPC code that etcd answers with this text.
    pub fn code(&self) -> Code {
        match self {
            Self::Refused(error) => code_of(error),
            Self::InvalidClientApiVersion | Self::RequestTooLarge | Self::MemberUrlsInvalid | Self::Malformed(_) => {
                Code::InvalidArgument
            }
            Self::TooManyRequests => Code::ResourceExhausted,
            Self::MemberNotFound => Code::NotFound,
            Self::BeforeItsTurn => Code::Aborted,
            Self::Canceled => Code::Cancelled,
            Self::MemberExists
            | Self::PeerUrlExists
            | Self::NotEnoughStartedMembers
            | Self::MemberNotLearner
            | Self::LearnerNotReady
            | Self::TooManyLearners
            | Self::ClusterIdMismatch
            | Self::NotLeader
            | Self::BadLeaderTransferee
            | Self::NotSupportedForLearner
            | Self::NotCapable
            | Self::AuthNotEnabled => Code::FailedPrecondition,
            Self::NoLeader
            | Self::LeaderChanged
            | Self::TimedOut
            | Self::TimedOutLeaderFailure
            | Self::TimedOutConnectionLost
            | Self::TimedOutApplying
            | Self::ServerStopped
            | Self::UnhealthyCluster
            | Self::Witness => Code::Unavailable,
            Self::Unsupported(_) => Code::Unimplemented,
            Self::TimedOutLeaderTransfer | Self::Other(_) => Code::Unknown,
        }
    }
}

/// The gRPC code of a keyspace's refusal, as in etcd's table.
fn code_of(error: &KeyspaceError) -> Code {
    match error {
        KeyspaceError::KeyNotProvided
        | KeyspaceError::KeyNotFound
        | KeyspaceError::ValueProvided
        | KeyspaceError::LeaseProvided
        | KeyspaceError::TooManyOperations
        | KeyspaceError::DuplicateKey
        | KeyspaceError::InvalidSortOption => Code::InvalidArgument,
        KeyspaceError::Compacted | KeyspaceError::FutureRevision | KeyspaceError::LeaseTtlTooLarge => Code::OutOfRange,
        KeyspaceError::NoSpace => Code::ResourceExhausted,
        KeyspaceError::LeaseNotFound => Code::NotFound,
        KeyspaceError::LeaseExists => Code::FailedPrecondition,
        KeyspaceError::Corrupt => Code::DataLoss,
        KeyspaceError::NotReadOnly | KeyspaceError::Malformed { .. } => Code::Internal,
    }
}

impl From<BackendError> for Status {
    fn from(error: BackendError) -> Self {
        Status::new(error.code(), error.to_string())
    }
}

/// The answer of a method that is known but not served yet.
pub(crate) fn not_yet(method: &str) -> Status {
    BackendError::Unsupported(method.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text and code as etcd's own table has them (rpctypes/error.go).
    #[test]
    fn text_and_code_are_those_of_etcd() {
        let table = [
            (KeyspaceError::KeyNotProvided.into(), 3, "key is not provided"),
            (KeyspaceError::KeyNotFound.into(), 3, "key not found"),
            (KeyspaceError::ValueProvided.into(), 3, "value is provided"),
            (KeyspaceError::LeaseProvided.into(), 3, "lease is provided"),
            (KeyspaceError::TooManyOperations.into(), 3, "too many operations in txn request"),
            (KeyspaceError::DuplicateKey.into(), 3, "duplicate key given in txn request"),
            (KeyspaceError::InvalidSortOption.into(), 3, "invalid sort option"),
            (BackendError::InvalidClientApiVersion, 3, "invalid client api version"),
            (BackendError::RequestTooLarge, 3, "request is too large"),
            (BackendError::MemberUrlsInvalid, 3, "given member URLs are invalid"),
            (KeyspaceError::Compacted.into(), 11, "mvcc: required revision has been compacted"),
            (KeyspaceError::FutureRevision.into(), 11, "mvcc: required revision is a future revision"),
            (KeyspaceError::LeaseTtlTooLarge.into(), 11, "too large lease TTL"),
            (KeyspaceError::NoSpace.into(), 8, "mvcc: database space exceeded"),
            (BackendError::TooManyRequests, 8, "too many requests"),
            (KeyspaceError::LeaseNotFound.into(), 5, "requested lease not found"),
            (BackendError::MemberNotFound, 5, "member not found"),
            (KeyspaceError::LeaseExists.into(), 9, "lease already exists"),
            (BackendError::MemberExists, 9, "member ID already exist"),
            (BackendError::PeerUrlExists, 9, "Peer URLs already exists"),
            (BackendError::NotEnoughStartedMembers, 9, "re-configuration failed due to not enough started members"),
            (BackendError::MemberNotLearner, 9, "can only promote a learner member"),
            (BackendError::LearnerNotReady, 9, "can only promote a learner member which is in sync with leader"),
            (BackendError::TooManyLearners, 9, "too many learner members in cluster"),
            (BackendError::ClusterIdMismatch, 9, "cluster ID mismatch"),
            (BackendError::NotLeader, 9, "not leader"),
            (BackendError::BadLeaderTransferee, 9, "bad leader transferee"),
            (BackendError::NotSupportedForLearner, 9, "rpc not supported for learner"),
            (BackendError::NotCapable, 9, "not capable"),
            (BackendError::AuthNotEnabled, 9, "authentication is not enabled"),
            (BackendError::NoLeader, 14, "no leader"),
            (BackendError::LeaderChanged, 14, "leader changed"),
            (BackendError::ServerStopped, 14, "server stopped"),
            (BackendError::TimedOut, 14, "request timed out"),
            (BackendError::TimedOutLeaderFailure, 14, "request timed out, possibly due to previous leader failure"),
            (BackendError::TimedOutConnectionLost, 14, "request timed out, possibly due to connection lost"),
            (BackendError::TimedOutApplying, 14, "request timed out, waiting for the applied index took too long"),
            (BackendError::UnhealthyCluster, 14, "unhealthy cluster"),
            (BackendError::TimedOutLeaderTransfer, 2, "request timed out, leader transfer took too long"),
            (KeyspaceError::Corrupt.into(), 15, "corrupt cluster"),
            (BackendError::Unsupported("KV.Txn".into()), 12, "KV.Txn is not implemented in this version of quorate"),
            (BackendError::Other("odd".into()), 2, "odd"),
        ];
        for (error, code, text) in table {
            let status = Status::from(error);
            assert_eq!((status.code() as i32, status.message()), (code, format!("etcdserver: {text}").as_str()));
        }
    }
}
