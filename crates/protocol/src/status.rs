//! A replica as people and metrics see it.

use quorate_types::{Membership, NodeId, Slot};

/// What a replica is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Leads, or is the primary.
    Leader,
    /// Trying to.
    Candidate,
    /// Follows, or is a backup or acceptor.
    Follower,
    /// Receives without counting.
    Learner,
    /// Counts without storing data.
    Witness,
    /// Not in the membership it knows.
    Outsider,
}

impl Role {
    /// One lower-case word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Leader => "leader",
            Role::Candidate => "candidate",
            Role::Follower => "follower",
            Role::Learner => "learner",
            Role::Witness => "witness",
            Role::Outsider => "outsider",
        }
    }
}

/// What a leader knows of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerStatus {
    /// The peer.
    pub id: NodeId,
    /// `probe`, `replicate`, ...
    pub state: &'static str,
    /// Known durable there up to here.
    pub matched: Slot,
    /// Heard from within the election timeout.
    pub active: bool,
}

/// A replica's marks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// What it is doing.
    pub role: Role,
    /// Term, ballot round, view or epoch; [`era_words`] tells it to people.
    pub era: u64,
    /// Whom it believes to lead.
    pub leader: Option<NodeId>,
    /// First slot still in its log.
    pub first: Slot,
    /// Last slot in its log, decided or not.
    pub last: Slot,
    /// Its log is durable here up to this slot.
    pub durable: Slot,
    /// Known decided up to here.
    pub committed: Slot,
    /// Applied by the machine up to here.
    pub applied: Slot,
    /// The membership in force.
    pub membership: Membership,
    /// Per peer, at a leader; else empty.
    pub peers: Vec<PeerStatus>,
}

/// An era for people. Where eras begin anew in each configuration, the upper half is the configuration's number: `2.7`.
#[must_use]
pub fn era_words(era: u64) -> String {
    match era >> 32 {
        0 => era.to_string(),
        configuration => format!("{configuration}.{}", era & u64::from(u32::MAX)),
    }
}
