//! The process of one node: log, sockets, signals, and how it ends.

use super::plan::ServePlan;
use crate::exit::usage;
use anyhow::{Context, Result};
use quorate_service::{Member, MemberError, StopCause};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

/// How long an address that is in use is tried again, and how often.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(2);
const ADDRESS_RETRY: Duration = Duration::from_millis(50);

/// Runs one node until it is stopped or must stop.
pub fn serve(plan: ServePlan, stop_with_stdin: bool) -> Result<ExitCode> {
    start_log(&plan);
    let client_listeners = listen(&plan.listen_client, "clients")?;
    let peer_listeners = listen(&plan.listen_peer, "members")?;
    let member = Member::start(plan.member, client_listeners, peer_listeners).map_err(refusal)?;
    tracing::info!(clients = %plan.listen_client.join(","), members = %plan.listen_peer.join(","), "listening");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cause = runtime.block_on(until_ended(member, stop_with_stdin));
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

/// Settings that do not fit what they are used with make no sense, as those that do not fit each other.
fn refusal(why: MemberError) -> anyhow::Error {
    if why.is_of_settings() { usage(why) } else { why.into() }
}

fn start_log(plan: &ServePlan) {
    let log = tracing_subscriber::fmt().with_max_level(plan.log_level).with_writer(std::io::stderr).with_target(false);
    if plan.log_json { log.json().init() } else { log.with_ansi(false).init() }
}

async fn until_ended(mut member: Member, stop_with_stdin: bool) -> Result<StopCause> {
    tokio::select! {
        cause = member.ended() => return Ok(cause?),
        why = asked_to_stop(stop_with_stdin) => tracing::info!(why = why?, "stopping"),
    }
    member.stop();
    tokio::select! {
        cause = member.ended() => Ok(cause?),
        // Whoever asks twice does not want to wait for what hangs. Everything that was acknowledged is durable.
        why = asked_to_stop(false) => {
            tracing::warn!(why = why?, "asked a second time: ending at once");
            std::process::exit(1)
        }
    }
}

fn listen(addresses: &[String], whom: &str) -> Result<Vec<TcpListener>> {
    let bind =
        |address: &String| bind_patiently(address).with_context(|| format!("cannot listen on {address} for {whom}"));
    addresses.iter().map(bind).collect()
}

/// A process that was just killed may still hold its address for a moment.
fn bind_patiently(address: &str) -> std::io::Result<TcpListener> {
    let deadline = Instant::now() + ADDRESS_PATIENCE;
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(ADDRESS_RETRY);
            }
            bound => return bound,
        }
    }
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
