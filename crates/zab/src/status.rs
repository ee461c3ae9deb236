//! The replica as people and metrics see it.

use crate::leading::{Peer, PeerStage};
use crate::replica::{Broadcast, Position, Serving};
use quorate_protocol::{PeerStatus, Status};
use quorate_types::Slot;

pub(crate) fn of(broadcast: &Broadcast) -> Status {
    let peers = match &broadcast.position {
        Position::Leading(leadership) => {
            let status = |(id, peer): (&_, &Peer)| PeerStatus {
                id: *id,
                state: match (broadcast.serving.get(id), peer.stage) {
                    (Some(Serving::Pinning | Serving::Sending { .. }), PeerStage::Snapshot) => "snapshot",
                    (_, PeerStage::Snapshot) => "paused",
                    (_, PeerStage::Synchronised) => "broadcast",
                    (_, PeerStage::Synchronising | PeerStage::Offered) => "synchronise",
                    (_, PeerStage::Connected | PeerStage::Asked | PeerStage::Promised { .. }) => "discover",
                },
                matched: peer.matched,
                active: leadership.hears(*id),
            };
            leadership.peers.iter().map(status).collect()
        }
        _ => Vec::new(),
    };
    Status {
        role: broadcast.role(),
        era: u64::from(broadcast.accepted_epoch),
        leader: broadcast.leader(),
        first: broadcast.log.base().slot.next(),
        last: broadcast.log.last().slot,
        durable: broadcast.flushed,
        committed: broadcast.committed,
        applied: broadcast.applied,
        membership: broadcast.members.clone(),
        peers,
    }
}

impl Broadcast {
    /// No leader of an earlier epoch is followed here.
    #[must_use]
    pub fn accepted_epoch(&self) -> u32 {
        self.accepted_epoch
    }

    /// The epoch whose history was taken last.
    #[must_use]
    pub fn current_epoch(&self) -> u32 {
        self.current_epoch
    }

    /// The history held.
    #[must_use]
    pub fn log(&self) -> &crate::log::Log {
        &self.log
    }

    /// The connection with the leader it follows, if it does.
    #[must_use]
    pub fn connection(&self) -> Option<crate::connection::Connection> {
        match &self.position {
            Position::Following(following) => Some(following.connection),
            Position::Looking(_) | Position::Leading(_) => None,
        }
    }

    /// Known committed up to here.
    #[must_use]
    pub fn committed(&self) -> Slot {
        self.committed
    }

    /// Whether it leads an established epoch: the one it accepted last.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.established().is_some()
    }
}
