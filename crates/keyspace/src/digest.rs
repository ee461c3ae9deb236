//! The rolling hash that replicas are compared by.

/// An odd number with well-mixed bits (the golden ratio's fraction), so that multiplying is reversible.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// A 64-bit rolling hash over byte strings, eight bytes a step.
///
/// Each step (xor a word in, multiply by an odd number, rotate) is reversible, so two histories that differ in exactly
/// one word never have the same digest, and a difference, once there, is lost only by another difference that happens to
/// cancel it. It is not meant to resist an adversary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Default for Digest {
    fn default() -> Digest {
        Digest(SEED)
    }
}

impl Digest {
    /// Takes in one byte string; where it ends counts too.
    pub(crate) fn absorb(&mut self, bytes: &[u8]) {
        self.step(bytes.len() as u64);
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.step(little_endian(word));
        }
        if !words.remainder().is_empty() {
            self.step(little_endian(words.remainder()));
        }
    }

    /// The hash of everything so far.
    pub(crate) fn value(self) -> u64 {
        // The last words have been through few steps; fold their high bits down before anybody compares or combines.
        let folded = (self.0 ^ (self.0 >> 32)).wrapping_mul(MULTIPLIER);
        folded ^ (folded >> 29)
    }

    fn step(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(MULTIPLIER).rotate_left(29);
    }
}

/// Up to eight bytes as a number.
fn little_endian(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(strings: &[&[u8]]) -> u64 {
        let mut digest = Digest::default();
        strings.iter().for_each(|bytes| digest.absorb(bytes));
        digest.value()
    }

    #[test]
    fn order_boundaries_and_every_bit_count() {
        let mut seen = vec![
            digest_of(&[]),
            digest_of(&[b""]),
            digest_of(&[b"", b""]),
            digest_of(&[b"\0"]),
            digest_of(&[b"ab", b"c"]),
            digest_of(&[b"a", b"bc"]),
            digest_of(&[b"bc", b"a"]),
            digest_of(&[b"abc"]),
        ];
        let text = *b"the quick brown fox";
        seen.push(digest_of(&[&text]));
        for bit in 0..text.len() * 8 {
            let mut flipped = text;
            flipped[bit / 8] ^= 1 << (bit % 8);
            seen.push(digest_of(&[&flipped]));
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn the_value_is_part_of_the_stored_format() {
        assert_eq!(digest_of(&[]), 0x1b40_40a8_c7f4_4d0b);
        assert_eq!(digest_of(&[b"quorate", b"0123456789"]), 0x1b40_40a8_c7f4_4d0b);
    }
}
