//! The changes that are kept, packed in memory, by number.
//!
//! A command's key and value are slices of its batch, and one kept slice would keep the whole batch in memory. So every
//! change is encoded into a chunk that belongs to the log; beside its bytes it costs one offset. The same bytes serve as
//! the durable item, and the keys and values of replies are slices of the chunk.
//!
//! Dropped changes leave their bytes behind until they are more than half of their chunk; then the chunk is written anew.
//! So all chunks together hold at most twice the bytes of the changes in them, plus one chunk that is being filled.

use crate::change::{Change, ChangeView};
use crate::chunk::Chunk;
use bytes::Bytes;
use quorate_wire::decode_exact;
use std::collections::BTreeMap;

/// A chunk is closed before it would outgrow this.
const CHUNK_BYTES: usize = 256 << 10;
/// A change that may be longer gets a chunk of its own, so that the rest of one is not wasted.
const PACKED_BYTES_MAX: usize = CHUNK_BYTES / 16;

/// A sequence of encoded changes, to which more are appended and from which any may be dropped.
#[derive(Clone)]
pub(crate) struct ChangeLog {
    /// By the number of the first change that each had.
    closed: BTreeMap<u64, Chunk<Bytes>>,
    /// The one being filled; behind all the others.
    open: Chunk<Vec<u8>>,
    /// The next change's number.
    next: u64,
    /// The sum of the lengths of the changes that are here.
    bytes: u64,
}

impl Default for ChangeLog {
    fn default() -> ChangeLog {
        ChangeLog { closed: BTreeMap::new(), open: Chunk::new(0, Vec::new()), next: 0, bytes: 0 }
    }
}

impl ChangeLog {
    /// How many there ever were; the next one's number.
    pub(crate) fn len(&self) -> u64 {
        self.next
    }

    /// The sum of the lengths of the changes that are here.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the chunks hold: the changes, and what dropped ones left behind.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        self.closed.values().map(|chunk| chunk.bytes().len() as u64).sum::<u64>() + self.open.bytes().len() as u64
    }

    /// Skips numbers: the next change has this one, which is not below those present.
    pub(crate) fn skip_to(&mut self, number: u64) {
        debug_assert!(number >= self.next, "numbers ascend");
        self.next = number;
    }

    /// Appends a change and returns its bytes. `encode` writes at most `bytes_at_most`.
    pub(crate) fn append(&mut self, bytes_at_most: usize, encode: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let is_large = bytes_at_most > PACKED_BYTES_MAX;
        let is_full = self.open.bytes().len() + bytes_at_most > CHUNK_BYTES;
        if (is_large || is_full || !self.open.reaches(self.next)) && !self.open.is_empty() {
            self.close();
        }
        if self.open.is_empty() {
            // A store of a few keys stays small: chunks double up to the full size.
            let wanted = if is_large { bytes_at_most } else { self.bytes.min(CHUNK_BYTES as u64) as usize };
            self.open = Chunk::new(self.next, Vec::with_capacity(wanted));
        }
        let number = self.next;
        self.next += 1;
        let length = self.open.append(number, encode);
        self.bytes += length as u64;
        self.open.last_item(length)
    }

    fn close(&mut self) {
        let open = std::mem::replace(&mut self.open, Chunk::new(self.next, Vec::new()));
        self.closed.insert(open.first(), open.close());
        self.settle(self.open_predecessor());
    }

    fn open_predecessor(&self) -> u64 {
        self.closed.last_key_value().map_or(0, |(first, _)| *first)
    }

    fn closed_with(&self, number: u64) -> Option<&Chunk<Bytes>> {
        self.closed.range(..=number).next_back().map(|(_, chunk)| chunk)
    }

    /// The bytes of a change, unless it was dropped or never was.
    pub(crate) fn item(&self, number: u64) -> Option<Bytes> {
        if number >= self.open.first() {
            return self.open.slice(number).map(Bytes::copy_from_slice);
        }
        let chunk = self.closed_with(number)?;
        chunk.place(number).map(|place| chunk.bytes().slice(place))
    }

    /// The same without sharing or copying.
    pub(crate) fn slice(&self, number: u64) -> Option<&[u8]> {
        if number >= self.open.first() { self.open.slice(number) } else { self.closed_with(number)?.slice(number) }
    }

    /// A change by number, unless it was dropped or never was.
    pub(crate) fn get(&self, number: u64) -> Option<Change> {
        self.item(number).map(|item| decode_exact(item).expect("only encoded changes are ever appended"))
    }

    /// What a change says, in place.
    pub(crate) fn view(&self, number: u64) -> Option<ChangeView<'_>> {
        self.slice(number).map(|item| ChangeView::of(item).expect("only encoded changes are ever appended"))
    }

    /// The changes from `number` on that are here, in order. Holes cost nothing.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = (u64, &[u8])> {
        let start = self.closed.range(..=number).next_back().map_or(0, |(first, _)| *first);
        let closed = self.closed.range(start..).flat_map(move |(_, chunk)| chunk.from(number));
        closed.chain(self.open.from(number))
    }

    /// How many changes of these numbers are here. Costs a step a chunk.
    pub(crate) fn count_in(&self, numbers: std::ops::Range<u64>) -> u64 {
        if numbers.is_empty() {
            return 0;
        }
        let start = self.closed.range(..=numbers.start).next_back().map_or(0, |(first, _)| *first);
        let closed = self.closed.range(start..numbers.end).map(|(_, chunk)| chunk.count_in(&numbers));
        closed.sum::<u64>() + self.open.count_in(&numbers)
    }

    /// Drops a change for ever, if it is here. Costs the rewriting of one chunk now and then.
    pub(crate) fn drop_change(&mut self, number: u64) {
        if number >= self.open.first() {
            self.bytes -= self.open.drop_change(number).unwrap_or(0) as u64;
            return;
        }
        let Some((first, chunk)) = self.closed.range_mut(..=number).next_back() else { return };
        let first = *first;
        if let Some(length) = chunk.drop_change(number) {
            self.bytes -= length as u64;
            self.settle(first);
        }
    }

    /// Frees a chunk with nothing in it, and writes a mostly dead one anew, together with the one before if both are small.
    fn settle(&mut self, first: u64) {
        let Some(chunk) = self.closed.get(&first) else { return };
        if chunk.is_empty() {
            self.closed.remove(&first);
            return;
        }
        if chunk.live_bytes() * 2 >= chunk.bytes().len() {
            return;
        }
        let before = self.closed.range(..first).next_back();
        let joined = before.filter(|(_, before)| {
            before.bytes().len() + chunk.live_bytes() <= CHUNK_BYTES / 2 && before.can_take(chunk)
        });
        let (place, parts) = match joined {
            Some((place, before)) => (*place, vec![before, chunk]),
            None => (first, vec![chunk]),
        };
        let rewritten = Chunk::rewrite(place, &parts);
        self.closed.remove(&first);
        self.closed.insert(place, rewritten);
    }

    /// A number such that the changes below it are exactly those of main revisions up to and with `main`: revisions
    /// ascend with numbers.
    pub(crate) fn count_through(&self, main: i64) -> u64 {
        let main_at = |item: &[u8]| ChangeView::of(item).expect("only encoded changes are ever appended").revision.main;
        let last = self.open.last().or_else(|| self.closed.last_key_value().and_then(|(_, chunk)| chunk.last()));
        if last.is_none_or(|item| main_at(item) <= main) {
            return self.next;
        }
        let (mut low, mut high) = (0, self.next);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.from(middle).next() {
                Some((number, item)) if main_at(item) <= main => low = number + 1,
                _ => high = middle,
            }
        }
        low
    }
}
