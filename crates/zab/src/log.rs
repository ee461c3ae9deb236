//! The history a node holds.

use crate::zxid::{Mark, Txn, Zxid};
use bytes::Bytes;
use quorate_protocol::Landmarks;
use quorate_types::{Slot, Ticket};
use quorate_wire::{Reader, Wire, WireError};
use std::collections::VecDeque;

/// So many landmarks are kept, about.
const LANDMARKS_KEPT: usize = 1024;

/// The transactions behind `base`, without gaps.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Log {
    base: Mark,
    txns: VecDeque<Txn>,
    bytes: u64,
    undecided: Undecided,
    written: Landmarks,
}

/// What is not known committed yet, as of the last [`Log::commit_through`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
struct Undecided {
    behind: Slot,
    bytes: u64,
}

impl Log {
    /// A history of which nothing is held behind this place.
    #[must_use]
    pub fn behind(base: Mark) -> Log {
        Log { base, undecided: Undecided { behind: base.slot, bytes: 0 }, ..Log::default() }
    }

    /// Everything up to here is decided and no longer held entry by entry.
    #[must_use]
    pub fn base(&self) -> Mark {
        self.base
    }

    /// The end.
    #[must_use]
    pub fn last(&self) -> Mark {
        let slot = Slot(self.base.slot.0 + self.count());
        Mark { slot, zxid: self.txns.back().map_or(self.base.zxid, |txn| txn.zxid) }
    }

    /// How many transactions are held.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.txns.len() as u64
    }

    /// About what they weigh.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// About what those weigh that are not known committed, as of the last [`Log::commit_through`].
    #[must_use]
    pub fn undecided_bytes(&self) -> u64 {
        self.undecided.bytes
    }

    /// Everything up to here is committed and is no longer weighed as undecided. It must be in the log.
    pub fn commit_through(&mut self, committed: Slot) {
        if committed > self.undecided.behind {
            let weight: u64 = self
                .from(self.undecided.behind.next())
                .map_while(|(slot, txn)| (slot <= committed).then(|| txn.bytes()))
                .sum();
            self.undecided = Undecided { behind: committed, bytes: self.undecided.bytes - weight };
        }
    }

    fn index(&self, slot: Slot) -> Option<usize> {
        let index = slot.0.checked_sub(self.base.slot.0)?.checked_sub(1)?;
        usize::try_from(index).ok().filter(|index| *index < self.txns.len())
    }

    /// What is in a slot.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&Txn> {
        self.txns.get(self.index(slot)?)
    }

    /// The place of a slot, the base included.
    #[must_use]
    pub fn mark_at(&self, slot: Slot) -> Option<Mark> {
        match slot == self.base.slot {
            true => Some(self.base),
            false => self.get(slot).map(|txn| Mark { slot, zxid: txn.zxid }),
        }
    }

    /// Whether this place is in it, the base included.
    #[must_use]
    pub fn has(&self, mark: Mark) -> bool {
        self.mark_at(mark.slot) == Some(mark)
    }

    /// Everything from a slot on.
    pub fn from(&self, slot: Slot) -> impl Iterator<Item = (Slot, &Txn)> {
        let skipped = usize::try_from(slot.0.saturating_sub(self.base.slot.0 + 1)).unwrap_or(usize::MAX);
        let first = self.base.slot.0 + 1;
        let held = self.txns.iter().enumerate().skip(skipped);
        held.map(move |(index, txn)| (Slot(first + index as u64), txn))
    }

    /// The last place with a lower zxid; the base where there is none.
    #[must_use]
    pub fn last_below(&self, zxid: Zxid) -> Mark {
        let below = self.txns.partition_point(|txn| txn.zxid < zxid);
        match below.checked_sub(1).and_then(|index| self.txns.get(index)) {
            Some(txn) => Mark { slot: Slot(self.base.slot.0 + below as u64), zxid: txn.zxid },
            None => self.base,
        }
    }

    /// Behind the end. Whoever calls has looked that it may stand there.
    pub fn append(&mut self, txn: Txn, ticket: Ticket) {
        let slot = self.last().slot.next();
        self.bytes += txn.bytes();
        self.undecided.bytes += txn.bytes();
        self.txns.push_back(txn);
        self.written.note(slot, ticket);
        if self.count().is_multiple_of(LANDMARKS_KEPT as u64) {
            self.written.forget_before(self.base.slot.next(), LANDMARKS_KEPT);
        }
    }

    /// Everything behind this slot goes. None of it is committed.
    pub fn truncate(&mut self, after: Slot) {
        let keep = usize::try_from(after.0.saturating_sub(self.base.slot.0)).unwrap_or(usize::MAX);
        for txn in self.txns.drain(keep.min(self.txns.len())..) {
            self.bytes -= txn.bytes();
            self.undecided.bytes -= txn.bytes();
        }
    }

    /// Everything up to `base` is no longer held. It must be in the log.
    pub fn drop_through(&mut self, base: Mark) {
        self.commit_through(base.slot);
        let count = usize::try_from(base.slot.0.saturating_sub(self.base.slot.0)).unwrap_or(usize::MAX);
        for txn in self.txns.drain(..count.min(self.txns.len())) {
            self.bytes -= txn.bytes();
        }
        self.base = base;
        self.written.forget_before(base.slot.next(), LANDMARKS_KEPT);
    }

    /// The same log with every batch of commands in it changed.
    pub(crate) fn with_batches(self, change: &mut dyn FnMut(Bytes) -> Bytes) -> Log {
        let txns = self.txns.into_iter().map(|txn| txn.with_batch(change)).collect();
        Log::of(self.base, txns, self.undecided.behind, self.written)
    }

    fn of(base: Mark, txns: VecDeque<Txn>, committed: Slot, written: Landmarks) -> Log {
        let bytes = txns.iter().map(Txn::bytes).sum();
        let undecided = Undecided { behind: base.slot, bytes };
        let mut log = Log { base, txns, bytes, undecided, written };
        log.commit_through(committed);
        log
    }

    /// The write under which everything held was written, or a later one; `None` where nothing is held.
    #[must_use]
    pub fn first_ticket(&self) -> Option<Ticket> {
        (!self.txns.is_empty()).then(|| self.written.ticket_for(self.base.slot.next()))
    }
}

impl Wire for Log {
    fn encode(&self, out: &mut Vec<u8>) {
        self.base.encode(out);
        self.txns.encode(out);
        self.undecided.behind.encode(out);
        self.written.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Log, WireError> {
        let (base, txns) = Wire::decode(input)?;
        Ok(Log::of(base, txns, Wire::decode(input)?, Wire::decode(input)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zxid::Payload;

    fn txn(epoch: u32, counter: u32) -> Txn {
        Txn { zxid: Zxid { epoch, counter }, payload: Payload::Command("x".into()) }
    }

    #[test]
    fn places_are_found_by_slot_and_by_zxid() {
        let mut log = Log::behind(Mark { slot: Slot(4), zxid: Zxid { epoch: 1, counter: 4 } });
        log.append(txn(1, 5), Ticket(1));
        log.append(txn(3, 1), Ticket(2));
        let third = Mark { slot: Slot(6), zxid: Zxid { epoch: 3, counter: 1 } };
        assert_eq!(log.last(), third);
        assert!(log.has(third) && log.has(log.base()) && !log.has(Mark { slot: Slot(5), ..third }));
        assert_eq!(log.last_below(Zxid { epoch: 2, counter: 9 }).slot, Slot(5));
        assert_eq!(log.last_below(Zxid { epoch: 1, counter: 1 }), log.base());
        assert_eq!(log.from(Slot(6)).map(|(slot, _)| slot).collect::<Vec<_>>(), [Slot(6)]);
        assert_eq!(log.from(Slot(1)).count(), 2);
        log.truncate(Slot(5));
        log.append(txn(2, 1), Ticket(3));
        log.drop_through(Mark { slot: Slot(5), zxid: Zxid { epoch: 1, counter: 5 } });
        assert_eq!((log.count(), log.first_ticket()), (1, Some(Ticket(3))));
        log.truncate(Slot(5));
        assert_eq!((log.bytes(), log.first_ticket()), (0, None));
    }
}
