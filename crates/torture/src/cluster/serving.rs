//! What members say of themselves.

use super::Cluster;
use crate::client::connect;
use quorate_server::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_server::proto::etcdserverpb::{
    HashKvRequest, HashKvResponse, Member, MemberListRequest, StatusRequest, StatusResponse,
};
use std::time::Duration;
use tokio::task::JoinSet;

/// A member that says nothing so long is passed over.
const PATIENCE: Duration = Duration::from_millis(800);

/// What the member at this address says of itself, if anything.
pub async fn status(address: &str) -> Option<StatusResponse> {
    let asked = async {
        let channel = connect(address).await.ok()?;
        MaintenanceClient::new(channel).status(StatusRequest {}).await.ok()
    };
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten().map(tonic::Response::into_inner)
}

/// What the member at this address has at a revision.
pub async fn hash_kv(address: &str, revision: i64) -> Option<HashKvResponse> {
    let asked = async {
        let channel = connect(address).await.ok()?;
        MaintenanceClient::new(channel).hash_kv(HashKvRequest { revision }).await.ok()
    };
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten().map(tonic::Response::into_inner)
}

/// The members as a quorum knows them, asked at this address.
pub async fn members(address: &str) -> Option<Vec<Member>> {
    let asked = async {
        let channel = connect(address).await.ok()?;
        ClusterClient::new(channel).member_list(MemberListRequest { linearizable: true }).await.ok()
    };
    tokio::time::timeout(Duration::from_secs(8), asked).await.ok().flatten().map(|list| list.into_inner().members)
}

/// The name of whoever says that it leads, in the latest term. All are asked at the same time.
pub async fn leader(addresses: &[(String, String)]) -> Option<String> {
    let mut asking = JoinSet::new();
    for (name, address) in addresses.iter().cloned() {
        asking.spawn(async move { (name, status(&address).await) });
    }
    let mut found: Option<(u64, String)> = None;
    while let Some(answered) = asking.join_next().await {
        let Ok((name, Some(status))) = answered else { continue };
        let leads = status.header.is_some_and(|header| header.member_id == status.leader) && status.leader != 0;
        if leads && found.as_ref().is_none_or(|(term, _)| *term < status.raft_term) {
            found = Some((status.raft_term, name));
        }
    }
    found.map(|(_, name)| name)
}

impl Cluster {
    /// Names and client addresses.
    #[must_use]
    pub fn addresses(&self) -> Vec<(String, String)> {
        self.names().into_iter().filter_map(|name| Some((name.clone(), self.client_address(&name)?))).collect()
    }
}
