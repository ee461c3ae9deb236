//! The Election service: not there yet.

use std::sync::Arc;

use tokio_stream::Empty;
use tonic::{Request, Response, Status};

use crate::backend::Backend;
use crate::errors::not_yet;
use crate::front::Front;
use crate::proto::v3electionpb::election_server::Election;
use crate::proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderRequest, LeaderResponse, ProclaimRequest, ProclaimResponse, ResignRequest,
    ResignResponse,
};

pub(crate) struct ElectionService<B>(pub(crate) Arc<Front<B>>);

#[tonic::async_trait]
impl<B: Backend> Election for ElectionService<B> {
    type ObserveStream = Empty<Result<LeaderResponse, Status>>;

    async fn campaign(&self, _: Request<CampaignRequest>) -> Result<Response<CampaignResponse>, Status> {
        Err(not_yet("Election.Campaign"))
    }

    async fn proclaim(&self, _: Request<ProclaimRequest>) -> Result<Response<ProclaimResponse>, Status> {
        Err(not_yet("Election.Proclaim"))
    }

    async fn leader(&self, _: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        Err(not_yet("Election.Leader"))
    }

    async fn observe(&self, _: Request<LeaderRequest>) -> Result<Response<Self::ObserveStream>, Status> {
        Err(not_yet("Election.Observe"))
    }

    async fn resign(&self, _: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        Err(not_yet("Election.Resign"))
    }
}
