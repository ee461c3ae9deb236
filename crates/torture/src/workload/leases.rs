//! Holders of leases: each is granted, gets a key, is renewed for a while, and then revoked, or left to end by time.

use super::Caller;
use crate::client::{connect, is_certain};
use crate::record::Who;
use crate::request::{Outcome, Request};
use crate::shared::Shared;
use quorate_server::proto::etcdserverpb::lease_client::LeaseClient;
use quorate_server::proto::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Status};

const PATIENCE: Duration = Duration::from_secs(4);

/// One holder, until clients are to stop.
pub async fn hold_leases(shared: Arc<Shared>, number: usize) {
    let name = format!("holder {number}");
    let mut caller = Caller::new(Arc::clone(&shared), Who::Other(name.clone()), &name);
    while !caller.stopping() {
        if let Some(id) = grant(&mut caller, &name).await {
            live(&mut caller, &name, id).await;
        }
        caller.rest().await;
    }
}

async fn any_member(caller: &mut Caller) -> Option<LeaseClient<Channel>> {
    let (_, address) = caller.shared.endpoints.any(&mut caller.chance)?;
    connect(&address).await.ok().map(LeaseClient::new)
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
}

async fn grant(caller: &mut Caller, name: &str) -> Option<i64> {
    let mut client = any_member(caller).await?;
    let ttl = caller.chance.between(2, 6) as i64;
    let called_ns = caller.shared.recorder.now_ns();
    let granted = in_time(client.lease_grant(LeaseGrantRequest { ttl, id: 0 })).await.ok()?.into_inner();
    caller.shared.leases().granted(granted.id, called_ns, granted.ttl);
    caller.shared.recorder.note(name, json!({ "granted": granted.id, "ttl_s": granted.ttl, "called_ns": called_ns }));
    Some(granted.id)
}

async fn live(caller: &mut Caller, name: &str, id: i64) {
    let key = format!("l/{id:x}");
    let value = caller.new_value();
    match caller.ask(Request::Put { key, value, lease: id }).await {
        Some(Outcome::Failed(why)) if why.contains("lease not found") => {
            let now = caller.shared.recorder.now_ns();
            caller.shared.leases().told_gone(id, now);
        }
        _ => {}
    }
    for _ in 0..caller.chance.below(4) {
        tokio::time::sleep(Duration::from_millis(caller.chance.between(200, 2_500))).await;
        renew(caller, name, id).await;
    }
    if caller.chance.happens(30) {
        revoke(caller, name, id).await;
    }
}

async fn renew(caller: &mut Caller, name: &str, id: i64) {
    let Some(mut client) = any_member(caller).await else { return };
    let called_ns = caller.shared.recorder.now_ns();
    let asked = async {
        let question = tokio_stream::once(LeaseKeepAliveRequest { id });
        client.lease_keep_alive(question).await?.into_inner().message().await
    };
    let Ok(Some(answer)) = in_time(asked).await else { return };
    let now = caller.shared.recorder.now_ns();
    caller.shared.leases().renewed(id, called_ns, now, answer.ttl);
    caller.shared.recorder.note(name, json!({ "renewed": id, "ttl_s": answer.ttl, "called_ns": called_ns }));
}

async fn revoke(caller: &mut Caller, name: &str, id: i64) {
    let Some(mut client) = any_member(caller).await else { return };
    let called_ns = caller.shared.recorder.now_ns();
    let before = caller.shared.leases().lives().get(&id).cloned();
    // Noted before it is sent: from now on the lease may end.
    caller.shared.leases().revoking(id, called_ns);
    let answer = in_time(client.lease_revoke(LeaseRevokeRequest { id })).await;
    let now = caller.shared.recorder.now_ns();
    match &answer {
        Ok(_) => caller.shared.leases().revocations += 1,
        // Refused as unknown: then it must have ended before, and not by this.
        Err(status) if status.code() == Code::NotFound && is_certain(status) => {
            if before.is_some_and(|life| !life.may_have_ended_by(now)) {
                caller
                    .shared
                    .ledger()
                    .find(format!("lease {id:x} could not be revoked, as if it had ended before its time"));
            }
        }
        Err(_) => {}
    }
    caller.shared.recorder.note(name, json!({ "revoked": id, "answered": answer.is_ok(), "called_ns": called_ns }));
}
