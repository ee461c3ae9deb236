//! Members that are added and never start, moved, promoted in vain, and removed. Every case leaves the members as they were, and
//! all are exclusive: of several changes at a time etcd may lose one, and its answer.

use crate::case::Case;
use crate::differences::{A_LEARNER_THAT_MOVES_STAYS_ONE, JOINING_MEMBERS_DO_NOT_VOTE_YET};
use crate::expect::{Failure, Outcome, equal, holds, present, refused};
use crate::proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MemberUpdateRequest,
};
use crate::target::{Target, revision};
use std::time::{Duration, Instant};
use tonic::{Code, Status};

/// Where nobody ever listens, and no other case looks: of members added at one place within a second etcd gives the second the id
/// of the first, which never comes back once it was removed.
fn nowhere(target: &Target, port: u16) -> String {
    let place: String =
        target.key("").iter().filter(|byte| byte.is_ascii_alphanumeric()).map(|byte| char::from(*byte)).collect();
    format!("http://{place}.invalid:{port}")
}

const STRANGER: u64 = 12_345;
/// etcd changes nothing before all members have been connected for five seconds.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::exclusive(a_learner_is_added_and_removed),
        Case::exclusive(a_voter_is_added_and_removed),
        Case::exclusive(a_second_learner_is_one_too_many),
        Case::exclusive(a_learner_that_never_started_is_not_promoted),
        Case::exclusive(a_learner_does_not_lead),
        Case::exclusive(a_peer_url_belongs_to_one_member),
        Case::exclusive(a_learner_moves),
        Case::exclusive(peer_urls_must_be_urls),
        Case::exclusive(a_stranger_is_not_removed),
        Case::exclusive(a_stranger_is_not_moved),
        Case::exclusive(a_stranger_is_not_promoted),
        Case::exclusive(a_voter_is_not_promoted),
        Case::exclusive(every_member_takes_a_change),
    ]
}

async fn list(target: &Target) -> Result<Vec<Member>, Status> {
    let list = target.cluster().member_list(MemberListRequest { linearizable: true }).await?;
    Ok(list.into_inner().members)
}

async fn try_add(target: &Target, url: &str, is_learner: bool) -> Result<MemberAddResponse, Status> {
    let request = MemberAddRequest { peer_urls: vec![url.to_owned()], is_learner, ..MemberAddRequest::default() };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match target.cluster().member_add(request.clone()).await {
            Err(status) if status.message() == "etcdserver: unhealthy cluster" && Instant::now() < deadline => {}
            answer => return answer.map(tonic::Response::into_inner),
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn add(target: &Target, url: &str, is_learner: bool) -> Result<Member, Failure> {
    present("the new member", try_add(target, url, is_learner).await?.member)
}

async fn remove(target: &Target, id: u64) -> Result<Vec<Member>, Status> {
    Ok(target.cluster().member_remove(MemberRemoveRequest { id }).await?.into_inner().members)
}

async fn promote(target: &Target, id: u64) -> Result<(), Status> {
    let request = MemberPromoteRequest { id, ..MemberPromoteRequest::default() };
    target.cluster().member_promote(request).await.map(|_| ())
}

async fn update(target: &Target, id: u64, url: &str) -> Result<Vec<Member>, Status> {
    let request = MemberUpdateRequest { id, peer_urls: vec![url.to_owned()] };
    Ok(target.cluster().member_update(request).await?.into_inner().members)
}

/// Runs a check beside a learner that never starts, and removes that whatever came of it.
async fn beside_a_learner<F: Future<Output = Outcome>>(target: &Target, check: impl FnOnce(Member) -> F) -> Outcome {
    let learner = add(target, &nowhere(target, 1), true).await?;
    let id = learner.id;
    let outcome = check(learner).await;
    let left = remove(target, id).await?;
    holds("it is gone", left.iter().all(|member| member.id != id), &left)?;
    outcome
}

async fn a_learner_is_added_and_removed(target: Target) -> Outcome {
    let before = list(&target).await?;
    let answer = try_add(&target, &nowhere(&target, 1), true).await?;
    equal("the revision in the header", revision(answer.header.as_ref()), 0)?;
    let learner = present("the new member", answer.member)?;
    equal("name and URLs", (learner.name.as_str(), &learner.client_urls), ("", &Vec::new()))?;
    equal("peer URLs", learner.peer_urls.clone(), vec![nowhere(&target, 1)])?;
    equal("learner", learner.is_learner, true)?;
    holds("an id of its own", before.iter().all(|member| member.id != learner.id), learner.id)?;
    equal("members", answer.members.len(), before.len() + 1)?;
    holds("it is listed", list(&target).await?.contains(&learner), &learner)?;
    let left = remove(&target, learner.id).await?;
    equal("members", left.len(), before.len())?;
    let again = remove(&target, learner.id).await;
    refused("a second removal", again, Code::NotFound, "etcdserver: member not found")
}

async fn a_voter_is_added_and_removed(target: Target) -> Outcome {
    let before = list(&target).await?;
    let voter = add(&target, &nowhere(&target, 1), false).await?;
    let is_learner = target.differing(&JOINING_MEMBERS_DO_NOT_VOTE_YET, false, true);
    equal("learner", voter.is_learner, is_learner)?;
    target.write("a", "1").await?;
    let left = remove(&target, voter.id).await?;
    equal("members", left.len(), before.len())?;
    target.write("a", "2").await.map(|_| ()).map_err(Failure::from)
}

async fn a_second_learner_is_one_too_many(target: Target) -> Outcome {
    beside_a_learner(&target, |_| async {
        let second = try_add(&target, &nowhere(&target, 2), true).await;
        refused("a second", second, Code::FailedPrecondition, "etcdserver: too many learner members in cluster")
    })
    .await
}

async fn a_learner_that_never_started_is_not_promoted(target: Target) -> Outcome {
    beside_a_learner(&target.clone(), |learner| async move {
        let text = "etcdserver: can only promote a learner member which is in sync with leader";
        refused("it", promote(&target, learner.id).await, Code::FailedPrecondition, text)
    })
    .await
}

async fn a_learner_does_not_lead(target: Target) -> Outcome {
    beside_a_learner(&target.clone(), |learner| async move {
        let leader = super::maintenance::leader(&target).await?;
        let request = crate::proto::etcdserverpb::MoveLeaderRequest { target_id: learner.id };
        let moved = leader.maintenance().move_leader(request).await;
        refused("it", moved, Code::FailedPrecondition, "etcdserver: bad leader transferee")
    })
    .await
}

async fn a_peer_url_belongs_to_one_member(target: Target) -> Outcome {
    let text = "etcdserver: Peer URLs already exists";
    let members = list(&target).await?;
    let url = present("a peer URL", members[0].peer_urls.first().cloned())?;
    refused("a voter", try_add(&target, &url, false).await, Code::FailedPrecondition, text)?;
    refused("a learner", try_add(&target, &url, true).await, Code::FailedPrecondition, text)?;
    if let Some(other) = members.get(1) {
        refused("a move", update(&target, other.id, &url).await, Code::FailedPrecondition, text)?;
    }
    Ok(())
}

async fn a_learner_moves(target: Target) -> Outcome {
    beside_a_learner(&target.clone(), |learner| async move {
        let moved = update(&target, learner.id, &nowhere(&target, 2)).await?;
        let moved = present("it", moved.into_iter().find(|member| member.id == learner.id))?;
        equal("peer URLs", moved.peer_urls.clone(), vec![nowhere(&target, 2)])?;
        let is_learner = target.differing(&A_LEARNER_THAT_MOVES_STAYS_ONE, false, true);
        equal("the rest", moved, Member { peer_urls: vec![nowhere(&target, 2)], is_learner, ..learner })
    })
    .await
}

async fn peer_urls_must_be_urls(target: Target) -> Outcome {
    let text = "etcdserver: given member URLs are invalid";
    for wrong in ["", "localhost:2380", "http://localhost", "ftp://localhost:1", "http://localhost:1/path"] {
        let added = try_add(&target, wrong, true).await;
        refused(wrong, added, Code::InvalidArgument, text)?;
    }
    let none = target.cluster().member_add(MemberAddRequest::default()).await;
    refused("no URL at all", none, Code::InvalidArgument, text)
}

async fn a_stranger_is_not_removed(target: Target) -> Outcome {
    refused("a stranger", remove(&target, STRANGER).await, Code::NotFound, "etcdserver: member not found")
}

async fn a_stranger_is_not_moved(target: Target) -> Outcome {
    let answer = update(&target, STRANGER, &nowhere(&target, 1)).await;
    refused("a stranger", answer, Code::NotFound, "etcdserver: member not found")
}

async fn a_stranger_is_not_promoted(target: Target) -> Outcome {
    refused("a stranger", promote(&target, STRANGER).await, Code::NotFound, "etcdserver: member not found")
}

async fn a_voter_is_not_promoted(target: Target) -> Outcome {
    let id = list(&target).await?[0].id;
    let text = "etcdserver: can only promote a learner member";
    refused("a voter", promote(&target, id).await, Code::FailedPrecondition, text)
}

async fn every_member_takes_a_change(target: Target) -> Outcome {
    for (step, port) in (0..target.members()).zip(1..) {
        let learner = add(&target.elsewhere(step), &nowhere(&target, port), true).await?;
        let seen = list(&target.elsewhere(step + 1)).await?;
        holds("another member lists it", seen.contains(&learner), &seen)?;
        remove(&target.elsewhere(step + 1), learner.id).await?;
    }
    Ok(())
}
