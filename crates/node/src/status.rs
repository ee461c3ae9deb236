//! A node as people and metrics see it.

use crate::snapshots::SnapshotStatus;
use quorate_machine::{MachineStatus, Roster};
use quorate_protocol::Status;
use quorate_types::{ClusterId, DiskId, Incarnation, NodeId, Slot, Ticket};

/// A node's marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Itself.
    pub me: NodeId,
    /// The disk its journal was created on.
    pub disk: DiskId,
    /// How often the journal was opened, this time included.
    pub incarnation: Incarnation,
    /// The state holds everything up to here.
    pub applied: Slot,
    /// The replica's.
    pub protocol: Status,
    /// The machine's: applied mark, digest, what is outstanding.
    pub machine: MachineStatus,
    /// The members as decided here, and who was removed. Empty while none of the cluster's changes is decided.
    pub roster: Roster,
    /// The last durable checkpoint covers everything up to here.
    pub checkpointed: Slot,
    /// Whether another is being written.
    pub checkpointing: bool,
    /// Snapshots coming and going.
    pub snapshots: SnapshotStatus,
    /// Bytes of dropped items in the store's files, as far as surveyed.
    pub store_garbage_bytes: u64,
    /// Whether condemned items are known to be left to drop.
    pub tidying: bool,
    /// The last durable write.
    pub durable: Ticket,
    /// The last write asked for.
    pub appended: Ticket,
    /// Bytes reserved on disk by the journal.
    pub journal_bytes: u64,
    /// Bytes on disk of the store.
    pub store_bytes: u64,
    /// Bytes that wait for the journal's next write.
    pub journal_queued_bytes: usize,
    /// Messages that wait for a durable write.
    pub held_messages: usize,
    /// What the disk has left, by the driver's last word.
    pub free_bytes: Option<u64>,
    /// Whether it has stopped for good.
    pub stopped: bool,
}
