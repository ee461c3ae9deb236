//! `quorate sim`: one seed, or many.

use crate::endpoint::OutputFormat;
use anyhow::{Context, Result, bail};
use clap::Args;
use quorate_keyspace::Keyspace;
use quorate_raft::Raft;
use quorate_simulator::Keep;
use quorate_simulator::swarm::{
    Campaign, CampaignReport, Options, Progress, Report, run_campaign, run_seed, shrink_seed,
};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `quorate sim`.
#[derive(Args)]
pub struct SimArguments {
    /// Run this seed and say what happened
    #[arg(long, conflicts_with_all = ["seeds", "minutes", "jobs"])]
    seed: Option<u64>,
    /// Run these seeds: FIRST..LAST, both included
    #[arg(long, required_unless_present = "seed", value_parser = seed_range)]
    seeds: Option<Range<u64>>,
    /// Stop after so many minutes
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: Option<u64>,
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
    if let Some(seed) = arguments.seed {
        let options = Options { keep: Keep::Nothing, ..Options::default() };
        let report = run_seed::<Raft, Keyspace>(seed, &options);
        match arguments.output {
            OutputFormat::Text => print_seed(&report),
            OutputFormat::Json => println!("{}", seed_json(&report)),
        }
        if report.violation.is_some() && arguments.shrink_runs > 0 {
            shrink(seed, arguments.shrink_runs, arguments.script)?;
        }
        return Ok(if report.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let Some(seeds) = arguments.seeds else { bail!("--seed or --seeds is needed") };
    let total = seeds.end - seeds.start;
    let campaign = Campaign {
        seeds,
        limit: arguments.minutes.map(|minutes| Duration::from_secs(minutes * 60)),
        jobs: usize::from(arguments.jobs),
        stop_at_first: false,
        impossible_marks: Vec::new(),
    };
    let shown = std::io::stderr().is_terminal();
    let report = run_campaign::<Raft, Keyspace>(&campaign, |progress| {
        if shown {
            show_progress(progress, total);
        }
    });
    if shown {
        eprintln!();
    }
    match arguments.output {
        OutputFormat::Text => print_campaign(&report, total),
        OutputFormat::Json => println!("{}", campaign_json(&report, total)),
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Cuts a failing seed down to a scenario, shows it and writes it to a file.
fn shrink(seed: u64, runs_max: u64, path: Option<PathBuf>) -> Result<()> {
    let Some(shrunk) = shrink_seed::<Raft, Keyspace>(seed, runs_max) else {
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
    println!("seed {}: {} nodes, {} clients, {} keys", report.seed, plan.voters, plan.clients, plan.keys);
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

fn print_campaign(report: &CampaignReport, total: u64) {
    let hours = report.simulated.as_secs_f64() / 3600.0;
    let seconds = report.elapsed.as_secs_f64().max(0.001);
    println!(
        "{} of {total} seeds run ({} with enough work to count as evidence) in {seconds:.1} s",
        report.seeds, report.evidence
    );
    println!(
        "{hours:.2} simulated hours, {} operations checked, {} events ({:.0} a second)",
        report.operations,
        report.events,
        report.events as f64 / seconds
    );
    let faults: Vec<String> = report.faults.iter().map(|(fault, count)| format!("{count} {fault}")).collect();
    println!("faults: {}", faults.join(", "));
    for (mark, count) in report.marks.iter() {
        println!("  {count:>8} times: {}", mark.name());
    }
    for mark in &report.missing_marks {
        println!("NEVER SEEN: {}: this campaign is no evidence for what needs it", mark.name());
    }
    for failed in &report.failed {
        println!(
            "VIOLATION in seed {}: {}: {}\n  replay: {}",
            failed.seed, failed.violation.property, failed.violation.text, failed.replay
        );
    }
    println!("{} violations", report.failed.len());
}

fn campaign_json(report: &CampaignReport, total: u64) -> Value {
    let failed: Vec<Value> = report
        .failed
        .iter()
        .map(|failed| {
            json!({
                "seed": failed.seed, "property": failed.violation.property, "text": failed.violation.text, "replay": failed.replay,
            })
        })
        .collect();
    json!({
        "protocol": report.protocol, "seeds": report.seeds, "seeds_wanted": total, "evidence": report.evidence,
        "violations": failed, "missing_marks": report.missing_marks.iter().map(|mark| mark.name()).collect::<Vec<_>>(),
        "simulated_hours": report.simulated.as_secs_f64() / 3600.0, "operations": report.operations, "events": report.events,
        "faults": report.faults, "elapsed_seconds": report.elapsed.as_secs_f64(), "passed": report.passed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_seeds_includes_both_ends() {
        assert_eq!(seed_range("1..20").unwrap(), 1..21);
        assert_eq!(seed_range("5..=5").unwrap(), 5..6);
        assert!(seed_range("5..4").is_err());
        assert!(seed_range("5").is_err());
    }
}
