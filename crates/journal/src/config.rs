//! Whose journal it is, and its bounds.

use quorate_types::{ClusterId, DiskId, NodeId};

/// Whose journal this is. Written into every segment at creation and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// Drawn at random by whoever creates the journal: a wiped disk cannot pass for the old one.
    pub disk: DiskId,
    /// The protocol whose records it holds, such as `raft`; at most 255 bytes.
    pub protocol: String,
}

/// What a journal must be for this process to open it; `None` accepts anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The cluster this process was configured for.
    pub cluster: Option<ClusterId>,
    /// The node this process is to be.
    pub node: Option<NodeId>,
    /// The disk the cluster knows this node by.
    pub disk: Option<DiskId>,
    /// The protocol this process runs.
    pub protocol: Option<String>,
}

/// Bounds of a journal. May differ from one open to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// Space reserved for a new segment, in bytes. A ticket that does not fit gets a longer segment of its own.
    pub segment_bytes: u64,
    /// Records one flush takes from the queue, in bytes with their headers. A ticket is never split, so one
    /// longer than this leaves alone.
    pub batch_bytes_max: usize,
}

impl Default for JournalConfig {
    fn default() -> JournalConfig {
        JournalConfig { segment_bytes: 64 * 1024 * 1024, batch_bytes_max: 8 * 1024 * 1024 }
    }
}
