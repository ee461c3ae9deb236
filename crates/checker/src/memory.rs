//! The configurations a search has been at.

use std::hash::{Hash, Hasher};

/// A set of configurations, each a state and some words. Equal only if all of it is equal: a hash alone would now and then
/// close a way that is open, and reject wrongly.
#[derive(Clone, Debug)]
pub(crate) struct Memory<S> {
    entries: Vec<Remembered<S>>,
    words: Vec<u32>,
    /// Indices into `entries` plus one, by hash; 0 is free. Its length is a power of two.
    table: Vec<u32>,
    state_heap_bytes: usize,
}

#[derive(Clone, Debug)]
struct Remembered<S> {
    hash: u64,
    start: usize,
    state: S,
}

const FIRST_TABLE: usize = 1 << 10;

impl<S: Clone + Eq + Hash> Memory<S> {
    pub(crate) fn new() -> Memory<S> {
        Memory { entries: Vec::new(), words: Vec::new(), table: vec![0; FIRST_TABLE], state_heap_bytes: 0 }
    }

    /// Bytes held, nearly.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.len() * size_of::<Remembered<S>>()
            + (self.words.len() + self.table.len()) * size_of::<u32>()
            + self.state_heap_bytes
    }

    /// Remembers a configuration; whether it is new. `heap_bytes` is what the state holds outside itself.
    pub(crate) fn insert(&mut self, state: &S, words: &[u32], heap_bytes: usize) -> bool {
        if self.entries.len() * 2 >= self.table.len() {
            self.grow();
        }
        let mut hasher = Mixer(0);
        state.hash(&mut hasher);
        words.iter().for_each(|word| hasher.add(u64::from(*word)));
        let hash = hasher.finish();
        let mut at = self.home(hash);
        while let Some(index) = (self.table[at] as usize).checked_sub(1) {
            let entry = &self.entries[index];
            if entry.hash == hash && self.words_of(index) == words && entry.state == *state {
                return false;
            }
            at = (at + 1) & (self.table.len() - 1);
        }
        self.entries.push(Remembered { hash, start: self.words.len(), state: state.clone() });
        self.words.extend_from_slice(words);
        self.state_heap_bytes += heap_bytes;
        // Four billion entries take more memory than any budget that fits a machine of today.
        self.table[at] = u32::try_from(self.entries.len()).unwrap_or(0);
        true
    }

    fn words_of(&self, index: usize) -> &[u32] {
        let end = self.entries.get(index + 1).map_or(self.words.len(), |next| next.start);
        &self.words[self.entries[index].start..end]
    }

    fn home(&self, hash: u64) -> usize {
        // The high bits are the well-mixed ones.
        (hash >> 32) as usize & (self.table.len() - 1)
    }

    fn grow(&mut self) {
        let length = self.table.len() * 4;
        self.table.clear();
        self.table.resize(length, 0);
        for index in 0..self.entries.len() {
            let mut at = self.home(self.entries[index].hash);
            while self.table[at] != 0 {
                at = (at + 1) & (length - 1);
            }
            self.table[at] = u32::try_from(index + 1).unwrap_or(0);
        }
    }
}

/// A fast hash that is the same on every machine and run. Collisions cost time only.
struct Mixer(u64);

impl Mixer {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.add(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_remembered_is_known_and_nothing_else_is() {
        let mut memory = Memory::new();
        for number in 0..10_000_u32 {
            assert!(memory.insert(&(number % 7), &[number, number / 3], 0));
        }
        for number in 0..10_000_u32 {
            assert!(!memory.insert(&(number % 7), &[number, number / 3], 0));
        }
        assert!(memory.insert(&3, &[], 0));
        assert!(memory.insert(&3, &[0], 0), "a longer list of words is another configuration");
        assert!(memory.bytes() > 10_000 * 16);
    }
}
