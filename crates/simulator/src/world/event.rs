//! What can be in the queue.

use crate::network::Flight;
use quorate_node::{Lane, NodeTimer};
use quorate_protocol::LinkState;
use quorate_types::NodeId;
use std::time::Duration;

/// One future event. `life` counts a host's starts and crashes: events of an earlier life are void.
#[derive(Clone, Debug)]
pub(super) enum WorldEvent<T> {
    /// A message arrives.
    Arrive(Flight),
    /// A node takes a batch from its inbox.
    Work { node: NodeId, life: u64 },
    /// A lane's flush completes.
    DiskStep { node: NodeId, life: u64, lane: Lane },
    /// A timer comes due, if it was not set again since; of one that was, the next deadline is scheduled. Void if it is not
    /// the turn that the host waits for.
    Deadline { node: NodeId, life: u64, timer: NodeTimer<T>, turn: u64 },
    /// A node hears news of a connection.
    Hint { node: NodeId, peer: NodeId, state: LinkState },
    /// Several nodes crash at once, each to start again so much later; void if traps were forgotten since.
    PowerFailure { victims: Vec<(NodeId, Duration)>, traps: u64 },
    /// A crashed node starts again; if it crashed in a trap, not if traps were forgotten since.
    Restart { node: NodeId, traps: Option<u64> },
    /// A pause is over, if it is still this one.
    Resume { node: NodeId, pause: u64 },
    /// A node's driver looks at what the disks have left.
    LookAtSpace { node: NodeId, life: u64 },
    /// The driver wanted to be called.
    Alarm(u64),
}

impl<T> WorldEvent<T> {
    /// Whether it is work under way and not something that waits for its time.
    pub(super) fn is_busy(&self) -> bool {
        matches!(
            self,
            WorldEvent::Arrive(_) | WorldEvent::Work { .. } | WorldEvent::DiskStep { .. } | WorldEvent::Hint { .. }
        )
    }
}
