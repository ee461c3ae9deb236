//! Reading an image's items, a window at a time.

use crate::error::StoreError;
use crate::item_file::{FRAME_HEADER_BYTES, Frame, HEADER_BYTES, Header};
use crate::manifest::{FileExtent, Manifest};
use crate::names::FileKind;
use crate::presence::PresentItems;
use bytes::Bytes;
use quorate_disk::Disk;
use std::collections::VecDeque;

/// How much is read at a time, unless an item is longer. So little that the window's memory is used again at once
/// by the next one, and stays in the processor's cache until its items have been looked at.
const WINDOW_BYTES: usize = 64 << 10;

/// The items of an image, in ascending order of number, read and checked while they are taken. An item shares the memory of
/// the window that it was read with: copy what is to be kept.
///
/// What fails ends the iteration and is told by [`ItemReader::finish`]: what was taken before is worth nothing until that
/// has said that all is well.
pub struct ItemReader<'d> {
    disk: &'d dyn Disk,
    /// Still to be read.
    files: VecDeque<(FileExtent, Bytes)>,
    open: Option<OpenFile>,
    failed: Option<StoreError>,
}

struct OpenFile {
    name: String,
    extent: FileExtent,
    /// Where the next frame starts.
    offset: u64,
    /// The number that the next item has.
    expects: u64,
    /// The bytes from `offset` on that have been read.
    window: Bytes,
    /// Everything before was read, and is in `checksum`.
    read_to: u64,
    checksum: u32,
    present: PresentItems,
}

impl<'d> ItemReader<'d> {
    pub(crate) fn new(disk: &'d dyn Disk, manifest: &Manifest) -> ItemReader<'d> {
        let files = manifest.files.iter().copied().zip(manifest.present.iter().cloned());
        ItemReader { disk, files: files.collect(), open: None, failed: None }
    }

    /// Reads and checks whatever was not taken, and says whether everything was as the checkpoint vouches.
    ///
    /// # Errors
    /// The first thing that was not.
    pub fn finish(mut self) -> Result<(), StoreError> {
        while self.next().is_some() {}
        self.failed.map_or(Ok(()), Err)
    }

    fn read_next(&mut self) -> Result<Option<(u64, Bytes)>, StoreError> {
        loop {
            if self.open.is_none() {
                let Some((extent, runs)) = self.files.pop_front() else { return Ok(None) };
                self.open = Some(OpenFile::start(self.disk, extent, &runs)?);
            }
            let Some(open) = &mut self.open else { return Ok(None) };
            if let Some((number, item)) = open.next_item(self.disk)? {
                if open.is_present(number)? {
                    return Ok(Some((number, item)));
                }
                continue;
            }
            self.open = None;
        }
    }
}

impl Iterator for ItemReader<'_> {
    type Item = (u64, Bytes);

    fn next(&mut self) -> Option<(u64, Bytes)> {
        if self.failed.is_some() {
            return None;
        }
        self.read_next().unwrap_or_else(|error| {
            self.failed = Some(error);
            None
        })
    }
}

impl OpenFile {
    fn start(disk: &dyn Disk, extent: FileExtent, runs: &Bytes) -> Result<OpenFile, StoreError> {
        let name = FileKind::Items(extent.number).name();
        let expects = extent.first_item;
        let present = PresentItems::new(extent.first_item, runs);
        let window = Bytes::new();
        let mut open = OpenFile { name, extent, offset: 0, expects, window, read_to: 0, checksum: 0, present };
        open.fill(disk, HEADER_BYTES.min(usize::try_from(extent.end).unwrap_or(HEADER_BYTES)))?;
        let header = Header::decode(&open.name, &open.window)?;
        if header.first_item != extent.first_item {
            let why = format!("it starts with item {} and item {} is next", header.first_item, extent.first_item);
            return Err(StoreError::corrupt(&open.name, 0, why));
        }
        open.take(HEADER_BYTES);
        Ok(open)
    }

    /// Has at least `wanted` bytes in the window. The caller has compared with the extent's end.
    fn fill(&mut self, disk: &dyn Disk, wanted: usize) -> Result<(), StoreError> {
        if self.window.len() >= wanted {
            return Ok(());
        }
        let left = usize::try_from(self.extent.end - self.offset).unwrap_or(usize::MAX);
        let length = wanted.max(WINDOW_BYTES).min(left);
        self.window = disk.read(&self.name, self.offset, length)?;
        let new = usize::try_from(self.read_to - self.offset).unwrap_or(usize::MAX).min(self.window.len());
        self.checksum = crc32c::crc32c_append(self.checksum, &self.window[new..]);
        self.read_to = self.offset + self.window.len() as u64;
        if self.window.len() < length {
            let why = format!("it ends there and {} bytes are expected", self.extent.end);
            return Err(StoreError::corrupt(&self.name, self.read_to, why));
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Bytes {
        self.offset += length as u64;
        self.window.split_to(length)
    }

    fn left(&self) -> u64 {
        self.extent.end - self.offset
    }

    /// The next item, or nothing at the end of the file, whose checksum is right then.
    fn next_item(&mut self, disk: &dyn Disk) -> Result<Option<(u64, Bytes)>, StoreError> {
        while self.left() > 0 {
            let offset = self.offset;
            let number = self.expects;
            if self.left() < FRAME_HEADER_BYTES as u64 {
                return Err(self.corrupt(offset, "it ends within a frame's header"));
            }
            self.fill(disk, FRAME_HEADER_BYTES)?;
            let frame = Frame::decode(&self.window[..FRAME_HEADER_BYTES]);
            let Some(length) = frame.body_bytes(offset) else {
                return Err(self.corrupt(offset, "there is padding where none can be"));
            };
            let whole = FRAME_HEADER_BYTES + length;
            if whole as u64 > self.left() {
                return Err(self.corrupt(offset, "a frame's length passes the end that the checkpoint names"));
            }
            self.fill(disk, whole)?;
            self.take(FRAME_HEADER_BYTES);
            let body = self.take(length);
            match frame {
                Frame::Item { .. } if frame.is_item(number, &body) => {
                    self.expects += 1;
                    return Ok(Some((number, body)));
                }
                Frame::Item { .. } => return Err(self.corrupt(offset, "an item's checksum does not match")),
                Frame::Gap { .. } => match frame.gap_end(&body).filter(|next| *next > number) {
                    Some(next) => self.expects = next,
                    None => return Err(self.corrupt(offset, "a gap's checksum does not match")),
                },
                Frame::Padding { second_word } => {
                    if second_word != 0 || body.iter().any(|byte| *byte != 0) {
                        return Err(self.corrupt(offset, "its padding is not empty"));
                    }
                }
            }
        }
        self.check_end().map(|()| None)
    }

    fn corrupt(&self, offset: u64, why: &str) -> StoreError {
        StoreError::corrupt(&self.name, offset, format!("{why} (item {})", self.expects))
    }

    /// Whether the checkpoint counts this item, or it was dropped after it was written.
    fn is_present(&mut self, number: u64) -> Result<bool, StoreError> {
        let told = self.present.contains(number);
        told.map_err(|error| StoreError::corrupt(&self.name, 0, format!("what the checkpoint says of it: {error}")))
    }

    fn check_end(&self) -> Result<(), StoreError> {
        let FileExtent { end, checksum, next_item, .. } = self.extent;
        if self.checksum != checksum {
            let why = format!("its first {end} bytes do not have the checksum that the checkpoint names");
            return Err(StoreError::corrupt(&self.name, 0, why));
        }
        if self.expects != next_item {
            let why =
                format!("its items end before {} and not before {next_item}, as the checkpoint says", self.expects);
            return Err(StoreError::corrupt(&self.name, 0, why));
        }
        Ok(())
    }
}
