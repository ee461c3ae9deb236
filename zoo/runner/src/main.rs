//! What the zoo runs on every mutant: the simulator, the explorer and scenarios, and nothing that serves. It depends on no
//! server crate, so that a mutant is built in seconds. One run, one JSON object on standard output.

mod hunt;
/// What Paxos decides is the one change of such a ledger.
#[path = "../../../crates/simulator/tests/simulator/ledger/mod.rs"]
mod ledger;
mod processor_time;
mod script;
mod search;
mod settings;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use settings::Settings;
use std::process::ExitCode;

const USAGE: &str = "\
usage: zoo-runner <way> name=value...

  hunt      protocol=raft|multi-paxos|viewstamped|zab|paxos first=SEED seeds=N
                                                                random runs up to the first broken promise
  scenario  file=PATH                                           a script, up to the first thing that is not as expected
  search    protocol=raft|multi-paxos|zab|paxos nodes=N proposers=N crashes=N duplicates=N timers=NAME:N,... states=N late-writes=yes|no
                                                                every schedule within the bounds";

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((way, rest)) = arguments.split_first() else {
        eprintln!("{USAGE}");
        return Ok(ExitCode::from(2));
    };
    println!("{}", run(way, Settings::parse(rest)?)?);
    Ok(ExitCode::SUCCESS)
}

fn run(way: &str, mut settings: Settings) -> Result<Value> {
    let found = match way {
        "hunt" => hunt::run(&mut settings),
        "scenario" => script::run(&mut settings),
        "search" => search::run(&mut settings),
        other => bail!("there is no way `{other}`\n{USAGE}"),
    };
    let found = found.with_context(|| way.to_owned())?;
    settings.finish()?;
    Ok(found)
}
