//! What the exit code of every command says. One rule for all, told in the README:
//!
//! | code | it says |
//! |---|---|
//! | 0 | it was done, and nothing is wrong |
//! | 1 | it failed, or what was looked at is not as it should be: a violation, no such key, a damaged file |
//! | 2 | wrong usage: flags, settings or input files that make no sense; nothing was done |
//! | 3 | no verdict: the search ended at its bounds without finding anything |

use std::fmt;
use std::process::ExitCode;

/// Flags, settings or input files that make no sense.
pub const WRONG_USAGE: u8 = 2;
/// A search that ended at its bounds.
const NO_VERDICT: u8 = 3;

/// A search that ended at its bounds without finding anything.
pub fn no_verdict() -> ExitCode {
    ExitCode::from(NO_VERDICT)
}

/// Marks an error as the caller's: what was asked for makes no sense.
#[derive(Debug)]
struct WrongUsage(anyhow::Error);

impl fmt::Display for WrongUsage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&in_words(&self.0))
    }
}

impl std::error::Error for WrongUsage {}

/// An error with its causes. Many say their cause themselves: it is not said again.
pub fn in_words(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        said if said.ends_with(&cause) => said.to_owned(),
        said => format!("{said}: {cause}"),
    })
}

/// The same error, as one of usage.
pub fn usage(error: impl Into<anyhow::Error>) -> anyhow::Error {
    anyhow::Error::new(WrongUsage(error.into()))
}

/// The exit code that an error ends the program with.
pub fn code_of(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<WrongUsage>().is_some() { ExitCode::from(WRONG_USAGE) } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_cause_is_said_once() {
        let missing = || anyhow::Error::new(std::io::Error::from(std::io::ErrorKind::NotFound));
        let words = in_words(&missing().context("cannot read a.db: entity not found").context("nothing is restored"));
        assert_eq!(words, "nothing is restored: cannot read a.db: entity not found");
        let silent = Err::<(), _>(missing()).context("cannot read a.db").unwrap_err();
        assert_eq!(in_words(&silent), "cannot read a.db: entity not found");
    }
}
