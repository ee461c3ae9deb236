//! The standard gRPC health service: serving means this member has a leader and is not stopping.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::IntervalStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use crate::backend::Backend;
use crate::front::Front;
use crate::proto::grpc::health::v1::health_check_response::ServingStatus;
use crate::proto::grpc::health::v1::health_server::Health;
use crate::proto::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse};

/// The name that asks about the whole server, the only one we know, as in etcd.
const WHOLE_SERVER: &str = "";

pub(crate) struct HealthService<B>(pub(crate) Arc<Front<B>>);

#[tonic::async_trait]
impl<B: Backend> Health for HealthService<B> {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if request.get_ref().service != WHOLE_SERVER {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(response(serving_status(&self.0))))
    }

    /// Sends the state now and at each change. Ends when the server stops, after saying so.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let front = Arc::clone(&self.0);
        let known = request.get_ref().service == WHOLE_SERVER;
        let period = Duration::from_millis(front.config.health_poll_interval_ms);
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_sent = None;
        let mut ended = false;
        let changes = IntervalStream::new(ticks)
            .map_while(move |_| {
                if ended {
                    return None;
                }
                ended = *front.stopping.borrow();
                let now = if known { serving_status(&front) } else { ServingStatus::ServiceUnknown };
                let changed = last_sent.replace(now) != Some(now);
                Some(changed.then(|| Ok(response(now))))
            })
            .filter_map(|change| change);
        Ok(Response::new(Box::pin(changes)))
    }
}

fn serving_status<B: Backend>(front: &Front<B>) -> ServingStatus {
    if front.is_serving() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
