//! One whole member as a value: a node, the runtime that drives it, and the etcd front before it.
//!
//! [`Member::start`] runs a member on a thread of its own; it needs nothing of its caller, so one process may hold a whole
//! cluster ([`LocalCluster`]). `quorate serve` is this and a command line.
//!
//! # Map
//! | file | what is there |
//! |---|---|
//! | `plan.rs` | [`Plan`]: everything one member is told |
//! | `protocol.rs` | [`Protocol`]: chosen by name, once |
//! | `served.rs` | what a member asks of a protocol beyond the seam, and what each makes of the settings |
//! | `quorums.rs` | [`QuorumSettings`]: quorums of two sizes, as they are written |
//! | `identity.rs` | how founders draw the same ids from the same words |
//! | `member.rs` | [`Member`]: the thread, its start and its end |
//! | `entry.rs` | who a member is: by its data, as a founder, or as the cluster it joins says |
//! | `backend.rs`, `membership.rs` | what the front asks, put to the node |
//! | `snapshot_file.rs` | [`SnapshotFile`]: a saved snapshot, verified and read |
//! | `restore.rs` | a new cluster's data directory out of one |
//! | `dead_member.rs` | [`DeadMember`]: what a stopped member's directory holds, read without changing it |
//! | `recover.rs` | [`Survivors`]: a new cluster out of what is left of one that lost its majority |
//! | `local_cluster.rs` | [`LocalCluster`]: several members in this process |

mod backend;
mod dead_member;
mod entry;
mod identity;
mod local_cluster;
mod member;
mod membership;
mod plan;
mod protocol;
mod quorums;
mod recover;
mod restore;
mod served;
mod snapshot_file;

pub use dead_member::{DeadMember, InspectError};
pub use identity::{Founder, cluster_id, founding_membership, node_id};
pub use local_cluster::{LocalCluster, Reservation};
pub use member::{Member, MemberError};
pub use plan::{Entry, Plan};
pub use protocol::{OnProtocol, Protocol, UnknownProtocol};
pub use quorate_protocol::LeaseReads;
pub use quorate_runtime::{RecordingPlan, StopCause, era_for_people};
pub use quorate_server::{ServerConfig, WatchLimits};
pub use quorums::{InvalidQuorumSettings, QuorumSettings};
pub use recover::{RecoverError, Recovered, Survivors, Tail};
pub use restore::{RestoreError, RevisionBump};
pub use served::{Served, Unsupported};
pub use snapshot_file::{SnapshotFile, SnapshotFileError, SnapshotSummary};
