//! The journal through its public door, on a disk that crashes, tears and rots.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

mod appending;
mod chance;
mod compaction;
mod crash;
mod damage;
mod driver;
mod opening;
mod random;
mod spare;
mod survey;
