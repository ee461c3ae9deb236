//! An HTTP/2 connection. The store's four hot methods are answered by the connection's own task, without a task or a
//! service of their own; every other request gets a task and goes to its service.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::server::{Builder, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::backend::Backend;
use crate::config::ServerConfig;
use crate::dispatch::Dispatch;
use crate::hot_method::HotMethod;
use crate::listen::stopped;

/// Bytes a client may send ahead on one stream: a value of usual size fits without waiting for a window update.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes a client may send ahead on one connection, all its streams together.
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Streams a client may open and reset before we have looked at them. A client that gives up on its requests in bulk
/// does that honestly; far more is an attack (CVE-2023-44487).
const PENDING_RESET_STREAMS: usize = 1_024;
/// Streams that this side has reset for a client's faults before the connection is closed for them.
const LOCAL_RESET_STREAMS: usize = 1_024;
/// Bytes of a request's headers.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of answers that wait for the socket, of each stream.
const SEND_BUFFER_BYTES: usize = 400 * 1024;

/// A frame of the greatest usual size and its header reach the socket as one.
const WRITE_BYTES: usize = 20 * 1024;

/// Serves one connection to its end. Once `stopping` turns true no stream is taken any more, and those there are may end.
///
/// # Errors
/// Whatever ended the connection that was not its orderly end.
pub(crate) async fn serve_http2<B: Backend>(
    stream: TcpStream,
    dispatch: Arc<Dispatch<B>>,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), h2::Error> {
    let socket = Unvectored(BufWriter::with_capacity(WRITE_BYTES, stream));
    let mut connection = builder(&dispatch.front.config).handshake::<_, Bytes>(socket).await?;
    let mut keep_alive = KeepAlive::new(connection.ping_pong(), &dispatch.front.config);
    let mut hot = FuturesUnordered::new();
    let mut is_stopping = false;
    loop {
        tokio::select! {
            // Answers first: then those of a whole batch leave with one write, when the connection is looked at next.
            biased;
            Some(()) = hot.next() => {}
            accepted = connection.accept() => {
                let Some(accepted) = accepted else { return Ok(()) };
                let (request, respond) = accepted?;
                keep_alive.heard = true;
                match HotMethod::of(&request) {
                    Some(method) => hot.push(method.answer(Arc::clone(&dispatch), request, respond)),
                    None => drop(tokio::spawn(answer(Arc::clone(&dispatch), request, respond))),
                }
            }
            () = poll_fn(|context| keep_alive.poll_dead(context)) => {
                tracing::debug!("closing a connection that answers no ping");
                connection.abrupt_shutdown(Reason::NO_ERROR);
            }
            () = stopped(&mut stopping), if !is_stopping => {
                is_stopping = true;
                connection.graceful_shutdown();
            }
        }
    }
}

fn builder(config: &ServerConfig) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(config.max_concurrent_streams)
        .max_pending_accept_reset_streams(PENDING_RESET_STREAMS)
        .max_local_error_reset_streams(Some(LOCAL_RESET_STREAMS))
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_send_buffer_size(SEND_BUFFER_BYTES);
    builder
}

/// A socket that does not offer to write several pieces at once. To one that does, h2 hands every piece of data of 256 bytes
/// or more by itself, which costs a system call for each answer; else it gathers those below 1 KiB.
struct Unvectored(BufWriter<TcpStream>);

impl AsyncRead for Unvectored {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Unvectored {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Answers a request by its service.
async fn answer<B: Backend>(
    dispatch: Arc<Dispatch<B>>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let response = tokio::select! {
        response = dispatch.answer(request.map(ReceivedBody)) => response,
        // The client has given up.
        _ = poll_fn(|context| respond.poll_reset(context)) => return,
    };
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    let is_all = body.is_end_stream();
    // It fails if the client has gone away meanwhile: then nobody is left to be told.
    match respond.send_response(Response::from_parts(head, ()), is_all) {
        Ok(stream) if !is_all => drop(send_body(body, stream).await),
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "an answer could not be sent"),
    }
}

/// Sends a body at the pace at which the client takes it: the next piece is not made before there is room for it.
async fn send_body(body: impl Body<Data = Bytes>, mut stream: SendStream<Bytes>) -> Result<(), h2::Error> {
    let mut body = pin!(body);
    loop {
        stream.reserve_capacity(1);
        let next = poll_fn(|context| {
            if stream.poll_reset(context)?.is_ready() {
                return Poll::Ready(Ok::<_, h2::Error>(None));
            }
            while stream.capacity() == 0 {
                match std::task::ready!(stream.poll_capacity(context)) {
                    Some(more) => more?,
                    None => return Poll::Ready(Ok(None)),
                };
            }
            body.as_mut().poll_frame(context).map(|frame| Ok(Some(frame)))
        });
        let Some(frame) = next.await? else { return Ok(()) };
        let Some(Ok(frame)) = frame else {
            if frame.is_some() {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            return stream.send_data(Bytes::new(), true);
        };
        match frame.into_data() {
            Ok(data) => {
                let is_last = body.is_end_stream();
                stream.send_data(data, is_last)?;
                if is_last {
                    return Ok(());
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return stream.send_trailers(trailers);
                }
            }
        }
    }
}

/// A request's body. What is taken of it, the client may send again.
struct ReceivedBody(RecvStream);

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(data) = std::task::ready!(self.0.poll_data(context)) {
            return Poll::Ready(Some(data.and_then(|data| {
                self.0.flow_control().release_capacity(data.len())?;
                Ok(Frame::data(data))
            })));
        }
        self.0.poll_trailers(context).map(|trailers| trailers.map(|found| found.map(Frame::trailers)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Asks a silent client now and then whether it is still there.
struct KeepAlive {
    /// Nobody else may take it from the connection; so it is there.
    ping_pong: Option<PingPong>,
    timer: Pin<Box<Sleep>>,
    interval: Duration,
    timeout: Duration,
    /// A request came since the timer was set.
    heard: bool,
    /// A ping is under way.
    asked: bool,
}

impl KeepAlive {
    fn new(ping_pong: Option<PingPong>, config: &ServerConfig) -> KeepAlive {
        let interval = Duration::from_millis(config.keepalive_interval_ms);
        let timeout = Duration::from_millis(config.keepalive_timeout_ms);
        let timer = Box::pin(tokio::time::sleep(interval));
        KeepAlive { ping_pong, timer, interval, timeout, heard: false, asked: false }
    }

    /// Ready when the client has not answered in time; then not polled again to any use.
    fn poll_dead(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(ping_pong) = &mut self.ping_pong else { return Poll::Pending };
        loop {
            if self.asked && ping_pong.poll_pong(context).is_ready() {
                self.asked = false;
                self.timer.as_mut().reset(Instant::now() + self.interval);
            }
            std::task::ready!(self.timer.as_mut().poll(context));
            if self.asked {
                self.ping_pong = None;
                return Poll::Ready(());
            }
            // An error means that the connection ends, which whoever serves it is told.
            self.asked = !self.heard && ping_pong.send_ping(Ping::opaque()).is_ok();
            self.heard = false;
            let wait = if self.asked { self.timeout } else { self.interval };
            self.timer.as_mut().reset(Instant::now() + wait);
        }
    }
}
