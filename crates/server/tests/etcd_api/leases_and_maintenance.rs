//! Lease and Maintenance: answers, ids, alarms, hashes, snapshots, and transactions and range streams beside them.

use quorate_server::ServerConfig;
use quorate_server::proto::etcdserverpb::lease_client::LeaseClient;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_server::proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, HashKvRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp,
    SnapshotRequest, StatusRequest, TxnRequest, alarm_request::AlarmAction, request_op, response_op,
};
use tonic::Code;

use crate::keyspace_backend::MEMBER_ID;
use crate::server::{Server, etcd_error, get, get_from, put, refusal};

#[tokio::test]
async fn leases_are_granted_listed_kept_and_revoked() {
    let server = Server::start().await;
    let mut leases = LeaseClient::new(server.channel().await);
    let mut kv = server.kv().await;
    let drawn = leases.lease_grant(LeaseGrantRequest { id: 0, ttl: 0 }).await.unwrap().into_inner();
    assert!(drawn.id > 0);
    assert_eq!(drawn.ttl, 2, "raised to the least");
    leases.lease_grant(LeaseGrantRequest { id: -7, ttl: 100 }).await.unwrap();
    let again = leases.lease_grant(LeaseGrantRequest { id: -7, ttl: 100 }).await;
    assert_eq!(refusal(again), etcd_error(Code::FailedPrecondition, "lease already exists"));
    let long = leases.lease_grant(LeaseGrantRequest { id: 8, ttl: 9_000_000_001 }).await;
    assert_eq!(refusal(long), etcd_error(Code::OutOfRange, "too large lease TTL"));

    kv.put(PutRequest { lease: -7, ..put("a", "1") }).await.unwrap();
    let asked = LeaseTimeToLiveRequest { id: -7, keys: true };
    let told = leases.lease_time_to_live(asked).await.unwrap().into_inner();
    assert_eq!((told.ttl, told.granted_ttl, told.keys), (100, 100, vec!["a".into()]));
    let unknown = LeaseTimeToLiveRequest { id: 99, keys: true };
    assert_eq!(leases.lease_time_to_live(unknown).await.unwrap().into_inner().ttl, -1);
    let listed = leases.lease_leases(LeaseLeasesRequest {}).await.unwrap().into_inner().leases;
    assert_eq!(listed.iter().map(|lease| lease.id).collect::<Vec<_>>(), [-7, drawn.id]);

    let renewals = [-7, 99, drawn.id].map(|id| LeaseKeepAliveRequest { id });
    let mut kept = leases.lease_keep_alive(tokio_stream::iter(renewals)).await.unwrap().into_inner();
    let mut answers = Vec::new();
    while let Some(answer) = kept.message().await.unwrap() {
        answers.push((answer.id, answer.ttl));
    }
    assert_eq!(answers, [(-7, 100), (99, 0), (drawn.id, 2)], "in order; an unknown lease is no error");

    let revoked = leases.lease_revoke(LeaseRevokeRequest { id: -7 }).await.unwrap().into_inner();
    assert_eq!(revoked.header.unwrap().revision, 3);
    assert_eq!(kv.range(get("a")).await.unwrap().into_inner().count, 0);
    let gone = leases.lease_revoke(LeaseRevokeRequest { id: -7 }).await;
    assert_eq!(refusal(gone), etcd_error(Code::NotFound, "requested lease not found"));
}

#[tokio::test]
async fn alarms_stop_growth_and_stand_in_status_and_list() {
    let server = Server::start().await;
    let mut maintenance = MaintenanceClient::new(server.channel().await);
    let mut kv = server.kv().await;
    let request = |action: AlarmAction, alarm: AlarmType| AlarmRequest {
        action: action.into(),
        member_id: MEMBER_ID,
        alarm: alarm.into(),
    };
    let raised = vec![AlarmMember { member_id: MEMBER_ID, alarm: AlarmType::Nospace.into() }];
    let activate = request(AlarmAction::Activate, AlarmType::Nospace);
    assert_eq!(maintenance.alarm(activate).await.unwrap().into_inner().alarms, raised);
    assert_eq!(
        refusal(kv.put(put("a", "1")).await),
        etcd_error(Code::ResourceExhausted, "mvcc: database space exceeded")
    );
    let status = maintenance.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.errors, [format!("memberID:{MEMBER_ID} alarm:NOSPACE ")]);
    for (kind, expected) in [(AlarmType::None, 1), (AlarmType::Nospace, 1), (AlarmType::Corrupt, 0)] {
        let listed = maintenance.alarm(request(AlarmAction::Get, kind)).await.unwrap().into_inner().alarms;
        assert_eq!(listed.len(), expected, "{kind:?}");
    }
    let deactivate = request(AlarmAction::Deactivate, AlarmType::Nospace);
    assert_eq!(maintenance.alarm(deactivate).await.unwrap().into_inner().alarms, raised);
    assert_eq!(maintenance.alarm(deactivate).await.unwrap().into_inner().alarms, []);
    let none = request(AlarmAction::Activate, AlarmType::None);
    assert_eq!(maintenance.alarm(none).await.unwrap().into_inner().alarms, []);
    kv.put(put("a", "1")).await.unwrap();
    let unknown = maintenance.alarm(AlarmRequest { action: 77, ..AlarmRequest::default() }).await;
    assert_eq!(refusal(unknown), etcd_error(Code::InvalidArgument, "unknown alarm action 77"));
}

#[tokio::test]
async fn hashes_change_with_the_data_and_compaction_can_be_waited_for() {
    let server = Server::start().await;
    let mut maintenance = MaintenanceClient::new(server.channel().await);
    let mut kv = server.kv().await;
    for value in ["1", "2", "3"] {
        kv.put(put("a", value)).await.unwrap();
    }
    let at = |revision| HashKvRequest { revision };
    let newest = maintenance.hash_kv(at(0)).await.unwrap().into_inner();
    let older = maintenance.hash_kv(at(3)).await.unwrap().into_inner();
    assert_ne!(newest.hash, older.hash);
    assert_eq!((newest.compact_revision, newest.hash_revision), (-1, 4));
    let future = maintenance.hash_kv(at(99)).await;
    assert_eq!(refusal(future), etcd_error(Code::OutOfRange, "mvcc: required revision is a future revision"));
    let compacted = kv.compact(CompactionRequest { revision: 3, physical: true }).await.unwrap().into_inner();
    assert_eq!(compacted.header.unwrap().revision, 4);
    let gone = kv.range(RangeRequest { revision: 2, ..get("a") }).await;
    assert_eq!(refusal(gone), etcd_error(Code::OutOfRange, "mvcc: required revision has been compacted"));
}

#[tokio::test]
async fn a_snapshot_comes_in_blobs_with_its_digest_at_the_end() {
    let server = Server::start().await;
    *server.backend.backup.lock().unwrap() = vec![7; 100_000];
    let mut maintenance = MaintenanceClient::new(server.channel().await);
    let mut blobs = maintenance.snapshot(SnapshotRequest {}).await.unwrap().into_inner();
    let (mut lengths, mut remaining) = (Vec::new(), u64::MAX);
    while let Some(answer) = blobs.message().await.unwrap() {
        assert!(answer.remaining_bytes <= remaining);
        remaining = answer.remaining_bytes;
        lengths.push(answer.blob.len());
    }
    assert_eq!((lengths.pop(), remaining), (Some(32), 0));
    assert_eq!(lengths.iter().sum::<usize>() % 512, 0);
    assert!(lengths.iter().all(|length| *length <= 32 * 1024));
}

#[tokio::test]
async fn a_transaction_answers_each_operation_in_order() {
    let server = Server::start_with(ServerConfig { max_txn_ops: 3, ..ServerConfig::default() }).await;
    let mut kv = server.kv().await;
    let op = |request| RequestOp { request: Some(request) };
    let nested = TxnRequest { success: vec![op(request_op::Request::RequestRange(get("a")))], ..TxnRequest::default() };
    let txn = TxnRequest {
        success: vec![op(request_op::Request::RequestPut(put("a", "1"))), op(request_op::Request::RequestTxn(nested))],
        ..TxnRequest::default()
    };
    let answer = kv.txn(txn.clone()).await.unwrap().into_inner();
    assert!(answer.succeeded);
    assert_eq!(answer.header.unwrap().revision, 2);
    let Some(response_op::Response::ResponseTxn(nested)) = &answer.responses[1].response else {
        panic!("a transaction answers a transaction")
    };
    assert_eq!(nested.header, Some(Default::default()), "there, and empty");
    let too_many = TxnRequest { success: vec![txn.success[0].clone(); 4], ..TxnRequest::default() };
    assert_eq!(
        refusal(kv.txn(too_many).await),
        etcd_error(Code::InvalidArgument, "too many operations in txn request")
    );
    let empty = TxnRequest { success: vec![RequestOp { request: None }], ..TxnRequest::default() };
    assert_eq!(refusal(kv.txn(empty).await), etcd_error(Code::InvalidArgument, "key not found"));
}

#[tokio::test]
async fn a_range_stream_is_one_range_in_chunks_of_one_revision() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    for number in 0..200 {
        kv.put(put(&format!("k{number:03}"), "v")).await.unwrap();
    }
    let whole = kv.range(RangeRequest { limit: 150, ..get_from("k") }).await.unwrap().into_inner();
    let request = RangeRequest { limit: 150, ..get_from("k") };
    let mut chunks = kv.range_stream(request).await.unwrap().into_inner();
    let mut pairs = Vec::new();
    let mut last = None;
    let mut count = 0;
    while let Some(chunk) = chunks.message().await.unwrap() {
        let chunk = chunk.range_response.unwrap();
        pairs.extend(chunk.kvs.clone());
        kv.put(put("k000", "later")).await.unwrap();
        last = Some(chunk);
        count += 1;
    }
    let last = last.unwrap();
    assert!(count > 1);
    assert_eq!(pairs, whole.kvs);
    assert_eq!((last.count, last.more, last.header), (200, true, whole.header));
    let sorted = RangeRequest { sort_order: 2, ..get_from("k") };
    assert_eq!(refusal(kv.range_stream(sorted).await).0, Code::Unimplemented);
}
