//! What every service of one front shares.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::backend::{Backend, Header};
use crate::config::ServerConfig;
use crate::errors::BackendError;
use crate::metrics::FrontCounts;

/// Backend, configuration and counts, shared by all connections.
pub(crate) struct Front<B> {
    pub(crate) backend: Arc<B>,
    pub(crate) config: ServerConfig,
    pub(crate) counts: FrontCounts,
    /// One permit per request that may be in flight.
    pub(crate) request_slots: Semaphore,
    /// One permit per connection that may be open.
    pub(crate) connection_slots: Arc<Semaphore>,
    /// Turns true once, when the front begins to stop.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl<B: Backend> Front<B> {
    pub(crate) fn new(backend: Arc<B>, config: ServerConfig, stopping: watch::Receiver<bool>) -> Self {
        let request_slots = Semaphore::new(config.max_requests_in_flight.min(Semaphore::MAX_PERMITS));
        let connection_slots = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
        Self { backend, config, counts: FrontCounts::default(), request_slots, connection_slots, stopping }
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

    /// Refuses what a learner must not serve.
    pub(crate) fn refuse_on_learner(&self) -> Result<(), BackendError> {
        if self.backend.local().is_learner { Err(BackendError::NotSupportedForLearner) } else { Ok(()) }
    }

    /// Header of an answer that needs nothing but local knowledge.
    pub(crate) fn local_header(&self) -> Header {
        self.backend.local().header
    }

    /// This member can serve, as far as it knows: it is not stopping and has a leader.
    pub(crate) fn is_serving(&self) -> bool {
        !*self.stopping.borrow() && self.backend.local().leader_id != 0
    }
}
