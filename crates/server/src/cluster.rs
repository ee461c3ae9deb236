//! The Cluster service: who the members are, and changing that.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::backend::{Backend, MemberList, MembershipChange, NewPart};
use crate::errors::BackendError;
use crate::front::Front;
use crate::member_urls::checked;
use crate::proto::etcdserverpb::cluster_server::Cluster;
use crate::proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest, MemberUpdateResponse,
    ResponseHeader,
};

pub(crate) struct ClusterService<B>(pub(crate) Arc<Front<B>>);

/// The members are not part of the keyspace: etcd gives no revision here.
fn told(list: MemberList) -> (Option<ResponseHeader>, Vec<Member>) {
    let header = ResponseHeader { revision: 0, ..list.header.into() };
    (Some(header), list.members.into_iter().map(Into::into).collect())
}

impl<B: Backend> ClusterService<B> {
    async fn change(&self, change: MembershipChange) -> Result<(u64, MemberList), BackendError> {
        self.0.refuse_on_learner()?;
        self.0.in_time(self.0.backend.change_members(change)).await
    }
}

#[tonic::async_trait]
impl<B: Backend> Cluster for ClusterService<B> {
    async fn member_list(&self, request: Request<MemberListRequest>) -> Result<Response<MemberListResponse>, Status> {
        let linearizable = request.into_inner().linearizable;
        if linearizable {
            self.0.refuse_on_learner()?;
        }
        let (header, members) = told(self.0.in_time(self.0.backend.members(linearizable)).await?);
        Ok(Response::new(MemberListResponse { header, members }))
    }

    async fn member_add(&self, request: Request<MemberAddRequest>) -> Result<Response<MemberAddResponse>, Status> {
        let MemberAddRequest { peer_urls, is_learner, quorate_witness } = request.into_inner();
        let part = match (is_learner, quorate_witness) {
            (true, true) => {
                let why = "a new member is a learner or a witness, not both".to_owned();
                return Err(BackendError::Malformed(why).into());
            }
            (true, false) => NewPart::Learner,
            (false, true) => NewPart::Witness,
            (false, false) => NewPart::Voter,
        };
        let change = MembershipChange::Add { peer_urls: checked(peer_urls)?, part };
        let (id, list) = self.change(change).await?;
        let (header, members) = told(list);
        let member = members.iter().find(|member| member.id == id).cloned();
        Ok(Response::new(MemberAddResponse { header, member, members }))
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        let change = MembershipChange::Remove { id: request.into_inner().id };
        let (header, members) = told(self.change(change).await?.1);
        Ok(Response::new(MemberRemoveResponse { header, members }))
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        let MemberUpdateRequest { id, peer_urls } = request.into_inner();
        let change = MembershipChange::Update { id, peer_urls: checked(peer_urls)? };
        let (header, members) = told(self.change(change).await?.1);
        Ok(Response::new(MemberUpdateResponse { header, members }))
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        let MemberPromoteRequest { id, quorate_replacing } = request.into_inner();
        let replacing = (quorate_replacing != 0).then_some(quorate_replacing);
        let change = MembershipChange::Promote { id, replacing };
        let (header, members) = told(self.change(change).await?.1);
        Ok(Response::new(MemberPromoteResponse { header, members }))
    }
}
