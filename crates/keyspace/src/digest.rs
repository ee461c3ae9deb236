//! The rolling hash that replicas are compared by.

// Odd, so that multiplying is reversible; the first and last multipliers of MurmurHash3's and splitmix64's finishers.
const MULTIPLIERS: [u64; 2] = [0xff51_afd7_ed55_8ccd, 0x94d0_49bb_1331_11eb];
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where the lanes of a long string begin: the first words of pi's fraction.
const LANE_SEEDS: [u64; 4] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];
/// A string shorter than this takes no lanes: they would cost more than they spare.
const LANES_FROM_BYTES: usize = 64;

/// A 64-bit rolling hash over byte strings, eight bytes a step.
///
/// Each step is reversible, so two histories that differ in exactly one word never have the same digest. Each step also
/// spreads every bit over the whole state (one multiplication does not: a flipped top bit stays one bit, which one
/// flipped bit of the next word cancels). It is not meant to resist an adversary.
///
/// Of a long string every fourth word goes to the same lane, and then the lanes into the hash: a processor does four steps
/// that do not wait for each other in little more than the time of one. A word is in one lane, so what is said of one
/// word stays true.
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
        let rest = if bytes.len() < LANES_FROM_BYTES { bytes } else { self.absorb_in_lanes(bytes) };
        let (words, remainder) = rest.as_chunks();
        for word in words {
            self.step(u64::from_le_bytes(*word));
        }
        if !remainder.is_empty() {
            self.step(little_endian(remainder));
        }
    }

    /// Takes in as many whole rounds of four words as there are, and returns the rest.
    fn absorb_in_lanes<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (words, _) = bytes.as_chunks();
        let (rounds, _) = words.as_chunks::<4>();
        let mut lanes = LANE_SEEDS.map(Digest);
        for round in rounds {
            for (lane, word) in lanes.iter_mut().zip(round) {
                lane.step(u64::from_le_bytes(*word));
            }
        }
        lanes.into_iter().for_each(|lane| self.step(lane.0));
        &bytes[rounds.len() * 32..]
    }

    /// The hash of everything so far.
    pub(crate) fn value(self) -> u64 {
        self.0 ^ (self.0 >> 31)
    }

    /// What [`Digest::resume`] goes on from.
    pub(crate) fn state(self) -> u64 {
        self.0
    }

    pub(crate) fn resume(state: u64) -> Digest {
        Digest(state)
    }

    fn step(&mut self, word: u64) {
        let mut mixed = self.0 ^ word;
        for multiplier in MULTIPLIERS {
            mixed = (mixed ^ (mixed >> 32)).wrapping_mul(multiplier);
        }
        self.0 = mixed;
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
        for text in [&b"the quick brown fox"[..], &[7; 64], &[7; 131]] {
            seen.push(digest_of(&[text]));
            for bit in 0..text.len() * 8 {
                let mut flipped = text.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                seen.push(digest_of(&[&flipped]));
            }
        }
        // The same words in other lanes.
        let mut turned = [7; 64];
        for place in [0, 8, 16, 24, 32] {
            turned[place] = 8;
            seen.push(digest_of(&[&turned, b"turned"]));
            turned[place] = 7;
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn the_value_is_part_of_the_stored_format() {
        assert_eq!(digest_of(&[]), 0x9e37_79b8_4324_8f67);
        assert_eq!(digest_of(&[b"quorate", b"0123456789"]), 0x4ee5_5448_fc0a_2317);
    }
}
