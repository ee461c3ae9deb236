//! Reading a backup that comes in pieces. The format is that of `backups.rs`.

use crate::backups::{MAGIC, VERSION};
use bytes::Bytes;
use quorate_machine::transfer::StreamReader;
use quorate_machine::{MachineImage, OpenMachineError, Staged, StateMachine};
use quorate_types::{ClusterId, Membership, NodeId, Slot};
use quorate_wire::{Reader, Wire, WireError};
use thiserror::Error;

/// A backup is padded with zeros to a multiple of this where it is saved as a file.
const PAGE_BYTES: usize = 512;
const CHECKSUM_BYTES: usize = 4;
/// A header names members; no cluster has this many.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupHeader {
    /// The cluster it was taken from.
    pub cluster: ClusterId,
    /// The node it was taken from.
    pub node: NodeId,
    /// Everything up to this slot is in it.
    pub applied: Slot,
    /// The machine's rolling hash behind that slot.
    pub digest: u64,
    /// The era that node was in.
    pub era: u64,
    /// The protocol that replicated the state, such as `raft`.
    pub protocol: String,
    /// The members at that time.
    pub members: Membership,
}

/// Why bytes are no backup.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BackupError {
    /// It begins with something else.
    #[error("it is no snapshot of Quorate: it does not begin as one")]
    NotABackup,
    /// Another release wrote it.
    #[error("it has version {found}, and this release reads version {VERSION}")]
    Version {
        /// The version found.
        found: u64,
    },
    /// Its header makes no sense.
    #[error("its header cannot be read: {0}")]
    Header(WireError),
    /// It ends too early.
    #[error("it ends within {within}, after {bytes} bytes: the rest is missing")]
    Truncated {
        /// The part it ends in.
        within: &'static str,
        /// How many bytes there are.
        bytes: u64,
    },
    /// The bytes are not those that were written.
    #[error("it is damaged: its checksum is {found:08x}, and it says {expected:08x}")]
    Checksum {
        /// Of what was read.
        found: u32,
        /// What it says.
        expected: u32,
    },
    /// Something follows that does not belong to it.
    #[error("something follows its end at byte {at}")]
    Trailing {
        /// Where.
        at: u64,
    },
    /// The stream of the state cannot be taken apart.
    #[error("its state cannot be read: {0}")]
    Stream(WireError),
    /// The stream ends in the middle of an item.
    #[error("its state ends within an item")]
    Unfinished,
    /// The state cannot be made from it.
    #[error(transparent)]
    State(#[from] OpenMachineError),
}

/// Takes a backup apart piece by piece. Whatever it is given, it fails in words.
#[derive(Debug)]
pub struct BackupReader {
    stage: Stage,
    header: Option<BackupHeader>,
    stream: StreamReader,
    checksum: u32,
    bytes_read: u64,
}

#[derive(Debug)]
enum Stage {
    /// What is here of the header.
    Header(Vec<u8>),
    /// So many bytes of the stream are to come.
    Stream(u64),
    /// What is here of the checksum.
    Checksum(Vec<u8>),
    /// So much padding was read.
    Padding(usize),
}

impl Default for BackupReader {
    fn default() -> BackupReader {
        BackupReader {
            stage: Stage::Header(Vec::new()),
            header: None,
            stream: StreamReader::default(),
            checksum: 0,
            bytes_read: 0,
        }
    }
}

impl BackupReader {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// As soon as they show that this is no whole backup, whatever may follow. The reader is of no more use then.
    pub fn push(&mut self, piece: Bytes) -> Result<(), BackupError> {
        let mut rest = piece;
        while !rest.is_empty() {
            let before = rest.len();
            rest = self.take(rest)?;
            self.bytes_read += (before - rest.len()) as u64;
        }
        Ok(())
    }

    /// Takes what belongs to the present stage and answers what does not.
    fn take(&mut self, mut bytes: Bytes) -> Result<Bytes, BackupError> {
        match &mut self.stage {
            Stage::Header(seen) => {
                let seen_before = seen.len();
                seen.extend_from_slice(&bytes);
                let Some((header, stream_bytes, length)) = decode_header(seen)? else { return Ok(Bytes::new()) };
                self.checksum = crc32c::crc32c(&seen[..length]);
                self.header = Some(header);
                self.stage = Stage::Stream(stream_bytes).skip_empty();
                Ok(bytes.split_off(length - seen_before))
            }
            Stage::Stream(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                let rest = bytes.split_off(here);
                self.checksum = crc32c::crc32c_append(self.checksum, &bytes);
                *left -= here as u64;
                if *left == 0 {
                    self.stage = Stage::Checksum(Vec::new());
                }
                self.stream.push(bytes).map_err(BackupError::Stream)?;
                Ok(rest)
            }
            Stage::Checksum(seen) => {
                let rest = bytes.split_off((CHECKSUM_BYTES - seen.len()).min(bytes.len()));
                seen.extend_from_slice(&bytes);
                if let Ok(expected) = <[u8; CHECKSUM_BYTES]>::try_from(&seen[..]) {
                    let (found, expected) = (self.checksum, u32::from_le_bytes(expected));
                    if found != expected {
                        return Err(BackupError::Checksum { found, expected });
                    }
                    self.stage = Stage::Padding(0);
                }
                Ok(rest)
            }
            Stage::Padding(count) => {
                *count += bytes.len();
                if *count >= PAGE_BYTES || bytes.iter().any(|byte| *byte != 0) {
                    return Err(BackupError::Trailing { at: self.bytes_read });
                }
                Ok(Bytes::new())
            }
        }
    }

    /// The state, if the backup ends here, with what it says of itself.
    ///
    /// # Errors
    /// When it is not complete, or no state with the digest that it names comes of it.
    pub fn finish<S: StateMachine>(self) -> Result<(BackupHeader, S), BackupError> {
        let within = match self.stage {
            Stage::Header(_) => "its header",
            Stage::Stream(_) => "its state",
            Stage::Checksum(_) => "its checksum",
            Stage::Padding(_) => "",
        };
        let Some(header) = self.header.filter(|_| within.is_empty()) else {
            return Err(BackupError::Truncated { within, bytes: self.bytes_read });
        };
        let parts = self.stream.finish(u64::MAX).ok_or(BackupError::Unfinished)?;
        let items = &mut parts.items.into_iter();
        let image = MachineImage { applied: header.applied, meta: parts.meta, head: parts.head, items };
        let staged = Staged::<S>::read(image)?;
        match staged.digest() {
            digest if digest == header.digest => Ok((header, staged.into_state())),
            found => Err(OpenMachineError::Digest { found, expected: header.digest }.into()),
        }
    }
}

impl Stage {
    fn skip_empty(self) -> Stage {
        if matches!(self, Stage::Stream(0)) { Stage::Checksum(Vec::new()) } else { self }
    }
}

/// The header, the length of the stream and its own length; nothing if more bytes are needed.
fn decode_header(seen: &[u8]) -> Result<Option<(BackupHeader, u64, usize)>, BackupError> {
    let magic_bytes = seen.len().min(MAGIC.len());
    if seen[..magic_bytes] != MAGIC[..magic_bytes] {
        return Err(BackupError::NotABackup);
    }
    if magic_bytes < MAGIC.len() {
        return Ok(None);
    }
    let mut reader = Reader::new(Bytes::copy_from_slice(&seen[MAGIC.len()..seen.len().min(HEADER_BYTES_MAX)]));
    match decode_fields(&mut reader) {
        Ok((header, stream_bytes)) => {
            let length = seen.len().min(HEADER_BYTES_MAX) - reader.remaining();
            Ok(Some((header, stream_bytes, length)))
        }
        Err(BackupError::Header(WireError::Truncated { .. })) if seen.len() < HEADER_BYTES_MAX => Ok(None),
        Err(error) => Err(error),
    }
}

fn decode_fields(reader: &mut Reader) -> Result<(BackupHeader, u64), BackupError> {
    let number = |reader: &mut Reader, what| reader.u64(what).map_err(BackupError::Header);
    let found = number(reader, "version")?;
    if found != VERSION {
        return Err(BackupError::Version { found });
    }
    let cluster = ClusterId(number(reader, "cluster")?);
    let node = NodeId(number(reader, "node")?);
    let applied = Slot(number(reader, "applied slot")?);
    let digest = number(reader, "digest")?;
    let era = number(reader, "era")?;
    let protocol = String::decode(reader).map_err(BackupError::Header)?;
    let members = Membership::decode(reader).map_err(BackupError::Header)?;
    let stream_bytes = number(reader, "length of the state")?;
    Ok((BackupHeader { cluster, node, applied, digest, era, protocol, members }, stream_bytes))
}
