//! From a saved snapshot to a new cluster: nothing is lost, nothing is taken that is damaged, and all members agree.

use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::lease_client::LeaseClient;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_server::proto::etcdserverpb::{
    DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest,
    RangeResponse, SnapshotRequest,
};
use quorate_service::{LocalCluster, Protocol, RestoreError, RevisionBump, SnapshotFile, SnapshotFileError};
use std::path::Path;
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};

const PATIENCE: Duration = Duration::from_secs(60);
const LEASE: i64 = 77;

fn channel(cluster: &LocalCluster, index: usize) -> Channel {
    let endpoint = cluster.endpoints().swap_remove(index);
    Endpoint::from_shared(endpoint).unwrap().timeout(Duration::from_secs(10)).connect_lazy()
}

async fn put(channel: &Channel, key: &str, lease: i64) -> i64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let request = PutRequest { key: key.to_owned().into(), value: "v".into(), lease, ..PutRequest::default() };
        match KvClient::new(channel.clone()).put(request).await {
            Ok(answer) => return answer.into_inner().header.unwrap().revision,
            Err(status) => assert!(Instant::now() < deadline, "{status}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn everything(channel: &Channel, revision: i64) -> Result<RangeResponse, tonic::Status> {
    let request = RangeRequest { key: "\0".into(), range_end: "\0".into(), revision, ..RangeRequest::default() };
    Ok(KvClient::new(channel.clone()).range(request).await?.into_inner())
}

async fn hash(channel: &Channel, revision: i64) -> u32 {
    MaintenanceClient::new(channel.clone()).hash_kv(HashKvRequest { revision }).await.unwrap().into_inner().hash
}

async fn save(channel: &Channel, file: &Path) {
    let mut blobs = MaintenanceClient::new(channel.clone()).snapshot(SnapshotRequest {}).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(answer) = blobs.message().await.unwrap() {
        bytes.extend_from_slice(&answer.blob);
    }
    std::fs::write(file, bytes).unwrap();
}

/// A member with keys, a tombstone, a lease and a compacted past, saved; its pairs, revision and hash.
async fn saved(file: &Path) -> (RangeResponse, u32) {
    let directory = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(directory.path(), 1).unwrap();
    let channel = channel(&cluster, 0);
    for number in 0..20 {
        put(&channel, &format!("k{}", number % 7), 0).await;
    }
    let grant = LeaseGrantRequest { id: LEASE, ttl: 600 };
    LeaseClient::new(channel.clone()).lease_grant(grant).await.unwrap();
    put(&channel, "leased", LEASE).await;
    let delete = DeleteRangeRequest { key: "k3".into(), ..DeleteRangeRequest::default() };
    KvClient::new(channel.clone()).delete_range(delete).await.unwrap();
    save(&channel, file).await;
    let found = everything(&channel, 0).await.unwrap();
    let hash = hash(&channel, 0).await;
    cluster.shut_down().await;
    (found, hash)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_restored_from_one_file_are_a_new_cluster_with_its_keys_leases_and_revision() {
    a_new_cluster_out_of_a_file_of_raft(Protocol::Raft).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_raft_saved_is_restored_over_multi_paxos() {
    a_new_cluster_out_of_a_file_of_raft(Protocol::MultiPaxos).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_raft_saved_is_restored_over_viewstamped_replication() {
    a_new_cluster_out_of_a_file_of_raft(Protocol::Viewstamped).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_raft_saved_is_restored_over_zab() {
    a_new_cluster_out_of_a_file_of_raft(Protocol::Zab).await;
}

async fn a_new_cluster_out_of_a_file_of_raft(protocol: Protocol) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("saved.db");
    let (before, hash_before) = saved(&file).await;
    let revision = before.header.unwrap().revision;
    let summary = SnapshotFile::read(&file, false).unwrap().summary();
    assert_eq!((summary.hash, summary.revision), (hash_before, revision));
    assert_eq!((summary.keys, summary.leases), (before.count as u64, 1));

    let mut cluster = LocalCluster::start_with(directory.path(), 3, |plan| {
        plan.protocol = protocol;
        assert_eq!(SnapshotFile::read(&file, false).unwrap().restore(plan, None).unwrap(), revision);
        let again = SnapshotFile::read(&file, false).unwrap().restore(plan, None).unwrap_err();
        assert!(matches!(again, RestoreError::NotEmpty { .. }), "{again}");
    })
    .unwrap();
    assert_eq!(put(&channel(&cluster, 0), "new", 0).await, revision + 1, "the history goes on");
    // A member that starts again finds what it was.
    cluster.stop(1).await;
    cluster.restart(1).unwrap();
    for index in 0..3 {
        let channel = channel(&cluster, index);
        let deadline = Instant::now() + PATIENCE;
        let found = loop {
            match everything(&channel, revision).await {
                Ok(found) => break found,
                Err(status) => assert!(Instant::now() < deadline, "{status}"),
            }
        };
        assert_eq!(found.kvs, before.kvs);
        assert_eq!(hash(&channel, revision).await, hash_before);
        let left = LeaseTimeToLiveRequest { id: LEASE, keys: true };
        let left = LeaseClient::new(channel).lease_time_to_live(left).await.unwrap().into_inner();
        assert!(left.ttl > 500 && left.granted_ttl == 600 && left.keys == ["leased"], "{left:?}");
    }
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bumped_revision_says_compacted_to_whoever_saw_more_than_the_snapshot_holds() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("saved.db");
    let (before, _) = saved(&file).await;
    let revision = before.header.unwrap().revision;
    let cluster = LocalCluster::start_with(directory.path(), 1, |plan| {
        let bumped = SnapshotFile::read(&file, false).unwrap().restore(plan, RevisionBump::new(1_000_000));
        assert_eq!(bumped.unwrap(), revision + 1_000_000);
        let far = SnapshotFile::read(&file, false).unwrap();
        let mut elsewhere = plan.clone();
        elsewhere.data_directory = plan.data_directory.join("elsewhere");
        let refused = far.restore(&elsewhere, RevisionBump::new(u64::MAX)).unwrap_err();
        assert!(matches!(refused, RestoreError::Revision { .. }), "{refused}");
        assert!(!elsewhere.data_directory.exists(), "nothing is begun that cannot be finished");
    })
    .unwrap();
    let channel = channel(&cluster, 0);
    assert_eq!(put(&channel, "new", 0).await, revision + 1_000_001);
    let told = everything(&channel, revision + 5).await.unwrap_err();
    assert!(told.message().contains("required revision has been compacted"), "{told}");
    let kept = everything(&channel, revision + 1_000_000).await.unwrap();
    assert_eq!(kept.kvs, before.kvs);
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_cut_or_damaged_is_refused_in_words_with_or_without_its_digest() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("saved.db");
    saved(&file).await;
    let whole = std::fs::read(&file).unwrap();
    let damaged = directory.path().join("damaged.db");
    let refused = |bytes: &[u8], skip_digest| {
        std::fs::write(&damaged, bytes).unwrap();
        SnapshotFile::read(&damaged, skip_digest).map(|_| ()).err()
    };
    for at in (0..whole.len()).step_by(7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x04;
        assert!(matches!(refused(&flipped, false), Some(SnapshotFileError::Digest { .. })), "byte {at}");
        let in_digest = at >= whole.len() - 32;
        assert_eq!(refused(&flipped, true).is_none(), in_digest, "byte {at}: its own checksum covers the rest");
        let cut = refused(&whole[..at], false).expect("it is not complete");
        assert!(!cut.to_string().is_empty());
    }
    let content_end = whole[..whole.len() - 32].iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for at in (0..content_end).step_by(11) {
        let told = refused(&whole[..at], true).expect("it is not complete").to_string();
        assert!(told.contains("the rest is missing"), "{at}: {told}");
    }
    assert!(refused(&whole[..whole.len() - 512], false).is_some());
    let other = refused(b"SQLite format 3\0", false).unwrap().to_string();
    assert!(other.contains("no snapshot of Quorate"), "{other}");
    let missing = SnapshotFile::read(&directory.path().join("missing"), false).unwrap_err().to_string();
    assert!(missing.contains("cannot read"), "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_comes_without_the_state_is_given_it_by_a_restored_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("saved.db");
    let (before, hash_before) = saved(&file).await;
    let revision = before.header.unwrap().revision;
    let cluster = LocalCluster::start_with(directory.path(), 3, |plan| {
        if plan.name != "member3" {
            SnapshotFile::read(&file, false).unwrap().restore(plan, None).unwrap();
        }
    })
    .unwrap();
    put(&channel(&cluster, 0), "new", 0).await;
    let third = channel(&cluster, 2);
    let deadline = Instant::now() + PATIENCE;
    loop {
        // What it has itself, whoever leads.
        let request = RangeRequest { key: "new".into(), serializable: true, ..RangeRequest::default() };
        let found = KvClient::new(third.clone()).range(request).await.map(|found| found.into_inner().count);
        if matches!(found, Ok(1)) {
            break;
        }
        assert!(Instant::now() < deadline, "it is never told: {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(hash(&third, revision).await, hash_before, "not the log alone: what was before it too");
    cluster.shut_down().await;
}
