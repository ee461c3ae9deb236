//! The Lease service.

use std::sync::Arc;

use futures_util::StreamExt;
use quorate_keyspace::{KeyspaceError, LeaseAnswer, LeaseErrand, Query, Reply, Request as Command};
use quorate_machine::Consistency;
use tonic::{Request, Response, Status, Streaming};

use crate::answers::{lease_keys_of, mismatch};
use crate::backend::Backend;
use crate::errors::BackendError;
use crate::front::Front;
use crate::proto::etcdserverpb::lease_server::Lease;
use crate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
};
use crate::stream::Responses;

/// Renewals of one stream that are under way at the same time; they are answered in order.
const KEEP_ALIVES_IN_FLIGHT: usize = 64;
/// How often a drawn lease id is drawn again because it is taken. Once is already unheard of.
const DRAWS_MAX: usize = 8;

pub(crate) struct LeaseService<B>(pub(crate) Arc<Front<B>>);

impl<B: Backend> Front<B> {
    /// Makes a lease with at least the shortest allowed time to live; id 0 draws a positive one.
    ///
    /// # Errors
    /// As the keyspace; `Other` when the system has no randomness.
    pub(crate) async fn grant(&self, id: i64, ttl_seconds: i64) -> Result<Reply, BackendError> {
        let ttl_seconds = ttl_seconds.max(self.config.min_lease_ttl_seconds);
        for _ in 1..DRAWS_MAX {
            let picked = if id == 0 { drawn_lease_id()? } else { id };
            let command = Command::LeaseGrant { id: picked, ttl_seconds };
            command.check()?;
            match self.write(command).await {
                Err(BackendError::Refused(KeyspaceError::LeaseExists)) if id == 0 => {}
                answer => return answer,
            }
        }
        Err(KeyspaceError::LeaseExists.into())
    }

    /// Takes an errand to the leader.
    async fn lease_errand(&self, errand: LeaseErrand) -> Result<LeaseAnswer, BackendError> {
        match self.in_time(self.backend.lease(errand)).await? {
            LeaseAnswer::Malformed => {
                Err(BackendError::Unsupported("this question about a lease, at the present leader,".to_owned()))
            }
            answer => Ok(answer),
        }
    }

    /// A lease that is not there is answered with 0, and the stream goes on.
    async fn keep_alive(&self, id: i64) -> Result<LeaseKeepAliveResponse, Status> {
        let ttl = match self.lease_errand(LeaseErrand::KeepAlive { id }).await? {
            LeaseAnswer::Renewed { ttl_seconds } => ttl_seconds,
            LeaseAnswer::Unknown => 0,
            other => return Err(unfitting(&other).into()),
        };
        Ok(LeaseKeepAliveResponse { header: Some(self.local_header()), id, ttl })
    }
}

/// Positive, as etcd's are.
fn drawn_lease_id() -> Result<i64, BackendError> {
    let drawn = getrandom::u64().map_err(|error| BackendError::Other(format!("no randomness: {error}")))?;
    Ok((drawn >> 1).max(1).cast_signed())
}

fn unfitting(answer: &LeaseAnswer) -> BackendError {
    BackendError::Other(format!("the leader gave an answer to another question: {answer:?}"))
}

#[tonic::async_trait]
impl<B: Backend> Lease for LeaseService<B> {
    type LeaseKeepAliveStream = Responses<LeaseKeepAliveResponse>;

    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Result<Response<LeaseGrantResponse>, Status> {
        self.0.refuse_on_learner()?;
        let LeaseGrantRequest { ttl, id } = request.into_inner();
        match self.0.grant(id, ttl).await? {
            Reply::LeaseGranted { revision, id, ttl_seconds } => Ok(Response::new(LeaseGrantResponse {
                header: self.0.header_at(revision),
                id,
                ttl: ttl_seconds,
                error: String::new(),
            })),
            other => Err(mismatch(&other).into()),
        }
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        self.0.refuse_on_learner()?;
        match self.0.write(Command::LeaseRevoke { id: request.into_inner().id }).await? {
            Reply::LeaseRevoked { revision, .. } => {
                Ok(Response::new(LeaseRevokeResponse { header: self.0.header_at(revision) }))
            }
            other => Err(mismatch(&other).into()),
        }
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        self.0.refuse_on_learner()?;
        let (metadata, _, renewals) = request.into_parts();
        let front = Arc::clone(&self.0);
        let answers = renewals
            .map(move |renewal| {
                let front = Arc::clone(&front);
                async move { front.keep_alive(renewal?.id).await }
            })
            .buffered(KEEP_ALIVES_IN_FLIGHT);
        Ok(Response::new(self.0.guarded(&metadata, answers)?))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        self.0.refuse_on_learner()?;
        let LeaseTimeToLiveRequest { id, keys: with_keys } = request.into_inner();
        let gone = LeaseTimeToLiveResponse { header: None, id, ttl: -1, granted_ttl: 0, keys: Vec::new() };
        let mut response = match self.0.lease_errand(LeaseErrand::TimeToLive { id }).await? {
            LeaseAnswer::Unknown => gone,
            LeaseAnswer::Remaining { remaining_seconds, granted_seconds } => {
                LeaseTimeToLiveResponse { ttl: remaining_seconds, granted_ttl: granted_seconds, ..gone }
            }
            other => return Err(unfitting(&other).into()),
        };
        if with_keys && response.ttl >= 0 {
            match self.0.read(Query::LeaseKeys { id }, Consistency::Linearizable).await {
                Ok(reply) => response.keys = lease_keys_of(reply)?.1,
                // It ended between the two questions.
                Err(BackendError::Refused(KeyspaceError::LeaseNotFound)) => {
                    (response.ttl, response.granted_ttl) = (-1, 0);
                }
                Err(error) => return Err(error.into()),
            }
        }
        response.header = Some(self.0.local_header());
        Ok(Response::new(response))
    }

    async fn lease_leases(&self, _: Request<LeaseLeasesRequest>) -> Result<Response<LeaseLeasesResponse>, Status> {
        self.0.refuse_on_learner()?;
        match self.0.read(Query::Leases, Consistency::Linearizable).await? {
            Reply::Leases { revision, ids } => {
                let leases = ids.into_iter().map(|id| LeaseStatus { id }).collect();
                Ok(Response::new(LeaseLeasesResponse { header: self.0.header_at(revision), leases }))
            }
            other => Err(mismatch(&other).into()),
        }
    }
}
