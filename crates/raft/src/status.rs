//! The replica as people and metrics see it.

use crate::election::Position;
use crate::leading::Leadership;
use crate::replica::Raft;
use quorate_protocol::{PeerStatus, Status};

/// Its marks and, at a leader, its peers.
pub(crate) fn of(raft: &Raft) -> Status {
    let peers = match &raft.position {
        Position::Leader(leadership) => peers_of(leadership),
        _ => Vec::new(),
    };
    Status {
        role: raft.role(),
        era: raft.term,
        leader: raft.leader,
        first: raft.log.first(),
        last: raft.log.last(),
        durable: raft.disk.durable,
        committed: raft.commit,
        applied: raft.applied,
        membership: raft.configurations.in_force().members.clone(),
        peers,
    }
}

fn peers_of(leadership: &Leadership) -> Vec<PeerStatus> {
    let status = |(id, progress): (&_, &crate::progress::Progress)| PeerStatus {
        id: *id,
        state: progress.pace_name(),
        matched: progress.matched,
        active: leadership.heard.contains(id),
    };
    leadership.peers.iter().map(status).collect()
}
