//! Every schedule within bounds.

use crate::processor_time::ProcessorTime;
use crate::settings::Settings;
use anyhow::{Context, Result, bail};
use quorate_explorer::{Bounds, Disks, Explorable, Explorer, targets};
use quorate_multi_paxos::MultiPaxos;
use quorate_paxos::Paxos;
use quorate_protocol::Replica;
use quorate_raft::Raft;
use quorate_types::{Membership, NodeId};
use quorate_viewstamped::Viewstamped;
use quorate_zab::Zab;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The values proposed, one by each proposer.
const VALUES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// `zoo-runner search`.
pub fn run(settings: &mut Settings) -> Result<Value> {
    let members = Membership::of_voters(settings.or("nodes", 3)?);
    let proposers: usize = settings.or("proposers", 1)?;
    let proposals: Vec<(NodeId, &'static str)> = (1..).map(NodeId).zip(VALUES).take(proposers).collect();
    match settings.text("protocol")?.as_str() {
        "raft" => {
            let bounds = bounds::<Raft>(settings)?;
            Ok(search(targets::raft(members, quorate_raft::Config::default(), &proposals, bounds)))
        }
        "paxos" => {
            let bounds = bounds::<Paxos>(settings)?;
            Ok(search(targets::paxos(members, quorate_paxos::Config::default(), &proposals, bounds)))
        }
        "multi-paxos" => {
            let bounds = bounds::<MultiPaxos>(settings)?;
            Ok(search(targets::multi_paxos(members, quorate_multi_paxos::Config::default(), &proposals, bounds)))
        }
        "viewstamped" => {
            let bounds = bounds::<Viewstamped>(settings)?;
            Ok(search(targets::viewstamped(members, quorate_viewstamped::Config::default(), &proposals, bounds)))
        }
        "zab" => {
            let bounds = bounds::<Zab>(settings)?;
            Ok(search(targets::zab(members, quorate_zab::Config::default(), &proposals, bounds)))
        }
        other => bail!("there is no protocol `{other}`"),
    }
}

fn bounds<R: Replica>(settings: &mut Settings) -> Result<Bounds<R>> {
    let bounds = Bounds {
        max_crashes: settings.or("crashes", 0)?,
        max_duplicates: settings.or("duplicates", 0)?,
        max_states: settings.or("states", 1_000_000)?,
        disks: if settings.or("late-writes", "no".to_owned())? == "yes" {
            Disks::AnyDelay
        } else {
            Disks::StallBeforeCrash
        },
        ..Bounds::default()
    };
    let timers = settings.or("timers", String::new())?;
    timers.split(',').filter(|text| !text.is_empty()).try_fold(bounds, |bounds, text| {
        let (name, most) = text.split_once(':').with_context(|| format!("timers={text}: NAME:N is wanted"))?;
        let timer = R::TIMERS.iter().find(|(known, _)| *known == name);
        let (_, timer) = timer.with_context(|| format!("{} has no timer `{name}`", R::PROTOCOL))?;
        Ok(bounds.with_timer(*timer, most.parse()?))
    })
}

fn search<R: Explorable>(explorer: Explorer<R>) -> Value {
    let cost = ProcessorTime::start();
    let report = catch_unwind(AssertUnwindSafe(|| explorer.explore()));
    let core_seconds = cost.used().as_secs_f64();
    match report {
        Ok(report) => json!({
            "states": report.unique_states,
            "complete": report.complete,
            "found": report.violation.map(|found| json!({
                "property": found.property, "detail": found.detail, "actions": found.actions.len(),
            })),
            "core_seconds": core_seconds,
        }),
        Err(_) => json!({
            "found": { "property": "NoPanic", "detail": "something panicked" },
            "core_seconds": core_seconds,
        }),
    }
}
