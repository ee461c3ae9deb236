//! Why a store cannot be used.

use quorate_disk::DiskError;
use thiserror::Error;

/// Why a store could not be opened. The node does not start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The disk failed.
    #[error("the store cannot be read: {0}")]
    Disk(#[from] DiskError),
    /// Durable bytes are not what was written.
    #[error(
        "{file} is damaged at byte {offset}: {what}; the stored state is no longer certain, so restore this node from the \
         others: remove the member, wipe its directory and let it join as a new member"
    )]
    Corrupt {
        /// The damaged file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A file that the manifest names is gone.
    #[error(
        "{file} is missing; the stored state is incomplete, so restore this node from the others: remove the member, wipe \
         its directory and let it join as a new member"
    )]
    Missing {
        /// The file.
        file: String,
    },
    /// A newer release wrote this.
    #[error(
        "{file} has format version {version}, and this release knows versions up to {known}: run the release that wrote it"
    )]
    UnknownVersion {
        /// The file.
        file: String,
        /// The version found.
        version: u32,
        /// The newest this release knows.
        known: u32,
    },
}
