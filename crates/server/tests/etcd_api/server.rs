//! One front under test, and its clients.

use std::net::SocketAddr;
use std::sync::Arc;

use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::{PutRequest, RangeRequest};
use quorate_server::{ServeError, ServerConfig, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::keyspace_backend::KeyspaceBackend;

pub struct Server {
    pub backend: Arc<KeyspaceBackend>,
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(ServerConfig::default()).await
    }

    pub async fn start_with(config: ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let backend = KeyspaceBackend::start(&config);
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let ended = tokio::spawn(serve(vec![listener], Arc::clone(&backend), config, shutdown));
        Self { backend, address, stop, ended }
    }

    pub async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub async fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel().await).max_encoding_message_size(usize::MAX)
    }

    /// Asks the front to stop; the handle completes when it has.
    pub fn stop(self) -> JoinHandle<Result<(), ServeError>> {
        self.stop.send(()).expect("the front runs until told to stop");
        self.ended
    }
}

pub fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..PutRequest::default() }
}

pub fn get(key: &str) -> RangeRequest {
    RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() }
}

/// Every key from `key` on.
pub fn get_from(key: &str) -> RangeRequest {
    RangeRequest { range_end: vec![0].into(), ..get(key) }
}

/// Code and text of a refusal.
#[track_caller]
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.expect_err("must be refused");
    (status.code(), status.message().to_owned())
}

pub fn etcd_error(code: Code, text: &str) -> (Code, String) {
    (code, format!("etcdserver: {text}"))
}
