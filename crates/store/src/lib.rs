//! A state machine's durable image: append-only item files and atomic checkpoints, without I/O.
//!
//! A state machine describes itself as *items* that never change once they exist, and a small *head* that does. A checkpoint
//! appends the items that are new since the last one to item files, flushes them, and publishes a *manifest* by rename: the
//! applied slot, how many items count, where each item file ends and its running checksum, the machine's own part (*meta*) and
//! the head. What a manifest names is complete and flushed before the manifest has its name; so the state after a crash
//! is exactly that of the newest manifest. Everything here is data: blocking reads at open, operations and completions after.
//!
//! # Files
//! - `items-N.rev`: a header, then items one behind the other, each with length and CRC-32C over its number and bytes. Grows only.
//!   Bytes behind the end that the newest manifest names mean nothing: the next checkpoint overwrites them.
//! - `checkpoint-N`: a manifest. The old one is removed once the new one is durable.
//! - `checkpoint.new`: a manifest on its way; found at open, it is left over from a crash.
//!
//! # Invariants
//! 1. At most one write is under way.
//! 2. A manifest is renamed into place only in a write whose earlier operations flushed everything it names.
//! 3. Items before a durable manifest's end are never written again.
//! 4. A damaged manifest is never skipped in favour of an older one: the journal may have forgotten what lies between.
//!
//! # Map
//! `store.rs` checkpoints in slices · `open.rs` recovery · `item_file.rs`, `manifest.rs` the two formats · `error.rs`.

mod error;
mod item_file;
mod manifest;
mod open;
mod store;

pub use error::StoreError;
pub use open::{Image, Opened};
pub use store::{Store, StoreConfig, Write};
