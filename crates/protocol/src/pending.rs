//! Claims that wait for durable writes.

use quorate_types::Ticket;
use quorate_wire::{Reader, Wire, WireError};
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

/// The only place where a replica keeps tickets: what will be true once each write completes.
///
/// A completion is believed only for claims that still stand: whoever overwrites or truncates what a claim speaks
/// of revokes it, so that the late completion of an overwritten write proves nothing (the historic race of
/// asynchronous log writes). Equality and hash see the claims and their grouping into writes, not ticket numbers.
#[derive(Clone, Debug)]
pub struct Pending<T> {
    claims: VecDeque<(Ticket, T)>,
}

impl<T> Default for Pending<T> {
    fn default() -> Pending<T> {
        Pending { claims: VecDeque::new() }
    }
}

impl<T> Pending<T> {
    /// Nothing waits.
    #[must_use]
    pub fn new() -> Pending<T> {
        Pending::default()
    }

    /// `claim` will hold when `ticket` is durable.
    ///
    /// # Panics
    /// When tickets go down: they come from one ordered stream.
    pub fn push(&mut self, ticket: Ticket, claim: T) {
        assert!(self.claims.back().is_none_or(|(last, _)| *last <= ticket), "tickets come in order");
        self.claims.push_back((ticket, claim));
    }

    /// Takes, in order, the claims whose writes are durable.
    pub fn settle(&mut self, durable: Ticket) -> Vec<T> {
        let count = self.claims.iter().take_while(|(ticket, _)| *ticket <= durable).count();
        self.claims.drain(..count).map(|(_, claim)| claim).collect()
    }

    /// Withdraws the claims that no longer stand.
    pub fn revoke(&mut self, mut falls: impl FnMut(&T) -> bool) {
        self.claims.retain(|(_, claim)| !falls(claim));
    }

    /// The ticket of the latest claim of this kind, for an answer that must wait for the same write.
    pub fn ticket_of(&self, mut wanted: impl FnMut(&T) -> bool) -> Option<Ticket> {
        self.claims.iter().rev().find(|(_, claim)| wanted(claim)).map(|(ticket, _)| *ticket)
    }

    /// The claims still waiting, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.claims.iter().map(|(_, claim)| claim)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// For each claim, how many earlier writes it waits behind.
    fn positions(&self) -> impl Iterator<Item = (usize, &T)> {
        let mut write = 0;
        let mut last = None;
        self.claims.iter().map(move |(ticket, claim)| {
            if last.is_some_and(|last| last != *ticket) {
                write += 1;
            }
            last = Some(*ticket);
            (write, claim)
        })
    }
}

/// With the tickets: a copy made from this goes on as the original would.
impl<T: Wire> Wire for Pending<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.claims.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        let claims = VecDeque::<(Ticket, T)>::decode(input)?;
        match claims.iter().map(|(ticket, _)| ticket).is_sorted() {
            true => Ok(Pending { claims }),
            false => Err(WireError::Malformed { what: "pending claims" }),
        }
    }
}

impl<T: PartialEq> PartialEq for Pending<T> {
    fn eq(&self, other: &Pending<T>) -> bool {
        self.positions().eq(other.positions())
    }
}

impl<T: Eq> Eq for Pending<T> {}

impl<T: Hash> Hash for Pending<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.claims.len());
        for position in self.positions() {
            position.hash(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_completion_of_an_overwritten_write_proves_nothing() {
        let mut pending = Pending::new();
        pending.push(Ticket(1), "x up to 5");
        pending.revoke(|claim| *claim == "x up to 5");
        pending.push(Ticket(2), "y up to 5");
        pending.push(Ticket(3), "x up to 5");
        assert!(pending.settle(Ticket(1)).is_empty());
        assert_eq!(pending.settle(Ticket(2)), ["y up to 5"]);
        assert_eq!(pending.ticket_of(|claim| claim.starts_with('x')), Some(Ticket(3)));
    }

    #[test]
    fn equality_sees_grouping_and_not_ticket_numbers() {
        let of = |claims: &[(u64, char)]| {
            let mut pending = Pending::new();
            for (ticket, claim) in claims {
                pending.push(Ticket(*ticket), *claim);
            }
            pending
        };
        assert_eq!(of(&[(1, 'a'), (1, 'b'), (2, 'c')]), of(&[(7, 'a'), (7, 'b'), (9, 'c')]));
        assert_ne!(of(&[(1, 'a'), (1, 'b')]), of(&[(1, 'a'), (2, 'b')]));
    }
}
