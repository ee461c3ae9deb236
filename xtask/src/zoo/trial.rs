//! Everything that hunts bugs, let loose on one mutant.

use super::mutant::Mutant;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A mutant that does not come back within this is stuck, and that is a finding too.
const PATIENCE: Duration = Duration::from_secs(900);
/// Between two looks at a process.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// So far apart are the first seeds of independent campaigns.
const SEEDS_APART: u64 = 1_000_000;

/// How far campaigns go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Independent campaigns.
    pub(crate) starts: u64,
    /// Seeds of one, at most.
    pub(crate) seeds: u64,
    /// After which no further one begins.
    pub(crate) core_seconds: u64,
}

/// What one campaign from one start showed.
#[derive(Clone, Debug)]
pub(crate) struct Campaign {
    /// Seeds until it was found, or all that were tried.
    pub(crate) seeds: u64,
    /// The seed that broke a promise, and which.
    pub(crate) found: Option<(u64, String)>,
    pub(crate) simulated_seconds: f64,
    pub(crate) core_seconds: f64,
}

/// A scenario or a search: what it found, and what it cost.
#[derive(Clone, Debug)]
pub(crate) struct Single {
    pub(crate) found: Option<String>,
    pub(crate) core_seconds: f64,
    /// Of a search: states seen.
    pub(crate) states: Option<u64>,
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) campaigns: Vec<Campaign>,
    pub(crate) scenario: Option<Single>,
    pub(crate) search: Option<Single>,
}

/// Lets everything loose that the mutant's story names.
pub(crate) fn run(runner: &Path, mutant: &Mutant, limits: &Limits) -> Result<Findings> {
    let mut findings = Findings::default();
    for protocol in &mutant.hunt {
        let mut spent = 0.0;
        for start in 0..limits.starts {
            if start > 0 && spent >= limits.core_seconds as f64 {
                break;
            }
            let campaign = campaign(runner, protocol, start * SEEDS_APART, limits.seeds)?;
            spent += campaign.core_seconds;
            findings.campaigns.push(campaign);
        }
    }
    if let Some(scenario) = &mutant.scenario {
        let file = format!("file={}", scenario.display());
        findings.scenario = Some(single(&ask(runner, &["scenario", &file])?)?);
    }
    if let Some(bounds) = &mutant.search {
        let arguments: Vec<&str> = std::iter::once("search").chain(bounds.split_whitespace()).collect();
        findings.search = Some(single(&ask(runner, &arguments)?)?);
    }
    Ok(findings)
}

fn campaign(runner: &Path, protocol: &str, first: u64, seeds: u64) -> Result<Campaign> {
    let arguments = [format!("protocol={protocol}"), format!("first={first}"), format!("seeds={seeds}")];
    let arguments: Vec<&str> = std::iter::once("hunt").chain(arguments.iter().map(String::as_str)).collect();
    let answer = ask(runner, &arguments)?;
    let found = &answer["found"];
    let property = found["property"].as_str().map(str::to_owned);
    Ok(Campaign {
        seeds: answer["seeds"].as_u64().unwrap_or(seeds),
        found: property.map(|property| (found["seed"].as_u64().unwrap_or(first), property)),
        simulated_seconds: answer["simulated_seconds"].as_f64().unwrap_or(0.0),
        core_seconds: number(&answer, "core_seconds")?,
    })
}

fn single(answer: &Value) -> Result<Single> {
    let found = &answer["found"];
    let property = found["property"].as_str().map(str::to_owned);
    let step = found["line"].as_u64().map(|line| format!("line {line}: {}", found["detail"].as_str().unwrap_or("")));
    Ok(Single {
        found: property.or(step),
        core_seconds: number(answer, "core_seconds")?,
        states: answer["states"].as_u64(),
    })
}

fn number(answer: &Value, field: &str) -> Result<f64> {
    answer[field].as_f64().with_context(|| format!("the runner says no {field}: {answer}"))
}

/// Runs the runner once; a crash of it and a run without an end are findings.
fn ask(runner: &Path, arguments: &[&str]) -> Result<Value> {
    // Campaigns are long and nobody waits for them.
    let mut command = Command::new("nice");
    command
        .args(["-n", "10"])
        .arg(runner)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("{} cannot be started", runner.display()))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Ok(broken("Ends", started));
        }
        sleep(LOOK_EVERY);
    };
    let output = child.wait_with_output()?;
    match status.code() {
        Some(0) => serde_json::from_slice(&output.stdout).context("the runner's answer is no JSON"),
        Some(code) => bail!("the runner refused `{}` with code {code}", arguments.join(" ")),
        None => Ok(broken("NoAbort", started)),
    }
}

/// What stands for a run that never answered.
fn broken(property: &str, started: Instant) -> Value {
    json!({ "found": { "property": property }, "core_seconds": started.elapsed().as_secs_f64() })
}
