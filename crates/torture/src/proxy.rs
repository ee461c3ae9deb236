//! The network between members, which can be harmed link by link and each direction for itself.
//!
//! Every member is reached by the others at a port of ours. A member sends on connections that it dials, and begins each with
//! a hello that names it; so a connection is one direction of one link. Answers to hellos go the other way, under the rule of
//! that direction. A question of a node that is no member yet comes without a hello and passes freely.

use anyhow::{Context, Result};
use bytes::Bytes;
use quorate_wire::{FRAME_HEADER_BYTES, Hello, decode_exact, decode_frame_header, verify_frame};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens on one direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// Everything passes.
    #[default]
    Open,
    /// Nothing passes, the end of a connection neither, and what was held passes later: packets are lost, and sent again.
    Held,
    /// Connections are closed, and new ones too.
    Refused,
    /// Each piece waits.
    Late {
        /// So long.
        by_ms: u64,
    },
    /// Bytes trickle.
    Slow {
        /// So many.
        bytes_per_second: u64,
    },
}

/// The state of each direction that is not open: from whom, to whom.
pub type Rules = BTreeMap<(String, String), LinkState>;

/// What harm was really done: a cut that nothing ran into is no evidence.
#[derive(Debug, Default)]
pub struct HarmDone {
    /// Pieces of data that had to wait.
    pub pieces_held: AtomicU64,
    /// Connections that were closed or not made.
    pub connections_refused: AtomicU64,
}

/// A hello is far shorter.
const FIRST_FRAME_BYTES_MAX: u32 = 1 << 20;
/// What is read at once.
const PIECE_BYTES: usize = 64 << 10;
/// What is read at once of a slow link: more would come in bursts.
const SLOW_PIECE_BYTES: usize = 1 << 10;
/// What dials and says nothing.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);

/// The port at which the others reach one member. Dropping it closes the port and all its connections.
#[derive(Debug)]
pub struct PeerProxy {
    port: u16,
    accepting: tokio::task::JoinHandle<()>,
}

impl PeerProxy {
    /// For the member `to`, which listens at `target`.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(
        to: String,
        target: SocketAddr,
        rules: watch::Receiver<Rules>,
        harm: Arc<HarmDone>,
    ) -> Result<PeerProxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a proxy between members")?;
        let port = listener.local_addr().context("a proxy's socket has no address")?.port();
        let accepting = tokio::spawn(accept(listener, Target { to, address: target, rules, harm }));
        Ok(PeerProxy { port, accepting })
    }

    /// Where the others reach the member.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for PeerProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Clone)]
struct Target {
    to: String,
    address: SocketAddr,
    rules: watch::Receiver<Rules>,
    harm: Arc<HarmDone>,
}

async fn accept(listener: TcpListener, target: Target) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => _ = connections.spawn(pass(stream, target.clone())),
                // Out of file descriptors, most likely: accepting again at once would only spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            // How a connection ended is the members' business.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass(mut dialler: TcpStream, target: Target) -> io::Result<()> {
    let (frame, from) = tokio::time::timeout(HELLO_PATIENCE, first_frame(&mut dialler)).await??;
    let mut there = Direction::new(from.clone(), Some(target.to.clone()), &target);
    let mut back = Direction::new(Some(target.to.clone()), from, &target);
    there.may_pass().await?;
    let mut member = TcpStream::connect(target.address).await?;
    member.set_nodelay(true)?;
    dialler.set_nodelay(true)?;
    member.write_all(&frame).await?;
    let (from_dialler, to_dialler) = dialler.split();
    let (from_member, to_member) = member.split();
    // The first that fails ends both, and with them the connection.
    tokio::try_join!(there.pump(from_dialler, to_member), back.pump(from_member, to_dialler)).map(drop)
}

/// The first frame as it came, and the name in it if it is a hello.
async fn first_frame(stream: &mut TcpStream) -> io::Result<(Vec<u8>, Option<String>)> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut head = [0u8; FRAME_HEADER_BYTES];
    stream.read_exact(&mut head).await?;
    let header = decode_frame_header(head, FIRST_FRAME_BYTES_MAX).map_err(invalid)?;
    let mut payload = vec![0; header.length as usize];
    stream.read_exact(&mut payload).await?;
    verify_frame(header, &payload).map_err(invalid)?;
    let frame = [&head[..], &payload].concat();
    let name = decode_exact::<Hello>(Bytes::from(payload)).ok().map(|hello| hello.name);
    Ok((frame, name))
}

/// One direction of one connection.
struct Direction {
    /// `None`: somebody who did not say, for whom no rule is.
    link: Option<(String, String)>,
    rules: watch::Receiver<Rules>,
    harm: Arc<HarmDone>,
}

impl Direction {
    fn new(from: Option<String>, to: Option<String>, target: &Target) -> Direction {
        Direction { link: from.zip(to), rules: target.rules.clone(), harm: Arc::clone(&target.harm) }
    }

    fn state(&mut self) -> LinkState {
        let rules = self.rules.borrow_and_update();
        self.link.as_ref().and_then(|link| rules.get(link)).copied().unwrap_or_default()
    }

    fn refused(&self) -> io::Error {
        self.harm.connections_refused.fetch_add(1, Ordering::Relaxed);
        io::ErrorKind::ConnectionReset.into()
    }

    /// Waits while nothing may pass, and says what happens to what does.
    async fn may_pass(&mut self) -> io::Result<LinkState> {
        let mut waited = false;
        loop {
            match self.state() {
                LinkState::Refused => return Err(self.refused()),
                LinkState::Held => {
                    if !std::mem::replace(&mut waited, true) {
                        self.harm.pieces_held.fetch_add(1, Ordering::Relaxed);
                    }
                    self.changed().await;
                }
                open => return Ok(open),
            }
        }
    }

    async fn changed(&mut self) {
        if self.rules.changed().await.is_err() {
            // Nobody can change them any more: the run is over.
            std::future::pending::<()>().await;
        }
    }

    /// Ends when connections of this link are to be closed.
    async fn until_refused(&mut self) -> io::Error {
        while self.state() != LinkState::Refused {
            self.changed().await;
        }
        self.refused()
    }

    async fn pump(&mut self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let slow = matches!(self.state(), LinkState::Slow { .. });
            let size = if slow { SLOW_PIECE_BYTES } else { PIECE_BYTES };
            let count = tokio::select! {
                biased;
                refused = self.until_refused() => return Err(refused),
                count = from.read(&mut buffer[..size]) => count?,
            };
            let wait = match self.may_pass().await? {
                LinkState::Late { by_ms } => Duration::from_millis(by_ms),
                LinkState::Slow { bytes_per_second } => {
                    Duration::from_secs_f64(count as f64 / bytes_per_second.max(1) as f64)
                }
                LinkState::Open | LinkState::Held | LinkState::Refused => Duration::ZERO,
            };
            if !wait.is_zero() {
                self.harm.pieces_held.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(wait).await;
                // A cut that began meanwhile holds this piece too.
                self.may_pass().await?;
            }
            if count == 0 {
                // With the end of one direction the members give up the connection; so does this.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            tokio::select! {
                biased;
                refused = self.until_refused() => return Err(refused),
                written = to.write_all(&buffer[..count]) => written?,
            }
        }
    }
}

#[cfg(test)]
mod tests;
