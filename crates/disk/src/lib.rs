//! Files as data. A journal or store never touches a file: it says which [`Operation`]s it wants, a
//! driver performs them in order on a [`Disk`], and tells it when they are done. Production has files
//! behind the trait; the simulator and the crash tests have [`model::ModelDisk`], which loses, tears
//! and reorders whatever was not flushed.
//!
//! What a disk promises, and all that it promises:
//! - operations of one list take effect in order for whoever reads the running disk;
//! - after [`Operation::Flush`] of a file, everything written to *that file* before survives a crash;
//! - after [`Operation::FlushDirectory`], every create, rename and unlink before survives a crash;
//! - nothing else survives for certain: an unflushed write may land, vanish or be garbage, sector by
//!   sector of 512 bytes, in any order; an unflushed create, rename or unlink may or may not have happened.
//! - an operation that fails leaves its file in an unknown state: the owner stops and recovers from media.

pub mod model;
mod names;
mod operation;

pub use names::{number_of_file, numbered_file};
pub use operation::{Disk, DiskError, DiskErrorKind, Operation, SECTOR_BYTES};
