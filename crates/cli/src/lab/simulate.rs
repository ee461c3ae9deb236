//! `quorate sim`: one seed, or many.

use super::campaign::{Ran, Settings, merge_files};
use super::protocol::{RunSeed, protocol_named};
use crate::endpoint::OutputFormat;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use quorate_keyspace::Keyspace;
use quorate_simulator::Keep;
use quorate_simulator::swarm::{
    Campaign, CampaignReport, LogProtocol, OnProtocol, Options, Progress, Report, Scripted, Shard, Shrunk,
    run_campaign, shrink_seed,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `quorate sim`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SimArguments {
    #[command(subcommand)]
    command: Option<SimCommand>,
    /// What runs
    #[arg(long, default_value = "raft", value_parser = protocol_named())]
    protocol: LogProtocol,
    /// Run this seed and say what happened
    #[arg(long, conflicts_with_all = ["seeds", "minutes", "jobs", "shard", "report"])]
    seed: Option<u64>,
    /// Run these seeds: FIRST..LAST, both included
    #[arg(long, required_unless_present = "seed", value_parser = seed_range)]
    seeds: Option<Range<u64>>,
    /// Stop after so many minutes
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: Option<u64>,
    /// Run one part of a campaign that is dealt to N machines: I/N, I from 0 to N-1
    #[arg(long, value_name = "I/N", value_parser = shard_of, requires = "seeds")]
    shard: Option<Shard>,
    /// Write the report to this file too, as JSON: `quorate sim report` merges those of shards
    #[arg(long, value_name = "FILE", requires = "seeds")]
    report: Option<PathBuf>,
    /// On so many threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// With --seed: where to put the scenario that a failing seed is cut down to
    #[arg(long, value_name = "FILE", requires = "seed")]
    script: Option<PathBuf>,
    /// With --seed: cut a failing seed down in at most so many runs; 0 leaves it as it is
    #[arg(long, default_value_t = 600, requires = "seed")]
    shrink_runs: u64,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

#[derive(Subcommand)]
enum SimCommand {
    /// Merge the reports of a campaign's shards into one, and judge it
    ///
    /// Reports of other builds or settings, and two reports of one shard, are refused. Exit code 1 if a promise was broken, a
    /// shard is missing, or something rare was never seen.
    Report(ReportArguments),
}

#[derive(Args)]
struct ReportArguments {
    /// What `quorate sim --shard I/N --report FILE` wrote
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

fn shard_of(text: &str) -> Result<Shard> {
    let Some((index, count)) = text.split_once('/') else { bail!("I/N is wanted, such as 0/8") };
    let Some(shard) = Shard::new(index.parse()?, count.parse()?) else {
        bail!("shards are numbered from 0: there is no shard {index} of {count}")
    };
    Ok(shard)
}

fn seed_range(text: &str) -> Result<Range<u64>> {
    let Some((first, last)) = text.split_once("..") else { bail!("FIRST..LAST is wanted, such as 1..1000") };
    let (first, last): (u64, u64) = (first.parse()?, last.trim_start_matches('=').parse()?);
    if first > last || last == u64::MAX {
        bail!("{text} is empty");
    }
    Ok(first..last + 1)
}

/// `quorate sim`. Exit code 1 if a promise was broken, or a campaign proved too little to count.
pub fn sim(arguments: SimArguments) -> Result<ExitCode> {
    if let Some(SimCommand::Report(arguments)) = arguments.command {
        return merge_reports(&arguments);
    }
    if let Some(seed) = arguments.seed {
        let options = Options { keep: Keep::Nothing, ..Options::default() };
        let report = arguments.protocol.with(RunSeed { seed, options });
        match arguments.output {
            OutputFormat::Text => print_seed(&report),
            OutputFormat::Json => println!("{}", seed_json(&report)),
        }
        if report.violation.is_some() && arguments.shrink_runs > 0 {
            shrink(arguments.protocol, seed, arguments.shrink_runs, arguments.script)?;
        }
        return Ok(if report.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    run_many(arguments)
}

/// One machine's part of a campaign, which usually is all of it.
fn run_many(arguments: SimArguments) -> Result<ExitCode> {
    let Some(seeds) = arguments.seeds else { bail!("--seed or --seeds is needed") };
    let shard = arguments.shard.unwrap_or(Shard::WHOLE);
    let settings = Settings::here(arguments.protocol.name(), &seeds, shard.count(), arguments.minutes)?;
    let total = shard.len(&seeds);
    let campaign = Campaign {
        seeds,
        shard,
        limit: arguments.minutes.map(|minutes| Duration::from_secs(minutes * 60)),
        jobs: usize::from(arguments.jobs),
        stop_at_first: false,
        impossible_marks: Vec::new(),
    };
    let shown = std::io::stderr().is_terminal();
    let report = arguments.protocol.with(RunCampaign { campaign: &campaign, shown, total });
    if shown {
        eprintln!();
    }
    let ran = Ran { settings, shards: BTreeSet::from([shard.index()]), report };
    print(&ran, arguments.output)?;
    if let Some(path) = &arguments.report {
        ran.write(path)?;
    }
    Ok(if ran.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct RunCampaign<'a> {
    campaign: &'a Campaign,
    /// Whether somebody watches.
    shown: bool,
    total: u64,
}

impl OnProtocol for RunCampaign<'_> {
    type Output = CampaignReport;

    fn run<R: Scripted>(self) -> CampaignReport {
        run_campaign::<R, Keyspace>(self.campaign, |progress| {
            if self.shown {
                show_progress(progress, self.total);
            }
        })
    }
}

fn merge_reports(arguments: &ReportArguments) -> Result<ExitCode> {
    let ran = merge_files(&arguments.files)?;
    print(&ran, arguments.output)?;
    let is_whole = ran.missing_shards().is_empty();
    Ok(if is_whole && ran.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(ran: &Ran, output: OutputFormat) -> Result<()> {
    match output {
        OutputFormat::Text => ran.print(),
        OutputFormat::Json => println!("{}", ran.to_json()?),
    }
    Ok(())
}

/// Cuts a failing seed down to a scenario, shows it and writes it to a file.
fn shrink(protocol: LogProtocol, seed: u64, runs_max: u64, path: Option<PathBuf>) -> Result<()> {
    let Some(shrunk) = protocol.with(ShrinkSeed { seed, runs_max }) else {
        eprintln!("played again from its deeds alone, the seed does not fail in the same way: it cannot be cut down");
        return Ok(());
    };
    let path = path.unwrap_or_else(|| PathBuf::from(format!("seed-{seed}.scenario")));
    std::fs::write(&path, &shrunk.script).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!(
        "{} with {} deeds instead of {}, on {} nodes, found in {} runs; the story: quorate explain {}\n\n{}",
        shrunk.property,
        shrunk.deeds_after,
        shrunk.deeds_before,
        shrunk.nodes,
        shrunk.runs,
        path.display(),
        shrunk.script
    );
    Ok(())
}

struct ShrinkSeed {
    seed: u64,
    runs_max: u64,
}

impl OnProtocol for ShrinkSeed {
    type Output = Option<Shrunk>;

    fn run<R: Scripted>(self) -> Option<Shrunk> {
        shrink_seed::<R, Keyspace>(self.seed, self.runs_max)
    }
}

fn show_progress(progress: &Progress<'_>, total: u64) {
    let per_second = progress.done as f64 / progress.elapsed.as_secs_f64().max(0.001);
    eprint!(
        "\r{} of {total} seeds, {} violations, {per_second:.0} seeds a second ",
        progress.done, progress.violations
    );
    // Progress that cannot be shown is no reason to stop.
    let _ = std::io::stderr().flush();
}

fn print_seed(report: &Report) {
    let plan = &report.plan;
    let faults: Vec<&str> = plan.faults.iter().map(|(class, _)| class.name()).collect();
    println!(
        "seed {} of {}: {} nodes, {} clients, {} keys",
        report.seed, report.protocol, plan.voters, plan.clients, plan.keys
    );
    println!(
        "storm of {:?}: {}",
        plan.storm,
        if faults.is_empty() { "no faults".to_owned() } else { faults.join(", ") }
    );
    for (fault, count) in &report.faults {
        println!("  {count:>8} {fault}");
    }
    println!(
        "{} events in {:?} of simulated time, {} operations answered and checked",
        report.events, report.simulated, report.operations
    );
    println!("trace hash {:016x}", report.trace_hash);
    match &report.violation {
        None => println!("no promise was broken"),
        Some(violation) => {
            println!("VIOLATION of {}: {}\nreplay: {}", violation.property, violation.text, report.replay_command())
        }
    }
}

fn seed_json(report: &Report) -> Value {
    json!({
        "seed": report.seed, "protocol": report.protocol, "trace_hash": format!("{:016x}", report.trace_hash),
        "simulated_ms": report.simulated.as_millis(), "operations": report.operations, "events": report.events,
        "faults": report.faults, "evidence": report.is_evidence,
        "violation": report.violation.as_ref().map(|violation| json!({ "property": violation.property, "text": violation.text })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_of_so_many_counted_from_0() {
        assert_eq!(shard_of("7/8").unwrap(), Shard::new(7, 8).unwrap());
        for wrong in ["8/8", "0/0", "1", "-1/2", "a/b", ""] {
            assert!(shard_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_of_seeds_includes_both_ends() {
        assert_eq!(seed_range("1..20").unwrap(), 1..21);
        assert_eq!(seed_range("5..=5").unwrap(), 5..6);
        assert!(seed_range("5..4").is_err());
        assert!(seed_range("5").is_err());
    }
}
