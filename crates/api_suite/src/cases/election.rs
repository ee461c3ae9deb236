//! The election service.

use super::lease::{grant, revoke};
use crate::case::Case;
use crate::expect::{Failure, Outcome, equal, holds, present, refused};
use crate::proto::v3electionpb::{
    CampaignRequest, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ResignRequest,
};
use crate::target::{Target, revision};
use std::time::Duration;
use tokio::task::JoinHandle;
use tonic::{Code, Status, Streaming};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::shared(the_first_candidate_leads),
        Case::shared(a_second_candidate_waits_for_the_first),
        Case::shared(candidates_come_in_the_order_they_asked),
        Case::shared(a_campaign_again_by_the_same_lease_changes_the_value),
        Case::shared(the_end_of_the_leaders_lease_makes_the_next_lead),
        Case::shared(a_candidate_without_a_known_lease_is_refused),
        Case::shared(a_candidate_without_lease_gets_one),
        Case::shared(nobody_leads_before_a_campaign),
        Case::shared(the_leader_is_told_by_every_member),
        Case::shared(a_proclamation_changes_the_value),
        Case::shared(a_proclamation_by_nobody_is_refused),
        Case::shared(a_proclamation_after_resigning_is_refused),
        Case::shared(a_proclamation_with_an_old_key_is_refused),
        Case::shared(resigning_ends_a_leadership),
        Case::shared(resigning_with_an_old_key_changes_nothing),
        Case::shared(resigning_by_nobody_is_refused),
        Case::shared(observing_begins_with_the_present_leader),
        Case::shared(observing_shows_proclamations_and_successors),
        Case::shared(observing_nobody_waits_for_a_leader),
    ]
}

const A_WHILE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(15);
const NOBODY: &str = "election: no leader";
const NO_KEY: &str = "\"leader\" field must be provided";
const NOT_LEADER: &str = "election: not leader";

async fn campaign(target: &Target, name: &str, lease: i64, value: &str) -> Result<LeaderKey, Status> {
    let request = CampaignRequest { name: target.key(name), lease, value: value.to_owned().into() };
    let answer = target.election().campaign(request).await?.into_inner();
    answer.leader.ok_or_else(|| Status::internal("a campaign is answered without leader"))
}

/// A campaign in the background; the candidate is queued when this returns.
async fn waiting(target: &Target, lease: i64, value: &str) -> JoinHandle<Result<LeaderKey, Status>> {
    let (target, value) = (target.clone(), value.to_owned());
    let task = tokio::spawn(async move { campaign(&target, "e", lease, &value).await });
    tokio::time::sleep(A_WHILE).await;
    task
}

async fn ended(task: JoinHandle<Result<LeaderKey, Status>>) -> Result<LeaderKey, Failure> {
    match tokio::time::timeout(PATIENCE, task).await {
        Ok(ended) => Ok(ended.map_err(|error| Failure(error.to_string()))??),
        Err(_) => Err(Failure("the campaign is not answered within 15 s".to_owned())),
    }
}

async fn leader(target: &Target) -> Result<LeaderResponse, Status> {
    let request = LeaderRequest { name: target.key("e") };
    target.election().leader(request).await.map(tonic::Response::into_inner)
}

async fn leaders_value(target: &Target) -> Result<String, Failure> {
    let pair = present("the leader's pair", leader(target).await?.kv)?;
    Ok(String::from_utf8_lossy(&pair.value).into_owned())
}

async fn proclaim(target: &Target, leader: Option<LeaderKey>, value: &str) -> Result<(), Status> {
    let request = ProclaimRequest { leader, value: value.to_owned().into() };
    target.election().proclaim(request).await.map(|_| ())
}

async fn resign(target: &Target, leader: Option<LeaderKey>) -> Result<(), Status> {
    target.election().resign(ResignRequest { leader }).await.map(|_| ())
}

async fn the_first_candidate_leads(target: Target) -> Outcome {
    let lease = grant(&target, 60).await?;
    let key = campaign(&target, "e", lease, "v").await?;
    equal("name and lease", (&key.name, key.lease), (&target.key("e"), lease))?;
    equal("key", target.name(&key.key), format!("e/{lease:x}"))?;
    let pair = present("its pair", target.read(&target.name(&key.key)).await?)?;
    equal("revision of the key", key.rev, pair.create_revision)?;
    equal("value and lease", (pair.value, pair.lease), ("v".into(), lease))
}

async fn a_second_candidate_waits_for_the_first(target: Target) -> Outcome {
    let (first, second) = (grant(&target, 60).await?, grant(&target, 60).await?);
    let key = campaign(&target, "e", first, "first").await?;
    let other = waiting(&target.elsewhere(1), second, "second").await;
    equal("it waits", other.is_finished(), false)?;
    equal("the first leads", leaders_value(&target).await?, "first".to_owned())?;
    resign(&target, Some(key)).await?;
    equal("then the second", ended(other).await?.lease, second)?;
    equal("leads", leaders_value(&target).await?, "second".to_owned())
}

async fn candidates_come_in_the_order_they_asked(target: Target) -> Outcome {
    let mut key = campaign(&target, "e", grant(&target, 60).await?, "0").await?;
    let mut queue = Vec::new();
    for value in ["1", "2", "3"] {
        queue.push((value, waiting(&target, grant(&target, 60).await?, value).await));
    }
    for (value, next) in queue {
        resign(&target, Some(key)).await?;
        key = ended(next).await?;
        equal("the leader", leaders_value(&target).await?, value.to_owned())?;
    }
    Ok(())
}

async fn a_campaign_again_by_the_same_lease_changes_the_value(target: Target) -> Outcome {
    let lease = grant(&target, 60).await?;
    let first = campaign(&target, "e", lease, "first").await?;
    let second = campaign(&target, "e", lease, "second").await?;
    equal("the same key", second, first)?;
    equal("value", leaders_value(&target).await?, "second".to_owned())
}

async fn the_end_of_the_leaders_lease_makes_the_next_lead(target: Target) -> Outcome {
    let (first, second) = (grant(&target, 60).await?, grant(&target, 60).await?);
    campaign(&target, "e", first, "first").await?;
    let other = waiting(&target, second, "second").await;
    revoke(&target, first).await?;
    equal("the second", ended(other).await?.lease, second)
}

async fn a_candidate_without_a_known_lease_is_refused(target: Target) -> Outcome {
    let answer = campaign(&target, "e", 987_654_321, "v").await;
    refused("an unknown lease", answer, Code::Unknown, "etcdserver: requested lease not found")
}

async fn a_candidate_without_lease_gets_one(target: Target) -> Outcome {
    let key = campaign(&target, "e", 0, "v").await?;
    holds("a lease", key.lease != 0, key.lease)?;
    equal("key", target.name(&key.key), format!("e/{:x}", key.lease))?;
    resign(&target, Some(key)).await.map_err(Failure::from)
}

async fn nobody_leads_before_a_campaign(target: Target) -> Outcome {
    refused("nobody", leader(&target).await, Code::Unknown, NOBODY)
}

async fn the_leader_is_told_by_every_member(target: Target) -> Outcome {
    let key = campaign(&target, "e", grant(&target, 60).await?, "v").await?;
    for step in 0..target.members() {
        let answer = leader(&target.elsewhere(step)).await?;
        let pair = present("the leader's pair", answer.kv)?;
        equal("key, value, revision", (&pair.key, &pair.value[..], pair.create_revision), (&key.key, b"v", key.rev))?;
        let told = revision(answer.header.as_ref());
        holds("the header", told >= key.rev, told)?;
    }
    Ok(())
}

async fn a_proclamation_changes_the_value(target: Target) -> Outcome {
    let key = campaign(&target, "e", grant(&target, 60).await?, "before").await?;
    proclaim(&target, Some(key.clone()), "after").await?;
    equal("value", leaders_value(&target).await?, "after".to_owned())?;
    let pair = present("its pair", target.read(&target.name(&key.key)).await?)?;
    equal("the key stays on its lease", (pair.create_revision, pair.lease), (key.rev, key.lease))
}

async fn a_proclamation_by_nobody_is_refused(target: Target) -> Outcome {
    refused("no leader key", proclaim(&target, None, "v").await, Code::Unknown, NO_KEY)
}

async fn a_proclamation_after_resigning_is_refused(target: Target) -> Outcome {
    let key = campaign(&target, "e", grant(&target, 60).await?, "v").await?;
    resign(&target, Some(key.clone())).await?;
    refused("resigned", proclaim(&target, Some(key), "w").await, Code::Unknown, NOT_LEADER)?;
    refused("nobody leads", leader(&target).await, Code::Unknown, NOBODY)
}

async fn a_proclamation_with_an_old_key_is_refused(target: Target) -> Outcome {
    let lease = grant(&target, 60).await?;
    let old = campaign(&target, "e", lease, "old").await?;
    resign(&target, Some(old.clone())).await?;
    campaign(&target, "e", lease, "new").await?;
    refused("an old key", proclaim(&target, Some(old), "w").await, Code::Unknown, NOT_LEADER)?;
    equal("value", leaders_value(&target).await?, "new".to_owned())
}

async fn resigning_ends_a_leadership(target: Target) -> Outcome {
    let key = campaign(&target, "e", grant(&target, 60).await?, "v").await?;
    resign(&target.elsewhere(1), Some(key.clone())).await?;
    equal("its key", target.read(&target.name(&key.key)).await?, None)?;
    refused("nobody leads", leader(&target).await, Code::Unknown, NOBODY)
}

async fn resigning_with_an_old_key_changes_nothing(target: Target) -> Outcome {
    let lease = grant(&target, 60).await?;
    let old = campaign(&target, "e", lease, "old").await?;
    resign(&target, Some(old.clone())).await?;
    campaign(&target, "e", lease, "new").await?;
    resign(&target, Some(old)).await?;
    equal("value", leaders_value(&target).await?, "new".to_owned())
}

async fn resigning_by_nobody_is_refused(target: Target) -> Outcome {
    refused("no leader key", resign(&target, None).await, Code::Unknown, NO_KEY)
}

async fn observed(stream: &mut Streaming<LeaderResponse>) -> Result<String, Failure> {
    let answer = tokio::time::timeout(PATIENCE, stream.message()).await;
    let answer = answer.map_err(|_| Failure("no leader is observed within 15 s".to_owned()))??;
    let pair = present("a leader's pair", answer.and_then(|answer| answer.kv))?;
    Ok(String::from_utf8_lossy(&pair.value).into_owned())
}

async fn observe(target: &Target) -> Result<Streaming<LeaderResponse>, Status> {
    target.election().observe(LeaderRequest { name: target.key("e") }).await.map(tonic::Response::into_inner)
}

async fn observing_begins_with_the_present_leader(target: Target) -> Outcome {
    campaign(&target, "e", grant(&target, 60).await?, "v").await?;
    for step in 0..target.members() {
        let mut stream = observe(&target.elsewhere(step)).await?;
        equal("the first seen", observed(&mut stream).await?, "v".to_owned())?;
    }
    Ok(())
}

async fn observing_shows_proclamations_and_successors(target: Target) -> Outcome {
    let key = campaign(&target, "e", grant(&target, 60).await?, "first").await?;
    let other = waiting(&target, grant(&target, 60).await?, "second").await;
    let mut stream = observe(&target).await?;
    equal("the leader", observed(&mut stream).await?, "first".to_owned())?;
    proclaim(&target, Some(key.clone()), "first again").await?;
    equal("its proclamation", observed(&mut stream).await?, "first again".to_owned())?;
    resign(&target, Some(key)).await?;
    ended(other).await?;
    equal("its successor", observed(&mut stream).await?, "second".to_owned())
}

async fn observing_nobody_waits_for_a_leader(target: Target) -> Outcome {
    let lease = grant(&target, 60).await?;
    let candidate = {
        let target = target.clone();
        tokio::spawn(async move {
            tokio::time::sleep(A_WHILE).await;
            campaign(&target, "e", lease, "late").await
        })
    };
    let mut stream = observe(&target).await?;
    equal("the first seen", observed(&mut stream).await?, "late".to_owned())?;
    ended(candidate).await.map(|_| ())
}
