//! A majority is gone for good: what a survivor's disks say, and the new cluster that is made of them.

use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::lease_client::LeaseClient;
use quorate_server::proto::etcdserverpb::{LeaseGrantRequest, PutRequest, RangeRequest, RangeResponse};
use quorate_service::{
    DeadMember, Entry, Founder, LocalCluster, Plan, RecoverError, RevisionBump, Survivors, Tail, cluster_id,
    founding_membership, node_id,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tonic::transport::{Channel, Endpoint};

const PATIENCE: Duration = Duration::from_secs(60);
const BUMP: u64 = 1_000_000;

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

fn lone_founder(cluster_directory: &Path, token: &str) -> Plan {
    let founder = Founder { name: "member1".to_owned(), peer_urls: vec!["http://127.0.0.1:1".to_owned()] };
    let members = founding_membership(std::slice::from_ref(&founder), token);
    let me = node_id(&founder.peer_urls, token);
    let entry = Entry::Found { cluster: cluster_id(&[founder], token), me, members };
    Plan::new("member1", cluster_directory.join("member1"), entry)
}

/// Names, contents and times of all files below.
fn fingerprint(directory: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(fingerprint(&path));
        } else {
            let changed = path.metadata().unwrap().modified().unwrap();
            found.insert(path.clone(), (std::fs::read(&path).unwrap(), changed));
        }
    }
    found
}

/// Three members with 20 puts, a lease with a key, and the first one stopped before the last five; the directories of all and the
/// last revision.
async fn lost_cluster(directory: &Path) -> (Vec<PathBuf>, i64) {
    let mut cluster = LocalCluster::start(directory, 3).unwrap();
    let any = channel(&cluster, 2);
    put(&any, "before", 0).await;
    LeaseClient::new(any.clone()).lease_grant(LeaseGrantRequest { id: 77, ttl: 600 }).await.unwrap();
    put(&any, "leased", 77).await;
    for number in 0..15 {
        put(&any, &format!("k{number}"), 0).await;
    }
    cluster.stop(0).await;
    let mut revision = 0;
    for number in 15..20 {
        revision = put(&any, &format!("k{number}"), 0).await;
    }
    let directories = (0..3).map(|index| cluster.data_directory(index).clone()).collect();
    cluster.shut_down().await;
    (directories, revision)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_survivor_of_three_becomes_a_cluster_of_its_own_with_all_that_it_had() {
    let directory = tempfile::tempdir().unwrap();
    let (lost, revision) = lost_cluster(&directory.path().join("old")).await;
    // The two that went on have everything; of one of them the other cannot be told to be dead, so it is taken as lost.
    let member = DeadMember::read(&lost[1]).unwrap();
    assert_eq!(member.problems, Vec::<String>::new());
    assert!(member.certainly_decided() <= member.log.last());
    let whole = member.state_through(member.log.last()).unwrap().into_state();
    assert_eq!((whole.revision(), whole.lease_count(), whole.live_keys()), (revision, 1, 22));
    drop(member);

    let before = fingerprint(&lost[1]);
    let new = directory.path().join("new");
    let survivors = Survivors::gather(&lost[1], &[]).unwrap();
    let plan = lone_founder(&new, "another-token");
    let bump = RevisionBump::new(BUMP).unwrap();
    let done = survivors.recover(&plan, Tail::Keep, bump).unwrap();
    // Ending the lease deleted its key, at a revision of its own.
    assert_eq!((done.revision_before, done.leases_ended, done.revision), (revision, 1, revision + 1 + BUMP as i64));
    assert!(done.term >= 1_001, "above every term that was seen");
    assert_eq!(fingerprint(&lost[1]), before, "the survivor's directory is not changed");
    let again = survivors.recover(&plan, Tail::Keep, bump).unwrap_err();
    assert!(again.to_string().contains("is not empty"), "{again}");
    drop(survivors);

    let cluster = LocalCluster::start_with(&new, 1, |started| started.entry = plan.entry.clone()).unwrap();
    let channel = channel(&cluster, 0);
    assert_eq!(put(&channel, "after", 0).await, done.revision + 1);
    let found = everything(&channel, 0).await.unwrap();
    assert_eq!(found.count, 22, "21 keys without lease, and a new one");
    assert!(found.kvs.iter().all(|pair| pair.key != "leased"));
    let told = everything(&channel, revision).await.unwrap_err();
    assert!(told.message().contains("required revision has been compacted"), "{told}");
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_laggard_a_majority_and_ids_of_the_old_cluster_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (lost, _) = lost_cluster(&directory.path().join("old")).await;
    let plan = lone_founder(&directory.path().join("new"), "another-token");
    let bump = RevisionBump::new(BUMP).unwrap();

    let laggard = Survivors::gather(&lost[0], &lost[1..2]).unwrap().recover(&plan, Tail::Keep, bump).unwrap_err();
    assert!(matches!(laggard, RecoverError::NotTheMostAdvanced { .. }), "{laggard}");
    let majority = Survivors::gather(&lost[1], &lost[..1]).unwrap().recover(&plan, Tail::Keep, bump).unwrap_err();
    assert!(matches!(majority, RecoverError::MajorityIsHere(_)), "{majority}");
    let twice = Survivors::gather(&lost[1], &lost[1..2]).unwrap_err();
    assert!(matches!(twice, RecoverError::NotOneCluster(_)), "{twice}");

    let survivors = Survivors::gather(&lost[1], &[]).unwrap();
    let mut same = plan.clone();
    let Entry::Found { cluster, .. } = &mut same.entry else { panic!("it founds") };
    *cluster = survivors.ids().0;
    let refused = survivors.recover(&same, Tail::Keep, bump).unwrap_err();
    assert!(refused.to_string().contains("is the old cluster's"), "{refused}");
    assert!(!plan.data_directory.exists(), "nothing is begun that is refused");
    let cut = survivors.recover(&plan, Tail::Cut, bump).unwrap();
    assert_eq!((cut.tail_kept, cut.through), (0, survivors.known_decided()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_shown_and_not_recovered_from_and_a_running_member_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = LocalCluster::start(&directory.path().join("one"), 1).unwrap();
    put(&channel(&cluster, 0), "key", 0).await;
    let data = cluster.data_directory(0).clone();
    let busy = DeadMember::read(&data).unwrap_err().to_string();
    assert!(busy.contains("another process is using"), "{busy}");
    cluster.stop(0).await;
    let member = DeadMember::read(&data).unwrap();
    assert_eq!(member.certainly_decided(), member.log.last(), "a lone voter decides what it has");
    drop(member);
    let whole = Survivors::gather(&data, &[]).unwrap().judge().unwrap_err();
    assert!(matches!(whole, RecoverError::MajorityIsHere(_)), "{whole}");

    let segment = std::fs::read_dir(data.join("journal")).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    // The first flush, whose end the segment's name vouches for.
    bytes[12_288 + 200] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let member = DeadMember::read(&data).unwrap();
    assert!(member.problems[0].contains("is damaged at byte"), "{:?}", member.problems);
    assert!(member.survey.segments[0].damage.is_some());
    drop(member);
    let refused = Survivors::gather(&data, &[]).unwrap_err();
    assert!(matches!(refused, RecoverError::Damaged { .. }), "{refused}");
    cluster.shut_down().await;
}
