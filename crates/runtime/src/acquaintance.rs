//! Whom this node knows: the members it has to speak to, those decided, and those that were removed.

use crate::hello::HelloRefusal;
use quorate_node::Roster;
use quorate_types::Membership;
use quorate_wire::Hello;

/// What the loop last said about the members, for judging who comes.
#[derive(Debug, Default)]
pub(crate) struct Acquaintance {
    /// Whom the replica may have to speak to.
    pub(crate) reach: Membership,
    pub(crate) roster: Roster,
}

impl Acquaintance {
    /// Refuses whoever was removed, or comes on another disk than was decided, for good; and whoever is not known and does not know
    /// more than this node, for now. A node that knows nobody yet, since it is joining, takes everybody of its cluster.
    pub(crate) fn check(&self, theirs: &Hello) -> Result<(), HelloRefusal> {
        let node = theirs.node.0;
        if self.roster.is_removed(theirs.node) {
            return Err(HelloRefusal::Removed { node });
        }
        let decided = self.roster.members().get(theirs.node);
        if let Some(known) = decided.and_then(|member| member.disk)
            && known != theirs.disk
        {
            return Err(HelloRefusal::OtherDisk { node, theirs: theirs.disk.0, known: known.0 });
        }
        let is_known = decided.is_some() || self.reach.contains(theirs.node);
        let knows_more = theirs.members_decided_at > self.roster.decided_at();
        if is_known || knows_more || self.reach.members().is_empty() {
            return Ok(());
        }
        Err(HelloRefusal::Unknown { node })
    }

    /// The members as far as known here, for whoever asks.
    pub(crate) fn members(&self) -> &Membership {
        if self.roster.members().members().is_empty() { &self.reach } else { self.roster.members() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{ClusterId, DiskId, Incarnation, NodeId, Slot};
    use quorate_wire::{WIRE_VERSION, WIRE_VERSION_OLDEST};

    fn hello(node: u64, members_decided_at: u64) -> Hello {
        Hello {
            cluster: ClusterId(7),
            node: NodeId(node),
            to: NodeId(1),
            disk: DiskId(node * 100),
            incarnation: Incarnation(1),
            start: 77,
            protocol: "raft".to_owned(),
            version_oldest: WIRE_VERSION_OLDEST,
            version_newest: WIRE_VERSION,
            name: String::new(),
            client_urls: Vec::new(),
            peer_urls: Vec::new(),
            members_decided_at: Slot(members_decided_at),
            agreements: Vec::new(),
        }
    }

    #[test]
    fn a_stranger_is_refused_for_now_unless_it_knows_more_and_a_newcomer_takes_all() {
        let knows_two = Acquaintance { reach: Membership::of_voters(2), ..Acquaintance::default() };
        assert_eq!(knows_two.check(&hello(2, 0)), Ok(()));
        let refusal = knows_two.check(&hello(3, 0)).unwrap_err();
        assert_eq!(refusal, HelloRefusal::Unknown { node: 3 });
        assert!(!refusal.is_fatal(), "it may be heard of any moment");
        assert_eq!(knows_two.check(&hello(3, 9)), Ok(()), "this node is behind");
        assert_eq!(Acquaintance::default().check(&hello(3, 0)), Ok(()), "this node is joining");
    }
}
