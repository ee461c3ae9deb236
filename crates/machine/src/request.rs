//! What clients ask, and why they may get no reply of the state machine.

use thiserror::Error;

/// The driver's name for a client request; comes back once, with the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientTag(pub u64);

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consistency {
    /// Reflects every write acknowledged anywhere before the read arrived.
    Linearizable,
    /// Whatever this node has applied.
    Local,
}

/// Why a client request has no reply of the state machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum RequestError {
    /// Too much is outstanding on this node or its leader. Definite: it had no effect.
    #[error("too many requests")]
    TooManyRequests,
    /// Larger than a command may be. Definite.
    #[error("request is too large")]
    TooLarge,
    /// Nobody leads and the wait is over. Definite: a read, or a write that was never handed to a log.
    #[error("no leader")]
    NoLeader,
    /// A read whose wait is over although somebody leads. Definite.
    #[error("request timed out")]
    TimedOut,
    /// This node has stopped and took nothing. Definite.
    #[error("this node has stopped")]
    Stopped,
    /// It may or may not take effect later.
    #[error("request timed out; its outcome is unknown")]
    Unknown,
    /// The protocol or this version cannot do it. Definite.
    #[error("not supported: {0}")]
    Unsupported(&'static str),
    /// This node votes and stores no data, so it serves nobody. Definite.
    #[error("this member is a witness: it votes and stores no data; ask another member")]
    Witness,
    /// The single decree is taken. Definite.
    #[error("already decided")]
    AlreadyDecided,
    /// The client's session is unknown here, or has ended. Definite for this copy: it is never applied. Whether an earlier copy
    /// of the same sequence was, nobody knows any more.
    #[error("session expired")]
    SessionExpired,
    /// The client has said before that it waits for this sequence no more. Definite for this copy.
    #[error("the session has acknowledged this sequence")]
    Acknowledged,
    /// The client's session is in order, and a lower sequence that it still wants is not done. Definite for this copy: it had no effect, and
    /// may be repeated.
    #[error("before its turn: an earlier request of this session is not done; repeat it")]
    BeforeItsTurn,
    /// It was applied, once, and will not be again; but its reply was too long to be kept.
    #[error("applied before, and the reply was not kept")]
    ReplyNotKept,
}
