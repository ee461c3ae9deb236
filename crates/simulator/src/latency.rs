//! How long things take.

use crate::random::{Chance, Random, nanos};
use std::time::Duration;

/// A distribution of durations: a floor, uniform jitter above it, and now and then a heavy tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Never less.
    pub at_least: Duration,
    /// Up to this much more, uniformly.
    pub jitter: Duration,
    /// How often the tail is added.
    pub tail: Chance,
    /// The tail: this long, doubled as often as a fair coin shows heads, at most ten times.
    pub tail_step: Duration,
}

const TAIL_DOUBLINGS_MAX: u32 = 10;

impl Latency {
    /// No time at all.
    pub const ZERO: Latency =
        Latency { at_least: Duration::ZERO, jitter: Duration::ZERO, tail: Chance::NEVER, tail_step: Duration::ZERO };

    /// Always exactly this.
    #[must_use]
    pub fn exactly(duration: Duration) -> Latency {
        Latency { at_least: duration, ..Latency::ZERO }
    }

    /// Uniform in `low..=high`.
    #[must_use]
    pub fn between(low: Duration, high: Duration) -> Latency {
        Latency { at_least: low, jitter: high.saturating_sub(low), ..Latency::ZERO }
    }

    /// The same with a heavy tail.
    #[must_use]
    pub fn with_tail(self, tail: Chance, tail_step: Duration) -> Latency {
        Latency { tail, tail_step, ..self }
    }

    /// One duration. Draws nothing where nothing is left to chance.
    pub fn draw(&self, random: &mut Random) -> Duration {
        let mut total = nanos(self.at_least);
        if self.jitter > Duration::ZERO {
            total = total.saturating_add(random.between(0, nanos(self.jitter)));
        }
        if random.happens(self.tail) {
            let doublings = random.bits().trailing_ones().min(TAIL_DOUBLINGS_MAX);
            total = total.saturating_add(nanos(self.tail_step).saturating_mul(1 << doublings));
        }
        Duration::from_nanos(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_without_jitter_is_exact_and_draws_nothing() {
        let mut random = Random::new(1);
        let untouched = random.clone();
        assert_eq!(Latency::exactly(Duration::from_millis(3)).draw(&mut random), Duration::from_millis(3));
        assert_eq!(random, untouched);
    }

    #[test]
    fn the_tail_is_rare_long_and_bounded() {
        let mut random = Random::new(2);
        let step = Duration::from_millis(10);
        let latency =
            Latency::between(Duration::from_millis(1), Duration::from_millis(2)).with_tail(Chance::percent(10), step);
        let draws: Vec<Duration> = (0..10_000).map(|_| latency.draw(&mut random)).collect();
        let long = draws.iter().filter(|draw| **draw > Duration::from_millis(2)).count();
        assert!((800..1200).contains(&long), "{long} of 10000 draws are in the tail");
        assert!(draws.iter().all(|draw| *draw <= Duration::from_millis(2) + step * 1024));
        assert!(draws.iter().any(|draw| *draw > step * 16), "some are very long");
    }
}
