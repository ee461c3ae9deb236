//! What is counted here, and `/metrics`: Prometheus text with etcd's names for what we can truthfully give.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use quorate_watch::WatchStats;
use tonic::Code;

use crate::backend::{Backend, NodeStatus};
use crate::config::{CLUSTER_VERSION, ETCD_VERSION, QUORATE_VERSION};
use crate::front::Front;

/// Methods counted each on its own, with the type that Go's interceptors name; all others share one row. A fixed list, so that no
/// client can make it grow. A stream counts as handled when it is open.
const COUNTED_METHODS: [(&str, &str, &str); 33] = [
    ("etcdserverpb.KV", "Range", "unary"),
    ("etcdserverpb.KV", "Put", "unary"),
    ("etcdserverpb.KV", "DeleteRange", "unary"),
    ("etcdserverpb.KV", "Txn", "unary"),
    ("etcdserverpb.KV", "Compact", "unary"),
    ("etcdserverpb.KV", "RangeStream", "server_stream"),
    ("etcdserverpb.Watch", "Watch", "bidi_stream"),
    ("etcdserverpb.Lease", "LeaseGrant", "unary"),
    ("etcdserverpb.Lease", "LeaseRevoke", "unary"),
    ("etcdserverpb.Lease", "LeaseTimeToLive", "unary"),
    ("etcdserverpb.Lease", "LeaseLeases", "unary"),
    ("etcdserverpb.Lease", "LeaseKeepAlive", "bidi_stream"),
    ("v3lockpb.Lock", "Lock", "unary"),
    ("v3lockpb.Lock", "Unlock", "unary"),
    ("v3electionpb.Election", "Campaign", "unary"),
    ("v3electionpb.Election", "Proclaim", "unary"),
    ("v3electionpb.Election", "Leader", "unary"),
    ("v3electionpb.Election", "Resign", "unary"),
    ("v3electionpb.Election", "Observe", "server_stream"),
    ("etcdserverpb.Cluster", "MemberList", "unary"),
    ("etcdserverpb.Maintenance", "Status", "unary"),
    ("etcdserverpb.Maintenance", "Alarm", "unary"),
    ("etcdserverpb.Maintenance", "Defragment", "unary"),
    ("etcdserverpb.Maintenance", "Hash", "unary"),
    ("etcdserverpb.Maintenance", "HashKV", "unary"),
    ("etcdserverpb.Maintenance", "Snapshot", "server_stream"),
    ("etcdserverpb.Auth", "AuthStatus", "unary"),
    ("etcdserverpb.Auth", "Authenticate", "unary"),
    ("quorate.v1.Session", "Open", "unary"),
    ("quorate.v1.Session", "Call", "unary"),
    ("quorate.v1.Session", "Close", "unary"),
    ("grpc.health.v1.Health", "Check", "unary"),
    ("grpc.health.v1.Health", "Watch", "server_stream"),
];
const OTHER_METHODS: (&str, &str, &str) = ("other", "other", "unary");

/// gRPC codes 0 to 16, under the names that Go's interceptors give them in `grpc_server_handled_total`.
const CODE_NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Counts since start, kept by the front itself. Relaxed throughout: each is read alone.
pub(crate) struct FrontCounts {
    methods: [MethodCounts; COUNTED_METHODS.len() + 1],
    pub(crate) health_successes: AtomicU64,
    pub(crate) health_failures: AtomicU64,
    pub(crate) requests_refused: AtomicU64,
    pub(crate) connections_accepted: AtomicU64,
}

#[derive(Default)]
struct MethodCounts {
    started: AtomicU64,
    handled_by_code: [AtomicU64; CODE_NAMES.len()],
}

/// Where a method's counts are.
#[derive(Clone, Copy)]
pub(crate) struct CountedMethod(usize);

impl CountedMethod {
    /// The row of a method, both names as they stand in the request's path.
    pub(crate) fn find(service: &str, method: &str) -> Self {
        let row = COUNTED_METHODS.iter().position(|row| (row.0, row.1) == (service, method));
        Self(row.unwrap_or(COUNTED_METHODS.len()))
    }
}

impl Default for FrontCounts {
    fn default() -> Self {
        Self {
            methods: std::array::from_fn(|_| MethodCounts::default()),
            health_successes: AtomicU64::default(),
            health_failures: AtomicU64::default(),
            requests_refused: AtomicU64::default(),
            connections_accepted: AtomicU64::default(),
        }
    }
}

impl FrontCounts {
    pub(crate) fn start(&self, method: CountedMethod) {
        self.methods[method.0].started.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn finish(&self, method: CountedMethod, code: Code) {
        // Codes are 0 to 16, one per row: the index is in bounds.
        self.methods[method.0].handled_by_code[code as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_health_check(&self, healthy: bool) {
        let count = if healthy { &self.health_successes } else { &self.health_failures };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Everything `/metrics` answers. What the backend cannot tell is left out.
pub(crate) async fn metrics_text<B: Backend>(front: &Front<B>) -> String {
    let status = front.in_time(front.backend.status()).await;
    let mut text = MetricsText::default();
    text.gauge("quorate_backend_up", "Whether the store behind this front answers.", u64::from(status.is_ok()));
    if let Ok(status) = &status {
        write_node_metrics(&mut text, status);
        write_optional_metrics(&mut text, status);
    }
    if let Some(stats) = front.backend.watches().stats().await {
        write_watch_metrics(&mut text, &stats, front);
    }
    write_front_metrics(&mut text, front);
    write_grpc_metrics(&mut text, &front.counts);
    text.written
}

fn write_node_metrics(text: &mut MetricsText, status: &NodeStatus) {
    let member_id = status.header.member_id;
    text.labelled_one("etcd_server_version", "Which version is running.", "server_version", ETCD_VERSION);
    let cluster_minor = CLUSTER_VERSION.rsplit_once('.').map_or(CLUSTER_VERSION, |(minor, _patch)| minor);
    text.labelled_one("etcd_cluster_version", "Which version is running.", "cluster_version", cluster_minor);
    text.labelled_one("quorate_version", "Which version of quorate is running.", "version", QUORATE_VERSION);
    text.labelled_one("etcd_server_id", "Member id in hexadecimal.", "server_id", &format!("{member_id:x}"));
    let has_leader = status.leader_id != 0;
    let is_leader = has_leader && status.leader_id == member_id;
    text.gauge("etcd_server_has_leader", "Whether or not a leader exists.", u64::from(has_leader));
    text.gauge("etcd_server_is_leader", "Whether or not this member is the leader.", u64::from(is_leader));
    text.gauge("etcd_server_is_learner", "Whether or not this member is a learner.", u64::from(status.is_learner));
    text.gauge(
        "etcd_server_proposals_committed_total",
        "The total number of consensus proposals committed.",
        status.committed_index,
    );
    text.gauge(
        "etcd_server_proposals_applied_total",
        "The total number of consensus proposals applied.",
        status.applied_index,
    );
    text.gauge(
        "etcd_mvcc_db_total_size_in_bytes",
        "Total size of the underlying database physically allocated in bytes.",
        status.db_size_bytes,
    );
    text.gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Total size of the underlying database logically in use in bytes.",
        status.db_size_in_use_bytes,
    );
    text.gauge("etcd_debugging_mvcc_current_revision", "The current revision of store.", status.header.revision);
}

fn write_optional_metrics(text: &mut MetricsText, status: &NodeStatus) {
    let counts = &status.counts;
    let counters = [
        ("etcd_server_leader_changes_seen_total", "The number of leader changes seen.", counts.leader_changes_seen),
        ("etcd_server_proposals_failed_total", "The total number of failed proposals seen.", counts.proposals_failed),
        ("etcd_mvcc_range_total", "Total number of ranges seen by this member.", counts.ranges),
        ("etcd_mvcc_put_total", "Total number of puts seen by this member.", counts.puts),
        ("etcd_mvcc_delete_total", "Total number of deletes seen by this member.", counts.deletes),
        ("etcd_mvcc_txn_total", "Total number of txns seen by this member.", counts.transactions),
        (
            "quorate_client_sessions_expired_total",
            "Clients' sessions that made room for others.",
            counts.expired_sessions,
        ),
        (
            "quorate_replies_recalled_total",
            "Requests in clients' sessions that had been applied before and were answered with the kept reply.",
            counts.recalled_replies,
        ),
    ];
    for (name, help, count) in counters {
        if let Some(count) = count {
            text.counter(name, help, count);
        }
    }
    let gauges = [
        (
            "etcd_server_proposals_pending",
            "The current number of pending proposals to commit.",
            counts.proposals_pending,
        ),
        ("etcd_debugging_mvcc_keys_total", "Total number of keys.", counts.keys),
        (
            "etcd_debugging_mvcc_compact_revision",
            "The revision of the last compaction in store.",
            counts.compact_revision,
        ),
        ("quorate_leases", "Leases there are.", counts.leases),
        ("quorate_alarms", "Alarms that are raised.", counts.alarms),
        ("quorate_client_sessions", "Clients that have a session.", counts.client_sessions),
        ("quorate_kept_reply_bytes", "Bytes of replies kept for clients' sessions.", counts.kept_reply_bytes),
        ("quorate_disk_free_bytes", "What the member's disk has left.", counts.disk_free_bytes),
        ("etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.", counts.quota_backend_bytes),
    ];
    for (name, help, count) in gauges {
        if let Some(count) = count {
            text.gauge(name, help, count);
        }
    }
}

fn write_watch_metrics<B: Backend>(text: &mut MetricsText, stats: &WatchStats, front: &Front<B>) {
    let limits = &front.config.watch;
    text.gauge("etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams.", stats.streams);
    text.gauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers.", stats.watchers);
    text.gauge(
        "etcd_debugging_mvcc_slow_watcher_total",
        "Total number of unsynced slow watchers.",
        stats.slow_watchers,
    );
    text.counter(
        "etcd_debugging_mvcc_events_total",
        "Total number of events sent by this member.",
        stats.events_delivered,
    );
    text.gauge(
        "quorate_watch_pending_bytes",
        "Bytes of events that wait for watch clients.",
        front.backend.watches().pending_bytes(),
    );
    text.gauge(
        "quorate_watch_pending_bytes_limit",
        "Bytes of events that may wait for watch clients.",
        limits.max_pending_bytes,
    );
    text.gauge("quorate_watchers_limit", "Watchers that may be open.", limits.max_watchers);
    text.gauge(
        "quorate_watch_progress_pending",
        "Watch streams that asked for their progress and have no answer yet.",
        stats.pending_progress,
    );
    text.counter(
        "quorate_watch_responses_total",
        "Watch responses with events handed to streams.",
        stats.responses_delivered,
    );
}

fn write_front_metrics<B: Backend>(text: &mut MetricsText, front: &Front<B>) {
    let (config, counts) = (&front.config, &front.counts);
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    text.counter(
        "etcd_server_health_success",
        "The total number of successful health checks",
        load(&counts.health_successes),
    );
    text.counter(
        "etcd_server_health_failures",
        "The total number of failed health checks",
        load(&counts.health_failures),
    );
    let requests = config.max_requests_in_flight.saturating_sub(front.request_slots.available_permits());
    text.gauge("quorate_server_requests_in_flight", "gRPC requests being served.", requests);
    text.gauge(
        "quorate_server_requests_in_flight_limit",
        "gRPC requests that may be served at one time.",
        config.max_requests_in_flight,
    );
    text.counter(
        "quorate_server_requests_refused_total",
        "gRPC requests refused because too many were in flight.",
        load(&counts.requests_refused),
    );
    text.gauge(
        "quorate_server_request_bytes_in_flight",
        "Bytes of gRPC requests being served.",
        front.request_bytes.taken(),
    );
    text.gauge(
        "quorate_server_request_bytes_in_flight_limit",
        "Bytes of gRPC requests that may be served at one time.",
        config.max_request_bytes_in_flight,
    );
    let streams = config.max_streams.saturating_sub(front.stream_slots.available_permits());
    text.gauge("quorate_server_streams", "Response streams open.", streams);
    text.gauge("quorate_server_streams_limit", "Response streams that may be open.", config.max_streams);
    let connections = config.max_connections.saturating_sub(front.connection_slots.available_permits());
    text.gauge("quorate_server_connections", "Connections open, or kept for the next on a listener.", connections);
    text.gauge("quorate_server_connections_limit", "Client connections that may be open.", config.max_connections);
    text.counter(
        "quorate_server_connections_accepted_total",
        "Client connections accepted since start.",
        load(&counts.connections_accepted),
    );
}

fn write_grpc_metrics(text: &mut MetricsText, counts: &FrontCounts) {
    let names = || COUNTED_METHODS.iter().chain([&OTHER_METHODS]);
    let label = |(service, method, kind): (&str, &str, &str)| {
        format!("grpc_method=\"{method}\",grpc_service=\"{service}\",grpc_type=\"{kind}\"")
    };
    text.describe("grpc_server_started_total", "Total number of RPCs started on the server.", "counter");
    for (name, method) in names().zip(&counts.methods) {
        let started = method.started.load(Ordering::Relaxed);
        text.sample("grpc_server_started_total", &label(*name), started);
    }
    text.describe(
        "grpc_server_handled_total",
        "Total number of RPCs completed on the server, regardless of success or failure.",
        "counter",
    );
    for (name, method) in names().zip(&counts.methods) {
        for (code, count) in CODE_NAMES.iter().zip(&method.handled_by_code) {
            let handled = count.load(Ordering::Relaxed);
            if handled > 0 {
                let labels = format!("grpc_code=\"{code}\",{}", label(*name));
                text.sample("grpc_server_handled_total", &labels, handled);
            }
        }
    }
}

/// Prometheus text format 0.0.4. Names and labels are our own and need no escaping.
#[derive(Default)]
struct MetricsText {
    written: String,
}

impl MetricsText {
    fn describe(&mut self, name: &str, help: &str, kind: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.describe(name, help, "gauge");
        self.line(format_args!("{name} {value}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.describe(name, help, "counter");
        self.line(format_args!("{name} {value}"));
    }

    /// A gauge that is always 1 and says its piece in a label.
    fn labelled_one(&mut self, name: &str, help: &str, label: &str, value: &str) {
        self.describe(name, help, "gauge");
        self.sample(name, &format!("{label}=\"{value}\""), 1);
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        self.line(format_args!("{name}{{{labels}}} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.written, "{line}").expect("writing to a String cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_grpc_code_has_a_row() {
        assert_eq!(Code::Unauthenticated as usize + 1, CODE_NAMES.len());
        assert_eq!(CODE_NAMES[Code::Unavailable as usize], "Unavailable");
    }

    #[test]
    fn calls_are_counted_by_method_and_code() {
        let counts = FrontCounts::default();
        let put = CountedMethod::find("etcdserverpb.KV", "Put");
        counts.start(put);
        counts.start(put);
        counts.finish(put, Code::Ok);
        counts.finish(put, Code::Unavailable);
        counts.start(CountedMethod::find("made.up", "ByAClient"));

        let mut text = MetricsText::default();
        write_grpc_metrics(&mut text, &counts);

        let put = "grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"";
        let other = "grpc_method=\"other\",grpc_service=\"other\",grpc_type=\"unary\"";
        for line in [
            format!("grpc_server_started_total{{{put}}} 2\n"),
            format!("grpc_server_started_total{{{other}}} 1\n"),
            format!("grpc_server_handled_total{{grpc_code=\"OK\",{put}}} 1\n"),
            format!("grpc_server_handled_total{{grpc_code=\"Unavailable\",{put}}} 1\n"),
        ] {
            assert!(text.written.contains(&line), "{line} missing from\n{}", text.written);
        }
        assert!(!text.written.contains("made.up"));
    }

    #[test]
    fn what_the_backend_does_not_count_is_absent() {
        let mut text = MetricsText::default();
        let mut status = NodeStatus::default();
        status.counts.puts = Some(0);
        write_optional_metrics(&mut text, &status);
        assert_eq!(
            text.written,
            "# HELP etcd_mvcc_put_total Total number of puts seen by this member.\n\
             # TYPE etcd_mvcc_put_total counter\n\
             etcd_mvcc_put_total 0\n"
        );
    }
}
