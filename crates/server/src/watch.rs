//! The Watch service: not there yet.

use std::sync::Arc;

use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming};

use crate::backend::Backend;
use crate::errors::not_yet;
use crate::front::Front;
use crate::proto::etcdserverpb::watch_server::Watch;
use crate::proto::etcdserverpb::{WatchRequest, WatchResponse};

pub(crate) struct WatchService<B>(pub(crate) Arc<Front<B>>);

#[tonic::async_trait]
impl<B: Backend> Watch for WatchService<B> {
    type WatchStream = Empty<Result<WatchResponse, Status>>;

    async fn watch(&self, _: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        Err(not_yet("Watch.Watch"))
    }
}
