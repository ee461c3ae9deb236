//! How a request in a session may end without an answer.

use thiserror::Error;
use tonic::{Code, Status};

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// Refused, in the server's words; it changed nothing and never will.
    #[error("{message}")]
    Refused {
        /// gRPC's code, as etcd's method gives it.
        code: Code,
        /// etcd's words.
        message: String,
    },
    /// Nobody answered within the patience of [`crate::Settings`], and the request may have been applied, or be applied later; once,
    /// at most. The next request of the session that is applied rules out "later".
    #[error("no answer in time ({last}); it may or may not have taken effect, once at most")]
    InDoubt {
        /// What the last member that was asked said.
        last: String,
    },
    /// Nobody took the request within the patience; it changed nothing and never will.
    #[error("nobody took the request in time: {last}")]
    NotTaken {
        /// What the last member that was asked said.
        last: String,
    },
    /// The session is over: it was closed, it made room for others, or the cluster was recovered or restored. Nothing more is
    /// applied for it. Open another.
    #[error("session expired{}", if *.in_doubt { "; an earlier try may have taken effect, once at most" } else { "" })]
    SessionExpired {
        /// An earlier copy of this request may have been applied while the session lived.
        in_doubt: bool,
    },
    /// The request was applied, once; its answer was too long to be kept for the repetition that this one was.
    #[error("applied once, but its answer is lost: it was too long to keep")]
    AnswerLost,
    /// The server knows no sessions: an etcd, or an older Quorate. Nothing was asked of it.
    #[error("this server has no sessions for exactly-once writes: {message}")]
    NoSessions {
        /// The server's words.
        message: String,
    },
    /// The server answered something else than it was asked: a defect.
    #[error("the server gave an answer to another question")]
    WrongAnswer,
}

/// What a gRPC error of one try means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Another try may do better. This one may have got through.
    MayHaveArrived,
    /// Another try may do better. This one changed nothing.
    NotTaken,
    /// Every try would end so.
    Final,
}

impl Failure {
    pub(crate) fn of(status: &Status) -> Failure {
        match status.code() {
            // Of our own making before the log, or etcd's words for "not now".
            Code::ResourceExhausted if status.message().contains("too many requests") => Failure::NotTaken,
            Code::Unavailable if status.message().ends_with("no leader") => Failure::NotTaken,
            Code::FailedPrecondition => Failure::NotTaken,
            Code::InvalidArgument
            | Code::OutOfRange
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
            | Code::ResourceExhausted
            | Code::DataLoss => Failure::Final,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable => Failure::MayHaveArrived,
        }
    }
}

/// The error of a request that ended with its first try, whose failure was final.
pub(crate) fn refused(status: &Status) -> CallError {
    let message = status.message().to_owned();
    match status.code() {
        Code::Unimplemented => CallError::NoSessions { message },
        code => CallError::Refused { code, message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_got_through_is_told_from_what_certainly_has_not() {
        let status = |code, text: &str| Failure::of(&Status::new(code, format!("etcdserver: {text}")));
        assert_eq!(status(Code::Unavailable, "request timed out"), Failure::MayHaveArrived);
        assert_eq!(status(Code::Unavailable, "server stopped"), Failure::MayHaveArrived);
        assert_eq!(status(Code::Unavailable, "no leader"), Failure::NotTaken);
        assert_eq!(status(Code::ResourceExhausted, "too many requests"), Failure::NotTaken);
        assert_eq!(status(Code::ResourceExhausted, "mvcc: database space exceeded"), Failure::Final);
        assert_eq!(status(Code::FailedPrecondition, "rpc not supported for learner"), Failure::NotTaken);
        assert_eq!(status(Code::InvalidArgument, "key is not provided"), Failure::Final);
    }

    #[test]
    fn a_server_without_sessions_is_told_apart_from_a_refusal() {
        let unknown = Status::unimplemented("unknown service quorate.v1.Session");
        assert!(matches!(refused(&unknown), CallError::NoSessions { .. }));
        assert!(matches!(refused(&Status::invalid_argument("no")), CallError::Refused { .. }));
    }

    #[test]
    fn doubt_is_told_in_words() {
        let told = CallError::SessionExpired { in_doubt: true }.to_string();
        assert_eq!(told, "session expired; an earlier try may have taken effect, once at most");
        assert_eq!(CallError::SessionExpired { in_doubt: false }.to_string(), "session expired");
    }
}
