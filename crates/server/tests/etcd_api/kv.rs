//! The KV service: answers, headers and refusals.

use std::sync::atomic::Ordering;

use quorate_keyspace::KeyspaceError;
use quorate_server::BackendError;
use quorate_server::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate_server::proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, ResponseHeader};
use tonic::{Code, Request};

use crate::keyspace_backend::{CLUSTER_ID, MEMBER_ID, TERM};
use crate::server::{Server, etcd_error, get, get_from, put, refusal};

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { cluster_id: CLUSTER_ID, member_id: MEMBER_ID, revision, raft_term: TERM })
}

#[tokio::test]
async fn a_put_is_read_back_with_its_revisions() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    let first = kv.put(put("color", "red")).await.unwrap().into_inner();
    assert_eq!((first.header, first.prev_kv), (header(2), None));
    let second = kv.put(PutRequest { prev_kv: true, ..put("color", "blue") }).await.unwrap().into_inner();
    assert_eq!(second.header, header(3));
    assert_eq!(second.prev_kv.unwrap().value, "red");

    let answer = kv.range(get("color")).await.unwrap().into_inner();
    assert_eq!((answer.header, answer.count, answer.more), (header(3), 1, false));
    let pair = &answer.kvs[0];
    assert_eq!((pair.key.as_ref(), pair.value.as_ref()), (&b"color"[..], &b"blue"[..]));
    assert_eq!((pair.create_revision, pair.mod_revision, pair.version, pair.lease), (2, 3, 2, 0));
}

#[tokio::test]
async fn a_delete_answers_how_many_and_what() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    for key in ["a", "b", "c"] {
        kv.put(put(key, key)).await.unwrap();
    }
    let delete = DeleteRangeRequest { key: "a".into(), range_end: "c".into(), prev_kv: true };
    let answer = kv.delete_range(delete.clone()).await.unwrap().into_inner();
    assert_eq!((answer.header, answer.deleted), (header(5), 2));
    assert_eq!(answer.prev_kvs.iter().map(|pair| pair.value.clone()).collect::<Vec<_>>(), ["a", "b"]);

    let nothing = kv.delete_range(delete).await.unwrap().into_inner();
    assert_eq!((nothing.header, nothing.deleted, nothing.prev_kvs.len()), (header(5), 0, 0));
}

#[tokio::test]
async fn every_range_option_reaches_the_store() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    for (key, value) in [("a", "3"), ("b", "1"), ("c", "2"), ("a", "0")] {
        kv.put(put(key, value)).await.unwrap();
    }
    let by = |order: SortOrder, target: SortTarget| RangeRequest {
        sort_order: order.into(),
        sort_target: target.into(),
        ..get_from("a")
    };
    let table = [
        ("natural order", get_from("a"), "abc"),
        ("descending keys", by(SortOrder::Descend, SortTarget::Key), "cba"),
        ("a target alone sorts ascending", by(SortOrder::None, SortTarget::Value), "abc"),
        ("descending values", by(SortOrder::Descend, SortTarget::Value), "cba"),
        ("ascending versions", by(SortOrder::Ascend, SortTarget::Version), "bca"),
        ("ascending creation", by(SortOrder::Ascend, SortTarget::Create), "abc"),
        ("descending change", by(SortOrder::Descend, SortTarget::Mod), "acb"),
        ("limit after sort", RangeRequest { limit: 2, ..by(SortOrder::Descend, SortTarget::Mod) }, "ac"),
        ("a negative limit is none", RangeRequest { limit: -1, ..get_from("a") }, "abc"),
        ("a negative revision is now", RangeRequest { revision: -1, ..get_from("a") }, "abc"),
        ("changed since", RangeRequest { min_mod_revision: 4, ..get_from("a") }, "ac"),
        ("changed until", RangeRequest { max_mod_revision: 3, ..get_from("a") }, "b"),
        ("created since", RangeRequest { min_create_revision: 3, ..get_from("a") }, "bc"),
        ("created until", RangeRequest { max_create_revision: 2, ..get_from("a") }, "a"),
        ("count only", RangeRequest { count_only: true, limit: 1, ..get_from("a") }, ""),
        ("an end below the key", RangeRequest { range_end: "a".into(), ..get("b") }, ""),
    ];
    for (what, request, expected) in table {
        let count = if request.range_end == "a" { 0 } else { 3 };
        let answer = kv.range(request).await.unwrap().into_inner();
        let keys: Vec<u8> = answer.kvs.iter().flat_map(|pair| pair.key.to_vec()).collect();
        assert_eq!((String::from_utf8(keys).unwrap().as_str(), answer.count), (expected, count), "{what}");
    }
    let keys_only = kv.range(RangeRequest { keys_only: true, ..get("a") }).await.unwrap().into_inner();
    assert_eq!((keys_only.kvs[0].value.len(), keys_only.kvs[0].version), (0, 2));
    let cut = kv.range(RangeRequest { limit: 2, ..get_from("a") }).await.unwrap().into_inner();
    assert!(cut.more);
}

#[tokio::test]
async fn bad_requests_are_refused_before_the_store_sees_them() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    let invalid = |text| etcd_error(Code::InvalidArgument, text);

    assert_eq!(refusal(kv.range(get("")).await), invalid("key is not provided"));
    assert_eq!(refusal(kv.put(put("", "v")).await), invalid("key is not provided"));
    let no_key = DeleteRangeRequest { range_end: "z".into(), ..DeleteRangeRequest::default() };
    assert_eq!(refusal(kv.delete_range(no_key).await), invalid("key is not provided"));

    let bad_order = RangeRequest { sort_order: 3, ..get("a") };
    assert_eq!(refusal(kv.range(bad_order).await), invalid("invalid sort option"));
    let bad_target = RangeRequest { sort_target: -1, ..get("a") };
    assert_eq!(refusal(kv.range(bad_target).await), invalid("invalid sort option"));

    let value_and_ignore = PutRequest { ignore_value: true, ..put("a", "v") };
    assert_eq!(refusal(kv.put(value_and_ignore).await), invalid("value is provided"));
    let lease_and_ignore = PutRequest { ignore_lease: true, lease: 5, ..put("a", "v") };
    assert_eq!(refusal(kv.put(lease_and_ignore).await), invalid("lease is provided"));
    assert_eq!(server.backend.writes_begun.load(Ordering::SeqCst), 0);
    let leased = PutRequest { lease: 5, ..put("a", "v") };
    assert_eq!(refusal(kv.put(leased).await), etcd_error(Code::NotFound, "requested lease not found"));
}

#[tokio::test]
async fn keeping_a_value_or_lease_needs_a_key() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    let keep_value = PutRequest { ignore_value: true, ..put("a", "") };
    let keep_lease = PutRequest { ignore_lease: true, ..put("a", "v") };
    for request in [keep_value.clone(), keep_lease] {
        assert_eq!(refusal(kv.put(request).await), etcd_error(Code::InvalidArgument, "key not found"));
    }
    kv.put(put("a", "kept")).await.unwrap();
    kv.put(keep_value).await.unwrap();
    let pair = kv.range(get("a")).await.unwrap().into_inner().kvs.remove(0);
    assert_eq!((pair.value.as_ref(), pair.version), (&b"kept"[..], 2));
}

#[tokio::test]
async fn the_past_can_be_read_and_the_future_cannot() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    kv.put(put("a", "v")).await.unwrap();
    let before = RangeRequest { revision: 1, ..get("a") };
    assert_eq!(kv.range(before).await.unwrap().into_inner().count, 0, "the past is read as it was");
    let future = RangeRequest { revision: 99, ..get("a") };
    let expected = etcd_error(Code::OutOfRange, "mvcc: required revision is a future revision");
    assert_eq!(refusal(kv.range(future).await), expected);
}

#[tokio::test]
async fn errors_of_the_store_reach_the_client_with_code_and_text() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    for (error, expected) in [
        (
            BackendError::Refused(KeyspaceError::NoSpace),
            etcd_error(Code::ResourceExhausted, "mvcc: database space exceeded"),
        ),
        (BackendError::LeaderChanged, etcd_error(Code::Unavailable, "leader changed")),
        (BackendError::Refused(KeyspaceError::Corrupt), etcd_error(Code::DataLoss, "corrupt cluster")),
    ] {
        *server.backend.refuse_with.lock().unwrap() = Some(error);
        assert_eq!(refusal(kv.put(put("a", "v")).await), expected);
        assert_eq!(refusal(kv.range(get("a")).await), expected);
    }
}

#[tokio::test]
async fn require_leader_is_honoured() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    server.backend.leader_id.store(0, Ordering::SeqCst);
    let local = || Request::new(RangeRequest { serializable: true, ..get("a") });
    let with_metadata = |value: &'static str| {
        let mut request = local();
        request.metadata_mut().insert("hasleader", value.parse().unwrap());
        request
    };
    assert_eq!(refusal(kv.range(with_metadata("true")).await), etcd_error(Code::Unavailable, "no leader"));
    kv.range(with_metadata("false")).await.expect("only `true` asks for a leader");
    kv.range(local()).await.expect("a local read needs no leader");

    server.backend.leader_id.store(MEMBER_ID, Ordering::SeqCst);
    kv.range(with_metadata("true")).await.expect("there is a leader again");
}

#[tokio::test]
async fn a_learner_serves_local_reads_only() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    server.backend.is_learner.store(true, Ordering::SeqCst);
    let refused = etcd_error(Code::FailedPrecondition, "rpc not supported for learner");
    assert_eq!(refusal(kv.put(put("a", "v")).await), refused);
    assert_eq!(refusal(kv.range(get("a")).await), refused);
    kv.range(RangeRequest { serializable: true, ..get("a") }).await.expect("a local read is served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_on_a_multi_thread_runtime_lose_nothing() {
    let server = Server::start().await;
    let channel = server.kv().await;
    let writers = (0..64).map(|writer| {
        let mut kv = channel.clone();
        tokio::spawn(async move { kv.put(put(&format!("key/{writer:02}"), "v")).await.unwrap().into_inner() })
    });
    let mut revisions = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        revisions.push(writer.await.unwrap().header.unwrap().revision);
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (2..66).collect::<Vec<i64>>());
    let mut kv = channel;
    assert_eq!(kv.range(get_from("key/")).await.unwrap().into_inner().count, 64);
}
