//! All changes, packed in memory, by number.
//!
//! A command's key and value are slices of its batch, and one kept slice would keep the whole batch in memory. So every
//! change is encoded once, on its own, into a chunk that belongs to the log; what is kept per change besides its bytes
//! is one handle into the chunk. The same bytes serve as the durable item, and the keys and values of replies are
//! slices of them: reading copies nothing.

use crate::change::Change;
use crate::revision::Revision;
use bytes::{Bytes, BytesMut};
use quorate_wire::{Wire, decode_exact};

/// One allocation of packed changes.
const CHUNK_BYTES: usize = 1 << 20;
/// A change that may be longer gets an allocation of its own, so that the rest of a chunk is not wasted.
const PACKED_BYTES_MAX: usize = CHUNK_BYTES / 16;
/// Handles per page. Pages, and not one array, so that growing never copies more than this many.
const PAGE_CHANGES: usize = 1 << 12;

/// An append-only sequence of encoded changes.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct ChangeLog {
    /// Every page but the last is full.
    pages: Vec<Vec<Bytes>>,
    /// The free rest of the chunk being filled; always empty as a byte string.
    chunk: BytesMut,
    /// The sum of the lengths of all changes.
    bytes: u64,
}

impl ChangeLog {
    /// How many there are; the next one's number.
    pub(crate) fn len(&self) -> u64 {
        let full_pages = self.pages.len().saturating_sub(1);
        let last_page = self.pages.last().map_or(0, Vec::len);
        (full_pages * PAGE_CHANGES + last_page) as u64
    }

    /// The sum of the lengths of all changes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a change and returns its bytes.
    pub(crate) fn append(&mut self, change: &Change) -> Bytes {
        let mut encoded = Vec::with_capacity(change.encoded_bytes_at_most());
        change.encode(&mut encoded);
        self.append_encoded(encoded)
    }

    fn append_encoded(&mut self, encoded: Vec<u8>) -> Bytes {
        let item = if encoded.len() > PACKED_BYTES_MAX {
            Bytes::from(encoded.into_boxed_slice())
        } else {
            self.pack(&encoded)
        };
        self.bytes += item.len() as u64;
        if self.pages.last().is_none_or(|page| page.len() == PAGE_CHANGES) {
            self.pages.push(Vec::with_capacity(if self.pages.is_empty() { 0 } else { PAGE_CHANGES }));
        }
        if let Some(page) = self.pages.last_mut() {
            page.push(item.clone());
        }
        item
    }

    fn pack(&mut self, encoded: &[u8]) -> Bytes {
        if self.chunk.capacity() < encoded.len() {
            // A store of a few keys stays small: the first chunks double up to the full size.
            let wanted = usize::try_from(self.bytes).unwrap_or(CHUNK_BYTES).clamp(PACKED_BYTES_MAX, CHUNK_BYTES);
            self.chunk = BytesMut::with_capacity(wanted);
        }
        self.chunk.extend_from_slice(encoded);
        self.chunk.split().freeze()
    }

    /// The bytes of a change; nothing past the end.
    pub(crate) fn item(&self, number: u64) -> Option<&Bytes> {
        let number = usize::try_from(number).ok()?;
        self.pages.get(number / PAGE_CHANGES)?.get(number % PAGE_CHANGES)
    }

    /// A change by number; nothing past the end.
    pub(crate) fn get(&self, number: u64) -> Option<Change> {
        self.item(number).map(|item| decode_exact(item.clone()).expect("only encoded changes are ever appended"))
    }

    fn revision(&self, number: u64) -> Option<Revision> {
        self.item(number).map(|item| Change::decode_revision(item).expect("only encoded changes are ever appended"))
    }

    /// How many changes belong to main revisions up to and with `main`: as ascending revisions go, the changes
    /// numbered below the answer are exactly those.
    pub(crate) fn count_through(&self, main: i64) -> u64 {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.revision(middle).is_some_and(|revision| revision.main <= main) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}
