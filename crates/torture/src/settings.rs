//! What is asked for.

use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What is done to members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// SIGKILL, and a start some time later.
    Kill,
    /// SIGSTOP, and SIGCONT some time later.
    Pause,
    /// The network between members: cut, one way or both, reset, slow, late.
    Cut,
    /// No room on a member's disk.
    FullDisk,
    /// A flush that answers EIO.
    FailingFlush,
    /// Jumps of the wall clock.
    Clock,
    /// Members are added, promoted, replaced and removed.
    Member,
}

impl FaultKind {
    /// All there are.
    pub const ALL: [FaultKind; 7] = [
        FaultKind::Kill,
        FaultKind::Pause,
        FaultKind::Cut,
        FaultKind::FullDisk,
        FaultKind::FailingFlush,
        FaultKind::Clock,
        FaultKind::Member,
    ];

    /// As the command line has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Kill => "kill",
            FaultKind::Pause => "pause",
            FaultKind::Cut => "cut",
            FaultKind::FullDisk => "full-disk",
            FaultKind::FailingFlush => "failing-flush",
            FaultKind::Clock => "clock",
            FaultKind::Member => "member",
        }
    }

    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<FaultKind> {
        FaultKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.name())
    }
}

/// A run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Members at any quiet time.
    pub nodes: usize,
    /// How long clients work and faults happen; healing and judging come on top.
    pub duration: Duration,
    /// What replicates the store, as `serve --protocol` names it.
    pub protocol: String,
    /// Which faults.
    pub faults: BTreeSet<FaultKind>,
    /// Draws the schedule, the workload and the members' settings.
    pub seed: u64,
    /// Clients that read and write; watchers and holders of leases come on top.
    pub clients: usize,
    /// For data, logs, and what was recorded. Empty or absent before.
    pub directory: PathBuf,
    /// The program whose `serve` is run.
    pub program: PathBuf,
}

impl Settings {
    /// Whether they make sense.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<()> {
        ensure!([3, 5].contains(&self.nodes), "--nodes {}: 3 or 5 are wanted", self.nodes);
        ensure!((1..=200).contains(&self.clients), "--clients {}: between 1 and 200 are wanted", self.clients);
        ensure!(
            self.duration >= Duration::from_secs(10) && self.duration <= Duration::from_secs(24 * 3600),
            "--minutes {}: between 10 seconds and a day are wanted",
            self.duration.as_secs_f64() / 60.0
        );
        Ok(())
    }

    /// Whether this fault was asked for.
    #[must_use]
    pub fn has(&self, kind: FaultKind) -> bool {
        self.faults.contains(&kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_known_by_its_name() {
        assert!(FaultKind::ALL.into_iter().all(|kind| FaultKind::named(kind.name()) == Some(kind)));
        assert_eq!(FaultKind::named("meteor"), None);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        let good = Settings {
            nodes: 3,
            protocol: "raft".to_owned(),
            duration: Duration::from_secs(20),
            faults: BTreeSet::new(),
            seed: 1,
            clients: 4,
            directory: PathBuf::new(),
            program: PathBuf::new(),
        };
        assert!(good.check().is_ok());
        let refusal = |settings: Settings| settings.check().unwrap_err().to_string();
        assert!(refusal(Settings { nodes: 4, ..good.clone() }).contains("--nodes 4"));
        assert!(refusal(Settings { clients: 0, ..good.clone() }).contains("--clients 0"));
        assert!(refusal(Settings { duration: Duration::from_secs(1), ..good }).contains("--minutes"));
    }
}
