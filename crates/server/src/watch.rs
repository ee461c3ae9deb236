//! The Watch service: not there yet.

use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming};

use crate::errors::not_yet;
use crate::proto::etcdserverpb::watch_server::Watch;
use crate::proto::etcdserverpb::{WatchRequest, WatchResponse};

pub(crate) struct WatchService;

#[tonic::async_trait]
impl Watch for WatchService {
    type WatchStream = Empty<Result<WatchResponse, Status>>;

    async fn watch(&self, _: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        Err(not_yet("Watch.Watch"))
    }
}
