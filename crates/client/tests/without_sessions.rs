//! Against servers that cannot help: etcd and others that know no sessions, and nobody at all.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use quorate_client::{CallError, Session, Settings};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Answers every call as a gRPC server does that does not know the service.
async fn server_without_sessions() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let refusal = hyper::Response::builder()
                        .header("content-type", "application/grpc")
                        .header("grpc-status", "12")
                        .header("grpc-message", "unknown service quorate.v1.Session")
                        .body(())
                        .unwrap();
                    respond.send_response(refusal, true).unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_knows_no_sessions_is_told_at_once_and_in_words() {
    let address = server_without_sessions().await;
    let error = Session::open(Settings::new([address.to_string()]).unwrap()).await.unwrap_err();
    assert_eq!(error, CallError::NoSessions { message: "unknown service quorate.v1.Session".to_owned() });
    assert!(error.to_string().starts_with("this server has no sessions for exactly-once writes"), "{error}");
}

#[tokio::test]
async fn where_nobody_listens_a_session_is_not_opened_and_the_patience_ends() {
    // Bound and let go: nobody else listens there now.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut settings = Settings::new([address.to_string()]).unwrap();
    settings.patience = Some(Duration::from_millis(200));
    let begun = Instant::now();
    let error = Session::open(settings).await.unwrap_err();
    assert!(matches!(error, CallError::NotTaken { .. }), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(3));
}
