//! `quorate explore`: every schedule of a small cluster, within a bound.

use crate::endpoint::OutputFormat;
use crate::exit::{no_verdict, usage};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use quorate_explorer::{Bounds, Disks, Explorable, Explorer, Progress, Report, targets};
use quorate_protocol::{Input, Replica, RequestId};
use quorate_types::{Membership, NodeId};
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const PROGRESS_EVERY_STATES: usize = 200_000;

#[derive(Clone, Copy, ValueEnum)]
enum Explored {
    /// Single-decree Paxos
    Paxos,
    /// Raft
    Raft,
    /// Multi-Paxos
    MultiPaxos,
    /// Viewstamped Replication
    Viewstamped,
    /// Zab
    Zab,
}

/// Arguments of `quorate explore`.
#[derive(Args)]
pub struct ExploreArguments {
    /// What to explore
    #[arg(long, value_enum, default_value_t = Explored::Paxos)]
    protocol: Explored,
    /// How many replicas
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=5))]
    nodes: u64,
    /// How many nodes propose a value of their own, each once
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=5))]
    proposers: u64,
    /// Crashes, each followed by a restart, over all nodes
    #[arg(long, default_value_t = 0)]
    crashes: u8,
    /// Messages that may arrive twice
    #[arg(long, default_value_t = 0)]
    duplicates: u8,
    /// How often a timer may fire, as TIMER=N over all nodes; others never fire [default: raft and multi-paxos election=2, viewstamped
    /// primary=1, zab finalize=1 and tick=1]
    #[arg(long = "timer", value_name = "TIMER=N")]
    timers: Vec<String>,
    /// Actions in one schedule, at most
    #[arg(long, default_value_t = u32::MAX)]
    max_depth: u32,
    /// Stop after so many different states
    #[arg(long, default_value_t = 20_000_000)]
    max_states: usize,
    /// Node 1 is asked once, at any moment, to hand leadership to node 2 (not for paxos)
    #[arg(long)]
    transfer: bool,
    /// Node 1 is asked once, at any moment, to let the last node leave (for raft, multi-paxos and viewstamped)
    #[arg(long)]
    leave: bool,
    /// Threads that search [default: as many as there are cores]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: Option<u64>,
    /// Where to write what breaks a property as a scenario, for `quorate explain`
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Let writes complete at any later moment, and not only at once or, before a crash, never: far more states
    #[arg(long)]
    late_writes: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

/// `quorate explore`. Exit code 0 if nothing is broken and everything within the bound was seen, 1 if something is broken, 3 if the
/// search ended early.
pub fn explore(arguments: ExploreArguments) -> Result<ExitCode> {
    let members = Membership::of_voters(arguments.nodes);
    let proposals: Vec<(NodeId, &'static str)> =
        (1..=arguments.proposers.min(arguments.nodes)).map(NodeId).zip(["a", "b", "c", "d", "e"]).collect();
    if let Some(why) = does_not_apply(&arguments) {
        return Err(usage(anyhow::anyhow!(why)));
    }
    match arguments.protocol {
        Explored::Paxos => {
            let bounds = bounds(&arguments, &[]).map_err(usage)?;
            finish(&search(targets::paxos(members, quorate_paxos::Config::default(), &proposals, bounds)), &arguments)
        }
        Explored::Raft => {
            let bounds = bounds(&arguments, &["election=2"]).map_err(usage)?;
            let explorer = targets::raft(members.clone(), quorate_raft::Config::default(), &proposals, bounds);
            finish(&search(wishes(explorer, &arguments, &members)), &arguments)
        }
        Explored::MultiPaxos => {
            let bounds = bounds(&arguments, &["election=2"]).map_err(usage)?;
            let config = quorate_multi_paxos::Config::default();
            let explorer = targets::multi_paxos(members.clone(), config, &proposals, bounds);
            finish(&search(wishes(explorer, &arguments, &members)), &arguments)
        }
        Explored::Viewstamped => {
            let bounds = bounds(&arguments, &["primary=1"]).map_err(usage)?;
            let config = quorate_viewstamped::Config::default();
            let explorer = targets::viewstamped(members.clone(), config, &proposals, bounds);
            finish(&search(wishes(explorer, &arguments, &members)), &arguments)
        }
        Explored::Zab => {
            let bounds = bounds(&arguments, &["finalize=1", "tick=1"]).map_err(usage)?;
            let explorer = targets::zab(members.clone(), quorate_zab::Config::default(), &proposals, bounds);
            finish(&search(wishes(explorer, &arguments, &members)), &arguments)
        }
    }
}

/// What is asked of a protocol that does not have it, or whose properties are not stated for it.
fn does_not_apply(arguments: &ExploreArguments) -> Option<&'static str> {
    match arguments.protocol {
        Explored::Paxos if arguments.transfer || arguments.leave => {
            Some("--transfer and --leave are not for --protocol paxos: it has no leader and no other members")
        }
        Explored::Zab if arguments.leave => {
            Some("--leave is not for --protocol zab: what is checked there is stated for members that stay as they are")
        }
        _ if arguments.nodes == 1 && arguments.transfer => {
            Some("--transfer needs a node 2: ask for --nodes 2 at least")
        }
        _ if arguments.nodes == 1 && arguments.leave => Some("--leave needs who stays: ask for --nodes 2 at least"),
        _ => None,
    }
}

/// What the client wants besides proposals.
fn wishes<R: Explorable>(explorer: Explorer<R>, arguments: &ExploreArguments, members: &Membership) -> Explorer<R> {
    let (asked, last) = (NodeId(1), NodeId(arguments.nodes));
    let mut explorer = explorer;
    if arguments.transfer {
        explorer = explorer.wish(asked, Input::Transfer { request: RequestId(1_000), to: NodeId(2) });
    }
    if arguments.leave {
        let rest = Membership::new(members.members().iter().filter(|member| member.id != last).cloned());
        let wish = Input::Reconfigure { request: RequestId(1_001), based_on: members.clone(), members: rest };
        explorer = explorer.wish(asked, wish);
    }
    explorer
}

/// Prints the report, and writes the scenario where there is one to write.
fn finish<R: Replica>(report: &Report<R>, arguments: &ExploreArguments) -> Result<ExitCode> {
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
    let script = report.violation.as_ref().map(|found| &found.script);
    match arguments.output {
        OutputFormat::Text => println!("{report}"),
        OutputFormat::Json => println!(
            "{}",
            json!({
                "unique_states": report.unique_states, "transitions": report.transitions, "max_depth": report.max_depth,
                "complete": report.complete, "assumptions": report.assumptions,
                "replica_states": report.size.replica_states, "messages": report.size.messages,
                "bytes": report.size.fingerprint_bytes + report.size.link_bytes + report.size.waiting_bytes_most,
                "violation": report.violation.as_ref().map(|found| json!({
                    "property": found.property, "detail": found.detail, "actions": found.actions,
                    "scenario": script.and_then(|script| script.as_ref().ok()),
                })),
            })
        ),
    }
    if let (Some(path), Some(script)) = (&arguments.scenario, script) {
        write_scenario(path, script)?;
    }
    Ok(match (&report.violation, report.complete) {
        (Some(_), _) => ExitCode::from(1),
        (None, true) => ExitCode::SUCCESS,
        (None, false) => no_verdict(),
    })
}

fn write_scenario(path: &Path, script: &Result<String, String>) -> Result<()> {
    match script {
        Ok(text) => {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("written as a scenario: `quorate explain {}` tells it", path.display());
        }
        Err(what) => eprintln!("not written as a scenario, which has no words for {what}"),
    }
    Ok(())
}

/// The bounds asked for; a timer that is not named never fires.
fn bounds<R: Replica>(arguments: &ExploreArguments, usual_timers: &[&str]) -> Result<Bounds<R>> {
    let bounds = Bounds {
        max_crashes: arguments.crashes,
        max_duplicates: arguments.duplicates,
        max_depth: arguments.max_depth,
        max_states: arguments.max_states,
        disks: if arguments.late_writes { Disks::AnyDelay } else { Disks::StallBeforeCrash },
        threads: threads(arguments.threads),
        ..Bounds::default()
    };
    let given = arguments.timers.iter().map(String::as_str);
    let timers: Vec<&str> = if arguments.timers.is_empty() { usual_timers.to_vec() } else { given.collect() };
    timers.into_iter().try_fold(bounds, |bounds, text| {
        let (timer, most) = timer_bound::<R>(text)?;
        Ok(bounds.with_timer(timer, most))
    })
}

fn threads(wanted: Option<u64>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    wanted.map_or_else(cores, |wanted| usize::try_from(wanted).unwrap_or(1))
}

fn search<R: Explorable>(explorer: Explorer<R>) -> Report<R> {
    let explorer = explorer.sometimes("decided", |cluster| !cluster.chosen().is_empty());
    if std::io::stderr().is_terminal() {
        return explorer.on_progress(PROGRESS_EVERY_STATES, show).explore();
    }
    explorer.explore()
}

fn timer_bound<R: Replica>(text: &str) -> Result<(R::Timer, u8)> {
    let known = || R::TIMERS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let Some((name, most)) = text.split_once('=') else {
        anyhow::bail!("--timer {text}: TIMER=N is wanted; timers are {}", known())
    };
    let Some((_, timer)) = R::TIMERS.iter().find(|(timer, _)| *timer == name) else {
        anyhow::bail!("--timer {text}: {} has no such timer; it has {}", R::PROTOCOL, known());
    };
    Ok((*timer, most.parse()?))
}

fn show(progress: &Progress) {
    eprint!("\r{} states, {} waiting, depth {} ", progress.unique_states, progress.waiting, progress.depth);
    // Progress that cannot be shown is no reason to stop.
    let _ = std::io::stderr().flush();
}
