//! The production driver of a node: sockets, files, clock, threads.
//!
//! One thread runs everything that decides: peer connections, client requests, the node itself. One thread a disk lane does
//! nothing but perform and flush writes. Everything between them is a bounded queue.
//!
//! [`start`] must be called inside a `tokio::task::LocalSet`. It opens the node (repairing and flushing what must be, on the
//! calling thread), listens for peers and returns a [`NodeHandle`] for clients and a [`Running`] that ends when the node
//! does, with the reason.

mod acquaintance;
mod disk_thread;
mod durable_file;
mod file_disk;
mod free_space;
mod handle;
mod hello;
mod introduction;
mod local;
mod node_loop;
mod peers;
mod promises;
mod recording;
mod snapshot_log;
mod start;
mod timers;

pub use file_disk::{DirectoryLock, FileDisk};
pub use handle::{BackupStream, NodeHandle, RuntimeStatus};
pub use hello::{Difference, HelloAnswer, HelloRefusal};
pub use introduction::{Introduction, ask_members};
pub use local::LocalCluster;
pub use node_loop::{StopCause, address_of};
pub use recording::{Recorder, RecordingPlan};
pub use start::{Observation, Observer, Running, RuntimeConfig, StartError, founded_as, start};
