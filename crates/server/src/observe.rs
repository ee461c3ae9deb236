//! Following an election: the leader now, then each change of leader and each proclamation.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use quorate_keyspace::{KeyValue, Query};
use quorate_machine::Consistency;
use quorate_watch::{EventKind, ResponseBody, WatchEvent};
use tokio_stream::Stream;
use tonic::Status;

use crate::backend::Backend;
use crate::errors::BackendError;
use crate::front::Front;
use crate::proto::v3electionpb::LeaderResponse;
use crate::queue::{first_pair, oldest, prefix_end, status_of};
use crate::watch_channel::WatchResponses;
use crate::watch_desk::watch_of;

/// What the observer does next.
enum Step {
    /// Find out who leads.
    Look,
    /// Nobody led: wait for the first candidate.
    Await(WatchResponses),
    /// Follow the leader's key until it is gone.
    Follow(WatchResponses),
}

struct Observer<B> {
    front: Arc<Front<B>>,
    prefix: Bytes,
    step: Step,
    /// Seen and not told: the pair, and the revision for the header.
    seen: VecDeque<(KeyValue, i64)>,
    ended: bool,
}

/// The leaders of the election whose keys have this prefix. Never ends by itself but with an error.
pub(crate) fn observe<B: Backend>(
    front: Arc<Front<B>>,
    prefix: Bytes,
) -> impl Stream<Item = Result<LeaderResponse, Status>> + Send + 'static {
    let observer = Observer { front, prefix, step: Step::Look, seen: VecDeque::new(), ended: false };
    stream::unfold(observer, |mut observer| async move {
        if observer.ended {
            return None;
        }
        let next = observer.next().await;
        observer.ended = next.is_err();
        Some((next.map_err(status_of), observer))
    })
}

impl<B: Backend> Observer<B> {
    async fn next(&mut self) -> Result<LeaderResponse, BackendError> {
        loop {
            if let Some((pair, revision)) = self.seen.pop_front() {
                return Ok(LeaderResponse { header: self.front.header_at(revision), kv: Some(pair.into()) });
            }
            match &mut self.step {
                Step::Look => self.look().await?,
                Step::Await(responses) => match next_events(responses).await? {
                    Some(events) => {
                        if let Some(leader) = events.iter().find_map(put_in) {
                            let revision = leader.mod_revision;
                            self.follow(leader, revision).await?;
                        }
                    }
                    None => self.step = Step::Look,
                },
                Step::Follow(responses) => match next_events(responses).await? {
                    Some(events) => self.note(&events),
                    None => self.step = Step::Look,
                },
            }
        }
    }

    async fn look(&mut self) -> Result<(), BackendError> {
        let query = Query::Range(oldest(&self.prefix));
        let (revision, leader) = first_pair(self.front.read(query, Consistency::Linearizable).await?)?;
        match leader {
            Some(leader) => self.follow(leader, revision).await?,
            None => {
                let responses = self.watch(self.prefix.clone(), prefix_end(&self.prefix), revision + 1).await?;
                self.step = Step::Await(responses);
            }
        }
        Ok(())
    }

    /// Tells of a leader, and what becomes of it after this revision.
    async fn follow(&mut self, leader: KeyValue, revision: i64) -> Result<(), BackendError> {
        let responses = self.watch(leader.key.clone(), Bytes::new(), revision + 1).await?;
        self.step = Step::Follow(responses);
        self.seen.push_back((leader, revision));
        Ok(())
    }

    fn note(&mut self, events: &[WatchEvent]) {
        for event in events {
            match put_in(event) {
                Some(pair) => {
                    let revision = pair.mod_revision;
                    self.seen.push_back((pair, revision));
                }
                None => {
                    self.step = Step::Look;
                    return;
                }
            }
        }
    }

    /// A stream with one watcher.
    async fn watch(&self, key: Bytes, range_end: Bytes, from: i64) -> Result<WatchResponses, BackendError> {
        let (requests, responses) = self.front.backend.watches().open();
        requests.create(watch_of(key, range_end, from)).await?;
        Ok(responses)
    }
}

fn put_in(event: &WatchEvent) -> Option<KeyValue> {
    match &event.kind {
        EventKind::Put(pair) => Some(pair.clone()),
        EventKind::Delete { .. } => None,
    }
}

/// The next events; `None` if a compaction has overtaken the watcher.
async fn next_events(responses: &mut WatchResponses) -> Result<Option<Arc<[WatchEvent]>>, BackendError> {
    loop {
        match responses.next().await.ok_or(BackendError::ServerStopped)?.body {
            ResponseBody::Events { events, .. } => return Ok(Some(events)),
            ResponseBody::Compacted { .. } => return Ok(None),
            ResponseBody::Refused { .. } => return Err(BackendError::TooManyRequests),
            ResponseBody::Created | ResponseBody::Canceled | ResponseBody::Progress => {}
        }
    }
}
