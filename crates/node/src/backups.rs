//! Backups: the applied state as a stream of bytes, at the pace of whoever takes it.
//!
//! ```text
//! magic (8)  version, cluster, node, applied slot, digest, era    LEB128
//! protocol, members, then the length of the stream that follows   in the codec of messages
//! the stream of the state, as snapshots carry it
//! CRC-32C of everything before (4)
//! ```
//!
//! [`crate::BackupReader`] reads it back.

use crate::node::Node;
use bytes::Bytes;
use quorate_machine::StateMachine;
use quorate_machine::transfer::{View, ViewPosition};
use quorate_protocol::Replica;
use quorate_types::Time;
use quorate_wire::{Wire, put_u64};
use std::time::Duration;

pub(crate) const MAGIC: [u8; 8] = *b"QRTBCKUP";
pub(crate) const VERSION: u64 = 1;
/// At the same time; each keeps condemned items in memory while it lasts.
const BACKUPS_MAX: usize = 4;
/// One that nobody takes from for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names a backup within one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(pub u64);

/// What comes next of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupPiece {
    /// Still counting how long it is; ask again.
    Counting,
    /// Some bytes, perhaps none, and how many follow.
    Bytes {
        /// These.
        bytes: Bytes,
        /// Of the whole backup, after these.
        remaining_bytes: u64,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Backup {
    view: View,
    /// Everything before the stream, but for the stream's length.
    header: Vec<u8>,
    taken_at: Time,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    Counting { position: ViewPosition, counted: u64 },
    Streaming { position: ViewPosition, checksum: u32, remaining_bytes: u64, header: Option<Bytes> },
}

impl<R: Replica, S: StateMachine> Node<R, S> {
    /// Pins the applied state for a backup; nothing if there are too many, or if this node stores no data. It is let go of with its last piece, by
    /// [`Node::close_backup`], after a minute in which nobody took a piece, or when a snapshot replaces the state.
    pub fn open_backup(&mut self, now: Time) -> Option<BackupId> {
        self.backups.retain(|_, backup| backup.taken_at + PATIENCE > now);
        if self.backups.len() >= BACKUPS_MAX || self.is_witness {
            return None;
        }
        let view = self.machine.view();
        let status = self.replica.status();
        let mut header = MAGIC.to_vec();
        for number in [VERSION, self.setup.cluster.0, self.setup.me.0, view.applied.0, view.digest, status.era] {
            put_u64(number, &mut header);
        }
        R::PROTOCOL.to_owned().encode(&mut header);
        status.membership.encode(&mut header);
        self.last_backup += 1;
        let id = BackupId(self.last_backup);
        let stage = Stage::Counting { position: ViewPosition::default(), counted: 0 };
        self.backups.insert(id, Backup { view, header, taken_at: now, stage });
        Some(id)
    }

    /// The next piece, of about so many bytes; nothing when the backup is over or was given up. The piece after which no bytes
    /// remain is the last.
    pub fn next_of_backup(&mut self, now: Time, id: BackupId, bytes_max: usize) -> Option<BackupPiece> {
        let state = self.machine.state();
        let backup = self.backups.get_mut(&id)?;
        backup.taken_at = now;
        let piece = backup.next(bytes_max, &mut |number| state.item(number));
        if matches!(piece, BackupPiece::Bytes { remaining_bytes: 0, .. }) {
            self.backups.remove(&id);
        }
        Some(piece)
    }

    /// Lets go of a backup.
    pub fn close_backup(&mut self, id: BackupId) {
        self.backups.remove(&id);
    }

    /// Whether items of the state are still needed by a backup. One that was given up is forgotten here.
    pub(crate) fn has_backups(&mut self, now: Time) -> bool {
        self.backups.retain(|_, backup| backup.taken_at + PATIENCE > now);
        !self.backups.is_empty()
    }
}

impl Backup {
    fn next(&mut self, bytes_max: usize, item: &mut dyn FnMut(u64) -> Option<Bytes>) -> BackupPiece {
        match &mut self.stage {
            Stage::Counting { position, counted } => {
                if let Some(length) = self.view.measure(position, counted, item) {
                    put_u64(length, &mut self.header);
                    let header = Bytes::from(std::mem::take(&mut self.header));
                    let remaining_bytes = header.len() as u64 + length + 4;
                    let position = ViewPosition::default();
                    let checksum = crc32c::crc32c(&header);
                    self.stage = Stage::Streaming { position, checksum, remaining_bytes, header: Some(header) };
                }
                BackupPiece::Counting
            }
            Stage::Streaming { position, checksum, remaining_bytes, header } => {
                let bytes = match header.take() {
                    Some(header) => header,
                    None if self.view.is_end(*position) => Bytes::copy_from_slice(&checksum.to_le_bytes()),
                    None => {
                        let piece = self.view.next_piece(position, bytes_max, item);
                        *checksum = crc32c::crc32c_append(*checksum, &piece);
                        piece
                    }
                };
                *remaining_bytes = remaining_bytes.saturating_sub(bytes.len() as u64);
                BackupPiece::Bytes { bytes, remaining_bytes: *remaining_bytes }
            }
        }
    }
}
