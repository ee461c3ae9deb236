//! What a world is made of.

use crate::latency::Latency;
use crate::network::Link;
use crate::random::Chance;
use crate::transcript::Keep;
use quorate_node::NodeConfig;
use quorate_protocol::Replica;
use quorate_types::{ClusterId, Membership, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many of the inputs that wait go into one settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// All of them.
    Everything,
    /// One at a time.
    OneByOne,
    /// A number drawn anew each time, from one to this many.
    Drawn {
        /// At most.
        at_most: u64,
    },
}

/// How slow a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskModel {
    /// Each write, create, rename or unlink.
    pub write: Latency,
    /// Each flush, of a file or of the directory.
    pub flush: Latency,
}

impl DiskModel {
    /// A disk that takes no time.
    pub const INSTANT: DiskModel = DiskModel { write: Latency::ZERO, flush: Latency::ZERO };
}

/// What is checked while the world runs, beyond what is always checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// How often a message's claim is checked against the synced-only image of its sender's disks.
    pub ghost: Chance,
    /// How often all invariants of a replica are checked after a settle, and not only the cheap ones.
    pub deep: Chance,
}

impl Checks {
    /// Everything, every time: slow.
    pub const ALL: Checks = Checks { ghost: Chance::ALWAYS, deep: Chance::ALWAYS };
}

/// Everything about a world but its seed.
#[derive(Clone, Debug)]
pub struct WorldConfig<R: Replica> {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// The founding members; all of them are started.
    pub members: Membership,
    /// Every node's settings.
    pub node: NodeConfig<R>,
    /// Protocol settings of nodes that have their own.
    pub protocols: BTreeMap<NodeId, R::Config>,
    /// Whether nodes introduce themselves when they meet, and judge each other by the members that are decided, as the real ones do.
    /// Where members never change that only makes logs longer.
    pub members_change: bool,
    /// Every link that `links` does not name.
    pub usual_link: Link,
    /// Particular directed links.
    pub links: Vec<(NodeId, NodeId, Link)>,
    /// Every node's disks.
    pub disk: DiskModel,
    /// How often a node hears what its disks have left; `None`: never.
    pub free_space_every: Option<Duration>,
    /// From an input waiting to a node taking it.
    pub processing: Latency,
    /// How many inputs a node takes at a time.
    pub batching: Batching,
    /// Clocks begin with an offset drawn up to this.
    pub clock_offset_max: Duration,
    /// Clocks run too fast or too slow by up to so many parts per million, drawn once for each.
    pub clock_drift_ppm_max: u32,
    /// How often peers hear of a crash or a start, each for itself.
    pub hints: Chance,
    /// Whether messages are remembered, so that they can be replayed.
    pub archive: bool,
    /// Whether peers refuse a node that comes with another disk, or an older one, than they know. Without it a wiped node is
    /// let in, which no protocol here survives.
    pub doorman: bool,
    /// What is checked on the way.
    pub checks: Checks,
    /// How much of the transcript is kept.
    pub keep: Keep,
}

impl<R: Replica> WorldConfig<R> {
    /// The settings of one node.
    #[must_use]
    pub fn settings_of(&self, id: NodeId) -> NodeConfig<R> {
        let mut settings = self.node.clone();
        if let Some(protocol) = self.protocols.get(&id) {
            settings.protocol = protocol.clone();
        }
        settings
    }

    /// A world in which nothing takes time but links, and nothing goes wrong: voters 1 to `voters`, perfect links of this
    /// latency, instant disks and nodes, exact clocks, all checks, everything kept.
    #[must_use]
    pub fn perfect(voters: u64, node: NodeConfig<R>, one_way: Duration) -> WorldConfig<R> {
        WorldConfig {
            cluster: ClusterId(1),
            members: Membership::of_voters(voters),
            node,
            protocols: BTreeMap::new(),
            members_change: false,
            usual_link: Link::perfect(Latency::exactly(one_way)),
            links: Vec::new(),
            disk: DiskModel::INSTANT,
            free_space_every: None,
            processing: Latency::ZERO,
            batching: Batching::Everything,
            clock_offset_max: Duration::ZERO,
            clock_drift_ppm_max: 0,
            hints: Chance::NEVER,
            archive: false,
            doorman: true,
            checks: Checks::ALL,
            keep: Keep::Everything,
        }
    }
}
