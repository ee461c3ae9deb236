//! For how long this node may be bound by what it promised before it was started with other settings.
//!
//! A voter that answered a leader may have promised to elect nobody else for a while, and reads may rest on that. Opened again
//! with the same settings it keeps such promises by itself, for it does not know which it gave. Opened with others it would not: so
//! the longest that may be owed is noted before anything is promised, and a node whose settings keep less does nothing at all
//! until that time is over.

use crate::durable_file;
use crate::handle::ClientArrival;
use crate::node_loop::{NodeLoop, StopCause};
use quorate_machine::StateMachine;
use quorate_protocol::Replica;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What may be owed, kept in a file of the data directory.
#[derive(Debug)]
pub(crate) struct Promises {
    path: PathBuf,
    /// The longest that any promise of this node lasts, those before this start included.
    longest: Duration,
    /// How long those of this start last.
    last: Duration,
}

impl Promises {
    /// For a node whose promises last for `last` from now on, which is durable when this returns, unless more is owed.
    pub(crate) fn load(path: &Path, last: Duration) -> io::Result<Promises> {
        let text = durable_file::read(path)?;
        let nanos = match text.trim() {
            "" => 0,
            nanos => nanos.parse().map_err(|_| {
                let why = format!("{}: `{nanos}` is not a number of nanoseconds", path.display());
                io::Error::new(io::ErrorKind::InvalidData, why)
            })?,
        };
        let mut promises = Promises { path: path.to_owned(), longest: Duration::from_nanos(nanos), last };
        if promises.owed().is_zero() {
            promises.begin()?;
        }
        Ok(promises)
    }

    /// How long this node may do nothing.
    pub(crate) fn owed(&self) -> Duration {
        if self.longest > self.last { self.longest } else { Duration::ZERO }
    }

    /// That time is over.
    fn begin(&mut self) -> io::Result<()> {
        if self.longest != self.last {
            let nanos = u64::try_from(self.last.as_nanos()).unwrap_or(u64::MAX);
            durable_file::replace(&self.path, &format!("{nanos}\n"))?;
            self.longest = self.last;
        }
        Ok(())
    }
}

impl<R: Replica, S: StateMachine> NodeLoop<R, S> {
    /// Does nothing until no promise of earlier settings is owed any more: takes no message, sends clients elsewhere. Answers why
    /// it ended, if it was asked to meanwhile.
    pub(crate) async fn keep_promises(&mut self, mut promises: Promises) -> Option<StopCause> {
        let owed = promises.owed();
        if owed.is_zero() {
            return None;
        }
        tracing::warn!(?owed, "started with other settings: waiting until what was promised with those before is over");
        let sleep = tokio::time::sleep(owed);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep => break,
                arrival = self.clients.recv() => match arrival {
                    None | Some(ClientArrival::Shutdown) => return Some(StopCause::Requested),
                    Some(arrival) => arrival.refuse(),
                },
            }
        }
        if let Err(error) = promises.begin() {
            // The note of more than is owed only makes the next start wait too.
            tracing::warn!(%error, "cannot write promises");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_was_promised_for_longer_is_owed_over_a_restart_until_less_is_begun() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("promises");
        let load = |last| Promises::load(&path, last).unwrap();
        assert_eq!(load(Duration::ZERO).owed(), Duration::ZERO);
        assert!(!path.exists(), "who never promises anything keeps no note of it");
        assert_eq!(load(SECOND).owed(), Duration::ZERO);
        assert_eq!(
            [Duration::ZERO, SECOND / 2, SECOND].map(|last| load(last).owed()),
            [SECOND, SECOND, Duration::ZERO]
        );
        assert_eq!(load(SECOND * 2).owed(), Duration::ZERO, "it keeps that itself, and more");
        let mut shorter = load(SECOND / 2);
        assert_eq!(shorter.owed(), SECOND * 2);
        shorter.begin().unwrap();
        assert_eq!(load(Duration::ZERO).owed(), SECOND / 2);
    }

    #[test]
    fn a_note_that_cannot_be_read_is_an_error_and_not_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("promises");
        std::fs::write(&path, "soon\n").unwrap();
        assert!(Promises::load(&path, SECOND).unwrap_err().to_string().contains("`soon` is not a number"));
    }
}
