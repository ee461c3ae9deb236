//! One node as a deterministic value: replica, gate, journal, machine and store, joined.
//!
//! The production runtime and the simulator drive this same type; neither contains a second copy of how the parts are
//! joined. A driver feeds [`NodeInput`]s, calls settle, and carries out [`NodeOutput`]s. The contract is on [`Node`].
//!
//! # How the parts are joined
//! ```text
//!   peers ──► replica ──Persist/Compact──► journal ──► disk        machine ──slices──► store ──► disk
//!               │  ▲                          │                      ▲  │                │
//!               │  └──────Persisted───────────┤                      │  │                │
//!               ├──Send──► gate ◄──durable────┘                      │  │                │
//!               ├──Decide, ReadAt, Refuse, Lead──────────────────────┘  │                │
//!               └◄─────────Propose, Read, Applied{through, durable}─────┴────────────────┘
//! ```
//!
//! # Invariants
//! 1. `DurableBeforeSent`: a message leaves only when the write it waits for is durable.
//! 2. `OneWriteEach`: the journal has at most one write under way, and the store has.
//! 3. `NothingAfterStop`: once a node has said `Stop`, it says nothing more; of the batch in which an invariant broke,
//!    nothing but traces leaves.
//! 4. `CheckpointBehindJournal`: a checkpoint covers only slots that were decided, which are durable in the journal, so a crash
//!    between the two disks never leaves a state ahead of the log's memory of it.
//! 5. `StoreNamesItsJournal`: a node that has said anything has a store with a checkpoint that names the journal's disk, so
//!    a journal that is gone or was swapped refuses the start. The loss of both directories at once is for the peers to
//!    notice, by the new disk id.
//! 6. `ViewsStand`: while a view is being sent or taken as a backup, or a checkpoint is written, the state drops no item.
//! 7. `OneStateOrTheOther`: a snapshot replaces store and machine together, after the replica's record of it is durable and
//!    after a state was made of it here with the digest that its sender had. A crash between record and replacement
//!    installs again at boot, from the bytes that are durable beside the store's own.

mod backup_reader;
mod backups;
mod boot;
mod checkpoint;
mod config;
mod disks;
mod inspection;
mod interface;
mod node;
mod restoration;
mod settle;
mod snapshots;
mod space;
mod status;
mod tidying;
mod witness;

pub use backup_reader::{BackupError, BackupHeader, BackupReader};
pub use backups::{BackupId, BackupPiece};
pub use boot::{Boot, BootError};
pub use config::{CheckpointConfig, NodeConfig};
pub use inspection::{StoredState, read_records, read_store};
pub use interface::{Lane, NodeInput, NodeMessage, NodeOutput, NodeTimer, StopReason};
pub use node::{Booted, Node};
pub use quorate_machine::{AskError, ClientTag, Consistency, MemberChange, MemberFacts, RequestError, Roster};
pub use restoration::{Restoration, write_restored};
pub use snapshots::SnapshotStatus;
pub use status::NodeStatus;
pub use witness::WITNESS_SEGMENT_BYTES;
