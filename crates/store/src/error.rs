//! Why a store does not open.

use quorate_disk::DiskError;
use thiserror::Error;

/// Why a store does not open. Nothing has been changed on disk.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The disk failed.
    #[error("the store cannot be read: {0}")]
    Disk(#[from] DiskError),
    /// Something that a durable checkpoint vouches for is not there or not what was written.
    #[error(
        "the store file {file} is damaged at byte {offset}: {why}; this node's data cannot be trusted: remove the node \
         from the cluster, empty its data directory and add it again as a new member; a copy of older data would forget what it \
         has promised since"
    )]
    Corrupt {
        /// The file.
        file: String,
        /// Where the damage was noticed.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// A file in a format of another release.
    #[error(
        "the store file {file} has format version {found} and this release reads {supported}: start the release that \
         wrote it, or a later one"
    )]
    Version {
        /// The file.
        file: String,
        /// Its version.
        found: u32,
        /// The only one that this release reads.
        supported: u32,
    },
}

impl StoreError {
    pub(crate) fn corrupt(file: &str, offset: u64, why: impl Into<String>) -> StoreError {
        StoreError::Corrupt { file: file.to_owned(), offset, why: why.into() }
    }
}
