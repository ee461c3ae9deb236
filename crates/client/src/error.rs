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
    /// Nobody answered within the patience of [`crate::Settings`], or everybody refuses by now; and the request may have been applied,
    /// or be applied later; once, at most. The next request of the session that is applied rules out "later".
    #[error("{} ({last}); it may or may not have taken effect, once at most", words_of_doubt(*.waiting_may_help))]
    InDoubt {
        /// What the last member that was asked said.
        last: String,
        /// The patience ended. If not, every member refuses, for good, what an earlier try may have brought about.
        waiting_may_help: bool,
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
    /// No server that was named knows sessions: they are etcd, or an older Quorate. Nothing was asked of them.
    #[error("no server that was asked has sessions for exactly-once writes: {message}")]
    NoSessions {
        /// The server's words.
        message: String,
    },
    /// The server that opened a session knows no order: it is an older Quorate. Nothing more was asked of it.
    #[error("the server that was asked has no sessions in order: it is of an older version")]
    NoOrder,
    /// The server answered something else than it was asked: a defect.
    #[error("the server gave an answer to another question")]
    WrongAnswer,
}

fn words_of_doubt(waiting_may_help: bool) -> &'static str {
    if waiting_may_help {
        "no answer in time"
    } else {
        "no answer to an earlier try, and every server refuses another one"
    }
}

/// What a gRPC error of one try means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Another try may do better. This one may have got through.
    MayHaveArrived,
    /// Another try may do better. This one changed nothing.
    NotTaken,
    /// An earlier request of a session in order is to happen first. This try changed nothing.
    BeforeItsTurn,
    /// This member would never take it: it knows no sessions, or stores no data. Another one may. This try changed nothing.
    Elsewhere,
    /// Every try would end so.
    Final,
}

impl Failure {
    pub(crate) fn of(status: &Status) -> Failure {
        if was_never_sent(status) {
            return Failure::NotTaken;
        }
        match status.code() {
            Code::Unimplemented => Failure::Elsewhere,
            Code::Unavailable if status.message().contains("this member is a witness") => Failure::Elsewhere,
            Code::Aborted if status.message().contains("before its turn") => Failure::BeforeItsTurn,
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

/// Whether there was no connection that it could have been sent on.
fn was_never_sent(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The error of a request of which no try may have got through, by the last member's refusal for good.
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
        let early = "before its turn: an earlier request of this session is not done; repeat it";
        assert_eq!(status(Code::Aborted, early), Failure::BeforeItsTurn);
        let witness = "this member is a witness: it votes and stores no data; ask another member";
        assert_eq!(status(Code::Unavailable, witness), Failure::Elsewhere);
        assert_eq!(status(Code::Unimplemented, "unknown service"), Failure::Elsewhere);
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
        let told = |waiting_may_help| CallError::InDoubt { last: "no".to_owned(), waiting_may_help }.to_string();
        assert!(told(true).starts_with("no answer in time (no); it may or may not"));
        assert!(told(false).contains("every server refuses another one (no); it may or may not"));
        assert_eq!(CallError::SessionExpired { in_doubt: false }.to_string(), "session expired");
    }
}
