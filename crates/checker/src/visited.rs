//! The configurations a search has been at.

use std::hash::{Hash, Hasher};

/// Where a search has been: numbers of configurations, found by level and state. A hash alone is never taken for an answer:
/// it would now and then close a way that is open, and reject wrongly.
pub(crate) struct Visited {
    /// Number of the configuration, and the place in `entries` plus one of the next with this home.
    entries: Vec<Entry>,
    /// Places in `entries` plus one, by hash; 0 is none. Its length is a power of two.
    heads: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    number: u32,
    next: u32,
}

const FIRST_HEADS: usize = 1 << 10;

impl Visited {
    pub(crate) fn new() -> Visited {
        Visited { entries: Vec::new(), heads: vec![0; FIRST_HEADS] }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.len() * size_of::<Entry>() + self.heads.len() * size_of::<u32>()
    }

    /// Those that were added with this hash, and by chance others.
    pub(crate) fn with_hash(&self, hash: u32) -> impl Iterator<Item = u32> {
        let mut at = self.heads[self.home(hash)];
        std::iter::from_fn(move || {
            loop {
                let entry = self.entries[(at as usize).checked_sub(1)?];
                at = entry.next;
                if entry.hash == hash {
                    return Some(entry.number);
                }
            }
        })
    }

    pub(crate) fn add(&mut self, hash: u32, number: u32) {
        if self.entries.len() >= self.heads.len() {
            self.grow();
        }
        let home = self.home(hash);
        self.entries.push(Entry { hash, number, next: self.heads[home] });
        self.heads[home] = self.entries.len() as u32;
    }

    fn home(&self, hash: u32) -> usize {
        hash as usize & (self.heads.len() - 1)
    }

    fn grow(&mut self) {
        let length = self.heads.len() * 4;
        self.heads.clear();
        self.heads.resize(length, 0);
        for at in 0..self.entries.len() {
            let home = self.home(self.entries[at].hash);
            self.entries[at].next = self.heads[home];
            self.heads[home] = at as u32 + 1;
        }
    }
}

/// The hash of a level and a state.
pub(crate) fn hash_of<S: Hash>(level: usize, state: &S) -> u32 {
    let mut mixer = Mixer(0);
    mixer.add(level as u64);
    state.hash(&mut mixer);
    // The high bits are the well-mixed ones.
    (mixer.finish() >> u32::BITS) as u32
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
    fn what_was_added_is_found_by_its_hash_the_latest_first() {
        let mut visited = Visited::new();
        for number in 0..10_000_u32 {
            visited.add(hash_of(3, &(number % 2_500)), number);
        }
        for state in 0..2_500_u32 {
            let found: Vec<u32> =
                visited.with_hash(hash_of(3, &state)).filter(|number| number % 2_500 == state).collect();
            assert_eq!(found.len(), 4, "{found:?}");
        }
        assert!(visited.bytes() > 10_000 * 12);
    }
}
