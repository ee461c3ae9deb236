//! A node's own monotonic clock, which need not run like anyone else's.

use quorate_types::Time;
use std::time::Duration;

/// A clock with a constant rate error, which may jump forward or stand still for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// What it shows at `since`, and before.
    shown: Time,
    /// From this moment of the world on it runs.
    since: Time,
    /// Positive runs fast.
    drift_ppm: i32,
}

const MILLION: u128 = 1_000_000;

impl Clock {
    /// A clock that shows `offset` when the world begins and runs `drift_ppm` parts in a million too fast. The rate
    /// error is kept within one half.
    #[must_use]
    pub fn new(offset: Duration, drift_ppm: i32) -> Clock {
        Clock { shown: Time::ZERO + offset, since: Time::ZERO, drift_ppm: drift_ppm.clamp(-500_000, 500_000) }
    }

    /// What it shows at a moment of the world. It never goes back.
    #[must_use]
    pub fn read(self, world: Time) -> Time {
        let running = world.0.saturating_sub(self.since.0);
        self.shown + Duration::from_nanos(scale(running, self.rate(), MILLION))
    }

    /// The moment of the world at which it shows `shown` or more, not before `world`.
    #[must_use]
    pub fn when(self, world: Time, shown: Time) -> Time {
        let ahead = u128::from(shown.0.saturating_sub(self.shown.0)) * MILLION;
        let running = u64::try_from(ahead.div_ceil(self.rate())).unwrap_or(u64::MAX);
        Time(self.since.0.saturating_add(running)).max(world)
    }

    /// Jumps forward.
    pub fn step(&mut self, world: Time, by: Duration) {
        self.shown = self.read(world) + by;
        self.since = self.since.max(world);
    }

    /// Stands still from now on, for this long of the world's time.
    pub fn freeze(&mut self, world: Time, duration: Duration) {
        self.shown = self.read(world);
        self.since = self.since.max(world) + duration;
    }

    /// Stands still no longer. Says whether it would have.
    pub fn thaw(&mut self, world: Time) -> bool {
        let stands_still = self.since > world;
        self.since = self.since.min(world);
        stands_still
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
        assert_eq!(fast.when(Time::ZERO, Time(5_001_100_000)), Time(1_000_000));
    }

    #[test]
    fn a_clock_jumps_forward_and_stands_still_and_never_goes_back() {
        let mut clock = Clock::new(Duration::ZERO, -100_000);
        clock.step(Time(1_000), Duration::from_nanos(50));
        assert_eq!(clock.read(Time(1_000)), Time(950));
        clock.freeze(Time(2_000), Duration::from_nanos(500));
        assert_eq!((clock.read(Time(2_000)), clock.read(Time(2_500))), (Time(1_850), Time(1_850)));
        assert_eq!(clock.read(Time(2_600)), Time(1_940));
        assert_eq!(clock.when(Time(2_000), Time(1_940)), Time(2_600));
        clock.step(Time(2_100), Duration::from_nanos(10));
        assert_eq!(
            (clock.read(Time(2_400)), clock.read(Time(2_600))),
            (Time(1_860), Time(1_950)),
            "it stands still on"
        );
    }

    #[test]
    fn an_exact_clock_is_exact() {
        let exact = Clock::default();
        assert_eq!(exact.read(Time(123)), Time(123));
        assert_eq!(exact.when(Time(7), Time(123)), Time(123));
        assert_eq!(exact.when(Time(200), Time(123)), Time(200), "it is past already");
    }
}
