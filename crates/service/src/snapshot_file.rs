//! A file that `etcdctl snapshot save` wrote of a member of Quorate: checked byte by byte, and what is in it.

use bytes::Bytes;
use quorate_keyspace::{Keyspace, Query, Reply};
use quorate_machine::StateMachine;
use quorate_node::{BackupError, BackupHeader, BackupReader};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use thiserror::Error;

/// The file ends with the SHA-256 of everything before, as etcd's files do.
const DIGEST_BYTES: u64 = 32;
/// etcd's tools pad to this before the digest.
const PAGE_BYTES: u64 = 512;
const PIECE_BYTES: usize = 1 << 20;

/// Why a file is not taken for a snapshot.
#[derive(Debug, Error)]
pub enum SnapshotFileError {
    /// The system cannot read it.
    #[error("cannot read {file}: {source}")]
    System {
        /// Which.
        file: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// Its length is not that of a snapshot with its digest.
    #[error(
        "{file} is {bytes} bytes long, which no saved snapshot is: it is not complete, or it was saved without its digest"
    )]
    Length {
        /// Which.
        file: String,
        /// How long it is.
        bytes: u64,
    },
    /// The digest at its end is not that of its content.
    #[error("{file} is damaged: the SHA-256 of its content is not the one at its end")]
    Digest {
        /// Which.
        file: String,
    },
    /// Its content is no snapshot.
    #[error("{file}: {source}")]
    Content {
        /// Which.
        file: String,
        /// What is wrong.
        source: BackupError,
    },
}

/// A snapshot, verified and read into memory.
#[derive(Debug)]
pub struct SnapshotFile {
    pub(crate) header: BackupHeader,
    pub(crate) state: Keyspace,
    file_bytes: u64,
}

/// A snapshot in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// What `etcdctl endpoint hashkv` shows of a member with the same state.
    pub hash: u32,
    /// The revision of the state.
    pub revision: i64,
    /// The revision it is compacted at; 0 if it never was.
    pub compact_revision: i64,
    /// Keys that live.
    pub keys: u64,
    /// Leases.
    pub leases: u64,
    /// Alarms that are raised.
    pub alarms: u64,
    /// The length of the file.
    pub file_bytes: u64,
}

impl SnapshotFile {
    /// Reads and verifies the whole file: length, digest, checksum, and that a state comes of it which is the one that was saved.
    /// `skip_digest` leaves out the first two, for a file that was not written by `snapshot save` to its end; what the
    /// snapshot says of itself is checked even so.
    ///
    /// # Errors
    /// As the variants of [`SnapshotFileError`] say.
    pub fn read(path: &Path, skip_digest: bool) -> Result<SnapshotFile, SnapshotFileError> {
        let name = path.display().to_string();
        let system = |source| SnapshotFileError::System { file: name.clone(), source };
        let mut file = File::open(path).map_err(system)?;
        let file_bytes = file.metadata().map_err(system)?.len();
        let has_digest = file_bytes % PAGE_BYTES == DIGEST_BYTES && file_bytes > DIGEST_BYTES;
        if !has_digest && !skip_digest {
            // That it is something else altogether is the better news.
            let content = read_content(&mut file, file_bytes, &name).err();
            let is_other = matches!(content, Some(SnapshotFileError::Content { source: BackupError::NotABackup, .. }));
            return Err(content
                .filter(|_| is_other)
                .unwrap_or(SnapshotFileError::Length { file: name, bytes: file_bytes }));
        }
        let content_bytes = if has_digest { file_bytes - DIGEST_BYTES } else { file_bytes };
        if has_digest && !skip_digest && !has_right_digest(&mut file, content_bytes).map_err(system)? {
            return Err(SnapshotFileError::Digest { file: name });
        }
        let reader = read_content(&mut file, content_bytes, &name)?;
        let (header, state) =
            reader.finish::<Keyspace>().map_err(|source| SnapshotFileError::Content { file: name.clone(), source })?;
        Ok(SnapshotFile { header, state, file_bytes })
    }

    /// What is in it. Looks at every change.
    #[must_use]
    pub fn summary(&self) -> SnapshotSummary {
        let hash = match self.state.query(&Query::HashKv { revision: 0 }) {
            Reply::HashKv { hash, .. } => hash,
            other => unreachable!("the present can always be hashed: {other:?}"),
        };
        SnapshotSummary {
            hash,
            revision: self.state.revision(),
            compact_revision: self.state.compact_revision(),
            keys: self.state.live_keys(),
            leases: self.state.leases().count() as u64,
            alarms: self.state.alarms().count() as u64,
            file_bytes: self.file_bytes,
        }
    }
}

fn for_each_piece<E>(
    file: &mut File,
    content_bytes: u64,
    mut take: impl FnMut(Bytes) -> Result<(), E>,
) -> std::io::Result<Result<(), E>> {
    file.seek(SeekFrom::Start(0))?;
    let mut left = content_bytes;
    while left > 0 {
        let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES)];
        file.read_exact(&mut piece)?;
        left -= piece.len() as u64;
        if let Err(error) = take(Bytes::from(piece)) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

fn has_right_digest(file: &mut File, content_bytes: u64) -> std::io::Result<bool> {
    let mut digest = Sha256::new();
    let Ok(()) = for_each_piece(file, content_bytes, |piece| -> Result<(), std::convert::Infallible> {
        digest.update(&piece);
        Ok(())
    })?;
    let mut expected = [0; DIGEST_BYTES as usize];
    file.read_exact(&mut expected)?;
    Ok(digest.finalize()[..] == expected)
}

fn read_content(file: &mut File, content_bytes: u64, name: &str) -> Result<BackupReader, SnapshotFileError> {
    let mut reader = BackupReader::default();
    match for_each_piece(file, content_bytes, |piece| reader.push(piece)) {
        Ok(Ok(())) => Ok(reader),
        Ok(Err(source)) => Err(SnapshotFileError::Content { file: name.to_owned(), source }),
        Err(source) => Err(SnapshotFileError::System { file: name.to_owned(), source }),
    }
}
