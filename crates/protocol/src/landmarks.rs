//! Which tickets hold which slots, for compaction.

use quorate_types::{Slot, Ticket};
use quorate_wire::{Reader, Wire, WireError};
use std::hash::{Hash, Hasher};

/// A sparse, ascending list of "from this slot on, the log was written under this ticket or a later one".
///
/// It answers the one question compaction asks: keeping every slot from `s` on, which tickets may go? It is
/// bookkeeping about the journal and not protocol state, so all values are equal and hash alike.
#[derive(Clone, Debug, Default)]
pub struct Landmarks {
    marks: Vec<(Slot, Ticket)>,
}

impl Landmarks {
    /// No slot is written yet.
    #[must_use]
    pub fn new() -> Landmarks {
        Landmarks::default()
    }

    /// The slots from `first` on are being written under `ticket`; what was there before is overwritten.
    pub fn note(&mut self, first: Slot, ticket: Ticket) {
        self.marks.retain(|(slot, _)| *slot < first);
        self.marks.push((first, ticket));
    }

    /// The greatest known ticket such that every slot from `keep_from` on is written under it or later.
    /// [`Ticket::NONE`] when unknown: keep everything.
    #[must_use]
    pub fn ticket_for(&self, keep_from: Slot) -> Ticket {
        let below = self.marks.partition_point(|(slot, _)| *slot <= keep_from);
        match below {
            0 => Ticket::NONE,
            _ => self.marks[below - 1].1,
        }
    }

    /// Forgets marks that only matter for slots before `keep_from`, and thins the rest to about `keep_most`.
    pub fn forget_before(&mut self, keep_from: Slot, keep_most: usize) {
        let below = self.marks.partition_point(|(slot, _)| *slot <= keep_from);
        self.marks.drain(..below.saturating_sub(1));
        if self.marks.len() > keep_most.max(2) {
            let mut position = 0;
            self.marks.retain(|_| {
                position += 1;
                position % 2 == 1
            });
        }
    }
}

/// With all its marks, although equality does not see them: a copy made from this compacts as the original would.
impl Wire for Landmarks {
    fn encode(&self, out: &mut Vec<u8>) {
        self.marks.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Landmarks { marks: Vec::decode(input)? })
    }
}

impl PartialEq for Landmarks {
    fn eq(&self, _: &Landmarks) -> bool {
        true
    }
}

impl Eq for Landmarks {}

impl Hash for Landmarks {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_from_a_slot_on_is_under_the_named_ticket_or_later() {
        let mut marks = Landmarks::new();
        marks.note(Slot(1), Ticket(1));
        marks.note(Slot(5), Ticket(2));
        marks.note(Slot(9), Ticket(3));
        assert_eq!(marks.ticket_for(Slot(9)), Ticket(3));
        assert_eq!(marks.ticket_for(Slot(8)), Ticket(2));
        // Slots 4 and later are overwritten: what is kept from 8 on starts with the overwriting write.
        marks.note(Slot(4), Ticket(4));
        assert_eq!(marks.ticket_for(Slot(8)), Ticket(4));
        assert_eq!(marks.ticket_for(Slot(3)), Ticket(1));
        marks.forget_before(Slot(6), 16);
        assert_eq!(marks.ticket_for(Slot(6)), Ticket(4));
        assert_eq!(marks.ticket_for(Slot(3)), Ticket::NONE);
    }
}
