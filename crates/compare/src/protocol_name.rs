//! The protocols that can be compared, by name.

use crate::alone::{Alone, alone};
use crate::faults::Fault;
use crate::run::{Run, run};
use crate::stage::{RunError, Setting};
use crate::workload::Workload;
use quorate_multi_paxos::MultiPaxos;
use quorate_protocol::Replica;
use quorate_raft::Raft;
use quorate_viewstamped::Viewstamped;
use quorate_zab::Zab;

/// One of the protocols that can be compared. Single-decree Paxos is none: it decides once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProtocolName {
    /// Raft.
    Raft,
    /// Multi-Paxos.
    MultiPaxos,
    /// Viewstamped Replication.
    Viewstamped,
    /// Zab.
    Zab,
}

impl ProtocolName {
    /// All of them.
    pub const ALL: [ProtocolName; 4] =
        [ProtocolName::Raft, ProtocolName::MultiPaxos, ProtocolName::Viewstamped, ProtocolName::Zab];

    /// What it calls itself.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ProtocolName::Raft => Raft::PROTOCOL,
            ProtocolName::MultiPaxos => MultiPaxos::PROTOCOL,
            ProtocolName::Viewstamped => Viewstamped::PROTOCOL,
            ProtocolName::Zab => Zab::PROTOCOL,
        }
    }

    /// The protocol of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<ProtocolName> {
        ProtocolName::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// [`run`] for it.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn run(self, setting: &Setting, workload: &Workload, fault: Fault) -> Result<Run, RunError> {
        match self {
            ProtocolName::Raft => run::<Raft>(setting, workload, fault),
            ProtocolName::MultiPaxos => run::<MultiPaxos>(setting, workload, fault),
            ProtocolName::Viewstamped => run::<Viewstamped>(setting, workload, fault),
            ProtocolName::Zab => run::<Zab>(setting, workload, fault),
        }
    }

    /// [`alone`] for it.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn alone(self, setting: &Setting) -> Result<Vec<Alone>, RunError> {
        match self {
            ProtocolName::Raft => alone::<Raft>(setting),
            ProtocolName::MultiPaxos => alone::<MultiPaxos>(setting),
            ProtocolName::Viewstamped => alone::<Viewstamped>(setting),
            ProtocolName::Zab => alone::<Zab>(setting),
        }
    }
}
