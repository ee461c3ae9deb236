//! A file's bytes at one moment: sparse, and cheap to clone.

use crate::operation::SECTOR_BYTES;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Small, since most files of a simulation are.
const PAGE_BYTES: usize = 1024;

/// A missing page reads as zeros; pages are shared between clones until one of them writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    length: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE_BYTES]>>,
}

impl Image {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn grow(&mut self, length: u64) {
        self.length = self.length.max(length);
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.grow(offset + bytes.len() as u64);
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let (page, start) = place(at);
            let count = rest.len().min(PAGE_BYTES - start);
            let (now, later) = rest.split_at(count);
            self.page_mut(page)[start..start + count].copy_from_slice(now);
            rest = later;
            at += count as u64;
        }
    }

    /// Up to `length` bytes at `offset`; fewer only at the end.
    pub(super) fn read(&self, offset: u64, length: usize) -> Bytes {
        let available = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(available);
        let mut out = Vec::with_capacity(length);
        while out.len() < length {
            let (page, start) = place(offset + out.len() as u64);
            let count = (length - out.len()).min(PAGE_BYTES - start);
            match self.pages.get(&page) {
                Some(bytes) => out.extend_from_slice(&bytes[start..start + count]),
                None => out.resize(out.len() + count, 0),
            }
        }
        Bytes::from(out)
    }

    /// Bytes past the cut are gone: growing again shows zeros.
    pub(super) fn truncate(&mut self, length: u64) {
        if length >= self.length {
            return;
        }
        self.length = length;
        let (page, start) = place(length);
        self.pages.split_off(&(page + 1));
        if let Some(bytes) = self.pages.get_mut(&page) {
            Arc::make_mut(bytes)[start..].fill(0);
        }
    }

    /// The sectors that hold anything but zeros, ascending.
    pub(super) fn sectors_in_use(&self) -> Vec<u64> {
        let per_page = (PAGE_BYTES / SECTOR_BYTES) as u64;
        let within = self.length.div_ceil(SECTOR_BYTES as u64);
        let mut sectors = Vec::new();
        for (page, bytes) in &self.pages {
            let used =
                (0..).zip(bytes.chunks_exact(SECTOR_BYTES)).filter(|(_, sector)| sector.iter().any(|byte| *byte != 0));
            sectors.extend(used.map(|(at, _): (u64, _)| page * per_page + at).filter(|sector| *sector < within));
        }
        sectors
    }

    /// Does nothing past the end.
    pub(super) fn flip_bit(&mut self, bit: u64) {
        if bit / 8 < self.length {
            let (page, start) = place(bit / 8);
            self.page_mut(page)[start] ^= 1 << (bit % 8);
        }
    }

    fn page_mut(&mut self, page: u64) -> &mut [u8; PAGE_BYTES] {
        Arc::make_mut(self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES])))
    }
}

/// The page of a byte, and the byte's place within it.
fn place(offset: u64) -> (u64, usize) {
    (offset / PAGE_BYTES as u64, (offset % PAGE_BYTES as u64) as usize)
}
