//! `quorate explore`: every schedule of a small cluster, within a bound.

use crate::endpoint::OutputFormat;
use crate::exit::{no_verdict, usage};
use anyhow::Result;
use clap::{Args, ValueEnum};
use quorate_explorer::{Bounds, Disks, Explorer, Progress, Report, targets};
use quorate_protocol::Replica;
use quorate_types::{Membership, NodeId};
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

const PROGRESS_EVERY_STATES: usize = 20_000;

#[derive(Clone, Copy, ValueEnum)]
enum Explored {
    /// Single-decree Paxos
    Paxos,
    /// Raft
    Raft,
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
    /// How often a timer may fire, as TIMER=N over all nodes; others never fire [default: raft election=2]
    #[arg(long = "timer", value_name = "TIMER=N")]
    timers: Vec<String>,
    /// Actions in one schedule, at most
    #[arg(long, default_value_t = u32::MAX)]
    max_depth: u32,
    /// Stop after so many different states
    #[arg(long, default_value_t = 2_000_000)]
    max_states: usize,
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
    let report = match arguments.protocol {
        Explored::Paxos => {
            let bounds = bounds(&arguments, &[]).map_err(usage)?;
            search(targets::paxos(members, quorate_paxos::Config::default(), &proposals, bounds))
        }
        Explored::Raft => {
            let bounds = bounds(&arguments, &["election=2"]).map_err(usage)?;
            search(targets::raft(members, quorate_raft::Config::default(), &proposals, bounds))
        }
    };
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
    match arguments.output {
        OutputFormat::Text => println!("{report}"),
        OutputFormat::Json => println!(
            "{}",
            json!({
                "unique_states": report.unique_states, "transitions": report.transitions, "max_depth": report.max_depth,
                "complete": report.complete, "assumptions": report.assumptions,
                "violation": report.violation.as_ref().map(|found| json!({ "property": found.property, "actions": found.actions })),
            })
        ),
    }
    Ok(match (&report.violation, report.complete) {
        (Some(_), _) => ExitCode::from(1),
        (None, true) => ExitCode::SUCCESS,
        (None, false) => no_verdict(),
    })
}

/// The bounds asked for; a timer that is not named never fires.
fn bounds<R: Replica>(arguments: &ExploreArguments, usual_timers: &[&str]) -> Result<Bounds<R>> {
    let bounds = Bounds {
        max_crashes: arguments.crashes,
        max_duplicates: arguments.duplicates,
        max_depth: arguments.max_depth,
        max_states: arguments.max_states,
        disks: if arguments.late_writes { Disks::AnyDelay } else { Disks::StallBeforeCrash },
        ..Bounds::default()
    };
    let given = arguments.timers.iter().map(String::as_str);
    let timers: Vec<&str> = if arguments.timers.is_empty() { usual_timers.to_vec() } else { given.collect() };
    timers.into_iter().try_fold(bounds, |bounds, text| {
        let (timer, most) = timer_bound::<R>(text)?;
        Ok(bounds.with_timer(timer, most))
    })
}

fn search<R: Replica>(explorer: Explorer<R>) -> Report {
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
