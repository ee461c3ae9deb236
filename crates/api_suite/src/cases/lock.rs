//! The lock service.

use super::lease::{grant, revoke};
use crate::case::Case;
use crate::expect::{Failure, Outcome, equal, holds, present, refused};
use crate::proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest};
use crate::target::{Target, revision};
use bytes::Bytes;
use std::time::Duration;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::shared(the_token_is_a_key_on_the_lease),
        Case::shared(the_header_is_not_before_the_token),
        Case::shared(a_lock_without_lease_gets_one),
        Case::shared(a_second_owner_waits_for_the_first),
        Case::shared(owners_come_in_the_order_they_asked),
        Case::shared(the_same_lease_gets_the_same_token_again),
        Case::shared(different_names_do_not_wait_for_each_other),
        Case::shared(a_name_is_no_prefix_of_another),
        Case::shared(the_end_of_the_owners_lease_frees_the_next),
        Case::shared(a_waiter_that_lost_its_lease_gets_no_lock),
        Case::shared(an_unknown_lease_gets_no_lock),
        Case::shared(unlocking_what_is_not_locked_is_fine),
        Case::shared(unlocking_nothing_is_refused),
        Case::shared(a_lock_can_be_taken_again_after_unlocking),
    ]
}

const A_WHILE: Duration = Duration::from_millis(300);

async fn lock(target: &Target, name: &str, lease: i64) -> Result<LockResponse, Status> {
    target.lock().lock(LockRequest { name: target.key(name), lease }).await.map(tonic::Response::into_inner)
}

async fn unlock(target: &Target, key: Bytes) -> Result<(), Status> {
    target.lock().unlock(UnlockRequest { key }).await.map(|_| ())
}

/// A lock asked for in the background; it is queued when this returns.
async fn waiting(target: &Target, name: &str, lease: i64) -> JoinHandle<Result<LockResponse, Status>> {
    let (target, name) = (target.clone(), name.to_owned());
    let task = tokio::spawn(async move { lock(&target, &name, lease).await });
    tokio::time::sleep(A_WHILE).await;
    task
}

async fn ended(task: JoinHandle<Result<LockResponse, Status>>) -> Result<Result<LockResponse, Status>, Failure> {
    match tokio::time::timeout(Duration::from_secs(15), task).await {
        Ok(ended) => ended.map_err(|error| Failure(error.to_string())),
        Err(_) => Err(Failure("the lock is not answered within 15 s".to_owned())),
    }
}

async fn the_token_is_a_key_on_the_lease(target: Target) -> Outcome {
    let lease = grant(&target, 60).await?;
    let token = lock(&target, "l", lease).await?.key;
    equal("token", target.name(&token), format!("l/{lease:x}"))?;
    let pair = present("its pair", target.read(&target.name(&token)).await?)?;
    equal("value, lease, version", (pair.value.len(), pair.lease, pair.version), (0, lease, 1))?;
    unlock(&target, token.clone()).await?;
    equal("after unlocking", target.read(&target.name(&token)).await?, None)
}

async fn the_header_is_not_before_the_token(target: Target) -> Outcome {
    let lease = grant(&target, 60).await?;
    let answer = lock(&target, "l", lease).await?;
    let pair = present("its pair", target.read(&target.name(&answer.key)).await?)?;
    holds("revision", revision(answer.header.as_ref()) >= pair.create_revision, (answer.header, pair))
}

async fn a_lock_without_lease_gets_one(target: Target) -> Outcome {
    let token = lock(&target, "l", 0).await?.key;
    let pair = present("its pair", target.read(&target.name(&token)).await?)?;
    holds("a lease", pair.lease != 0, pair.lease)?;
    equal("token", target.name(&token), format!("l/{:x}", pair.lease))?;
    unlock(&target, token).await.map_err(Failure::from)
}

async fn a_second_owner_waits_for_the_first(target: Target) -> Outcome {
    let (first, second) = (grant(&target, 60).await?, grant(&target, 60).await?);
    let token = lock(&target, "l", first).await?.key;
    let other = waiting(&target.elsewhere(1), "l", second).await;
    equal("it waits", other.is_finished(), false)?;
    unlock(&target, token).await?;
    let next = ended(other).await??;
    equal("its token", target.name(&next.key), format!("l/{second:x}"))
}

async fn owners_come_in_the_order_they_asked(target: Target) -> Outcome {
    let first = grant(&target, 60).await?;
    let mut token = lock(&target, "l", first).await?.key;
    let mut queue = Vec::new();
    for step in 0..3 {
        let lease = grant(&target, 60).await?;
        queue.push((lease, waiting(&target.elsewhere(step), "l", lease).await));
    }
    while !queue.is_empty() {
        let (lease, next) = queue.remove(0);
        unlock(&target, token).await?;
        token = ended(next).await??.key;
        equal("the next", target.name(&token), format!("l/{lease:x}"))?;
        tokio::time::sleep(A_WHILE).await;
        equal("the others wait", queue.iter().filter(|(_, task)| task.is_finished()).count(), 0)?;
    }
    unlock(&target, token).await.map_err(Failure::from)
}

async fn the_same_lease_gets_the_same_token_again(target: Target) -> Outcome {
    let lease = grant(&target, 60).await?;
    let first = lock(&target, "l", lease).await?.key;
    let made = target.read(&target.name(&first)).await?;
    let second = lock(&target, "l", lease).await?.key;
    equal("token", &second, &first)?;
    equal("its pair", target.read(&target.name(&second)).await?, made)
}

async fn different_names_do_not_wait_for_each_other(target: Target) -> Outcome {
    let lease = grant(&target, 60).await?;
    let other = grant(&target, 60).await?;
    lock(&target, "l", lease).await?;
    equal("another name", target.name(&lock(&target, "m", other).await?.key), format!("m/{other:x}"))
}

async fn a_name_is_no_prefix_of_another(target: Target) -> Outcome {
    let lease = grant(&target, 60).await?;
    let other = grant(&target, 60).await?;
    lock(&target, "ll", lease).await?;
    equal("a shorter name", target.name(&lock(&target, "l", other).await?.key), format!("l/{other:x}"))
}

async fn the_end_of_the_owners_lease_frees_the_next(target: Target) -> Outcome {
    let (first, second) = (grant(&target, 60).await?, grant(&target, 60).await?);
    lock(&target, "l", first).await?;
    let other = waiting(&target, "l", second).await;
    revoke(&target, first).await?;
    let next = ended(other).await??;
    equal("its token", target.name(&next.key), format!("l/{second:x}"))
}

async fn a_waiter_that_lost_its_lease_gets_no_lock(target: Target) -> Outcome {
    let (first, second) = (grant(&target, 60).await?, grant(&target, 60).await?);
    let token = lock(&target, "l", first).await?.key;
    let other = waiting(&target, "l", second).await;
    revoke(&target, second).await?;
    tokio::time::sleep(A_WHILE).await;
    unlock(&target, token).await?;
    refused("the waiter", ended(other).await?, Code::Unknown, "mutex: session is expired")
}

async fn an_unknown_lease_gets_no_lock(target: Target) -> Outcome {
    let answer = lock(&target, "l", 987_654_321).await;
    refused("an unknown lease", answer, Code::Unknown, "etcdserver: requested lease not found")?;
    equal("nothing is left", target.range(target.all_request()).await?.count, 0)
}

async fn unlocking_what_is_not_locked_is_fine(target: Target) -> Outcome {
    unlock(&target, target.key("none/1234")).await.map_err(Failure::from)
}

async fn unlocking_nothing_is_refused(target: Target) -> Outcome {
    let answer = unlock(&target, Bytes::new()).await;
    refused("no key", answer, Code::Unknown, "etcdserver: key is not provided")
}

async fn a_lock_can_be_taken_again_after_unlocking(target: Target) -> Outcome {
    let lease = grant(&target, 60).await?;
    let mut made = 0;
    for _ in 0..3 {
        let token = lock(&target, "l", lease).await?.key;
        let pair = present("its pair", target.read(&target.name(&token)).await?)?;
        holds("a new key each time", pair.create_revision > made, (pair.create_revision, made))?;
        made = pair.create_revision;
        unlock(&target, token).await?;
    }
    Ok(())
}
