//! What a case says it expects. A mismatch ends the case with both sides in words.

use std::fmt::Debug;
use thiserror::Error;
use tonic::{Code, Status};

/// Why a case did not hold, for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// How a case ends.
pub type Outcome = Result<(), Failure>;

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Failure(format!("a request that must succeed was refused: {:?} {:?}", status.code(), status.message()))
    }
}

/// Both sides must be the same.
pub fn equal<T: PartialEq + Debug>(what: &str, got: T, expected: T) -> Outcome {
    if got == expected {
        return Ok(());
    }
    Err(Failure(format!("{what}\n  expected {expected:?}\n  got      {got:?}")))
}

/// A claim about `shown` must hold.
pub fn holds(claim: &str, held: bool, shown: impl Debug) -> Outcome {
    if held { Ok(()) } else { Err(Failure(format!("{claim}\n  got      {shown:?}"))) }
}

/// Something must be there.
pub fn present<T>(what: &str, found: Option<T>) -> Result<T, Failure> {
    found.ok_or_else(|| Failure(format!("{what}\n  expected something\n  got      nothing")))
}

/// The request must be refused with this code and exactly this text.
pub fn refused<T: Debug>(what: &str, answer: Result<T, Status>, code: Code, text: &str) -> Outcome {
    match answer {
        Ok(answer) => Err(Failure(format!("{what}\n  expected {code:?} {text:?}\n  got      {answer:?}"))),
        Err(status) => equal(what, (status.code(), status.message()), (code, text)),
    }
}
