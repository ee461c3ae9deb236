//! The HTTP endpoints, on the same port as gRPC.

use std::sync::atomic::Ordering;

use axum::body::Body;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use quorate_keyspace::{self as keyspace, Alarm, AlarmAction, AlarmKind, AlarmRequest, KeyspaceError};
use quorate_server::{Backend, BackendError, ETCD_VERSION, QUORATE_VERSION};
use serde_json::{Value, json};

use crate::server::{Server, get, put};

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn call_with(server: &Server, method: Method, path: &str, http2: bool, content_type: &str) -> Answer {
    let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http::<Body>();
    let uri = format!("http://{}{path}", server.address);
    let request = Request::builder().method(method).uri(uri).header("content-type", content_type);
    let response = client.request(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(Body::new(body), 1 << 20).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

async fn call(server: &Server, method: Method, path: &str) -> Answer {
    call_with(server, method, path, false, "application/json").await
}

async fn fetch(server: &Server, path: &str) -> Answer {
    call(server, Method::GET, path).await
}

#[tokio::test]
async fn version_names_etcd_and_us() {
    let server = Server::start().await;
    let expected = json!({"etcdserver": ETCD_VERSION, "etcdcluster": "3.5.0", "quorate": QUORATE_VERSION});
    let answer = fetch(&server, "/version").await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, expected.clone()));
    let over_http2 = call_with(&server, Method::GET, "/version", true, "application/json").await;
    assert_eq!((over_http2.status, over_http2.json()), (StatusCode::OK, expected));
}

#[tokio::test]
async fn grpc_and_http_share_the_port() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    kv.put(put("a", "v")).await.unwrap();
    assert_eq!(fetch(&server, "/health").await.status, StatusCode::OK);
    assert_eq!(kv.range(get("a")).await.unwrap().into_inner().count, 1);
}

#[tokio::test]
async fn health_reads_through_consensus_unless_told_otherwise() {
    let server = Server::start().await;
    let healthy = json!({"health": "true", "reason": ""});
    let answer = fetch(&server, "/health").await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, healthy.clone()));

    server.backend.leader_id.store(0, Ordering::SeqCst);
    let answer = fetch(&server, "/health").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json(), json!({"health": "false", "reason": "RAFT NO LEADER"}));
    let local = fetch(&server, "/health?serializable=true").await;
    assert_eq!((local.status, local.json()), (StatusCode::OK, healthy));

    *server.backend.refuse_with.lock().unwrap() = Some(BackendError::Refused(KeyspaceError::Corrupt));
    let local = fetch(&server, "/health?serializable=true").await;
    assert_eq!(local.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(local.json(), json!({"health": "false", "reason": "RANGE ERROR:etcdserver: corrupt cluster"}));
}

#[tokio::test]
async fn an_alarm_makes_unhealthy_unless_it_is_excluded() {
    let server = Server::start().await;
    let alarm = Alarm { kind: AlarmKind::NoSpace, member: 5 };
    let raise = keyspace::Request::Alarm(AlarmRequest { action: AlarmAction::Activate, alarm });
    server.backend.write(raise).await.unwrap();
    let answer = fetch(&server, "/health").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json(), json!({"health": "false", "reason": "ALARM NOSPACE"}));
    assert_eq!(fetch(&server, "/health?exclude=CORRUPT").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(fetch(&server, "/health?exclude=CORRUPT&exclude=NOSPACE").await.status, StatusCode::OK);
}

#[tokio::test]
async fn live_without_a_leader_but_not_ready() {
    let server = Server::start().await;
    let every_check =
        "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n";
    assert_eq!(fetch(&server, "/readyz").await.body, "ok\n");
    assert_eq!(fetch(&server, "/readyz?verbose").await.body, every_check);

    server.backend.leader_id.store(0, Ordering::SeqCst);
    let live = fetch(&server, "/livez?verbose").await;
    assert_eq!((live.status, live.body.as_str()), (StatusCode::OK, "[+]serializable_read ok\nok\n"));
    let ready = fetch(&server, "/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.body.contains("[-]linearizable_read failed: etcdserver: no leader\n"), "{}", ready.body);
    assert_eq!(fetch(&server, "/readyz?exclude=linearizable_read").await.status, StatusCode::OK);
    assert_eq!(fetch(&server, "/readyz/linearizable_read").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(fetch(&server, "/readyz/serializable_read").await.status, StatusCode::OK);
    assert_eq!(fetch(&server, "/livez/linearizable_read").await.status, StatusCode::NOT_FOUND);
}

/// Nobody is to send clients to it, and nobody to restart it.
#[tokio::test]
async fn a_witness_is_healthy_and_alive_and_not_ready() {
    let server = Server::start().await;
    server.backend.is_witness.store(true, Ordering::SeqCst);
    let ready = fetch(&server, "/readyz").await;
    assert!(ready.body.contains("[-]non_learner failed: etcdserver: this member is a witness"), "{}", ready.body);
    for well in ["/health", "/livez"] {
        assert_eq!(fetch(&server, well).await.status, 200, "{well}");
    }
    server.backend.leader_id.store(0, Ordering::SeqCst);
    assert_eq!(fetch(&server, "/health").await.status, 503);
}

#[tokio::test]
async fn a_learner_is_not_ready_and_a_corrupt_member_says_so() {
    let server = Server::start().await;
    server.backend.is_learner.store(true, Ordering::SeqCst);
    let learner = fetch(&server, "/readyz").await;
    assert!(
        learner.body.contains("[-]non_learner failed: etcdserver: rpc not supported for learner"),
        "{}",
        learner.body
    );
    *server.backend.refuse_with.lock().unwrap() = Some(BackendError::Refused(KeyspaceError::Corrupt));
    let corrupt = fetch(&server, "/readyz/data_corruption").await;
    assert_eq!(corrupt.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(corrupt.body, "[-]data_corruption failed: etcdserver: corrupt cluster\n");
}

#[tokio::test]
async fn an_exclusion_that_names_no_check_is_mentioned() {
    let server = Server::start().await;
    let answer = fetch(&server, "/livez?verbose&exclude=typo").await;
    let warning = "warn: some health checks cannot be excluded: no matches for \"typo\"\n";
    assert_eq!(answer.body, format!("[+]serializable_read ok\n{warning}ok\n"));
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    kv.put(put("a", "v")).await.unwrap();
    kv.put(put("", "v")).await.unwrap_err();
    fetch(&server, "/health").await;

    let answer = fetch(&server, "/metrics").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let put_labels = "grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"";
    for line in [
        "etcd_server_has_leader 1",
        "etcd_server_is_leader 1",
        "etcd_server_proposals_committed_total 42",
        "etcd_server_proposals_applied_total 41",
        "etcd_mvcc_db_total_size_in_bytes 20480",
        "etcd_debugging_mvcc_keys_total 1",
        "etcd_debugging_mvcc_watcher_total 0",
        "etcd_debugging_mvcc_current_revision 2",
        "etcd_server_health_success 1",
        "etcd_server_id{server_id=\"a1\"} 1",
        "etcd_cluster_version{cluster_version=\"3.5\"} 1",
        "quorate_backend_up 1",
        &format!("grpc_server_started_total{{{put_labels}}} 2"),
        &format!("grpc_server_handled_total{{grpc_code=\"OK\",{put_labels}}} 1"),
        &format!("grpc_server_handled_total{{grpc_code=\"InvalidArgument\",{put_labels}}} 1"),
    ] {
        assert!(answer.body.lines().any(|found| found == line), "{line} is missing from\n{}", answer.body);
    }
    assert!(!answer.body.contains("etcd_mvcc_delete_total"), "this backend does not count deletions");
}

#[tokio::test]
async fn metrics_survive_a_store_that_is_gone() {
    let server = Server::start().await;
    *server.backend.refuse_with.lock().unwrap() = Some(BackendError::ServerStopped);
    let answer = fetch(&server, "/metrics").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.contains("quorate_backend_up 0\n"));
    assert!(!answer.body.contains("etcd_server_has_leader"), "nothing is known about a leader");
}

#[tokio::test]
async fn only_get_and_only_known_paths() {
    let server = Server::start().await;
    for path in ["/version", "/health", "/livez", "/readyz", "/metrics"] {
        for method in [Method::POST, Method::HEAD, Method::DELETE] {
            let answer = call(&server, method, path).await;
            assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET"), "{path}");
        }
    }
    for path in ["/", "/nothing", "/v2/keys", "/health/"] {
        let answer = fetch(&server, path).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NOT_FOUND, "404 page not found\n"), "{path}");
    }
}

#[tokio::test]
async fn the_json_gateway_says_that_it_is_not_there_yet() {
    let server = Server::start().await;
    let answer = call(&server, Method::POST, "/v3/kv/range").await;
    let text = "etcdserver: the JSON gateway (/v3/kv/range) is not implemented in this version of quorate";
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(answer.json(), json!({"error": text, "code": 12, "message": text}));
    assert_eq!(fetch(&server, "/v3/kv/range").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn what_looks_like_grpc_but_is_not_gets_an_http_answer() {
    let server = Server::start().await;
    let path = "/etcdserverpb.KV/Range";
    let over_http1 = call_with(&server, Method::POST, path, false, "application/grpc").await;
    assert_eq!(over_http1.status, StatusCode::NOT_FOUND, "gRPC needs HTTP/2");
    let with_get = call_with(&server, Method::GET, path, true, "application/grpc").await;
    assert_eq!(with_get.status, StatusCode::METHOD_NOT_ALLOWED);
    let in_json = call_with(&server, Method::POST, path, true, "application/grpc+json").await;
    assert_eq!(in_json.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}
