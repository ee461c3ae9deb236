//! `quorate compare`: protocols side by side in the simulator.

mod report;

use crate::endpoint::OutputFormat;
use crate::exit::usage;
use anyhow::{Context, Result, bail};
use clap::Args;
use quorate_compare::{
    Alone, Costs, Fault, Matrix, Pace, ProtocolName, Setting, Summary, Workload, commit_latency, plot,
};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const AFTER_HELP: &str = "Sites are a table that comes with the program (public-cloud-2020, local-cluster) or a file with lines such as \
CA,VA,59.9; behind a colon, only some of its sites.\n\nExamples:\n  quorate compare\n  \
quorate compare --sites public-cloud-2020:CA,VA,EU --leader VA\n  \
quorate compare --protocols raft,zab --fault all --svg figures\n\nExit codes: 0 everything as arithmetic says; 1 a write in an idle \
cluster took more or less than that, or a promise was broken; 2 wrong usage.";

/// Arguments of `quorate compare`.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub struct CompareArguments {
    /// Which protocols, comma-separated: raft, multi-paxos, viewstamped, zab
    #[arg(long, value_delimiter = ',', value_parser = protocol_of, default_value = "raft,multi-paxos,viewstamped,zab")]
    protocols: Vec<ProtocolName>,
    /// Round trips between sites: NAME or FILE, or NAME:SITE,SITE,...
    #[arg(long, value_name = "FILE|NAME", default_value = "public-cloud-2020")]
    sites: String,
    /// Who leads first; the first site of the table unless told
    #[arg(long, value_name = "SITE")]
    leader: Option<String>,
    /// What goes wrong, comma-separated, or `all`: none, leader-dies, leader-cut-off, minority-dies, slow-disk, slow-link,
    /// lossy-links, partial-links
    #[arg(long, value_name = "NAME|all", value_delimiter = ',', default_value = "none")]
    fault: Vec<String>,
    /// Each client asks so often at least, and on until a fault has been over for a while
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    commands: u64,
    /// Clients at each site, each with one call under way
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=200))]
    clients: u16,
    /// Ask every so often, whether there are answers or not (open loop)
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    every_ms: Option<u64>,
    /// Linearizable reads among 100 calls; the others are writes
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    read_percent: u8,
    /// How many different keys
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=99_999_999))]
    keys: u64,
    /// Bytes of a value
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    value_bytes: u32,
    /// How long every flush of a disk takes
    #[arg(long, value_name = "US", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    flush_us: u64,
    /// How long a node takes to get to what waits for it
    #[arg(long, value_name = "US", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    processing_us: u64,
    /// Decides everything that is left to chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Draw latency.svg, gaps.svg, messages.svg and flushes.svg into this directory
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

fn protocol_of(text: &str) -> Result<ProtocolName> {
    let known = ProtocolName::ALL.map(ProtocolName::name).join(", ");
    ProtocolName::named(text)
        .with_context(|| format!("there is no protocol of that name to compare; there are {known}"))
}

/// A table by name, or in a file; behind a colon some of its sites.
fn matrix_of(text: &str) -> Result<Matrix> {
    let (table, picked) = match text.rsplit_once(':') {
        Some((table, picked)) if !Path::new(text).exists() => (table, Some(picked)),
        _ => (text, None),
    };
    let matrix = match Matrix::shipped(table) {
        Some(matrix) => matrix,
        None => {
            let known = Matrix::shipped_names().collect::<Vec<_>>().join(", ");
            let complaint = || {
                format!("{table} is no table that comes with the program ({known}), and as a file it cannot be read")
            };
            let contents = std::fs::read_to_string(table).with_context(complaint)?;
            Matrix::parse(&contents).with_context(|| table.to_owned())?
        }
    };
    match picked {
        None => Ok(matrix),
        Some(picked) => Ok(matrix.only(&picked.split(',').map(str::trim).collect::<Vec<_>>())?),
    }
}

/// The faults of these names, each once; `all` is those that make sense among so many sites.
fn faults_of(names: &[String], sites: usize) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for name in names {
        let named = match (name.as_str(), Fault::named(name)) {
            ("all", _) => Fault::ALL.into_iter().filter(|fault| fault.sites_least() <= sites).collect(),
            (_, Some(fault)) => vec![fault],
            (_, None) => {
                bail!("there is no fault {name}; there are {}, and all", Fault::ALL.map(Fault::name).join(", "))
            }
        };
        for fault in named {
            if fault.sites_least() > sites {
                bail!("{name} needs at least {} sites, and there are {sites}", fault.sites_least());
            }
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
    }
    Ok(faults)
}

/// Everything that was found.
struct Comparison {
    setting: Setting,
    workload: Workload,
    /// One write at each site, by protocol.
    alone: Vec<(&'static str, Vec<Alone>)>,
    /// By fault, then by protocol.
    summaries: Vec<Summary>,
}

impl Comparison {
    /// Whether every write in an idle cluster took what arithmetic says, if nothing but links takes time.
    fn is_as_expected(&self) -> bool {
        let Setting { matrix, leader, .. } = &self.setting;
        let fits = |write: &Alone| commit_latency(matrix, *leader, write.site, &[]) == Some(write.latency);
        !self.setting.is_exact() || self.alone.iter().all(|(_, writes)| writes.iter().all(fits))
    }
}

impl CompareArguments {
    fn setting(&self) -> Result<Setting> {
        let matrix = matrix_of(&self.sites)?;
        let leader = match &self.leader {
            Some(name) => matrix.site(name)?,
            None => matrix.sites().next().context("a table has at least one site")?,
        };
        let micros = Duration::from_micros;
        let costs = Costs { flush: micros(self.flush_us), processing: micros(self.processing_us) };
        Ok(Setting { matrix, leader, costs, seed: self.seed })
    }

    fn workload(&self) -> Result<Workload> {
        Ok(Workload {
            clients_per_site: usize::from(self.clients),
            pace: self.every_ms.map(|every| Pace::Open { every: Duration::from_millis(every) }),
            commands: self.commands,
            read_percent: self.read_percent,
            keys: self.keys,
            value_bytes: usize::try_from(self.value_bytes)?,
        })
    }
}

/// `quorate compare`. Exit code 1 if a write in an idle cluster of instant nodes did not take what arithmetic says.
pub fn compare(arguments: CompareArguments) -> Result<ExitCode> {
    let setting = arguments.setting().map_err(usage)?;
    let faults = faults_of(&arguments.fault, setting.matrix.count()).map_err(usage)?;
    let workload = arguments.workload().map_err(usage)?;
    let mut protocols = arguments.protocols.clone();
    protocols.sort_unstable();
    protocols.dedup();
    let total = protocols.len() * (faults.len() + 1);
    let mut progress = Progress { done: 0, total, is_shown: std::io::stderr().is_terminal() };
    let mut comparison = Comparison { setting, workload, alone: Vec::new(), summaries: Vec::new() };
    for protocol in &protocols {
        progress.show(protocol.name(), "one write at a time");
        comparison.alone.push((protocol.name(), protocol.alone(&comparison.setting)?));
    }
    for fault in faults {
        for protocol in &protocols {
            progress.show(protocol.name(), fault.name());
            let run = protocol.run(&comparison.setting, &comparison.workload, fault)?;
            comparison.summaries.push(Summary::of(&run));
        }
    }
    progress.clear();
    match arguments.output {
        OutputFormat::Text => print!("{}", report::text(&comparison)),
        OutputFormat::Json => println!("{}", serde_json::to_string_pretty(&report::json(&comparison))?),
    }
    if let Some(directory) = &arguments.svg {
        draw(&comparison, directory, protocols.len())?;
    }
    Ok(if comparison.is_as_expected() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The latencies of the first fault's calm beginning; gaps and costs of all.
fn draw(comparison: &Comparison, directory: &Path, protocols: usize) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let first: Vec<Summary> = comparison.summaries.iter().take(protocols).cloned().collect();
    let figures = [
        ("latency.svg", plot::latency_figure(&comparison.setting, &first)),
        ("gaps.svg", plot::gap_figure(&comparison.setting, &comparison.summaries)),
        ("messages.svg", plot::messages_figure(&comparison.setting, &comparison.summaries)),
        ("flushes.svg", plot::flushes_figure(&comparison.setting, &comparison.summaries)),
    ];
    for (name, svg) in figures {
        let path = directory.join(name);
        std::fs::write(&path, svg).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("{} is drawn", path.display());
    }
    Ok(())
}

/// What is being run, on a terminal.
struct Progress {
    done: usize,
    total: usize,
    is_shown: bool,
}

impl Progress {
    fn show(&mut self, protocol: &str, what: &str) {
        self.done += 1;
        if self.is_shown {
            eprint!("\r\x1b[K{} of {}: {protocol}, {what} ", self.done, self.total);
            // Progress that cannot be shown is no reason to stop.
            let _ = std::io::stderr().flush();
        }
    }

    fn clear(&self) {
        if self.is_shown {
            eprint!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_a_table_or_a_file_and_some_of_their_sites() {
        assert_eq!(matrix_of("local-cluster").unwrap().count(), 5);
        assert_eq!(matrix_of("public-cloud-2020:JP,CA").unwrap().count(), 2);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mine.csv");
        std::fs::write(&path, "# source: me\n# date: today\nfrom,to,round_trip_ms\nA,B,2\n").unwrap();
        assert_eq!(matrix_of(path.to_str().unwrap()).unwrap().count(), 2);
        let nowhere = format!("{:#}", matrix_of("nowhere").unwrap_err());
        assert!(nowhere.contains("nowhere is no table") && nowhere.contains("local-cluster"), "{nowhere}");
        assert!(matrix_of("local-cluster:N1,N9").unwrap_err().to_string().contains("no site N9"));
    }

    #[test]
    fn faults_are_named_and_must_make_sense_among_so_many() {
        let faults = |name: &str, sites| faults_of(&[name.to_owned()], sites);
        assert_eq!(faults("all", 5).unwrap(), Fault::ALL);
        assert_eq!(faults("all", 1).unwrap(), [Fault::None, Fault::SlowDisk]);
        assert!(faults("leader-dies", 2).unwrap_err().to_string().contains("at least 3 sites"));
        assert!(faults("flood", 5).unwrap_err().to_string().contains("partial-links"));
    }
}
