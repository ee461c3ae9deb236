//! Runs cases: those that may share a cluster side by side, then the others one after the other.

use crate::case::Case;
use crate::expect::{Failure, Outcome};
use crate::target::Target;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Shared cases under way at once.
const SIDE_BY_SIDE: usize = 16;

/// A case that takes longer has failed.
const CASE_TIMEOUT: Duration = Duration::from_secs(60);

/// How one case went.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The case, `group::rule`.
    pub name: &'static str,
    /// What was expected and what came, if it failed.
    pub failure: Option<String>,
    /// How long it took.
    pub milliseconds: u128,
}

/// Runs all cases whose name contains `only`, and tells each verdict as it comes.
pub async fn run(target: &Target, cases: Vec<Case>, only: &str, mut told: impl FnMut(&Verdict)) -> Vec<Verdict> {
    let chosen = cases.into_iter().filter(|case| case.name().contains(only));
    let (exclusive, shared): (Vec<Case>, Vec<Case>) = chosen.partition(Case::is_exclusive);
    let mut verdicts = Vec::new();
    let permits = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut running = JoinSet::new();
    for (count, case) in shared.into_iter().enumerate() {
        let (permits, target) = (Arc::clone(&permits), target.for_case(count));
        running.spawn(async move {
            let _permit = permits.acquire_owned().await.expect("the semaphore is never closed");
            judged(&case, target).await
        });
    }
    while let Some(ended) = running.join_next().await {
        let verdict = ended.expect("a judged case neither panics nor is aborted");
        told(&verdict);
        verdicts.push(verdict);
    }
    for (count, case) in exclusive.iter().enumerate() {
        let verdict = judged(case, target.for_case(count)).await;
        told(&verdict);
        verdicts.push(verdict);
    }
    verdicts
}

/// Runs a case in a task of its own, so that a panic is its failure and nobody else's.
async fn judged(case: &Case, target: Result<Target, Failure>) -> Verdict {
    let started = Instant::now();
    let outcome = match target {
        Ok(target) => finished(case, target).await,
        Err(failure) => Err(failure),
    };
    Verdict {
        name: case.name(),
        failure: outcome.err().map(|failure| failure.0),
        milliseconds: started.elapsed().as_millis(),
    }
}

async fn finished(case: &Case, target: Target) -> Outcome {
    let task = tokio::spawn(tokio::time::timeout(CASE_TIMEOUT, case.run(target)));
    match task.await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Failure(format!("not done within {} s", CASE_TIMEOUT.as_secs()))),
        Err(panicked) => Err(Failure(format!("the case panicked: {panicked}"))),
    }
}
