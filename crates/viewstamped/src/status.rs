//! The replica as people and metrics see it.

use crate::normal::Leadership;
use crate::replica::{Stage, Viewstamped};
use quorate_protocol::{PeerStatus, Status};

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
    let of = |(id, progress): (&_, &crate::normal::Progress)| PeerStatus {
        id: *id,
        state: if replica.transfers.contains_key(id) { "snapshot" } else { "replicate" },
        matched: progress.matched,
        active: progress.is_active(),
    };
    leadership.peers.iter().map(of).collect()
}
