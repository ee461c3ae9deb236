//! The replica as people and metrics see it.

use crate::normal::{Leadership, Progress};
use crate::replica::{Stage, Viewstamped};
use crate::view::Configuration;
use quorate_protocol::{PeerStatus, Status};
use quorate_types::{NodeId, Slot};

/// Its marks and, at a primary, its peers.
pub(crate) fn of(replica: &Viewstamped) -> Status {
    let peers = match &replica.stage {
        Stage::Primary(leadership) => peers_of(replica, leadership),
        _ => Vec::new(),
    };
    Status {
        role: replica.role(),
        era: replica.view.era(),
        leader: replica.primary(),
        first: replica.log.first(),
        last: replica.log.last(),
        durable: replica.disk.durable,
        committed: replica.commit,
        applied: replica.applied,
        membership: replica.configuration.members.clone(),
        peers,
    }
}

fn peers_of(replica: &Viewstamped, leadership: &Leadership) -> Vec<PeerStatus> {
    let of = |(id, progress): (&_, &Progress)| PeerStatus {
        id: *id,
        state: if replica.transfers.contains_key(id) { "snapshot" } else { "replicate" },
        matched: progress.matched,
        active: progress.is_active(),
    };
    leadership.peers.iter().map(of).collect()
}

impl Viewstamped {
    /// While this node is the primary: up to where it takes each peer to have the log of its view durably.
    pub fn matched(&self) -> impl Iterator<Item = (NodeId, Slot)> {
        self.peers().map(|(id, progress)| (id, progress.matched))
    }

    /// While this node is the primary: who has answered in its view.
    pub fn answered(&self) -> impl Iterator<Item = NodeId> {
        let has_answered = |progress: &Progress| progress.answered_round > 0 || progress.matched > Slot::ZERO;
        self.peers().filter(move |(_, progress)| has_answered(progress)).map(|(id, _)| id)
    }

    /// The configuration that its log names for after the present epoch, if it does: whoever leads next may bring it about.
    #[must_use]
    pub fn next_configuration(&self) -> Option<&Configuration> {
        self.log.reconfiguration_of_later_epoch(self.view.epoch).map(|(_, next)| next)
    }

    fn peers(&self) -> impl Iterator<Item = (NodeId, &Progress)> {
        let leadership = match &self.stage {
            Stage::Primary(leadership) => Some(leadership),
            _ => None,
        };
        leadership.into_iter().flat_map(|leadership| leadership.peers.iter()).map(|(id, progress)| (*id, progress))
    }
}
