//! The Election service.

use std::sync::Arc;

use bytes::Bytes;
use quorate_keyspace::{Operation, PutRequest, Query, TxnRequest};
use quorate_machine::Consistency;
use tonic::{Request, Response, Status};

use crate::backend::Backend;
use crate::front::Front;
use crate::observe::observe;
use crate::proto::v3electionpb::election_server::Election;
use crate::proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ProclaimResponse,
    ResignRequest, ResignResponse,
};
use crate::queue::{LeaveOnDrop, Place, QueueError, created_at, first_pair, oldest, prefix, status_of};
use crate::stream::Responses;

const NO_LEADER: &str = "election: no leader";
const NOT_LEADER: &str = "election: not leader";
const SESSION_EXPIRED: &str = "election: session expired";
const LEADER_MISSING: &str = "\"leader\" field must be provided";

pub(crate) struct ElectionService<B>(pub(crate) Arc<Front<B>>);

impl<B: Backend> ElectionService<B> {
    /// Changes the value of a candidate or leader; answers the revision.
    async fn set_value(&self, place: &Place, lease: i64, value: Bytes) -> Result<i64, Status> {
        let put = PutRequest { key: place.key.clone(), value, lease, ..PutRequest::default() };
        let txn = TxnRequest {
            compares: vec![created_at(place.key.clone(), place.create_revision)],
            success: vec![Operation::Put(put)],
            failure: Vec::new(),
        };
        let outcome = self.0.transact(txn).await.map_err(status_of)?;
        if outcome.succeeded { Ok(outcome.revision) } else { Err(Status::unknown(NOT_LEADER)) }
    }
}

fn place_of(leader: Option<LeaderKey>) -> Result<(Place, i64), Status> {
    let LeaderKey { key, rev, lease, .. } = leader.ok_or_else(|| Status::unknown(LEADER_MISSING))?;
    Ok((Place { key, create_revision: rev }, lease))
}

#[tonic::async_trait]
impl<B: Backend> Election for ElectionService<B> {
    type ObserveStream = Responses<LeaderResponse>;

    /// Waits for as long as the client does, or until its lease ends. (etcd does not notice the latter, and hands the election to a
    /// candidate that is gone.)
    async fn campaign(&self, request: Request<CampaignRequest>) -> Result<Response<CampaignResponse>, Status> {
        self.0.refuse_on_learner()?;
        let CampaignRequest { name, lease, value } = request.into_inner();
        let lease = self.0.session_lease(lease).await.map_err(status_of)?;
        let prefix = prefix(&name);
        let (place, queued) = self.0.queue_up(&prefix, lease, value.clone()).await.map_err(status_of)?;
        let on_failure = LeaveOnDrop::new(&self.0, place.clone());
        if queued.found.is_some_and(|found| found.value != value) {
            self.set_value(&place, lease, value).await?;
        }
        if !queued.is_first {
            self.0.wait_for_turn(&prefix, &place).await.map_err(|error| match error {
                QueueError::PlaceLost => Status::unknown(SESSION_EXPIRED),
                QueueError::Backend(error) => status_of(error),
            })?;
        }
        on_failure.keep();
        let leader = LeaderKey { name, key: place.key, rev: place.create_revision, lease };
        let header = self.0.header_at(queued.revision);
        Ok(Response::new(CampaignResponse { header, leader: Some(leader) }))
    }

    async fn proclaim(&self, request: Request<ProclaimRequest>) -> Result<Response<ProclaimResponse>, Status> {
        self.0.refuse_on_learner()?;
        let ProclaimRequest { leader, value } = request.into_inner();
        let (place, lease) = place_of(leader)?;
        let lease = self.0.session_lease(lease).await.map_err(status_of)?;
        let revision = self.set_value(&place, lease, value).await?;
        Ok(Response::new(ProclaimResponse { header: self.0.header_at(revision) }))
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        self.0.refuse_on_learner()?;
        let query = Query::Range(oldest(&prefix(&request.into_inner().name)));
        let reply = self.0.read(query, Consistency::Linearizable).await.map_err(status_of)?;
        match first_pair(reply)? {
            (revision, Some(leader)) => {
                let header = self.0.header_at(revision);
                Ok(Response::new(LeaderResponse { header, kv: Some(leader.into()) }))
            }
            (_, None) => Err(Status::unknown(NO_LEADER)),
        }
    }

    async fn observe(&self, request: Request<LeaderRequest>) -> Result<Response<Self::ObserveStream>, Status> {
        self.0.refuse_on_learner()?;
        let (metadata, _, LeaderRequest { name }) = request.into_parts();
        let leaders = observe(Arc::clone(&self.0), prefix(&name));
        Ok(Response::new(self.0.guarded(&metadata, leaders)?))
    }

    /// Resigning what one does not hold is no error, as in etcd.
    async fn resign(&self, request: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        self.0.refuse_on_learner()?;
        let (place, _) = place_of(request.into_inner().leader)?;
        let revision = self.0.leave(place).await.map_err(status_of)?;
        Ok(Response::new(ResignResponse { header: self.0.header_at(revision) }))
    }
}
