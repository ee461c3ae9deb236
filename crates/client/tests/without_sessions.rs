//! Against servers that cannot help: etcd and others that know no sessions, and nobody at all.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use quorate_client::{CallError, Session, Settings};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers every call as a gRPC server does that does not know the service.
async fn server_without_sessions() -> SocketAddr {
    server_that_refuses("12", "unknown service quorate.v1.Session").await
}

/// Answers every call with this code and these words.
async fn server_that_refuses(code: &'static str, words: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let refusal = hyper::Response::builder()
                        .header("content-type", "application/grpc")
                        .header("grpc-status", code)
                        .header("grpc-message", words)
                        .body(())
                        .unwrap();
                    respond.send_response(refusal, true).unwrap();
                }
            });
        }
    });
    address
}

/// Opens every session that it is asked for, as a member does that knows no order: it passes over the wish, and says nothing of it.
async fn server_without_order() -> SocketAddr {
    // Not compressed, 22 bytes: a session of two numbers, and a window of 64.
    let opened = [&[0, 0, 0, 0, 22, 0x12, 18, 0x09][..], &[1; 8], &[0x11], &[2; 8], &[0x18, 64]].concat();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let head = hyper::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut body = respond.send_response(head, false).unwrap();
            body.send_data(opened.clone().into(), false).unwrap();
            body.send_trailers([("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect()).unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_knows_no_order_is_told_apart_where_order_is_wanted() {
    let settings = Settings::new([server_without_order().await.to_string()]).unwrap();
    assert_eq!(Session::open_in_order(settings).await.unwrap_err(), CallError::NoOrder);
    let settings = Settings::new([server_without_order().await.to_string()]).unwrap();
    assert_eq!(Session::open(settings).await.unwrap().id().nonce, 0x0202_0202_0202_0202);
}

#[tokio::test]
async fn a_server_that_knows_no_sessions_is_told_at_once_and_in_words() {
    let address = server_without_sessions().await;
    let error = Session::open(Settings::new([address.to_string()]).unwrap()).await.unwrap_err();
    assert_eq!(error, CallError::NoSessions { message: "unknown service quorate.v1.Session".to_owned() });
    assert!(error.to_string().starts_with("no server that was asked has sessions for exactly-once writes"), "{error}");
}

async fn within(patience: Duration, endpoints: &[SocketAddr]) -> CallError {
    let mut settings = Settings::new(endpoints.iter().map(ToString::to_string)).unwrap();
    settings.patience = Some(patience);
    Session::open(settings).await.unwrap_err()
}

async fn address_where_nobody_listens() -> SocketAddr {
    // Bound and let go: nobody else listens there now.
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_witness_alone_is_told_at_once_in_its_own_words() {
    let words = "etcdserver: this member is a witness: it votes and stores no data; ask another member";
    let witness = server_that_refuses("14", words).await;
    let begun = Instant::now();
    assert!(matches!(within(PATIENCE, &[witness]).await, CallError::Refused { message, .. } if message == words));
    let with_etcd = within(PATIENCE, &[witness, server_without_sessions().await]).await;
    assert!(matches!(with_etcd, CallError::NoSessions { .. }), "{with_etcd:?}");
    assert!(begun.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn a_refusal_for_good_is_final_also_where_the_first_that_was_asked_did_not_even_listen() {
    let refusing = server_that_refuses("3", "etcdserver: key is not provided").await;
    let begun = Instant::now();
    let error = within(PATIENCE, &[address_where_nobody_listens().await, refusing]).await;
    assert!(matches!(error, CallError::Refused { code: Code::InvalidArgument, .. }), "{error:?}");
    assert!(begun.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn where_nobody_listens_a_session_is_not_opened_and_the_patience_ends() {
    let begun = Instant::now();
    let error = within(Duration::from_millis(200), &[address_where_nobody_listens().await]).await;
    assert!(matches!(error, CallError::NotTaken { .. }), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(3));
}
