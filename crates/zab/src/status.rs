//! The replica as people and metrics see it.

use crate::leading::{Peer, PeerStage};
use crate::replica::{Broadcast, Position, Serving};
use crate::zxid::Payload;
use quorate_protocol::{PeerStatus, Status};
use quorate_types::{Membership, NodeId, Slot};

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

    /// At the leader of an established epoch: up to where each peer has acknowledged its history.
    pub fn matched(&self) -> impl Iterator<Item = (NodeId, Slot)> {
        self.synchronised().map(|(id, peer)| (id, peer.matched))
    }

    /// At the leader of an established epoch: who has acknowledged that epoch.
    pub fn answered(&self) -> impl Iterator<Item = NodeId> {
        self.synchronised().map(|(id, _)| id)
    }

    /// The members that a stop-sign at the end of the history names.
    #[must_use]
    pub fn stop_sign(&self) -> Option<&Membership> {
        match &self.log.get(self.log.last().slot)?.payload {
            Payload::Stop(next) => Some(next),
            _ => None,
        }
    }

    fn synchronised(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        let peers = self.established().into_iter().flat_map(|leadership| leadership.peers.iter());
        peers.filter(|(_, peer)| peer.stage == PeerStage::Synchronised).map(|(id, peer)| (*id, peer))
    }
}
