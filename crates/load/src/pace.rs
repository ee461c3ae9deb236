//! Closed and open loop.

use crate::report::Measured;
use crate::request::Requester;
use crate::settings::{Amount, Settings};
use crate::tally::Tally;
use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tonic::transport::Channel;

/// What all clients of a run share.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Operations begun; with a bound, those beyond it are not begun.
    begun: AtomicU64,
    limit: u64,
    /// Answered within the measured time, successful or not.
    done: AtomicU64,
    stop: AtomicBool,
    /// Answers before this are not counted.
    measure_from: Instant,
}

impl Progress {
    pub(crate) fn new(settings: &Settings) -> Arc<Progress> {
        let limit = match settings.amount {
            Amount::Operations(count) => count,
            Amount::Time(_) => u64::MAX,
        };
        Arc::new(Progress {
            begun: AtomicU64::new(0),
            limit,
            done: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            measure_from: Instant::now() + settings.warm_up,
        })
    }

    /// Whether another operation may begin. Those of the warm-up do not count towards the bound.
    pub(crate) fn begin(&self) -> bool {
        if self.stop.load(Ordering::Relaxed) {
            return false;
        }
        Instant::now() < self.measure_from || self.begun.fetch_add(1, Ordering::Relaxed) < self.limit
    }

    /// Notes an answer to something that began, or was due, at `begun`.
    pub(crate) fn note(&self, tally: &mut Tally, begun: Instant, answer: Result<(), String>) {
        if begun < self.measure_from {
            return;
        }
        self.done.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(()) => tally.success(begun.elapsed()),
            Err(why) => tally.failure(&why),
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether no operation may begin any more.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.begun.load(Ordering::Relaxed) >= self.limit
    }

    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(crate) fn measure_from(&self) -> Instant {
        self.measure_from
    }
}

/// Why a request failed, short enough to count.
pub(crate) fn in_words(status: &tonic::Status) -> String {
    let message = status.message();
    if message.is_empty() { format!("{:?}", status.code()) } else { message.to_owned() }
}

/// Runs a workload of single requests.
pub(crate) async fn run(
    settings: &Settings,
    channels: &[Channel],
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Measured> {
    let shared = Progress::new(settings);
    let mut tasks = JoinSet::new();
    let schedule = settings.rate.map(|rate| Schedule { start: Instant::now(), rate, taken: AtomicU64::new(0) });
    let schedule = schedule.map(Arc::new);
    for client in 0..settings.clients {
        let (requester, shared) = (Requester::new(settings, channels, client), Arc::clone(&shared));
        match &schedule {
            None => tasks.spawn(closed_loop(requester, shared)),
            Some(schedule) => tasks.spawn(open_loop(requester, shared, Arc::clone(schedule))),
        };
    }
    let tally = collect(settings, &mut tasks, &shared, progress).await?;
    Ok(Measured { tally, elapsed: shared.measure_from.elapsed(), gap: None })
}

/// Waits for the clients, stops them when the time is over, and adds up what they saw.
pub(crate) async fn collect(
    settings: &Settings,
    tasks: &mut JoinSet<Tally>,
    shared: &Progress,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Tally> {
    let end = match settings.amount {
        Amount::Time(duration) => Some(shared.measure_from + duration),
        Amount::Operations(_) => None,
    };
    let mut every_second = tokio::time::interval(Duration::from_millis(200));
    let mut total = Tally::default();
    let mut ticks = 0_u64;
    loop {
        tokio::select! {
            done = tasks.join_next() => match done {
                Some(tally) => total.merge(&tally.context("a client's task ended")?),
                None => return Ok(total),
            },
            _ = every_second.tick() => {
                ticks += 1;
                if ticks.is_multiple_of(5) {
                    progress(shared.done());
                }
                if end.is_some_and(|end| Instant::now() >= end) {
                    shared.stop();
                }
            }
        }
    }
}

async fn closed_loop(mut requester: Requester, shared: Arc<Progress>) -> Tally {
    let mut tally = Tally::default();
    while shared.begin() {
        let begun = Instant::now();
        let answer = requester.request().await.map_err(|status| in_words(&status));
        let failed = answer.is_err();
        shared.note(&mut tally, begun, answer);
        if failed {
            // A server that refuses at once must not turn this client into a busy loop.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    tally
}

/// Takes the next request that is due, waits until then, and counts from then: when all clients are busy the next ones are
/// late, and their lateness is latency.
async fn open_loop(mut requester: Requester, shared: Arc<Progress>, schedule: Arc<Schedule>) -> Tally {
    let mut tally = Tally::default();
    loop {
        let due = schedule.next();
        tokio::time::sleep_until(due.into()).await;
        if !shared.begin() {
            return tally;
        }
        let answer = requester.request().await.map_err(|status| in_words(&status));
        shared.note(&mut tally, due, answer);
    }
}

/// When the requests of an open loop are due.
#[derive(Debug)]
struct Schedule {
    start: Instant,
    rate: f64,
    taken: AtomicU64,
}

impl Schedule {
    fn next(&self) -> Instant {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        self.start + Duration::from_secs_f64(number as f64 / self.rate)
    }
}
