//! Deadlines by name.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Few timers, reset often: a sorted map by name and a scan for the earliest.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    deadlines: BTreeMap<T, Instant>,
}

impl<T: Ord + Copy> Timers<T> {
    pub(crate) fn new() -> Timers<T> {
        Timers { deadlines: BTreeMap::new() }
    }

    /// (Re)starts a timer; `fraction` in 0.0..1.0 picks the deadline between the bounds.
    pub(crate) fn set(&mut self, timer: T, now: Instant, at_least: Duration, at_most: Duration, fraction: f64) {
        let spread = at_most.saturating_sub(at_least).mul_f64(fraction);
        self.deadlines.insert(timer, now + at_least + spread);
    }

    pub(crate) fn cancel(&mut self, timer: T) {
        self.deadlines.remove(&timer);
    }

    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.deadlines.values().min().copied()
    }

    /// Takes the timers whose deadline has passed, in order of deadline.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<T> {
        let mut expired: Vec<(Instant, T)> = self
            .deadlines
            .iter()
            .filter(|(_, deadline)| **deadline <= now)
            .map(|(timer, deadline)| (*deadline, *timer))
            .collect();
        expired.sort_unstable();
        for (_, timer) in &expired {
            self.deadlines.remove(timer);
        }
        expired.into_iter().map(|(_, timer)| timer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_fires_once_in_order_of_deadline_and_a_reset_replaces_it() {
        let start = Instant::now();
        let mut timers = Timers::new();
        let ms = Duration::from_millis;
        timers.set('a', start, ms(30), ms(30), 0.0);
        timers.set('b', start, ms(10), ms(20), 0.5);
        timers.set('c', start, ms(5), ms(5), 0.9);
        timers.set('c', start, ms(90), ms(90), 0.9);
        assert_eq!(timers.earliest(), Some(start + ms(15)));
        assert_eq!(timers.take_expired(start + ms(30)), ['b', 'a']);
        assert_eq!(timers.take_expired(start + ms(30)), []);
        timers.cancel('c');
        assert_eq!(timers.earliest(), None);
    }
}
