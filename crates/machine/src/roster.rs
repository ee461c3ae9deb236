//! Who belongs to the cluster and who never may again, as decided: part of every image, and the same on all replicas.

use crate::sessions::mix;
use quorate_types::{Membership, NodeId, Slot};
use quorate_wire::{Reader, Wire, WireError, encode_to_bytes};
use std::collections::BTreeSet;

/// The members as of the last decided change. Empty until the first one: who founded a cluster is not in its log, so the first
/// change that a leader makes writes it there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    members: Membership,
    removed: BTreeSet<NodeId>,
    decided_at: Slot,
    digest: u64,
}

impl Roster {
    /// The members. Empty where none of the cluster's changes is decided here.
    #[must_use]
    pub fn members(&self) -> &Membership {
        &self.members
    }

    /// The slot of the last change; 0 for none.
    #[must_use]
    pub fn decided_at(&self) -> Slot {
        self.decided_at
    }

    /// Whether this id was a member and was removed: it never belongs again, under whatever disk.
    #[must_use]
    pub fn is_removed(&self, id: NodeId) -> bool {
        self.removed.contains(&id)
    }

    /// Every id that was removed, ascending.
    pub fn removed(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.removed.iter().copied()
    }

    /// A change was decided.
    pub(crate) fn decided(&mut self, slot: Slot, members: Membership) {
        let left = self.members.members().iter().map(|member| member.id).filter(|id| !members.contains(*id));
        self.removed.extend(left);
        self.members = members;
        self.decided_at = slot;
        let encoded = encode_to_bytes(&self.members);
        self.digest = encoded.iter().fold(mix(self.digest, slot.0), |digest, byte| mix(digest, u64::from(*byte)));
    }

    /// A rolling hash of every decided change.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }
}

impl Wire for Roster {
    fn encode(&self, out: &mut Vec<u8>) {
        self.members.encode(out);
        self.removed().collect::<Vec<_>>().encode(out);
        self.decided_at.encode(out);
        self.digest.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Roster {
            members: Membership::decode(input)?,
            removed: Vec::decode(input)?.into_iter().collect(),
            decided_at: Slot::decode(input)?,
            digest: input.u64("roster digest")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_leaves_is_remembered_and_a_roster_survives_its_encoding() {
        let mut roster = Roster::default();
        roster.decided(Slot(3), Membership::of_voters(3));
        assert_eq!(roster.removed().count(), 0);
        roster.decided(Slot(5), Membership::of_voters(2));
        assert!(roster.is_removed(NodeId(3)) && !roster.is_removed(NodeId(2)));
        roster.decided(Slot(7), Membership::of_voters(1));
        let back: Roster = quorate_wire::decode_exact(encode_to_bytes(&roster)).unwrap();
        assert_eq!(back, roster);
        assert_eq!(back.removed().collect::<Vec<_>>(), [NodeId(2), NodeId(3)]);
        assert_eq!(back.decided_at(), Slot(7));
    }

    #[test]
    fn the_digest_tells_histories_apart() {
        let mut one = Roster::default();
        one.decided(Slot(3), Membership::of_voters(3));
        let mut other = one.clone();
        other.decided(Slot(4), Membership::of_voters(3));
        assert_ne!(one.digest(), other.digest());
    }
}
