//! Chance from a seed.

use crate::Env;
use quorate_types::Time;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to draw schedules.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..bound`; 0 when the bound is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        // The remainder is below a usize, so nothing is cut off.
        (self.next() % bound as u64) as usize
    }

    pub(super) fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }

    /// One element, if there is any.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}

/// Chance and time for a replica. Cloned, it draws the same again.
#[derive(Clone, Debug)]
pub(super) struct DiceEnv {
    pub(super) dice: Dice,
    pub(super) now: Time,
}

impl Env for DiceEnv {
    fn now(&self) -> Time {
        self.now
    }
    fn choose(&mut self, bound: u64) -> u64 {
        self.dice.next() % bound.max(1)
    }
}
