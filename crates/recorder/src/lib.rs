//! The flight recorder: a replica's run as bytes, and the same run again.
//!
//! A replica is a function of what it is told. So its run is written down by writing down its calls (inputs, clock readings, choices)
//! behind a [`quorate_protocol::Picture`] of its state, and a digest of what it said after each batch of them. [`Replayer`]
//! gives the same code the same calls: where it says something else, the recording, the machine or the code is wrong, and the
//! first call that differs is named. With tracing on, which recording did not need, the replica then tells why it did what it did.
//!
//! Nothing here opens a file or starts a thread: [`SegmentWriter`] gives bytes and [`Segment`] takes them.
//!
//! # What is covered
//! The replica and its gate: elections, votes, replication, commits, reads, membership, compaction, and what waited for the disk.
//! Beside them, told and not replayed, [`Fact`]s: disk writes with their times, clients counted. Not covered is what is
//! around a protocol: sessions and forwarding, the state machine, leases, snapshot bytes. So no command is ever run, and none needs to
//! be recorded: by default each batch is its length and its checksum ([`BatchMark`]).
//!
//! # Invariants
//! 1. `SameCode`: a replay calls nothing but [`quorate_protocol::Replica`]'s own functions.
//! 2. `NothingUnseen`: a segment that was changed, shortened in its middle or reordered is refused by name ([`SegmentError`]); one
//!    that just ends early, as after a crash, is read up to there.
//! 3. `PicturesAgree`: where one segment follows another, the replayed replica equals the picture that the second begins with.
//! 4. `NoContents`: without [`SegmentHeader::has_values`] no byte of a command is in a recording.
//!
//! # Map
//! | file | what |
//! |---|---|
//! | `note.rs` | what a recording consists of |
//! | `batch.rs` | what stands for a batch |
//! | `codec.rs` | notes, pictures and outputs as bytes |
//! | `segment.rs`, `writer.rs` | one file: read, and written |
//! | `recording.rs` | files put in order: one [`Life`] for each start of a node |
//! | `replay.rs` | the same run again |

mod batch;
mod codec;
mod note;
mod recording;
mod replay;
mod segment;
mod writer;

pub use batch::BatchMark;
pub use note::{ClientCounts, ClockReading, Digest, Fact, Note, RecordedLane, SegmentEnd};
pub use recording::{Life, LifeError, NamedSegment, Scene, SceneKind, lives};
pub use replay::{Divergence, Doing, Moment, Replayer};
pub use segment::{EXTENSION, FORMAT_VERSION, Segment, SegmentError, SegmentHeader, read_header};
pub use writer::{Heard, SegmentWriter};
