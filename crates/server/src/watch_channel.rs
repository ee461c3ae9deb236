//! The clients' side of watches: streams with bounded queues, towards the [`crate::WatchDesk`] on the node's loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use quorate_watch::{CreateWatch, WatchResponse, WatchStats};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::config::WatchLimits;
use crate::errors::BackendError;

/// Requests of all streams that may wait for the loop; streams with more wait themselves.
const CALLS_WAITING_MAX: usize = 1024;

/// Names a stream before the loop has heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(u64);

/// What must not be lost nor wait. At most a few a stream are outstanding, so that the queue is bounded by the streams.
#[derive(Debug)]
pub(crate) enum Control {
    Open { token: Token, outlet: Outlet },
    RoomAgain(Token),
    Close(Token),
    Stats(oneshot::Sender<WatchStats>),
}

/// A client's request on a stream.
#[derive(Debug)]
pub(crate) enum Call {
    Create(CreateWatch),
    Cancel { watch_id: i64 },
    Progress,
}

/// What both sides know.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: WatchLimits,
    /// The loop should call the desk soon.
    pub(crate) wake: Notify,
    /// When the desk wants to be called even if nothing happens.
    pub(crate) next_due: watch::Sender<Option<Instant>>,
    /// Bytes that wait for clients, over all streams.
    pending_bytes: AtomicUsize,
    next_token: AtomicU64,
}

/// Where watches are taken to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WatchEntrance {
    shared: Arc<Shared>,
    control: mpsc::UnboundedSender<Control>,
    calls: mpsc::Sender<(Token, Call)>,
}

/// The desk's ends.
pub(crate) struct DeskEnds {
    pub(crate) shared: Arc<Shared>,
    pub(crate) control: mpsc::UnboundedReceiver<Control>,
    pub(crate) calls: mpsc::Receiver<(Token, Call)>,
}

pub(crate) fn entrance(limits: WatchLimits) -> (WatchEntrance, DeskEnds) {
    let shared = Arc::new(Shared {
        limits,
        wake: Notify::new(),
        next_due: watch::Sender::new(None),
        pending_bytes: AtomicUsize::new(0),
        next_token: AtomicU64::new(0),
    });
    let (control, control_end) = mpsc::unbounded_channel();
    let (calls, calls_end) = mpsc::channel(CALLS_WAITING_MAX);
    let ends = DeskEnds { shared: Arc::clone(&shared), control: control_end, calls: calls_end };
    (WatchEntrance { shared, control, calls }, ends)
}

impl WatchEntrance {
    /// A new stream without watchers. Dropping its [`WatchResponses`] frees everything on it.
    #[must_use]
    pub fn open(&self) -> (WatchRequests, WatchResponses) {
        let token = Token(self.shared.next_token.fetch_add(1, Ordering::Relaxed));
        let gauge = Arc::new(Gauge::default());
        let (sender, receiver) = mpsc::unbounded_channel();
        let outlet = Outlet { sender, gauge: Arc::clone(&gauge), shared: Arc::clone(&self.shared) };
        // A desk that is gone ends the stream: the outlet is dropped with the message.
        let _ = self.control.send(Control::Open { token, outlet });
        let requests = WatchRequests { token, entrance: self.clone(), gauge: Arc::clone(&gauge) };
        (requests, WatchResponses { token, entrance: self.clone(), gauge, receiver })
    }

    /// Resolves whenever the desk should be called: something is waiting for it, or its time has come. To be awaited by one
    /// task, which has the node's loop take a round then.
    pub async fn wanted(&self) {
        let mut next_due = self.shared.next_due.subscribe();
        loop {
            let due = *next_due.borrow_and_update();
            let its_time = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.shared.wake.notified() => return,
                () = its_time => return,
                // The sender lives in `self`: it cannot be gone.
                _ = next_due.changed() => {}
            }
        }
    }

    /// What the hub is busy with; `None` once the node has stopped.
    pub async fn stats(&self) -> Option<WatchStats> {
        let (reply, answer) = oneshot::channel();
        self.control.send(Control::Stats(reply)).ok()?;
        self.shared.wake.notify_one();
        answer.await.ok()
    }

    /// Bytes of responses that wait for clients, over all streams.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.shared.pending_bytes.load(Ordering::Relaxed)
    }

    fn tell(&self, control: Control) {
        // A desk that is gone has forgotten every stream.
        let _ = self.control.send(control);
        self.shared.wake.notify_one();
    }
}

/// How full one stream's queue is.
#[derive(Debug, Default)]
struct Gauge {
    pending_bytes: AtomicUsize,
    /// The desk found no room and wants to be told when there is some.
    starved: AtomicBool,
    /// Told whenever something was taken out.
    drained: Notify,
}

/// The desk's end of one stream's queue. It is bounded by the desk, which asks for room before it delivers events.
#[derive(Debug)]
pub(crate) struct Outlet {
    sender: mpsc::UnboundedSender<(usize, WatchResponse)>,
    gauge: Arc<Gauge>,
    shared: Arc<Shared>,
}

impl Outlet {
    /// Bytes that there is room for. A 0 is followed by a [`Control::RoomAgain`].
    pub(crate) fn room(&self) -> usize {
        let room = room(&self.gauge, &self.shared);
        if room > 0 {
            return room;
        }
        self.gauge.starved.store(true, Ordering::SeqCst);
        // What was taken out before that was seen would not be told.
        self::room(&self.gauge, &self.shared)
    }

    pub(crate) fn deliver(&self, response: WatchResponse) {
        let bytes = response.bytes();
        self.gauge.pending_bytes.fetch_add(bytes, Ordering::SeqCst);
        self.shared.pending_bytes.fetch_add(bytes, Ordering::SeqCst);
        if let Err(mpsc::error::SendError((bytes, _))) = self.sender.send((bytes, response)) {
            // Its client went away, and the desk is about to hear of it.
            self.shared.pending_bytes.fetch_sub(bytes, Ordering::SeqCst);
        }
    }
}

/// A stream with nothing pending always has some room, or those that fill the common room could keep it from ever getting any.
fn room(gauge: &Gauge, shared: &Shared) -> usize {
    let own = gauge.pending_bytes.load(Ordering::SeqCst);
    if own == 0 {
        return shared.limits.max_stream_pending_bytes;
    }
    let all = shared.pending_bytes.load(Ordering::SeqCst);
    let common = shared.limits.max_pending_bytes.saturating_sub(all);
    shared.limits.max_stream_pending_bytes.saturating_sub(own).min(common)
}

/// A stream's requests, in order.
#[derive(Debug)]
pub struct WatchRequests {
    token: Token,
    entrance: WatchEntrance,
    gauge: Arc<Gauge>,
}

impl WatchRequests {
    /// Asks for a watcher; answered on the stream.
    ///
    /// # Errors
    /// `ServerStopped`.
    pub async fn create(&self, watch: CreateWatch) -> Result<(), BackendError> {
        self.call(Call::Create(watch)).await
    }

    /// Ends a watcher; answered on the stream if there is one.
    ///
    /// # Errors
    /// `ServerStopped`.
    pub async fn cancel(&self, watch_id: i64) -> Result<(), BackendError> {
        self.call(Call::Cancel { watch_id }).await
    }

    /// Asks for the revision that all watchers of the stream have reached.
    ///
    /// # Errors
    /// `ServerStopped`.
    pub async fn progress(&self) -> Result<(), BackendError> {
        self.call(Call::Progress).await
    }

    /// Waits while the stream is full: answers come whatever the room, so who does not read may not ask either.
    async fn call(&self, call: Call) -> Result<(), BackendError> {
        loop {
            let drained = self.gauge.drained.notified();
            if self.gauge.pending_bytes.load(Ordering::SeqCst) < self.entrance.shared.limits.max_stream_pending_bytes {
                break;
            }
            drained.await;
        }
        let sent = self.entrance.calls.send((self.token, call)).await;
        sent.map_err(|_| BackendError::ServerStopped)?;
        self.entrance.shared.wake.notify_one();
        Ok(())
    }
}

/// A stream's responses, in order.
#[derive(Debug)]
pub struct WatchResponses {
    token: Token,
    entrance: WatchEntrance,
    gauge: Arc<Gauge>,
    receiver: mpsc::UnboundedReceiver<(usize, WatchResponse)>,
}

impl WatchResponses {
    /// The next response; `None` once the node has stopped.
    pub async fn next(&mut self) -> Option<WatchResponse> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`WatchResponses::next`].
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<WatchResponse>> {
        let taken = std::task::ready!(self.receiver.poll_recv(context));
        let Some((bytes, response)) = taken else { return Poll::Ready(None) };
        self.gauge.pending_bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.entrance.shared.pending_bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.gauge.drained.notify_one();
        if self.gauge.starved.load(Ordering::SeqCst) && self.has_room_worth_telling() {
            self.gauge.starved.store(false, Ordering::SeqCst);
            self.entrance.tell(Control::RoomAgain(self.token));
        }
        Poll::Ready(Some(response))
    }

    /// Half the queue at once, or a slow reader would have the desk look at it for every response.
    fn has_room_worth_telling(&self) -> bool {
        let shared = &self.entrance.shared;
        room(&self.gauge, shared) >= shared.limits.max_stream_pending_bytes.div_ceil(2)
            || self.gauge.pending_bytes.load(Ordering::SeqCst) == 0
    }
}

impl Drop for WatchResponses {
    fn drop(&mut self) {
        self.receiver.close();
        while let Ok((bytes, _)) = self.receiver.try_recv() {
            self.entrance.shared.pending_bytes.fetch_sub(bytes, Ordering::SeqCst);
        }
        self.entrance.tell(Control::Close(self.token));
    }
}
