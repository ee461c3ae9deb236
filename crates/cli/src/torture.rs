//! `quorate torture`: real members of this very program under real faults, and a judge of everything clients saw.

use crate::endpoint::OutputFormat;
use crate::exit::{no_verdict, usage};
use crate::serve::protocol_of;
use anyhow::{Context, Result, anyhow};
use clap::Args;
use quorate_torture::{FaultKind, Report, Settings, Verdict, run as torture, way_to_mount};
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Arguments of `quorate torture`.
#[derive(Args)]
pub struct TortureArguments {
    /// How many members: 3 or 5
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(["3", "5"]), default_value = "3")]
    nodes: String,
    /// What replicates the members' stores: raft, multi-paxos, viewstamped or zab
    #[arg(long, default_value = "raft")]
    protocol: String,
    /// How long faults happen; healing and judging come on top
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Which faults, comma-separated: kill, pause, cut, full-disk, failing-flush, clock, member; or none
    #[arg(long, value_delimiter = ',', value_parser = fault_named, default_value = "kill,pause,cut,member")]
    faults: Vec<Wanted>,
    /// Draws the schedule, the load and the members' settings [default: drawn, and shown]
    #[arg(long)]
    seed: Option<u64>,
    /// Clients that read and write; watchers and holders of leases come on top
    #[arg(long, default_value_t = 12)]
    clients: usize,
    /// For data, logs and what was recorded; must be empty or absent [default: torture-SEED]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
    /// This process has mounts of its own already; it starts itself again this way
    #[arg(long, hide = true)]
    own_mounts: bool,
}

/// A fault that was asked for, or none.
#[derive(Clone, Copy, Debug)]
struct Wanted(Option<FaultKind>);

fn fault_named(name: &str) -> Result<Wanted, String> {
    let names = || FaultKind::ALL.map(FaultKind::name).join(", ");
    match FaultKind::named(name) {
        None if name == "none" => Ok(Wanted(None)),
        None => Err(format!("known are {}", names())),
        kind => Ok(Wanted(kind)),
    }
}

/// `quorate torture`. An error is none of the members: nothing was judged, and the code is not that of a violation.
pub fn run(arguments: TortureArguments) -> Result<ExitCode> {
    set_up_and_torture(arguments).map_err(usage)
}

fn set_up_and_torture(arguments: TortureArguments) -> Result<ExitCode> {
    let faults: BTreeSet<FaultKind> = arguments.faults.iter().filter_map(|wanted| wanted.0).collect();
    if !faults.is_empty() && arguments.faults.iter().any(|wanted| wanted.0.is_none()) {
        return Err(usage(anyhow!("--faults: either none or some")));
    }
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => drawn_seed()?,
    };
    if faults.contains(&FaultKind::FullDisk) && !arguments.own_mounts {
        return start_again_with_own_mounts(seed);
    }
    let duration = Duration::try_from_secs_f64(arguments.minutes * 60.0)
        .map_err(|error| usage(anyhow!("--minutes {}: {error}", arguments.minutes)))?;
    let directory = arguments.dir.unwrap_or_else(|| PathBuf::from(format!("torture-{seed}")));
    // Members are started with it, and mounts and preloaded libraries are told it.
    let directory = std::path::absolute(&directory).context("cannot tell where the directory is")?;
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let nodes = arguments.nodes.parse().context("--nodes")?;
    let protocol = protocol_of(Some(&arguments.protocol)).map_err(usage)?.name().to_owned();
    let settings = Settings { nodes, protocol, duration, faults, seed, clients: arguments.clients, directory, program };
    settings.check().map_err(usage)?;
    // On the thread that lives as long as the process: the system kills members when their starter's thread ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(until_interrupted(&settings))? {
        Some(report) => {
            match arguments.output {
                OutputFormat::Text => print!("{}", report.text()),
                OutputFormat::Json => println!("{}", report.json()),
            }
            Ok(match report.verdict() {
                Verdict::Clean => ExitCode::SUCCESS,
                Verdict::Violation => ExitCode::FAILURE,
                Verdict::NoVerdict => no_verdict(),
            })
        }
        None => {
            eprintln!("interrupted: nothing was judged");
            Ok(no_verdict())
        }
    }
}

/// `None`: interrupted. All members are gone either way.
async fn until_interrupted(settings: &Settings) -> Result<Option<Report>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let Settings { seed, nodes, directory, .. } = settings;
    eprintln!("seed {seed}: {nodes} members in {}", directory.display());
    tokio::select! {
        report = torture(settings, &|words| eprintln!("{words}")) => report.map(Some),
        _ = interrupt.recv() => Ok(None),
        _ = terminate.recv() => Ok(None),
    }
}

fn drawn_seed() -> Result<u64> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("the system has no randomness: {error}"))?;
    Ok(u64::from(u32::from_le_bytes(bytes)))
}

/// Becomes this program again, in a mount namespace that ends with it: small disks can be mounted there, and are left nowhere.
fn start_again_with_own_mounts(seed: u64) -> Result<ExitCode> {
    let way = way_to_mount().map_err(usage)?;
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let seed = format!("--seed={seed}");
    let mut given: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    if !given.iter().any(|word| word.to_string_lossy().starts_with("--seed")) {
        given.push(seed.into());
    }
    let mut command = std::process::Command::new(&way[0]);
    let error = command.args(&way[1..]).arg("--").arg(program).args(given).arg("--own-mounts").exec();
    Err(error).context("cannot start in a mount namespace")
}
