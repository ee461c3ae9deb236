//! What one member is told before it starts.

use crate::identity::Founder;
use crate::protocol::Protocol;
use crate::quorums::QuorumSettings;
use crate::served::Unsupported;
use quorate_machine::MachineConfig;
use quorate_protocol::LeaseReads;
use quorate_runtime::RecordingPlan;
use quorate_server::ServerConfig;
use quorate_types::{ClusterId, Membership, NodeId};
use std::path::PathBuf;
use std::time::Duration;

/// How a member comes to belong to its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It founds one, with others.
    Found {
        /// The cluster's id.
        cluster: ClusterId,
        /// This member's id.
        me: NodeId,
        /// All founding members.
        members: Membership,
    },
    /// It was added to one that runs, and has to ask who it is there; where it has data, they say.
    Join {
        /// All members as they are to be known, this one included, by name and peer URLs.
        members: Vec<Founder>,
        /// How long to ask before giving up.
        patience: Duration,
    },
}

/// One member: who it is, where its data is, and its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// For people.
    pub name: String,
    /// Where its data is.
    pub data_directory: PathBuf,
    /// How it came to belong to its cluster.
    pub entry: Entry,
    /// What replicates the store.
    pub protocol: Protocol,
    /// Where the other members reach this one.
    pub peer_urls: Vec<String>,
    /// Where clients are told to reach this member.
    pub client_urls: Vec<String>,
    /// Between a leader's heartbeats.
    pub heartbeat_interval: Duration,
    /// Without a leader before an election.
    pub election_timeout: Duration,
    /// Whether a leader may answer reads without asking a majority, and how wrong clocks may run for that. Alike at all members, and
    /// the election timeout with it; changed while all are stopped.
    pub lease_reads: Option<LeaseReads>,
    /// Multi-Paxos only: quorums of two sizes. Alike at all members, and never changed while the cluster lives.
    pub quorums: QuorumSettings,
    /// A leader hands over to a member with a strictly higher one that keeps up.
    pub leader_priority: u8,
    /// A leader whose disk finishes nothing for so long hands over; `None` for half of the election timeout. Less than that.
    pub disk_stall_timeout: Option<Duration>,
    /// A leader refuses writes while more bytes than this are in its log and not yet on a majority of disks; `None` for the
    /// protocol's own bound.
    pub uncommitted_bytes_max: Option<u64>,
    /// The payloads of the writes that share one entry of the log; a larger write has one to itself.
    pub max_batch_bytes: usize,
    /// How many writes share one entry of the log.
    pub max_batch_commands: usize,
    /// While an entry before it is not decided, how long the next one may wait for more writes, if it is not full before.
    pub max_batch_wait: Duration,
    /// History above so many bytes raises the NOSPACE alarm, and nothing grows until an operator clears it.
    pub quota_backend_bytes: u64,
    /// Learners that this member lets be added; joining members are none.
    pub learners_max: u64,
    /// Whether changes are refused that too few started or connected members could cope with, as in etcd.
    pub strict_reconfiguration: bool,
    /// Fewer free bytes than this on the member's disk raise the same alarm; 0 for never.
    pub low_space_bytes: u64,
    /// A checkpoint is written after so many entries of the log, and in any case now and then.
    pub snapshot_count: u64,
    /// So many entries of the log are kept for members that lag behind; whoever lacks more gets a snapshot.
    pub snapshot_catchup_entries: u64,
    /// Whether the replica tells why it does what it does; costs time.
    pub tracing: bool,
    /// Where the run is written down for `quorate replay`, if it is to be.
    pub recording: Option<RecordingPlan>,
    /// Limits and times of the etcd front.
    pub server: ServerConfig,
}

impl Plan {
    /// Etcd's bound on learners.
    pub const DEFAULT_LEARNERS_MAX: u64 = 1;
    /// Etcd's quota: 2 GiB.
    pub const DEFAULT_QUOTA_BACKEND_BYTES: u64 = 2 << 30;

    /// Three segments of the journal: one to roll into, two for a checkpoint to write what is left of files anew.
    pub const DEFAULT_LOW_SPACE_BYTES: u64 = 192 << 20;

    /// That of the node.
    pub const DEFAULT_SNAPSHOT_COUNT: u64 = 200_000;
    /// That of the protocol.
    pub const DEFAULT_SNAPSHOT_CATCHUP_ENTRIES: u64 = 100_000;

    /// A member with the default times and bounds.
    #[must_use]
    pub fn new(name: &str, data_directory: PathBuf, entry: Entry) -> Plan {
        Plan {
            name: name.to_owned(),
            data_directory,
            entry,
            protocol: Protocol::default(),
            peer_urls: Vec::new(),
            client_urls: Vec::new(),
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_millis(1000),
            lease_reads: None,
            quorums: QuorumSettings::default(),
            leader_priority: 0,
            disk_stall_timeout: None,
            uncommitted_bytes_max: None,
            max_batch_bytes: MachineConfig::default().max_batch_bytes,
            max_batch_commands: MachineConfig::default().max_batch_commands,
            max_batch_wait: MachineConfig::default().max_batch_wait,
            quota_backend_bytes: Plan::DEFAULT_QUOTA_BACKEND_BYTES,
            learners_max: Plan::DEFAULT_LEARNERS_MAX,
            strict_reconfiguration: true,
            low_space_bytes: Plan::DEFAULT_LOW_SPACE_BYTES,
            snapshot_count: Plan::DEFAULT_SNAPSHOT_COUNT,
            snapshot_catchup_entries: Plan::DEFAULT_SNAPSHOT_CATCHUP_ENTRIES,
            tracing: false,
            recording: None,
            server: ServerConfig::default(),
        }
    }

    /// Whether the protocol can do all that is wanted of it here.
    ///
    /// # Errors
    /// The first that it cannot do, by name.
    pub fn check_protocol(&self) -> Result<(), Unsupported> {
        (self.protocol.ways().check)(self)
    }
}
