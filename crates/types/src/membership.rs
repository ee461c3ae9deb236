//! Who belongs to a cluster, and in which part.

use crate::{DiskId, NodeId};
use std::sync::Arc;

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberRole {
    /// Stores data and counts in quorums.
    Voter,
    /// Stores data, never counts. Stays so until the members are changed.
    Learner,
    /// A learner on its way to voting: the leader makes it a voter as soon as it has caught up.
    Joining,
    /// Counts in quorums, stores no data.
    Witness,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Its name for life.
    pub id: NodeId,
    /// What it does.
    pub role: MemberRole,
    /// The disk it was first seen with, once known. Another disk under this id is refused.
    pub disk: Option<DiskId>,
    /// A name for people.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
}

impl Member {
    /// A voter that has only an id: what tests and simulations need.
    #[must_use]
    pub fn voter(id: NodeId) -> Member {
        Member {
            id,
            role: MemberRole::Voter,
            disk: None,
            name: id.to_string(),
            peer_urls: Vec::new(),
            client_urls: Vec::new(),
        }
    }

    /// Whether it counts in quorums.
    #[must_use]
    pub fn counts(&self) -> bool {
        matches!(self.role, MemberRole::Voter | MemberRole::Witness)
    }

    /// Whether it keeps what is decided, and so can serve it.
    #[must_use]
    pub fn stores_data(&self) -> bool {
        self.role != MemberRole::Witness
    }
}

/// The members of one configuration, in order of id. Clones share them: every look at a replica's status takes one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Membership {
    members: Arc<[Member]>,
}

impl Membership {
    /// The membership of these members. Of two with the same id the later wins.
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = Member>) -> Membership {
        let mut sorted: std::collections::BTreeMap<NodeId, Member> = std::collections::BTreeMap::new();
        for member in members {
            sorted.insert(member.id, member);
        }
        Membership { members: sorted.into_values().collect() }
    }

    /// Voters with the ids 1 to `count`.
    #[must_use]
    pub fn of_voters(count: u64) -> Membership {
        Membership::new((1..=count).map(|id| Member::voter(NodeId(id))))
    }

    /// All members, in order of id.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member with this id.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Member> {
        self.members.binary_search_by_key(&id, |member| member.id).ok().map(|at| &self.members[at])
    }

    /// Whether this id is a member in any role.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.get(id).is_some()
    }

    /// Whether this id counts in quorums.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(Member::counts)
    }

    /// The ids that count in quorums, ascending.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().filter(|member| member.counts()).map(|member| member.id)
    }

    /// Every id but `me`, ascending.
    pub fn others(&self, me: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().map(|member| member.id).filter(move |id| *id != me)
    }
}
