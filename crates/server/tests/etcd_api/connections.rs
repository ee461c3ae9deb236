//! HTTP/2 as clients may speak it: in pieces, with small windows, slowly, or not at all.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use hyper::{HeaderMap, Request};
use prost::Message;
use quorate_server::ServerConfig;
use quorate_server::proto::etcdserverpb::{PutRequest, RangeRequest, RangeResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Server, get};

/// The preface and settings with nothing in them.
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SETTINGS: u8 = 4;

async fn connect(server: &Server, window_bytes: u32) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (sender, connection) = builder.initial_window_size(window_bytes).handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

/// Sends a message in these pieces; answers the message and the trailers that come back.
async fn call(
    client: &mut SendRequest<Bytes>,
    method: &str,
    message: &impl Message,
    piece_bytes: usize,
) -> (Bytes, HeaderMap) {
    let message = message.encode_to_vec();
    let framed = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat();
    let request =
        Request::post(format!("http://test/etcdserverpb.KV/{method}")).header("content-type", "application/grpc");
    let (response, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
    for piece in framed.chunks(piece_bytes) {
        body.send_data(Bytes::copy_from_slice(piece), false).unwrap();
        tokio::task::yield_now().await;
    }
    body.send_data(Bytes::new(), true).unwrap();
    let mut answer = response.await.unwrap().into_body();
    let mut received = BytesMut::new();
    while let Some(data) = answer.data().await {
        let data = data.unwrap();
        answer.flow_control().release_capacity(data.len()).unwrap();
        received.extend_from_slice(&data);
    }
    (received.freeze().slice(5..), answer.trailers().await.unwrap().unwrap())
}

#[tokio::test]
async fn http2_is_known_though_its_beginning_comes_in_pieces() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in [&BEGINNING[..1], &BEGINNING[1..2], &BEGINNING[2..]] {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], SETTINGS);
}

#[tokio::test]
async fn a_request_in_many_pieces_is_one_request() {
    let server = Server::start().await;
    let mut client = connect(&server, 65_535).await;
    for piece_bytes in [1, 4, 5, 6, 333] {
        let value = vec![b'v'; 1_000 + piece_bytes];
        let put = PutRequest { key: "a".into(), value: value.clone().into(), ..PutRequest::default() };
        let (_, trailers) = call(&mut client, "Put", &put, piece_bytes).await;
        assert_eq!(trailers["grpc-status"], "0");
        let found = server.kv().await.range(get("a")).await.unwrap().into_inner();
        assert_eq!(found.kvs[0].value, value, "in pieces of {piece_bytes}");
    }
}

#[tokio::test]
async fn an_answer_longer_than_the_clients_window_arrives_whole() {
    let server = Server::start().await;
    let mut client = connect(&server, 1_000).await;
    let value = vec![b'v'; 200_000];
    let put = PutRequest { key: "a".into(), value: value.clone().into(), ..PutRequest::default() };
    call(&mut client, "Put", &put, 16_384).await;
    let range = RangeRequest { key: "a".into(), ..RangeRequest::default() };
    let (answer, trailers) = call(&mut client, "Range", &range, 100).await;
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(RangeResponse::decode(answer).unwrap().kvs[0].value, value);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_cut_off_and_others_stay() {
    let config = ServerConfig { keepalive_interval_ms: 50, keepalive_timeout_ms: 100, ..ServerConfig::default() };
    let server = Server::start_with(config).await;
    let mut lively = server.kv().await;
    lively.range(get("a")).await.unwrap();
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    silent.write_all(BEGINNING).await.unwrap();
    let mut said = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), silent.read_to_end(&mut said)).await;
    assert!(ended.is_ok(), "the connection is not closed");
    lively.range(get("a")).await.expect("a client that answers pings stays connected");
}
