//! Which states were seen: their fingerprints, and nothing else of them.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A power of two, so that two threads rarely want the same.
const SHARDS: usize = 64;

/// The fingerprints of all states seen, shared by the threads.
pub(crate) struct Seen {
    shards: Vec<Mutex<HashSet<[u64; 2], BuildHasherDefault<AsItIs>>>>,
}

impl Seen {
    pub(crate) fn nothing() -> Seen {
        Seen { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Notes a state; says whether it is new.
    pub(crate) fn insert(&self, fingerprint: u128) -> bool {
        let (high, low) = ((fingerprint >> 64) as u64, fingerprint as u64);
        held(&self.shards[high as usize % SHARDS]).insert([high, low])
    }

    /// Whether a state was noted.
    pub(crate) fn contains(&self, fingerprint: u128) -> bool {
        let (high, low) = ((fingerprint >> 64) as u64, fingerprint as u64);
        held(&self.shards[high as usize % SHARDS]).contains(&[high, low])
    }

    /// About how many bytes it takes: 16 for a fingerprint and one for the table, in a table that has room.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| held(shard).capacity() * 8 / 7 * 17).sum()
    }
}

/// The value, even after a panic of another thread: that panic ends the search anyway.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fingerprint is a hash already.
#[derive(Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        // The length of an array comes as a word, which is the same for all; then its words come in one piece.
        for word in bytes.chunks_exact(8) {
            self.write_u64(u64::from_ne_bytes(word.try_into().expect("chunks of eight")));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = self.0.rotate_left(32) ^ word;
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// For keys that are small numbers: spreads their bits over the whole word.
#[derive(Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0.rotate_left(29) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_new_once() {
        let seen = Seen::nothing();
        assert!((0..1000u128).all(|number| seen.insert(number << 64 | 7)));
        assert!((0..1000u128).all(|number| !seen.insert(number << 64 | 7)));
        assert!(seen.insert(8), "the lower half counts");
        assert!(seen.bytes() > 1000 * 16);
    }
}
