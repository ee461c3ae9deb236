//! A scenario, up to the first thing that is not as expected.

use crate::processor_time::ProcessorTime;
use crate::settings::Settings;
use anyhow::{Context, Result};
use quorate_simulator::scenario::{Scenario, ScenarioFailure};
use serde_json::{Value, json};
use std::panic::catch_unwind;

/// `zoo-runner scenario`.
pub fn run(settings: &mut Settings) -> Result<Value> {
    let file = settings.text("file")?;
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let scenario = Scenario::parse(&text).with_context(|| file.clone())?;
    let cost = ProcessorTime::start();
    let failure = catch_unwind(|| scenario.run().failure).unwrap_or_else(|_| {
        Some(ScenarioFailure { line: 0, text: String::new(), why: "something panicked".to_owned() })
    });
    let found = failure.map(|failure| json!({ "line": failure.line, "step": failure.text, "detail": failure.why }));
    Ok(json!({ "found": found, "core_seconds": cost.used().as_secs_f64() }))
}
