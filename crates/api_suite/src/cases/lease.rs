//! Leases: granted, kept alive, attached, expired.

use crate::case::Case;
use crate::expect::{Failure, Outcome, equal, holds, present, refused};
use crate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest,
};
use crate::target::Target;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::shared(an_id_is_given_and_positive),
        Case::shared(an_id_can_be_chosen),
        Case::shared(a_negative_id_can_be_chosen),
        Case::shared(an_id_in_use_is_refused),
        Case::shared(an_id_is_free_again_after_its_lease),
        Case::shared(a_short_time_is_raised_to_the_least),
        Case::shared(the_longest_time_is_granted_and_one_more_refused),
        Case::shared(time_to_live_tells_granted_and_remaining),
        Case::shared(time_to_live_of_an_unknown_lease_is_minus_one),
        Case::shared(time_to_live_lists_keys_if_asked_for),
        Case::shared(every_member_knows_the_time_to_live),
        Case::shared(a_lease_is_listed_while_it_lives),
        Case::shared(a_revoked_lease_takes_its_keys_along),
        Case::shared(an_unknown_lease_cannot_be_revoked),
        Case::shared(a_key_moves_to_the_lease_of_its_last_put),
        Case::shared(a_put_without_lease_sets_a_key_free),
        Case::shared(a_deleted_key_leaves_its_lease),
        Case::shared(a_key_put_anew_without_lease_outlives_the_old_lease),
        Case::shared(a_put_that_keeps_the_lease_stays_attached),
        Case::shared(a_transaction_attaches_too),
        Case::shared(keeping_alive_renews_to_the_granted_time),
        Case::shared(keeping_alive_an_unknown_lease_tells_zero_and_the_stream_stays),
        Case::shared(every_member_keeps_alive),
        Case::shared(several_leases_share_a_stream),
        Case::shared(a_lease_expires_but_not_early),
        Case::shared(a_lease_kept_alive_does_not_expire),
        Case::shared(an_expired_lease_is_an_unknown_lease),
    ]
}

const UNKNOWN: i64 = 987_654_321;
const NO_LEASE: &str = "etcdserver: requested lease not found";

async fn granted(target: &Target, ttl: i64, id: i64) -> Result<LeaseGrantResponse, Status> {
    target.lease().lease_grant(LeaseGrantRequest { ttl, id }).await.map(tonic::Response::into_inner)
}

/// A lease for so many seconds.
pub(super) async fn grant(target: &Target, ttl: i64) -> Result<i64, Status> {
    granted(target, ttl, 0).await.map(|lease| lease.id)
}

/// Ends a lease.
pub(super) async fn revoke(target: &Target, id: i64) -> Result<(), Status> {
    target.lease().lease_revoke(LeaseRevokeRequest { id }).await.map(|_| ())
}

async fn time_to_live(target: &Target, id: i64) -> Result<LeaseTimeToLiveResponse, Status> {
    let request = LeaseTimeToLiveRequest { id, keys: true };
    target.lease().lease_time_to_live(request).await.map(tonic::Response::into_inner)
}

/// The keys on a lease, in order. etcd tells them in any.
async fn attached(target: &Target, id: i64) -> Result<Vec<String>, Status> {
    let mut names: Vec<String> = time_to_live(target, id).await?.keys.iter().map(|key| target.name(key)).collect();
    names.sort();
    Ok(names)
}

async fn put_on(target: &Target, name: &str, lease: i64) -> Result<(), Status> {
    target.put(PutRequest { lease, ..target.put_request(name, "leased") }).await.map(|_| ())
}

/// A stream that keeps leases alive.
struct Renewals {
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

impl Renewals {
    /// Opened with a first request, since etcd sends no headers before.
    async fn open(target: &Target, id: i64) -> Result<Renewals, Failure> {
        let (requests, waiting) = mpsc::channel(16);
        let renewals = requests.send(LeaseKeepAliveRequest { id }).await;
        renewals.map_err(|_| Failure("the channel is closed".to_owned()))?;
        let answers = target.lease().lease_keep_alive(ReceiverStream::new(waiting)).await?.into_inner();
        Ok(Renewals { requests, answers })
    }

    async fn ask(&mut self, id: i64) -> Result<LeaseKeepAliveResponse, Failure> {
        let sent = self.requests.send(LeaseKeepAliveRequest { id }).await;
        sent.map_err(|_| Failure("the stream has ended".to_owned()))?;
        self.next().await
    }

    async fn next(&mut self) -> Result<LeaseKeepAliveResponse, Failure> {
        present("an answer on the stream", self.answers.message().await?)
    }
}

async fn an_id_is_given_and_positive(target: Target) -> Outcome {
    let first = granted(&target, 60, 0).await?;
    let second = granted(&target, 60, 0).await?;
    holds("positive and different", first.id > 0 && second.id > 0 && first.id != second.id, (first.id, second.id))?;
    equal("time and error", (first.ttl, first.error.as_str()), (60, ""))?;
    holds("a header", first.header.is_some_and(|header| header.revision > 0), first.header)
}

/// An id that nobody else is likely to have.
fn own_id(target: &Target) -> i64 {
    let mut id = 0_i64;
    for byte in target.key("").iter() {
        id = (id.wrapping_mul(257)).wrapping_add(i64::from(*byte)) & (i64::MAX >> 1);
    }
    id + 1
}

async fn an_id_can_be_chosen(target: Target) -> Outcome {
    let id = own_id(&target);
    equal("id", granted(&target, 60, id).await?.id, id)?;
    revoke(&target, id).await.map_err(Failure::from)
}

async fn a_negative_id_can_be_chosen(target: Target) -> Outcome {
    let id = -own_id(&target);
    equal("id", granted(&target, 60, id).await?.id, id)?;
    put_on(&target, "a", id).await?;
    equal("keys", attached(&target, id).await?, vec!["a".to_owned()])?;
    revoke(&target, id).await?;
    equal("the key", target.read("a").await?, None)
}

async fn an_id_in_use_is_refused(target: Target) -> Outcome {
    let id = own_id(&target);
    granted(&target, 60, id).await?;
    let again = granted(&target.elsewhere(1), 30, id).await;
    refused("again", again, Code::FailedPrecondition, "etcdserver: lease already exists")?;
    equal("the first stays", time_to_live(&target, id).await?.granted_ttl, 60)
}

async fn an_id_is_free_again_after_its_lease(target: Target) -> Outcome {
    let id = own_id(&target);
    granted(&target, 60, id).await?;
    put_on(&target, "a", id).await?;
    revoke(&target, id).await?;
    equal("granted again", granted(&target, 30, id).await?.ttl, 30)?;
    equal("nothing hangs on it", attached(&target, id).await?, vec![])
}

async fn a_short_time_is_raised_to_the_least(target: Target) -> Outcome {
    for asked in [1, 0, -7, i64::MIN] {
        let lease = granted(&target, asked, 0).await?;
        equal(&format!("granted for {asked}"), lease.ttl, 2)?;
        equal("and so it is known", time_to_live(&target, lease.id).await?.granted_ttl, 2)?;
    }
    Ok(())
}

async fn the_longest_time_is_granted_and_one_more_refused(target: Target) -> Outcome {
    let longest = 9_000_000_000;
    let lease = granted(&target, longest, 0).await?;
    equal("granted", lease.ttl, longest)?;
    revoke(&target, lease.id).await?;
    for asked in [longest + 1, i64::MAX] {
        refused("one more", granted(&target, asked, 0).await, Code::OutOfRange, "etcdserver: too large lease TTL")?;
    }
    Ok(())
}

async fn time_to_live_tells_granted_and_remaining(target: Target) -> Outcome {
    let id = grant(&target, 60).await?;
    let told = time_to_live(&target, id).await?;
    equal("id and granted", (told.id, told.granted_ttl), (id, 60))?;
    holds("remaining", (55..=60).contains(&told.ttl), told.ttl)
}

async fn time_to_live_of_an_unknown_lease_is_minus_one(target: Target) -> Outcome {
    let told = time_to_live(&target, UNKNOWN).await?;
    equal("id, remaining, granted", (told.id, told.ttl, told.granted_ttl), (UNKNOWN, -1, 0))?;
    let id = grant(&target, 60).await?;
    revoke(&target, id).await?;
    equal("of a revoked lease", time_to_live(&target, id).await?.ttl, -1)
}

async fn time_to_live_lists_keys_if_asked_for(target: Target) -> Outcome {
    let id = grant(&target, 60).await?;
    equal("none yet", attached(&target, id).await?, vec![])?;
    for name in ["b", "a", "b"] {
        put_on(&target, name, id).await?;
    }
    equal("asked", attached(&target, id).await?, vec!["a".to_owned(), "b".to_owned()])?;
    let unasked = LeaseTimeToLiveRequest { id, keys: false };
    equal("unasked", target.lease().lease_time_to_live(unasked).await?.into_inner().keys.len(), 0)
}

async fn every_member_knows_the_time_to_live(target: Target) -> Outcome {
    let id = grant(&target, 60).await?;
    put_on(&target, "a", id).await?;
    for step in 0..target.members() {
        let told = time_to_live(&target.elsewhere(step), id).await?;
        equal("granted and keys", (told.granted_ttl, told.keys.len()), (60, 1))?;
        holds("remaining", (50..=60).contains(&told.ttl), told.ttl)?;
    }
    Ok(())
}

async fn a_lease_is_listed_while_it_lives(target: Target) -> Outcome {
    let id = grant(&target, 60).await?;
    let listed = async || -> Result<bool, Status> {
        let leases = target.lease().lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
        Ok(leases.iter().any(|lease| lease.id == id))
    };
    equal("while it lives", listed().await?, true)?;
    revoke(&target, id).await?;
    equal("afterwards", listed().await?, false)
}

async fn a_revoked_lease_takes_its_keys_along(target: Target) -> Outcome {
    let id = grant(&target, 60).await?;
    for name in ["a", "b"] {
        put_on(&target, name, id).await?;
    }
    target.write("c", "free").await?;
    revoke(&target.elsewhere(1), id).await?;
    equal("what is left", target.names(&target.range(target.all_request()).await?.kvs).concat(), "c".to_owned())
}

async fn an_unknown_lease_cannot_be_revoked(target: Target) -> Outcome {
    refused("unknown", revoke(&target, UNKNOWN).await, Code::NotFound, NO_LEASE)?;
    let id = grant(&target, 60).await?;
    revoke(&target, id).await?;
    refused("twice", revoke(&target, id).await, Code::NotFound, NO_LEASE)
}

async fn a_key_moves_to_the_lease_of_its_last_put(target: Target) -> Outcome {
    let (first, second) = (grant(&target, 60).await?, grant(&target, 60).await?);
    put_on(&target, "a", first).await?;
    put_on(&target, "a", second).await?;
    equal("on the first", attached(&target, first).await?, vec![])?;
    equal("on the second", attached(&target, second).await?, vec!["a".to_owned()])?;
    revoke(&target, first).await?;
    equal("it outlives the first", target.read("a").await?.map(|pair| pair.lease), Some(second))?;
    revoke(&target, second).await?;
    equal("but not the second", target.read("a").await?, None)
}

async fn a_put_without_lease_sets_a_key_free(target: Target) -> Outcome {
    let id = grant(&target, 60).await?;
    put_on(&target, "a", id).await?;
    target.write("a", "free").await?;
    equal("on the lease", attached(&target, id).await?, vec![])?;
    revoke(&target, id).await?;
    equal("value and lease", target.read("a").await?.map(|pair| (pair.value, pair.lease)), Some(("free".into(), 0)))
}

async fn a_deleted_key_leaves_its_lease(target: Target) -> Outcome {
    let id = grant(&target, 60).await?;
    put_on(&target, "a", id).await?;
    put_on(&target, "b", id).await?;
    target.remove("a").await?;
    equal("on the lease", attached(&target, id).await?, vec!["b".to_owned()])
}

async fn a_key_put_anew_without_lease_outlives_the_old_lease(target: Target) -> Outcome {
    let id = grant(&target, 60).await?;
    put_on(&target, "a", id).await?;
    target.remove("a").await?;
    target.write("a", "free").await?;
    revoke(&target, id).await?;
    equal("value", target.value("a").await?, Some("free".to_owned()))
}

async fn a_put_that_keeps_the_lease_stays_attached(target: Target) -> Outcome {
    let id = grant(&target, 60).await?;
    put_on(&target, "a", id).await?;
    target.put(PutRequest { ignore_lease: true, ..target.put_request("a", "new") }).await?;
    equal("on the lease", attached(&target, id).await?, vec!["a".to_owned()])?;
    revoke(&target, id).await?;
    equal("the key", target.read("a").await?, None)
}

async fn a_transaction_attaches_too(target: Target) -> Outcome {
    let id = grant(&target, 60).await?;
    let leased = PutRequest { lease: id, ..target.put_request("a", "1") };
    target.txn(crate::target::always(vec![crate::target::put_op(leased)])).await?;
    equal("on the lease", attached(&target, id).await?, vec!["a".to_owned()])
}

async fn keeping_alive_renews_to_the_granted_time(target: Target) -> Outcome {
    let id = grant(&target, 30).await?;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let worn = time_to_live(&target, id).await?.ttl;
    holds("time has passed", worn <= 28, worn)?;
    let answer = Renewals::open(&target, id).await?.next().await?;
    equal("id and time", (answer.id, answer.ttl), (id, 30))?;
    let remaining = time_to_live(&target, id).await?.ttl;
    holds("renewed", remaining >= 29, remaining)
}

async fn keeping_alive_an_unknown_lease_tells_zero_and_the_stream_stays(target: Target) -> Outcome {
    let mut renewals = Renewals::open(&target, UNKNOWN).await?;
    let unknown = renewals.next().await?;
    equal("id and time", (unknown.id, unknown.ttl), (UNKNOWN, 0))?;
    let id = grant(&target, 60).await?;
    equal("a known one", renewals.ask(id).await?.ttl, 60)?;
    revoke(&target, id).await?;
    equal("a revoked one", renewals.ask(id).await?.ttl, 0)
}

async fn every_member_keeps_alive(target: Target) -> Outcome {
    let id = grant(&target, 60).await?;
    for step in 0..target.members() {
        let answer = Renewals::open(&target.elsewhere(step), id).await?.next().await?;
        equal("id and time", (answer.id, answer.ttl), (id, 60))?;
    }
    Ok(())
}

async fn several_leases_share_a_stream(target: Target) -> Outcome {
    let (first, second) = (grant(&target, 60).await?, grant(&target, 90).await?);
    let mut renewals = Renewals::open(&target, first).await?;
    let mut answers = vec![renewals.next().await?, renewals.ask(second).await?, renewals.ask(first).await?];
    let told: Vec<(i64, i64)> = answers.drain(..).map(|answer| (answer.id, answer.ttl)).collect();
    equal("ids and times", told, vec![(first, 60), (second, 90), (first, 60)])
}

/// Waits until a key is gone; returns how long that took.
async fn wait_until_gone(target: &Target, name: &str) -> Result<Duration, Failure> {
    let started = Instant::now();
    while target.read(name).await?.is_some() {
        if started.elapsed() > Duration::from_secs(20) {
            return Err(Failure(format!("{name} is still there after 20 s")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(started.elapsed())
}

async fn a_lease_expires_but_not_early(target: Target) -> Outcome {
    let id = grant(&target, 3).await?;
    let granted_at = Instant::now();
    put_on(&target, "a", id).await?;
    put_on(&target, "b", id).await?;
    wait_until_gone(&target, "a").await?;
    // The key may have gone just before it was seen to be gone, and the lease been granted just before we heard.
    let lived = granted_at.elapsed();
    holds("not early", lived >= Duration::from_millis(2_800), lived)?;
    equal("all keys go together", target.read("b").await?, None)?;
    equal("the lease is gone", time_to_live(&target, id).await?.ttl, -1)
}

async fn a_lease_kept_alive_does_not_expire(target: Target) -> Outcome {
    let id = grant(&target, 2).await?;
    put_on(&target, "a", id).await?;
    let mut renewals = Renewals::open(&target, id).await?;
    equal("renewed", renewals.next().await?.ttl, 2)?;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        equal("renewed", renewals.ask(id).await?.ttl, 2)?;
    }
    equal("the key lives", target.read("a").await?.is_some(), true)?;
    wait_until_gone(&target, "a").await.map(|_| ())
}

async fn an_expired_lease_is_an_unknown_lease(target: Target) -> Outcome {
    let id = grant(&target, 2).await?;
    put_on(&target, "a", id).await?;
    wait_until_gone(&target, "a").await?;
    refused("a put", put_on(&target, "b", id).await, Code::NotFound, NO_LEASE)?;
    equal("a renewal", Renewals::open(&target, id).await?.next().await?.ttl, 0)?;
    refused("a revocation", revoke(&target, id).await, Code::NotFound, NO_LEASE)
}
