//! A cluster runs one protocol for life: neither a data directory nor a peer of another one is taken.

use quorate_server::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_server::proto::etcdserverpb::{MemberRemoveRequest, NodeDetail, PutRequest, StatusRequest};
use quorate_service::{LocalCluster, Member, MemberError, Plan, Protocol, QuorumSettings, RecoverError, Survivors};
use std::net::TcpListener;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::{Channel, Endpoint};

const PATIENCE: Duration = Duration::from_secs(60);

fn channel(cluster: &LocalCluster, index: usize) -> Channel {
    let endpoint = cluster.endpoints().swap_remove(index);
    Endpoint::from_shared(endpoint).unwrap().timeout(Duration::from_secs(5)).connect_lazy()
}

async fn put_at_last(channel: Channel) {
    let deadline = Instant::now() + PATIENCE;
    let request = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
    while let Err(status) = KvClient::new(channel.clone()).put(request.clone()).await {
        assert!(Instant::now() < deadline, "{status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_is_opened_only_over_the_protocol_that_wrote_it() {
    for protocol in Protocol::ALL {
        let directory = tempfile::tempdir().unwrap();
        let plans = std::sync::Mutex::new(Vec::<Plan>::new());
        let cluster = LocalCluster::start_with(directory.path(), 1, |plan| {
            plan.protocol = protocol;
            plans.lock().unwrap().push(plan.clone());
        });
        cluster.unwrap().shut_down().await;
        let plan = plans.into_inner().unwrap().remove(0);
        for other in Protocol::ALL.into_iter().filter(|other| *other != protocol) {
            let sockets = || vec![TcpListener::bind("127.0.0.1:0").unwrap()];
            let refused = Member::start(Plan { protocol: other, ..plan.clone() }, sockets(), sockets()).unwrap_err();
            let words = refused.to_string();
            assert!(matches!(refused, MemberError::AnotherProtocol { .. }) && refused.is_of_settings(), "{words}");
            let advice = format!(
                "{} has the data of a member that runs {protocol}, and this one is to run {other}: start it with --protocol {protocol}",
                plan.data_directory.display()
            );
            assert!(words.starts_with(&advice), "{words}");
        }
    }
}

fn sized(plan: &mut Plan, sizes: &str) {
    plan.protocol = Protocol::MultiPaxos;
    plan.quorums = sizes.parse().unwrap();
}

/// What members say of themselves when they start is a change of the members, and the next configuration needs a leader of its own.
pub async fn all_are_known(channel: Channel) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = MaintenanceClient::new(channel.clone()).status(StatusRequest {}).await;
        let detail = status.ok().and_then(|status| status.into_inner().quorate);
        let unknown = |detail: &NodeDetail| detail.particulars.iter().any(|said| said.name.starts_with("client URLs"));
        if detail.as_ref().is_some_and(|detail| !unknown(detail)) {
            return;
        }
        assert!(Instant::now() < deadline, "{detail:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Of four members three elect and two decide: with two gone the leader goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_goes_on_with_the_smaller_kind_of_quorum() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = LocalCluster::start_with(directory.path(), 4, |plan| sized(plan, "4=3+2")).unwrap();
    all_are_known(channel(&cluster, 0)).await;
    put_at_last(channel(&cluster, 0)).await;
    let status = MaintenanceClient::new(channel(&cluster, 0)).status(StatusRequest {}).await.unwrap().into_inner();
    let leader = (0..4).find(|index| cluster.member_id(*index) == status.leader).unwrap();
    let (first, second) = ((leader + 1) % 4, (leader + 2) % 4);
    cluster.stop(first).await;
    cluster.stop(second).await;
    put_at_last(channel(&cluster, leader)).await;
    let after = MaintenanceClient::new(channel(&cluster, leader)).status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((after.leader, after.raft_term), (status.leader, status.raft_term), "nobody had to be elected");
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quorum_sizes_are_for_life_and_tell_whom_recovery_may_leave_behind() {
    let directory = tempfile::tempdir().unwrap();
    let plans = std::sync::Mutex::new(Vec::<Plan>::new());
    let cluster = LocalCluster::start_with(directory.path(), 3, |plan| {
        sized(plan, "3=3+1");
        plans.lock().unwrap().push(plan.clone());
    });
    let cluster = cluster.unwrap();
    put_at_last(channel(&cluster, 0)).await;
    let directories: Vec<_> = (0..3).map(|index| cluster.data_directory(index).clone()).collect();
    cluster.shut_down().await;
    let mut plan = plans.into_inner().unwrap().remove(0);
    let sockets = || vec![TcpListener::bind("127.0.0.1:0").unwrap()];
    for (sizes, said) in [("3=2+2".parse().unwrap(), "3=2+2"), (QuorumSettings::default(), "majorities")] {
        plan.quorums = sizes;
        let refused = Member::start(plan.clone(), sockets(), sockets()).unwrap_err();
        let words = format!(
            "{} has the data of a cluster whose quorum sizes were fixed at founding as 3=3+1, and the settings say {said}: start it with \
             --quorums 3=3+1; for other sizes restore a snapshot",
            plan.data_directory.display()
        );
        assert!(refused.to_string().starts_with(&words) && refused.is_of_settings(), "{refused}");
    }

    let two = Survivors::gather(&directories[0], &directories[1..2]).unwrap();
    if let Err(RecoverError::QuorumIsHere(why)) = two.judge() {
        panic!("two of these three cannot elect anybody: {why}");
    }
    drop(two);
    let all = Survivors::gather(&directories[0], &directories[1..]).unwrap();
    assert!(!matches!(all.judge(), Ok(())), "with all three nothing is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_another_protocol_is_not_listened_to_and_the_others_serve_without_it() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start_with(directory.path(), 3, |plan| {
        plan.protocol = if plan.name == "member3" { Protocol::Raft } else { Protocol::Viewstamped };
    });
    let cluster = cluster.unwrap();
    put_at_last(channel(&cluster, 0)).await;
    let status = |index| MaintenanceClient::new(channel(&cluster, index));
    let stranger = status(2).status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((stranger.leader, stranger.raft_index), (0, 0), "nobody told it anything");
    let leader = status(1).status(StatusRequest {}).await.unwrap().into_inner().leader;
    assert!([cluster.member_id(0), cluster.member_id(1)].contains(&leader));
    cluster.shut_down().await;
}

async fn leader_changes_seen(endpoint: &str) -> u64 {
    let address = endpoint.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix("etcd_server_leader_changes_seen_total "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("no such metric in {answer}"))
}

/// Nobody would stand in the next configuration before a timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lead_moves_before_a_leader_of_multi_paxos_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let start = LocalCluster::start_with(directory.path(), 3, |plan| plan.protocol = Protocol::MultiPaxos);
    let cluster = start.unwrap();
    all_are_known(channel(&cluster, 0)).await;
    put_at_last(channel(&cluster, 0)).await;
    let status = MaintenanceClient::new(channel(&cluster, 0)).status(StatusRequest {}).await.unwrap().into_inner();
    let id = status.leader;
    let asked = (0..3).find(|index| cluster.member_id(*index) != id).unwrap();
    let before = leader_changes_seen(&cluster.endpoints()[asked]).await;
    ClusterClient::new(channel(&cluster, asked)).member_remove(MemberRemoveRequest { id }).await.unwrap();
    let after = leader_changes_seen(&cluster.endpoints()[asked]).await;
    assert!(after > before, "somebody else led when the members were others");
    put_at_last(channel(&cluster, asked)).await;
    cluster.shut_down().await;
}
