//! Writing items to files, slice by slice.

use crate::item_file::{Header, encode_gap, encode_item, padding_at};
use crate::manifest::FileExtent;
use crate::names::FileKind;
use crate::store::StoreConfig;
use bytes::Bytes;
use quorate_disk::Operation;
use std::ops::Range;

/// Numbers looked at for one slice: what is missing costs time too.
const SLICE_NUMBERS: u64 = 16 * 1024;

/// The items that an image is written from.
pub trait Items {
    /// Item `number`, unless it was dropped. Its bytes never change.
    fn item(&self, number: u64) -> Option<Bytes>;

    /// How many items with these numbers there are.
    fn live_items(&self, numbers: Range<u64>) -> u64;
}

/// Gives every file a number that none had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileNumbers {
    pub(crate) last: u64,
}

/// Item files in the order of their items, and how far they go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) files: Vec<FileExtent>,
    /// Every item below was written, if there was one.
    pub(crate) items_written: u64,
}

impl Layout {
    /// Writes the next slice of the items below `end`, to the end of the newest file or to a new one. The operations may be
    /// none where all that was looked at is missing. `after_checkpoint` goes into the headers of new files.
    ///
    /// # Panics
    /// When an item is as long as a frame cannot be.
    pub(crate) fn write_slice(
        &mut self,
        end: u64,
        items: &dyn Items,
        config: StoreConfig,
        numbers: &mut FileNumbers,
        after_checkpoint: u64,
    ) -> Vec<Operation> {
        let mut operations = Vec::new();
        let mut bytes = Vec::with_capacity(config.slice_bytes.min(1 << 20));
        let mut extent = self.files.last().copied().filter(|file| file.end < config.file_bytes);
        let last_to_see = end.min(self.items_written.saturating_add(SLICE_NUMBERS));
        while self.items_written < last_to_see && bytes.len() < config.slice_bytes.max(1) {
            let number = self.items_written;
            self.items_written += 1;
            let Some(item) = items.item(number) else { continue };
            let file = extent.get_or_insert_with(|| {
                numbers.last += 1;
                let file_number = numbers.last;
                Header { file_number, first_item: number, after_checkpoint }.encode(&mut bytes);
                operations.push(Operation::Create { file: FileKind::Items(file_number).name(), reserve_bytes: 0 });
                FileExtent { number: file_number, first_item: number, next_item: number, end: 0, checksum: 0 }
            });
            if number != file.next_item {
                encode_gap(number, &mut bytes);
            }
            encode_item(number, &item, &mut bytes);
            file.next_item = number + 1;
        }
        let extent = match extent {
            Some(extent) => extent,
            // Nothing was added; what is there may lack its padding.
            None => match self.files.last() {
                Some(last) => *last,
                None => return operations,
            },
        };
        if self.items_written >= end {
            // The next checkpoint must not write into a sector that this one vouches for: a torn write may spoil it.
            bytes.resize(bytes.len() + padding_at(extent.end + bytes.len() as u64), 0);
        }
        if !bytes.is_empty() {
            self.append(extent, Bytes::from(bytes), &mut operations);
        }
        operations
    }

    fn append(&mut self, extent: FileExtent, bytes: Bytes, operations: &mut Vec<Operation>) {
        let is_new = extent.end == 0;
        if is_new {
            self.files.push(extent);
        }
        if let Some(newest) = self.files.last_mut() {
            let checksum = crc32c::crc32c_append(extent.checksum, &bytes);
            *newest = FileExtent { end: extent.end + bytes.len() as u64, checksum, ..extent };
        }
        let file = FileKind::Items(extent.number).name();
        operations.push(Operation::Write { file: file.clone(), offset: extent.end, parts: vec![bytes] });
        operations.push(Operation::Flush { file });
        if is_new {
            // Before any manifest that names the file can get its own name.
            operations.push(Operation::FlushDirectory);
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.end).sum()
    }
}
