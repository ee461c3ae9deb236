//! One allocation of packed changes.

use bytes::Bytes;
use std::ops::Range;

/// Set in the offset of a change that was dropped.
const DROPPED: u32 = 1 << 31;

/// Encoded changes one behind the other, in ascending order of number. `B` is a vector while it is filled and shared
/// bytes afterwards.
#[derive(Clone)]
pub(crate) struct Chunk<B> {
    first: u64,
    /// Of each change its number less `first`; absent while that is simply its place.
    distances: Option<Vec<u32>>,
    /// Where each change begins, and whether it was dropped. A change ends where the next begins. Only the first change
    /// of a chunk may end past 2^31 bytes.
    offsets: Vec<u32>,
    bytes: B,
    live: usize,
    live_bytes: usize,
}

impl<B: AsRef<[u8]>> Chunk<B> {
    pub(crate) fn new(first: u64, bytes: B) -> Chunk<B> {
        Chunk { first, distances: None, offsets: Vec::new(), bytes, live: 0, live_bytes: 0 }
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn bytes(&self) -> &B {
        &self.bytes
    }

    /// The bytes of the changes that were not dropped.
    pub(crate) fn live_bytes(&self) -> usize {
        self.live_bytes
    }

    /// Whether all of its changes were dropped.
    pub(crate) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Whether a change of this number, greater than those here, can be noted.
    pub(crate) fn reaches(&self, number: u64) -> bool {
        number - self.first <= u64::from(u32::MAX)
    }

    pub(crate) fn can_take(&self, next: &Chunk<B>) -> bool {
        self.reaches(next.number_at(next.offsets.len().saturating_sub(1)))
    }

    fn number_at(&self, index: usize) -> u64 {
        let distance = self.distances.as_ref().map_or(index as u64, |distances| u64::from(distances[index]));
        self.first + distance
    }

    /// The first place with this number or a greater one.
    fn index_from(&self, number: u64) -> usize {
        let distance = number.saturating_sub(self.first);
        match &self.distances {
            None => usize::try_from(distance).unwrap_or(usize::MAX).min(self.offsets.len()),
            Some(distances) => distances.partition_point(|there| u64::from(*there) < distance),
        }
    }

    fn index_of(&self, number: u64) -> Option<usize> {
        let index = self.index_from(number);
        let is_here = number >= self.first && index < self.offsets.len() && self.number_at(index) == number;
        if is_here && self.offsets[index] & DROPPED == 0 { Some(index) } else { None }
    }

    fn place_at(&self, index: usize) -> Range<usize> {
        let end = self.offsets.get(index + 1).map_or(self.bytes.as_ref().len(), |next| (next & !DROPPED) as usize);
        (self.offsets[index] & !DROPPED) as usize..end
    }

    pub(crate) fn place(&self, number: u64) -> Option<Range<usize>> {
        self.index_of(number).map(|index| self.place_at(index))
    }

    pub(crate) fn slice(&self, number: u64) -> Option<&[u8]> {
        self.place(number).map(|place| &self.bytes.as_ref()[place])
    }

    /// The changes from `number` on that were not dropped.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = (u64, &[u8])> {
        let places = self.index_from(number)..self.offsets.len();
        let kept = places.filter(|index| self.offsets[*index] & DROPPED == 0);
        kept.map(|index| (self.number_at(index), &self.bytes.as_ref()[self.place_at(index)]))
    }

    /// The last change that was not dropped.
    pub(crate) fn last(&self) -> Option<&[u8]> {
        let index = self.offsets.iter().rposition(|offset| offset & DROPPED == 0)?;
        Some(&self.bytes.as_ref()[self.place_at(index)])
    }

    pub(crate) fn count_in(&self, numbers: &Range<u64>) -> u64 {
        let (from, to) = (self.index_from(numbers.start), self.index_from(numbers.end));
        if (from, to) == (0, self.offsets.len()) {
            return self.live as u64;
        }
        let offsets = self.offsets.get(from..to).unwrap_or_default();
        offsets.iter().filter(|offset| *offset & DROPPED == 0).count() as u64
    }

    /// Drops a change; returns how long it was, if it was here.
    pub(crate) fn drop_change(&mut self, number: u64) -> Option<usize> {
        let index = self.index_of(number)?;
        let length = self.place_at(index).len();
        self.offsets[index] |= DROPPED;
        self.live -= 1;
        self.live_bytes -= length;
        Some(length)
    }

    fn note(&mut self, number: u64, offset: usize, length: usize) {
        let distance = u32::try_from(number - self.first).expect("the caller has asked whether the number is in reach");
        if self.distances.is_none() && distance as usize != self.offsets.len() {
            // Only as many changes as fit in a chunk: the count fits too.
            self.distances = Some((0..self.offsets.len() as u32).collect());
        }
        if let Some(distances) = &mut self.distances {
            distances.push(distance);
        }
        let offset = u32::try_from(offset).ok().filter(|offset| offset & DROPPED == 0);
        self.offsets.push(offset.expect("a chunk is closed long before it has 2^31 bytes"));
        self.live += 1;
        self.live_bytes += length;
    }
}

impl Chunk<Vec<u8>> {
    /// Appends what `encode` writes; returns its length.
    pub(crate) fn append(&mut self, number: u64, encode: impl FnOnce(&mut Vec<u8>)) -> usize {
        let offset = self.bytes.len();
        encode(&mut self.bytes);
        let length = self.bytes.len() - offset;
        self.note(number, offset, length);
        length
    }

    /// The change that was just appended.
    pub(crate) fn last_item(&self, length: usize) -> &[u8] {
        &self.bytes[self.bytes.len() - length..]
    }

    pub(crate) fn close(mut self) -> Chunk<Bytes> {
        // Giving back a little would copy much.
        if self.bytes.len() < self.bytes.capacity() / 8 * 7 {
            self.bytes.shrink_to_fit();
        }
        self.offsets.shrink_to_fit();
        if let Some(distances) = &mut self.distances {
            distances.shrink_to_fit();
        }
        Chunk {
            first: self.first,
            distances: self.distances,
            offsets: self.offsets,
            bytes: Bytes::from(self.bytes),
            live: self.live,
            live_bytes: self.live_bytes,
        }
    }
}

impl Chunk<Bytes> {
    /// One chunk with what was not dropped of several that follow each other.
    pub(crate) fn rewrite(first: u64, parts: &[&Chunk<Bytes>]) -> Chunk<Bytes> {
        let bytes = parts.iter().map(|part| part.live_bytes).sum();
        let mut chunk = Chunk::new(first, Vec::with_capacity(bytes));
        for (number, item) in parts.iter().flat_map(|part| part.from(0)) {
            chunk.append(number, |out| out.extend_from_slice(item));
        }
        chunk.close()
    }
}
