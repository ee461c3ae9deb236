//! All cases against three members inside this process.

use quorate_api_suite::{Target, cases, run};
use quorate_service::{LocalCluster, Protocol};
use std::time::{Duration, Instant};

/// Longest wait for a leader.
const PATIENCE: Duration = Duration::from_secs(60);

async fn connected(endpoints: &[String]) -> Target {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Target::connect(endpoints).await {
            Ok(target) if target.revision().await.is_ok() => return target,
            Ok(_) | Err(_) => assert!(Instant::now() < deadline, "nobody leads within {PATIENCE:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quorate_answers_as_etcd_does_but_for_argued_differences() {
    all_cases_hold_over(Protocol::Raft).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_does_over_multi_paxos() {
    all_cases_hold_over(Protocol::MultiPaxos).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_does_over_viewstamped_replication() {
    all_cases_hold_over(Protocol::Viewstamped).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_does_over_zab() {
    all_cases_hold_over(Protocol::Zab).await;
}

async fn all_cases_hold_over(protocol: Protocol) {
    let directory = tempfile::tempdir().expect("a scratch directory can be made");
    let cluster = LocalCluster::start_with(directory.path(), 3, |plan| plan.protocol = protocol);
    let cluster = cluster.expect("three members start");
    let target = connected(&cluster.endpoints()).await;
    let verdicts = run(&target, cases(), "", |_| {}).await;
    let failures: Vec<String> = verdicts
        .iter()
        .filter_map(|verdict| verdict.failure.as_ref().map(|failure| format!("{}\n  {failure}", verdict.name)))
        .collect();
    cluster.shut_down().await;
    assert!(
        failures.is_empty(),
        "{} of {} cases over {protocol}:\n{}",
        failures.len(),
        verdicts.len(),
        failures.join("\n")
    );
}
