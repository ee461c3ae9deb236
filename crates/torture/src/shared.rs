//! What all tasks of a run share.

use crate::client::Endpoints;
use crate::lease_life::Leases;
use crate::ledger::Ledger;
use crate::record::Recorder;
use crate::settings::{FaultKind, Settings};
use crate::watcher::Browse;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Of one run.
#[derive(Debug)]
pub struct Shared {
    /// Draws everything.
    pub seed: u64,
    /// Whether some values are very large: with every other seed, and not where disks are small.
    pub large_values: bool,
    /// Calls and their outcomes.
    pub recorder: Recorder,
    /// Where members serve.
    pub endpoints: Endpoints,
    /// Becomes true when clients are to stop; watchers go on.
    pub stop: watch::Sender<bool>,
    /// Watch streams that were opened.
    pub streams_opened: AtomicU64,
    /// Compactions that were answered.
    pub compactions: AtomicU64,
    ledger: Mutex<Ledger>,
    leases: Mutex<Leases>,
    browses: Mutex<Vec<Browse>>,
}

impl Shared {
    /// For so many watchers.
    #[must_use]
    pub fn new(settings: &Settings, recorder: Recorder, watchers: usize) -> Shared {
        Shared {
            seed: settings.seed,
            large_values: settings.seed.is_multiple_of(2) && !settings.has(FaultKind::FullDisk),
            recorder,
            endpoints: Endpoints::default(),
            stop: watch::channel(false).0,
            streams_opened: AtomicU64::new(0),
            compactions: AtomicU64::new(0),
            ledger: Mutex::new(Ledger::new(watchers)),
            leases: Mutex::default(),
            browses: Mutex::default(),
        }
    }

    /// What watchers were told. Never held over an await, and never asked for twice in one statement: both would wait for ever.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic elsewhere ends the run; what was noted before is still true.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lives of leases. Never held over an await.
    pub fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What short-lived watchers were told. Never held over an await.
    pub fn browses(&self) -> MutexGuard<'_, Vec<Browse>> {
        self.browses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether clients are to stop.
    #[must_use]
    pub fn stopping(&self) -> bool {
        *self.stop.borrow()
    }
}
