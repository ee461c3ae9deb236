//! A majority is gone for good: what a survivor's disks say, and the new cluster that is made of them.

use crate::protocols::all_are_known;
use quorate_server::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::lease_client::LeaseClient;
use quorate_server::proto::etcdserverpb::{
    LeaseGrantRequest, MemberRemoveRequest, PutRequest, RangeRequest, RangeResponse,
};
use quorate_service::{
    DeadMember, Entry, Founder, LocalCluster, Plan, Protocol, RecoverError, RevisionBump, Survivors, Tail, cluster_id,
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

fn lone_founder(cluster_directory: &Path, token: &str, protocol: Protocol) -> Plan {
    let founder = Founder { name: "member1".to_owned(), peer_urls: vec!["http://127.0.0.1:1".to_owned()] };
    let members = founding_membership(std::slice::from_ref(&founder), token);
    let me = node_id(&founder.peer_urls, token);
    let entry = Entry::Found { cluster: cluster_id(&[founder], token), me, members };
    Plan { protocol, ..Plan::new("member1", cluster_directory.join("member1"), entry) }
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
async fn lost_cluster(directory: &Path, protocol: Protocol) -> (Vec<PathBuf>, i64) {
    let mut cluster = LocalCluster::start_with(directory, 3, |plan| plan.protocol = protocol).unwrap();
    let any = channel(&cluster, 2);
    // What members say of themselves is a change of the members, and would come at any time on a busy machine.
    all_are_known(any.clone()).await;
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
    for protocol in Protocol::ALL {
        one_survivor_of_three(protocol).await;
    }
}

async fn one_survivor_of_three(protocol: Protocol) {
    let directory = tempfile::tempdir().unwrap();
    let (lost, revision) = lost_cluster(&directory.path().join("old"), protocol).await;
    // The two that went on have everything; of one of them the other cannot be told to be dead, so it is taken as lost.
    let member = DeadMember::read(&lost[1]).unwrap();
    assert_eq!((member.problems.clone(), member.protocol), (Vec::<String>::new(), protocol));
    assert!(member.certainly_decided() <= member.log.last());
    let whole = member.state_through(member.whole_log().last()).unwrap().into_state();
    assert_eq!((whole.revision(), whole.lease_count(), whole.live_keys()), (revision, 1, 22));
    drop(member);

    let before = fingerprint(&lost[1]);
    let new = directory.path().join("new");
    let survivors = Survivors::gather(&lost[1], &[]).unwrap();
    let plan = lone_founder(&new, "another-token", protocol);
    let bump = RevisionBump::new(BUMP).unwrap();
    let done = survivors.recover(&plan, Tail::Keep, bump).unwrap();
    // Ending the lease deleted its key, at a revision of its own.
    assert_eq!((done.revision_before, done.leases_ended, done.revision), (revision, 1, revision + 1 + BUMP as i64));
    assert!(done.generation >= 1_001, "above every term, configuration or epoch that was seen");
    assert_eq!(fingerprint(&lost[1]), before, "the survivor's directory is not changed");
    let again = survivors.recover(&plan, Tail::Keep, bump).unwrap_err();
    assert!(again.to_string().contains("is not empty"), "{again}");
    drop(survivors);

    let as_planned = |started: &mut Plan| (started.entry, started.protocol) = (plan.entry.clone(), protocol);
    let cluster = LocalCluster::start_with(&new, 1, as_planned).unwrap();
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
    for protocol in Protocol::ALL {
        what_is_refused(protocol).await;
    }
}

async fn what_is_refused(protocol: Protocol) {
    let directory = tempfile::tempdir().unwrap();
    let (lost, revision) = lost_cluster(&directory.path().join("old"), protocol).await;
    let plan = lone_founder(&directory.path().join("new"), "another-token", protocol);
    let bump = RevisionBump::new(BUMP).unwrap();

    let both = Survivors::gather(&lost[0], &lost[1..2]).unwrap();
    let refused = both.recover(&plan, Tail::Keep, bump).unwrap_err();
    match protocol {
        // Slots stand alone: what the one lacks is taken from the other.
        Protocol::MultiPaxos => {
            assert!(matches!(refused, RecoverError::QuorumIsHere(_)), "{refused}");
            let state = both.chosen().state_by(both.inherited(), both.end()).unwrap().into_state();
            assert_eq!(state.revision(), revision);
        }
        Protocol::Raft | Protocol::Viewstamped | Protocol::Zab => {
            assert!(matches!(refused, RecoverError::NotTheMostAdvanced { .. }), "{refused}");
        }
    }
    drop(both);
    let stranger = Protocol::ALL.into_iter().find(|other| *other != protocol).unwrap();
    let other = Plan { protocol: stranger, ..plan.clone() };
    let refused = Survivors::gather(&lost[1], &[]).unwrap().recover(&other, Tail::Keep, bump).unwrap_err();
    assert!(refused.to_string().contains(&format!("ran {protocol}")), "{refused}");
    let majority = Survivors::gather(&lost[1], &lost[..1]).unwrap().recover(&plan, Tail::Keep, bump).unwrap_err();
    assert!(matches!(majority, RecoverError::QuorumIsHere(_)), "{majority}");
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
    for protocol in Protocol::ALL {
        damage_is_shown(protocol).await;
    }
}

async fn damage_is_shown(protocol: Protocol) {
    let directory = tempfile::tempdir().unwrap();
    let one = directory.path().join("one");
    let mut cluster = LocalCluster::start_with(&one, 1, |plan| plan.protocol = protocol).unwrap();
    put(&channel(&cluster, 0), "key", 0).await;
    let data = cluster.data_directory(0).clone();
    let busy = DeadMember::read(&data).unwrap_err().to_string();
    assert!(busy.contains("another process is using"), "{busy}");
    cluster.stop(0).await;
    let member = DeadMember::read(&data).unwrap();
    assert_eq!(member.certainly_decided(), member.log.last(), "a lone voter decides what it has");
    drop(member);
    let whole = Survivors::gather(&data, &[]).unwrap().judge().unwrap_err();
    assert!(matches!(whole, RecoverError::QuorumIsHere(_)), "{whole}");

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

/// One of three is removed, and of the other two one is lost: the protocols that number their configurations have two of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survivor_of_changed_members_is_read_through_all_configurations() {
    for protocol in Protocol::ALL {
        changed_members(protocol).await;
    }
}

async fn changed_members(protocol: Protocol) {
    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("old");
    let cluster = LocalCluster::start_with(&old, 3, |plan| plan.protocol = protocol).unwrap();
    let any = channel(&cluster, 0);
    put(&any, "before", 0).await;
    let removed = cluster.member_id(2);
    let deadline = Instant::now() + PATIENCE;
    while let Err(status) = ClusterClient::new(any.clone()).member_remove(MemberRemoveRequest { id: removed }).await {
        assert!(Instant::now() < deadline, "{status}");
        if status.message().ends_with("member not found") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let revision = put(&any, "after", 0).await;
    let lost: Vec<PathBuf> = (0..3).map(|index| cluster.data_directory(index).clone()).collect();
    cluster.shut_down().await;

    let member = DeadMember::read(&lost[0]).unwrap();
    assert_eq!(member.problems, Vec::<String>::new(), "{protocol}");
    let present = member.log.configuration().unwrap();
    assert_eq!(present.members.voters().count(), 2, "{protocol}");
    assert!(member.log.ids().iter().any(|id| id.0 == removed), "the removed one is known");
    if protocol != Protocol::Raft {
        assert!(present.number >= 2, "{protocol}");
        assert_eq!(member.log.configurations[0].members.voters().count(), 3, "{protocol}");
        assert!(member.certainly_decided() >= present.slot, "what ended a configuration is decided");
    }
    let whole = member.state_through(member.whole_log().last()).unwrap().into_state();
    assert_eq!(whole.revision(), revision, "{protocol}");
    drop(member);
    let survivors = Survivors::gather(&lost[0], &[]).unwrap();
    survivors.judge().unwrap();
    let plan = lone_founder(&directory.path().join("new"), "another-token", protocol);
    let done = survivors.recover(&plan, Tail::Keep, RevisionBump::new(BUMP).unwrap()).unwrap();
    assert_eq!(done.revision, revision + BUMP as i64, "{protocol}");
    drop(survivors);
    let new = DeadMember::read(&plan.data_directory).unwrap();
    assert_eq!((new.problems.clone(), new.log.generation), (Vec::new(), done.generation), "{protocol}");
    assert_eq!(new.certainly_decided(), new.log.last());
    // Who was removed has what was decided before, and may have been sent a little more before it heard: another one goes before it, or
    // lends it what it lacks, or it has everything. Whatever is taken is the whole.
    let Ok(survivors) = Survivors::gather(&lost[2], &lost[..1]) else { return };
    if survivors.judge().is_ok() {
        let state = survivors.chosen().state_by(survivors.inherited(), survivors.end()).unwrap().into_state();
        assert_eq!(state.revision(), revision, "{protocol}");
    }
}
