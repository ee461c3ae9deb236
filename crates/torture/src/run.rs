//! One run from its beginning to its report.

use crate::cluster::{Cluster, serving};
use crate::judge::{judge_browses, judge_order, replay, search};
use crate::nemesis::Nemesis;
use crate::record::Recorder;
use crate::report::{Counts, Report, Verdict, harms, longest_gap, write_times};
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::settle::{Settled, settle};
use crate::shared::Shared;
use crate::watcher::{browse, follow};
use crate::workload::{compact, hold_leases, read_and_write, scan, transfer};
use anyhow::{Context, Result, bail, ensure};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// For a first leader.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// For clients to hear the last answer, or to give it up.
const CLIENT_PATIENCE: Duration = Duration::from_secs(60);
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
const BROWSERS: usize = 2;

/// Tortures a cluster, and judges what was seen. Everything it started is gone when it returns, or is dropped.
///
/// # Errors
/// When the settings make no sense, something that a fault needs is not to be had, or the system fails underneath: then there
/// is nothing to judge.
pub async fn run(settings: &Settings, progress: &(dyn Fn(&str) + Sync)) -> Result<Report> {
    settings.check()?;
    make_directory(settings)?;
    let schedule = Schedule::draw(settings);
    write_schedule(settings, &schedule)?;
    let recorder = Recorder::create(&settings.directory.join("history.jsonl"))?;
    let shared = Arc::new(Shared::new(settings, recorder, settings.nodes));
    let mut cluster = Cluster::lay_out(settings, Arc::clone(&shared)).await?;
    for name in cluster.names() {
        cluster.start(&name)?;
    }
    wait_for_leader(&cluster).await?;
    progress("a leader is elected; clients begin");
    let nemesis = Arc::new(Nemesis::new(cluster, Arc::clone(&shared)));
    let mut background = watchers(settings, &shared);
    let looking_after = {
        let nemesis = Arc::clone(&nemesis);
        async move { nemesis.look_after().await }
    };
    background.spawn(looking_after);
    background.spawn({
        let nemesis = Arc::clone(&nemesis);
        async move {
            nemesis.disarm_late_alarms().await;
            Ok(())
        }
    });
    let mut clients = clients(settings, &shared);
    let harm = nemesis.follow(&schedule, Instant::now());
    load(settings, &shared, harm, &mut background, progress).await?;
    shared.stop.send_replace(true);
    progress("clients stop");
    finish(&mut clients).await?;
    progress("all harm is taken back; waiting until all members have the same");
    let settled = settle(&nemesis, &shared).await?;
    background.shutdown().await;
    nemesis.cluster.lock().await.stop().await;
    shared.recorder.flush()?;
    progress("judging");
    let mut report = judge(settings, &shared, &nemesis, settled).await?;
    report.demand_work();
    let mut cluster = nemesis.cluster.lock().await;
    if report.verdict() == Verdict::Clean {
        cluster.delete_all_data();
    } else {
        cluster.keep_disks()?;
    }
    drop(cluster);
    Ok(report)
}

/// An absent or empty directory: nothing of anybody else is ever touched.
fn make_directory(settings: &Settings) -> Result<()> {
    let directory = &settings.directory;
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut entries = std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    ensure!(entries.next().is_none(), "{} is not empty: choose another --dir", directory.display());
    Ok(())
}

fn write_schedule(settings: &Settings, schedule: &Schedule) -> Result<()> {
    let line = |planned: &crate::schedule::Planned| {
        format!("{:>9.3} s  for {:>6.3} s  {}\n", planned.at.as_secs_f64(), planned.lasts.as_secs_f64(), planned.fault)
    };
    let path = settings.directory.join("schedule.txt");
    let text: String = schedule.all().map(line).collect();
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

async fn wait_for_leader(cluster: &Cluster) -> Result<()> {
    let until = Instant::now() + START_PATIENCE;
    let addresses = cluster.addresses();
    while Instant::now() < until {
        if serving::leader(&addresses).await.is_some() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let words: Vec<String> =
        addresses.iter().map(|(name, _)| format!("{name}: {}", cluster.last_words(name))).collect();
    bail!("no leader within {} s; {}", START_PATIENCE.as_secs(), words.join("; "))
}

type Background = JoinSet<Result<()>>;

/// One watcher a member, each at any member at any time.
fn watchers(settings: &Settings, shared: &Arc<Shared>) -> Background {
    let mut background = JoinSet::new();
    for watcher in 0..settings.nodes {
        let shared = Arc::clone(shared);
        background.spawn(async move {
            follow(shared, watcher).await;
            Ok(())
        });
    }
    background
}

fn clients(settings: &Settings, shared: &Arc<Shared>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    let transferrers = settings.clients.div_ceil(4);
    for number in 0..settings.clients {
        let shared = Arc::clone(shared);
        if number < transferrers && number + 1 < settings.clients {
            clients.spawn(transfer(shared, number));
        } else {
            clients.spawn(read_and_write(shared, number));
        }
    }
    clients.spawn(scan(Arc::clone(shared), 0));
    clients.spawn(compact(Arc::clone(shared)));
    (0..2 + settings.clients / 8).for_each(|number| _ = clients.spawn(hold_leases(Arc::clone(shared), number)));
    (0..BROWSERS).for_each(|number| _ = clients.spawn(browse(Arc::clone(shared), number)));
    clients
}

/// Until the time is over and the last harm was taken back.
async fn load(
    settings: &Settings,
    shared: &Shared,
    harm: impl Future<Output = Result<()>>,
    background: &mut Background,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<()> {
    let from = Instant::now();
    let mut ticks = tokio::time::interval_at(from + PROGRESS_EVERY, PROGRESS_EVERY);
    let both = async { tokio::join!(harm, tokio::time::sleep(settings.duration)).0 };
    tokio::pin!(both);
    loop {
        tokio::select! {
            done = &mut both => return done,
            ended = background.join_next() => match ended {
                Some(Ok(Err(error))) => return Err(error),
                Some(Ok(Ok(()))) | None => bail!("a watcher ended by itself"),
                Some(Err(error)) => return Err(error).context("a task of this program failed"),
            },
            _ = ticks.tick() => {
                let (done, failed, unknown) = shared.recorder.counts();
                let revision = shared.ledger().last();
                progress(&format!(
                    "{:>4} s: {done} answered, {failed} failed, {unknown} unknown; revision {revision}",
                    from.elapsed().as_secs()
                ));
            }
        }
    }
}

async fn finish(clients: &mut JoinSet<()>) -> Result<()> {
    let all = async {
        while let Some(ended) = clients.join_next().await {
            ended.context("a client of this program failed")?;
        }
        Ok(())
    };
    tokio::time::timeout(CLIENT_PATIENCE, all).await.context("a client of this program does not stop")?
}

async fn judge(settings: &Settings, shared: &Shared, nemesis: &Nemesis, settled: Settled) -> Result<Report> {
    let calls = shared.recorder.calls();
    let (ledger, leases, browses) = (shared.ledger().clone(), shared.leases().clone(), shared.browses().clone());
    let replayed = replay(&ledger, &calls, &leases);
    let searched = search(&settings.directory)?;
    let (flags, of_cluster, snapshots) = {
        let cluster = nemesis.cluster.lock().await;
        (cluster.flags().to_vec(), cluster.findings().to_vec(), cluster.snapshots_installed())
    };
    let done = nemesis.done();
    let times = write_times(&calls);
    let (acknowledged, failed, unknown) = shared.recorder.counts();
    let counts = Counts {
        acknowledged,
        writes: times.len(),
        failed,
        unknown,
        took_effect: replayed.took_effect.len(),
        searched: searched.operations,
        revisions: ledger.revisions().len(),
        deliveries: ledger.deliveries(),
        streams: shared.streams_opened.load(Ordering::Relaxed),
        browses: browses.len(),
        compactions: shared.compactions.load(Ordering::Relaxed),
        snapshots,
        leases: leases.lives().len(),
        renewals: leases.renewals,
        expired: replayed.expired,
        revoked: replayed.revoked,
    };
    let order = judge_order(&ledger, &calls, &replayed);
    // What watchers were not told yet would pass for lost.
    let complete = settled.undecided.is_empty();
    let by_revision = replayed.findings.into_iter().chain(order).filter(|_| complete);
    let found = [ledger.findings().to_vec(), of_cluster, settled.findings, searched.findings, leases.findings()];
    let findings = found.concat().into_iter().chain(judge_browses(&ledger, &browses)).chain(by_revision).collect();
    Ok(Report {
        settings: settings.clone(),
        flags,
        findings,
        undecided: [settled.undecided, searched.undecided].concat(),
        counts,
        harms: harms(&done, &times),
        longest_write_gap: longest_gap(&times, 0, u64::MAX),
        converged: settled.converged_at.map(|revision| (revision, settled.took)),
        drawings: searched.drawings,
    })
}
