//! What happened: kept as far as wanted, hashed always.

use quorate_narrator::{Happening, What};
use std::collections::VecDeque;

/// How much of a run is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing but the hash.
    Nothing,
    /// The last so many happenings.
    Last(usize),
    /// Everything.
    Everything,
}

/// The happenings of a run and their hash.
///
/// The hash covers every happening but guards, kept or not. Guards are left out so that it is equal with tracing on
/// and off: whether a run is watched must not change it.
#[derive(Clone, Debug)]
pub struct Transcript {
    keep: Keep,
    kept: VecDeque<Happening>,
    hash: u64,
    count: u64,
    scratch: Vec<u8>,
}

impl Transcript {
    /// Nothing happened yet.
    #[must_use]
    pub fn new(keep: Keep) -> Transcript {
        Transcript { keep, kept: VecDeque::new(), hash: FNV_OFFSET, count: 0, scratch: Vec::new() }
    }

    /// Takes note of one happening.
    pub fn note(&mut self, happening: Happening) {
        if !matches!(happening.what, What::Guard(_)) {
            self.count += 1;
            self.scratch.clear();
            happening.write_canonical(&mut self.scratch);
            self.hash = hash_on(self.hash, &self.scratch);
        }
        match self.keep {
            Keep::Nothing => {}
            Keep::Everything => self.kept.push_back(happening),
            Keep::Last(count) => {
                if self.kept.len() >= count {
                    self.kept.pop_front();
                }
                if count > 0 {
                    self.kept.push_back(happening);
                }
            }
        }
    }

    /// What is kept, oldest first.
    pub fn kept(&self) -> impl DoubleEndedIterator<Item = &Happening> + ExactSizeIterator {
        self.kept.iter()
    }

    /// The hash of everything so far but guards.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many happenings the hash covers.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a over eight bytes at a time, with a final fold so that high bits reach the low ones.
fn hash_on(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().expect("chunks of eight bytes"));
        hash = (hash ^ word).wrapping_mul(FNV_PRIME);
        hash ^= hash >> 29;
    }
    for byte in words.remainder() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
    }
    hash = (hash ^ bytes.len() as u64).wrapping_mul(FNV_PRIME);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{Event, Rule};
    use quorate_types::Time;

    static RULE: Rule = Rule { id: "test.rule", source: "", allowed: "", refused: "", waiting: "" };

    fn note(text: &str) -> Happening {
        Happening { at: Time(1), node: None, what: What::Note { text: text.into() } }
    }

    #[test]
    fn the_hash_does_not_depend_on_what_is_kept() {
        let hashes = [Keep::Nothing, Keep::Last(1), Keep::Everything].map(|keep| {
            let mut transcript = Transcript::new(keep);
            transcript.note(note("one"));
            transcript.note(note("two"));
            transcript.hash()
        });
        assert_eq!(hashes[0], hashes[1]);
        assert_eq!(hashes[0], hashes[2]);
    }

    #[test]
    fn the_hash_sees_order_and_does_not_see_guards() {
        let hash_of = |happenings: Vec<Happening>| {
            let mut transcript = Transcript::new(Keep::Nothing);
            happenings.into_iter().for_each(|happening| transcript.note(happening));
            transcript.hash()
        };
        let guard = Happening { at: Time(1), node: None, what: What::Guard(Event::allowed(&RULE)) };
        assert_ne!(hash_of(vec![note("one"), note("two")]), hash_of(vec![note("two"), note("one")]));
        assert_eq!(hash_of(vec![note("one"), guard]), hash_of(vec![note("one")]));
    }

    #[test]
    fn the_last_happenings_are_kept_in_order() {
        let mut transcript = Transcript::new(Keep::Last(2));
        ["one", "two", "three"].into_iter().for_each(|text| transcript.note(note(text)));
        assert_eq!(transcript.kept().cloned().collect::<Vec<_>>(), [note("two"), note("three")]);
    }
}
