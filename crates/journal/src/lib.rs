//! Ordered durable records without I/O: batches in, disk operations out, completions in.
//!
//! One stream of durable writes per node. A replica's `Persist` and `Compact` become
//! [`Journal::append`] and [`Journal::compact`]; the driver asks for the [`Journal::next_write`], performs
//! its operations in order on a [`Disk`](quorate_disk::Disk) and reports [`Journal::completed`]. While one
//! write is under way everything else queues up and leaves as one flush. The type [`Journal`] carries the
//! whole contract; `open.rs` says how damage is told from a torn tail.
//!
//! # On disk
//! Segment files `journal-<number>.seg`, numbered without gaps, each with its space reserved at creation:
//!
//! | bytes | what |
//! |---|---|
//! | 0..512 | segment header: identity, number, reserved length, where the previous segment ended. Never rewritten |
//! | 4096..4608, 8192..8704 | two mark slots, written in turn |
//! | 12288.. | flushes, one after the other, each padded to whole sectors; zeros after the last |
//!
//! - A **flush** is what one write made durable: a header, then records. The header names its own position,
//!   the end and checksum of the flush before it, the tickets within, the node's incarnation and what is
//!   compacted. The next flush is only written when this one is durable, so *a flush vouches for all before it*.
//! - A **mark** says "everything up to this flush was durable". It is rewritten along with the next flush, at
//!   no extra flush, and by [`Journal::idle_write`] when there is no next one.
//! - A segment is written under the name `journal-<number>.new`, flushed with its first flush inside, then
//!   renamed: what bears a segment's name has a good header and a good first flush, or is damaged.
//! - A sector is never written again after it was durable, except the older mark slot and a cut tail: a torn
//!   write cannot hurt a neighbour.
//!
//! Every checksum (CRC-32C) covers the disk's id, the segment and the position besides the bytes, so a block
//! written to the wrong place, or left over from another journal, is never taken for this one.
//!
//! # Invariants
//! - J1: a completed ticket is found by every later open, whatever crash came between, or open refuses.
//! - J2: open delivers the appended records in order without a gap, from the newest durable compaction's
//!   `drop_before` to some ticket not below the last completed one.
//! - J3: only whole segments are unlinked, and only when a durable compaction dropped all they hold; oldest first, each
//!   durably before the next, so that numbers have no gap after any crash.
//! - J4: the incarnation that [`Journal::create`] or [`Journal::open`] gives is durable before the node acts under it.
//! - J5: a cut tail is zeros, durably, before anything is written after it: it never comes back.
//!
//! Sources: reliability rules drawn from etcd's WAL, FoundationDB's DiskQueue and Alagappan et al.,
//! "Protocol-Aware Recovery for Consensus-Based Storage" (FAST '18): a crash and a corruption are told apart
//! by a second durable trace of the same write.

mod config;
mod encode;
mod error;
mod format;
mod journal;
mod names;
mod open;
mod scan;
mod segment_reader;
mod spare;
mod survey;

pub use config::{Expected, Identity, JournalConfig};
pub use error::{AppendError, CompletionError, JournalError};
pub use journal::{Journal, SegmentInfo, Write};
pub use open::{Found, Opened, TornTail};
pub use survey::{SegmentSurvey, Survey};
