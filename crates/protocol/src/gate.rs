//! Holds every message until what it claims is durable.

use quorate_types::{NodeId, Ticket};
use quorate_wire::{Reader, Wire, WireError};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

/// Messages waiting for durable writes. One per replica, owned by the driver; dropped on a crash.
///
/// Equality and hash see which messages wait, in which order of writes, not the tickets' numbers: two drivers
/// that got to the same situation by different counts of writes are in the same state.
#[derive(Clone, Debug)]
pub struct Gate<M> {
    durable: Ticket,
    held: BTreeMap<Ticket, Vec<(NodeId, M)>>,
}

impl<M> Gate<M> {
    /// An empty gate; everything up to `durable` is durable already.
    #[must_use]
    pub fn new(durable: Ticket) -> Gate<M> {
        Gate { durable, held: BTreeMap::new() }
    }

    /// Hands the message back at once if it waits for nothing, else keeps it.
    #[must_use = "a message handed back must be sent"]
    pub fn pass(&mut self, after: Ticket, to: NodeId, message: M) -> Option<(NodeId, M)> {
        if after <= self.durable {
            return Some((to, message));
        }
        self.held.entry(after).or_default().push((to, message));
        None
    }

    /// Everything up to `durable` is durable: returns what may leave now, in order of tickets.
    #[must_use = "released messages must be sent"]
    pub fn advance(&mut self, durable: Ticket) -> Vec<(NodeId, M)> {
        if durable <= self.durable {
            return Vec::new();
        }
        self.durable = durable;
        let still_held = self.held.split_off(&Ticket(durable.0 + 1));
        std::mem::replace(&mut self.held, still_held).into_values().flatten().collect()
    }

    /// Everything up to here is durable.
    #[must_use]
    pub fn durable(&self) -> Ticket {
        self.durable
    }

    /// The same gate with every message that waits changed.
    #[must_use]
    pub fn map(self, mut change: impl FnMut(M) -> M) -> Gate<M> {
        let changed = |messages: Vec<(NodeId, M)>| messages.into_iter().map(|(to, held)| (to, change(held))).collect();
        let tickets: Vec<Ticket> = self.held.keys().copied().collect();
        let held = tickets.into_iter().zip(self.held.into_values().map(changed)).collect();
        Gate { durable: self.durable, held }
    }

    /// How many messages wait.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.values().map(Vec::len).sum()
    }
}

impl<M: Wire> Wire for Gate<M> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.durable.encode(out);
        self.held.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Gate { durable: Ticket::decode(input)?, held: BTreeMap::decode(input)? })
    }
}

impl<M: PartialEq> PartialEq for Gate<M> {
    fn eq(&self, other: &Gate<M>) -> bool {
        self.held.values().eq(other.held.values())
    }
}

impl<M: Eq> Eq for Gate<M> {}

impl<M: Hash> Hash for Gate<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.held.len());
        for messages in self.held.values() {
            messages.hash(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_leaves_when_its_ticket_is_durable_and_not_before() {
        let mut gate = Gate::new(Ticket(0));
        assert_eq!(gate.pass(Ticket::NONE, NodeId(2), "now"), Some((NodeId(2), "now")));
        assert_eq!(gate.pass(Ticket(2), NodeId(2), "second"), None);
        assert_eq!(gate.pass(Ticket(1), NodeId(3), "first"), None);
        assert_eq!(gate.advance(Ticket(1)), [(NodeId(3), "first")]);
        assert_eq!(gate.advance(Ticket(1)), []);
        assert_eq!(gate.advance(Ticket(5)), [(NodeId(2), "second")]);
        assert_eq!(gate.held(), 0);
    }

    #[test]
    fn equality_sees_positions_and_not_ticket_numbers() {
        let held_at = |durable: u64, after: u64| {
            let mut gate = Gate::new(Ticket(durable));
            assert_eq!(gate.pass(Ticket(after), NodeId(1), 'x'), None);
            gate
        };
        assert_eq!(held_at(0, 1), held_at(7, 8));
    }
}
