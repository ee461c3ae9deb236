//! Whole members in this process: what needs a log, a clock and several of them.

use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::lease_client::LeaseClient;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_server::proto::etcdserverpb::watch_client::WatchClient;
use quorate_server::proto::etcdserverpb::watch_request::RequestUnion;
use quorate_server::proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseTimeToLiveRequest, PutRequest, RangeRequest, SnapshotRequest, StatusRequest, WatchCreateRequest, WatchRequest,
    WatchResponse,
};
use quorate_service::{LocalCluster, Plan};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

const PATIENCE: Duration = Duration::from_secs(30);

struct Cluster {
    local: LocalCluster,
    _directory: tempfile::TempDir,
}

impl Cluster {
    async fn start(members: usize) -> Cluster {
        Cluster::start_with(members, |_| {}).await
    }

    /// Started and led.
    async fn start_with(members: usize, adjust: impl Fn(&mut Plan)) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let local = LocalCluster::start_with(directory.path(), members, adjust).unwrap();
        let cluster = Cluster { local, _directory: directory };
        cluster.leader().await;
        cluster
    }

    fn channel(&self, index: usize) -> Channel {
        let endpoint = self.local.endpoints().swap_remove(index);
        Endpoint::from_shared(endpoint).unwrap().timeout(Duration::from_secs(10)).connect_lazy()
    }

    /// Without a limit on how long an answer may take, as streams need it.
    fn patient_channel(&self, index: usize) -> Channel {
        Endpoint::from_shared(self.local.endpoints().swap_remove(index)).unwrap().connect_lazy()
    }

    fn kv(&self, index: usize) -> KvClient<Channel> {
        KvClient::new(self.channel(index))
    }

    /// Waits until somebody leads by its own word.
    async fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for index in 0..self.local.members() {
                let mut maintenance = MaintenanceClient::new(self.channel(index));
                let status = maintenance.status(StatusRequest {}).await.map(tonic::Response::into_inner);
                if status.is_ok_and(|status| status.leader == self.local.member_id(index)) {
                    return index;
                }
            }
            assert!(Instant::now() < deadline, "nobody leads");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn put(kv: &mut KvClient<Channel>, key: &str, lease: i64) -> Result<i64, Status> {
    let request = PutRequest { key: key.to_owned().into(), value: "v".into(), lease, ..PutRequest::default() };
    Ok(kv.put(request).await?.into_inner().header.unwrap().revision)
}

/// Writes until it is acknowledged: a change of leader may refuse or lose some.
async fn put_at_last(kv: &mut KvClient<Channel>, key: &str) -> i64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match put(kv, key, 0).await {
            Ok(revision) => return revision,
            Err(status) => assert!(Instant::now() < deadline, "{status}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn count(kv: &mut KvClient<Channel>, key: &str) -> i64 {
    let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
    kv.range(request).await.unwrap().into_inner().count
}

/// All keys from a revision on. The sender keeps the stream's requests open.
async fn watch_all(channel: Channel, start_revision: i64) -> (mpsc::Sender<WatchRequest>, Streaming<WatchResponse>) {
    let (requests, receiver) = mpsc::channel(1);
    let create = WatchCreateRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        start_revision,
        ..WatchCreateRequest::default()
    };
    requests.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }).await.unwrap();
    let mut responses = WatchClient::new(channel).watch(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    assert!(responses.message().await.unwrap().unwrap().created);
    (requests, responses)
}

/// The revisions of the next so many events.
async fn revisions(responses: &mut Streaming<WatchResponse>, events: usize) -> Vec<i64> {
    let mut seen = Vec::new();
    while seen.len() < events {
        let response = tokio::time::timeout(PATIENCE, responses.message()).await.unwrap().unwrap().unwrap();
        seen.extend(response.events.iter().map(|event| event.kv.as_ref().unwrap().mod_revision));
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_on_a_follower_sees_every_revision_once_over_a_change_of_leader() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let (_requests, mut told) = watch_all(cluster.patient_channel(follower), 2).await;
    let mut kv = cluster.kv((leader + 2) % 3);
    for number in 0..20 {
        put_at_last(&mut kv, &format!("before{number}")).await;
    }
    cluster.local.stop(leader).await;
    let mut newest = 0;
    for number in 0..20 {
        newest = put_at_last(&mut kv, &format!("after{number}")).await;
    }
    let seen = revisions(&mut told, usize::try_from(newest - 1).unwrap()).await;
    assert_eq!(seen, (2..=newest).collect::<Vec<i64>>());

    cluster.local.restart(leader).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while cluster.kv(leader).range(RangeRequest { key: "after19".into(), ..RangeRequest::default() }).await.is_err() {
        assert!(Instant::now() < deadline, "the old leader does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut hashes = Vec::new();
    for index in 0..3 {
        let mut maintenance = MaintenanceClient::new(cluster.channel(index));
        hashes.push(maintenance.hash_kv(HashKvRequest { revision: newest }).await.unwrap().into_inner().hash);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    cluster.local.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_outlives_its_leader_and_then_ends_with_its_keys_in_one_revision() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let other = (leader + 1) % 3;
    let mut leases = LeaseClient::new(cluster.channel(other));
    leases.lease_grant(LeaseGrantRequest { id: 7, ttl: 3 }).await.unwrap();
    let mut kv = cluster.kv(other);
    for key in ["a", "b"] {
        put(&mut kv, key, 7).await.unwrap();
    }
    let renewals = tokio_stream::iter([LeaseKeepAliveRequest { id: 7 }]);
    let mut kept = leases.lease_keep_alive(renewals).await.unwrap().into_inner();
    assert_eq!(kept.message().await.unwrap().unwrap().ttl, 3, "a follower takes a renewal to the leader");
    let renewed = Instant::now();
    cluster.local.stop(leader).await;
    let (_requests, mut told) = watch_all(cluster.patient_channel(other), 4).await;
    let gone = revisions(&mut told, 2).await;
    assert!(renewed.elapsed() >= Duration::from_secs(3), "it ended after {:?}", renewed.elapsed());
    assert_eq!(gone, [4, 4], "both keys in one revision");
    let left = leases.lease_time_to_live(LeaseTimeToLiveRequest { id: 7, keys: false }).await.unwrap().into_inner();
    assert_eq!(left.ttl, -1);
    cluster.local.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_and_keys_survive_a_restart_and_a_kept_lease_lives_on() {
    let mut cluster = Cluster::start(1).await;
    let mut leases = LeaseClient::new(cluster.channel(0));
    leases.lease_grant(LeaseGrantRequest { id: 5, ttl: 2 }).await.unwrap();
    let mut kv = cluster.kv(0);
    put(&mut kv, "a", 5).await.unwrap();
    cluster.local.stop(0).await;
    cluster.local.restart(0).unwrap();
    cluster.leader().await;
    let mut leases = LeaseClient::new(cluster.channel(0));
    let mut kv = cluster.kv(0);
    for _ in 0..6 {
        let renewals = tokio_stream::iter([LeaseKeepAliveRequest { id: 5 }]);
        let mut kept = leases.lease_keep_alive(renewals).await.unwrap().into_inner();
        assert_eq!(kept.message().await.unwrap().unwrap().ttl, 2);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(count(&mut kv, "a").await, 1, "kept for longer than its time");
    let deadline = Instant::now() + PATIENCE;
    while count(&mut kv, "a").await == 1 {
        assert!(Instant::now() < deadline, "it never ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.local.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_history_than_the_quota_raises_the_alarm_on_every_member() {
    let cluster = Cluster::start_with(1, |plan| plan.quota_backend_bytes = 10_000).await;
    let mut kv = cluster.kv(0);
    let big = PutRequest { key: "a".into(), value: vec![0; 20_000].into(), ..PutRequest::default() };
    kv.put(big).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    let refused = loop {
        match put(&mut kv, "b", 0).await {
            Err(status) => break status,
            Ok(_) => assert!(Instant::now() < deadline, "the alarm is never raised"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded")
    );
    let status = MaintenanceClient::new(cluster.channel(0)).status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.errors, [format!("memberID:{} alarm:NOSPACE ", cluster.local.member_id(0))]);
    cluster.local.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_nearly_full_refuses_what_grows_and_lets_go_what_shrinks() {
    // No disk has this much left; it stays so, whatever an operator clears.
    let cluster = Cluster::start_with(3, |plan| plan.low_space_bytes = u64::MAX).await;
    let mut kv = cluster.kv(0);
    let deadline = Instant::now() + PATIENCE;
    let refused = loop {
        match put(&mut kv, "a", 0).await {
            Err(status) => break status,
            Ok(_) => assert!(Instant::now() < deadline, "the alarm is never raised"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded")
    );
    // Every member raises its own, a follower too.
    let mut maintenance = MaintenanceClient::new(cluster.channel(1));
    let alarms = |action| AlarmRequest { action, member_id: 0, alarm: 0 };
    while maintenance.alarm(alarms(0)).await.unwrap().into_inner().alarms.len() < 3 {
        assert!(Instant::now() < deadline, "not every member raises its alarm");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lease = LeaseClient::new(cluster.channel(2)).lease_grant(LeaseGrantRequest { id: 7, ttl: 60 }).await;
    assert_eq!(lease.unwrap_err().message(), "etcdserver: mvcc: database space exceeded");
    let delete = DeleteRangeRequest { key: "a".into(), ..DeleteRangeRequest::default() };
    let revision = kv.delete_range(delete).await.unwrap().into_inner().header.unwrap().revision;
    kv.compact(CompactionRequest { revision, physical: true }).await.unwrap();
    assert_eq!(count(&mut kv, "a").await, 0);
    // Cleared by hand it comes back, for the space has not.
    let before = maintenance.alarm(alarms(0)).await.unwrap().into_inner().alarms;
    for alarm in &before {
        let clear = AlarmRequest { action: 2, member_id: alarm.member_id, alarm: alarm.alarm };
        maintenance.alarm(clear).await.unwrap();
    }
    while maintenance.alarm(alarms(0)).await.unwrap().into_inner().alarms.is_empty() {
        assert!(Instant::now() < deadline, "the alarm is not raised again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.local.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_whole_while_writes_go_on() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0);
    for number in 0..50 {
        let request =
            PutRequest { key: format!("k{number}").into(), value: vec![b'v'; 10_000].into(), ..PutRequest::default() };
        kv.put(request).await.unwrap();
    }
    let mut maintenance = MaintenanceClient::new(cluster.channel(0));
    let mut blobs = maintenance.snapshot(SnapshotRequest {}).await.unwrap().into_inner();
    let (mut total, mut digest, mut first) = (0u64, 0, None);
    while let Some(answer) = blobs.message().await.unwrap() {
        first.get_or_insert(answer.remaining_bytes + answer.blob.len() as u64);
        put(&mut kv, "meanwhile", 0).await.unwrap();
        total += answer.blob.len() as u64;
        digest = answer.blob.len();
    }
    assert_eq!(digest, 32);
    assert_eq!(first, Some(total - 32), "all that was announced");
    assert!(total > 500_000 && total % 512 == 32, "{total}");
    cluster.local.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_in_use_refuses_a_second_member_and_leaves_nothing_running() {
    let directory = tempfile::tempdir().unwrap();
    let first = LocalCluster::start(directory.path(), 1).unwrap();
    let refused = LocalCluster::start(directory.path(), 1).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("another process is using this data directory"), "{refused}");
    first.shut_down().await;
}
