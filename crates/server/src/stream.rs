//! Response streams that end when they must, and that are counted.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::OwnedSemaphorePermit;
use tokio_stream::Stream;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::backend::Backend;
use crate::dispatch::REQUIRE_LEADER;
use crate::errors::BackendError;
use crate::front::Front;

/// A response stream as the generated services take it.
pub(crate) type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Passes a stream on until it ends by itself, the server stops, or the leader that the client requires is lost. Holds one of
/// the places for streams; dropping it frees everything at once.
struct GuardedStream<S> {
    inner: Pin<Box<S>>,
    cut: Pin<Box<dyn Future<Output = BackendError> + Send>>,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl<T, S: Stream<Item = Result<T, Status>>> Stream for GuardedStream<S> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(why) = self.cut.as_mut().poll(context) {
            self.ended = true;
            return Poll::Ready(Some(Err(why.into())));
        }
        let next = self.inner.as_mut().poll_next(context);
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            self.ended = true;
        }
        next
    }
}

impl<B: Backend> Front<B> {
    /// Gives a stream its place and its guard.
    ///
    /// # Errors
    /// `TooManyRequests` if there are as many streams as allowed.
    pub(crate) fn guarded<T: 'static>(
        self: &Arc<Self>,
        metadata: &MetadataMap,
        stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> Result<Responses<T>, Status> {
        let place = Arc::clone(&self.stream_slots).try_acquire_owned().map_err(|_| BackendError::TooManyRequests)?;
        let requires_leader = metadata.get(REQUIRE_LEADER).is_some_and(|value| value == "true");
        let (mut stopping, mut leaderless) = (self.stopping.clone(), self.leaderless.clone());
        let cut = async move {
            let lost = async {
                // The sender ends with the server: that is the other reason.
                if !requires_leader || leaderless.wait_for(|leaderless| *leaderless).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => BackendError::ServerStopped,
                () = lost => BackendError::NoLeader,
            }
        };
        Ok(Box::pin(GuardedStream { inner: Box::pin(stream), cut: Box::pin(cut), ended: false, _place: place }))
    }
}
