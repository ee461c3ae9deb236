//! Reads without a round, for every protocol in which somebody leads: what is said about clocks, and when each round was sent.
//!
//! Whoever answers a leader's round promises, where leases are on, to help nobody else lead for T by its own clock. A leader may rest reads
//! on that from the clock sample of the step that first sent the round on, for a little less than T: as much less as clocks may be
//! wrong. What the promise is, what overrides it and why it suffices is each protocol's own.

use quorate_types::Time;
use quorate_wire::{Reader, Wire, WireError};
use std::collections::VecDeque;
use std::time::Duration;

/// More rounds than a quorum leaves unanswered in health. What comes beyond is not remembered, so its answers extend nothing.
const ROUNDS_REMEMBERED_MOST: usize = 64;

const MILLION: u128 = 1_000_000;

/// What reads without a round rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseReads {
    /// By how much any member's clock may run too fast or too slow, in parts per million of real time, pauses of a virtual
    /// machine that its clock does not see included. Quartz is within 100; 500 is what clock discipline corrects at most.
    pub clock_rate_error_ppm: u32,
}

impl LeaseReads {
    /// How long after its start a lease may be used, on the leader's clock: T (1 - r) / (1 + r).
    #[must_use]
    pub fn usable(&self, election_timeout: Duration) -> Duration {
        let error = u128::from(self.clock_rate_error_ppm);
        let nanos = election_timeout.as_nanos() * MILLION.saturating_sub(error) / (MILLION + error);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// For a driver to print when it starts: what must be true for reads to be linearizable.
    #[must_use]
    pub fn assumption(&self, election_timeout: Duration) -> String {
        format!(
            "lease reads are on: reads are linearizable only while every member's monotonic clock runs at the right rate within {} \
             parts per million, pauses of virtual machines included, and every member has this setting and an election \
             timeout of {election_timeout:?}; a leader uses a lease for {:?}",
            self.clock_rate_error_ppm,
            self.usable(election_timeout)
        )
    }
}

/// A leader's lease. Empty where leases are off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lease {
    /// When each round was first sent, by this node's clock. Rounds and times ascend.
    rounds: VecDeque<(u64, Time)>,
    /// The last round that was sent, remembered or not: sent again it is no new one, however long ago it was forgotten.
    last_sent: u64,
    /// It asked somebody to stand in this era: its followers' promises may be overridden at any time.
    given_up: bool,
}

impl Lease {
    /// Ends it for the rest of the era.
    pub fn give_up(&mut self) {
        self.given_up = true;
        self.rounds.clear();
    }

    /// Whether it cannot be had again in this era.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Whether rounds ascend up to `last`, times with them, and nothing is kept of what was given up.
    #[must_use]
    pub fn is_consistent(&self, last: u64) -> bool {
        let ascends = self.rounds.iter().is_sorted() && self.rounds.iter().all(|(round, _)| *round <= last);
        let sent = self.rounds.back().is_none_or(|(round, _)| *round <= self.last_sent) && self.last_sent <= last;
        ascends && sent && (!self.given_up || self.rounds.is_empty())
    }

    /// `round` is being sent for the first time, unless it is known. What is older than `timeout` can start no lease any more.
    pub fn note(&mut self, round: u64, now: Time, timeout: Duration) {
        while self.rounds.front().is_some_and(|(_, sent)| now.since(*sent) >= timeout) {
            self.rounds.pop_front();
        }
        // Round 0 is sent too and never counts: it is what a peer that answered nothing seems to have answered.
        let is_new = round > self.last_sent;
        self.last_sent = self.last_sent.max(round);
        if is_new && !self.given_up && self.rounds.len() < ROUNDS_REMEMBERED_MOST {
            self.rounds.push_back((round, now));
        }
    }

    /// Forgets the rounds before the greatest one up to `answered`.
    pub fn forget_before(&mut self, answered: u64) {
        let upto = self.rounds.partition_point(|(round, _)| *round <= answered);
        self.rounds.drain(..upto.saturating_sub(1));
    }

    /// The greatest round up to `answered` that is remembered, and when it was first sent.
    #[must_use]
    pub fn start(&self, answered: u64) -> Option<(u64, Time)> {
        let upto = self.rounds.partition_point(|(round, _)| *round <= answered);
        upto.checked_sub(1).and_then(|last| self.rounds.get(last).copied())
    }
}

impl Wire for Lease {
    fn encode(&self, out: &mut Vec<u8>) {
        self.rounds.encode(out);
        self.last_sent.encode(out);
        self.given_up.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Lease, WireError> {
        Ok(Lease {
            rounds: VecDeque::<(u64, Time)>::decode(input)?,
            last_sent: Wire::decode(input)?,
            given_up: Wire::decode(input)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_millis(150);

    #[test]
    fn both_clocks_may_be_wrong_in_opposite_directions() {
        let of = |clock_rate_error_ppm| LeaseReads { clock_rate_error_ppm }.usable(T);
        assert_eq!(of(0), T);
        assert_eq!(of(100_000), T * 9 / 11);
        assert_eq!((of(1_000_000), of(u32::MAX)), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn a_lease_starts_when_its_round_was_first_sent() {
        let mut lease = Lease::default();
        let at = |ms: u64| Time(ms * 1_000_000);
        lease.note(0, at(5), T);
        lease.note(1, at(10), T);
        lease.note(1, at(20), T);
        lease.note(3, at(30), T);
        assert_eq!(lease.start(0), None);
        assert_eq!([lease.start(1), lease.start(2)], [Some((1, at(10))); 2]);
        assert_eq!(lease.start(9), Some((3, at(30))));
        lease.forget_before(3);
        assert_eq!((lease.start(2), lease.start(3)), (None, Some((3, at(30)))));
        assert!(lease.is_consistent(3) && !lease.is_consistent(2));
    }

    #[test]
    fn what_is_older_than_an_election_timeout_or_too_much_is_not_kept() {
        let mut lease = Lease::default();
        let at = |ms: u64| Time(ms * 1_000_000);
        (1..=100).for_each(|round| lease.note(round, at(1), T));
        assert_eq!(lease.start(100), Some((ROUNDS_REMEMBERED_MOST as u64, at(1))));
        lease.note(101, at(151), T);
        assert_eq!(lease.rounds, [(101, at(151))]);
    }

    #[test]
    fn a_round_that_was_forgotten_does_not_begin_anew() {
        let at = |ms: u64| Time(ms * 1_000_000);
        let mut lease = Lease::default();
        lease.note(7, at(10), T);
        // The leader was suspended for longer than T. Round 7 was answered before that, and is sent once more.
        lease.note(7, at(200), T);
        assert_eq!(lease.start(7), None, "it was first sent at 10 ms");
        lease.note(8, at(201), T);
        assert_eq!(lease.start(8), Some((8, at(201))));
        // Nor does one for which there was no room.
        let mut full = Lease::default();
        (1..=65).for_each(|round| full.note(round, at(round), T));
        full.note(65, at(152), T);
        assert_eq!(full.start(65), Some((64, at(64))));
    }

    #[test]
    fn what_was_given_up_does_not_come_back() {
        let mut lease = Lease::default();
        lease.note(1, Time(1), T);
        lease.give_up();
        lease.note(2, Time(2), T);
        assert_eq!(lease.start(9), None);
    }

    #[test]
    fn the_assumption_names_rate_and_times() {
        let words = LeaseReads { clock_rate_error_ppm: 500 }.assumption(T);
        assert!(words.contains("500 parts per million") && words.contains("150ms"), "{words}");
    }
}
