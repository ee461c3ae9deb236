//! Status, hashes, snapshots, defragmentation, leadership.

use super::compaction::compact;
use crate::case::Case;
use crate::differences::HASH_AT_THE_COMPACTION_MARK;
use crate::expect::{Failure, Outcome, equal, holds, present, refused};
use crate::proto::etcdserverpb::{
    DefragmentRequest, HashKvRequest, HashKvResponse, HashRequest, MoveLeaderRequest, SnapshotRequest, StatusRequest,
    StatusResponse,
};
use crate::target::{Target, revision};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use tonic::{Code, Status};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::shared(status_names_version_sizes_and_leader),
        Case::exclusive(all_members_name_the_same_leader_and_term),
        Case::shared(a_hash_of_the_backend_is_answered),
        Case::exclusive(the_hash_of_a_revision_is_equal_on_all_members),
        Case::exclusive(the_hash_of_zero_is_that_of_now),
        Case::exclusive(the_hash_of_a_revision_does_not_change_with_later_writes),
        Case::exclusive(the_hash_changes_with_a_write),
        Case::exclusive(the_hash_is_equal_on_all_members_after_a_compaction),
        Case::exclusive(the_hash_is_equal_on_all_members_where_a_key_was_deleted),
        Case::exclusive(the_hash_of_a_compacted_revision_is_refused),
        Case::shared(the_hash_of_a_future_revision_is_refused),
        Case::shared(a_snapshot_falls_to_zero_and_ends_with_its_digest),
        Case::exclusive(a_defragmentation_changes_nothing_that_can_be_read),
        Case::shared(only_the_leader_moves_leadership),
        Case::shared(leadership_moves_to_members_only),
        Case::exclusive(leadership_moves_when_asked),
    ]
}

/// How long members may take to agree on what they say of themselves.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

async fn status(target: &Target) -> Result<StatusResponse, Status> {
    target.maintenance().status(StatusRequest {}).await.map(tonic::Response::into_inner)
}

async fn status_names_version_sizes_and_leader(target: Target) -> Outcome {
    target.write("a", "1").await?;
    for step in 0..target.members() {
        let told = status(&target.elsewhere(step)).await?;
        holds("a version of etcd", told.version.starts_with("3."), &told.version)?;
        holds("sizes", told.db_size > 0 && (1..=told.db_size).contains(&told.db_size_in_use), &told)?;
        holds("marks", told.raft_applied_index > 0 && told.raft_applied_index <= told.raft_index, &told)?;
        holds("leader and term", told.leader != 0 && told.raft_term > 0, &told)?;
        equal("no learner", told.is_learner, false)?;
    }
    Ok(())
}

/// Somebody may lead anew, behind a change of members for one, and the others hear of it a moment later.
async fn all_members_name_the_same_leader_and_term(target: Target) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let named = members_name_one_leader(&target).await;
        if named.is_ok() || Instant::now() > deadline {
            return named;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn members_name_one_leader(target: &Target) -> Outcome {
    let mut told = Vec::new();
    let mut members = Vec::new();
    for step in 0..target.members() {
        let status = status(&target.elsewhere(step)).await?;
        told.push((status.leader, status.raft_term));
        members.push(present("a header", status.header)?.member_id);
    }
    told.dedup();
    equal("leaders and terms", told.len(), 1)?;
    holds("the leader is a member", members.contains(&told[0].0), (&members, &told))
}

async fn a_hash_of_the_backend_is_answered(target: Target) -> Outcome {
    let answer = target.maintenance().hash(HashRequest {}).await?.into_inner();
    let told = revision(answer.header.as_ref());
    holds("the header has a revision", told > 0, told)
}

async fn hash(target: &Target, revision: i64) -> Result<HashKvResponse, Status> {
    target.maintenance().hash_kv(HashKvRequest { revision }).await.map(tonic::Response::into_inner)
}

/// A member may be behind; a linearizable read there waits until it is not.
async fn hashes(target: &Target, revision: i64) -> Result<Vec<(u32, i64)>, Failure> {
    let mut found = Vec::new();
    for step in 0..target.members() {
        let here = target.elsewhere(step);
        here.revision().await?;
        let answer = hash(&here, revision).await?;
        found.push((answer.hash, answer.compact_revision));
    }
    Ok(found)
}

async fn equal_on_all_members(target: &Target, revision: i64) -> Outcome {
    let found = hashes(target, revision).await?;
    holds("hash and mark are the same on all", found.iter().all(|one| *one == found[0]), &found)
}

async fn the_hash_of_a_revision_is_equal_on_all_members(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("b", "2"), ("a", "3")]).await?;
    for revision in revisions {
        equal_on_all_members(&target, revision).await?;
    }
    equal_on_all_members(&target, 0).await
}

async fn the_hash_of_zero_is_that_of_now(target: Target) -> Outcome {
    let now = target.write_all(&[("a", "1"), ("b", "2")]).await?[1];
    equal("hash", hash(&target, 0).await?.hash, hash(&target, now).await?.hash)
}

async fn the_hash_of_a_revision_does_not_change_with_later_writes(target: Target) -> Outcome {
    let now = target.write_all(&[("a", "1"), ("b", "2")]).await?[1];
    let before = hash(&target, now).await?.hash;
    target.write("a", "3").await?;
    target.remove("b").await?;
    equal("hash", hash(&target, now).await?.hash, before)
}

async fn the_hash_changes_with_a_write(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2")]).await?;
    let (before, after) = (hash(&target, revisions[0]).await?.hash, hash(&target, revisions[1]).await?.hash);
    holds("hashes differ", before != after, (before, after))
}

async fn the_hash_is_equal_on_all_members_after_a_compaction(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2"), ("b", "3"), ("a", "4")]).await?;
    compact(&target, revisions[1]).await?;
    for revision in &revisions[2..] {
        equal_on_all_members(&target, *revision).await?;
    }
    for (_, mark) in hashes(&target, 0).await? {
        equal("the mark", mark, revisions[1])?;
    }
    Ok(())
}

async fn the_hash_is_equal_on_all_members_where_a_key_was_deleted(target: Target) -> Outcome {
    target.write("a", "1").await?;
    let deleted = target.remove("a").await?;
    let next = target.write("b", "2").await?;
    target.write("b", "3").await?;
    equal_on_all_members(&target, deleted).await?;
    compact(&target, deleted).await?;
    equal_on_all_members(&target, next).await?;
    compact(&target, next).await?;
    equal_on_all_members(&target, 0).await
}

async fn the_hash_of_a_compacted_revision_is_refused(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2")]).await?;
    compact(&target, revisions[1]).await?;
    let text = "etcdserver: mvcc: required revision has been compacted";
    refused("below the mark", hash(&target, revisions[0]).await, Code::OutOfRange, text)?;
    let at_the_mark = hash(&target, revisions[1]).await;
    if target.differing(&HASH_AT_THE_COMPACTION_MARK, true, false) {
        return refused("the mark itself", at_the_mark, Code::OutOfRange, text);
    }
    equal_on_all_members(&target, revisions[1]).await
}

async fn the_hash_of_a_future_revision_is_refused(target: Target) -> Outcome {
    let text = "etcdserver: mvcc: required revision is a future revision";
    let future = target.revision().await? + 1_000_000;
    refused("the future", hash(&target, future).await, Code::OutOfRange, text)
}

async fn a_snapshot_falls_to_zero_and_ends_with_its_digest(target: Target) -> Outcome {
    for count in 0..20 {
        target.write(&format!("k{count}"), &"x".repeat(10_000)).await?;
    }
    let answer = target.maintenance().snapshot(SnapshotRequest {}).await;
    let mut stream = answer?.into_inner();
    let mut parts = Vec::new();
    while let Some(part) = stream.message().await? {
        parts.push(part);
    }
    let digest = present("a last part", parts.pop())?;
    equal("remaining at the digest", digest.remaining_bytes, 0)?;
    let largest = parts.iter().map(|part| part.blob.len()).max().unwrap_or(0);
    holds("parts are of at most 32 KiB", largest <= 32 << 10, largest)?;
    let mut left: u64 = parts.iter().map(|part| part.blob.len() as u64).sum();
    holds("there is data", left > 200_000, left)?;
    let mut hasher = Sha256::new();
    for part in &parts {
        left -= part.blob.len() as u64;
        equal("remaining", part.remaining_bytes, left)?;
        hasher.update(&part.blob);
    }
    equal("digest", digest.blob.to_vec(), hasher.finalize().to_vec())
}

async fn a_defragmentation_changes_nothing_that_can_be_read(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2"), ("a", "3")]).await?;
    let before = (hash(&target, 0).await?.hash, target.range(target.all_request()).await?.kvs);
    target.maintenance().defragment(DefragmentRequest {}).await?;
    let after = (hash(&target, 0).await?.hash, target.range(target.all_request()).await?.kvs);
    equal("hash and pairs", after, before)?;
    target.write("c", "4").await.map(|_| ()).map_err(Failure::from)
}

/// The member that leads, and one that does not.
/// Waits for one who leads: right behind a change of members there may be nobody.
async fn leader_and_follower(target: &Target) -> Result<(Target, Option<(Target, u64)>), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut leader = None;
        let mut follower = None;
        for step in 0..target.members() {
            let here = target.elsewhere(step);
            let told = status(&here).await?;
            let member = present("a header", told.header)?.member_id;
            if member == told.leader {
                leader = Some(here);
            } else {
                follower = Some((here, member));
            }
        }
        if leader.is_some() || Instant::now() > deadline {
            return Ok((present("a leader", leader)?, follower));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The member that leads.
pub(super) async fn leader(target: &Target) -> Result<Target, Failure> {
    Ok(leader_and_follower(target).await?.0)
}

async fn move_leader(target: &Target, to: u64) -> Result<(), Status> {
    target.maintenance().move_leader(MoveLeaderRequest { target_id: to }).await.map(|_| ())
}

async fn only_the_leader_moves_leadership(target: Target) -> Outcome {
    let (_, Some((follower, member))) = leader_and_follower(&target).await? else { return Ok(()) };
    let answer = move_leader(&follower, member).await;
    refused("a follower", answer, Code::FailedPrecondition, "etcdserver: not leader")
}

async fn leadership_moves_to_members_only(target: Target) -> Outcome {
    let (leader, _) = leader_and_follower(&target).await?;
    let answer = move_leader(&leader, 12_345).await;
    refused("a stranger", answer, Code::FailedPrecondition, "etcdserver: bad leader transferee")
}

async fn leadership_moves_when_asked(target: Target) -> Outcome {
    let (leader, Some((follower, member))) = leader_and_follower(&target).await? else { return Ok(()) };
    move_leader(&leader, member).await?;
    // The old leader has heard of the new one; the others may need a moment.
    let deadline = Instant::now() + PATIENCE;
    while status(&follower).await?.leader != member {
        holds("the new leader says so in time", Instant::now() < deadline, member)?;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    target.write("a", "1").await.map(|_| ()).map_err(Failure::from)
}
