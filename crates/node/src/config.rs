//! Settings of a whole node.

use quorate_journal::JournalConfig;
use quorate_machine::MachineConfig;
use quorate_machine::transfer::TransferConfig;
use quorate_protocol::Replica;
use quorate_store::StoreConfig;
use std::time::Duration;

/// Settings of every part of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig<R: Replica> {
    /// The protocol's.
    pub protocol: R::Config,
    /// Requests, batches, retries.
    pub machine: MachineConfig,
    /// How snapshots travel.
    pub transfer: TransferConfig,
    /// Segment and batch sizes.
    pub journal: JournalConfig,
    /// Slice sizes.
    pub store: StoreConfig,
    /// When to checkpoint.
    pub checkpoint: CheckpointConfig,
    /// How long after one slice of condemned items the next is dropped.
    pub tidy_every: Duration,
    /// How long the journal must be quiet before its last write is marked durable and freed segments are unlinked.
    pub journal_idle: Duration,
    /// Below so many free bytes on the disk the state machine is told that space is low ([`quorate_machine::StateMachine`]); 0 for
    /// never. What it takes to get smaller must fit: a segment of the journal, and a checkpoint's new files.
    pub low_space_bytes: u64,
    /// Whether guards are reported as `Trace`. Behaviour is the same either way.
    pub tracing: bool,
}

impl<R: Replica> NodeConfig<R> {
    /// The machine's settings, with what the protocol says of itself.
    pub(crate) fn machine(&self) -> MachineConfig {
        MachineConfig { late_proposals: R::LATE_PROPOSALS, ..self.machine.clone() }
    }

    /// Defaults around these protocol settings.
    #[must_use]
    pub fn new(protocol: R::Config) -> NodeConfig<R> {
        NodeConfig {
            protocol,
            machine: MachineConfig::default(),
            transfer: TransferConfig::default(),
            journal: JournalConfig::default(),
            store: StoreConfig::default(),
            checkpoint: CheckpointConfig::default(),
            tidy_every: Duration::from_millis(5),
            journal_idle: Duration::from_millis(10),
            low_space_bytes: 3 * JournalConfig::default().segment_bytes,
            tracing: false,
        }
    }
}

/// When a checkpoint begins: at the first of these, if anything was applied since the last one began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointConfig {
    /// This long after the last look.
    pub every: Duration,
    /// So many bytes of batches were applied.
    pub after_bytes: u64,
    /// So many slots were applied.
    pub after_slots: u64,
}

impl Default for CheckpointConfig {
    fn default() -> CheckpointConfig {
        CheckpointConfig { every: Duration::from_secs(10), after_bytes: 64 << 20, after_slots: 200_000 }
    }
}
