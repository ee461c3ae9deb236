//! `quorate decide` and `quorate explain`: runs in words.

use super::protocol::{RunSeed, protocol_named};
use crate::exit::usage;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use quorate_narrator::{Detail, Happening, Story};
use quorate_simulator::Keep;
use quorate_simulator::scenario::{self, Scenario};
use quorate_simulator::swarm::{LogProtocol, Options};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How much is told.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Telling {
    /// Faults, leadership, calls
    Outline,
    /// And every rule that allowed, refused or held something back
    Reasons,
    /// And every message, timer and write
    Everything,
}

/// Arguments of `quorate decide`.
#[derive(Args)]
pub struct DecideArguments {
    /// How many nodes accept
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// A value to propose; give it several times to let proposers duel
    #[arg(long = "propose", required = true, value_name = "VALUE")]
    proposals: Vec<String>,
    /// Decides delays, losses and back-offs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How much to tell
    #[arg(long, value_enum, default_value_t = Telling::Reasons)]
    detail: Telling,
}

/// Arguments of `quorate explain`.
#[derive(Args)]
#[command(after_long_help = scenario::LANGUAGE)]
pub struct ExplainArguments {
    /// A scenario file; `--help` tells the language
    #[arg(required_unless_present = "seed", conflicts_with = "seed")]
    scenario: Option<PathBuf>,
    /// The seed of a simulated run
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: what runs; a scenario names it itself
    #[arg(long, default_value = "raft", value_parser = protocol_named(), requires = "seed")]
    protocol: LogProtocol,
    /// How much to tell
    #[arg(long, value_enum, default_value_t = Telling::Reasons)]
    detail: Telling,
    /// Leave out which rule of which paper is behind each sentence
    #[arg(long)]
    no_sources: bool,
}

/// `quorate decide`.
pub fn decide(arguments: DecideArguments) -> Result<ExitCode> {
    let report = scenario::decide(arguments.nodes, &arguments.proposals, arguments.seed).map_err(anyhow::Error::msg)?;
    print!("{}", told(report.transcript.kept(), arguments.detail, true));
    println!();
    if let Some(broken) = &report.broken {
        bail!("a promise is broken: {broken}; please report this seed ({})", arguments.seed);
    }
    match report.decision() {
        Some(decision) => {
            println!(
                "All {} nodes agree on {decision} after {:?} of their time (seed {}).",
                arguments.nodes, report.took, arguments.seed
            );
            Ok(ExitCode::SUCCESS)
        }
        None => bail!("not all nodes know a decision after {:?} of their time: {:?}", report.took, report.decisions),
    }
}

/// `quorate explain`.
pub fn explain(arguments: ExplainArguments) -> Result<ExitCode> {
    if let Some(seed) = arguments.seed {
        let options = Options { keep: Keep::Everything, tracing: Some(true), record: false };
        let report = arguments.protocol.with(RunSeed { seed, options });
        print!("{}", told(report.happenings.iter(), arguments.detail, !arguments.no_sources));
        return Ok(match report.violation {
            Some(violation) => {
                println!("\n{} is violated: {}", violation.property, violation.text);
                ExitCode::FAILURE
            }
            None => ExitCode::SUCCESS,
        });
    }
    let Some(path) = &arguments.scenario else {
        return Err(usage(anyhow::anyhow!("a scenario file or --seed is needed")));
    };
    let scenario = read_scenario(path).map_err(usage)?;
    println!("{}\n", scenario.title());
    let report = scenario.run();
    print!("{}", told(report.transcript.kept(), arguments.detail, !arguments.no_sources));
    match report.failure {
        None => {
            println!("\neverything as expected");
            Ok(ExitCode::SUCCESS)
        }
        Some(failure) => bail!("{}, line {}: `{}`: {}", path.display(), failure.line, failure.text, failure.why),
    }
}

fn read_scenario(path: &Path) -> Result<Scenario> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Scenario::parse(&text).with_context(|| path.display().to_string())
}

fn told<'a>(happenings: impl Iterator<Item = &'a Happening>, detail: Telling, sources: bool) -> String {
    let detail = match detail {
        Telling::Outline => Detail::Outline,
        Telling::Reasons => Detail::Reasons,
        Telling::Everything => Detail::Everything,
    };
    let mut story = Story::new(detail, sources);
    for happening in happenings {
        story.tell(happening);
    }
    story.finish()
}
