//! Keys and values, from a seed.

use crate::settings::Settings;
use bytes::Bytes;

/// What the state of SplitMix64 grows by.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(state: u64) -> u64 {
    let mut mixed = state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Mixed, because states that are a few steps apart give one sequence a few steps apart: then all clients would walk the same
/// few keys.
fn first_state(seed: u64, client: u64) -> u64 {
    mix(seed ^ mix(client.wrapping_add(STEP)))
}

/// A stream of keys; the same for the same seed and client.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    state: u64,
    prefix: String,
    key_space: u64,
    width: usize,
    value: Bytes,
}

impl Keys {
    /// Those of client number `client`.
    pub(crate) fn new(settings: &Settings, client: u64) -> Keys {
        let mut keys = Keys {
            state: first_state(settings.seed, client),
            prefix: settings.prefix.clone(),
            key_space: settings.key_space,
            width: settings.key_bytes - settings.prefix.len(),
            value: Bytes::new(),
        };
        // Not compressible: a server or file system that compresses must not look faster than it is.
        let value: Vec<u8> = (0..settings.value_bytes).map(|_| keys.next_random().to_le_bytes()[0]).collect();
        keys.value = Bytes::from(value);
        keys
    }

    /// SplitMix64.
    pub(crate) fn next_random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    pub(crate) fn next_key(&mut self) -> Bytes {
        let number = self.next_random() % self.key_space;
        self.key(number)
    }

    pub(crate) fn key(&self, number: u64) -> Bytes {
        Bytes::from(format!("{}{number:0width$}", self.prefix, width = self.width))
    }

    pub(crate) fn key_space(&self) -> u64 {
        self.key_space
    }

    pub(crate) fn value(&self) -> Bytes {
        self.value.clone()
    }
}

/// The end of the range that holds exactly the keys with this prefix.
pub(crate) fn prefix_end(prefix: &[u8]) -> Bytes {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
    let mut end = prefix[..kept].to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0),
    }
    Bytes::from(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_successor() {
        assert_eq!(prefix_end(b"ab"), "ac");
        assert_eq!(prefix_end(b"a\xff"), "b");
        assert_eq!(prefix_end(b"\xff"), "\0");
        assert_eq!(prefix_end(b""), "\0");
    }

    #[test]
    fn clients_walk_different_keys() {
        let settings = Settings { key_space: 1_000_000, ..Settings::default() };
        let mut seen = std::collections::BTreeSet::new();
        for client in 0..64 {
            let mut keys = Keys::new(&settings, client);
            seen.extend((0..100).map(|_| keys.next_key()));
        }
        assert!(seen.len() > 6_300, "{} different ones of 6400 drawn from a million", seen.len());
    }

    #[test]
    fn keys_have_the_asked_length_and_repeat_with_the_seed() {
        let settings = Settings { key_space: 1000, ..Settings::default() };
        let (mut one, mut again) = (Keys::new(&settings, 3), Keys::new(&settings, 3));
        for _ in 0..100 {
            let key = one.next_key();
            assert_eq!(key.len(), settings.key_bytes);
            assert_eq!(key, again.next_key());
        }
        assert_eq!(one.value().len(), settings.value_bytes);
    }
}
