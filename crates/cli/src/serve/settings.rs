//! What an operator can set: flags, environment, a YAML file; the first that speaks wins, in that order.
//!
//! Names are etcd's where the meaning is etcd's.

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Every setting of `quorate serve`, unset unless given.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// A name for people, unique in the cluster [default: default]
    #[arg(long, env = "QUORATE_NAME")]
    pub name: Option<String>,

    /// Where this node keeps its data [default: NAME.quorate]
    #[arg(long, env = "QUORATE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// What replicates the store, alike at all members and for life: raft, multi-paxos, viewstamped or zab [default: raft]
    #[arg(long, env = "QUORATE_PROTOCOL")]
    pub protocol: Option<String>,

    /// Where to listen for clients, comma-separated [default: http://127.0.0.1:2379]
    #[arg(long, env = "QUORATE_LISTEN_CLIENT_URLS", value_name = "URLS")]
    pub listen_client_urls: Option<String>,

    /// Where clients are told to reach this node [default: the listen URLs]
    #[arg(long, env = "QUORATE_ADVERTISE_CLIENT_URLS", value_name = "URLS")]
    pub advertise_client_urls: Option<String>,

    /// Where to listen for the other members [default: http://127.0.0.1:2380]
    #[arg(long, env = "QUORATE_LISTEN_PEER_URLS", value_name = "URLS")]
    pub listen_peer_urls: Option<String>,

    /// Where the other members reach this node [default: the listen URLs]
    #[arg(long, env = "QUORATE_INITIAL_ADVERTISE_PEER_URLS", value_name = "URLS")]
    pub initial_advertise_peer_urls: Option<String>,

    /// All founding members: NAME=URL,NAME=URL,... [default: this node alone]
    #[arg(long, env = "QUORATE_INITIAL_CLUSTER", value_name = "MEMBERS")]
    pub initial_cluster: Option<String>,

    /// `new` founds a cluster; `existing` joins one that this node was added to, and lists all its members in
    /// --initial-cluster. Ignored where there is data [default: new]
    #[arg(long, env = "QUORATE_INITIAL_CLUSTER_STATE", value_name = "STATE")]
    pub initial_cluster_state: Option<String>,

    /// Tells clusters with the same members apart [default: quorate-cluster]
    #[arg(long, env = "QUORATE_INITIAL_CLUSTER_TOKEN", value_name = "TOKEN")]
    pub initial_cluster_token: Option<String>,

    /// Learners that may be added [default: 1]
    #[arg(long, env = "QUORATE_MAX_LEARNERS", value_name = "COUNT")]
    pub max_learners: Option<u64>,

    /// Refuse changes of the members that too few started and connected ones could cope with [default: true]
    #[arg(long, env = "QUORATE_STRICT_RECONFIG_CHECK", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub strict_reconfig_check: Option<bool>,

    /// Milliseconds between a leader's heartbeats [default: 100]
    #[arg(long, env = "QUORATE_HEARTBEAT_INTERVAL", value_name = "MS")]
    pub heartbeat_interval: Option<u64>,

    /// Milliseconds without a leader before an election; at least 10 heartbeats [default: 1000]
    #[arg(long, env = "QUORATE_ELECTION_TIMEOUT", value_name = "MS")]
    pub election_timeout: Option<u64>,

    /// Let a leader answer reads without asking a majority, trusting clocks to --clock-rate-error-ppm. Alike at all members, as
    /// --election-timeout must be then [default: false]
    #[arg(long, env = "QUORATE_LEASE_READS", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub lease_reads: Option<bool>,

    /// With --lease-reads: by how many parts per million any member's clock may run too fast or too slow [default: 500]
    #[arg(long, env = "QUORATE_CLOCK_RATE_ERROR_PPM", value_name = "PPM")]
    pub clock_rate_error_ppm: Option<u32>,

    /// Multi-Paxos only: VOTERS=ELECT+DECIDE,... with so many voters so many promises make a leader and so many acceptances decide, for
    /// example 5=4+2. Alike at all members and for life [default: majorities]
    #[arg(long, env = "QUORATE_QUORUMS", value_name = "SIZES")]
    pub quorums: Option<String>,

    /// Who should lead, 0 to 255: a leader hands over to a member with a higher one that keeps up [default: 0]
    #[arg(long, env = "QUORATE_LEADER_PRIORITY", value_name = "PRIORITY")]
    pub leader_priority: Option<u8>,

    /// Milliseconds in which a leader's disk may finish nothing before the leader hands over; less than --election-timeout
    /// [default: half of --election-timeout]
    #[arg(long, env = "QUORATE_DISK_STALL_TIMEOUT", value_name = "MS")]
    pub disk_stall_timeout: Option<u64>,

    /// A leader refuses writes while more bytes than this are not yet on a majority of disks [default: 67108864]
    #[arg(long, env = "QUORATE_UNCOMMITTED_BYTES_MAX", value_name = "BYTES")]
    pub uncommitted_bytes_max: Option<u64>,

    /// Writes that share one entry of the log, in bytes; a larger write has one to itself [default: 1048576]
    #[arg(long, env = "QUORATE_MAX_BATCH_BYTES", value_name = "BYTES")]
    pub max_batch_bytes: Option<usize>,

    /// The same, counted [default: 1024]
    #[arg(long, env = "QUORATE_MAX_BATCH_COMMANDS", value_name = "COUNT")]
    pub max_batch_commands: Option<usize>,

    /// Microseconds that writes may wait for others to share an entry with, while one before it is not yet on a majority of disks;
    /// 0: never [default: 0]
    #[arg(long, env = "QUORATE_MAX_BATCH_WAIT_US", value_name = "MICROSECONDS")]
    pub max_batch_wait_us: Option<u64>,

    /// History above so many bytes raises the NOSPACE alarm [default: 2147483648]
    #[arg(long, env = "QUORATE_QUOTA_BACKEND_BYTES", value_name = "BYTES")]
    pub quota_backend_bytes: Option<u64>,

    /// Fewer free bytes than this on this node's disk raise the NOSPACE alarm; 0 for never [default: 201326592]
    #[arg(long, env = "QUORATE_LOW_SPACE_BYTES", value_name = "BYTES")]
    pub low_space_bytes: Option<u64>,

    /// Entries of the log after which a checkpoint is written, besides one every 10 seconds [default: 200000]
    #[arg(long, env = "QUORATE_SNAPSHOT_COUNT", value_name = "COUNT")]
    pub snapshot_count: Option<u64>,

    /// Entries of the log that are kept for members that lag behind; whoever lacks more gets a snapshot [default: 100000]
    #[arg(long, env = "QUORATE_SNAPSHOT_CATCHUP_ENTRIES", value_name = "COUNT")]
    pub snapshot_catchup_entries: Option<u64>,

    /// The largest write request [default: 1572864]
    #[arg(long, env = "QUORATE_MAX_REQUEST_BYTES", value_name = "BYTES")]
    pub max_request_bytes: Option<usize>,

    /// Operations in one transaction [default: 128]
    #[arg(long, env = "QUORATE_MAX_TXN_OPS", value_name = "COUNT")]
    pub max_txn_ops: Option<usize>,

    /// Requests served at one time; more are refused [default: 20000]
    #[arg(long, env = "QUORATE_MAX_REQUESTS_IN_FLIGHT", value_name = "COUNT")]
    pub max_requests_in_flight: Option<usize>,

    /// The bytes of these together [default: 268435456]
    #[arg(long, env = "QUORATE_MAX_REQUEST_BYTES_IN_FLIGHT", value_name = "BYTES")]
    pub max_request_bytes_in_flight: Option<usize>,

    /// Requests and streams in flight on one connection; more wait [default: 20000]
    #[arg(long, env = "QUORATE_MAX_CONCURRENT_STREAMS", value_name = "COUNT")]
    pub max_concurrent_streams: Option<u32>,

    /// Open watch, keep-alive and observe streams over all connections; more are refused [default: 20000]
    #[arg(long, env = "QUORATE_MAX_STREAMS", value_name = "COUNT")]
    pub max_streams: Option<usize>,

    /// How often idle watchers that ask for it are told the revision [default: 10m]
    #[arg(long, env = "QUORATE_WATCH_PROGRESS_NOTIFY_INTERVAL", value_name = "DURATION")]
    pub watch_progress_notify_interval: Option<String>,

    /// Watchers over all streams; more are refused [default: 1000000]
    #[arg(long, env = "QUORATE_MAX_WATCHERS", value_name = "COUNT")]
    pub max_watchers: Option<usize>,

    /// Events that wait for slow watch clients, together; the rest stays in the store [default: 268435456]
    #[arg(long, env = "QUORATE_MAX_WATCH_PENDING_BYTES", value_name = "BYTES")]
    pub max_watch_pending_bytes: Option<usize>,

    /// The same for one stream [default: 1048576]
    #[arg(long, env = "QUORATE_MAX_WATCH_STREAM_PENDING_BYTES", value_name = "BYTES")]
    pub max_watch_stream_pending_bytes: Option<usize>,

    /// What to log: error, warn, info, debug or trace [default: info]
    #[arg(long, env = "QUORATE_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// How to log: text or json [default: text]
    #[arg(long, env = "QUORATE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// Write the node's run into this directory, for `quorate replay`: every message, timer and disk completion of the protocol.
    /// Keys and values are left out
    #[arg(long, env = "QUORATE_RECORD", value_name = "DIR")]
    pub record: Option<PathBuf>,

    /// How much of it to keep; the oldest goes first [default: 268435456]
    #[arg(long, env = "QUORATE_RECORD_BYTES", value_name = "BYTES")]
    pub record_bytes: Option<u64>,

    /// Record keys and values too, so that `quorate replay --why KEY` can tell which slot a key was written in [default: false]
    #[arg(long, env = "QUORATE_RECORD_VALUES", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub record_values: Option<bool>,
}

/// The environment variables that mean something.
const VARIABLES: &[&str] = &[
    "QUORATE_NAME",
    "QUORATE_DATA_DIR",
    "QUORATE_PROTOCOL",
    "QUORATE_LISTEN_CLIENT_URLS",
    "QUORATE_ADVERTISE_CLIENT_URLS",
    "QUORATE_LISTEN_PEER_URLS",
    "QUORATE_INITIAL_ADVERTISE_PEER_URLS",
    "QUORATE_INITIAL_CLUSTER",
    "QUORATE_INITIAL_CLUSTER_STATE",
    "QUORATE_INITIAL_CLUSTER_TOKEN",
    "QUORATE_MAX_LEARNERS",
    "QUORATE_STRICT_RECONFIG_CHECK",
    "QUORATE_HEARTBEAT_INTERVAL",
    "QUORATE_ELECTION_TIMEOUT",
    "QUORATE_LEASE_READS",
    "QUORATE_CLOCK_RATE_ERROR_PPM",
    "QUORATE_QUORUMS",
    "QUORATE_LEADER_PRIORITY",
    "QUORATE_DISK_STALL_TIMEOUT",
    "QUORATE_UNCOMMITTED_BYTES_MAX",
    "QUORATE_MAX_BATCH_BYTES",
    "QUORATE_MAX_BATCH_COMMANDS",
    "QUORATE_MAX_BATCH_WAIT_US",
    "QUORATE_QUOTA_BACKEND_BYTES",
    "QUORATE_LOW_SPACE_BYTES",
    "QUORATE_SNAPSHOT_COUNT",
    "QUORATE_SNAPSHOT_CATCHUP_ENTRIES",
    "QUORATE_MAX_REQUEST_BYTES",
    "QUORATE_MAX_TXN_OPS",
    "QUORATE_MAX_REQUESTS_IN_FLIGHT",
    "QUORATE_MAX_REQUEST_BYTES_IN_FLIGHT",
    "QUORATE_MAX_CONCURRENT_STREAMS",
    "QUORATE_MAX_STREAMS",
    "QUORATE_WATCH_PROGRESS_NOTIFY_INTERVAL",
    "QUORATE_MAX_WATCHERS",
    "QUORATE_MAX_WATCH_PENDING_BYTES",
    "QUORATE_MAX_WATCH_STREAM_PENDING_BYTES",
    "QUORATE_LOG_LEVEL",
    "QUORATE_LOG_FORMAT",
    "QUORATE_RECORD",
    "QUORATE_RECORD_BYTES",
    "QUORATE_RECORD_VALUES",
    "QUORATE_CONFIG_FILE",
    "QUORATE_ENDPOINTS",
];

/// Refuses `QUORATE_*` variables that nothing reads: a typing error there would otherwise pass unnoticed.
pub fn refuse_unknown_variables(names: impl Iterator<Item = String>) -> Result<()> {
    // Kubernetes gives every pod variables such as QUORATE_SERVICE_HOST and QUORATE_PORT_2379_TCP for a service of this name.
    let is_of_kubernetes = |name: &str| {
        name.starts_with("QUORATE_SERVICE_") || name == "QUORATE_PORT" || name.starts_with("QUORATE_PORT_")
    };
    for name in names.filter(|name| name.starts_with("QUORATE_") && !is_of_kubernetes(name)) {
        if !VARIABLES.contains(&name.as_str()) {
            bail!("the environment variable {name} means nothing to quorate; known are {}", VARIABLES.join(", "));
        }
    }
    Ok(())
}

impl Settings {
    /// The settings of a YAML file with etcd's key names.
    pub fn from_file(path: &Path) -> Result<Settings> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
        Settings::from_yaml(&text).with_context(|| format!("in the configuration file {}", path.display()))
    }

    pub(super) fn from_yaml(text: &str) -> Result<Settings> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Settings::default());
        }
        Ok(serde_norway::from_str(text)?)
    }

    /// These settings, with `weaker` filling the gaps.
    pub fn or(self, weaker: Settings) -> Settings {
        Settings {
            name: self.name.or(weaker.name),
            data_dir: self.data_dir.or(weaker.data_dir),
            protocol: self.protocol.or(weaker.protocol),
            listen_client_urls: self.listen_client_urls.or(weaker.listen_client_urls),
            advertise_client_urls: self.advertise_client_urls.or(weaker.advertise_client_urls),
            listen_peer_urls: self.listen_peer_urls.or(weaker.listen_peer_urls),
            initial_advertise_peer_urls: self.initial_advertise_peer_urls.or(weaker.initial_advertise_peer_urls),
            initial_cluster: self.initial_cluster.or(weaker.initial_cluster),
            initial_cluster_state: self.initial_cluster_state.or(weaker.initial_cluster_state),
            initial_cluster_token: self.initial_cluster_token.or(weaker.initial_cluster_token),
            max_learners: self.max_learners.or(weaker.max_learners),
            strict_reconfig_check: self.strict_reconfig_check.or(weaker.strict_reconfig_check),
            heartbeat_interval: self.heartbeat_interval.or(weaker.heartbeat_interval),
            election_timeout: self.election_timeout.or(weaker.election_timeout),
            lease_reads: self.lease_reads.or(weaker.lease_reads),
            clock_rate_error_ppm: self.clock_rate_error_ppm.or(weaker.clock_rate_error_ppm),
            quorums: self.quorums.or(weaker.quorums),
            leader_priority: self.leader_priority.or(weaker.leader_priority),
            disk_stall_timeout: self.disk_stall_timeout.or(weaker.disk_stall_timeout),
            uncommitted_bytes_max: self.uncommitted_bytes_max.or(weaker.uncommitted_bytes_max),
            max_batch_bytes: self.max_batch_bytes.or(weaker.max_batch_bytes),
            max_batch_commands: self.max_batch_commands.or(weaker.max_batch_commands),
            max_batch_wait_us: self.max_batch_wait_us.or(weaker.max_batch_wait_us),
            quota_backend_bytes: self.quota_backend_bytes.or(weaker.quota_backend_bytes),
            low_space_bytes: self.low_space_bytes.or(weaker.low_space_bytes),
            snapshot_count: self.snapshot_count.or(weaker.snapshot_count),
            snapshot_catchup_entries: self.snapshot_catchup_entries.or(weaker.snapshot_catchup_entries),
            max_request_bytes: self.max_request_bytes.or(weaker.max_request_bytes),
            max_txn_ops: self.max_txn_ops.or(weaker.max_txn_ops),
            max_requests_in_flight: self.max_requests_in_flight.or(weaker.max_requests_in_flight),
            max_request_bytes_in_flight: self.max_request_bytes_in_flight.or(weaker.max_request_bytes_in_flight),
            max_concurrent_streams: self.max_concurrent_streams.or(weaker.max_concurrent_streams),
            max_streams: self.max_streams.or(weaker.max_streams),
            watch_progress_notify_interval: self
                .watch_progress_notify_interval
                .or(weaker.watch_progress_notify_interval),
            max_watchers: self.max_watchers.or(weaker.max_watchers),
            max_watch_pending_bytes: self.max_watch_pending_bytes.or(weaker.max_watch_pending_bytes),
            max_watch_stream_pending_bytes: self
                .max_watch_stream_pending_bytes
                .or(weaker.max_watch_stream_pending_bytes),
            log_level: self.log_level.or(weaker.log_level),
            log_format: self.log_format.or(weaker.log_format),
            record: self.record.or(weaker.record),
            record_bytes: self.record_bytes.or(weaker.record_bytes),
            record_values: self.record_values.or(weaker.record_values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_fills_what_flags_leave_open() {
        let file = Settings::from_yaml("name: a\nheartbeat-interval: 50\n").unwrap();
        let flags = Settings { name: Some("b".to_owned()), ..Settings::default() };
        let both = flags.or(file);
        assert_eq!(both.name.as_deref(), Some("b"));
        assert_eq!(both.heartbeat_interval, Some(50));
    }

    #[test]
    fn unknown_keys_and_variables_are_refused_by_name() {
        let error = Settings::from_yaml("nmae: a\n").unwrap_err().to_string();
        assert!(error.contains("nmae"), "{error}");
        let error = refuse_unknown_variables(["QUORATE_NMAE".to_owned()].into_iter()).unwrap_err().to_string();
        assert!(error.contains("QUORATE_NMAE"), "{error}");
        refuse_unknown_variables(["QUORATE_SERVICE_HOST".to_owned(), "QUORATE_PORT_2379_TCP".to_owned()].into_iter())
            .unwrap();
        refuse_unknown_variables(["HOME".to_owned(), "QUORATE_NAME".to_owned()].into_iter()).unwrap();
    }

    #[test]
    fn an_empty_file_sets_nothing() {
        assert!(Settings::from_yaml("# nothing\n\n").unwrap().name.is_none());
    }
}
