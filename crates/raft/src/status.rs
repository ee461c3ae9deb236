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

/// What concerns only Raft: leases, priority, a transfer under way.
pub(crate) fn particulars_of(raft: &Raft) -> Vec<(&'static str, String)> {
    let mut said = vec![("lease reads", lease_in_words(raft))];
    if raft.config.priority > 0 {
        said.push(("leader priority", raft.config.priority.to_string()));
    }
    if let Some(to) = raft.handing_over_to() {
        said.push(("handing over to", format!("{:x}", to.0)));
    }
    said
}

fn lease_in_words(raft: &Raft) -> String {
    let Some(leases) = raft.config.lease_reads else { return "off".to_owned() };
    let timeout = raft.config.election_timeout;
    match &raft.position {
        Position::Leader(leadership) if leadership.lease.is_given_up() => {
            "on, given up for the rest of the term, since another member was asked to lead".to_owned()
        }
        Position::Leader(_) => {
            format!("on, for {:?} after each round that a majority answers", leases.usable(timeout))
        }
        _ => format!("on, promises to elect nobody for {timeout:?} after answering a leader"),
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
