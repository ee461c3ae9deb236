//! The KV service: requests are checked as etcd checks them, then handed to the backend.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use quorate_keyspace::{DeleteRangeRequest as Delete, PutRequest as Put, Query, Reply, Request as Command};
use quorate_machine::Consistency;
use tonic::{Request, Response, Status};

use crate::answers::{delete_response, mismatch, put_response, range_response, txn_response};
use crate::backend::Backend;
use crate::conversion::ConvertedTxn;
use crate::errors::BackendError;
use crate::front::Front;
use crate::proto::etcdserverpb::kv_server::Kv;
use crate::proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RangeStreamResponse, TxnRequest, TxnResponse,
};
use crate::range_stream::range_stream;
use crate::stream::Responses;

/// How often a physical compaction looks whether the space is freed.
const TIDIED_POLL_INTERVAL: Duration = Duration::from_millis(10);

pub(crate) struct KvService<B>(pub(crate) Arc<Front<B>>);

impl<B: Backend> KvService<B> {
    fn refuse_too_large(&self, request: &impl Message) -> Result<(), BackendError> {
        let too_large = request.encoded_len() > self.0.config.max_request_bytes;
        if too_large { Err(BackendError::RequestTooLarge) } else { Ok(()) }
    }

    /// Local state will do if the client says so; else the cluster is asked, which a learner must not serve.
    fn consistency(&self, serializable: bool) -> Result<Consistency, BackendError> {
        if serializable {
            return Ok(Consistency::Local);
        }
        self.0.refuse_on_learner()?;
        Ok(Consistency::Linearizable)
    }
}

#[tonic::async_trait]
impl<B: Backend> Kv for KvService<B> {
    type RangeStreamStream = Responses<RangeStreamResponse>;

    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        Ok(Response::new(self.answer_range(request.into_inner()).await?))
    }

    async fn range_stream(&self, request: Request<RangeRequest>) -> Result<Response<Self::RangeStreamStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        let consistency = self.consistency(request.serializable)?;
        let pages = range_stream(Arc::clone(&self.0), request, consistency)?;
        Ok(Response::new(self.0.guarded(&metadata, pages)?))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        Ok(Response::new(self.answer_put(request.into_inner()).await?))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        Ok(Response::new(self.answer_delete_range(request.into_inner()).await?))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        Ok(Response::new(self.answer_txn(request.into_inner()).await?))
    }

    /// With `physical`, answers when this member has freed the space; the others free theirs meanwhile.
    async fn compact(&self, request: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        self.0.refuse_on_learner()?;
        let CompactionRequest { revision, physical } = request.into_inner();
        let reply = self.0.write(Command::Compact { revision }).await?;
        let Reply::Compacted { revision: current } = reply else { return Err(mismatch(&reply).into()) };
        if physical {
            self.until_tidied(revision).await?;
        }
        Ok(Response::new(CompactionResponse { header: self.0.header_at(current) }))
    }
}

impl<B: Backend> KvService<B> {
    pub(crate) async fn answer_range(&self, request: RangeRequest) -> Result<RangeResponse, BackendError> {
        let serializable = request.serializable;
        let range = request.try_into()?;
        let consistency = self.consistency(serializable)?;
        let reply = self.0.read(Query::Range(range), consistency).await?;
        range_response(self.0.local_header(), reply)
    }

    pub(crate) async fn answer_put(&self, request: PutRequest) -> Result<PutResponse, BackendError> {
        self.0.refuse_on_learner()?;
        let too_large = self.refuse_too_large(&request);
        let command = Command::Put(Put::from(request));
        command.check()?;
        too_large?;
        let reply = self.0.write(command).await?;
        put_response(self.0.local_header(), reply)
    }

    pub(crate) async fn answer_delete_range(
        &self,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, BackendError> {
        self.0.refuse_on_learner()?;
        let too_large = self.refuse_too_large(&request);
        let command = Command::DeleteRange(Delete::from(request));
        command.check()?;
        too_large?;
        let reply = self.0.write(command).await?;
        delete_response(self.0.local_header(), reply)
    }

    pub(crate) async fn answer_txn(&self, request: TxnRequest) -> Result<TxnResponse, BackendError> {
        let too_large = self.refuse_too_large(&request);
        let ConvertedTxn { txn, serializable } = ConvertedTxn::new(request, self.0.config.max_txn_ops)?;
        let reply = if txn.is_read_only() {
            let consistency = self.consistency(serializable)?;
            self.0.read(Query::Txn(txn), consistency).await?
        } else {
            self.0.refuse_on_learner()?;
            too_large?;
            self.0.write(Command::Txn(txn)).await?
        };
        txn_response(self.0.local_header(), reply)
    }

    /// No time limit of ours: freeing much takes long, and the client says how long it will wait.
    async fn until_tidied(&self, revision: i64) -> Result<(), BackendError> {
        loop {
            match self.0.read(Query::Tidied { revision }, Consistency::Local).await? {
                Reply::Tidied { done: true } => return Ok(()),
                Reply::Tidied { done: false } => tokio::time::sleep(TIDIED_POLL_INTERVAL).await,
                other => return Err(mismatch(&other)),
            }
            if *self.0.stopping.borrow() {
                return Err(BackendError::ServerStopped);
            }
        }
    }
}
