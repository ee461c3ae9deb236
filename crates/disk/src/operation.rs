//! The operations, and the trait that performs them.

use bytes::Bytes;
use thiserror::Error;

/// The unit in which an unflushed write survives or not.
pub const SECTOR_BYTES: usize = 512;

/// One thing to do to one directory of flat files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Make an empty file and reserve space for it, which reads as zeros. Fails if it exists.
    Create {
        /// File name, without any directory.
        file: String,
        /// Bytes to reserve; the file has this length afterwards.
        reserve_bytes: u64,
    },
    /// Write at an offset, growing the file if needed. The parts are written one after the other.
    Write {
        /// File name.
        file: String,
        /// Where the first part goes.
        offset: u64,
        /// What to write.
        parts: Vec<Bytes>,
    },
    /// Make everything written to this file durable.
    Flush {
        /// File name.
        file: String,
    },
    /// Let the system forget what it has cached of this file and does not still have to write, so that the next read shows
    /// the medium. After a failed flush the cache may hold, as clean, what never reached it; a process that starts on that
    /// would take it for durable.
    Forget {
        /// File name.
        file: String,
    },
    /// Make every create, rename and unlink so far durable.
    FlushDirectory,
    /// Give a file another name, replacing what had it.
    Rename {
        /// Old name.
        from: String,
        /// New name.
        to: String,
    },
    /// Remove a file.
    Unlink {
        /// File name.
        file: String,
    },
}

/// What kind of failure; the driver's answer differs by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskErrorKind {
    /// No space left.
    Full,
    /// No such file, or it exists already.
    Name,
    /// Not allowed.
    Permission,
    /// Anything else: the medium failed.
    Medium,
}

/// A failed operation. The owner must stop: the file's state is unknown until read again from media.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what} {file}: {why}")]
pub struct DiskError {
    /// What was tried, such as `write`.
    pub what: &'static str,
    /// The file, with its directory where the driver knows it.
    pub file: String,
    /// The system's words.
    pub why: String,
    /// The kind.
    pub kind: DiskErrorKind,
}

/// One directory of flat files. Blocking: production calls it from a thread of its own.
pub trait Disk {
    /// The names of all files, ascending.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn list(&self) -> Result<Vec<String>, DiskError>;

    /// A file's length in bytes.
    ///
    /// # Errors
    /// [`DiskErrorKind::Name`] when there is none.
    fn length(&self, file: &str) -> Result<u64, DiskError>;

    /// Reads up to `length` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// When the file is missing or the medium fails.
    fn read(&self, file: &str, offset: u64, length: usize) -> Result<Bytes, DiskError>;

    /// Performs one operation.
    ///
    /// # Errors
    /// As the operation says. Afterwards the owner stops.
    fn perform(&mut self, operation: &Operation) -> Result<(), DiskError>;

    /// Performs them in order and stops at the first failure.
    ///
    /// # Errors
    /// The first failure.
    fn perform_all(&mut self, operations: &[Operation]) -> Result<(), DiskError> {
        operations.iter().try_for_each(|operation| self.perform(operation))
    }
}
