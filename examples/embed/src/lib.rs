//! An own state machine, and three replicas of it in one process.

// [machine]
use bytes::Bytes;
use quorate_machine::{ApplyContext, Consistency, RestoreError, StateMachine};
use quorate_raft::{Config, Raft};
use quorate_runtime::LocalCluster;
use std::path::Path;

/// How many apples there are. A command is how many more, as text.
#[derive(Debug)]
pub struct Apples(i64);

impl StateMachine for Apples {
    type Query = ();
    type Reply = i64;
    type Duty = ();

    fn empty() -> Apples {
        Apples(0)
    }

    fn apply(&mut self, _: &ApplyContext, more: &Bytes) -> i64 {
        self.0 = self.0.wrapping_add(String::from_utf8_lossy(more).parse().unwrap_or(0));
        self.0
    }

    fn query(&self, (): &()) -> i64 {
        self.0
    }

    fn head(&self) -> Bytes {
        self.0.to_string().into()
    }

    fn restore(head: Bytes, _: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Apples, RestoreError> {
        let apples = String::from_utf8_lossy(&head);
        apples.parse().map(Apples).map_err(|_| RestoreError { why: format!("no number: {apples}") })
    }
}
// [end]

// [cluster]
/// Three replicas on real files and sockets; each is told of two more apples.
pub async fn count_apples(directory: &Path) -> anyhow::Result<i64> {
    let cluster = LocalCluster::<Apples>::found::<Raft>(directory, 3, Config::default()).await?;
    let mut apples = 0;
    for replica in cluster.handles() {
        replica.write("2".into()).await?;
        apples = replica.read((), Consistency::Linearizable).await?;
    }
    cluster.shut_down().await;
    Ok(apples)
}
// [end]
