//! The Watch service: what the hub says becomes messages, and streams are bounded and freed.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quorate_server::proto::etcdserverpb::watch_client::WatchClient;
use quorate_server::proto::etcdserverpb::watch_request::RequestUnion;
use quorate_server::proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest,
    WatchRequest, WatchResponse,
};
use quorate_server::proto::mvccpb::event::EventType;
use quorate_server::{Backend, ServerConfig, WatchLimits};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};

use crate::server::{Server, etcd_error, put, refusal};

struct Watch {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Watch {
    async fn open(server: &Server) -> Self {
        Self::open_with(server, false).await.unwrap()
    }

    async fn open_with(server: &Server, requires_leader: bool) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(64);
        let mut request = Request::new(ReceiverStream::new(receiver));
        if requires_leader {
            request.metadata_mut().insert("hasleader", "true".parse().unwrap());
        }
        let mut client = WatchClient::new(server.channel().await).max_decoding_message_size(usize::MAX);
        let responses = client.watch(request).await?.into_inner();
        Ok(Self { requests, responses })
    }

    async fn ask(&self, request: RequestUnion) {
        self.requests.send(WatchRequest { request_union: Some(request) }).await.unwrap();
    }

    async fn create(&mut self, create: WatchCreateRequest) -> WatchResponse {
        self.ask(RequestUnion::CreateRequest(create)).await;
        self.next().await
    }

    async fn next(&mut self) -> WatchResponse {
        let next = tokio::time::timeout(Duration::from_secs(5), self.responses.message()).await;
        next.expect("an answer in time").unwrap().expect("the stream goes on")
    }
}

fn watch(key: &str) -> WatchCreateRequest {
    WatchCreateRequest { key: key.to_owned().into(), ..WatchCreateRequest::default() }
}

fn watch_all() -> WatchCreateRequest {
    WatchCreateRequest { range_end: vec![0].into(), ..watch("\0") }
}

#[tokio::test]
async fn a_watch_is_created_told_and_cancelled() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    kv.put(put("a", "0")).await.unwrap();
    let mut stream = Watch::open(&server).await;
    let created = stream.create(WatchCreateRequest { prev_kv: true, ..watch("a") }).await;
    assert!(created.created && !created.canceled);
    assert_eq!((created.watch_id, created.header.unwrap().revision), (0, 2));

    kv.put(put("a", "1")).await.unwrap();
    let told = stream.next().await;
    let event = &told.events[0];
    assert_eq!((told.watch_id, told.header.unwrap().revision, event.r#type()), (0, 3, EventType::Put));
    assert_eq!(event.kv.as_ref().unwrap().value, "1");
    assert_eq!(event.prev_kv.as_ref().unwrap().value, "0");

    kv.delete_range(DeleteRangeRequest { key: "a".into(), ..DeleteRangeRequest::default() }).await.unwrap();
    let gone = stream.next().await.events.remove(0);
    let pair = gone.kv.clone().unwrap();
    assert_eq!((gone.r#type(), pair.mod_revision, pair.create_revision, pair.version), (EventType::Delete, 4, 0, 0));

    stream.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 0 })).await;
    let canceled = stream.next().await;
    assert_eq!((canceled.canceled, canceled.cancel_reason.as_str()), (true, ""));
    kv.put(put("a", "2")).await.unwrap();
    stream.ask(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
    let progress = stream.next().await;
    assert_eq!((progress.watch_id, progress.header.unwrap().revision, progress.events.len()), (-1, 5, 0));
}

#[tokio::test]
async fn refusals_leave_the_stream_usable() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    for value in ["1", "2", "3"] {
        kv.put(put("a", value)).await.unwrap();
    }
    kv.compact(CompactionRequest { revision: 4, physical: true }).await.unwrap();
    let mut stream = Watch::open(&server).await;
    let own_id = WatchCreateRequest { watch_id: 7, ..watch("a") };
    assert_eq!(stream.create(own_id.clone()).await.watch_id, 7);
    let twice = stream.create(own_id).await;
    assert_eq!((twice.created, twice.canceled, twice.watch_id), (true, true, -1));
    assert_eq!(twice.cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");
    let empty = stream.create(WatchCreateRequest { range_end: "a".into(), ..watch("b") }).await;
    assert_eq!(empty.cancel_reason, "mvcc: watcher range is empty");
    assert!(stream.create(WatchCreateRequest { start_revision: 2, ..watch("a") }).await.created);
    let compacted = stream.next().await;
    assert_eq!((compacted.canceled, compacted.compact_revision, compacted.header.unwrap().revision), (true, 4, 0));
    kv.put(put("a", "4")).await.unwrap();
    assert_eq!(stream.next().await.watch_id, 7);
}

#[tokio::test]
async fn one_revision_is_one_response_unless_fragments_are_asked_for() {
    let config = ServerConfig { max_request_bytes: 10_000, ..ServerConfig::default() };
    let server = Server::start_with(config).await;
    let mut kv = server.kv().await;
    for number in 0..200 {
        kv.put(put(&format!("{}{number:03}", "k".repeat(5_000)), "")).await.unwrap();
    }
    let mut whole = Watch::open(&server).await;
    whole.create(watch_all()).await;
    let mut pieces = Watch::open(&server).await;
    pieces.create(WatchCreateRequest { fragment: true, ..watch_all() }).await;
    let all = DeleteRangeRequest { key: "k".into(), range_end: vec![0].into(), prev_kv: false };
    kv.delete_range(all).await.unwrap();
    let told = whole.next().await;
    assert_eq!((told.events.len(), told.fragment), (200, false));
    let mut events = 0;
    loop {
        let piece = pieces.next().await;
        events += piece.events.len();
        if !piece.fragment {
            break;
        }
    }
    assert_eq!(events, 200);
}

#[tokio::test]
async fn idle_watchers_are_told_the_revision() {
    let watch_limits = WatchLimits { progress_interval_ms: 100, ..WatchLimits::default() };
    let server = Server::start_with(ServerConfig { watch: watch_limits, ..ServerConfig::default() }).await;
    let mut kv = server.kv().await;
    let mut stream = Watch::open(&server).await;
    stream.create(WatchCreateRequest { progress_notify: true, ..watch("a") }).await;
    kv.put(put("b", "1")).await.unwrap();
    let progress = stream.next().await;
    assert_eq!((progress.watch_id, progress.events.len(), progress.header.unwrap().revision), (0, 0, 2));
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_and_catches_up_in_order() {
    let limits = WatchLimits { max_stream_pending_bytes: 10_000, max_pending_bytes: 20_000, ..WatchLimits::default() };
    let server = Server::start_with(ServerConfig { watch: limits, ..ServerConfig::default() }).await;
    let mut kv = server.kv().await;
    let mut slow = Watch::open(&server).await;
    slow.create(watch_all()).await;
    // More than the buffers of sockets and HTTP/2 take up between the two.
    let value = "v".repeat(100_000);
    for _ in 0..300 {
        kv.put(put("a", &value)).await.unwrap();
    }
    let pending = server.backend.watches().pending_bytes();
    assert!(pending <= 20_000 + 110_000, "one response over the bound at most: {pending}");
    let mut last = 1;
    while last < 301 {
        for event in slow.next().await.events {
            let revision = event.kv.unwrap().mod_revision;
            assert_eq!(revision, last + 1, "no gap, no repeat");
            last = revision;
        }
    }
    assert_eq!(server.backend.watches().stats().await.unwrap().slow_watchers, 0);
}

#[tokio::test]
async fn a_client_that_goes_away_frees_everything() {
    let server = Server::start().await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = Watch::open(&server).await;
        for _ in 0..10 {
            stream.create(watch("a")).await;
        }
        streams.push(stream);
    }
    assert_eq!(server.backend.watches().stats().await.unwrap().watchers, 100);
    drop(streams);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let stats = server.backend.watches().stats().await.unwrap();
        if (stats.streams, stats.watchers) == (0, 0) {
            break;
        }
        assert!(Instant::now() < deadline, "{stats:?} is left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.backend.watches().pending_bytes(), 0);
}

#[tokio::test]
async fn watchers_and_streams_are_bounded() {
    let limits = WatchLimits { max_watchers: 2, ..WatchLimits::default() };
    let config = ServerConfig { max_streams: 1, watch: limits, ..ServerConfig::default() };
    let server = Server::start_with(config).await;
    let mut stream = Watch::open(&server).await;
    assert_eq!(stream.create(watch("a")).await.watch_id, 0);
    assert_eq!(stream.create(watch("b")).await.watch_id, 1);
    let refused = stream.create(watch("c")).await;
    assert_eq!((refused.canceled, refused.watch_id), (true, -1));
    assert_eq!(refused.cancel_reason, "etcdserver: too many requests");
    let second = Watch::open_with(&server, false).await.map(|_| ());
    assert_eq!(refusal(second), etcd_error(Code::ResourceExhausted, "too many requests"));
}

#[tokio::test]
async fn a_stream_that_requires_a_leader_ends_when_it_is_lost_for_long() {
    let server = Server::start_with(ServerConfig { no_leader_timeout_ms: 60, ..ServerConfig::default() }).await;
    let mut strict = Watch::open_with(&server, true).await.unwrap();
    strict.create(watch("a")).await;
    let mut lenient = Watch::open(&server).await;
    lenient.create(watch("a")).await;
    server.backend.leader_id.store(0, Ordering::SeqCst);
    let ended = tokio::time::timeout(Duration::from_secs(5), strict.responses.message()).await.unwrap();
    assert_eq!(refusal(ended), etcd_error(Code::Unavailable, "no leader"));
    lenient.ask(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
    assert_eq!(lenient.next().await.watch_id, -1);
}

#[tokio::test]
async fn a_stopping_server_ends_its_streams_with_a_word() {
    let server = Server::start().await;
    let mut stream = Watch::open(&server).await;
    stream.create(watch("a")).await;
    let ended = server.stop();
    assert_eq!(refusal(stream.responses.message().await), etcd_error(Code::Unavailable, "server stopped"));
    drop(stream);
    tokio::time::timeout(Duration::from_secs(2), ended).await.expect("nothing holds it up").unwrap().unwrap();
}

#[tokio::test]
async fn a_request_of_no_kind_is_passed_over_and_half_closed_streams_go_on() {
    let server = Server::start().await;
    let mut kv = server.kv().await;
    let Watch { requests, mut responses } = Watch::open(&server).await;
    requests.send(WatchRequest { request_union: None }).await.unwrap();
    let create = RequestUnion::CreateRequest(watch("a"));
    requests.send(WatchRequest { request_union: Some(create) }).await.unwrap();
    assert!(responses.message().await.unwrap().unwrap().created);
    drop(requests);
    kv.put(PutRequest { ..put("a", "1") }).await.unwrap();
    assert_eq!(responses.message().await.unwrap().unwrap().events.len(), 1);
}
