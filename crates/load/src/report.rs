//! What came out of a run.

use crate::processes::ProcessSample;
use crate::settings::{Settings, Workload};
use crate::tally::Tally;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a workload measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) tally: Tally,
    /// From the end of the warm-up to the last answer.
    pub(crate) elapsed: Duration,
    pub(crate) gap: Option<WriteGap>,
}

/// Shares of the latencies, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latencies {
    /// Mean.
    pub mean_us: f64,
    /// Half are at most this.
    pub p50_us: u64,
    /// 90 of 100.
    pub p90_us: u64,
    /// 99 of 100.
    pub p99_us: u64,
    /// 999 of 1000.
    pub p999_us: u64,
    /// All.
    pub max_us: u64,
}

/// What one server process used during a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessReport {
    /// Which endpoint it serves.
    pub endpoint: String,
    /// The process.
    pub pid: u32,
    /// CPU time since the warm-up was over.
    pub cpu_ms: f64,
    /// Resident memory at the end.
    pub resident_bytes: u64,
}

/// The longest time in which no put succeeded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WriteGap {
    /// From one success to the next, at whatever endpoint.
    pub longest_ms: f64,
    /// When it began, counted from the kill; nothing if nobody was killed.
    pub began_after_kill_ms: Option<f64>,
    /// Who led at the start.
    pub leader: String,
}

/// One run's result.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked for.
    pub workload: Workload,
    /// Requests in flight.
    pub clients: usize,
    /// Operations a second asked for, in an open loop.
    pub rate_asked: Option<f64>,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Operations that succeeded.
    pub succeeded: u64,
    /// Operations that failed.
    pub failed: u64,
    /// Why they failed, and how often.
    pub errors: BTreeMap<String, u64>,
    /// Measured time.
    pub elapsed_ms: f64,
    /// Successful operations a second.
    pub rate: f64,
    /// Of the successful operations.
    pub latencies: Latencies,
    /// Of the failover workload.
    pub write_gap: Option<WriteGap>,
    /// Servers of this machine.
    pub servers: Vec<ProcessReport>,
    /// CPU time of all servers together for each operation, in microseconds; absent when no server is local, or a local one
    /// came or went meanwhile.
    pub server_cpu_us_per_operation: Option<f64>,
}

impl Report {
    pub(crate) fn new(
        settings: &Settings,
        measured: Measured,
        before: &[ProcessSample],
        after: &[ProcessSample],
    ) -> Report {
        let Measured { tally, elapsed, gap } = measured;
        let servers: Vec<ProcessReport> = after.iter().filter_map(|sample| used_since(before, sample)).collect();
        let operations = tally.succeeded() + tally.failed();
        let cpu_us: f64 = servers.iter().map(|server| server.cpu_ms * 1000.0).sum();
        Report {
            workload: settings.workload,
            clients: settings.clients,
            rate_asked: settings.rate,
            value_bytes: settings.value_bytes,
            succeeded: tally.succeeded(),
            failed: tally.failed(),
            errors: tally.errors().clone(),
            elapsed_ms: elapsed.as_secs_f64() * 1000.0,
            rate: tally.succeeded() as f64 / elapsed.as_secs_f64().max(1e-9),
            latencies: Latencies {
                mean_us: tally.mean_us(),
                p50_us: tally.quantile_us(0.5),
                p90_us: tally.quantile_us(0.9),
                p99_us: tally.quantile_us(0.99),
                p999_us: tally.quantile_us(0.999),
                max_us: tally.longest_us(),
            },
            write_gap: gap,
            server_cpu_us_per_operation: (!servers.is_empty() && operations > 0).then(|| cpu_us / operations as f64),
            servers,
        }
    }
}

fn used_since(before: &[ProcessSample], after: &ProcessSample) -> Option<ProcessReport> {
    let earlier = before.iter().find(|sample| sample.pid == after.pid && sample.endpoint == after.endpoint)?;
    Some(ProcessReport {
        endpoint: after.endpoint.clone(),
        pid: after.pid,
        cpu_ms: after.cpu.saturating_sub(earlier.cpu).as_secs_f64() * 1000.0,
        resident_bytes: after.resident_bytes,
    })
}
