//! The production driver of a node: sockets, files, clock, threads.
//!
//! One thread runs everything that decides: peer connections, client requests, the node itself. One thread a disk lane does
//! nothing but perform and flush writes. Everything between them is a bounded queue.
//!
//! [`start`] must be called inside a `tokio::task::LocalSet`. It opens the node (repairing and flushing what must be, on the
//! calling thread), listens for peers and returns a [`NodeHandle`] for clients and a [`Running`] that ends when the node
//! does, with the reason.

mod acquaintance;
mod complaints;
mod disk_thread;
mod durable_file;
mod era;
mod file_disk;
mod free_space;
mod handle;
mod hello;
mod introduction;
mod known_disks;
mod local;
mod node_loop;
mod own_starts;
mod peers;
mod promises;
mod put_back;
mod recording;
mod segment_ring;
mod snapshot_log;
mod start;
mod timers;

pub use era::era_for_people;
pub use file_disk::{DirectoryLock, FileDisk};
pub use handle::{BackupStream, NodeHandle, RuntimeStatus};
pub use hello::{Difference, HelloAnswer, HelloRefusal, RefusalEnd};
pub use introduction::{Introduction, ask_members};
pub use local::LocalCluster;
pub use node_loop::{StopCause, address_of};
pub use recording::{Recorder, RecordingPlan};
pub use start::{Observation, Observer, Running, RuntimeConfig, StartError, founded_as, start};
