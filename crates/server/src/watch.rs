//! The Watch service: one stream of requests, one of responses, and the desk between them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use quorate_keyspace::KeyValue;
use quorate_watch::{CreateWatch, EventKind, Filters, ResponseBody, WatchEvent, WatchResponse as Told};
use tokio::task::JoinHandle;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::backend::Backend;
use crate::errors::BackendError;
use crate::front::Front;
use crate::proto::etcdserverpb::watch_create_request::FilterType;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::etcdserverpb::watch_server::Watch;
use crate::proto::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse};
use crate::proto::mvccpb::{Event, event::EventType};
use crate::stream::Responses;
use crate::watch_channel::{WatchRequests, WatchResponses};

pub(crate) struct WatchService<B>(pub(crate) Arc<Front<B>>);

#[tonic::async_trait]
impl<B: Backend> Watch for WatchService<B> {
    type WatchStream = Responses<WatchResponse>;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        self.0.refuse_on_learner()?;
        let (metadata, _, asked) = request.into_parts();
        let (requests, responses) = self.0.backend.watches().open();
        let progress_interval = Duration::from_millis(self.0.config.watch.progress_interval_ms);
        // A task of its own: a client that does not read its responses must still be able to cancel, or to go away.
        let reader = tokio::spawn(take_requests(asked, requests, progress_interval));
        let told = ToldStream { front: Arc::clone(&self.0), responses, reader, requests_ended: false };
        Ok(Response::new(self.0.guarded(&metadata, told)?))
    }
}

/// Hands a client's requests over until it has no more.
async fn take_requests(
    mut asked: Streaming<WatchRequest>,
    requests: WatchRequests,
    progress_interval: Duration,
) -> Result<(), Status> {
    while let Some(request) = asked.next().await {
        match request?.request_union {
            Some(RequestUnion::CreateRequest(create)) => requests.create(wished(create, progress_interval)?).await?,
            Some(RequestUnion::CancelRequest(cancel)) => requests.cancel(cancel.watch_id).await?,
            Some(RequestUnion::ProgressRequest(_)) => requests.progress().await?,
            // As etcd: a request of a kind that is not known, or of none, is passed over.
            None => {}
        }
    }
    Ok(())
}

fn wished(create: WatchCreateRequest, progress_interval: Duration) -> Result<CreateWatch, BackendError> {
    let has = |filter: FilterType| create.filters.contains(&i32::from(filter));
    let filters = Filters { no_put: has(FilterType::Noput), no_delete: has(FilterType::Nodelete) };
    let progress_interval = match create.progress_notify {
        true => Some(jittered(progress_interval)?),
        false => None,
    };
    Ok(CreateWatch {
        key: create.key,
        range_end: create.range_end,
        start_revision: create.start_revision,
        prev_kv: create.prev_kv,
        filters,
        progress_interval,
        fragment: create.fragment,
        watch_id: create.watch_id,
    })
}

/// Up to a tenth longer, so that watchers that were created together are not told together.
fn jittered(interval: Duration) -> Result<Duration, BackendError> {
    let drawn = getrandom::u32().map_err(|error| BackendError::Other(format!("no randomness: {error}")))?;
    Ok(interval + interval.mul_f64(f64::from(drawn) / f64::from(u32::MAX) / 10.0))
}

/// The responses of one stream as messages. Dropping it frees the stream and everything on it.
struct ToldStream<B> {
    front: Arc<Front<B>>,
    responses: WatchResponses,
    reader: JoinHandle<Result<(), Status>>,
    requests_ended: bool,
}

impl<B: Backend> Stream for ToldStream<B> {
    type Item = Result<WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(told) = self.responses.poll_next(context) {
            return Poll::Ready(Some(match told {
                Some(told) => Ok(message(self.front.local_header(), told)),
                None => Err(BackendError::ServerStopped.into()),
            }));
        }
        // A client that has no more requests still wants its responses.
        if !self.requests_ended
            && let Poll::Ready(ended) = Pin::new(&mut self.reader).poll(context)
        {
            self.requests_ended = true;
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(status)) => return Poll::Ready(Some(Err(status))),
                Err(failed) => return Poll::Ready(Some(Err(Status::internal(failed.to_string())))),
            }
        }
        Poll::Pending
    }
}

impl<B> Drop for ToldStream<B> {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn message(header: ResponseHeader, told: Told) -> WatchResponse {
    let header = Some(ResponseHeader { revision: told.revision, ..header });
    let response = WatchResponse { header, watch_id: told.watch_id, ..WatchResponse::default() };
    match told.body {
        ResponseBody::Created => WatchResponse { created: true, ..response },
        ResponseBody::Refused { reason } => {
            WatchResponse { created: true, canceled: true, cancel_reason: reason.into_owned(), ..response }
        }
        ResponseBody::Canceled => WatchResponse { canceled: true, ..response },
        ResponseBody::Compacted { compact_revision } => WatchResponse { canceled: true, compact_revision, ..response },
        ResponseBody::Progress => response,
        ResponseBody::Events { events, fragment } => {
            WatchResponse { events: events.iter().map(event).collect(), fragment, ..response }
        }
    }
}

fn event(event: &WatchEvent) -> Event {
    let (kind, pair) = match &event.kind {
        EventKind::Put(pair) => (EventType::Put, pair.clone()),
        EventKind::Delete { key, mod_revision } => {
            (EventType::Delete, KeyValue { key: key.clone(), mod_revision: *mod_revision, ..KeyValue::default() })
        }
    };
    Event { r#type: kind.into(), kv: Some(pair.into()), prev_kv: event.prev_kv.clone().map(Into::into) }
}
