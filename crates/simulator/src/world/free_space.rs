//! What nodes hear of the space that their disks have left: at once and then again and again, as from the real driver.

use super::World;
use super::event::WorldEvent;
use super::host::Waiting;
use quorate_machine::StateMachine;
use quorate_node::{Lane, NodeInput};
use quorate_protocol::Replica;
use quorate_types::NodeId;

/// Of a disk that is not filled: room enough to reserve space ahead.
const ROOM_BYTES: u64 = 1 << 30;

impl<R: Replica, S: StateMachine> World<R, S> {
    /// The driver of this life of a node looks at the disks, and will look again.
    pub(super) fn look_at_space(&mut self, id: NodeId, life: u64) {
        let Some(every) = self.config.free_space_every else { return };
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.node.is_some() && host.life == life) else {
            return;
        };
        let left = [Lane::Journal, Lane::Store].map(|lane| {
            let disk = host.disk_mut(lane);
            let capacity = disk.faults_mut().capacity_bytes;
            capacity.map_or(ROOM_BYTES, |capacity| capacity.saturating_sub(disk.used_bytes()))
        });
        let free_bytes = left.into_iter().min().unwrap_or(ROOM_BYTES);
        self.enqueue(id, Waiting::Input(NodeInput::FreeSpace { free_bytes }));
        self.schedule(self.now + every, WorldEvent::LookAtSpace { node: id, life });
    }
}
