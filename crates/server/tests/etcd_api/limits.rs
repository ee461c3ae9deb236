//! Bounds: sizes, requests in flight, time, connections, metadata that is not text.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use prost::Message;
use quorate_server::proto::etcdserverpb::{DeleteRangeRequest, PutRequest};
use quorate_server::proto::grpc::health::v1::HealthCheckRequest;
use quorate_server::proto::grpc::health::v1::health_client::HealthClient;
use quorate_server::{ConfigError, ServeError, ServerConfig, serve};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use crate::keyspace_backend::KeyspaceBackend;
use crate::server::{Server, etcd_error, get, put, refusal};

const MAX_REQUEST_BYTES: usize = 1536 * 1024;

/// A put whose encoding has exactly this length.
fn put_of(encoded_bytes: usize) -> PutRequest {
    let mut request = put("big", "");
    request.value = vec![b'x'; encoded_bytes].into();
    let excess = request.encoded_len() - encoded_bytes;
    request.value = vec![b'x'; encoded_bytes - excess].into();
    assert_eq!(request.encoded_len(), encoded_bytes);
    request
}

#[tokio::test]
async fn the_largest_request_fits_and_one_byte_more_does_not() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    kv.put(put_of(MAX_REQUEST_BYTES)).await.expect("the limit itself is allowed");
    let too_large = etcd_error(Code::InvalidArgument, "request is too large");
    assert_eq!(refusal(kv.put(put_of(MAX_REQUEST_BYTES + 1)).await), too_large);
    let delete = DeleteRangeRequest { key: vec![b'k'; MAX_REQUEST_BYTES].into(), ..DeleteRangeRequest::default() };
    assert_eq!(refusal(kv.delete_range(delete).await), too_large);
    assert_eq!(server.backend.writes_begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn far_above_the_limit_the_transport_refuses_as_go_does() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    let transport_limit = MAX_REQUEST_BYTES + 512 * 1024;
    let found = transport_limit + 100;
    let (code, text) = refusal(kv.put(put_of(found)).await);
    assert_eq!(code, Code::ResourceExhausted);
    assert_eq!(text, format!("grpc: received message larger than max ({found} vs. {transport_limit})"));
    kv.put(put("a", "v")).await.expect("the connection stays usable");
}

#[tokio::test]
async fn one_request_too_many_is_refused_but_health_is_still_answered() {
    let config = ServerConfig { max_requests_in_flight: 1, ..ServerConfig::default() };
    let server = Server::start_with(config).await;
    let mut kv = server.kv().await;
    server.backend.stalled.store(true, Ordering::SeqCst);
    let mut waiting = kv.clone();
    let first = tokio::spawn(async move { waiting.put(put("a", "v")).await });
    while server.backend.writes_begun.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let too_many = etcd_error(Code::ResourceExhausted, "too many requests");
    assert_eq!(refusal(kv.range(get("a")).await), too_many);
    let mut health = HealthClient::new(server.channel().await);
    health.check(HealthCheckRequest::default()).await.expect("health is not counted");

    server.backend.write_permits.add_permits(1);
    first.await.unwrap().expect("the first request was never refused");
    kv.range(get("a")).await.expect("there is room again");
}

#[tokio::test]
async fn a_request_the_client_gave_up_on_frees_its_place() {
    let config = ServerConfig { max_requests_in_flight: 1, ..ServerConfig::default() };
    let server = Server::start_with(config).await;
    let mut kv = server.kv().await;
    server.backend.stalled.store(true, Ordering::SeqCst);
    let given_up = tokio::time::timeout(Duration::from_millis(50), kv.put(put("a", "v"))).await;
    assert!(given_up.is_err());
    assert_eq!(server.backend.writes_begun.load(Ordering::SeqCst), 1);
    let deadline = Instant::now() + Duration::from_secs(2);
    while kv.range(get("a")).await.is_err() {
        assert!(Instant::now() < deadline, "the place was never freed");
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_in_time_leaves_the_outcome_unknown() {
    let server = Server::start_with(ServerConfig { request_timeout_ms: 30, ..ServerConfig::default() }).await;
    server.backend.stalled.store(true, Ordering::SeqCst);
    let mut kv = server.kv().await;
    assert_eq!(refusal(kv.put(put("a", "v")).await), etcd_error(Code::Unavailable, "request timed out"));
}

#[tokio::test]
async fn a_client_version_that_is_not_text_is_refused() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    let mut request = tonic::Request::new(get("a"));
    let not_text = tonic::codegen::http::HeaderValue::from_bytes(&[0xff, 0xfe]).unwrap();
    let mut headers = request.metadata().clone().into_headers();
    headers.insert("client-api-version", not_text);
    *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
    assert_eq!(refusal(kv.range(request).await), etcd_error(Code::InvalidArgument, "invalid client api version"));
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let server = Server::start_with(ServerConfig { first_byte_timeout_ms: 30, ..ServerConfig::default() }).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(2), silent.read(&mut [0; 1])).await;
    assert_eq!(read.expect("closed in time").unwrap(), 0);
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_a_place() {
    let server = Server::start_with(ServerConfig { max_connections: 1, ..ServerConfig::default() }).await;
    let mut first = server.kv().await;
    first.range(get("a")).await.unwrap();
    let mut second = server.kv().await;
    let waiting = tokio::time::timeout(Duration::from_millis(50), second.range(get("a"))).await;
    assert!(waiting.is_err(), "the second connection must wait");
    drop(first);
    let served = tokio::time::timeout(Duration::from_secs(2), second.range(get("a"))).await;
    served.expect("the place is free").unwrap();
}

#[tokio::test]
async fn nothing_is_served_without_listener_or_with_a_zero_limit() {
    let backend = KeyspaceBackend::start(&ServerConfig::default());
    let none = serve(Vec::new(), Arc::clone(&backend), ServerConfig::default(), async {}).await;
    assert!(matches!(none, Err(ServeError::NoListener)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = ServerConfig { max_request_bytes: 0, ..ServerConfig::default() };
    let zero = serve(vec![listener], backend, config, async {}).await;
    assert!(matches!(zero, Err(ServeError::Config(ConfigError::Zero("max_request_bytes")))));
}
