//! Input that is no valid request: answered or cut off, never harmful to others.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Status};

use crate::server::{Server, get};

/// Posts bytes as the whole body of a gRPC request, and reads the status from headers or trailers.
async fn post_as_grpc(server: &Server, path: &str, body: Vec<u8>) -> Status {
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Body>();
    let uri = format!("http://{}{path}", server.address);
    let request = Request::post(uri).header("content-type", "application/grpc").body(Body::from(body)).unwrap();
    let response = client.request(request).await.unwrap();
    let (parts, mut body) = response.into_parts();
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        if let Ok(found) = frame.unwrap().into_trailers() {
            trailers = found;
        }
    }
    Status::from_header_map(&parts.headers).or_else(|| Status::from_header_map(&trailers)).expect("a gRPC status")
}

/// A gRPC frame: compression flag, length, message.
fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag][..], &length, message].concat()
}

#[tokio::test]
async fn a_body_that_is_no_grpc_message_is_refused() {
    let server = Server::start().await;
    let put = "/etcdserverpb.KV/Put";
    let truncated = [&[0, 0, 0, 0, 200][..], b"short"].concat();
    let table = [
        ("no frame at all", Vec::new(), Code::Internal),
        ("a frame cut short", truncated, Code::Internal),
        ("a length beyond all limits", vec![0, 255, 255, 255, 255], Code::ResourceExhausted),
        ("a field longer than its message", framed(0, &[0x0a, 0x7f, b'k']), Code::Internal),
        (
            "an endless varint",
            framed(0, &[0x18; 1].iter().chain(&[0xff; 11]).copied().collect::<Vec<_>>()),
            Code::Internal,
        ),
        ("an unknown compression flag", framed(9, &[]), Code::Internal),
        ("unknown fields are ignored, so the key is missing", framed(0, &[0xf8, 0x7f, 1]), Code::InvalidArgument),
    ];
    for (what, body, expected) in table {
        let status = post_as_grpc(&server, put, body).await;
        assert_eq!(status.code(), expected, "{what}: {}", status.message());
    }
    server.kv().await.range(get("a")).await.expect("others are served");
}

#[tokio::test]
async fn bytes_that_are_no_protocol_harm_nobody() {
    let server = Server::start().await;
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"PRI * HTTP/2.0\r\n\r\nnonsense\r\n\r\n", b"\r\n\r\n\0\0\0\0"]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the connection is not closed");
    }
    server.kv().await.range(get("a")).await.expect("others are served");
}
