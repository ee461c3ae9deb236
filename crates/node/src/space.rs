//! When the disk is nearly full: it is said through the log while there is still room to say it.
//!
//! The driver samples what the disk has left and tells ([`crate::NodeInput::FreeSpace`]); a node never asks a disk. Below the
//! low-water mark the node writes the state machine's command for that ([`StateMachine::low_space_command`]), as a client of
//! its own: it reaches the leader like any other write, and from then on all replicas refuse what makes the state grow.
//! What shrinks it goes on in the space that is left and in the segment that the journal has reserved ahead. When even
//! that is gone, an operation fails and the driver stops the node, as after any failed write.

use crate::node::Node;
use quorate_machine::{ClientTag, StateMachine};
use quorate_protocol::Replica;
use quorate_types::Time;

/// The tag of the node's own writes. No driver may use it.
pub(crate) const OWN_TAG: ClientTag = ClientTag(u64::MAX);

/// What a node knows of its disk.
#[derive(Clone, Debug)]
pub(crate) struct SpaceWatch {
    low_water_bytes: u64,
    /// By the driver's last word.
    free_bytes: Option<u64>,
    /// A command that tells is on its way. While it is, no second one is written.
    telling: bool,
}

impl SpaceWatch {
    pub(crate) fn new(low_water_bytes: u64) -> SpaceWatch {
        SpaceWatch { low_water_bytes, free_bytes: None, telling: false }
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
        // A witness that runs full costs a vote, and no reason to stop all others from growing.
        if !self.space.is_low() || self.space.telling || self.is_witness {
            return;
        }
        // A leader whose disk is low should hand its leadership on, here, once the seam can transfer it: every entry of
        // the cluster is written to its disk first.
        if let Some(command) = self.machine.state().low_space_command(self.setup.me) {
            self.space.telling = true;
            self.machine.submit(now, OWN_TAG, command, &mut self.machine_outputs);
        }
    }
}
