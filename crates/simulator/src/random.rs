//! Where all chance in a simulated world comes from.

use std::time::Duration;

/// A rate in parts per million. Integers only, so that a run is the same on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chance(pub u32);

impl Chance {
    /// It never happens.
    pub const NEVER: Chance = Chance(0);
    /// It always happens.
    pub const ALWAYS: Chance = Chance(1_000_000);

    /// Once in `count` times on average; never for 0.
    #[must_use]
    pub fn one_in(count: u32) -> Chance {
        Chance(1_000_000u32.checked_div(count).unwrap_or(0))
    }

    /// So many times out of a hundred.
    #[must_use]
    pub fn percent(percent: u32) -> Chance {
        Chance(percent.saturating_mul(10_000))
    }
}

/// A generator of pseudo-random numbers: xoshiro256++ (Blackman and Vigna), seeded by splitmix64.
///
/// Each part of the world draws from a stream of its own, so that one part drawing more or less does not change what
/// the others see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The generator of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        let mut mixer = seed;
        Random { state: std::array::from_fn(|_| splitmix(&mut mixer)) }
    }

    /// The stream of this name and number under this seed.
    #[must_use]
    pub fn stream(seed: u64, name: &str, number: u64) -> Random {
        let mut mixer = seed;
        let mut mixed = splitmix(&mut mixer);
        for byte in name.bytes() {
            mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        mixer = mixed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Random::new(splitmix(&mut mixer))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// One of `0..bound`; 0 for a bound of 0. The bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// One of `low..=high`; `low` when they are the wrong way round.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.checked_sub(low) {
            None => low,
            Some(u64::MAX) => self.bits(),
            Some(span) => low + self.below(span + 1),
        }
    }

    /// A duration in `low..=high`.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        Duration::from_nanos(self.between(nanos(low), nanos(high)))
    }

    /// Whether something of this chance happens now.
    pub fn happens(&mut self, chance: Chance) -> bool {
        match chance {
            Chance::NEVER => false,
            Chance(rate) => self.below(1_000_000) < u64::from(rate),
        }
    }

    /// One of `low..=high` such that every doubling is equally likely. `low` is at least 1.
    pub fn log_uniform(&mut self, low: u64, high: u64) -> u64 {
        let low = low.max(1);
        let high = high.max(low);
        let doublings = u64::from(low.leading_zeros() - high.leading_zeros());
        let floor = low << self.between(0, doublings);
        self.between(floor, floor.saturating_mul(2) - 1).clamp(low, high)
    }

    /// One of these, `None` only if there is none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.below(from.len() as u64)).ok()?;
        from.get(at)
    }

    /// Puts these into a drawn order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = usize::try_from(self.below(at as u64 + 1)).unwrap_or(at);
            items.swap(at, other);
        }
    }
}

/// Whole nanoseconds; some 584 years at most.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        // The first outputs of the authors' C code for this state (xoshiro256plusplus.c).
        let mut random = Random { state: [1, 2, 3, 4] };
        let first: Vec<u64> = (0..4).map(|_| random.bits()).collect();
        assert_eq!(first, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn streams_of_one_seed_differ_by_name_and_number() {
        let first = |name, number| Random::stream(7, name, number).bits();
        assert_ne!(first("network", 1), first("network", 2));
        assert_ne!(first("network", 1), first("disk", 1));
        assert_eq!(first("disk", 1), first("disk", 1));
    }

    #[test]
    fn draws_stay_within_their_bounds_and_reach_them() {
        let mut random = Random::new(3);
        let draws: Vec<u64> = (0..1000).map(|_| random.between(3, 6)).collect();
        assert_eq!(draws.iter().min(), Some(&3));
        assert_eq!(draws.iter().max(), Some(&6));
        let draws: Vec<u64> = (0..1000).map(|_| random.log_uniform(4, 1000)).collect();
        assert!(draws.iter().all(|draw| (4..=1000).contains(draw)));
        assert!(draws.iter().filter(|draw| **draw < 32).count() > 200, "small numbers are as likely as large ones");
        assert_eq!(random.log_uniform(1, 1), 1);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick::<u64>(&[]), None);
    }

    #[test]
    fn a_chance_happens_about_as_often_as_it_says() {
        let mut random = Random::new(5);
        let hits = (0..100_000).filter(|_| random.happens(Chance::percent(10))).count();
        assert!((9_500..10_500).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| random.happens(Chance::ALWAYS)));
        assert!((0..1000).all(|_| !random.happens(Chance::NEVER)));
    }
}
