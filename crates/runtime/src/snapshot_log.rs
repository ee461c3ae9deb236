//! Tells the log of snapshots that come and go: a member that is catching up should not look like one that hangs.

use quorate_node::SnapshotStatus;
use quorate_types::NodeId;

/// What was told last.
#[derive(Debug, Default)]
pub(crate) struct SnapshotLog {
    sending: Vec<NodeId>,
    receiving: Option<NodeId>,
    installed: u64,
}

impl SnapshotLog {
    pub(crate) fn note(&mut self, status: &SnapshotStatus) {
        let sending: Vec<NodeId> = status.sending.iter().map(|transfer| transfer.to).collect();
        let receiving = status.receiving.map(|(from, _)| from);
        for to in sending.iter().filter(|to| !self.sending.contains(to)) {
            tracing::info!(peer = %to, "sending a snapshot to a member that is far behind");
        }
        for to in self.sending.iter().filter(|to| !sending.contains(to)) {
            tracing::info!(peer = %to, "no longer sending a snapshot");
        }
        match (self.receiving, receiving) {
            (old, Some(from)) if old != Some(from) => {
                tracing::info!(peer = %from, "receiving a snapshot: this member is catching up");
            }
            (Some(from), None) => tracing::info!(peer = %from, "no longer receiving a snapshot"),
            _ => {}
        }
        if status.installed != self.installed {
            tracing::info!(installed = status.installed, "a snapshot was installed");
        }
        (self.sending, self.receiving, self.installed) = (sending, receiving, status.installed);
    }
}
