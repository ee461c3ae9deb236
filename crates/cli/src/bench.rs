//! `quorate bench`: the load generator.

use crate::endpoint::OutputFormat;
use crate::exit::usage;
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use quorate_load::{Amount, Report, Settings, Workload};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

/// What `quorate bench` sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WorkloadName {
    /// Puts of random keys
    Put,
    /// Linearizable gets of random keys
    Get,
    /// Gets from whatever the asked member has
    SerializableGet,
    /// Linearizable ranges of 100 keys
    Range,
    /// Gets and puts
    Mixed,
    /// Transactions of one compare and one put
    Txn,
    /// Watchers of one prefix: how old is an event when it arrives
    Watch,
    /// The life of a lease: grant, put, renew, revoke
    Lease,
    /// Puts while the leader is killed: how long can nobody write
    Failover,
}

/// Arguments of `quorate bench`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  quorate bench put --clients 256 --seconds 10\n  quorate bench get --fill --keys 100000\n  \
    quorate bench put --rate 2000 --clients 500     open loop: latency counts from when a request was due\n  \
    quorate bench failover --endpoints 127.0.0.1:2379,127.0.0.1:22379,127.0.0.1:32379 --kill-leader-after-ms 2000"
)]
pub struct BenchArguments {
    /// Which requests to send
    #[arg(value_enum)]
    workload: WorkloadName,
    /// Servers, comma-separated: clients are spread over them
    #[arg(long, env = "QUORATE_ENDPOINTS", value_delimiter = ',', default_value = "127.0.0.1:2379")]
    endpoints: Vec<String>,
    /// Requests in flight; with --rate, at most so many
    #[arg(long, default_value_t = 64, value_parser = positive())]
    clients: u64,
    /// TCP connections to each endpoint
    #[arg(long, default_value_t = 1, value_parser = positive())]
    connections: u64,
    /// How long to measure
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = positive(), conflicts_with = "operations")]
    seconds: u64,
    /// Measure so many operations instead
    #[arg(long, value_name = "N", value_parser = positive())]
    operations: Option<u64>,
    /// Not measured, before the rest
    #[arg(long, value_name = "S", default_value_t = 1)]
    warm_up_seconds: u64,
    /// Start so many operations a second, whatever the answers do (open loop)
    #[arg(long, value_name = "PER_S")]
    rate: Option<f64>,
    /// How many different keys
    #[arg(long, default_value_t = 10_000, value_parser = positive())]
    keys: u64,
    /// Bytes of a key, the prefix included
    #[arg(long, default_value_t = 24)]
    key_bytes: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// Reads among 100 operations of the mixed workload
    #[arg(long, value_name = "PERCENT", default_value_t = 90)]
    read_percent: u8,
    /// Watchers of the watch workload
    #[arg(long, default_value_t = 1000, value_parser = positive())]
    watchers: u64,
    /// Everything is written under this prefix, and left there
    #[arg(long, default_value = "bench/")]
    prefix: String,
    /// Chooses the keys
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Longest wait for one answer
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = positive())]
    timeout_ms: u64,
    /// Write every key once before measuring
    #[arg(long)]
    fill: bool,
    /// Failover: kill the leader's process, on this machine, after so long
    #[arg(long, value_name = "MS")]
    kill_leader_after_ms: Option<u64>,
    /// Threads of this program
    #[arg(long, default_value_t = 1, value_parser = positive())]
    threads: u64,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

fn positive() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=10_000_000_000)
}

impl BenchArguments {
    fn settings(&self) -> Result<Settings> {
        let with_scheme = |endpoint: &String| match endpoint.contains("://") {
            true => endpoint.clone(),
            false => format!("http://{endpoint}"),
        };
        let endpoints: Vec<String> = self.endpoints.iter().map(with_scheme).collect();
        if let Some(secure) = endpoints.iter().find(|endpoint| endpoint.starts_with("https://")) {
            bail!("{secure}: TLS is not there yet in this version; use http://");
        }
        Ok(Settings {
            endpoints,
            workload: self.workload.into(),
            clients: usize::try_from(self.clients)?,
            connections: usize::try_from(self.connections)?,
            amount: match self.operations {
                Some(count) => Amount::Operations(count),
                None => Amount::Time(Duration::from_secs(self.seconds)),
            },
            warm_up: Duration::from_secs(self.warm_up_seconds),
            rate: self.rate,
            key_space: self.keys,
            key_bytes: self.key_bytes,
            value_bytes: self.value_bytes,
            read_percent: self.read_percent,
            watchers: usize::try_from(self.watchers)?,
            prefix: self.prefix.clone(),
            seed: self.seed,
            timeout: Duration::from_millis(self.timeout_ms),
            kill_leader_after: self.kill_leader_after_ms.map(Duration::from_millis),
            fill: self.fill,
        })
    }
}

impl From<WorkloadName> for Workload {
    fn from(name: WorkloadName) -> Workload {
        match name {
            WorkloadName::Put => Workload::Put,
            WorkloadName::Get => Workload::Get,
            WorkloadName::SerializableGet => Workload::SerializableGet,
            WorkloadName::Range => Workload::Range,
            WorkloadName::Mixed => Workload::Mixed,
            WorkloadName::Txn => Workload::Txn,
            WorkloadName::Watch => Workload::Watch,
            WorkloadName::Lease => Workload::Lease,
            WorkloadName::Failover => Workload::Failover,
        }
    }
}

/// Runs the load and prints what it measured. Fails if any operation failed, the failover workload's excepted.
pub fn run(arguments: BenchArguments) -> Result<ExitCode> {
    let settings = arguments.settings().map_err(usage)?;
    let threads = usize::try_from(arguments.threads)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let shows_progress = arguments.output == OutputFormat::Text && std::io::stderr().is_terminal();
    let progress = move |done: u64| {
        if shows_progress {
            eprint!("\r{done} operations ");
        }
    };
    let report = runtime.block_on(quorate_load::run(&settings, &progress))?;
    if shows_progress {
        eprint!("\r");
    }
    match arguments.output {
        OutputFormat::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        OutputFormat::Text => print(&report),
    }
    let expects_failures = report.workload == Workload::Failover;
    Ok(if report.failed == 0 || expects_failures { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report) {
    let seconds = report.elapsed_ms / 1000.0;
    println!(
        "{} operations in {seconds:.1} s: {:.0} a second, {} in flight",
        report.succeeded, report.rate, report.clients
    );
    let shares = &report.latencies;
    println!(
        "latency (ms)  p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
        millis(shares.p50_us),
        millis(shares.p90_us),
        millis(shares.p99_us),
        millis(shares.p999_us),
        millis(shares.max_us)
    );
    if let Some(gap) = &report.write_gap {
        let when =
            gap.began_after_kill_ms.map(|after| format!(", beginning {after:.0} ms after the leader was killed"));
        println!("longest time without a successful put: {:.0} ms{}", gap.longest_ms, when.unwrap_or_default());
    }
    for server in &report.servers {
        let resident = server.resident_bytes as f64 / f64::from(1 << 20);
        println!(
            "{} (process {}): {:.0} ms CPU, {resident:.0} MiB resident",
            server.endpoint, server.pid, server.cpu_ms
        );
    }
    if let Some(cpu_us) = report.server_cpu_us_per_operation {
        println!("CPU of all local servers: {cpu_us:.1} us an operation");
    }
    for (why, count) in &report.errors {
        println!("failed {count} times: {why}");
    }
}

fn millis(us: u64) -> String {
    format!("{:.2}", us as f64 / 1000.0)
}
