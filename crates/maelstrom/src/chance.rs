//! Chance from a seed.

use quorate_protocol::Env;
use quorate_types::Time;
use std::time::Duration;

/// Pseudo-random numbers of splitmix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance { state: seed }
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..bound`; 0 for a bound of 0.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// Between the two, both included.
    pub(crate) fn duration(&mut self, at_least: Duration, at_most: Duration) -> Duration {
        let spread = u64::try_from(at_most.saturating_sub(at_least).as_nanos()).unwrap_or(u64::MAX);
        at_least + Duration::from_nanos(self.below(spread.saturating_add(1)))
    }
}

/// Time and chance for one call.
pub(crate) struct Call<'a> {
    pub(crate) now: Time,
    pub(crate) chance: &'a mut Chance,
}

impl Env for Call<'_> {
    fn now(&self) -> Time {
        self.now
    }

    fn choose(&mut self, bound: u64) -> u64 {
        self.chance.below(bound)
    }
}
