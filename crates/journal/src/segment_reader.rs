//! Reads a segment forwards in large pieces.

use bytes::Bytes;
use quorate_disk::{Disk, DiskError};

const CHUNK_BYTES: usize = 1024 * 1024;

/// One segment file, read through a window that moves forward.
pub(crate) struct SegmentReader<'a> {
    disk: &'a dyn Disk,
    file: String,
    length: u64,
    chunk: Bytes,
    chunk_offset: u64,
}

impl<'a> SegmentReader<'a> {
    pub(crate) fn new(disk: &'a dyn Disk, file: String) -> Result<SegmentReader<'a>, DiskError> {
        let length = disk.length(&file)?;
        Ok(SegmentReader { disk, file, length, chunk: Bytes::new(), chunk_offset: 0 })
    }

    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// `length` bytes at `offset`, sharing memory with their surroundings; fewer only where the file ends.
    pub(crate) fn bytes(&mut self, offset: u64, length: usize) -> Result<Bytes, DiskError> {
        if let Some(start) = self.start_in_chunk(offset, length) {
            return Ok(self.chunk.slice(start..start + length));
        }
        self.chunk = self.disk.read(&self.file, offset, length.max(CHUNK_BYTES))?;
        self.chunk_offset = offset;
        Ok(self.chunk.slice(..length.min(self.chunk.len())))
    }

    /// Calls `look` with every sector-aligned piece from `offset` to the end, until it returns false.
    pub(crate) fn for_each_chunk(
        &mut self,
        offset: u64,
        mut look: impl FnMut(u64, &Bytes) -> bool,
    ) -> Result<(), DiskError> {
        let mut offset = offset;
        while offset < self.length {
            let left = usize::try_from(self.length - offset).unwrap_or(usize::MAX);
            let chunk = self.bytes(offset, left.min(CHUNK_BYTES))?;
            if chunk.is_empty() || !look(offset, &chunk) {
                break;
            }
            offset += chunk.len() as u64;
        }
        Ok(())
    }

    fn start_in_chunk(&self, offset: u64, length: usize) -> Option<usize> {
        let start = usize::try_from(offset.checked_sub(self.chunk_offset)?).ok()?;
        (start.checked_add(length)? <= self.chunk.len()).then_some(start)
    }
}
