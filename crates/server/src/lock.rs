//! The Lock service: not there yet.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::backend::Backend;
use crate::errors::not_yet;
use crate::front::Front;
use crate::proto::v3lockpb::lock_server::Lock;
use crate::proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};

pub(crate) struct LockService<B>(pub(crate) Arc<Front<B>>);

#[tonic::async_trait]
impl<B: Backend> Lock for LockService<B> {
    async fn lock(&self, _: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        Err(not_yet("Lock.Lock"))
    }

    async fn unlock(&self, _: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        Err(not_yet("Lock.Unlock"))
    }
}
