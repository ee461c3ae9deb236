//! Reads that wait: at a leader for the round that confirms them, at everybody else for the leader's answer.

use crate::ReadToken;
use quorate_types::{NodeId, Slot};
use quorate_wire::{Reader, Wire, WireError};
use std::collections::{BTreeSet, VecDeque};

/// A read and the node that will serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaitingRead {
    /// Names it.
    pub token: ReadToken,
    /// The leader itself, or who asked it.
    pub reader: NodeId,
}

/// Reads whose round is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadRound {
    /// An answer to this round or a later one confirms them.
    pub round: u64,
    /// Where they may be read once confirmed: the leader's mark when the round began.
    pub slot: Slot,
    /// At least one.
    pub reads: Vec<WaitingRead>,
}

/// What became of a read that came to a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It waits for the next round.
    Waits,
    /// It was asked before, and waits already: the answer to either copy is late enough for both.
    Known,
    /// Too many wait.
    Full,
}

/// Reads at a leader. Rounds overlap: whatever came since the last one began leaves with the next, which need not wait for
/// the answers to that one.
///
/// A round confirms a read only if it began when the read had come, or later, and its slot is what the leader knew decided at
/// that moment. Whoever answers a round has answered all earlier ones too, so rounds are released in their order and a lost,
/// late or repeated answer matters to nobody once a later one is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReadQueue {
    held: Vec<WaitingRead>,
    confirming: VecDeque<ReadRound>,
}

impl ReadQueue {
    /// Takes in a read that came, unless `most` wait.
    pub fn admit(&mut self, read: WaitingRead, most: usize) -> Admission {
        if self.reads().any(|waiting| waiting.token == read.token) {
            return Admission::Known;
        }
        if self.count() >= most {
            return Admission::Full;
        }
        self.held.push(read);
        Admission::Waits
    }

    /// Whether a read waits for a round to begin, and fewer than `most` are under way.
    #[must_use]
    pub fn wants_round(&self, most: usize) -> bool {
        !self.held.is_empty() && self.confirming.len() < most
    }

    /// A round has just begun, later than all before, with this much known decided: it confirms everything that came so far.
    pub fn carry(&mut self, round: u64, slot: Slot) {
        if !self.held.is_empty() {
            self.confirming.push_back(ReadRound { round, slot, reads: std::mem::take(&mut self.held) });
        }
    }

    /// Whether a round is under way for some read.
    #[must_use]
    pub fn is_confirming(&self) -> bool {
        !self.confirming.is_empty()
    }

    /// A quorum has answered this round or later ones: hands out what is confirmed, in order.
    pub fn release(&mut self, answered: u64) -> Vec<ReadRound> {
        let count = self.confirming.iter().take_while(|round| round.round <= answered).count();
        self.confirming.drain(..count).collect()
    }

    /// Takes the reads that wait for a round to begin, for a leader that need not ask anybody.
    pub fn take_held(&mut self) -> Vec<WaitingRead> {
        std::mem::take(&mut self.held)
    }

    /// Whether any read waits for a round to begin.
    #[must_use]
    pub fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Takes all that wait, in the order they came.
    #[must_use]
    pub fn into_reads(self) -> Vec<WaitingRead> {
        self.confirming.into_iter().flat_map(|round| round.reads).chain(self.held).collect()
    }

    /// Whether rounds ascend up to `last` and none is empty.
    #[must_use]
    pub fn is_consistent(&self, last: u64) -> bool {
        let rounds = || self.confirming.iter().map(|round| round.round);
        rounds().is_sorted_by(|one, next| one < next)
            && rounds().all(|round| round <= last)
            && self.confirming.iter().all(|round| !round.reads.is_empty())
    }

    fn reads(&self) -> impl Iterator<Item = &WaitingRead> {
        self.confirming.iter().flat_map(|round| &round.reads).chain(&self.held)
    }

    fn count(&self) -> usize {
        self.held.len() + self.confirming.iter().map(|round| round.reads.len()).sum::<usize>()
    }
}

/// The latest round that so many have answered, of the rounds that each answered last; 0 where they are fewer.
#[must_use]
pub fn round_answered_by(count: usize, last_answered: impl IntoIterator<Item = u64>) -> u64 {
    let mut rounds: Vec<u64> = last_answered.into_iter().collect();
    rounds.sort_unstable_by(|one, other| other.cmp(one));
    count.checked_sub(1).and_then(|at| rounds.get(at)).copied().unwrap_or(0)
}

/// A node's own reads that it asked its leader about. Tokens ascend in the order reads came, so an answer to one, which the
/// leader gave after it was asked, is late enough for every earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AskedReads {
    tokens: BTreeSet<ReadToken>,
}

impl AskedReads {
    /// Waits for the answer.
    pub fn insert(&mut self, token: ReadToken) {
        self.tokens.insert(token);
    }

    /// How many wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tokens.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The one whose answer serves all.
    #[must_use]
    pub fn newest(&self) -> Option<ReadToken> {
        self.tokens.last().copied()
    }

    /// Takes those that an answer to this one serves: none, if it does not wait itself.
    pub fn take_through(&mut self, token: ReadToken) -> Vec<ReadToken> {
        if !self.tokens.contains(&token) {
            return Vec::new();
        }
        let later = self.tokens.split_off(&token);
        let mut served = std::mem::replace(&mut self.tokens, later);
        served.extend(self.tokens.take(&token));
        served.into_iter().collect()
    }

    /// Takes all.
    pub fn take_all(&mut self) -> Vec<ReadToken> {
        std::mem::take(&mut self.tokens).into_iter().collect()
    }
}

impl Wire for WaitingRead {
    fn encode(&self, out: &mut Vec<u8>) {
        self.token.encode(out);
        self.reader.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<WaitingRead, WireError> {
        Ok(WaitingRead { token: Wire::decode(input)?, reader: Wire::decode(input)? })
    }
}

impl Wire for ReadRound {
    fn encode(&self, out: &mut Vec<u8>) {
        self.round.encode(out);
        self.slot.encode(out);
        self.reads.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<ReadRound, WireError> {
        Ok(ReadRound { round: Wire::decode(input)?, slot: Wire::decode(input)?, reads: Wire::decode(input)? })
    }
}

impl Wire for ReadQueue {
    fn encode(&self, out: &mut Vec<u8>) {
        self.held.encode(out);
        self.confirming.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<ReadQueue, WireError> {
        Ok(ReadQueue { held: Wire::decode(input)?, confirming: Wire::decode(input)? })
    }
}

impl Wire for AskedReads {
    fn encode(&self, out: &mut Vec<u8>) {
        self.tokens.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<AskedReads, WireError> {
        Ok(AskedReads { tokens: Wire::decode(input)? })
    }
}

#[cfg(test)]
mod tests;
