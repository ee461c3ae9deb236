//! A member's thread: sockets, node and front, their start and their end.

use crate::backend::KeyspaceBackend;
use crate::dead_member::founded_quorums;
use crate::entry::{Identity, identify};
use crate::plan::Plan;
use crate::protocol::Protocol;
use crate::served::{Served, Unsupported};
use quorate_journal::JournalError;
use quorate_keyspace::{Keyspace, KeyspaceDutyConfig};
use quorate_node::{BootError, NodeConfig, WITNESS_SEGMENT_BYTES};
use quorate_protocol::OpenError;
use quorate_runtime::{Observer, Recorder, Running, RuntimeConfig, StartError, StopCause, start};
use quorate_server::{ConfigError, ServeError};
use quorate_types::NodeId;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{oneshot, watch};

/// Requests that may wait for the node's loop before more are refused.
const QUEUED_REQUESTS_MAX: usize = 16_384;
/// News from peers and disks that may wait before sockets are pushed back.
const QUEUED_MESSAGES_MAX: usize = 8_192;
/// What the stored form of a request may be longer than its protobuf form, which the front measures.
const COMMAND_OVERHEAD_BYTES: usize = 64 * 1024;

/// Why a member does not start, or ended without a cause of its own.
#[derive(Debug, Error)]
pub enum MemberError {
    /// The node refuses its data directory. The words include those of what caused it.
    #[error("{0}")]
    Start(StartError),
    /// The cluster to join does not know this member, or cannot be asked.
    #[error("cannot join the cluster: {0}")]
    Join(String),
    /// Founders are told who they are, and the data say otherwise.
    #[error(
        "{directory} has the data of member {:x} of cluster {:x}, and by the settings of the initial cluster this is member {:x} of \
         cluster {:x}: put --initial-advertise-peer-urls, --initial-cluster and --initial-cluster-token back as they were; or, if the member \
         was moved (`quorate member update`), add --initial-cluster-state existing, with which the data win",
        found.0, found.1, told.0, told.1
    )]
    AnotherIdentity {
        /// The data directory.
        directory: String,
        /// Member and cluster by the data.
        found: (u64, u64),
        /// Member and cluster by the settings.
        told: (u64, u64),
    },
    /// The cluster to join runs another protocol, for life.
    #[error(
        "cannot join the cluster: it runs {found}, and this member is to run {wanted}: start it with --protocol {found}"
    )]
    JoinsAnotherProtocol {
        /// The cluster's.
        found: String,
        /// By the settings.
        wanted: Protocol,
    },
    /// The data are those of a member that runs another protocol.
    #[error(
        "{directory} has the data of a member that runs {found}, and this one is to run {wanted}: start it with --protocol {found}, or \
         with another --data-dir"
    )]
    AnotherProtocol {
        /// The data directory.
        directory: String,
        /// By the data.
        found: String,
        /// By the settings.
        wanted: Protocol,
    },
    /// The data are those of a member of a cluster with other quorum sizes, which are fixed for life.
    #[error(
        "{directory} has the data of a cluster whose quorum sizes were fixed at founding as {founded}, and the settings say {wanted}: \
         {put_back}; for other sizes restore a snapshot into a new cluster (`quorate restore --quorums ...`)",
        put_back = match founded.as_str() {
            "majorities" => "leave --quorums out".to_owned(),
            founded => format!("start it with --quorums {founded}"),
        }
    )]
    AnotherQuorums {
        /// The data directory.
        directory: String,
        /// By the data.
        founded: String,
        /// By the settings.
        wanted: String,
    },
    /// A limit of the front makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The protocol cannot do what the plan wants of it.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// There is no socket for clients.
    #[error("no listener for clients")]
    NoListener,
    /// A socket, thread or event loop could not be had.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
    /// A defect: the member's thread panicked.
    #[error("the member's thread panicked")]
    Panicked,
}

impl MemberError {
    /// Whether the settings are at fault, and starting again with the same ones would not help. Nothing was done then.
    #[must_use]
    pub fn is_of_settings(&self) -> bool {
        match self {
            MemberError::JoinsAnotherProtocol { .. }
            | MemberError::AnotherIdentity { .. }
            | MemberError::AnotherProtocol { .. }
            | MemberError::AnotherQuorums { .. }
            | MemberError::Config(_)
            | MemberError::Unsupported(_) => true,
            MemberError::Start(why) => {
                matches!(why, StartError::Boot(BootError::Protocol(OpenError::Settings { .. })))
            }
            MemberError::Join(_) | MemberError::NoListener | MemberError::System { .. } | MemberError::Panicked => {
                false
            }
        }
    }

    /// What the node refuses, with where it is and what to do. The protocols themselves know neither.
    fn refused(why: StartError, plan: &Plan) -> MemberError {
        let directory = || plan.data_directory.display().to_string();
        match why {
            StartError::Boot(BootError::Journal(JournalError::WrongProtocol { found, .. })) => {
                MemberError::AnotherProtocol { directory: directory(), found, wanted: plan.protocol }
            }
            StartError::Boot(BootError::Protocol(OpenError::Settings { .. })) => {
                let wanted = plan.quorums.to_string();
                match founded_quorums(&plan.data_directory).filter(|founded| *founded != wanted) {
                    Some(founded) => MemberError::AnotherQuorums { directory: directory(), founded, wanted },
                    None => MemberError::Start(why),
                }
            }
            why => MemberError::Start(why),
        }
    }
}

/// One member, running on a thread of its own. Dropping it stops it, without waiting for its end.
#[derive(Debug)]
pub struct Member {
    name: String,
    id: NodeId,
    client_addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<Result<StopCause, MemberError>>,
}

impl Member {
    /// Opens the node and serves on these bound sockets. Returns when clients may connect, which is before anybody leads.
    ///
    /// # Errors
    /// As the variants of [`MemberError`] say; nothing is left running then.
    pub fn start(
        plan: Plan,
        client_listeners: Vec<TcpListener>,
        peer_listeners: Vec<TcpListener>,
    ) -> Result<Member, MemberError> {
        plan.server.check()?;
        plan.check_protocol()?;
        if client_listeners.is_empty() {
            return Err(MemberError::NoListener);
        }
        let system = |what| move |source| MemberError::System { what, source };
        let addresses: Result<Vec<SocketAddr>, _> = client_listeners.iter().map(TcpListener::local_addr).collect();
        let client_addresses = addresses.map_err(system("a client socket has no address"))?;
        let name = plan.name.clone();
        let (stop, stopped) = watch::channel(false);
        let (tell_start, started) = std::sync::mpsc::sync_channel(1);
        let (tell_end, mut ended) = oneshot::channel();
        let body = move || {
            let done = run_on_this_thread(plan, client_listeners, peer_listeners, stopped, &tell_start);
            // Nobody waiting any more is no fault.
            let _ = tell_end.send(done);
        };
        let builder = std::thread::Builder::new().name(format!("member {name}"));
        builder.spawn(body).map_err(system("cannot start the member's thread"))?;
        match started.recv() {
            Ok(id) => Ok(Member { name, id, client_addresses, stop, ended }),
            // The thread ended before it could serve; why was sent before.
            Err(_) => match ended.try_recv() {
                Ok(Err(error)) => Err(error),
                Ok(Ok(_)) | Err(_) => Err(MemberError::Panicked),
            },
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where it listens for clients.
    #[must_use]
    pub fn client_addresses(&self) -> &[SocketAddr] {
        &self.client_addresses
    }

    /// Asks it to stop: answers under way have [`quorate_server::ServerConfig::shutdown_grace_ms`]. Nothing needs to be saved, whatever
    /// was acknowledged is durable.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Resolves when it has ended and its directory is free, with why. To be asked once.
    ///
    /// # Errors
    /// [`MemberError::Panicked`], or an error of the system underneath.
    pub async fn ended(&mut self) -> Result<StopCause, MemberError> {
        (&mut self.ended).await.unwrap_or(Err(MemberError::Panicked))
    }
}

fn run_on_this_thread(
    plan: Plan,
    client_listeners: Vec<TcpListener>,
    peer_listeners: Vec<TcpListener>,
    stopped: watch::Receiver<bool>,
    tell_start: &std::sync::mpsc::SyncSender<NodeId>,
) -> Result<StopCause, MemberError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| MemberError::System { what: "cannot start the event loop", source })?;
    let local = tokio::task::LocalSet::new();
    let cause = local.block_on(&runtime, run(plan, client_listeners, peer_listeners, stopped, tell_start));
    drop(local);
    // Streams that outlived the grace are not waited for.
    runtime.shutdown_background();
    cause
}

async fn run(
    plan: Plan,
    client_listeners: Vec<TcpListener>,
    peer_listeners: Vec<TcpListener>,
    mut stopped: watch::Receiver<bool>,
    tell_start: &std::sync::mpsc::SyncSender<NodeId>,
) -> Result<StopCause, MemberError> {
    let client_listeners = into_tokio(client_listeners)?;
    let peer_listeners = into_tokio(peer_listeners)?;
    let identity = tokio::select! {
        identity = identify(&plan) => identity?,
        _ = stopped.wait_for(|stop| *stop) => return Ok(StopCause::Requested),
    };
    let me = identity.me;
    let (backend, observer) = KeyspaceBackend::prepare(&plan, &identity);
    let running = (plan.protocol.ways().open)(&plan, identity, peer_listeners, observer)?;
    let handle = running.handle.clone();
    let backend = Arc::new(backend.with_handle(handle.clone()));
    let watchers_served = {
        let backend = Arc::clone(&backend);
        tokio::task::spawn_local(async move { backend.keep_watchers_served().await })
    };
    let (stop_front, mut front_stopped) = watch::channel(false);
    let shutdown = async move {
        // An end of the channel means the same.
        let _ = front_stopped.wait_for(|stop| *stop).await;
    };
    let grace = Duration::from_millis(plan.server.shutdown_grace_ms);
    let mut front = tokio::spawn(quorate_server::serve(client_listeners, backend, plan.server.clone(), shutdown));
    tracing::info!(name = %plan.name, "serving");
    // The starter may have given up; this member stops with it then.
    let _ = tell_start.send(me);
    let mut ended = running.ended;
    tokio::select! {
        cause = &mut ended => return cause.map_err(|_| MemberError::Panicked),
        failed = &mut front => return Err(front_failure(failed)),
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    // An open stream may outlive the grace; the member ends all the same.
    let _ = stop_front.send(true);
    let _ = tokio::time::timeout(grace, front).await;
    watchers_served.abort();
    handle.shut_down().await;
    ended.await.map_err(|_| MemberError::Panicked)
}

/// A front ends by itself only if it never began.
fn front_failure(ended: Result<Result<(), ServeError>, tokio::task::JoinError>) -> MemberError {
    match ended {
        Ok(Err(ServeError::Config(error))) => MemberError::Config(error),
        Ok(Err(ServeError::NoListener)) => MemberError::NoListener,
        Ok(Ok(())) | Err(_) => MemberError::Panicked,
    }
}

fn into_tokio(listeners: Vec<TcpListener>) -> Result<Vec<tokio::net::TcpListener>, MemberError> {
    let prepare = |listener: TcpListener| {
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    };
    let prepared: Result<Vec<_>, std::io::Error> = listeners.into_iter().map(prepare).collect();
    prepared.map_err(|source| MemberError::System { what: "cannot use a socket", source })
}

/// Opens and runs the node that the plan describes, over this protocol.
pub(crate) fn open<R: Served>(
    plan: &Plan,
    identity: Identity,
    peers: Vec<tokio::net::TcpListener>,
    observer: Observer<Keyspace>,
) -> Result<Running<Keyspace>, MemberError> {
    let settings = R::settings(plan)?;
    if let Some(leases) = plan.lease_reads {
        // What safety rests on is worth a warning, not only a line among others.
        tracing::warn!("{}", leases.assumption(plan.election_timeout));
    }
    let mut node = NodeConfig::new(settings);
    node.tracing = plan.tracing;
    node.checkpoint.after_slots = plan.snapshot_count;
    node.low_space_bytes = plan.low_space_bytes;
    if identity.joins_as_witness {
        node.journal.segment_bytes = node.journal.segment_bytes.min(WITNESS_SEGMENT_BYTES);
    }
    node.machine.max_batch_bytes = plan.max_batch_bytes;
    node.machine.max_batch_commands = plan.max_batch_commands;
    node.machine.max_batch_wait = plan.max_batch_wait;
    node.machine.max_payload_bytes = plan.server.max_request_bytes.saturating_add(COMMAND_OVERHEAD_BYTES);
    let config = RuntimeConfig::<R, Keyspace> {
        duty: KeyspaceDutyConfig {
            member: identity.me.0,
            quota_bytes: plan.quota_backend_bytes,
            ..KeyspaceDutyConfig::default()
        },
        cluster: identity.cluster,
        me: identity.me,
        start: identity.start,
        node,
        data_directory: plan.data_directory.clone(),
        name: plan.name.clone(),
        client_urls: plan.client_urls.clone(),
        peer_urls: plan.peer_urls.clone(),
        queued_requests_max: QUEUED_REQUESTS_MAX,
        queued_messages_max: QUEUED_MESSAGES_MAX,
        recorder: plan.recording.clone().map(Recorder::new),
    };
    start::<R, Keyspace>(config, peers, observer).map_err(|why| MemberError::refused(why, plan))
}
