//! The whole life of a lease as one operation: grant, attach a key, renew, revoke.

use crate::keys::Keys;
use crate::pace::{Progress, collect, in_words};
use crate::report::Measured;
use crate::settings::Settings;
use crate::tally::Tally;
use anyhow::Result;
use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::lease_client::LeaseClient;
use quorate_server::proto::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, PutRequest};
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

const TTL_SECONDS: i64 = 60;

/// Runs the lease workload in a closed loop.
pub(crate) async fn run(
    settings: &Settings,
    channels: &[Channel],
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Measured> {
    let shared = Progress::new(settings);
    let mut tasks = JoinSet::new();
    for client in 0..settings.clients {
        let channel = channels[client % channels.len()].clone();
        tasks.spawn(live(channel, Keys::new(settings, client as u64), Arc::clone(&shared)));
    }
    let tally = collect(settings, &mut tasks, &shared, progress).await?;
    Ok(Measured { tally, elapsed: shared.measure_from().elapsed(), gap: None })
}

async fn live(channel: Channel, mut keys: Keys, shared: Arc<Progress>) -> Tally {
    let mut tally = Tally::default();
    while shared.begin() {
        let begun = Instant::now();
        let answer = one_life(&channel, &mut keys).await.map_err(|status| in_words(&status));
        shared.note(&mut tally, begun, answer);
    }
    tally
}

async fn one_life(channel: &Channel, keys: &mut Keys) -> Result<(), Status> {
    let mut leases = LeaseClient::new(channel.clone());
    let granted = leases.lease_grant(LeaseGrantRequest { ttl: TTL_SECONDS, id: 0 }).await?.into_inner();
    let put = PutRequest { key: keys.next_key(), value: keys.value(), lease: granted.id, ..PutRequest::default() };
    KvClient::new(channel.clone()).put(put).await?;
    let renewal = tokio_stream::once(LeaseKeepAliveRequest { id: granted.id });
    let mut renewed = leases.lease_keep_alive(renewal).await?.into_inner();
    match renewed.message().await? {
        Some(answer) if answer.ttl > 0 => {}
        Some(_) => return Err(Status::not_found("the lease was gone before its time")),
        None => return Err(Status::unavailable("the renewal was not answered")),
    }
    leases.lease_revoke(LeaseRevokeRequest { id: granted.id }).await.map(drop)
}
