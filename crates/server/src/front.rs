//! What every service of one front shares.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use quorate_keyspace::{Query, Reply, Request};
use quorate_machine::Consistency;
use tokio::sync::{Semaphore, watch};

use crate::admission::ByteRoom;
use crate::backend::{Backend, LocalView};
use crate::config::ServerConfig;
use crate::errors::BackendError;
use crate::metrics::FrontCounts;
use crate::proto::etcdserverpb::ResponseHeader;

/// Backend, configuration and counts, shared by all connections.
pub(crate) struct Front<B> {
    pub(crate) backend: Arc<B>,
    pub(crate) config: ServerConfig,
    pub(crate) counts: FrontCounts,
    /// One permit per request that may be in flight.
    pub(crate) request_slots: Semaphore,
    /// Room for the bytes of these requests.
    pub(crate) request_bytes: Arc<ByteRoom>,
    /// One permit per response stream that may be open.
    pub(crate) stream_slots: Arc<Semaphore>,
    /// One permit per connection that may be open.
    pub(crate) connection_slots: Arc<Semaphore>,
    /// Turns true once, when the front begins to stop.
    pub(crate) stopping: watch::Receiver<bool>,
    /// True while this member has missed a leader for longer than clients that require one put up with.
    pub(crate) leaderless: watch::Receiver<bool>,
}

impl<B: Backend> Front<B> {
    pub(crate) fn new(
        backend: Arc<B>,
        config: ServerConfig,
        stopping: watch::Receiver<bool>,
        leaderless: watch::Receiver<bool>,
    ) -> Self {
        let slots = |limit: usize| Semaphore::new(limit.min(Semaphore::MAX_PERMITS));
        Self {
            backend,
            counts: FrontCounts::default(),
            request_slots: slots(config.max_requests_in_flight),
            request_bytes: ByteRoom::new(config.max_request_bytes_in_flight),
            stream_slots: Arc::new(slots(config.max_streams)),
            connection_slots: Arc::new(slots(config.max_connections)),
            config,
            stopping,
            leaderless,
        }
    }

    /// Has a request applied.
    pub(crate) async fn write(&self, request: Request) -> Result<Reply, BackendError> {
        self.in_time(self.backend.write(request)).await
    }

    /// Asks the keyspace.
    pub(crate) async fn read(&self, query: Query, consistency: Consistency) -> Result<Reply, BackendError> {
        self.in_time(self.backend.read(query, consistency)).await
    }

    /// Waits for the backend, but no longer than the request timeout; then the outcome is unknown.
    pub(crate) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        match tokio::time::timeout(Duration::from_millis(self.config.request_timeout_ms), answer).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(BackendError::TimedOut),
        }
    }

    /// Refuses what neither a learner nor a witness must serve.
    pub(crate) fn refuse_on_learner(&self) -> Result<(), BackendError> {
        match self.backend.local() {
            LocalView { is_learner: true, .. } => Err(BackendError::NotSupportedForLearner),
            LocalView { is_witness: true, .. } => Err(BackendError::Witness),
            _ => Ok(()),
        }
    }

    /// Header of an answer that needs nothing but local knowledge.
    pub(crate) fn local_header(&self) -> ResponseHeader {
        self.backend.local().header.into()
    }

    /// Header of an answer as of this revision.
    pub(crate) fn header_at(&self, revision: i64) -> Option<ResponseHeader> {
        Some(ResponseHeader { revision, ..self.local_header() })
    }

    /// Keeps `leaderless` true: looks three times within the patience, and judges by the third miss in a row, as etcd does.
    pub(crate) async fn look_for_leader(&self, leaderless: watch::Sender<bool>) {
        let period = Duration::from_millis(self.config.no_leader_timeout_ms.div_ceil(3));
        let mut misses = 0u32;
        loop {
            tokio::time::sleep(period).await;
            misses = if self.backend.local().leader_id == 0 { misses.saturating_add(1) } else { 0 };
            leaderless.send_if_modified(|known| std::mem::replace(known, misses >= 3) != (misses >= 3));
        }
    }

    /// This member can serve, as far as it knows: it is not stopping, has a leader, and has data.
    pub(crate) fn is_serving(&self) -> bool {
        let LocalView { leader_id, is_witness, .. } = self.backend.local();
        !*self.stopping.borrow() && leader_id != 0 && !is_witness
    }
}
