//! What a follower has with its leader: a channel that delivers in order or is given up.
//!
//! The network may lose, repeat and reorder; Zab is told on channels that do not. A follower opens a connection with a number that
//! it never uses again. What the leader says in it is numbered from 1: the follower takes it in that order, holds what is early, drops
//! what it had, and opens another connection when something is lost. Answers need no order: each names its connection and claims
//! something that is durable for as long as that lasts.

use crate::message::LeaderWord;
use quorate_wire::{Reader, Wire, WireError};
use std::collections::BTreeMap;

/// A ping may overtake what was said before it, and so may a second one; with this many held back something is lost.
const PINGS_HELD_MOST: usize = 1;

/// The name of a connection, given by the follower. A later one is greater, over restarts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    /// Of the follower.
    pub incarnation: u64,
    /// Counts up within the incarnation.
    pub number: u64,
}

/// The follower's end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Receiving {
    pub(crate) next: u64,
    /// They came early.
    pub(crate) held: BTreeMap<u64, LeaderWord>,
}

/// Something is lost: only another connection helps.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gap;

impl Receiving {
    pub(crate) fn new() -> Receiving {
        Receiving { next: 1, held: BTreeMap::new() }
    }

    /// Takes what has this number. What it had already is dropped.
    ///
    /// # Errors
    /// When what came early shows that something before it is lost.
    pub(crate) fn arrive(&mut self, sequence: u64, word: LeaderWord, held_most: usize) -> Result<(), Gap> {
        if sequence < self.next {
            return Ok(());
        }
        self.held.insert(sequence, word);
        if self.held.contains_key(&self.next) {
            return Ok(());
        }
        let pings = self.held.values().filter(|word| matches!(word, LeaderWord::Ping { .. })).count();
        match self.held.len() > held_most || pings > PINGS_HELD_MOST {
            true => Err(Gap),
            false => Ok(()),
        }
    }

    /// What comes next, if it is there.
    pub(crate) fn take(&mut self) -> Option<LeaderWord> {
        let word = self.held.remove(&self.next)?;
        self.next += 1;
        Some(word)
    }
}

impl Wire for Connection {
    fn encode(&self, out: &mut Vec<u8>) {
        self.incarnation.encode(out);
        self.number.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Connection { incarnation: input.u64("incarnation")?, number: input.u64("connection number")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::Slot;

    fn ping(round: u64) -> LeaderWord {
        LeaderWord::Ping { round, everyone: Slot::ZERO }
    }

    fn rounds(receiving: &mut Receiving) -> Vec<u64> {
        std::iter::from_fn(|| receiving.take())
            .map(|word| match word {
                LeaderWord::Ping { round, .. } => round,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn what_comes_early_waits_and_what_comes_again_is_dropped() {
        let mut receiving = Receiving::new();
        assert_eq!(receiving.arrive(2, ping(2), 8), Ok(()));
        assert_eq!(rounds(&mut receiving), []);
        assert_eq!(receiving.arrive(1, ping(1), 8), Ok(()));
        assert_eq!(rounds(&mut receiving), [1, 2]);
        assert_eq!(receiving.arrive(1, ping(1), 8), Ok(()));
        assert_eq!(rounds(&mut receiving), []);
    }

    #[test]
    fn two_pings_behind_a_gap_or_too_much_of_anything_show_a_loss() {
        let mut receiving = Receiving::new();
        assert_eq!(receiving.arrive(2, ping(1), 8), Ok(()));
        assert_eq!(receiving.arrive(3, ping(2), 8), Err(Gap));
        let mut receiving = Receiving::new();
        assert_eq!(receiving.arrive(2, LeaderWord::Snapshot, 1), Ok(()));
        assert_eq!(receiving.arrive(3, LeaderWord::Snapshot, 1), Err(Gap));
    }
}
