//! Watchers: some follow all keys from the first revision on, whatever happens to the members they hear it from; others open at
//! some older revision, read a while, and leave.

use crate::chance::Chance;
use crate::client::connect;
use crate::ledger::{Event, Revision};
use crate::request::{bytes_of, end_of_prefix, pair_of, text_of};
use crate::shared::Shared;
use bytes::Bytes;
use quorate_server::proto::etcdserverpb::watch_client::WatchClient;
use quorate_server::proto::etcdserverpb::watch_request::RequestUnion;
use quorate_server::proto::etcdserverpb::{WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use quorate_server::proto::mvccpb;
use quorate_server::proto::mvccpb::event::EventType;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Streaming;

/// Asked of a stream, so that one that has nothing to say can be told from one that is dead.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Without a word a watcher goes to another member.
const SILENCE_MAX: Duration = Duration::from_secs(4);
const OPEN_PATIENCE: Duration = Duration::from_secs(3);
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// What a short-lived watcher was told; judged when every revision is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Browse {
    /// Of which member.
    pub member: String,
    /// It watched the keys with this prefix.
    pub prefix: String,
    /// From this revision on.
    pub from: i64,
    /// Each revision with its events, in the order they came.
    pub told: Vec<(i64, Vec<Event>)>,
    /// It was told last that it has everything up to here.
    pub has_up_to: i64,
    /// It was told that it began at a revision that is compacted up to here.
    pub compacted_at: Option<i64>,
}

struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

async fn open(address: &str, key: Bytes, range_end: Bytes, from: i64, prev_kv: bool) -> Option<Stream> {
    let channel = connect(address).await.ok()?;
    let (requests, receiver) = mpsc::channel(8);
    let create = WatchCreateRequest { key, range_end, start_revision: from, prev_kv, ..WatchCreateRequest::default() };
    requests.try_send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }).ok()?;
    let mut client = WatchClient::new(channel).max_decoding_message_size(usize::MAX);
    let opening = client.watch(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let responses = tokio::time::timeout(OPEN_PATIENCE, opening).await.ok()?.ok()?.into_inner();
    Some(Stream { requests, responses })
}

impl Stream {
    /// The next response, after asking for progress if there is none for a while; `None`: this stream is of no use any more.
    async fn next(&mut self) -> Option<WatchResponse> {
        let silent_since = Instant::now();
        while silent_since.elapsed() < SILENCE_MAX {
            match tokio::time::timeout(PROGRESS_EVERY, self.responses.message()).await {
                Ok(response) => return response.ok().flatten(),
                Err(_) => self.ask_progress(),
            }
        }
        None
    }

    fn ask_progress(&self) {
        let union = RequestUnion::ProgressRequest(WatchProgressRequest {});
        // If it is full, enough are under way.
        let _ = self.requests.try_send(WatchRequest { request_union: Some(union) });
    }
}

/// Follows all keys, and notes everything in the ledger. Ends only when it is aborted.
pub async fn follow(shared: Arc<Shared>, watcher: usize) {
    let mut chance = Chance::new(shared.seed, &format!("watcher {watcher}"));
    loop {
        let Some((member, address)) = shared.endpoints.any(&mut chance) else {
            tokio::time::sleep(RETRY_AFTER).await;
            continue;
        };
        let from = shared.ledger().reached(watcher) + 1;
        // All keys: from the least on, without an end.
        let all = Bytes::from_static(&[0]);
        let Some(mut stream) = open(&address, all.clone(), all, from, chance.happens(50)).await else {
            tokio::time::sleep(RETRY_AFTER).await;
            continue;
        };
        shared.streams_opened.fetch_add(1, Ordering::Relaxed);
        // Streams are left without need too: resuming is part of what is watched.
        let leave_at = Instant::now() + Duration::from_millis(chance.between(2_000, 20_000));
        while let Some(response) = stream.next().await {
            if response.canceled {
                note_cancel(&shared, watcher, &member, from, &response);
                break;
            }
            note_response(&shared, watcher, response);
            if Instant::now() > leave_at {
                break;
            }
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

fn note_response(shared: &Shared, watcher: usize, response: WatchResponse) {
    let now = shared.recorder.now_ns();
    if response.created {
        return;
    }
    if response.events.is_empty() {
        let revision = response.header.map_or(0, |header| header.revision);
        shared.ledger().bookmark(watcher, revision);
        return;
    }
    for (revision, told) in by_revision(response.events, now) {
        shared.ledger().deliver(watcher, revision, told);
    }
}

/// Nobody compacts what a watcher has not had yet, so none is cancelled for that.
fn note_cancel(shared: &Shared, watcher: usize, member: &str, from: i64, response: &WatchResponse) {
    shared.recorder.note(
        &format!("watcher {watcher}"),
        json!({ "cancelled_by": member, "why": response.cancel_reason, "compacted_at": response.compact_revision }),
    );
    if response.compact_revision > 0 {
        let asked = shared.ledger().compaction_asked();
        shared.ledger().find(format!(
            "{member} cancelled watcher {watcher}, which began at revision {from}, as compacted at {}; the last compaction asked \
             for is {asked}",
            response.compact_revision
        ));
    }
}

/// The events of one response, revision by revision as they came.
fn by_revision(events: Vec<mvccpb::Event>, now_ns: u64) -> Vec<(i64, Revision)> {
    let mut revisions: Vec<(i64, Revision)> = Vec::new();
    for event in events {
        let is_delete = event.r#type == i32::from(EventType::Delete);
        let Some(pair) = event.kv else { continue };
        let (revision, key) = (pair.mod_revision, text_of(&pair.key));
        if revisions.last().is_none_or(|(last, _)| *last != revision) {
            revisions.push((revision, Revision { events: Vec::new(), first_seen_ns: now_ns, before: BTreeMap::new() }));
        }
        let Some((_, told)) = revisions.last_mut() else { continue };
        if let Some(before) = event.prev_kv {
            told.before.insert(key.clone(), Some(pair_of(before)));
        }
        told.events.push(if is_delete { Event::Delete(key) } else { Event::Put(pair_of(pair)) });
    }
    revisions
}

/// Opens watchers at older revisions, one after the other, until clients are to stop.
pub async fn browse(shared: Arc<Shared>, number: usize) {
    let mut chance = Chance::new(shared.seed, &format!("browser {number}"));
    while !shared.stopping() {
        tokio::time::sleep(Duration::from_millis(chance.between(100, 1_000))).await;
        let (oldest, newest) = {
            let ledger = shared.ledger();
            (ledger.compaction_asked() + 1, ledger.last())
        };
        let Some((member, address)) = shared.endpoints.any(&mut chance) else { continue };
        if newest <= oldest {
            continue;
        }
        let from = chance.between(oldest.unsigned_abs(), newest.unsigned_abs()) as i64;
        let prefix = chance.pick(&["r/", "b/", "l/"]).copied().unwrap_or("r/").to_owned();
        let (key, end) = (bytes_of(&prefix), end_of_prefix(&prefix));
        let Some(mut stream) = open(&address, key, end, from, false).await else { continue };
        let mut browse = Browse { member, prefix, from, told: Vec::new(), has_up_to: 0, compacted_at: None };
        let until = Instant::now() + Duration::from_millis(chance.between(200, 2_500));
        stream.ask_progress();
        while Instant::now() < until
            && let Ok(Some(response)) = tokio::time::timeout_at(until, stream.next()).await
        {
            if response.canceled {
                browse.compacted_at = (response.compact_revision > 0).then_some(response.compact_revision);
                break;
            }
            let revision = response.header.as_ref().map_or(0, |header| header.revision);
            if response.events.is_empty() && !response.created {
                browse.has_up_to = browse.has_up_to.max(revision);
            }
            let told = by_revision(response.events, 0);
            browse.told.extend(told.into_iter().map(|(revision, told)| (revision, told.events)));
        }
        shared.streams_opened.fetch_add(1, Ordering::Relaxed);
        shared.browses().push(browse);
    }
}
