//! The end of a run: all harm is taken back, everything is waited for, and all members must come to have the same.

use crate::chance::Chance;
use crate::client::{Client, Endpoints};
use crate::cluster::serving;
use crate::ledger::{Event, Ledger};
use crate::nemesis::{Nemesis, disarm_alarms, reconcile};
use crate::record::Who;
use crate::request::{Outcome, Request};
use crate::shared::Shared;
use anyhow::Result;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// For everything together: a healthy cluster takes seconds.
const PATIENCE: Duration = Duration::from_secs(180);
const ASK_EVERY: Duration = Duration::from_millis(250);

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// Violations.
    pub findings: Vec<String>,
    /// What did not come to pass in time, so that nothing can be said of it.
    pub undecided: Vec<String>,
    /// The revision that all members have the same of.
    pub converged_at: Option<i64>,
    /// From the end of all harm to that.
    pub took: Duration,
}

/// Heals, and waits until all members have the same. Clients must have stopped; watchers must run on.
///
/// # Errors
/// When the system refuses to start or heal a member.
pub async fn settle(nemesis: &Nemesis, shared: &Shared) -> Result<Settled> {
    let from = Instant::now();
    let until = from + PATIENCE;
    let mut settled = Settled::default();
    nemesis.cluster.lock().await.heal()?;
    if !reconcile(&nemesis.cluster, &[], until).await {
        settled
            .undecided
            .push("the members are not as many as they should be, and could not be put in order".to_owned());
    }
    let addresses = nemesis.cluster.lock().await.addresses();
    disarm_alarms(&addresses, until).await;
    let steps = async {
        write_last(shared).await;
        wait(|| {
            let ledger = shared.ledger();
            ledger.reached_by_all() >= ledger.last() && leased_keys(&ledger).is_empty()
        })
        .await;
    };
    if tokio::time::timeout_at(until, steps).await.is_err() {
        let (waiting, last, all) = {
            let ledger = shared.ledger();
            (leased_keys(&ledger).len(), ledger.last(), ledger.reached_by_all())
        };
        settled.undecided.push(format!(
            "after {} s without harm: the last revision any watcher was told of is {last}, all were told of {all}, and {waiting} \
             keys of leases are left",
            PATIENCE.as_secs()
        ));
        return Ok(settled);
    }
    converge(&addresses, shared, until, &mut settled).await;
    for (name, address) in &addresses {
        read_everything(shared, name, address).await;
    }
    settled.took = from.elapsed();
    Ok(settled)
}

async fn wait(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Keys that still hang on a lease.
fn leased_keys(ledger: &Ledger) -> BTreeSet<String> {
    let mut leased = BTreeSet::new();
    for event in ledger.revisions().values().flat_map(|told| &told.events) {
        match event {
            Event::Put(pair) if pair.lease != 0 => _ = leased.insert(pair.key.clone()),
            event => _ = leased.remove(event.key()),
        }
    }
    leased
}

/// Writes until a write is acknowledged, and waits until watchers have it: then nothing older is on its way to them.
async fn write_last(shared: &Shared) {
    let mut client = Client::new(Chance::new(shared.seed, "settler"), Duration::from_secs(9));
    for count in 0.. {
        let who = Who::Other("settler".to_owned());
        let request = Request::Put { key: "z/last".to_owned(), value: format!("settler.{count}"), lease: 0 };
        if let Some((member, channel)) = client.connection(&shared.endpoints).await {
            let called_ns = shared.recorder.begin(&who, &member, &request);
            let outcome = client.ask(channel, &request).await;
            shared.recorder.end(&who, &member, called_ns, request, outcome.clone());
            if let Outcome::Done(answer) = outcome {
                wait(|| shared.ledger().reached_by_all() >= answer.revision).await;
                return;
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// All members have the same hash at the last revision. A different one of the same revision and compaction is final.
async fn converge(addresses: &[(String, String)], shared: &Shared, until: Instant, settled: &mut Settled) {
    let mut seen = Vec::new();
    while Instant::now() < until {
        let revision = shared.ledger().last();
        seen.clear();
        for (name, address) in addresses {
            if let Some(answer) = serving::hash_kv(address, revision).await {
                let at = answer.header.map_or(0, |header| header.revision);
                seen.push((name.clone(), at, answer.compact_revision, answer.hash));
            }
        }
        let same_place = seen.windows(2).all(|pair| (pair[0].1, pair[0].2) == (pair[1].1, pair[1].2));
        if seen.len() == addresses.len() && same_place && seen.iter().all(|(_, at, _, _)| *at == revision) {
            if seen.windows(2).all(|pair| pair[0].3 == pair[1].3) {
                settled.converged_at = Some(revision);
            } else {
                settled
                    .findings
                    .push(format!("members differ at revision {revision}: {seen:?} (name, revision, compacted, hash)"));
            }
            return;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    settled.undecided.push(format!(
        "after {} s without harm members are not at one revision: {seen:?} (name, revision, compacted, hash)",
        PATIENCE.as_secs()
    ));
}

/// What one member has, for the judge to hold against everything that was written.
async fn read_everything(shared: &Shared, name: &str, address: &str) {
    let endpoints = Endpoints::default();
    endpoints.set(vec![(name.to_owned(), address.to_owned())]);
    let mut client = Client::new(Chance::new(shared.seed, "reader"), Duration::from_secs(30));
    for prefix in ["b/", "l/", "r/", "z/"] {
        let Some((member, channel)) = client.connection(&endpoints).await else { continue };
        let who = Who::Other("settler".to_owned());
        let request = Request::Scan { prefix: prefix.to_owned(), serializable: true };
        let called_ns = shared.recorder.begin(&who, &member, &request);
        let outcome = client.ask(channel, &request).await;
        shared.recorder.end(&who, &member, called_ns, request, outcome);
    }
}
