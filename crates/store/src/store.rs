//! Running a checkpoint, slice by slice.

use crate::error::StoreError;
use crate::item_file::{Header, encode_item, padding_at};
use crate::manifest::{FileExtent, Manifest};
use crate::names::FileKind;
use crate::recovery::{Opened, open};
use bytes::Bytes;
use quorate_disk::{Disk, Operation};
use quorate_types::Slot;

/// Sizes. They may differ from one start to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// A slice ends with the item that brings it to this many bytes. Each slice is flushed, so this bounds both the work
    /// between two other uses of the disk and what one flush has to write.
    pub slice_bytes: usize,
    /// An item file ends with the slice that brings it to this many bytes.
    pub file_bytes: u64,
}

impl Default for StoreConfig {
    /// Slices of 1 MiB, files of 64 MiB.
    fn default() -> StoreConfig {
        StoreConfig { slice_bytes: 1 << 20, file_bytes: 64 << 20 }
    }
}

/// One slice of work for the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// To be given to [`Store::completed`].
    pub id: u64,
    /// To be performed in this order.
    pub operations: Vec<Operation>,
}

/// The durable image of one state machine.
///
/// # How to drive it
/// 1. [`Store::open`]; perform its operations; restore the state machine from the image. Only then is the image's slot
///    durable for certain, because a process that was killed may have left it in the system's cache.
/// 2. [`Store::begin`] a checkpoint of the present state: its slot, meta, head and number of items.
/// 3. Until it is done: [`Store::next_write`], perform the operations in order, [`Store::completed`]. Other work may go
///    between two slices, and the state machine may go on: items never change, and the head was taken at the beginning.
/// 4. `completed` answers `Some(applied)` once: from then on the image survives any crash.
///
/// One write is in flight at a time. When an operation fails, stop: the store must be opened again from media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    config: StoreConfig,
    /// Item file `n` at `n - 1`: everything written so far, by the running checkpoint too.
    files: Vec<FileExtent>,
    /// Items in these files.
    items_written: u64,
    durable: Durable,
    running: Option<Running>,
    /// Writes handed out; the last one's id.
    writes: u64,
}

/// The newest checkpoint that a crash leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Durable {
    /// 0: there is none.
    number: u64,
    applied: Slot,
    item_count: u64,
    manifest_bytes: u64,
}

impl Durable {
    fn of(manifest: &Manifest, manifest_bytes: u64) -> Durable {
        let Manifest { number, applied, item_count, .. } = *manifest;
        Durable { number, applied, item_count, manifest_bytes }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Running {
    applied: Slot,
    meta: Bytes,
    head: Bytes,
    item_count: u64,
    in_flight: Option<InFlight>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InFlight {
    id: u64,
    /// What the write makes durable, if it is the manifest's.
    completes: Option<Durable>,
}

impl Store {
    /// Opens what is on the disk, or an empty store if there is nothing. Reads and checks every byte of the image;
    /// changes nothing, so it may be called only to look.
    ///
    /// # Errors
    /// When the disk fails, another release wrote the files, or anything that the newest checkpoint vouches for is
    /// damaged. Never answers data that was not checkpointed, nor an older checkpoint than the newest durable one.
    pub fn open(disk: &dyn Disk, config: StoreConfig) -> Result<Opened, StoreError> {
        open(disk, config)
    }

    pub(crate) fn empty(config: StoreConfig) -> Store {
        Store { config, files: Vec::new(), items_written: 0, durable: Durable::default(), running: None, writes: 0 }
    }

    /// Whoever calls this has read and checked all that the manifest names.
    pub(crate) fn from_manifest(config: StoreConfig, manifest: &Manifest, manifest_bytes: u64) -> Store {
        Store {
            files: manifest.files.clone(),
            items_written: manifest.item_count,
            durable: Durable::of(manifest, manifest_bytes),
            ..Store::empty(config)
        }
    }

    /// Starts a checkpoint of the state after `applied`, with this `meta` and `head`, when it had exactly `item_count`
    /// items. The items written before are part of it and are not written again.
    ///
    /// Answers `false` and starts nothing if a checkpoint is running, or if this state is older than the durable one
    /// (an earlier slot, or fewer items): writing it would take back what is promised.
    #[must_use = "false means that no checkpoint was started"]
    pub fn begin(&mut self, applied: Slot, meta: Bytes, head: Bytes, item_count: u64) -> bool {
        let is_older = applied < self.durable.applied || item_count < self.durable.item_count;
        if self.running.is_some() || is_older {
            return false;
        }
        self.running = Some(Running { applied, meta, head, item_count, in_flight: None });
        true
    }

    /// The next slice of the running checkpoint; nothing while one is in flight or when no checkpoint runs. `item`
    /// gives the item with a number below the checkpoint's `item_count`.
    ///
    /// # Panics
    /// When an item is 4 GiB long or longer.
    pub fn next_write(&mut self, item: &mut dyn FnMut(u64) -> Bytes) -> Option<Write> {
        let running = self.running.as_ref().filter(|running| running.in_flight.is_none())?;
        let (operations, completes) = if self.items_written < running.item_count {
            (self.write_items(running.item_count, item), None)
        } else {
            let manifest = Manifest {
                number: self.durable.number + 1,
                applied: running.applied,
                item_count: running.item_count,
                files: self.files.clone(),
                meta: running.meta.clone(),
                head: running.head.clone(),
            };
            let bytes = manifest.encode();
            let completes = Durable::of(&manifest, bytes.len() as u64);
            (self.write_manifest(manifest.number, bytes), Some(completes))
        };
        self.writes += 1;
        let id = self.writes;
        if let Some(running) = &mut self.running {
            running.in_flight = Some(InFlight { id, completes });
        }
        Some(Write { id, operations })
    }

    /// Takes note that a write's operations have all been performed. Answers the checkpoint's slot once the whole
    /// checkpoint is durable. An id that is not in flight changes nothing.
    pub fn completed(&mut self, id: u64) -> Option<Slot> {
        let running = self.running.as_mut()?;
        let done = running.in_flight.take_if(|in_flight| in_flight.id == id)?;
        let durable = done.completes?;
        self.durable = durable;
        self.running = None;
        Some(durable.applied)
    }

    /// Whether a checkpoint is running.
    #[must_use]
    pub fn is_checkpointing(&self) -> bool {
        self.running.is_some()
    }

    /// The slot of the newest durable checkpoint; 0 if there is none.
    #[must_use]
    pub fn durable(&self) -> Slot {
        self.durable.applied
    }

    /// The bytes of the image, with what the running checkpoint has written of it so far.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        self.files.iter().map(|file| file.end).sum::<u64>() + self.durable.manifest_bytes
    }

    /// One slice of items, to the end of the newest file or to a new one.
    fn write_items(&mut self, item_count: u64, item: &mut dyn FnMut(u64) -> Bytes) -> Vec<Operation> {
        let mut operations = Vec::new();
        let mut bytes = Vec::with_capacity(self.config.slice_bytes.min(1 << 20));
        let extent = match self.files.last().filter(|file| file.end < self.config.file_bytes) {
            Some(extent) => *extent,
            None => {
                let first_item = self.items_written;
                self.files.push(FileExtent { first_item, end: 0, checksum: 0 });
                let file_number = self.files.len() as u64;
                Header { file_number, first_item, after_checkpoint: self.durable.number }.encode(&mut bytes);
                operations.push(Operation::Create { file: FileKind::Items(file_number).name(), reserve_bytes: 0 });
                FileExtent { first_item, end: 0, checksum: 0 }
            }
        };
        let is_new = extent.end == 0;
        while self.items_written < item_count {
            encode_item(self.items_written, &item(self.items_written), &mut bytes);
            self.items_written += 1;
            if bytes.len() >= self.config.slice_bytes {
                break;
            }
        }
        let mut end = extent.end + bytes.len() as u64;
        if self.items_written == item_count {
            // The next checkpoint must not write into a sector that this one vouches for: a torn write may spoil it.
            let padding = padding_at(end);
            bytes.resize(bytes.len() + padding, 0);
            end += padding as u64;
        }
        let file = FileKind::Items(self.files.len() as u64).name();
        if let Some(newest) = self.files.last_mut() {
            newest.end = end;
            newest.checksum = crc32c::crc32c_append(extent.checksum, &bytes);
        }
        operations.push(Operation::Write { file: file.clone(), offset: extent.end, parts: vec![Bytes::from(bytes)] });
        operations.push(Operation::Flush { file });
        if is_new {
            // Before any manifest that names the file can get its own name.
            operations.push(Operation::FlushDirectory);
        }
        operations
    }

    fn write_manifest(&self, number: u64, bytes: Bytes) -> Vec<Operation> {
        let unfinished = FileKind::UnfinishedManifest(number).name();
        let mut operations = vec![
            Operation::Create { file: unfinished.clone(), reserve_bytes: 0 },
            Operation::Write { file: unfinished.clone(), offset: 0, parts: vec![bytes] },
            Operation::Flush { file: unfinished.clone() },
            Operation::Rename { from: unfinished, to: FileKind::Manifest(number).name() },
            Operation::FlushDirectory,
        ];
        if self.durable.number > 0 {
            operations.push(Operation::Unlink { file: FileKind::Manifest(self.durable.number).name() });
        }
        operations
    }
}
