//! The settings of the flight recorder.

use anyhow::{Result, ensure};
use clap::Args;
use quorate_service::RecordingPlan;
use std::path::PathBuf;

/// What to record of a node's run, for `quorate replay`. These are flags and variables only: no setting of a configuration file.
#[derive(Args, Clone, Debug, Default)]
pub struct RecordingArguments {
    /// Write the node's run into this directory, for `quorate replay`: every message, timer and disk completion of the protocol.
    /// Keys and values are left out
    #[arg(long, env = "QUORATE_RECORD", value_name = "DIR")]
    record: Option<PathBuf>,

    /// How much of it to keep; the oldest goes first [default: 268435456]
    #[arg(long, env = "QUORATE_RECORD_BYTES", value_name = "BYTES", requires = "record")]
    record_bytes: Option<u64>,

    /// Record keys and values too, so that `quorate replay --why KEY` can tell which slot a key was written in
    #[arg(long, env = "QUORATE_RECORD_VALUES", requires = "record")]
    record_values: bool,
}

impl RecordingArguments {
    /// What the member called `name` is to record, if anything.
    pub fn plan(self, name: &str) -> Result<Option<RecordingPlan>> {
        let Some(directory) = self.record else { return Ok(None) };
        let bytes_max = self.record_bytes.unwrap_or(RecordingPlan::DEFAULT_BYTES);
        ensure!(
            bytes_max >= RecordingPlan::BYTES_LEAST,
            "--record-bytes {bytes_max} must be at least {}",
            RecordingPlan::BYTES_LEAST
        );
        Ok(Some(RecordingPlan {
            directory,
            bytes_max,
            with_values: self.record_values,
            name: name.to_owned(),
            program: PROGRAM.to_owned(),
        }))
    }
}

/// What recordings of this build say of it.
pub const PROGRAM: &str = concat!("quorate ", env!("CARGO_PKG_VERSION"));
