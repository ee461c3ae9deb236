//! Sockets and connections: accepting, HTTP/1.1 and HTTP/2 side by side, and an orderly stop.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::{JoinError, JoinSet};

use crate::backend::Backend;
use crate::config::{ConfigError, ServerConfig};
use crate::dispatch::Dispatch;
use crate::front::Front;
use crate::http2::serve_http2;

/// How HTTP/2 by prior knowledge begins. No method of HTTP/1.1 does.
const HTTP2_BEGINNING: &[u8; 3] = b"PRI";
/// Pause before a client that has sent fewer bytes than these is looked at again.
const BEGINNING_RETRY_PAUSE: Duration = Duration::from_millis(5);
/// Pause after a failed accept, as when file descriptors have run out: trying again at once would only spin.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Why nothing was served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A setting makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no socket to listen on.
    #[error("no listener to serve")]
    NoListener,
}

/// Serves the etcd API on every listener until `shutdown` completes.
///
/// gRPC (HTTP/2 by prior knowledge) and HTTP/1.1 share each port. Once `shutdown` completes no connection is accepted any more;
/// requests in flight have [`ServerConfig::shutdown_grace_ms`] to end. Dropping the returned future closes all at once.
///
/// Runs on the caller's tokio runtime, `current_thread` or multi-thread; it needs I/O and time enabled there.
///
/// # Errors
/// Only before anything is served: [`ServeError::NoListener`], or [`ServeError::Config`] for a setting that is 0.
/// A failing connection or accept is logged and the others go on.
pub async fn serve<B: Backend>(
    listeners: Vec<TcpListener>,
    backend: Arc<B>,
    config: ServerConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    config.check()?;
    if listeners.is_empty() {
        return Err(ServeError::NoListener);
    }
    let (stop, stopping) = watch::channel(false);
    let (tell_leaderless, leaderless) = watch::channel(false);
    let front = Arc::new(Front::new(backend, config, stopping, leaderless));
    let dispatch = Arc::new(Dispatch::new(Arc::clone(&front)));
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        acceptors.spawn(serve_listener(listener, Arc::clone(&front), Arc::clone(&dispatch)));
    }
    tokio::select! {
        () = shutdown => {}
        () = front.look_for_leader(tell_leaderless) => {}
    }
    stop.send_replace(true);
    while let Some(ended) = acceptors.join_next().await {
        log_panic(ended);
    }
    Ok(())
}

async fn serve_listener<B: Backend>(listener: TcpListener, front: Arc<Front<B>>, dispatch: Arc<Dispatch<B>>) {
    let mut connections = JoinSet::new();
    let mut stopping = front.stopping.clone();
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => break,
            Some(ended) = connections.join_next() => log_panic(ended),
            (stream, slot) = next_connection(&listener, &front) => {
                front.counts.connections_accepted.fetch_add(1, Ordering::Relaxed);
                let connection = Connection { stream, slot, front: Arc::clone(&front), dispatch: Arc::clone(&dispatch) };
                connections.spawn(connection.serve());
            }
        }
    }
    drop(listener);
    let grace = Duration::from_millis(front.config.shutdown_grace_ms);
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(ended);
        }
    };
    if tokio::time::timeout(grace, all_ended).await.is_err() {
        tracing::warn!(connections = connections.len(), "cutting off connections still busy at shutdown");
    }
}

/// Takes a slot first, so that connections above the limit stay in the listen queue.
async fn next_connection<B: Backend>(listener: &TcpListener, front: &Front<B>) -> (TcpStream, OwnedSemaphorePermit) {
    let slot = Arc::clone(&front.connection_slots).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => return (stream, slot),
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
            }
        }
    }
}

/// Ends when the front begins to stop, or is gone.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender was dropped with `serve` itself: a stop as well.
    let _stopped_or_gone = stopping.wait_for(|stopping| *stopping).await;
}

struct Connection<B> {
    stream: TcpStream,
    /// Held for as long as the connection lives.
    slot: OwnedSemaphorePermit,
    front: Arc<Front<B>>,
    dispatch: Arc<Dispatch<B>>,
}

impl<B: Backend> Connection<B> {
    async fn serve(self) {
        let Self { stream, slot: _slot, front, dispatch } = self;
        let mut stopping = front.stopping.clone();
        let first_bytes_timeout = Duration::from_millis(front.config.first_byte_timeout_ms);
        let begun = tokio::select! {
            () = stopped(&mut stopping) => return,
            begun = tokio::time::timeout(first_bytes_timeout, begin(&stream)) => begun,
        };
        let ended = match begun {
            Ok(Ok(Version::Http2)) => serve_http2(stream, dispatch, stopping).await.map_err(|error| error.to_string()),
            Ok(Ok(Version::Http1)) => serve_http1(stream, dispatch, stopping).await.map_err(|error| error.to_string()),
            Ok(Err(error)) => Err(format!("before its first request: {error}")),
            Err(_elapsed) => Err("it said nothing".to_owned()),
        };
        if let Err(error) = ended {
            tracing::debug!(error, "connection ended");
        }
    }
}

enum Version {
    Http1,
    Http2,
}

/// Waits until a client has said enough to know what it speaks. A connection that says nothing would otherwise hold its slot
/// for ever.
async fn begin(stream: &TcpStream) -> io::Result<Version> {
    stream.set_nodelay(true)?;
    let mut beginning = [0; HTTP2_BEGINNING.len()];
    loop {
        let length = stream.peek(&mut beginning).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !HTTP2_BEGINNING.starts_with(&beginning[..length]) {
            return Ok(Version::Http1);
        }
        if length == HTTP2_BEGINNING.len() {
            return Ok(Version::Http2);
        }
        // The socket stays readable as long as these bytes are in it.
        tokio::time::sleep(BEGINNING_RETRY_PAUSE).await;
    }
}

async fn serve_http1<B: Backend>(
    stream: TcpStream,
    dispatch: Arc<Dispatch<B>>,
    mut stopping: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let dispatch = Arc::clone(&dispatch);
        async move { Ok::<_, Infallible>(dispatch.answer(request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    let mut connection = pin!(builder.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stopped(&mut stopping) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}
