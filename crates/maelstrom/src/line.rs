//! Maelstrom's messages: one JSON object a line, with sender, receiver and body.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) src: String,
    pub(crate) dest: String,
    pub(crate) body: Value,
}

impl Envelope {
    pub(crate) fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }

    /// The answer to this message, if it asks for one: only what has a `msg_id` does.
    pub(crate) fn reply(&self, answer: Answer) -> Option<Envelope> {
        let msg_id = self.body.get("msg_id").cloned()?;
        Some(addressed(&self.dest, &self.src, msg_id, answer))
    }
}

/// An answer from `src` to `dest`'s request of this id.
pub(crate) fn addressed(src: &str, dest: &str, msg_id: Value, answer: Answer) -> Envelope {
    let mut body = answer.unwrap_or_else(|failure| failure.body());
    body["in_reply_to"] = msg_id;
    Envelope { src: src.to_owned(), dest: dest.to_owned(), body }
}

/// The body of an answer but for `in_reply_to`, or why there is none.
pub(crate) type Answer = Result<Value, Failure>;

/// Maelstrom's error codes, as far as they are given. All are definite (the request never happens) but
/// [`ErrorCode::Timeout`] and [`ErrorCode::Crash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// No answer in time; it may have happened, and may still.
    Timeout = 0,
    /// No such request, or more than is taken.
    NotSupported = 10,
    /// Not now. It certainly did not happen.
    TemporarilyUnavailable = 11,
    /// A request of this name has another form.
    MalformedRequest = 12,
    /// The node stopped over it; it may have happened.
    Crash = 13,
    /// It cannot be done in this state, and changed nothing.
    Abort = 14,
    /// There is no such key.
    KeyDoesNotExist = 20,
    /// The key holds something else than was expected.
    PreconditionFailed = 22,
}

/// An error, as a client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub code: ErrorCode,
    /// In words.
    pub text: String,
}

impl Failure {
    pub(crate) fn new(code: ErrorCode, text: impl Into<String>) -> Failure {
        Failure { code, text: text.into() }
    }

    fn body(&self) -> Value {
        json!({ "type": "error", "code": self.code as u64, "text": self.text })
    }
}
