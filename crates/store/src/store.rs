//! Checkpoints, slice by slice.

use crate::item_file;
use crate::manifest::{self, ItemFile, Manifest};
use bytes::Bytes;
use quorate_disk::Operation;
use quorate_types::Slot;

/// Sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// About how many bytes of items one write appends: bounds how long one occupies disk and memory.
    pub slice_bytes: usize,
    /// A file that has reached this size gets no further items.
    pub file_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig { slice_bytes: 1 << 20, file_bytes: 256 << 20 }
    }
}

/// Operations to perform in order; then say [`Store::completed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Names it.
    pub id: u64,
    /// What to do.
    pub operations: Vec<Operation>,
}

/// A checkpoint under way: what it will say once its items are written.
#[derive(Clone, Debug)]
struct Checkpoint {
    applied: Slot,
    meta: Bytes,
    head: Bytes,
    item_count: u64,
    published: bool,
}

/// The durable image of one state machine. The driver's duties: perform each [`Write`] in order, one at a time; after a failed
/// operation, stop and open again from the disk.
#[derive(Clone, Debug)]
pub struct Store {
    config: StoreConfig,
    /// As far as written, which may be further than any manifest says.
    files: Vec<ItemFile>,
    items_written: u64,
    next_file: u64,
    last_manifest: Option<u64>,
    manifest_bytes: u64,
    checkpoint: Option<Checkpoint>,
    under_way: Option<u64>,
    last_write: u64,
}

impl Store {
    pub(crate) fn new(config: StoreConfig, manifest: Option<&Manifest>) -> Store {
        let files = manifest.map_or_else(Vec::new, |manifest| manifest.files.clone());
        Store {
            config,
            next_file: files.last().map_or(1, |file| file.number + 1),
            files,
            items_written: manifest.map_or(0, |manifest| manifest.item_count),
            last_manifest: manifest.map(|manifest| manifest.number),
            manifest_bytes: 0,
            checkpoint: None,
            under_way: None,
            last_write: 0,
        }
    }

    /// Begins a checkpoint of the state at `applied`: its `meta`, its `head`, and its items `0..item_count`, of which those
    /// already written are not asked for again. `false`, and nothing begins, while another is under way.
    ///
    /// # Panics
    /// When there are fewer items than are written already: items never go away, so the caller's state is another one.
    #[must_use]
    pub fn begin(&mut self, applied: Slot, meta: Bytes, head: Bytes, item_count: u64) -> bool {
        if self.checkpoint.is_some() {
            return false;
        }
        assert!(item_count >= self.items_written, "{item_count} items, but {} are written already", self.items_written);
        self.checkpoint = Some(Checkpoint { applied, meta, head, item_count, published: false });
        true
    }

    /// The next slice of the checkpoint under way; `None` while a write is under way, and when there is nothing to do. `item`
    /// gives the bytes of an item by number.
    pub fn next_write(&mut self, item: &mut dyn FnMut(u64) -> Bytes) -> Option<Write> {
        if self.under_way.is_some() {
            return None;
        }
        let item_count = self.checkpoint.as_ref()?.item_count;
        let operations =
            if self.items_written < item_count { self.slice(item_count, item) } else { self.publication()? };
        self.last_write += 1;
        self.under_way = Some(self.last_write);
        Some(Write { id: self.last_write, operations })
    }

    /// A write was performed. With the last one of a checkpoint, the slot that is now durable. The completion of a write that
    /// is not under way means nothing.
    pub fn completed(&mut self, id: u64) -> Option<Slot> {
        if self.under_way != Some(id) {
            return None;
        }
        self.under_way = None;
        self.checkpoint.take_if(|checkpoint| checkpoint.published).map(|checkpoint| checkpoint.applied)
    }

    /// Whether a checkpoint is under way.
    #[must_use]
    pub fn is_checkpointing(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// Bytes on disk that count, or will with the checkpoint under way.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        self.files.iter().map(|file| file.end).sum::<u64>() + self.manifest_bytes
    }

    /// Appends items to the last file, or a new one, and flushes it.
    fn slice(&mut self, item_count: u64, item: &mut dyn FnMut(u64) -> Bytes) -> Vec<Operation> {
        let mut operations = Vec::new();
        let mut buffer = Vec::with_capacity(self.config.slice_bytes + 4096);
        let full = self.files.last().is_none_or(|file| file.end >= self.config.file_bytes);
        if full {
            let number = self.next_file;
            self.next_file += 1;
            operations.push(Operation::Create { file: item_file::name(number), reserve_bytes: 0 });
            buffer.extend_from_slice(&item_file::header(number, self.items_written));
            self.files.push(ItemFile { number, first_item: self.items_written, end: 0, checksum: 0 });
        }
        while self.items_written < item_count {
            item_file::push_item(self.items_written, &item(self.items_written), &mut buffer);
            self.items_written += 1;
            if buffer.len() >= self.config.slice_bytes {
                break;
            }
        }
        let file = self.files.last_mut().expect("a file was made if there was none");
        let name = item_file::name(file.number);
        let offset = file.end;
        file.end += buffer.len() as u64;
        file.checksum = crc32c::crc32c_append(file.checksum, &buffer);
        operations.push(Operation::Write { file: name.clone(), offset, parts: vec![Bytes::from(buffer)] });
        operations.push(Operation::Flush { file: name });
        if full {
            operations.push(Operation::FlushDirectory);
        }
        operations
    }

    /// Everything is written and flushed: the manifest gets its name, the old one goes.
    fn publication(&mut self) -> Option<Vec<Operation>> {
        let checkpoint = self.checkpoint.as_mut()?;
        checkpoint.published = true;
        let number = self.last_manifest.map_or(1, |last| last + 1);
        let manifest = Manifest {
            number,
            applied: checkpoint.applied,
            item_count: checkpoint.item_count,
            files: self.files.clone(),
            meta: checkpoint.meta.clone(),
            head: checkpoint.head.clone(),
        };
        let content = manifest.encode();
        self.manifest_bytes = content.len() as u64;
        let draft = || manifest::DRAFT.to_owned();
        let mut operations = vec![
            Operation::Create { file: draft(), reserve_bytes: 0 },
            Operation::Write { file: draft(), offset: 0, parts: vec![content] },
            Operation::Flush { file: draft() },
            Operation::Rename { from: draft(), to: manifest::name(number) },
            Operation::FlushDirectory,
        ];
        if let Some(old) = self.last_manifest.replace(number) {
            operations.push(Operation::Unlink { file: manifest::name(old) });
        }
        Some(operations)
    }
}
