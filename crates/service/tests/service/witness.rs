//! Two voters with data and a witness: any one of them may go, and the witness stores nothing.

use quorate_server::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_server::proto::etcdserverpb::{
    Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MoveLeaderRequest, PutRequest, RangeRequest,
    StatusRequest, StatusResponse,
};
use quorate_service::{DeadMember, LocalCluster, RecoverError, Survivors};
use std::path::Path;
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

const PATIENCE: Duration = Duration::from_secs(30);
const VALUE_BYTES: usize = 16 << 10;
const WITNESS: usize = 2;

struct Cluster {
    local: LocalCluster,
    _directory: tempfile::TempDir,
}

impl Cluster {
    /// Members 0 and 1 store data, member 2 is a witness and knows it.
    async fn start() -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let local = LocalCluster::start(directory.path(), 2).unwrap();
        let mut cluster = Cluster { local, _directory: directory };
        cluster.leader(&[0, 1]).await;
        let reservation = cluster.local.reserve().unwrap();
        let peer_urls = vec![reservation.peer_url()];
        let request = MemberAddRequest { peer_urls, quorate_witness: true, ..MemberAddRequest::default() };
        let added = cluster.add(request).await;
        assert!(added.quorate_witness && !added.is_learner);
        cluster.local.join(reservation, PATIENCE, |_| {}).unwrap();
        cluster.wait_for("the witness to know itself", async |cluster| cluster.role(WITNESS).await == "witness").await;
        cluster
    }

    fn channel(&self, index: usize) -> Channel {
        let endpoint = self.local.endpoints().swap_remove(index);
        Endpoint::from_shared(endpoint).unwrap().timeout(Duration::from_secs(10)).connect_lazy()
    }

    async fn wait_for(&self, what: &str, reached: impl AsyncFn(&Cluster) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !reached(self).await {
            assert!(Instant::now() < deadline, "waited for {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn add(&self, request: MemberAddRequest) -> Member {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ClusterClient::new(self.channel(0)).member_add(request.clone()).await {
                Ok(answer) => return answer.into_inner().member.unwrap(),
                Err(status) => assert!(Instant::now() < deadline, "{status}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn status(&self, index: usize) -> Result<StatusResponse, Status> {
        MaintenanceClient::new(self.channel(index)).status(StatusRequest {}).await.map(tonic::Response::into_inner)
    }

    async fn role(&self, index: usize) -> String {
        self.status(index).await.ok().and_then(|status| status.quorate).unwrap_or_default().role
    }

    /// Who of these leads by its own word.
    async fn leader(&self, among: &[usize]) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for index in among {
                let id = self.local.member_id(*index);
                if self.status(*index).await.is_ok_and(|status| status.leader == id) {
                    return *index;
                }
            }
            assert!(Instant::now() < deadline, "nobody leads");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Puts until it succeeds.
    async fn put(&self, index: usize, key: &str) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(status) = put(self.channel(index), key).await {
            assert!(Instant::now() < deadline, "{status}");
        }
    }

    async fn last_index(&self, index: usize) -> u64 {
        self.status(index).await.unwrap().quorate.unwrap_or_default().last_index
    }
}

async fn put(channel: Channel, key: &str) -> Result<(), Status> {
    let value = vec![b'v'; VALUE_BYTES].into();
    KvClient::new(channel)
        .put(PutRequest { key: key.to_owned().into(), value, ..PutRequest::default() })
        .await
        .map(drop)
}

async fn range(channel: Channel, serializable: bool) -> Result<i64, Status> {
    let all = RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        count_only: true,
        serializable,
        ..RangeRequest::default()
    };
    Ok(KvClient::new(channel).range(all).await?.into_inner().count)
}

fn refused_by_witness<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let status = answer.unwrap_err();
    let words = "etcdserver: this member is a witness: it votes and stores no data; ask another member";
    assert_eq!((status.code(), status.message()), (Code::Unavailable, words));
}

fn reserved_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .map(
            |entry| if entry.path().is_dir() { reserved_bytes(&entry.path()) } else { entry.metadata().unwrap().len() },
        )
        .sum()
}

/// How often these bytes occur in the files under a directory.
fn occurrences(directory: &Path, wanted: &[u8]) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        count += match path.is_dir() {
            true => occurrences(&path, wanted),
            false => std::fs::read(&path).unwrap().windows(wanted.len()).filter(|bytes| *bytes == wanted).count(),
        };
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_voter_down_writes_go_on_and_the_witness_stores_none_of_them() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader(&[0, 1]).await;
    let other = 1 - leader;
    let before = cluster.last_index(WITNESS).await;
    for number in 0..20 {
        cluster.put(leader, &format!("both/{number:02}")).await;
    }
    assert_eq!(cluster.last_index(WITNESS).await, before, "while both keep up it gets nothing");

    cluster.local.stop(other).await;
    for number in 0..20 {
        cluster.put(leader, &format!("one/{number:02}")).await;
    }
    assert!(cluster.last_index(WITNESS).await >= before + 40);
    assert_eq!(range(cluster.channel(leader), false).await.unwrap(), 40);
    refused_by_witness(range(cluster.channel(WITNESS), true).await);
    refused_by_witness(range(cluster.channel(WITNESS), false).await);
    refused_by_witness(put(cluster.channel(WITNESS), "k").await);
    let listed = MemberListRequest { linearizable: false };
    let listed = ClusterClient::new(cluster.channel(WITNESS)).member_list(listed).await.unwrap().into_inner().members;
    let witnesses: Vec<u64> = listed.iter().filter(|member| member.quorate_witness).map(|member| member.id).collect();
    assert_eq!(witnesses, [cluster.local.member_id(WITNESS)]);
    // Etcd's clients dial what is listed for clients, and do not repeat a write elsewhere that a witness refuses.
    let status_url = cluster.local.endpoints().swap_remove(WITNESS);
    for member in &listed {
        assert_eq!(member.client_urls.is_empty(), member.quorate_witness, "{member:?}");
        assert_eq!(member.quorate_status_urls.contains(&status_url), member.quorate_witness, "{member:?}");
    }

    cluster.local.stop(WITNESS).await;
    let directory = &cluster.local.data_directory(WITNESS).clone();
    let (here, there) = (reserved_bytes(directory), reserved_bytes(cluster.local.data_directory(leader)));
    assert!(here < 4 << 20 && here * 16 < there, "{here} bytes, and {there} where there are data");
    assert_eq!(occurrences(directory, b"one/"), 0, "no key reached its disk");
    assert_eq!(occurrences(directory, &[b'v'; 64]), 0, "and no value");
    assert!(occurrences(cluster.local.data_directory(leader), b"one/") >= 20);
    let dead = DeadMember::read(directory).unwrap();
    assert!(dead.is_witness() && dead.problems.is_empty(), "its log can be looked at: {:?}", dead.problems);
    assert!(dead.state_through(dead.checkpointed()).unwrap_err().contains("stores no data"));
    drop(dead);
    let refused = Survivors::gather(directory, &[]).map(drop).unwrap_err();
    assert!(matches!(&refused, RecoverError::Stateless { .. }), "{refused}");
    // The voter that stopped before is behind what the witness has seen: that must not be recovered from unawares.
    let lagging = Survivors::gather(cluster.local.data_directory(other), std::slice::from_ref(directory)).unwrap();
    let refused = lagging.judge().unwrap_err();
    assert!(matches!(&refused, RecoverError::StatelessKnowsMore { .. }), "{refused}");
    drop(lagging);
    cluster.local.stop(leader).await;
    let whole = Survivors::gather(cluster.local.data_directory(leader), std::slice::from_ref(directory)).unwrap();
    assert!(matches!(whole.judge(), Err(RecoverError::QuorumIsHere(_))), "its log is of one history with the leader's");
    drop(whole);
    cluster.local.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_leader_down_the_other_voter_takes_over_with_all_data() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader(&[0, 1]).await;
    let other = 1 - leader;
    for number in 0..20 {
        cluster.put(leader, &format!("k/{number:02}")).await;
    }
    cluster.local.stop(leader).await;
    cluster.put(other, "k/20").await;
    assert_eq!(cluster.leader(&[other]).await, other);
    assert_eq!(range(cluster.channel(other), false).await.unwrap(), 21);
    // Back, caught up, and then the same the other way round: what was written with the witness is not lost.
    cluster.local.restart(leader).unwrap();
    let caught_up = async |cluster: &Cluster| range(cluster.channel(leader), true).await.is_ok_and(|count| count == 21);
    cluster.wait_for("the old leader to catch up", caught_up).await;
    cluster.local.stop(other).await;
    cluster.put(leader, "k/21").await;
    assert_eq!(range(cluster.channel(leader), false).await.unwrap(), 22);
    cluster.local.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_stays_one_and_never_leads() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader(&[0, 1]).await;
    let id = cluster.local.member_id(WITNESS);
    let moved = MaintenanceClient::new(cluster.channel(leader)).move_leader(MoveLeaderRequest { target_id: id }).await;
    assert_eq!(moved.unwrap_err().message(), "etcdserver: bad leader transferee");
    let promoted = MemberPromoteRequest { id, ..MemberPromoteRequest::default() };
    let promoted = ClusterClient::new(cluster.channel(leader)).member_promote(promoted).await;
    assert_eq!(promoted.unwrap_err().message(), "etcdserver: can only promote a learner member");
    let again = |port: u16| MemberAddRequest {
        peer_urls: vec![format!("http://127.0.0.1:{port}")],
        quorate_witness: true,
        ..MemberAddRequest::default()
    };
    cluster.add(again(1)).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let refused = ClusterClient::new(cluster.channel(leader)).member_add(again(2)).await.unwrap_err();
        if refused.message().contains("unhealthy cluster") || refused.message().contains("not enough started") {
            break; // The second one was never started, and that is seen first.
        }
        assert!(refused.message().contains("at most as many witnesses") || Instant::now() < deadline, "{refused}");
        if refused.message().contains("at most as many witnesses") {
            break;
        }
    }
    cluster.local.restart(WITNESS).unwrap_err();
    cluster.local.stop(WITNESS).await;
    cluster.local.restart(WITNESS).unwrap();
    cluster.wait_for("the witness to be one again", async |cluster| cluster.role(WITNESS).await == "witness").await;
    refused_by_witness(range(cluster.channel(WITNESS), true).await);
    cluster.local.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_member_gets_no_witness_and_serves_on() {
    let directory = tempfile::tempdir().unwrap();
    let local = LocalCluster::start(directory.path(), 1).unwrap();
    let cluster = Cluster { local, _directory: directory };
    cluster.put(0, "before").await;
    let peer_urls = vec!["http://127.0.0.1:1".to_owned()];
    let request = MemberAddRequest { peer_urls, quorate_witness: true, ..MemberAddRequest::default() };
    let refused = ClusterClient::new(cluster.channel(0)).member_add(request).await.unwrap_err();
    let words = "etcdserver: re-configuration failed due to not enough started members";
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, words));
    cluster.put(0, "after").await;
    let listed = ClusterClient::new(cluster.channel(0)).member_list(MemberListRequest { linearizable: true }).await;
    assert_eq!(listed.unwrap().into_inner().members.len(), 1);
    cluster.local.shut_down().await;
}
