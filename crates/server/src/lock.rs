//! The Lock service.

use std::sync::Arc;

use bytes::Bytes;
use quorate_keyspace::{DeleteRangeRequest, Reply, Request as Command};
use tonic::{Request, Response, Status};

use crate::answers::mismatch;
use crate::backend::Backend;
use crate::front::Front;
use crate::proto::v3lockpb::lock_server::Lock;
use crate::proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use crate::queue::{LeaveOnDrop, QueueError, prefix, status_of};

/// etcd's words to a waiter whose key is gone.
const SESSION_EXPIRED: &str = "mutex: session is expired";

pub(crate) struct LockService<B>(pub(crate) Arc<Front<B>>);

#[tonic::async_trait]
impl<B: Backend> Lock for LockService<B> {
    /// Waits for as long as the client does. Its lease's end ends the wait too, at once; etcd notices that only when the
    /// turn has come.
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        self.0.refuse_on_learner()?;
        let LockRequest { name, lease } = request.into_inner();
        let lease = self.0.session_lease(lease).await.map_err(status_of)?;
        let prefix = prefix(&name);
        let (place, queued) = self.0.queue_up(&prefix, lease, Bytes::new()).await.map_err(status_of)?;
        let key = place.key.clone();
        let mut revision = queued.revision;
        if !queued.is_first {
            let on_failure = LeaveOnDrop::new(&self.0, place.clone());
            revision = self.0.wait_for_turn(&prefix, &place).await.map_err(|error| match error {
                QueueError::PlaceLost => Status::unknown(SESSION_EXPIRED),
                QueueError::Backend(error) => status_of(error),
            })?;
            on_failure.keep();
        }
        Ok(Response::new(LockResponse { header: self.0.header_at(revision), key }))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        self.0.refuse_on_learner()?;
        let key = request.into_inner().key;
        let command = Command::DeleteRange(DeleteRangeRequest { key, ..DeleteRangeRequest::default() });
        command.check().map_err(|refusal| status_of(refusal.into()))?;
        match self.0.write(command).await.map_err(status_of)? {
            Reply::Delete { revision, .. } => Ok(Response::new(UnlockResponse { header: self.0.header_at(revision) })),
            other => Err(mismatch(&other).into()),
        }
    }
}
