//! A load generator for any etcd v3 endpoint: Quorate's own, etcd's, or another's.
//!
//! It measures what clients see. A *closed loop* keeps a fixed number of requests in flight; an *open loop* starts requests
//! at a fixed rate whatever the answers do, and counts each from the moment it was due, so that a server that stalls cannot
//! hide the requests it kept waiting.
//!
//! For servers on the same machine it also reads what their processes used: CPU time per operation and resident memory.
//!
//! | file | what it holds |
//! |---|---|
//! | `settings.rs` | [`Settings`], [`Workload`]: what is asked for |
//! | `connection.rs` | channels to the endpoints |
//! | `keys.rs` | keys and values, from a seed |
//! | `request.rs` | one request of each unary workload |
//! | `pace.rs` | closed and open loop |
//! | `watch.rs`, `lease.rs`, `failover.rs` | the workloads that are no single requests |
//! | `tally.rs` | latencies and errors, merged over clients |
//! | `processes.rs` | server processes of this machine, by the port they listen on |
//! | `report.rs` | [`Report`]: what came out |

mod connection;
mod failover;
mod keys;
mod lease;
mod pace;
mod processes;
mod report;
mod request;
mod settings;
mod tally;
mod watch;

pub use processes::{ProcessSample, ServerProcess};
pub use report::{Latencies, ProcessReport, Report, WriteGap};
pub use settings::{Amount, Settings, Workload};
pub use tally::Tally;

use anyhow::{Result, bail};

/// Runs one workload and tells what it measured. `progress` is called about once a second with the operations done so far.
///
/// # Errors
/// When no endpoint can be reached, the settings make no sense, or not one operation succeeded.
pub async fn run(settings: &Settings, progress: &(dyn Fn(u64) + Sync)) -> Result<Report> {
    settings.check()?;
    let channels = connection::connect(settings).await?;
    request::prepare(settings, &channels).await?;
    let servers = processes::find(&settings.endpoints);
    let before = tokio::spawn(sample_after(settings.warm_up, servers.clone()));
    let measured = match settings.workload {
        Workload::Watch => watch::run(settings, &channels, progress).await?,
        Workload::Lease => lease::run(settings, &channels, progress).await?,
        Workload::Failover => failover::run(settings, &channels, &servers, progress).await?,
        _ => pace::run(settings, &channels, progress).await?,
    };
    let after = processes::sample(&servers);
    before.abort();
    let before = before.await.unwrap_or_default();
    if measured.tally.succeeded() == 0 {
        bail!("not one operation succeeded: {}", measured.tally.errors_in_words());
    }
    Ok(Report::new(settings, measured, &before, &after))
}

/// What the servers had used when the warm-up was over.
async fn sample_after(warm_up: std::time::Duration, servers: Vec<ServerProcess>) -> Vec<ProcessSample> {
    tokio::time::sleep(warm_up).await;
    processes::sample(&servers)
}
