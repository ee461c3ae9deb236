//! Who the members are, and that auth is off.

use crate::case::Case;
use crate::expect::{Outcome, equal, holds, present, refused};
use crate::proto::etcdserverpb::auth_client::AuthClient;
use crate::proto::etcdserverpb::{AuthStatusRequest, AuthenticateRequest, MemberListRequest};
use crate::target::{Target, revision};
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::shared(every_member_lists_all),
        Case::shared(a_list_tells_no_revision),
        Case::shared(a_list_has_the_ids_of_headers),
        Case::shared(auth_is_off),
        Case::shared(nobody_authenticates_while_auth_is_off),
    ]
}

async fn every_member_lists_all(target: Target) -> Outcome {
    let mut lists = Vec::new();
    for step in 0..target.members() {
        for linearizable in [false, true] {
            let request = MemberListRequest { linearizable };
            let mut members = target.elsewhere(step).cluster().member_list(request).await?.into_inner().members;
            members.sort_by_key(|member| member.id);
            lists.push(members);
        }
    }
    holds("one list", lists.iter().all(|list| *list == lists[0]), &lists)?;
    equal("members", lists[0].len(), target.members())?;
    let whole = lists[0].iter().all(|member| {
        !member.name.is_empty() && !member.client_urls.is_empty() && !member.peer_urls.is_empty() && !member.is_learner
    });
    holds("names and URLs are there, and no learner", whole, &lists[0])
}

async fn a_list_tells_no_revision(target: Target) -> Outcome {
    let answer = target.cluster().member_list(MemberListRequest::default()).await?.into_inner();
    equal("revision", revision(answer.header.as_ref()), 0)?;
    let header = present("a header", answer.header)?;
    holds("the rest of the header", header.cluster_id != 0 && header.member_id != 0 && header.raft_term != 0, header)
}

async fn a_list_has_the_ids_of_headers(target: Target) -> Outcome {
    let members = target.cluster().member_list(MemberListRequest::default()).await?.into_inner().members;
    for step in 0..target.members() {
        let here = target.elsewhere(step);
        let header = present("a header", here.range(here.get_request("a")).await?.header)?;
        holds("it is listed", members.iter().any(|member| member.id == header.member_id), (&members, header))?;
    }
    Ok(())
}

async fn auth_is_off(target: Target) -> Outcome {
    let status = AuthClient::new(target.channel()).auth_status(AuthStatusRequest {}).await?.into_inner();
    equal("enabled and revision", (status.enabled, status.auth_revision), (false, 1))
}

async fn nobody_authenticates_while_auth_is_off(target: Target) -> Outcome {
    let request = AuthenticateRequest { name: "root".to_owned(), password: "secret".to_owned() };
    let answer = AuthClient::new(target.channel()).authenticate(request).await;
    refused("a token", answer, Code::FailedPrecondition, "etcdserver: authentication is not enabled")
}
