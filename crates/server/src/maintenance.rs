//! The Maintenance service.

use std::sync::Arc;

use quorate_keyspace::{
    Alarm, AlarmAction as Act, AlarmKind, AlarmRequest as ChangeAlarm, Query, Reply, Request as Command,
};
use quorate_machine::Consistency;
use tonic::{Request, Response, Status};

use crate::answers::{alarms_of, mismatch};
use crate::backend::{Backend, LocalView, NodeStatus};
use crate::config::ETCD_VERSION;
use crate::errors::{BackendError, not_yet};
use crate::front::Front;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::maintenance_server::Maintenance;
use crate::proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse, DowngradeRequest, DowngradeResponse,
    HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest,
    SnapshotResponse, StatusRequest, StatusResponse,
};
use crate::snapshot::snapshot_stream;
use crate::stream::Responses;

pub(crate) struct MaintenanceService<B>(pub(crate) Arc<Front<B>>);

impl<B: Backend> Front<B> {
    /// The alarms that are raised, as this member or the cluster knows them.
    pub(crate) async fn alarms(&self, consistency: Consistency) -> Result<(i64, Vec<Alarm>), BackendError> {
        let LocalView { header, is_witness, .. } = self.backend.local();
        if is_witness {
            // It hears of none, and answers for itself only.
            return Ok((header.revision, Vec::new()));
        }
        alarms_of(self.read(Query::Alarms, consistency).await?)
    }

    async fn change_alarm(&self, action: Act, request: &AlarmRequest) -> Result<(i64, Vec<Alarm>), BackendError> {
        let Some(kind) = alarm_kind(request.alarm)? else {
            // No alarm is of kind NONE: there is nothing to raise or clear.
            return Ok((self.backend.local().header.revision, Vec::new()));
        };
        let alarm = Alarm { kind, member: request.member_id };
        alarms_of(self.write(Command::Alarm(ChangeAlarm { action, alarm })).await?)
    }

    /// This member's own hash of what is readable; never asked of the others, or it could not be compared with theirs.
    async fn hash_kv(&self, revision: i64) -> Result<HashKvResponse, BackendError> {
        match self.read(Query::HashKv { revision }, Consistency::Local).await? {
            Reply::HashKv { revision, hash, compact_revision, hash_revision } => Ok(HashKvResponse {
                header: self.header_at(revision),
                hash,
                // etcd's word for never.
                compact_revision: if compact_revision == 0 { -1 } else { compact_revision },
                hash_revision,
            }),
            other => Err(mismatch(&other)),
        }
    }
}

/// `None` for NONE.
fn alarm_kind(number: i32) -> Result<Option<AlarmKind>, BackendError> {
    match AlarmType::try_from(number) {
        Ok(AlarmType::None) => Ok(None),
        Ok(AlarmType::Nospace) => Ok(Some(AlarmKind::NoSpace)),
        Ok(AlarmType::Corrupt) => Ok(Some(AlarmKind::Corrupt)),
        Err(unknown) => Err(BackendError::Malformed(format!("unknown alarm {}", unknown.0))),
    }
}

#[tonic::async_trait]
impl<B: Backend> Maintenance for MaintenanceService<B> {
    type SnapshotStream = Responses<SnapshotResponse>;

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let status = self.0.in_time(self.0.backend.status()).await?;
        let (_, alarms) = self.0.alarms(Consistency::Local).await?;
        Ok(Response::new(status_response(status, &alarms)))
    }

    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        self.0.refuse_on_learner()?;
        let request = request.into_inner();
        let (revision, alarms) = match AlarmAction::try_from(request.action) {
            // As in etcd, a list may be asked by kind but not by member.
            Ok(AlarmAction::Get) => {
                let wanted = alarm_kind(request.alarm)?;
                let (revision, mut alarms) = self.0.alarms(Consistency::Linearizable).await?;
                alarms.retain(|alarm| wanted.is_none_or(|wanted| alarm.kind == wanted));
                (revision, alarms)
            }
            Ok(AlarmAction::Activate) => self.0.change_alarm(Act::Activate, &request).await?,
            Ok(AlarmAction::Deactivate) => self.0.change_alarm(Act::Deactivate, &request).await?,
            Err(unknown) => return Err(BackendError::Malformed(format!("unknown alarm action {}", unknown.0)).into()),
        };
        let alarms = alarms.into_iter().map(Into::into).collect();
        Ok(Response::new(AlarmResponse { header: self.0.header_at(revision), alarms }))
    }

    /// Succeeds at once: space that compaction frees is used again without it.
    async fn defragment(&self, _: Request<DefragmentRequest>) -> Result<Response<DefragmentResponse>, Status> {
        Ok(Response::new(DefragmentResponse { header: Some(self.0.local_header()) }))
    }

    /// etcd hashes its database file; what corresponds to it here is all that is readable.
    async fn hash(&self, _: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        let HashKvResponse { header, hash, .. } = self.0.hash_kv(0).await?;
        Ok(Response::new(HashResponse { header, hash }))
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        Ok(Response::new(self.0.hash_kv(request.into_inner().revision).await?))
    }

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        let backup = self.0.in_time(self.0.backend.backup()).await?;
        let blobs = snapshot_stream(self.0.local_header(), backup);
        Ok(Response::new(self.0.guarded(request.metadata(), blobs)?))
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Result<Response<MoveLeaderResponse>, Status> {
        self.0.refuse_on_learner()?;
        self.0.in_time(self.0.backend.move_leader(request.into_inner().target_id)).await?;
        // As in etcd, this answer has no header.
        Ok(Response::new(MoveLeaderResponse { header: None }))
    }

    async fn downgrade(&self, _: Request<DowngradeRequest>) -> Result<Response<DowngradeResponse>, Status> {
        Err(not_yet("Maintenance.Downgrade"))
    }
}

/// Fields newer than etcd 3.5 stay empty, as they would from the version we claim.
fn status_response(status: NodeStatus, alarms: &[Alarm]) -> StatusResponse {
    let mut errors = status.errors;
    if status.leader_id == 0 {
        errors.insert(0, BackendError::NoLeader.to_string());
    }
    errors.extend(alarms.iter().map(|alarm| {
        // The words of Go's protobuf text format, the blank at the end included.
        format!("memberID:{} alarm:{} ", alarm.member, alarm_name(alarm.kind))
    }));
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

/// etcd's name of it.
pub(crate) fn alarm_name(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::NoSpace => "NOSPACE",
        AlarmKind::Corrupt => "CORRUPT",
    }
}

fn saturated(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
