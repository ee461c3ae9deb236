//! The KV service: requests are checked as etcd checks them, then handed to the backend.

use std::sync::Arc;

use prost::Message;
use tokio_stream::Empty;
use tonic::{Request, Response, Status};

use crate::backend::{Backend, DeleteCommand, PutCommand, RangeQuery, SortOrder, SortTarget};
use crate::errors::{BackendError, not_yet};
use crate::front::Front;
use crate::proto::etcdserverpb::kv_server::Kv;
use crate::proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RangeStreamResponse, TxnRequest, TxnResponse, range_request,
};

pub(crate) struct KvService<B>(pub(crate) Arc<Front<B>>);

#[tonic::async_trait]
impl<B: Backend> Kv for KvService<B> {
    type RangeStreamStream = Empty<Result<RangeStreamResponse, Status>>;

    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let query = checked_range(request.into_inner())?;
        if !query.serializable {
            self.0.refuse_on_learner()?;
        }
        let answer = self.0.in_time(self.0.backend.range(query)).await?;
        Ok(Response::new(answer.into()))
    }

    async fn range_stream(&self, _: Request<RangeRequest>) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(not_yet("KV.RangeStream"))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        self.0.refuse_on_learner()?;
        let command = checked_put(request.into_inner(), self.0.config.max_request_bytes)?;
        let answer = self.0.in_time(self.0.backend.put(command)).await?;
        Ok(Response::new(answer.into()))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        self.0.refuse_on_learner()?;
        let command = checked_delete(request.into_inner(), self.0.config.max_request_bytes)?;
        let answer = self.0.in_time(self.0.backend.delete_range(command)).await?;
        Ok(Response::new(answer.into()))
    }

    async fn txn(&self, _: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        Err(not_yet("KV.Txn"))
    }

    async fn compact(&self, _: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        Err(not_yet("KV.Compact"))
    }
}

fn checked_range(request: RangeRequest) -> Result<RangeQuery, BackendError> {
    if request.key.is_empty() {
        return Err(BackendError::KeyNotProvided);
    }
    let (sort_order, sort_target) = checked_sort(request.sort_order, request.sort_target)?;
    Ok(RangeQuery {
        key: request.key,
        range_end: request.range_end,
        limit: request.limit.max(0),
        revision: request.revision.max(0),
        sort_order,
        sort_target,
        serializable: request.serializable,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    })
}

/// "No order" means ascending whatever the target: for keys that is the natural order, for the rest etcd's rule since 3.4.
fn checked_sort(order: i32, target: i32) -> Result<(SortOrder, SortTarget), BackendError> {
    let order = match range_request::SortOrder::try_from(order) {
        Ok(range_request::SortOrder::None | range_request::SortOrder::Ascend) => SortOrder::Ascending,
        Ok(range_request::SortOrder::Descend) => SortOrder::Descending,
        Err(_unknown) => return Err(BackendError::InvalidSortOption),
    };
    let target = match range_request::SortTarget::try_from(target) {
        Ok(range_request::SortTarget::Key) => SortTarget::Key,
        Ok(range_request::SortTarget::Version) => SortTarget::Version,
        Ok(range_request::SortTarget::Create) => SortTarget::CreateRevision,
        Ok(range_request::SortTarget::Mod) => SortTarget::ModRevision,
        Ok(range_request::SortTarget::Value) => SortTarget::Value,
        Err(_unknown) => return Err(BackendError::InvalidSortOption),
    };
    Ok((order, target))
}

fn checked_put(request: PutRequest, max_request_bytes: usize) -> Result<PutCommand, BackendError> {
    if request.key.is_empty() {
        return Err(BackendError::KeyNotProvided);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(BackendError::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(BackendError::LeaseProvided);
    }
    if request.encoded_len() > max_request_bytes {
        return Err(BackendError::RequestTooLarge);
    }
    if request.lease != 0 {
        // There is no way to grant a lease yet, so no lease can exist.
        return Err(BackendError::LeaseNotFound);
    }
    let PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease } = request;
    Ok(PutCommand { key, value, lease, prev_kv, ignore_value, ignore_lease })
}

fn checked_delete(request: DeleteRangeRequest, max_request_bytes: usize) -> Result<DeleteCommand, BackendError> {
    if request.key.is_empty() {
        return Err(BackendError::KeyNotProvided);
    }
    if request.encoded_len() > max_request_bytes {
        return Err(BackendError::RequestTooLarge);
    }
    let DeleteRangeRequest { key, range_end, prev_kv } = request;
    Ok(DeleteCommand { key, range_end, prev_kv })
}
