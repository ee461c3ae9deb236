//! Room for the bytes of requests: a request's body is charged as it arrives and given back with its answer.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tonic::Status;

use crate::errors::BackendError;

/// Bytes of requests in flight, and how many there may be.
#[derive(Debug)]
pub(crate) struct ByteRoom {
    taken: AtomicUsize,
    limit: usize,
}

impl ByteRoom {
    pub(crate) fn new(limit: usize) -> Arc<ByteRoom> {
        Arc::new(ByteRoom { taken: AtomicUsize::new(0), limit })
    }

    /// Bytes taken now.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// What one request has taken; given back when dropped. Held by the request's body and by whoever answers it.
#[derive(Debug)]
pub(crate) struct Charge {
    room: Arc<ByteRoom>,
    taken: AtomicUsize,
}

impl Charge {
    pub(crate) fn new(room: &Arc<ByteRoom>) -> Arc<Charge> {
        Arc::new(Charge { room: Arc::clone(room), taken: AtomicUsize::new(0) })
    }

    /// Takes more room. The first bytes of a request that is alone are always let in, or a large one could never be.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), BackendError> {
        let own = self.taken.fetch_add(bytes, Ordering::Relaxed);
        let before = self.room.taken.fetch_add(bytes, Ordering::Relaxed);
        let is_alone = before == own;
        if before.saturating_add(bytes) > self.room.limit && !is_alone {
            return Err(BackendError::TooManyRequests);
        }
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(*self.taken.get_mut(), Ordering::Relaxed);
    }
}

/// A request's body that is charged for.
pub(crate) struct ChargedBody<T> {
    inner: T,
    charge: Arc<Charge>,
}

impl<T> ChargedBody<T> {
    pub(crate) fn new(inner: T, charge: Arc<Charge>) -> ChargedBody<T> {
        ChargedBody { inner, charge }
    }
}

impl<T> Body for ChargedBody<T>
where
    T: Body<Data = Bytes> + Unpin,
    T::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else { return Poll::Pending };
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame.map_err(Into::into)?;
        if let Some(data) = frame.data_ref()
            && let Err(refusal) = self.charge.take(data.len())
        {
            return Poll::Ready(Some(Err(Status::from(refusal).into())));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_share_the_room_and_give_it_back() {
        let room = ByteRoom::new(100);
        let (first, second) = (Charge::new(&room), Charge::new(&room));
        assert_eq!(first.take(60), Ok(()));
        assert_eq!(second.take(60), Err(BackendError::TooManyRequests));
        drop(second);
        assert_eq!(room.taken(), 60);
        let third = Charge::new(&room);
        assert_eq!(third.take(40), Ok(()));
        drop(first);
        drop(third);
        assert_eq!(room.taken(), 0);
    }

    #[test]
    fn a_request_that_is_alone_may_be_larger_than_the_room() {
        let room = ByteRoom::new(100);
        let alone = Charge::new(&room);
        assert_eq!(alone.take(80), Ok(()));
        assert_eq!(alone.take(80), Ok(()));
        assert_eq!(Charge::new(&room).take(1), Err(BackendError::TooManyRequests));
    }
}
