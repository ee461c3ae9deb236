//! `quorate serve`: one node, as an operator runs it.

mod consensus;
mod limits;
mod plan;
mod process;
mod recording;
mod settings;

use crate::exit::usage;
use anyhow::Result;
use clap::Args;
use plan::ServePlan;
pub use plan::protocol_of;
pub use recording::PROGRAM;
pub use settings::Settings;
use settings::refuse_unknown_variables;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `quorate serve`. Flags win over QUORATE_* variables, and these over the file.
#[derive(Args)]
pub struct ServeArguments {
    /// A YAML file with the settings below under the same names
    #[arg(long, env = "QUORATE_CONFIG_FILE", value_name = "FILE")]
    config_file: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// End when standard input ends; `quorate up` starts its nodes this way
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// `quorate serve`.
pub fn run(arguments: ServeArguments) -> Result<ExitCode> {
    let stop_with_stdin = arguments.stop_with_stdin;
    process::serve(plan_of(arguments).map_err(usage)?, stop_with_stdin)
}

fn plan_of(arguments: ServeArguments) -> Result<ServePlan> {
    refuse_unknown_variables(std::env::vars().map(|(name, _)| name))?;
    let file = match &arguments.config_file {
        Some(path) => Settings::from_file(path)?,
        None => Settings::default(),
    };
    arguments.settings.or(file).plan()
}
