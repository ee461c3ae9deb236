//! The Maintenance service: this member's status, and the list of alarms.

use std::sync::Arc;

use tokio_stream::Empty;
use tonic::{Request, Response, Status};

use crate::backend::{Backend, NodeStatus};
use crate::config::ETCD_VERSION;
use crate::errors::{BackendError, not_yet};
use crate::front::Front;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::maintenance_server::Maintenance;
use crate::proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeRequest, DowngradeResponse,
    HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest,
    SnapshotResponse, StatusRequest, StatusResponse,
};

pub(crate) struct MaintenanceService<B>(pub(crate) Arc<Front<B>>);

#[tonic::async_trait]
impl<B: Backend> Maintenance for MaintenanceService<B> {
    type SnapshotStream = Empty<Result<SnapshotResponse, Status>>;

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let status = self.0.in_time(self.0.backend.status()).await?;
        Ok(Response::new(status_response(status)))
    }

    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        match AlarmAction::try_from(request.into_inner().action) {
            // Nothing raises alarms yet, so the list is empty for any member and kind.
            Ok(AlarmAction::Get) => {
                let header = Some(self.0.local_header().into());
                Ok(Response::new(AlarmResponse { header, alarms: Vec::new() }))
            }
            Ok(AlarmAction::Activate) => Err(not_yet("Maintenance.Alarm with ACTIVATE")),
            Ok(AlarmAction::Deactivate) => Err(not_yet("Maintenance.Alarm with DEACTIVATE")),
            Err(unknown) => Err(Status::invalid_argument(format!("etcdserver: unknown alarm action {}", unknown.0))),
        }
    }

    async fn defragment(&self, _: Request<DefragmentRequest>) -> Result<Response<DefragmentResponse>, Status> {
        Err(not_yet("Maintenance.Defragment"))
    }

    async fn hash(&self, _: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        Err(not_yet("Maintenance.Hash"))
    }

    async fn hash_kv(&self, _: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        Err(not_yet("Maintenance.HashKV"))
    }

    async fn snapshot(&self, _: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(not_yet("Maintenance.Snapshot"))
    }

    async fn move_leader(&self, _: Request<MoveLeaderRequest>) -> Result<Response<MoveLeaderResponse>, Status> {
        Err(not_yet("Maintenance.MoveLeader"))
    }

    async fn downgrade(&self, _: Request<DowngradeRequest>) -> Result<Response<DowngradeResponse>, Status> {
        Err(not_yet("Maintenance.Downgrade"))
    }
}

/// Fields newer than etcd 3.5 stay empty, as they would from the version we claim.
fn status_response(status: NodeStatus) -> StatusResponse {
    let mut errors = status.errors;
    let no_leader = BackendError::NoLeader.to_string();
    if status.leader_id == 0 && !errors.contains(&no_leader) {
        errors.insert(0, no_leader);
    }
    StatusResponse {
        header: Some(status.header.into()),
        version: ETCD_VERSION.to_owned(),
        db_size: saturated(status.db_size_bytes),
        leader: status.leader_id,
        raft_index: status.committed_index,
        raft_term: status.header.raft_term,
        raft_applied_index: status.applied_index,
        errors,
        db_size_in_use: saturated(status.db_size_in_use_bytes),
        is_learner: status.is_learner,
        quorate: Some(status.detail.into()),
        ..StatusResponse::default()
    }
}

fn saturated(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
