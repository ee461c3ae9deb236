//! Puts through every endpoint at once while the leader is killed: how long can nobody write?

use crate::connection::connect_to;
use crate::pace::{Progress, collect, in_words};
use crate::processes::ServerProcess;
use crate::report::{Measured, WriteGap};
use crate::request::Requester;
use crate::settings::Settings;
use crate::tally::Tally;
use anyhow::{Context, Result, bail};
use quorate_server::proto::etcdserverpb::StatusRequest;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tonic::transport::Channel;

/// An attempt that is not answered by then is given up and made again: the gap must be the cluster's and not the client's.
const ATTEMPT: Duration = Duration::from_millis(100);
/// After a refusal.
const PAUSE: Duration = Duration::from_millis(2);

/// Successful puts, by anyone.
#[derive(Debug)]
struct Successes {
    last: Instant,
    /// The longest time without one, and when it began.
    longest: Duration,
    longest_began: Instant,
}

/// Runs puts, kills the leader if that is asked for, and finds the longest gap.
pub(crate) async fn run(
    settings: &Settings,
    channels: &[Channel],
    servers: &[ServerProcess],
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Measured> {
    let leader = leader_endpoint(settings).await?;
    let shared = Progress::new(settings);
    let now = Instant::now();
    let successes = Arc::new(Mutex::new(Successes { last: now, longest: Duration::ZERO, longest_began: now }));
    let mut tasks = JoinSet::new();
    for client in 0..settings.clients.max(channels.len()) {
        let requester = Requester::new(settings, channels, client);
        tasks.spawn(write(requester, Arc::clone(&shared), Arc::clone(&successes)));
    }
    let killer = settings.kill_leader_after.map(|after| {
        let process = servers.iter().find(|server| server.endpoint == leader).cloned();
        tokio::spawn(kill(process, leader.clone(), shared.measure_from() + after))
    });
    let tally = collect(settings, &mut tasks, &shared, progress).await?;
    let killed = match killer {
        Some(killer) => Some(killer.await.context("the killing task ended")??),
        None => None,
    };
    let successes = successes.lock().map_err(|_| anyhow::anyhow!("a client's task panicked"))?;
    let gap = WriteGap {
        longest_ms: successes.longest.as_secs_f64() * 1000.0,
        began_after_kill_ms: killed.map(|killed| signed_ms(killed, successes.longest_began)),
        leader,
    };
    Ok(Measured { tally, elapsed: shared.measure_from().elapsed(), gap: Some(gap) })
}

fn signed_ms(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(later) => later.as_secs_f64() * 1000.0,
        None => -(from - to).as_secs_f64() * 1000.0,
    }
}

async fn write(mut requester: Requester, shared: Arc<Progress>, successes: Arc<Mutex<Successes>>) -> Tally {
    let mut tally = Tally::default();
    while shared.begin() {
        let begun = Instant::now();
        let answer = match tokio::time::timeout(ATTEMPT, requester.request()).await {
            Ok(answer) => answer.map_err(|status| in_words(&status)),
            Err(_) => Err(format!("no answer within {} ms", ATTEMPT.as_millis())),
        };
        let succeeded = answer.is_ok();
        shared.note(&mut tally, begun, answer);
        if !succeeded {
            tokio::time::sleep(PAUSE).await;
        } else if begun >= shared.measure_from()
            && let Ok(mut successes) = successes.lock()
        {
            let now = Instant::now();
            // Before the first one measured there is no gap to speak of.
            let since = successes.last.max(shared.measure_from());
            let gap = now.saturating_duration_since(since);
            if gap > successes.longest {
                (successes.longest, successes.longest_began) = (gap, since);
            }
            successes.last = now;
        }
    }
    tally
}

/// The endpoint whose member leads.
async fn leader_endpoint(settings: &Settings) -> Result<String> {
    for endpoint in &settings.endpoints {
        let channel = connect_to(endpoint, settings).await?;
        let status = MaintenanceClient::new(channel).status(StatusRequest {}).await;
        let status = status.with_context(|| format!("{endpoint} does not tell its status"))?.into_inner();
        let member = status.header.map_or(0, |header| header.member_id);
        if status.leader == member && member != 0 {
            return Ok(endpoint.clone());
        }
    }
    bail!("none of the endpoints is the leader's: name all members")
}

async fn kill(process: Option<ServerProcess>, leader: String, at: Instant) -> Result<Instant> {
    let Some(process) = process else {
        bail!("the leader at {leader} is no process of this machine that may be seen: it cannot be killed from here");
    };
    let Some(pid) = i32::try_from(process.pid).ok().and_then(rustix::process::Pid::from_raw) else {
        bail!("{} is no process id", process.pid);
    };
    tokio::time::sleep_until(at.into()).await;
    let killed = Instant::now();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)
        .with_context(|| format!("process {} cannot be killed", process.pid))?;
    Ok(killed)
}
