//! Locks and elections: one at a time, in the order of the keys' creation.

use std::time::Duration;

use quorate_server::proto::etcdserverpb::lease_client::LeaseClient;
use quorate_server::proto::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest};
use quorate_server::proto::v3electionpb::election_client::ElectionClient;
use quorate_server::proto::v3electionpb::{CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest};
use quorate_server::proto::v3lockpb::lock_client::LockClient;
use quorate_server::proto::v3lockpb::{LockRequest, UnlockRequest};
use tonic::Code;

use crate::server::{Server, get, refusal};

const PATIENCE: Duration = Duration::from_secs(5);
const A_WHILE: Duration = Duration::from_millis(50);

async fn grant(server: &Server, id: i64) {
    let mut leases = LeaseClient::new(server.channel().await);
    leases.lease_grant(LeaseGrantRequest { id, ttl: 60 }).await.unwrap();
}

async fn revoke(server: &Server, id: i64) {
    LeaseClient::new(server.channel().await).lease_revoke(LeaseRevokeRequest { id }).await.unwrap();
}

fn lock(lease: i64) -> LockRequest {
    LockRequest { name: "door".into(), lease }
}

fn campaign(lease: i64, value: &str) -> CampaignRequest {
    CampaignRequest { name: "chair".into(), lease, value: value.to_owned().into() }
}

#[tokio::test]
async fn the_second_waits_until_the_first_unlocks() {
    let server = Server::start().await;
    let mut locks = LockClient::new(server.channel().await);
    grant(&server, 0x1a).await;
    grant(&server, 0x1b).await;
    let first = locks.lock(lock(0x1a)).await.unwrap().into_inner();
    assert_eq!(first.key, "door/1a");
    assert_eq!(locks.lock(lock(0x1a)).await.unwrap().into_inner().key, first.key, "the same lease has it already");
    let mut others = locks.clone();
    let second = tokio::spawn(async move { others.lock(lock(0x1b)).await });
    tokio::time::sleep(A_WHILE).await;
    assert!(!second.is_finished());
    locks.unlock(UnlockRequest { key: first.key }).await.unwrap();
    let second = tokio::time::timeout(PATIENCE, second).await.unwrap().unwrap().unwrap().into_inner();
    assert_eq!(second.key, "door/1b");
    assert_eq!(second.header.unwrap().revision, 4);
    locks.unlock(UnlockRequest { key: "door/nobody".into() }).await.expect("unlocking what is not locked is no error");
}

#[tokio::test]
async fn a_waiter_whose_lease_ends_is_told_and_a_waiter_that_leaves_leaves_no_key() {
    let server = Server::start().await;
    let mut locks = LockClient::new(server.channel().await);
    for lease in [1, 2, 3] {
        grant(&server, lease).await;
    }
    locks.lock(lock(1)).await.unwrap();
    let mut others = locks.clone();
    let expiring = tokio::spawn(async move { others.lock(lock(2)).await });
    tokio::time::sleep(A_WHILE).await;
    revoke(&server, 2).await;
    let told = refusal(tokio::time::timeout(PATIENCE, expiring).await.unwrap().unwrap());
    assert_eq!(told, (Code::Unknown, "mutex: session is expired".to_owned()));
    tokio::time::timeout(A_WHILE, locks.lock(lock(3))).await.expect_err("it waits, and its client gives up");
    let mut kv = server.kv().await;
    tokio::time::timeout(PATIENCE, async {
        while kv.range(get("door/3")).await.unwrap().into_inner().count > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("its place is given up");
}

#[tokio::test]
async fn refusals_are_those_of_a_client_of_etcd() {
    let server = Server::start().await;
    let mut locks = LockClient::new(server.channel().await);
    let unknown = |text: &str| (Code::Unknown, text.to_owned());
    assert_eq!(refusal(locks.lock(lock(99)).await), unknown("etcdserver: requested lease not found"));
    let no_key = UnlockRequest::default();
    assert_eq!(refusal(locks.unlock(no_key).await), unknown("etcdserver: key is not provided"));
    let mut elections = ElectionClient::new(server.channel().await);
    let nobody = LeaderRequest { name: "chair".into() };
    assert_eq!(refusal(elections.leader(nobody).await), unknown("election: no leader"));
    let missing = unknown("\"leader\" field must be provided");
    assert_eq!(refusal(elections.proclaim(ProclaimRequest::default()).await), missing);
    assert_eq!(refusal(elections.resign(ResignRequest::default()).await), missing);
    let stranger = LeaderKey { name: "chair".into(), key: "chair/7".into(), rev: 3, lease: 7 };
    let proclaim = ProclaimRequest { leader: Some(stranger.clone()), value: "v".into() };
    assert_eq!(refusal(elections.proclaim(proclaim).await), unknown("election: not leader"));
    elections.resign(ResignRequest { leader: Some(stranger) }).await.expect("resigning nothing is no error");
}

#[tokio::test]
async fn an_election_goes_from_leader_to_leader_and_is_observed() {
    let server = Server::start().await;
    let mut elections = ElectionClient::new(server.channel().await);
    for lease in [1, 2] {
        grant(&server, lease).await;
    }
    let mut observed = elections.observe(LeaderRequest { name: "chair".into() }).await.unwrap().into_inner();
    let first = elections.campaign(campaign(1, "ann")).await.unwrap().into_inner().leader.unwrap();
    assert_eq!((first.key.as_ref(), first.rev, first.lease), (&b"chair/1"[..], 2, 1));
    let seen = observed.message().await.unwrap().unwrap();
    assert_eq!((seen.kv.unwrap().value, seen.header.unwrap().revision), ("ann".into(), 2));

    let mut others = elections.clone();
    let second = tokio::spawn(async move { others.campaign(campaign(2, "bob")).await });
    let proclaim = ProclaimRequest { leader: Some(first.clone()), value: "Ann".into() };
    elections.proclaim(proclaim).await.unwrap();
    assert_eq!(observed.message().await.unwrap().unwrap().kv.unwrap().value, "Ann");
    let leader = elections.leader(LeaderRequest { name: "chair".into() }).await.unwrap().into_inner();
    assert_eq!(leader.kv.unwrap().value, "Ann");
    tokio::time::sleep(A_WHILE).await;
    assert!(!second.is_finished());

    elections.resign(ResignRequest { leader: Some(first) }).await.unwrap();
    let second = tokio::time::timeout(PATIENCE, second).await.unwrap().unwrap().unwrap().into_inner().leader.unwrap();
    assert_eq!(observed.message().await.unwrap().unwrap().kv.unwrap().value, "bob");
    assert!(second.rev > 2, "the token grows");
    let again = elections.campaign(campaign(2, "Bob")).await.unwrap().into_inner().leader.unwrap();
    assert_eq!(again.rev, second.rev, "the same place, with another value");
    assert_eq!(observed.message().await.unwrap().unwrap().kv.unwrap().value, "Bob");
}
