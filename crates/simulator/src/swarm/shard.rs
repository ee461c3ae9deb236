//! A campaign dealt out to many machines.

use std::ops::Range;

/// Which part of a campaign's seeds to run. They are dealt one by one, so that every shard gets as much of what is early in a
/// range as of what is late in it; all shards together run each seed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    /// All seeds.
    pub const WHOLE: Shard = Shard { index: 0, count: 1 };

    /// The part `index` of `count`, counting from 0; `None` if there is no such part.
    #[must_use]
    pub fn new(index: u64, count: u64) -> Option<Shard> {
        (index < count).then_some(Shard { index, count })
    }

    /// Which part it is, counting from 0.
    #[must_use]
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many parts there are.
    #[must_use]
    pub fn count(self) -> u64 {
        self.count
    }

    /// Its seed at this place, counting from 0; `None` behind its last.
    #[must_use]
    pub fn seed(self, seeds: &Range<u64>, place: u64) -> Option<u64> {
        let seed = seeds.start.checked_add(self.index)?.checked_add(place.checked_mul(self.count)?)?;
        (seed < seeds.end).then_some(seed)
    }

    /// How many of these seeds are its own.
    #[must_use]
    pub fn len(self, seeds: &Range<u64>) -> u64 {
        let all = seeds.end.saturating_sub(seeds.start);
        all / self.count + u64::from(self.index < all % self.count)
    }

    /// Whether none of these seeds is its own.
    #[must_use]
    pub fn is_empty(self, seeds: &Range<u64>) -> bool {
        self.len(seeds) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_dealt_to_one_shard() {
        for (seeds, count) in [(0..10, 3), (5..6, 4), (7..7, 2), (u64::MAX - 9..u64::MAX, 4)] {
            let mut dealt: Vec<u64> = Vec::new();
            for index in 0..count {
                let shard = Shard::new(index, count).unwrap();
                let its_own: Vec<u64> = (0..).map_while(|place| shard.seed(&seeds, place)).collect();
                assert_eq!(its_own.len() as u64, shard.len(&seeds));
                dealt.extend(its_own);
            }
            dealt.sort_unstable();
            assert_eq!(dealt, seeds.collect::<Vec<u64>>());
        }
        assert_eq!(Shard::new(3, 3), None);
        assert_eq!(Shard::new(0, 0), None);
    }
}
