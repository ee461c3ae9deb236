//! Waiting in a queue of keys: who created the oldest key under a prefix is served. Locks and elections are this.
//!
//! The place in the queue is the key's create revision. It only ever grows from holder to holder, so it serves as a fencing
//! token: a resource that remembers the greatest it has seen can refuse a holder whose time was over without its knowing.

use std::sync::Arc;

use bytes::Bytes;
use quorate_keyspace::{
    Compare, CompareOperator, CompareTarget, DeleteRangeRequest, KeyValue, Operation, PutRequest, Query, RangeRequest,
    Reply, Request as Command, SortOrder, SortTarget, TxnRequest,
};
use quorate_machine::Consistency;
use quorate_watch::{EventKind, ResponseBody};
use tonic::Status;

use crate::answers::mismatch;
use crate::backend::Backend;
use crate::errors::BackendError;
use crate::front::Front;
use crate::watch_channel::WatchResponses;
use crate::watch_desk::watch_of;

/// What a session lives without a lease of the client's own, in seconds; it is not kept alive. As in etcd.
const SESSION_TTL_SECONDS: i64 = 60;

/// A key in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) key: Bytes,
    /// The token: greater than that of everybody before.
    pub(crate) create_revision: i64,
}

/// Why nobody's turn came.
#[derive(Debug)]
pub(crate) enum QueueError {
    /// The key is gone: its lease ended, or somebody deleted it.
    PlaceLost,
    /// As any request.
    Backend(BackendError),
}

impl From<BackendError> for QueueError {
    fn from(error: BackendError) -> QueueError {
        QueueError::Backend(error)
    }
}

/// The keys of a queue are this and the lease in hexadecimal, as etcd's clients name them.
pub(crate) fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// The first key after all with this prefix, which ends in a slash.
pub(crate) fn prefix_end(prefix: &Bytes) -> Bytes {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

/// As Go prints an `int64` in hexadecimal.
pub(crate) fn key_of(prefix: &Bytes, lease: i64) -> Bytes {
    let sign = if lease < 0 { "-" } else { "" };
    [prefix, format!("{sign}{:x}", lease.unsigned_abs()).as_bytes()].concat().into()
}

/// Etcd runs these services over a client of its own, which loses the codes of the store's refusals; what can be tried again keeps
/// its code here.
pub(crate) fn status_of(error: BackendError) -> Status {
    match error {
        BackendError::Refused(refusal) => Status::unknown(BackendError::Refused(refusal).to_string()),
        other => other.into(),
    }
}

pub(crate) fn created_at(key: Bytes, create_revision: i64) -> Compare {
    let target = CompareTarget::CreateRevision(create_revision);
    Compare { key, range_end: Bytes::new(), operator: CompareOperator::Equal, target }
}

pub(crate) fn get(key: Bytes) -> Operation {
    Operation::Range(RangeRequest { key, ..RangeRequest::default() })
}

/// The oldest or youngest key under a prefix.
fn one_of(prefix: &Bytes, sort_order: SortOrder, max_create_revision: i64) -> RangeRequest {
    RangeRequest {
        key: prefix.clone(),
        range_end: prefix_end(prefix),
        limit: 1,
        sort_order,
        sort_target: SortTarget::Create,
        max_create_revision,
        ..RangeRequest::default()
    }
}

pub(crate) fn oldest(prefix: &Bytes) -> RangeRequest {
    one_of(prefix, SortOrder::Ascend, 0)
}

/// The first pair of a range's reply.
pub(crate) fn first_pair(reply: Reply) -> Result<(i64, Option<KeyValue>), BackendError> {
    match reply {
        Reply::Range { revision, kvs, .. } => Ok((revision, kvs.into_iter().next())),
        other => Err(mismatch(&other)),
    }
}

/// A transaction's outcome: its revision, whether it succeeded, its replies.
pub(crate) struct Outcome {
    pub(crate) revision: i64,
    pub(crate) succeeded: bool,
    pub(crate) replies: std::vec::IntoIter<Reply>,
}

impl Outcome {
    pub(crate) fn of(reply: Reply) -> Result<Outcome, BackendError> {
        match reply {
            Reply::Txn { revision, succeeded, responses } => {
                Ok(Outcome { revision, succeeded, replies: responses.into_iter() })
            }
            other => Err(mismatch(&other)),
        }
    }

    /// The next reply's first pair.
    pub(crate) fn next_pair(&mut self) -> Result<Option<KeyValue>, BackendError> {
        let missing = || BackendError::Other("the keyspace left out an answer of a transaction".to_owned());
        Ok(first_pair(self.replies.next().ok_or_else(missing)?)?.1)
    }
}

impl<B: Backend> Front<B> {
    /// The client's lease, or a new one of a minute.
    pub(crate) async fn session_lease(&self, lease: i64) -> Result<i64, BackendError> {
        if lease != 0 {
            return Ok(lease);
        }
        match self.grant(0, SESSION_TTL_SECONDS).await? {
            Reply::LeaseGranted { id, .. } => Ok(id),
            other => Err(mismatch(&other)),
        }
    }

    pub(crate) async fn transact(&self, txn: TxnRequest) -> Result<Outcome, BackendError> {
        let command = Command::Txn(txn);
        command.check()?;
        Outcome::of(self.write(command).await?)
    }

    /// Queues up, or finds the place that this lease has already; `value` is for a new key only.
    pub(crate) async fn queue_up(
        &self,
        prefix: &Bytes,
        lease: i64,
        value: Bytes,
    ) -> Result<(Place, Queued), BackendError> {
        let key = key_of(prefix, lease);
        let put = Operation::Put(PutRequest { key: key.clone(), value, lease, ..PutRequest::default() });
        let first = Operation::Range(oldest(prefix));
        let txn = TxnRequest {
            compares: vec![created_at(key.clone(), 0)],
            success: vec![put, first.clone()],
            failure: vec![get(key.clone()), first],
        };
        let mut outcome = self.transact(txn).await?;
        let own = if outcome.succeeded {
            outcome.replies.next();
            None
        } else {
            outcome.next_pair()?
        };
        let create_revision = own.as_ref().map_or(outcome.revision, |own| own.create_revision);
        let is_first = outcome.next_pair()?.is_none_or(|first| first.create_revision == create_revision);
        Ok((Place { key, create_revision }, Queued { revision: outcome.revision, is_first, found: own }))
    }

    /// Waits until nobody is before this place; answers the revision at which that was seen.
    pub(crate) async fn wait_for_turn(&self, prefix: &Bytes, place: &Place) -> Result<i64, QueueError> {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            turn = self.watch_for_turn(prefix, place) => turn,
            _ = stopping.wait_for(|stopping| *stopping) => Err(BackendError::ServerStopped.into()),
        }
    }

    async fn watch_for_turn(&self, prefix: &Bytes, place: &Place) -> Result<i64, QueueError> {
        let (requests, mut responses) = self.backend.watches().open();
        loop {
            let before = one_of(prefix, SortOrder::Descend, place.create_revision - 1);
            let look =
                TxnRequest { success: vec![get(place.key.clone()), Operation::Range(before)], ..TxnRequest::default() };
            let mut seen = Outcome::of(self.read(Query::Txn(look), Consistency::Linearizable).await?)?;
            let own = seen.next_pair()?;
            if own.is_none_or(|own| own.create_revision != place.create_revision) {
                return Err(QueueError::PlaceLost);
            }
            let Some(before) = seen.next_pair()? else { return Ok(seen.revision) };
            let from = seen.revision + 1;
            for (watch_id, key) in [(1, &before.key), (2, &place.key)] {
                let watch = watch_of(key.clone(), Bytes::new(), from);
                requests.create(quorate_watch::CreateWatch { watch_id, ..watch }).await?;
            }
            until_one_is_gone(&mut responses).await?;
            for watch_id in [1, 2] {
                requests.cancel(watch_id).await?;
            }
            requests.progress().await?;
            until_told_all(&mut responses).await?;
        }
    }

    /// Gives a place up, if it is still the same.
    pub(crate) async fn leave(&self, place: Place) -> Result<i64, BackendError> {
        let delete = DeleteRangeRequest { key: place.key.clone(), ..DeleteRangeRequest::default() };
        let txn = TxnRequest {
            compares: vec![created_at(place.key, place.create_revision)],
            success: vec![Operation::DeleteRange(delete)],
            failure: Vec::new(),
        };
        Ok(self.transact(txn).await?.revision)
    }
}

/// How a place in a queue was had.
pub(crate) struct Queued {
    pub(crate) revision: i64,
    /// Nobody is before it.
    pub(crate) is_first: bool,
    /// The pair that was there already.
    pub(crate) found: Option<KeyValue>,
}

/// A delete on any watcher, or one that can see none any more because of a compaction.
async fn until_one_is_gone(responses: &mut WatchResponses) -> Result<(), BackendError> {
    loop {
        match responses.next().await.ok_or(BackendError::ServerStopped)?.body {
            ResponseBody::Events { events, .. } => {
                if events.iter().any(|event| matches!(event.kind, EventKind::Delete { .. })) {
                    return Ok(());
                }
            }
            ResponseBody::Compacted { .. } => return Ok(()),
            ResponseBody::Refused { .. } => return Err(BackendError::TooManyRequests),
            ResponseBody::Created | ResponseBody::Canceled | ResponseBody::Progress => {}
        }
    }
}

/// Whatever was still under way when the watchers were cancelled.
async fn until_told_all(responses: &mut WatchResponses) -> Result<(), BackendError> {
    while responses.next().await.ok_or(BackendError::ServerStopped)?.body != ResponseBody::Progress {}
    Ok(())
}

/// Gives a place up unless it was kept: also when the client goes away while it waits, and nobody is left to ask for it.
pub(crate) struct LeaveOnDrop<B: Backend> {
    front: Arc<Front<B>>,
    place: Option<Place>,
}

impl<B: Backend> LeaveOnDrop<B> {
    pub(crate) fn new(front: &Arc<Front<B>>, place: Place) -> LeaveOnDrop<B> {
        LeaveOnDrop { front: Arc::clone(front), place: Some(place) }
    }

    pub(crate) fn keep(mut self) {
        self.place = None;
    }
}

impl<B: Backend> Drop for LeaveOnDrop<B> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let front = Arc::clone(&self.front);
        // The lease gives the place up in the end, should this fail.
        tokio::spawn(async move {
            if let Err(error) = front.leave(place).await {
                tracing::debug!(%error, "a place in a queue is left to its lease");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_as_etcd_names_them() {
        let prefix = prefix(b"lock");
        assert_eq!(key_of(&prefix, 0x1234), "lock/1234");
        assert_eq!(key_of(&prefix, -1), "lock/-1");
        assert_eq!(key_of(&prefix, i64::MIN), "lock/-8000000000000000");
        assert_eq!(prefix_end(&prefix), "lock0");
    }
}
