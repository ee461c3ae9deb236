//! What is accepted, slot by slot.

use crate::ballot::{Ballot, Payload};
use quorate_types::{Slot, Ticket};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

/// What is accepted in one slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// In which ballot.
    pub ballot: Ballot,
    /// What.
    pub payload: Payload,
    /// The write of just this acceptance is complete.
    pub durable: bool,
}

/// Which write holds each slot's acceptance: bookkeeping about the journal and not protocol state, so all values are equal and
/// hash alike.
#[derive(Clone, Debug, Default)]
struct Written(BTreeMap<Slot, Ticket>);

impl PartialEq for Written {
    fn eq(&self, _: &Written) -> bool {
        true
    }
}

impl Eq for Written {}

impl Hash for Written {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// The slots behind `trim` in which something is accepted. There may be holes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Log {
    entries: BTreeMap<Slot, Entry>,
    trim: Slot,
    bytes: u64,
    undecided: Undecided,
    written: Written,
}

/// What is not known chosen yet, as of the last [`Log::choose_through`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
struct Undecided {
    behind: Slot,
    bytes: u64,
}

impl Log {
    /// Everything up to here is decided and no longer kept.
    #[must_use]
    pub fn trim(&self) -> Slot {
        self.trim
    }

    /// The last slot in which anything is accepted; `trim` where there is none.
    #[must_use]
    pub fn last(&self) -> Slot {
        self.entries.keys().next_back().copied().unwrap_or(self.trim)
    }

    /// What is accepted in a slot.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(&slot)
    }

    /// Everything accepted from a slot on.
    pub fn from(&self, slot: Slot) -> impl Iterator<Item = (Slot, &Entry)> {
        self.entries.range(slot..).map(|(slot, entry)| (*slot, entry))
    }

    /// Everything kept, with the write that holds it.
    pub(crate) fn written(&self) -> impl Iterator<Item = (Slot, Ticket, &Entry)> {
        let ticket = |slot| self.written.0.get(slot).copied().unwrap_or_default();
        self.entries.iter().map(move |(slot, entry)| (*slot, ticket(slot), entry))
    }

    /// How many slots are kept.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.entries.len() as u64
    }

    /// About what they weigh.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// About what those weigh that are not known chosen, as of the last [`Log::choose_through`].
    #[must_use]
    pub fn undecided_bytes(&self) -> u64 {
        self.undecided.bytes
    }

    /// Accepts. What was accepted there before is replaced. The slot must be behind `trim`.
    pub fn accept(&mut self, slot: Slot, ballot: Ballot, payload: Payload, ticket: Ticket, durable: bool) {
        let bytes = payload.bytes();
        self.written.0.insert(slot, ticket);
        let before = self.entries.insert(slot, Entry { ballot, payload, durable });
        let replaced = before.map_or(0, |before| before.payload.bytes());
        self.bytes = self.bytes + bytes - replaced;
        if slot > self.undecided.behind {
            self.undecided.bytes = self.undecided.bytes + bytes - replaced;
        }
    }

    /// Everything up to here is chosen and is no longer weighed as undecided.
    pub fn choose_through(&mut self, chosen: Slot) {
        if chosen > self.undecided.behind {
            let settled = self.entries.range(self.undecided.behind.next()..=chosen);
            self.undecided.bytes -= settled.map(|(_, entry)| entry.payload.bytes()).sum::<u64>();
            self.undecided.behind = chosen;
        }
    }

    /// The write of these acceptances is complete. It proves nothing of slots accepted anew since.
    pub fn completed(&mut self, ballot: Ballot, first: Slot, count: u64) {
        for (_, entry) in self.entries.range_mut(first..Slot(first.0.saturating_add(count))) {
            entry.durable |= entry.ballot == ballot;
        }
    }

    /// Everything up to `through` goes.
    pub fn drop_through(&mut self, through: Slot) {
        self.choose_through(through);
        let kept = self.entries.split_off(&through.next());
        let dropped = std::mem::replace(&mut self.entries, kept);
        self.bytes -= dropped.values().map(|entry| entry.payload.bytes()).sum::<u64>();
        self.written.0 = self.written.0.split_off(&through.next());
        self.trim = self.trim.max(through);
    }

    /// The first write that holds anything kept.
    #[must_use]
    pub fn first_ticket(&self) -> Option<Ticket> {
        self.written.0.values().min().copied()
    }
}
