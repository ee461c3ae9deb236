//! The process of one node: log, sockets, signals, and how it ends.

use super::backend::KeyspaceBackend;
use super::plan::Plan;
use anyhow::{Context, Result};
use quorate_keyspace::Keyspace;
use quorate_node::NodeConfig;
use quorate_protocol::Start;
use quorate_raft::{Config as RaftConfig, Raft};
use quorate_runtime::{Running, RuntimeConfig, StopCause, start};
use quorate_server::ServerConfig;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Requests that may wait for the node's loop before more are refused.
const QUEUED_REQUESTS_MAX: usize = 16_384;
/// News from peers and disks that may wait before sockets are pushed back.
const QUEUED_MESSAGES_MAX: usize = 8_192;
/// How long answers under way may take at the end.
const FRONT_GRACE: Duration = Duration::from_secs(3);

/// Runs one node until it is stopped or must stop.
pub fn serve(plan: Plan, stop_with_stdin: bool) -> Result<ExitCode> {
    start_log(&plan);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let cause = local.block_on(&runtime, run(plan, stop_with_stdin));
    drop(local);
    // Not waited for: a read of standard input that will never end.
    runtime.shutdown_background();
    match cause? {
        StopCause::Requested => Ok(ExitCode::SUCCESS),
        cause => {
            eprintln!("quorate: {cause}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn start_log(plan: &Plan) {
    let log = tracing_subscriber::fmt().with_max_level(plan.log_level).with_writer(std::io::stderr).with_target(false);
    if plan.log_json { log.json().init() } else { log.with_ansi(false).init() }
}

async fn run(plan: Plan, stop_with_stdin: bool) -> Result<StopCause> {
    let client_listeners = listen(&plan.listen_client, "clients").await?;
    let peer_listeners = listen(&plan.listen_peer, "members").await?;
    let (backend, watch_state) = KeyspaceBackend::prepare(&plan);
    let running = open(&plan, peer_listeners, watch_state)?;
    let handle = running.handle.clone();
    let backend = Arc::new(backend.with_handle(handle.clone()));
    let (stop_front, front_stopped) = watch::channel(false);
    let mut stopped = front_stopped;
    let shutdown = async move {
        // An end of the channel means the same.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let front = tokio::spawn(quorate_server::serve(client_listeners, backend, ServerConfig::default(), shutdown));
    tracing::info!(name = %plan.name, clients = %plan.listen_client.join(","), members = %plan.listen_peer.join(","), "serving");
    let mut ended = running.ended;
    tokio::select! {
        cause = &mut ended => return cause.context("the node's loop panicked"),
        why = asked_to_stop(stop_with_stdin) => tracing::info!(why = why?, "stopping"),
    }
    // An open stream may outlive the grace; the process ends all the same.
    let _ = stop_front.send(true);
    let _ = tokio::time::timeout(FRONT_GRACE, front).await;
    handle.shut_down().await;
    ended.await.context("the node's loop panicked")
}

async fn listen(addresses: &[String], whom: &str) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.with_context(|| format!("cannot listen on {address} for {whom}"))?);
    }
    Ok(listeners)
}

fn open(
    plan: &Plan,
    peers: Vec<TcpListener>,
    observer: quorate_runtime::Observer<Keyspace>,
) -> Result<Running<Keyspace>> {
    let raft = RaftConfig {
        election_timeout: plan.election_timeout,
        heartbeat_interval: plan.heartbeat_interval,
        ..RaftConfig::default()
    };
    let mut node = NodeConfig::new(raft);
    node.tracing = plan.log_level >= tracing::Level::DEBUG;
    let config = RuntimeConfig::<Raft, Keyspace> {
        cluster: plan.cluster,
        me: plan.me,
        start: Start::Found(plan.members.clone()),
        node,
        duty: quorate_machine::DutyConfig::<Keyspace>::default(),
        data_directory: plan.data_directory.clone(),
        client_urls: plan.client_urls.clone(),
        queued_requests_max: QUEUED_REQUESTS_MAX,
        queued_messages_max: QUEUED_MESSAGES_MAX,
    };
    // Its words already include those of what caused it.
    start::<Raft, Keyspace>(config, peers, observer).map_err(|error| anyhow::anyhow!("{error}"))
}

/// Resolves when a signal, or the end of standard input where that counts, asks this process to stop.
async fn asked_to_stop(stop_with_stdin: bool) -> Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stdin_ended = async {
        if !stop_with_stdin {
            std::future::pending::<()>().await;
        }
        let mut buffer = [0u8; 64];
        let mut stdin = tokio::io::stdin();
        while stdin.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    };
    Ok(tokio::select! {
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "asked to terminate",
        () = stdin_ended => "the process that started this node is gone",
    })
}
