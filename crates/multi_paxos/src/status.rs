//! The replica as people and metrics see it.

use crate::ballot::Payload;
use crate::leading::Peer;
use crate::replica::{Ballots, Position, Serving};
use quorate_protocol::{PeerStatus, Status};
use quorate_quorum::Flexible;
use quorate_types::{Membership, NodeId, Slot};

pub(crate) fn of(ballots: &Ballots) -> Status {
    let peers = match &ballots.position {
        Position::Leader(leadership) => {
            let status = |(id, peer): (&_, &Peer)| PeerStatus {
                id: *id,
                state: match ballots.serving.get(id) {
                    Some(Serving::Pinning | Serving::Sending { .. }) => "snapshot",
                    Some(Serving::Paused(_)) => "paused",
                    None => "replicate",
                },
                matched: peer.matched,
                active: leadership.heard.contains(id),
            };
            leadership.peers.iter().map(status).collect()
        }
        _ => Vec::new(),
    };
    Status {
        role: ballots.role(),
        era: ballots.era(),
        leader: ballots.leader,
        first: ballots.log.trim().next(),
        last: ballots.log.last(),
        durable: ballots.flushed,
        committed: ballots.chosen,
        applied: ballots.applied,
        membership: ballots.members.clone(),
        peers,
    }
}

/// What concerns only Multi-Paxos.
pub(crate) fn particulars(ballots: &Ballots) -> Vec<(&'static str, String)> {
    let sizes = format!("{} to lead, {} to choose", ballots.quorums.phase1(), ballots.quorums.phase2());
    vec![
        ("ballot promised", ballots.promised.to_string()),
        ("quorums", sizes),
        ("lease reads", lease_in_words(ballots)),
    ]
}

fn lease_in_words(ballots: &Ballots) -> String {
    let Some(leases) = ballots.config.lease_reads else { return "off".to_owned() };
    match &ballots.position {
        Position::Leader(leadership) if leadership.lease.is_given_up() => {
            "on, but given up for this ballot: somebody was asked to take over".to_owned()
        }
        Position::Leader(_) => {
            let usable = leases.usable(ballots.config.election_timeout);
            format!("on, for {usable:?} after each round that enough answer")
        }
        _ => "on".to_owned(),
    }
}

impl Ballots {
    /// The ballot below which nothing is accepted here any more.
    #[must_use]
    pub fn promised(&self) -> crate::ballot::Ballot {
        self.promised
    }

    /// How many elect and how many choose, among the voters of this configuration.
    #[must_use]
    pub fn quorums(&self) -> Flexible {
        self.quorums
    }

    /// What is accepted here and kept.
    #[must_use]
    pub fn log(&self) -> &crate::log::Log {
        &self.log
    }

    /// Known chosen up to here.
    #[must_use]
    pub fn chosen(&self) -> Slot {
        self.chosen
    }

    /// Whether it leads in the ballot it has promised.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        matches!(self.position, Position::Leader(_))
    }

    /// While this node leads, and once it has found something chosen by counting in its own ballot: up to which slot.
    #[must_use]
    pub fn chosen_by_counting(&self) -> Option<Slot> {
        (self.is_leader() && self.chosen_in == Some(self.promised)).then_some(self.chosen)
    }

    /// While this node leads: up to where it takes each peer to have durably what it proposes, or what is chosen.
    pub fn matched(&self) -> impl Iterator<Item = (NodeId, Slot)> {
        self.peers().map(|(id, peer)| (id, peer.matched))
    }

    /// While this node leads: who has answered in its ballot.
    pub fn answered(&self) -> impl Iterator<Item = NodeId> {
        let has_answered = |peer: &Peer| peer.answered_round > 0 || peer.matched > Slot::ZERO;
        self.peers().filter(move |(_, peer)| has_answered(peer)).map(|(id, _)| id)
    }

    /// The members that a stop-sign accepted here names, if there is one: whoever leads next may find it and bring it about.
    #[must_use]
    pub fn stop_sign(&self) -> Option<&Membership> {
        self.log.from(self.log.trim().next()).find_map(|(_, entry)| match &entry.payload {
            Payload::Stop(next) => Some(next),
            Payload::Command(_) | Payload::NoOp => None,
        })
    }

    fn peers(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        let leadership = match &self.position {
            Position::Leader(leadership) => Some(leadership),
            _ => None,
        };
        leadership.into_iter().flat_map(|leadership| leadership.peers.iter()).map(|(id, peer)| (*id, peer))
    }
}
