//! Sockets and connections: accepting, HTTP/1.1 and HTTP/2 side by side, and an orderly stop.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::{JoinError, JoinSet};

use crate::backend::Backend;
use crate::config::{ConfigError, ServerConfig};
use crate::dispatch::Dispatch;
use crate::front::Front;

/// Bytes a client may send ahead on one stream: a value of usual size fits without waiting for a window update.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes a client may send ahead on one connection, all its streams together.
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Streams a client may open and reset before we have looked at them. A client that gives up on its requests in bulk
/// does that honestly; far more is an attack (CVE-2023-44487).
const PENDING_RESET_STREAMS: usize = 1_024;
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
    let builder = Arc::new(connection_builder(&front.config));
    let mut connections = JoinSet::new();
    let mut stopping = front.stopping.clone();
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => break,
            Some(ended) = connections.join_next() => log_panic(ended),
            (stream, slot) = next_connection(&listener, &front) => {
                front.counts.connections_accepted.fetch_add(1, Ordering::Relaxed);
                let connection = Connection { stream, slot, front: Arc::clone(&front), dispatch: Arc::clone(&dispatch) };
                connections.spawn(connection.serve(Arc::clone(&builder)));
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

fn connection_builder(config: &ServerConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.max_concurrent_streams)
        .max_pending_accept_reset_streams(PENDING_RESET_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(Duration::from_millis(config.keepalive_interval_ms))
        .keep_alive_timeout(Duration::from_millis(config.keepalive_timeout_ms));
    builder
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
async fn stopped(stopping: &mut watch::Receiver<bool>) {
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
    async fn serve(self, builder: Arc<auto::Builder<TokioExecutor>>) {
        let Self { stream, slot: _slot, front, dispatch } = self;
        let mut stopping = front.stopping.clone();
        let first_byte_timeout = Duration::from_millis(front.config.first_byte_timeout_ms);
        let ready = tokio::select! {
            () = stopped(&mut stopping) => return,
            ready = prepare(&stream, first_byte_timeout) => ready,
        };
        if let Err(error) = ready {
            tracing::debug!(%error, "connection closed before its first request");
            return;
        }
        let service = service_fn(move |request| {
            let dispatch = Arc::clone(&dispatch);
            async move { Ok::<_, Infallible>(dispatch.answer(request).await) }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped(&mut stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "connection ended");
        }
    }
}

/// A connection that says nothing would otherwise hold its slot for ever: telling HTTP/1.1 from HTTP/2 has no time limit.
async fn prepare(stream: &TcpStream, first_byte_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tokio::time::timeout(first_byte_timeout, stream.peek(&mut [0])).await {
        Ok(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error),
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}
