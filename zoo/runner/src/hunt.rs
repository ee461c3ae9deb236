//! Random runs, one seed after the other, up to the first broken promise.

use crate::ledger::Ledger;
use crate::processor_time::ProcessorTime;
use crate::settings::Settings;
use anyhow::{Result, bail};
use quorate_keyspace::Keyspace;
use quorate_paxos::Paxos;
use quorate_protocol::Replica;
use quorate_simulator::swarm::{Judged, LogProtocol, OnProtocol, Options, Scripted, Subject, run_seed};
use serde_json::{Value, json};
use std::ops::Range;
use std::time::Duration;

/// `zoo-runner hunt`.
pub fn run(settings: &mut Settings) -> Result<Value> {
    let first: u64 = settings.or("first", 0)?;
    let count: u64 = settings.or("seeds", 1)?;
    let seeds = first..first.saturating_add(count);
    let name = settings.text("protocol")?;
    if name == Paxos::PROTOCOL {
        return Ok(hunt::<Paxos, Ledger>(seeds));
    }
    let Some(protocol) = LogProtocol::named(&name) else { bail!("there is no protocol `{name}`") };
    Ok(protocol.with(Hunt { seeds }))
}

struct Hunt {
    seeds: Range<u64>,
}

impl OnProtocol for Hunt {
    type Output = Value;

    fn run<R: Scripted>(self) -> Value {
        hunt::<R, Keyspace>(self.seeds)
    }
}

fn hunt<R: Subject, S: Judged>(seeds: Range<u64>) -> Value {
    let cost = ProcessorTime::start();
    let (mut tried, mut events, mut simulated, mut found) = (0u64, 0u64, Duration::ZERO, Value::Null);
    for seed in seeds {
        let report = run_seed::<R, S>(seed, &Options::default());
        tried += 1;
        events += report.events;
        simulated += report.simulated;
        if let Some(violation) = report.violation {
            found = json!({ "seed": seed, "property": violation.property, "detail": violation.text });
            break;
        }
    }
    json!({
        "seeds": tried,
        "found": found,
        "events": events,
        "simulated_seconds": simulated.as_secs_f64(),
        "core_seconds": cost.used().as_secs_f64(),
    })
}
