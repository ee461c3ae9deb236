//! Latencies and errors, merged over clients.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest latency that is told apart: longer ones count as this.
const LONGEST: Duration = Duration::from_secs(120);

/// What happened to some operations.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Microseconds, three significant digits.
    latencies: Histogram<u64>,
    /// By text.
    errors: BTreeMap<String, u64>,
}

impl Default for Tally {
    fn default() -> Tally {
        let longest_us = u64::try_from(LONGEST.as_micros()).unwrap_or(u64::MAX);
        let latencies = Histogram::new_with_bounds(1, longest_us, 3);
        Tally {
            latencies: latencies.expect("1 is below the longest latency, and 3 digits are allowed"),
            errors: BTreeMap::new(),
        }
    }
}

impl Tally {
    /// An operation succeeded.
    pub fn success(&mut self, latency: Duration) {
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(latency_us.max(1));
    }

    /// An operation failed.
    pub fn failure(&mut self, why: &str) {
        match self.errors.get_mut(why) {
            Some(count) => *count += 1,
            None => {
                self.errors.insert(why.to_owned(), 1);
            }
        }
    }

    /// Adds another client's.
    pub fn merge(&mut self, other: &Tally) {
        self.latencies.add(&other.latencies).expect("both have the same bounds");
        for (why, count) in &other.errors {
            *self.errors.entry(why.clone()).or_default() += count;
        }
    }

    /// How many operations succeeded.
    #[must_use]
    pub fn succeeded(&self) -> u64 {
        self.latencies.len()
    }

    /// How many failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Why, and how often.
    #[must_use]
    pub fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    pub(crate) fn errors_in_words(&self) -> String {
        if self.errors.is_empty() {
            return "nothing was answered in time".to_owned();
        }
        let errors = self.errors.iter().map(|(why, count)| format!("{count} x {why}"));
        errors.collect::<Vec<_>>().join("; ")
    }

    /// The latency that this share of the successful operations did not exceed, in microseconds. `quantile` is 0 to 1.
    #[must_use]
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        self.latencies.value_at_quantile(quantile)
    }

    /// The longest, in microseconds.
    #[must_use]
    pub fn longest_us(&self) -> u64 {
        self.latencies.max()
    }

    /// The mean, in microseconds.
    #[must_use]
    pub fn mean_us(&self) -> f64 {
        self.latencies.mean()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        (1..=99).for_each(|millis| one.success(Duration::from_millis(millis)));
        other.success(Duration::from_secs(500));
        other.failure("no leader");
        other.failure("no leader");
        one.merge(&other);
        assert_eq!((one.succeeded(), one.failed()), (100, 2));
        assert_eq!(one.errors().get("no leader"), Some(&2));
        assert!((50_000..50_100).contains(&one.quantile_us(0.5)));
        assert!(one.longest_us() >= 119_000_000, "what is too long counts as the longest");
    }
}
