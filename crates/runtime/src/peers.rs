//! Connections to the other members.
//!
//! Each node dials every other one and sends on the connection it dialled; what the others say comes in on theirs. Pieces of
//! snapshots go over a connection of their own, which is dialled when the first of them comes: a heartbeat must not wait behind
//! megabytes. A queue to a peer is bounded, and a message that finds it full is dropped: protocols live with loss, a node does not
//! live without memory.

use crate::acquaintance::Acquaintance;
use crate::complaints::Complaints;
use crate::hello::{HelloAnswer, HelloRefusal, RefusalEnd, judge};
use crate::introduction::{self, Introduction};
use crate::known_disks::KnownDisks;
use crate::node_loop::Internal;
use crate::own_starts::OwnStarts;
use crate::put_back;
use bytes::Bytes;
use quorate_node::{MemberFacts, NodeMessage};
use quorate_protocol::{LinkState, Replica};
use quorate_types::NodeId;
use quorate_wire::{
    FRAME_HEADER_BYTES, Hello, Wire, decode_exact, decode_frame_header, encode_frame, encode_to_bytes, verify_frame,
};
use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// No frame is longer: above the largest batch with room to spare.
const FRAME_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Messages waiting for one peer.
const QUEUE_MESSAGES_MAX: usize = 4096;
/// Pieces of snapshots, and words of them, waiting for one peer: more than a window has.
const QUEUE_BULK_MAX: usize = 256;
/// Messages written with one system call.
const WRITE_MESSAGES_MAX: usize = 256;
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
const REDIAL_MIN: Duration = Duration::from_millis(20);
const REDIAL_MAX: Duration = Duration::from_millis(500);

/// What every connection of this node shares.
pub(crate) struct PeerContext<R: Replica> {
    /// This node's hello; whom it is for and what is decided are filled in.
    pub(crate) hello: Hello,
    pub(crate) known_disks: RefCell<KnownDisks>,
    pub(crate) own_starts: RefCell<OwnStarts>,
    pub(crate) complaints: RefCell<Complaints>,
    pub(crate) data_directory: PathBuf,
    pub(crate) acquaintance: RefCell<Acquaintance>,
    pub(crate) events: mpsc::Sender<Internal<R>>,
}

impl<R: Replica> PeerContext<R> {
    fn hello_to(&self, peer: NodeId) -> Hello {
        let members_decided_at = self.acquaintance.borrow().roster.decided_at();
        let told_starts = self.own_starts.borrow_mut().tell(peer);
        let known_start = self.known_disks.borrow().start_of(peer);
        Hello { to: peer, members_decided_at, told_starts, known_start, ..self.hello.clone() }
    }

    fn judge(&self, theirs: &Hello) -> Result<(), HelloRefusal> {
        judge(&self.hello, theirs, &self.acquaintance.borrow(), &mut self.known_disks.borrow_mut())
    }

    /// Checks a hello and, if it is welcome, tells the loop what it says of its sender.
    async fn admit(&self, theirs: &Hello) -> Result<(), HelloRefusal> {
        self.judge(theirs)?;
        if let Some(known) = theirs.known_start {
            self.own_starts.borrow_mut().is_known(theirs.node, known);
        }
        let Hello { node: id, disk, name, client_urls, peer_urls, members_decided_at, .. } = theirs.clone();
        let facts = MemberFacts { id, disk, name, client_urls };
        // If the loop is gone, so is everybody who could care.
        let _ = self.events.send(Internal::Met { facts, peer_urls, members_decided_at }).await;
        Ok(())
    }
}

/// The loop's end of the connection to one peer.
pub(crate) struct PeerSender<R: Replica> {
    queue: mpsc::Sender<NodeMessage<R>>,
    bulk: mpsc::Sender<NodeMessage<R>>,
    address: String,
    dialler: u64,
    dropped: u64,
}

impl<R: Replica> PeerSender<R> {
    /// Starts dialling `address` (host:port) and keeps at it for as long as this value lives. Its news of the link bear the
    /// number `dialler`: one that was replaced may have some on the way.
    pub(crate) fn spawn(context: Rc<PeerContext<R>>, peer: NodeId, address: String, dialler: u64) -> PeerSender<R> {
        let (queue, inbox) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let (bulk, bulk_inbox) = mpsc::channel(QUEUE_BULK_MAX);
        tokio::task::spawn_local(send_bulk(Rc::clone(&context), peer, address.clone(), bulk_inbox));
        let link = Link { context, peer, dialler };
        tokio::task::spawn_local(keep_dialling(link, address.clone(), inbox));
        PeerSender { queue, bulk, address, dialler, dropped: 0 }
    }

    /// Queues a message, or drops it if the queue is full.
    pub(crate) fn send(&mut self, message: NodeMessage<R>) {
        let queue = if message.is_bulk() { &self.bulk } else { &self.queue };
        if queue.try_send(message).is_err() {
            self.dropped += 1;
        }
    }

    /// Where it dials.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The number that its news of the link bear.
    pub(crate) fn dialler(&self) -> u64 {
        self.dialler
    }

    /// Messages dropped because the queue was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// What the task that dials one peer tells the loop about.
struct Link<R: Replica> {
    context: Rc<PeerContext<R>>,
    peer: NodeId,
    dialler: u64,
}

impl<R: Replica> Link<R> {
    async fn report(&self, state: LinkState) {
        let (peer, dialler) = (self.peer, self.dialler);
        // If the loop is gone, so is everybody who could care.
        let _ = self.context.events.send(Internal::Link { peer, dialler, state }).await;
    }
}

async fn keep_dialling<R: Replica>(link: Link<R>, address: String, mut inbox: mpsc::Receiver<NodeMessage<R>>) {
    let (context, peer) = (&link.context, link.peer);
    let mut pause = REDIAL_MIN;
    let mut last_complaint = String::new();
    loop {
        let dialled = dial(context, peer, &address).await;
        if context.events.is_closed() {
            // The node ended meanwhile: what is said of it now must not be taken for said of its next start.
            return;
        }
        match dialled {
            Ok(stream) => {
                pause = REDIAL_MIN;
                last_complaint.clear();
                // Whatever queued up while nobody listened is old: the protocols re-send what still matters.
                while inbox.try_recv().is_ok() {}
                tracing::info!(%peer, %address, "connected to peer");
                link.report(LinkState::Up).await;
                let ended = write_messages(stream, None, &mut inbox).await;
                link.report(LinkState::Down).await;
                match ended {
                    Ok(()) => return,
                    Err(error) => tracing::info!(%peer, %address, %error, "connection to peer lost"),
                }
            }
            Err(DialError::Io(error)) => {
                let state =
                    if error.kind() == io::ErrorKind::ConnectionRefused { LinkState::Refused } else { LinkState::Down };
                complain(&mut last_complaint, peer, &address, &error.to_string());
                link.report(state).await;
            }
            Err(DialError::Refused { why, end }) => {
                complain(&mut last_complaint, peer, &address, &why);
                if end != RefusalEnd::Retry {
                    let why = format!("member {peer} at {address} refuses this node: {why}");
                    if end == RefusalEnd::PutBack {
                        put_back::mark(&context.data_directory, &why);
                    }
                    let _ = context.events.send(Internal::Fatal(why)).await;
                    return;
                }
            }
        }
        if inbox.is_closed() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(REDIAL_MAX);
    }
}

/// Connects when there is something to send, and stays connected. What cannot be sent is dropped: transfers ask again. Says
/// nothing of the link: the other connection does.
async fn send_bulk<R: Replica>(
    context: Rc<PeerContext<R>>,
    peer: NodeId,
    address: String,
    mut inbox: mpsc::Receiver<NodeMessage<R>>,
) {
    let mut pause = REDIAL_MIN;
    while let Some(first) = inbox.recv().await {
        if let Ok(stream) = dial(&context, peer, &address).await {
            pause = REDIAL_MIN;
            if write_messages(stream, Some(first), &mut inbox).await.is_ok() {
                return;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(REDIAL_MAX);
    }
}

/// Says a reason once, not at every try.
fn complain(last: &mut String, peer: NodeId, address: &str, why: &str) {
    if last != why {
        tracing::warn!(%peer, address, why, "cannot talk to peer; trying on");
        why.clone_into(last);
    }
}

enum DialError {
    Io(io::Error),
    Refused { why: String, end: RefusalEnd },
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> DialError {
        DialError::Io(error)
    }
}

async fn dial<R: Replica>(context: &PeerContext<R>, peer: NodeId, address: &str) -> Result<TcpStream, DialError> {
    let mut stream = tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await.map_err(timed_out)??;
    stream.set_nodelay(true)?;
    let hello = context.hello_to(peer);
    let answer = tokio::time::timeout(HELLO_TIMEOUT, async {
        stream.write_all(&encode_frame(&encode_to_bytes(&hello))).await?;
        read_frame(&mut stream).await
    })
    .await
    .map_err(timed_out)??;
    match decode_exact::<HelloAnswer>(answer).map_err(invalid)? {
        HelloAnswer::Refused { why, end } => Err(DialError::Refused { why, end }),
        HelloAnswer::Accepted(theirs) => {
            // Here the *other* side is the odd one out, so this node has no reason to stop.
            context.admit(&theirs).await.map_err(|refusal| DialError::Refused {
                why: format!("this node refuses it: {refusal}"),
                end: RefusalEnd::Retry,
            })?;
            Ok(stream)
        }
    }
}

async fn write_messages<R: Replica>(
    mut stream: TcpStream,
    first: Option<NodeMessage<R>>,
    inbox: &mut mpsc::Receiver<NodeMessage<R>>,
) -> io::Result<()> {
    let mut messages = Vec::from_iter(first);
    let mut buffer = Vec::new();
    let mut payload = Vec::new();
    loop {
        let mut closed = [0u8; 1];
        let waits = messages.is_empty();
        tokio::select! {
            biased;
            () = std::future::ready(()), if !waits => {}
            count = inbox.recv_many(&mut messages, WRITE_MESSAGES_MAX) => {
                if count == 0 {
                    return Ok(());
                }
            }
            // The other side never writes here; a read that ends means that it is gone, which a write would notice too late.
            read = stream.read(&mut closed) => {
                read?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        buffer.clear();
        for message in messages.drain(..) {
            payload.clear();
            message.encode(&mut payload);
            buffer.extend_from_slice(&encode_frame(&payload));
        }
        stream.write_all(&buffer).await?;
    }
}

/// Accepts peers for as long as the loop lives.
pub(crate) async fn accept_peers<R: Replica>(listener: TcpListener, context: Rc<PeerContext<R>>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let context = Rc::clone(&context);
                tokio::task::spawn_local(async move {
                    if let Err(error) = serve_peer(stream, &context).await {
                        tracing::debug!(%from, %error, "peer connection ended");
                    }
                });
            }
            Err(error) => {
                // Typically out of file descriptors: accepting again at once would only spin.
                tracing::warn!(%error, "cannot accept a peer connection");
                tokio::time::sleep(REDIAL_MAX).await;
            }
        }
    }
}

async fn serve_peer<R: Replica>(stream: TcpStream, context: &PeerContext<R>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(64 * 1024, stream);
    let hello = tokio::time::timeout(HELLO_TIMEOUT, read_frame(&mut stream)).await.map_err(timed_out)??;
    if introduction::is_question(&hello) {
        let told = Introduction::of(context.hello.cluster, R::PROTOCOL, &context.acquaintance.borrow());
        return introduction::answer(&mut stream, &told).await;
    }
    let theirs: Hello = decode_exact(hello).map_err(invalid)?;
    let judged = context.admit(&theirs).await;
    let answer = match &judged {
        Ok(()) => HelloAnswer::Accepted(Box::new(context.hello_to(theirs.node))),
        Err(refusal) => {
            let why = refusal.to_string();
            if context.complaints.borrow_mut().is_due(theirs.node, &why, Instant::now()) {
                tracing::warn!(peer = %theirs.node, why, "peer refused");
            }
            HelloAnswer::Refused { why, end: refusal.end() }
        }
    };
    stream.write_all(&encode_frame(&encode_to_bytes(&answer))).await?;
    if judged.is_err() {
        return Ok(());
    }
    loop {
        let message = decode_exact::<NodeMessage<R>>(read_frame(&mut stream).await?).map_err(invalid)?;
        // Waiting for room here pushes back on the sender through its socket.
        if context.events.send(Internal::Message { from: theirs.node, message }).await.is_err() {
            return Ok(());
        }
    }
}

pub(crate) async fn read_frame(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Bytes> {
    let mut header = [0u8; FRAME_HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    let header = decode_frame_header(header, FRAME_BYTES_MAX).map_err(invalid)?;
    let length = usize::try_from(header.length).map_err(invalid)?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    verify_frame(header, &payload).map_err(invalid)?;
    Ok(Bytes::from(payload))
}

pub(crate) fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

pub(crate) fn timed_out(_: tokio::time::error::Elapsed) -> io::Error {
    io::ErrorKind::TimedOut.into()
}
