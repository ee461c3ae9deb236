//! `quorate maelstrom`: a node for Jepsen's Maelstrom.

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use quorate_maelstrom::{raft_settings, serve};
use std::io::{BufReader, stdin, stdout};
use std::process::ExitCode;
use std::time::Duration;

/// A protocol that can serve Maelstrom's workloads.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    Raft,
}

/// Arguments of `quorate maelstrom`.
#[derive(Args)]
pub struct MaelstromArguments {
    /// What the nodes agree by
    #[arg(long, value_enum, default_value_t = Protocol::Raft)]
    protocol: Protocol,
    /// After how long without a leader another is elected, in ms: at least ten round trips of Maelstrom's network
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    election_timeout_ms: u32,
}

/// `quorate maelstrom`. Ends when standard input does.
pub fn run(arguments: MaelstromArguments) -> Result<ExitCode> {
    ensure!(arguments.election_timeout_ms >= 10, "--election-timeout-ms must be at least 10");
    let election_timeout = Duration::from_millis(arguments.election_timeout_ms.into());
    match arguments.protocol {
        Protocol::Raft => serve(raft_settings(election_timeout), BufReader::new(stdin()), stdout().lock())?,
    }
    Ok(ExitCode::SUCCESS)
}
