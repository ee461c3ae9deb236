//! The Lease service: not there yet.

use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming};

use crate::errors::not_yet;
use crate::proto::etcdserverpb::lease_server::Lease;
use crate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};

pub(crate) struct LeaseService;

#[tonic::async_trait]
impl Lease for LeaseService {
    type LeaseKeepAliveStream = Empty<Result<LeaseKeepAliveResponse, Status>>;

    async fn lease_grant(&self, _: Request<LeaseGrantRequest>) -> Result<Response<LeaseGrantResponse>, Status> {
        Err(not_yet("Lease.LeaseGrant"))
    }

    async fn lease_revoke(&self, _: Request<LeaseRevokeRequest>) -> Result<Response<LeaseRevokeResponse>, Status> {
        Err(not_yet("Lease.LeaseRevoke"))
    }

    async fn lease_keep_alive(
        &self,
        _: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        Err(not_yet("Lease.LeaseKeepAlive"))
    }

    async fn lease_time_to_live(
        &self,
        _: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        Err(not_yet("Lease.LeaseTimeToLive"))
    }

    async fn lease_leases(&self, _: Request<LeaseLeasesRequest>) -> Result<Response<LeaseLeasesResponse>, Status> {
        Err(not_yet("Lease.LeaseLeases"))
    }
}
