//! When the disk is nearly full: it is said through the log while there is still room to say it.
//!
//! The driver samples what the disk has left and tells ([`crate::NodeInput::FreeSpace`]); a node never asks a disk. Below the
//! low-water mark the node writes the state machine's command for that ([`StateMachine::low_space_command`]), as a client of
//! its own: it reaches the leader like any other write, and from then on all replicas refuse what makes the state grow.
//! What shrinks it goes on in the space that is left and in the segment that the journal has reserved ahead. When even
//! that is gone, an operation fails and the driver stops the node, as after any failed write.
//!
//! A leader that has said so hands its lead on: whatever the cluster writes is written to its disk first, and it is the one that
//! everybody misses. It asks the voter that is furthest of those that answer and have not said the same; who has, the state
//! tells, by having no more to say of it. If there is none, or the lead comes back, it waits for longer each time.

use crate::node::Node;
use quorate_machine::{ClientTag, StateMachine};
use quorate_protocol::{Input, Replica, Role};
use quorate_types::{MemberRole, NodeId, Time};
use std::time::Duration;

/// The tag of the node's own writes. No driver may use it.
pub(crate) const OWN_TAG: ClientTag = ClientTag(u64::MAX);

/// After the lead was handed on, it is not for so long; then for twice as long, and so on.
const HAND_ON_PAUSE: Duration = Duration::from_secs(30);
/// Pauses double up to this many times: to half an hour.
const HAND_ON_DOUBLINGS: u32 = 6;

/// What a node knows of its disk.
#[derive(Clone, Debug)]
pub(crate) struct SpaceWatch {
    low_water_bytes: u64,
    /// By the driver's last word.
    free_bytes: Option<u64>,
    /// A command that tells is on its way. While it is, no second one is written.
    telling: bool,
    /// How often the lead was handed on since the disk was not low.
    handed_on: u32,
    /// It is not handed on before then.
    hand_on_at: Time,
}

impl SpaceWatch {
    pub(crate) fn new(low_water_bytes: u64) -> SpaceWatch {
        SpaceWatch { low_water_bytes, free_bytes: None, telling: false, handed_on: 0, hand_on_at: Time::ZERO }
    }

    /// What the disk has left, if the driver has said so.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        self.free_bytes
    }

    /// The node's own write was answered, or given up: it is written again with the next word of a disk that is still low, if
    /// the state does not have it by then.
    pub(crate) fn told(&mut self) {
        self.telling = false;
    }

    fn is_low(&self) -> bool {
        self.free_bytes.is_some_and(|free| free < self.low_water_bytes)
    }
}

impl<R: Replica, S: StateMachine> Node<R, S> {
    /// The driver's news of the disk.
    pub(crate) fn note_free_space(&mut self, now: Time, free_bytes: u64) {
        self.journal.note_free_space(free_bytes);
        self.space.free_bytes = Some(free_bytes);
        if !self.space.is_low() {
            self.space.handed_on = 0;
            return;
        }
        // A witness that runs full costs a vote, and no reason to stop all others from growing.
        if self.is_witness {
            return;
        }
        if self.space.telling {
            return;
        }
        match self.machine.state().low_space_command(self.setup.me) {
            Some(command) => {
                self.space.telling = true;
                self.machine.submit(now, OWN_TAG, command, &mut self.machine_outputs);
            }
            // It is said: only now others can tell this node from those that have room.
            None => self.hand_lead_on(now),
        }
    }

    fn hand_lead_on(&mut self, now: Time) {
        if now < self.space.hand_on_at {
            return;
        }
        if let Some(to) = self.roomy_voter() {
            let pause = HAND_ON_PAUSE.saturating_mul(1 << self.space.handed_on.min(HAND_ON_DOUBLINGS));
            self.space.handed_on = self.space.handed_on.saturating_add(1);
            self.space.hand_on_at = now + pause;
            let request = self.machine.fresh_request();
            self.inbox.push(Input::Transfer { request, to });
        }
    }

    /// At a leader: the voter that is furthest of those that answer and have not said that they are low themselves.
    fn roomy_voter(&self) -> Option<NodeId> {
        let status = self.replica.status();
        if status.role != Role::Leader {
            return None;
        }
        let is_roomy = |id: NodeId| self.machine.state().low_space_command(id).is_some();
        let votes = |id: NodeId| status.membership.get(id).is_some_and(|member| member.role == MemberRole::Voter);
        let candidates = status.peers.iter().filter(|peer| peer.active && votes(peer.id) && is_roomy(peer.id));
        candidates.max_by_key(|peer| peer.matched).map(|peer| peer.id)
    }
}
