//! Watchers of one prefix, and puts under it. The value of each put begins with the moment it was begun, so that every
//! watcher can tell how old an event is when it arrives.

use crate::keys::{Keys, prefix_end};
use crate::pace::{Progress, collect, in_words};
use crate::report::Measured;
use crate::settings::Settings;
use crate::tally::Tally;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::watch_client::WatchClient;
use quorate_server::proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse, watch_request};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::Streaming;
use tonic::transport::Channel;

/// Watchers of one stream: many clients share streams in this way.
const WATCHERS_PER_STREAM: usize = 100;
/// Puts a second if no rate is given: each is delivered to every watcher.
const DEFAULT_RATE: f64 = 100.0;

/// Runs the watch workload: one operation is one event at one watcher.
pub(crate) async fn run(
    settings: &Settings,
    channels: &[Channel],
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Measured> {
    let origin = Instant::now();
    let mut streams = Vec::new();
    let mut open = 0;
    while open < settings.watchers {
        let count = WATCHERS_PER_STREAM.min(settings.watchers - open);
        let channel = channels[streams.len() % channels.len()].clone();
        streams.push(WatcherStream::open(channel, settings, count).await?);
        open += count;
    }
    let shared = Progress::new(settings);
    let mut tasks = JoinSet::new();
    for stream in streams {
        tasks.spawn(stream.receive(origin, Arc::clone(&shared)));
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writer = tokio::spawn(write(settings.clone(), channels[0].clone(), origin, stopped));
    let tally = collect(settings, &mut tasks, &shared, progress).await?;
    let elapsed = shared.measure_from().elapsed();
    // Nobody listens any more if the writer has ended by itself.
    let _ = stop.send(true);
    writer.await.context("the writer's task ended")??;
    Ok(Measured { tally, elapsed, gap: None })
}

async fn write(
    settings: Settings,
    channel: Channel,
    origin: Instant,
    stopped: tokio::sync::watch::Receiver<bool>,
) -> Result<()> {
    let mut client = KvClient::new(channel);
    let mut keys = Keys::new(&settings, u64::MAX);
    let rate = settings.rate.unwrap_or(DEFAULT_RATE);
    let start = Instant::now();
    for number in 0_u64.. {
        tokio::time::sleep_until((start + Duration::from_secs_f64(number as f64 / rate)).into()).await;
        if *stopped.borrow() {
            break;
        }
        let mut value = keys.value().to_vec();
        let age_us = u64::try_from(origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        value[..8].copy_from_slice(&age_us.to_le_bytes());
        let put = PutRequest { key: keys.next_key(), value: Bytes::from(value), ..PutRequest::default() };
        client.put(put).await.context("a put under the watched prefix failed")?;
    }
    Ok(())
}

struct WatcherStream {
    /// Closing it ends the stream.
    _requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl WatcherStream {
    /// A stream with `count` watchers, all confirmed.
    async fn open(channel: Channel, settings: &Settings, count: usize) -> Result<WatcherStream> {
        let (requests, receiver) = mpsc::channel(count);
        let prefix = Bytes::from(settings.prefix.clone());
        for _ in 0..count {
            let create = WatchCreateRequest {
                key: prefix.clone(),
                range_end: prefix_end(&prefix),
                ..WatchCreateRequest::default()
            };
            let request = WatchRequest { request_union: Some(watch_request::RequestUnion::CreateRequest(create)) };
            requests.try_send(request).context("the queue holds one request a watcher")?;
        }
        let requests_stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let answer = WatchClient::new(channel).max_decoding_message_size(64 << 20).watch(requests_stream).await;
        let mut responses = answer.context("no watch stream can be opened")?.into_inner();
        let mut created = 0;
        while created < count {
            match responses.message().await.context("the watch stream broke")? {
                Some(response) if response.canceled => bail!("a watch was refused: {}", response.cancel_reason),
                Some(response) => created += usize::from(response.created),
                None => bail!("the watch stream ended"),
            }
        }
        Ok(WatcherStream { _requests: requests, responses })
    }

    async fn receive(mut self, origin: Instant, shared: Arc<Progress>) -> Tally {
        let mut tally = Tally::default();
        loop {
            let response = match tokio::time::timeout(Duration::from_secs(1), self.responses.message()).await {
                Ok(Ok(Some(response))) => response,
                Ok(Ok(None)) => {
                    tally.failure("the watch stream ended");
                    return tally;
                }
                Ok(Err(status)) => {
                    tally.failure(&in_words(&status));
                    return tally;
                }
                // Nothing came for a while: look whether the run is over.
                Err(_) => WatchResponse::default(),
            };
            if response.canceled {
                tally.failure(&response.cancel_reason);
                return tally;
            }
            for event in response.events {
                let Some(begun) = event.kv.and_then(|kv| begun_at(origin, &kv.value)) else { continue };
                if !shared.begin() {
                    return tally;
                }
                shared.note(&mut tally, begun, Ok(()));
            }
            if shared.is_over() {
                return tally;
            }
        }
    }
}

fn begun_at(origin: Instant, value: &[u8]) -> Option<Instant> {
    let age_us = value.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))?;
    origin.checked_add(Duration::from_micros(age_us))
}
