//! The replica as people and metrics see it.

use crate::replica::{Ballots, Position, Serving};
use quorate_protocol::{PeerStatus, Status};

pub(crate) fn of(ballots: &Ballots) -> Status {
    let peers = match &ballots.position {
        Position::Leader(leadership) => {
            let status = |(id, peer): (&_, &crate::leading::Peer)| PeerStatus {
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

impl Ballots {
    /// The ballot below which nothing is accepted here any more.
    #[must_use]
    pub fn promised(&self) -> crate::ballot::Ballot {
        self.promised
    }

    /// What is accepted here and kept.
    #[must_use]
    pub fn log(&self) -> &crate::log::Log {
        &self.log
    }

    /// Known chosen up to here.
    #[must_use]
    pub fn chosen(&self) -> quorate_types::Slot {
        self.chosen
    }
}
