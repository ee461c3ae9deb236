//! The numbers of a session's requests: each is given out once, and none runs ahead of the window.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

#[derive(Debug)]
struct State {
    next: u64,
    outstanding: BTreeSet<u64>,
}

impl State {
    /// Nothing below is waited for. Never goes down.
    fn acked_below(&self) -> u64 {
        self.outstanding.first().copied().unwrap_or(self.next)
    }
}

/// All numbers of one session.
#[derive(Debug)]
pub(crate) struct Sequences {
    window: u64,
    state: Mutex<State>,
    returned: Notify,
}

impl Sequences {
    pub(crate) fn new(window: u64) -> Sequences {
        let state = Mutex::new(State { next: 1, outstanding: BTreeSet::new() });
        Sequences { window: window.max(1), state, returned: Notify::new() }
    }

    /// The next number, as soon as the window has room for it.
    pub(crate) async fn take(&self) -> Sequence<'_> {
        loop {
            // Asked for before looking: a return in between is not missed.
            let returned = self.returned.notified();
            if let Some(number) = self.try_take() {
                return Sequence { sequences: self, number };
            }
            returned.await;
        }
    }

    /// The next number, at once: of two calls the earlier one has the lower. [`Sequence::reach_window`] is to be waited for.
    pub(crate) fn claim(&self) -> Sequence<'_> {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.outstanding.insert(number);
        Sequence { sequences: self, number }
    }

    /// Waits until this holds, which only a return can bring about.
    async fn until(&self, holds: impl Fn(&State) -> bool + Send) {
        loop {
            // As in `take`.
            let returned = self.returned.notified();
            if holds(&self.state()) {
                return;
            }
            returned.await;
        }
    }

    fn try_take(&self) -> Option<u64> {
        let mut state = self.state();
        let number = state.next;
        if number - state.acked_below() >= self.window {
            return None;
        }
        state.next += 1;
        state.outstanding.insert(number);
        Some(number)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number in use. When it is dropped, its request has an answer or nobody wants one any more, and the session says so to the
/// cluster with every request from then on: a late copy of it will do nothing.
#[derive(Debug)]
pub(crate) struct Sequence<'a> {
    sequences: &'a Sequences,
    pub(crate) number: u64,
}

impl Sequence<'_> {
    /// The session waits for nothing below this.
    pub(crate) fn acked_below(&self) -> u64 {
        self.sequences.state().acked_below()
    }

    /// Waits until the window has room for a number that was claimed.
    pub(crate) async fn reach_window(&self) {
        let (number, window) = (self.number, self.sequences.window);
        self.sequences.until(|state| number - state.acked_below() < window).await;
    }

    /// Waits, after an attempt that came before its turn, until another one may do better: until the lowest number that is out has
    /// returned. All who wait go on then, in the order in which they began to: should they come in that order, one round is
    /// enough for all of them, and in any order for one at least.
    pub(crate) async fn next_turn(&self) {
        let (number, lowest) = (self.number, self.acked_below());
        self.sequences.until(|state| lowest == number || state.acked_below() > lowest).await;
    }
}

impl Drop for Sequence<'_> {
    fn drop(&mut self) {
        self.sequences.state().outstanding.remove(&self.number);
        self.sequences.returned.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test]
    async fn numbers_grow_and_the_oldest_that_is_out_holds_the_mark() {
        let sequences = Sequences::new(10);
        let first = sequences.take().await;
        let second = sequences.take().await;
        assert_eq!((first.number, second.number), (1, 2));
        assert_eq!(second.acked_below(), 1);
        drop(first);
        assert_eq!(second.acked_below(), 2);
        drop(second);
        assert_eq!(sequences.take().await.acked_below(), 3);
    }

    #[tokio::test]
    async fn claimed_numbers_are_those_of_the_calls_and_wait_for_the_window_and_for_their_turn() {
        let sequences = Sequences::new(2);
        let [first, second, third] = [sequences.claim(), sequences.claim(), sequences.claim()];
        assert_eq!([first.number, second.number, third.number], [1, 2, 3]);
        let soon = Duration::from_millis(20);
        first.next_turn().await;
        second.reach_window().await;
        assert!(tokio::time::timeout(soon, third.reach_window()).await.is_err());
        assert!(tokio::time::timeout(soon, third.next_turn()).await.is_err());
        let waiting = async { tokio::join!(third.reach_window(), third.next_turn()) };
        let giving_up = async { drop(first) };
        tokio::join!(waiting, giving_up);
        assert_eq!(third.acked_below(), 2);
        drop(second);
        third.next_turn().await;
    }

    #[tokio::test]
    async fn a_full_window_waits_for_its_oldest_and_for_no_other() {
        let sequences = Arc::new(Sequences::new(2));
        let oldest = sequences.take().await;
        drop(sequences.take().await);
        let waiting = Arc::clone(&sequences);
        let waiter = tokio::spawn(async move { waiting.take().await.number });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiter.is_finished());
        drop(oldest);
        assert_eq!(waiter.await.unwrap(), 3);
    }
}
