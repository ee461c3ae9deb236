//! Exactly once over the loss of a leader: what a client with a session sees, and what one without it sees.

use futures_util::future::join_all;
use quorate_client::{CallError, Session, Settings};
use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_server::proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, StatusRequest, TxnRequest, compare, request_op,
};
use quorate_server::proto::mvccpb::KeyValue;
use quorate_server::proto::quorate::v1::call_request::Request;
use quorate_server::proto::quorate::v1::call_response::Answer;
use quorate_server::proto::quorate::v1::session_client::SessionClient;
use quorate_server::proto::quorate::v1::{Bar, CallRequest, OpenRequest, SessionId};
use quorate_service::{LocalCluster, Protocol};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

const PATIENCE: Duration = Duration::from_secs(30);

struct Cluster {
    local: LocalCluster,
    _directory: tempfile::TempDir,
}

impl Cluster {
    async fn start(members: usize) -> Cluster {
        Cluster::start_over(Protocol::Raft, members).await
    }

    async fn start_over(protocol: Protocol, members: usize) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let local = LocalCluster::start_with(directory.path(), members, |plan| plan.protocol = protocol).unwrap();
        let cluster = Cluster { local, _directory: directory };
        cluster.leader(&[]).await;
        cluster
    }

    fn channel(&self, index: usize) -> Channel {
        let endpoint = self.local.endpoints().swap_remove(index);
        Endpoint::from_shared(endpoint).unwrap().timeout(Duration::from_secs(10)).connect_lazy()
    }

    /// Waits until one that is not among these leads by its own word.
    async fn leader(&self, not: &[usize]) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for index in (0..self.local.members()).filter(|index| !not.contains(index)) {
                let status = MaintenanceClient::new(self.channel(index)).status(StatusRequest {}).await;
                if status.is_ok_and(|status| status.into_inner().leader == self.local.member_id(index)) {
                    return index;
                }
            }
            assert!(Instant::now() < deadline, "nobody leads");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The pair as one member has it now.
    async fn pair_at(&self, index: usize, key: &'static str) -> Option<KeyValue> {
        let range = RangeRequest { key: key.into(), serializable: true, ..RangeRequest::default() };
        KvClient::new(self.channel(index)).range(range).await.unwrap().into_inner().kvs.pop()
    }

    /// Waits until a member has applied a put of this key.
    async fn applied_at(&self, index: usize, key: &'static str) -> KeyValue {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(pair) = self.pair_at(index, key).await {
                return pair;
            }
            assert!(Instant::now() < deadline, "{key} does not come");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn put(key: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: "v".into(), ..PutRequest::default() }
}

/// A way to a server on which answers can be made to vanish.
struct Way {
    address: SocketAddr,
    swallows_answers: Arc<AtomicBool>,
}

impl Way {
    async fn to(endpoint: &str) -> Way {
        let target = endpoint.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Way { address: listener.local_addr().unwrap(), swallows_answers: Arc::default() };
        let swallows = Arc::clone(&way.swallows_answers);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, target.clone(), Arc::clone(&swallows)));
            }
        });
        way
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn swallow_answers(&self) {
        self.swallows_answers.store(true, Ordering::SeqCst);
    }
}

/// Carries both directions until either ends, and then closes both.
async fn carry(client: TcpStream, target: String, swallows: Arc<AtomicBool>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(|_| ()) };
    let back = async {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let count = from_server.read(&mut bytes).await?;
            if count == 0 {
                return std::io::Result::Ok(());
            }
            if !swallows.load(Ordering::SeqCst) {
                to_client.write_all(&bytes[..count]).await?;
            }
        }
    };
    tokio::select! {
        _ = there => {}
        _ = back => {}
    }
}

/// The leader first, by a way that can swallow its answers, then the others.
async fn ways(cluster: &Cluster, leader: usize) -> (Way, Vec<String>) {
    let endpoints = cluster.local.endpoints();
    let way = Way::to(&endpoints[leader]).await;
    let others = (0..endpoints.len()).filter(|index| *index != leader).map(|index| endpoints[index].clone());
    let all = std::iter::once(way.endpoint()).chain(others).collect();
    (way, all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_whose_leader_dies_between_commit_and_answer_is_answered_by_another_with_the_same_revision() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader(&[]).await;
    let other = (leader + 1) % 3;
    let (way, endpoints) = ways(&cluster, leader).await;
    let session = Arc::new(Session::open(Settings::new(endpoints).unwrap()).await.unwrap());
    let before = session.put(put("before")).await.unwrap().header.unwrap();
    assert_eq!(before.member_id, cluster.local.member_id(leader));

    way.swallow_answers();
    let asking = Arc::clone(&session);
    let asked = tokio::spawn(async move { asking.put(put("paid")).await });
    let committed = cluster.applied_at(other, "paid").await;
    assert!(!asked.is_finished(), "the answer does not get through");
    cluster.local.stop(leader).await;

    let answer = asked.await.unwrap().unwrap().header.unwrap();
    assert_ne!(answer.member_id, cluster.local.member_id(leader));
    assert_eq!(answer.revision, committed.mod_revision);
    // It happened once, and the next write takes the next revision.
    let next = session.put(put("next")).await.unwrap().header.unwrap();
    assert_eq!(next.revision, committed.mod_revision + 1);
    let new_leader = cluster.leader(&[leader]).await;
    assert_eq!(cluster.applied_at(new_leader, "paid").await.version, 1);
    // Sessions are durable: the one that died learns of it when it comes back.
    cluster.local.restart(leader).unwrap();
    let caught_up = cluster.applied_at(leader, "next").await;
    assert_eq!(caught_up.mod_revision, next.revision);
    Arc::into_inner(session).unwrap().close().await.unwrap();
    cluster.local.shut_down().await;
}

/// etcd's API has no way to ask again: the client is told that it cannot be known, and a client that puts again puts twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_session_the_outcome_is_unknown_and_asking_again_puts_twice() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader(&[]).await;
    let other = (leader + 1) % 3;
    let (way, endpoints) = ways(&cluster, leader).await;
    let channel = Endpoint::from_shared(endpoints[0].clone()).unwrap().connect_lazy();
    let mut client = KvClient::new(channel);
    client.put(put("before")).await.unwrap();

    way.swallow_answers();
    let asked = tokio::spawn(async move { client.put(put("paid")).await });
    cluster.applied_at(other, "paid").await;
    cluster.local.stop(leader).await;
    let status = asked.await.unwrap().unwrap_err();
    assert!(matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled), "{status:?}");

    let new_leader = cluster.leader(&[leader]).await;
    KvClient::new(cluster.channel(new_leader)).put(put("paid")).await.unwrap();
    assert_eq!(cluster.applied_at(new_leader, "paid").await.version, 2);
    cluster.local.shut_down().await;
}

/// Adds one to a counter that is kept in the version of a key: each put adds one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_of_many_tasks_over_a_leader_that_dies_are_each_counted_once() {
    const TASKS: usize = 8;
    const EACH: usize = 40;
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader(&[]).await;
    let session = Arc::new(Session::open(Settings::new(cluster.local.endpoints()).unwrap()).await.unwrap());
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let session = Arc::clone(&session);
            tokio::spawn(async move {
                let mut revisions = Vec::new();
                for _ in 0..EACH {
                    revisions.push(session.put(put("counter")).await.unwrap().header.unwrap().revision);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                revisions
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(60)).await;
    cluster.local.stop(leader).await;
    let mut revisions = Vec::new();
    for task in tasks {
        revisions.extend(task.await.unwrap());
    }
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), TASKS * EACH, "no two are told the same revision");
    let others = (leader + 1) % 3;
    let read = RangeRequest { key: "counter".into(), ..RangeRequest::default() };
    let pairs = KvClient::new(cluster.channel(others)).range(read).await.unwrap().into_inner().kvs;
    assert_eq!(pairs[0].version, (TASKS * EACH) as i64);
    assert_eq!(pairs[0].mod_revision, *revisions.last().unwrap());
    cluster.local.shut_down().await;
}

/// Through a member that stays, and what is polled last was asked for first: the order is that of the calls alone.
async fn pipelines_through_a_leader_that_dies(protocol: Protocol) {
    const PUTS: usize = 300;
    let key = |number: usize| format!("put-{number:03}");
    let mut cluster = Cluster::start_over(protocol, 3).await;
    let leader = cluster.leader(&[]).await;
    let asked = (leader + 1) % 3;
    let mut endpoints = cluster.local.endpoints();
    endpoints.rotate_left(asked);
    let session = Session::open_in_order(Settings::new(endpoints).unwrap()).await.unwrap();
    let before = session.put(put("before")).await.unwrap().header.unwrap();
    let calls = (0..PUTS).map(|number| session.put(PutRequest { key: key(number).into(), ..put("") }));
    let calls: Vec<_> = calls.collect();
    let dying = async {
        cluster.applied_at(asked, "put-020").await;
        assert_eq!(cluster.pair_at(asked, "put-299").await, None, "{protocol:?}: it dies in the middle");
        cluster.local.stop(leader).await;
    };
    let (mut answers, ()) = tokio::join!(join_all(calls.into_iter().rev()), dying);
    answers.reverse();
    let told: Vec<i64> = answers.into_iter().map(|answer| answer.unwrap().header.unwrap().revision).collect();
    let in_order: Vec<i64> = (before.revision + 1..).take(PUTS).collect();
    assert_eq!(told, in_order, "{protocol:?}");
    let everything = RangeRequest { key: key(0).into(), range_end: "put.".into(), ..RangeRequest::default() };
    let pairs = KvClient::new(cluster.channel(asked)).range(everything).await.unwrap().into_inner().kvs;
    let found: Vec<_> = pairs.iter().map(|pair| (pair.mod_revision, pair.version)).collect();
    assert_eq!(found, in_order.into_iter().map(|revision| (revision, 1)).collect::<Vec<_>>(), "{protocol:?}");
    session.close().await.unwrap();
    cluster.local.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_order_what_is_under_way_together_happens_in_the_order_of_the_calls_over_a_leader_that_dies() {
    for protocol in Protocol::ALL {
        pipelines_through_a_leader_that_dies(protocol).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_order_a_call_before_its_turn_is_no_answer_and_its_repetition_is() {
    let cluster = Cluster::start(3).await;
    let mut client = SessionClient::new(cluster.channel(0));
    let opened = client.open(OpenRequest { in_order: true }).await.unwrap().into_inner();
    assert!(opened.in_order);
    let call = |sequence, acked_below, key| CallRequest {
        session: opened.session,
        sequence,
        acked_below,
        is_retry: false,
        request: Some(Request::Put(put(key))),
    };
    for member in 0..3 {
        let early = SessionClient::new(cluster.channel(member)).call(call(2, 1, "second")).await.unwrap_err();
        let words = "etcdserver: before its turn: an earlier request of this session is not done; repeat it";
        assert_eq!((early.code(), early.message()), (Code::Aborted, words));
    }
    client.call(call(1, 1, "first")).await.unwrap();
    client.call(call(2, 1, "second")).await.unwrap();
    // The third was given up, and the fourth does not wait for it.
    client.call(call(4, 4, "fourth")).await.unwrap();
    let late = client.call(call(3, 1, "third")).await.unwrap().into_inner().answer;
    assert_eq!(late, Some(Answer::Bar(Bar::Acknowledged.into())));
    let mut revisions = Vec::new();
    for key in ["first", "second", "fourth"] {
        revisions.push(cluster.applied_at(0, key).await.mod_revision);
    }
    assert_eq!(revisions, [revisions[0], revisions[0] + 1, revisions[0] + 2]);
    assert_eq!(cluster.pair_at(0, "third").await, None);
    cluster.local.shut_down().await;
}

/// What fails or is dropped holds up nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_order_what_comes_to_nothing_leaves_no_gap() {
    let cluster = Cluster::start(3).await;
    let session = Session::open_in_order(Settings::new(cluster.local.endpoints()).unwrap()).await.unwrap();
    let first = session.put(put("first"));
    let without_lease = session.put(PutRequest { lease: 77, ..put("never") });
    let keyless = session.put(put(""));
    let dropped = session.put(put("dropped"));
    let last = session.put(put("last"));
    drop(dropped);
    let (last, keyless, without_lease, first) = tokio::join!(last, keyless, without_lease, first);
    assert!(matches!(without_lease.unwrap_err(), CallError::Refused { code: Code::NotFound, .. }));
    assert!(matches!(keyless.unwrap_err(), CallError::Refused { code: Code::InvalidArgument, .. }));
    let [first, last] = [first, last].map(|answer| answer.unwrap().header.unwrap().revision);
    assert_eq!(last, first + 1);
    cluster.local.shut_down().await;
}

async fn opened(client: &mut SessionClient<Channel>) -> SessionId {
    let opened = client.open(OpenRequest { in_order: false }).await.unwrap().into_inner();
    assert!(!opened.in_order);
    opened.session.unwrap()
}

async fn call(client: &mut SessionClient<Channel>, session: SessionId, sequence: u64, request: Request) -> Answer {
    let session = Some(session);
    let call = CallRequest { session, sequence, acked_below: 1, is_retry: true, request: Some(request) };
    client.call(call).await.unwrap().into_inner().answer.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_request_is_answered_alike_by_every_member_and_refusals_too() {
    let cluster = Cluster::start(3).await;
    let mut first = SessionClient::new(cluster.channel(0));
    let session = opened(&mut first).await;
    let guard = Compare {
        key: "b".into(),
        result: compare::CompareResult::Equal.into(),
        target: compare::CompareTarget::Version.into(),
        target_union: Some(compare::TargetUnion::Version(0)),
        ..Compare::default()
    };
    let put_b = RequestOp { request: Some(request_op::Request::RequestPut(put("b"))) };
    let requests = [
        Request::Put(PutRequest { prev_kv: true, ..put("a") }),
        Request::DeleteRange(DeleteRangeRequest { key: "a".into(), prev_kv: true, ..DeleteRangeRequest::default() }),
        Request::Txn(TxnRequest { compare: vec![guard], success: vec![put_b], failure: Vec::new() }),
        // Refused by the state: there is no such lease.
        Request::Put(PutRequest { lease: 77, ..put("c") }),
    ];
    for (sequence, request) in (1..).zip(requests) {
        let answers = [
            call(&mut first, session, sequence, request.clone()).await,
            call(&mut SessionClient::new(cluster.channel(1)), session, sequence, request.clone()).await,
            call(&mut SessionClient::new(cluster.channel(2)), session, sequence, request.clone()).await,
        ];
        // But for who answers in which era, they are the same.
        let told = answers.map(|answer| match answer {
            Answer::Put(mut put) => {
                let header = put.header.take().unwrap();
                format!("{put:?} {}", header.revision)
            }
            Answer::DeleteRange(mut delete) => {
                let header = delete.header.take().unwrap();
                format!("{delete:?} {}", header.revision)
            }
            Answer::Txn(mut txn) => {
                let header = txn.header.take().unwrap();
                format!("{txn:?} {}", header.revision)
            }
            other => format!("{other:?}"),
        });
        assert_eq!(told[0], told[1]);
        assert_eq!(told[0], told[2]);
        assert_eq!(told[0].contains("requested lease not found"), sequence == 4, "{}", told[0]);
    }
    assert_eq!(cluster.applied_at(1, "b").await.version, 1);
    cluster.local.shut_down().await;
}

/// Put's own limit, whatever a session adds to the request: a repetition says so, and must not be too long by that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_takes_as_much_as_a_put_and_a_repetition_of_it_too() {
    const REQUEST_BYTES_MAX: usize = 1536 * 1024;
    // The key and its two bytes, then a byte and three of length before the value.
    let put_of = |length: usize| {
        let value = vec![b'v'; length - 4 - 5].into();
        PutRequest { key: "big".into(), value, ..PutRequest::default() }
    };
    let cluster = Cluster::start(1).await;
    let mut client = SessionClient::new(cluster.channel(0));
    let session = Some(opened(&mut client).await);
    let call = |sequence, is_retry, length| CallRequest {
        session,
        sequence,
        acked_below: 1,
        is_retry,
        request: Some(Request::Put(put_of(length))),
    };
    let mut kv = KvClient::new(cluster.channel(0));
    kv.put(put_of(REQUEST_BYTES_MAX)).await.unwrap();
    for is_retry in [false, true] {
        let answer = client.call(call(1, is_retry, REQUEST_BYTES_MAX)).await.unwrap().into_inner().answer;
        assert!(matches!(answer, Some(Answer::Put(_))), "{answer:?}");
        let refused = client.call(call(2, is_retry, REQUEST_BYTES_MAX + 1)).await.unwrap_err();
        let as_put = kv.put(put_of(REQUEST_BYTES_MAX + 1)).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (as_put.code(), as_put.message()));
    }
    cluster.local.shut_down().await;
}

/// A cluster that is restored with its old founders and token has its old id, and its log comes to the old places again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_opened_at_the_same_place_of_two_logs_are_not_called_alike() {
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let cluster = Cluster::start(1).await;
        numbers.push(opened(&mut SessionClient::new(cluster.channel(0))).await.nonce);
        cluster.local.shut_down().await;
    }
    assert_ne!(numbers[0], numbers[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_no_session_is_told_and_nothing_is_done_for_it() {
    let cluster = Cluster::start(1).await;
    let mut client = SessionClient::new(cluster.channel(0));
    let session = opened(&mut client).await;
    let expired = Answer::Bar(Bar::SessionExpired.into());
    for foreign in
        [SessionId { cluster_id: session.cluster_id ^ 1, ..session }, SessionId { nonce: session.nonce ^ 1, ..session }]
    {
        assert_eq!(call(&mut client, foreign, 1, Request::Put(put("never"))).await, expired);
    }
    let unnamed = CallRequest { request: Some(Request::Put(put("never"))), ..CallRequest::default() };
    assert_eq!(client.call(unnamed).await.unwrap_err().code(), Code::InvalidArgument);
    let empty = CallRequest { session: Some(session), ..CallRequest::default() };
    assert_eq!(client.call(empty).await.unwrap_err().code(), Code::InvalidArgument);
    let keyless = CallRequest {
        session: Some(session),
        sequence: 1,
        request: Some(Request::Put(PutRequest::default())),
        ..CallRequest::default()
    };
    assert_eq!(client.call(keyless).await.unwrap_err().message(), "etcdserver: key is not provided");
    assert_eq!(cluster.pair_at(0, "never").await, None);

    // A session that was closed elsewhere: the client is told, and that nothing of this request was done.
    let native = Session::open(Settings::new(cluster.local.endpoints()).unwrap()).await.unwrap();
    let id = native.id();
    client.close(quorate_server::proto::quorate::v1::CloseRequest { session: Some(id) }).await.unwrap();
    assert_eq!(native.put(put("never")).await.unwrap_err(), CallError::SessionExpired { in_doubt: false });
    assert_eq!(cluster.pair_at(0, "never").await, None);
    cluster.local.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_nobody_can_take_ends_when_its_patience_does() {
    let mut cluster = Cluster::start(3).await;
    let mut settings = Settings::new(cluster.local.endpoints()).unwrap();
    settings.patience = Some(Duration::from_secs(3));
    settings.try_timeout = Duration::from_secs(1);
    let session = Session::open(settings).await.unwrap();
    session.put(put("before")).await.unwrap();
    // A majority is gone: what is left takes a request and cannot decide it.
    cluster.local.stop(0).await;
    cluster.local.stop(1).await;
    let begun = Instant::now();
    let error = session.put(put("doubtful")).await.unwrap_err();
    assert!(matches!(error, CallError::InDoubt { .. }), "{error:?}");
    assert!(begun.elapsed() < PATIENCE);
    cluster.local.restart(0).unwrap();
    cluster.local.restart(1).unwrap();
    cluster.leader(&[]).await;
    // Given up, so it never happens behind this one; it may have happened before.
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = session.put(put("after")).await {
        assert!(Instant::now() < deadline, "{error}");
    }
    cluster.applied_at(2, "after").await;
    let late = cluster.pair_at(2, "doubtful").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(cluster.pair_at(2, "doubtful").await, late);
    cluster.local.shut_down().await;
}
