//! A node's own monotonic clock, which need not run like anyone else's.

use crate::random::nanos;
use quorate_types::Time;
use std::time::Duration;

/// A clock with an offset and a constant rate error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    offset: Duration,
    /// Positive runs fast.
    drift_ppm: i32,
}

const MILLION: u128 = 1_000_000;

impl Clock {
    /// A clock that shows `offset` when the world begins and runs `drift_ppm` parts in a million too fast. The rate
    /// error is kept within one half.
    #[must_use]
    pub fn new(offset: Duration, drift_ppm: i32) -> Clock {
        Clock { offset, drift_ppm: drift_ppm.clamp(-500_000, 500_000) }
    }

    /// What it shows at a moment of the world.
    #[must_use]
    pub fn read(self, world: Time) -> Time {
        Time(scale(world.0, self.rate(), MILLION)) + self.offset
    }

    /// How long the world takes for a span on this clock.
    #[must_use]
    pub fn world_span(self, span: Duration) -> Duration {
        Duration::from_nanos(scale(nanos(span), MILLION, self.rate()))
    }

    /// Parts per million of the world's rate.
    fn rate(self) -> u128 {
        u128::from((1_000_000 + i64::from(self.drift_ppm)).unsigned_abs())
    }
}

fn scale(value: u64, numerator: u128, denominator: u128) -> u64 {
    if numerator == denominator {
        return value;
    }
    u64::try_from(u128::from(value) * numerator / denominator).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_shows_more_and_its_spans_are_shorter() {
        let fast = Clock::new(Duration::from_secs(5), 100_000);
        assert_eq!(fast.read(Time(1_000_000)), Time(5_001_100_000));
        assert_eq!(fast.world_span(Duration::from_micros(1_100)), Duration::from_micros(1_000));
    }

    #[test]
    fn an_exact_clock_is_exact() {
        let exact = Clock::default();
        assert_eq!(exact.read(Time(123)), Time(123));
        assert_eq!(exact.world_span(Duration::from_nanos(123)), Duration::from_nanos(123));
    }
}
