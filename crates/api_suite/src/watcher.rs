//! One watch stream, as a case uses it.

use crate::expect::{Failure, Outcome};
use crate::proto::etcdserverpb::watch_client::WatchClient;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use crate::proto::mvccpb::Event;
use crate::target::Target;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Longest wait for an answer that must come.
const PATIENCE: Duration = Duration::from_secs(15);

/// Requests that may wait to be sent.
const WAITING_REQUESTS: usize = 64;

/// A stream of watches.
pub(crate) struct Watcher {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Watcher {
    /// Opens a stream with a first request. etcd answers nothing, not even headers, before it has one.
    pub(crate) async fn open(target: &Target, first: RequestUnion) -> Result<Watcher, Failure> {
        let (requests, waiting) = mpsc::channel(WAITING_REQUESTS);
        let watcher_request = WatchRequest { request_union: Some(first) };
        requests.send(watcher_request).await.map_err(|_| Failure("the channel is closed".to_owned()))?;
        let mut client = WatchClient::new(target.channel()).max_decoding_message_size(usize::MAX);
        let opening = client.watch(ReceiverStream::new(waiting));
        let responses = tokio::time::timeout(PATIENCE, opening)
            .await
            .map_err(|_| Failure("the watch stream does not open".to_owned()))??
            .into_inner();
        Ok(Watcher { requests, responses })
    }

    /// Opens a stream with one watch, and takes the answer to its creation.
    pub(crate) async fn create(target: &Target, request: WatchCreateRequest) -> Result<Watcher, Failure> {
        let mut watcher = Watcher::open(target, RequestUnion::CreateRequest(request)).await?;
        let created = watcher.next().await?;
        if created.created && !created.canceled && created.events.is_empty() {
            return Ok(watcher);
        }
        Err(Failure(format!("a watch must be created\n  got      {created:?}")))
    }

    /// Asks for one more watch; returns the answer to its creation.
    pub(crate) async fn add(&mut self, request: WatchCreateRequest) -> Result<WatchResponse, Failure> {
        self.send(RequestUnion::CreateRequest(request)).await?;
        self.next().await
    }

    /// Asks to end a watch.
    pub(crate) async fn cancel(&mut self, watch_id: i64) -> Outcome {
        self.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id })).await
    }

    /// Asks how far the stream is.
    pub(crate) async fn ask_for_progress(&mut self) -> Outcome {
        self.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await
    }

    async fn send(&mut self, request: RequestUnion) -> Outcome {
        let request = WatchRequest { request_union: Some(request) };
        self.requests.send(request).await.map_err(|_| Failure("the watch stream has ended".to_owned()))
    }

    /// The next answer, which must come.
    pub(crate) async fn next(&mut self) -> Result<WatchResponse, Failure> {
        match tokio::time::timeout(PATIENCE, self.responses.message()).await {
            Ok(Ok(Some(response))) => Ok(response),
            Ok(Ok(None)) => Err(Failure("the watch stream has ended".to_owned())),
            Ok(Err(status)) => Err(status.into()),
            Err(_) => Err(Failure(format!("no answer on the watch stream within {} s", PATIENCE.as_secs()))),
        }
    }

    /// Events until there are `count`; every answer on the way must be of events, and in order.
    pub(crate) async fn events(&mut self, count: usize) -> Result<Vec<Event>, Failure> {
        let mut events: Vec<Event> = Vec::new();
        while events.len() < count {
            let response = self.next().await?;
            let last = response.events.last().and_then(|event| event.kv.as_ref()).map_or(0, |pair| pair.mod_revision);
            let told = response.header.map_or(0, |header| header.revision);
            if response.created || response.canceled || response.events.is_empty() || told < last {
                return Err(Failure(format!("events must come, not beyond their header\n  got      {response:?}")));
            }
            events.extend(response.events);
        }
        Ok(events)
    }

    /// Nothing may come for a while.
    pub(crate) async fn silent_for(&mut self, wait: Duration) -> Outcome {
        match tokio::time::timeout(wait, self.responses.message()).await {
            Err(_) => Ok(()),
            Ok(came) => Err(Failure(format!("nothing must come\n  got      {came:?}"))),
        }
    }
}
