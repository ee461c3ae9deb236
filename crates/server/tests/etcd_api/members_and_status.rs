//! Cluster, Maintenance, Auth and the health protocol.

use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_server::proto::etcdserverpb::auth_client::AuthClient;
use quorate_server::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::lease_client::LeaseClient;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_server::proto::etcdserverpb::watch_client::WatchClient;
use quorate_server::proto::etcdserverpb::{
    AuthStatusRequest, AuthenticateRequest, HashRequest, LeaseGrantRequest, MemberAddRequest, MemberListRequest,
    MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, RangeRequest, SnapshotRequest, StatusRequest,
};
use quorate_server::proto::grpc::health::v1::HealthCheckRequest;
use quorate_server::proto::grpc::health::v1::health_check_response::ServingStatus;
use quorate_server::proto::grpc::health::v1::health_client::HealthClient;
use quorate_server::proto::v3lockpb::LockRequest;
use quorate_server::proto::v3lockpb::lock_client::LockClient;
use quorate_server::{ETCD_VERSION, ServerConfig};
use tonic::Code;

use crate::keyspace_backend::{ADDED_ID, CLUSTER_ID, MEMBER_ID, TERM};
use crate::server::{Server, etcd_error, put, refusal};

#[tokio::test]
async fn the_member_list_has_no_revision_in_its_header() {
    let server = Server::start().await;
    let mut cluster = ClusterClient::new(server.channel().await);
    let answer = cluster.member_list(MemberListRequest { linearizable: true }).await.unwrap().into_inner();
    let header = answer.header.unwrap();
    assert_eq!((header.cluster_id, header.member_id, header.revision), (CLUSTER_ID, MEMBER_ID, 0));
    let member = &answer.members[0];
    assert_eq!((member.id, member.name.as_str(), member.is_learner), (MEMBER_ID, "memory", false));
    assert_eq!(member.peer_urls, ["http://127.0.0.1:2380"]);
    assert_eq!(member.client_urls, ["http://127.0.0.1:2379"]);
}

#[tokio::test]
async fn a_local_member_list_needs_no_leader_and_a_linearizable_one_does() {
    let server = Server::start().await;
    let mut cluster = ClusterClient::new(server.channel().await);
    server.backend.leader_id.store(0, Ordering::SeqCst);
    cluster.member_list(MemberListRequest { linearizable: false }).await.expect("answered from local knowledge");
    let refused = refusal(cluster.member_list(MemberListRequest { linearizable: true }).await);
    assert_eq!(refused, etcd_error(Code::Unavailable, "no leader"));
}

#[tokio::test]
async fn members_are_changed_and_the_answers_list_them_without_a_revision() {
    let server = Server::start().await;
    let mut cluster = ClusterClient::new(server.channel().await);
    let add = |url: &str| MemberAddRequest {
        peer_urls: vec![url.to_owned()],
        is_learner: true,
        ..MemberAddRequest::default()
    };
    let answer = cluster.member_add(add("http://10.0.0.2:2380")).await.unwrap().into_inner();
    let added = answer.member.unwrap();
    assert_eq!((added.id, added.is_learner, answer.members.len()), (ADDED_ID, true, 2));
    assert_eq!(answer.header.unwrap().revision, 0);
    let invalid = etcd_error(Code::InvalidArgument, "given member URLs are invalid");
    assert_eq!(refusal(cluster.member_add(add("10.0.0.2:2380")).await), invalid);
    let update = MemberUpdateRequest { id: MEMBER_ID, peer_urls: Vec::new() };
    assert_eq!(refusal(cluster.member_update(update).await), invalid);
    let gone = cluster.member_remove(MemberRemoveRequest { id: 9 }).await;
    assert_eq!(refusal(gone), etcd_error(Code::NotFound, "member not found"));
    let mut maintenance = MaintenanceClient::new(server.channel().await);
    let moved = maintenance.move_leader(MoveLeaderRequest { target_id: MEMBER_ID }).await.unwrap().into_inner();
    assert_eq!(moved.header, None);
    let moved = maintenance.move_leader(MoveLeaderRequest { target_id: 9 }).await;
    assert_eq!(refusal(moved), etcd_error(Code::FailedPrecondition, "bad leader transferee"));
}

#[tokio::test]
async fn a_learner_tells_its_status_and_its_members_and_refuses_the_rest() {
    let server = Server::start().await;
    server.backend.is_learner.store(true, Ordering::SeqCst);
    let mut maintenance = MaintenanceClient::new(server.channel().await);
    assert!(maintenance.status(StatusRequest {}).await.unwrap().into_inner().is_learner);
    let refused = etcd_error(Code::FailedPrecondition, "rpc not supported for learner");
    assert_eq!(refusal(maintenance.hash(HashRequest {}).await), refused);
    let mut cluster = ClusterClient::new(server.channel().await);
    cluster.member_list(MemberListRequest { linearizable: false }).await.expect("answered from local knowledge");
    assert_eq!(refusal(cluster.member_list(MemberListRequest { linearizable: true }).await), refused);
    assert_eq!(refusal(cluster.member_remove(MemberRemoveRequest { id: MEMBER_ID }).await), refused);
    let mut health = HealthClient::new(server.channel().await);
    let answer = health.check(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
}

#[tokio::test]
async fn a_member_may_be_added_as_a_witness_but_not_as_a_learner_too() {
    let server = Server::start().await;
    let mut cluster = ClusterClient::new(server.channel().await);
    let peer_urls = vec!["http://10.0.0.2:2380".to_owned()];
    let request = MemberAddRequest { peer_urls, is_learner: false, quorate_witness: true };
    let answer = cluster.member_add(request.clone()).await.unwrap().into_inner();
    let added = answer.member.unwrap();
    assert_eq!((added.quorate_witness, added.is_learner), (true, false));
    assert!(!answer.members[0].quorate_witness);
    let both = cluster.member_add(MemberAddRequest { is_learner: true, ..request }).await;
    let why = "a new member is a learner or a witness, not both";
    assert_eq!(refusal(both), etcd_error(Code::InvalidArgument, why));
}

#[tokio::test]
async fn a_witness_tells_its_status_and_its_members_and_refuses_all_that_needs_data() {
    let server = Server::start().await;
    server.backend.is_witness.store(true, Ordering::SeqCst);
    let words = "this member is a witness: it votes and stores no data; ask another member";
    let refused = etcd_error(Code::Unavailable, words);
    let mut maintenance = MaintenanceClient::new(server.channel().await);
    assert!(!maintenance.status(StatusRequest {}).await.unwrap().into_inner().is_learner);
    assert_eq!(refusal(maintenance.hash(HashRequest {}).await), refused);
    assert_eq!(refusal(maintenance.snapshot(SnapshotRequest::default()).await), refused);
    let mut cluster = ClusterClient::new(server.channel().await);
    cluster.member_list(MemberListRequest { linearizable: false }).await.expect("answered from local knowledge");
    assert_eq!(refusal(cluster.member_list(MemberListRequest { linearizable: true }).await), refused);
    assert_eq!(refusal(cluster.member_remove(MemberRemoveRequest { id: MEMBER_ID }).await), refused);
    let mut kv = KvClient::new(server.channel().await);
    assert_eq!(refusal(kv.put(put("k", "v")).await), refused);
    for serializable in [false, true] {
        let range = RangeRequest { key: "k".into(), serializable, ..RangeRequest::default() };
        assert_eq!(refusal(kv.range(range).await), refused, "what it would answer was never true");
    }
    let mut watch = WatchClient::new(server.channel().await);
    assert_eq!(refusal(watch.watch(tokio_stream::empty()).await), refused);
    let mut lease = LeaseClient::new(server.channel().await);
    assert_eq!(refusal(lease.lease_grant(LeaseGrantRequest { ttl: 5, id: 0 }).await), refused);
    let mut lock = LockClient::new(server.channel().await);
    assert_eq!(refusal(lock.lock(LockRequest { name: "l".into(), lease: 0 }).await), refused);
    let mut health = HealthClient::new(server.channel().await);
    let answer = health.check(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::NotServing, "clients are not to be sent here");
}

#[tokio::test]
async fn status_is_answered_with_and_without_a_leader() {
    let server = Server::start().await;
    let mut maintenance = MaintenanceClient::new(server.channel().await);
    let status = maintenance.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.version, ETCD_VERSION);
    assert_eq!((status.db_size, status.db_size_in_use), (20_480, 16_384));
    assert_eq!((status.leader, status.raft_term), (MEMBER_ID, TERM));
    assert_eq!((status.raft_index, status.raft_applied_index), (42, 41));
    assert_eq!((status.is_learner, status.errors.len()), (false, 0));

    server.backend.leader_id.store(0, Ordering::SeqCst);
    let status = maintenance.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.leader, status.errors), (0, vec!["etcdserver: no leader".to_owned()]));
}

#[tokio::test]
async fn auth_is_off_and_says_so() {
    let server = Server::start().await;
    let mut auth = AuthClient::new(server.channel().await);
    let status = auth.auth_status(AuthStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.enabled, status.auth_revision, status.header.unwrap().raft_term), (false, 1, TERM));
    let login = AuthenticateRequest { name: "root".into(), password: "secret".into() };
    let expected = etcd_error(Code::FailedPrecondition, "authentication is not enabled");
    assert_eq!(refusal(auth.authenticate(login).await), expected);
}

#[tokio::test]
async fn health_check_follows_the_leader() {
    let server = Server::start().await;
    let mut health = HealthClient::new(server.channel().await);
    let check = || HealthCheckRequest { service: String::new() };
    assert_eq!(health.check(check()).await.unwrap().into_inner().status(), ServingStatus::Serving);
    server.backend.leader_id.store(0, Ordering::SeqCst);
    assert_eq!(health.check(check()).await.unwrap().into_inner().status(), ServingStatus::NotServing);
    let unknown = health.check(HealthCheckRequest { service: "etcdserverpb.Nothing".into() }).await;
    assert_eq!(refusal(unknown), (Code::NotFound, "unknown service".into()));
}

#[tokio::test]
async fn health_watch_sends_the_state_and_each_change_and_ends_with_the_server() {
    let server = Server::start_with(ServerConfig { health_poll_interval_ms: 5, ..ServerConfig::default() }).await;
    let mut health = HealthClient::new(server.channel().await);
    let mut changes = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let mut unknown = health.watch(HealthCheckRequest { service: "x".into() }).await.unwrap().into_inner();
    assert_eq!(unknown.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);

    assert_eq!(changes.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.backend.leader_id.store(0, Ordering::SeqCst);
    assert_eq!(changes.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    server.backend.leader_id.store(MEMBER_ID, Ordering::SeqCst);
    assert_eq!(changes.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    let ended = server.stop();
    assert_eq!(changes.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(changes.message().await.unwrap(), None);
    tokio::time::timeout(Duration::from_secs(2), ended).await.expect("nothing holds it up").unwrap().unwrap();
}

#[tokio::test]
async fn a_write_in_flight_ends_before_the_server_does() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    let (backend, address) = (server.backend.clone(), server.address);
    backend.stalled.store(true, Ordering::SeqCst);
    let write = tokio::spawn(async move { kv.put(put("a", "v")).await });
    while backend.writes_begun.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let ended = server.stop();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!ended.is_finished(), "it must wait for the write");
    tokio::net::TcpStream::connect(address).await.expect_err("nobody may connect any more");
    backend.write_permits.add_permits(1);
    assert_eq!(write.await.unwrap().unwrap().into_inner().header.unwrap().revision, 2);
    tokio::time::timeout(Duration::from_secs(2), ended).await.expect("nothing holds it up").unwrap().unwrap();
}
