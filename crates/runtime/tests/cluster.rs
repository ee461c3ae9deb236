//! Whole nodes on real files and sockets.

use bytes::Bytes;
use quorate_machine::{ApplyContext, Consistency, RestoreError, StateMachine};
use quorate_node::{MemberChange, NodeConfig};
use quorate_protocol::Start;
use quorate_raft::{Config, LeaseReads, Raft};
use quorate_runtime::{NodeHandle, Running, RuntimeConfig, start};
use quorate_types::{ClusterId, Member, MemberRole, Membership, NodeId};
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Keeps everything; a reply is how much that is.
#[derive(Debug)]
struct Keeping {
    items: Vec<Bytes>,
    digest: u64,
}

impl StateMachine for Keeping {
    type Query = ();
    type Reply = u64;
    type Duty = ();

    fn empty() -> Keeping {
        Keeping { items: Vec::new(), digest: 0 }
    }
    fn apply(&mut self, _: &ApplyContext, payload: &Bytes) -> u64 {
        self.digest = payload.iter().fold(self.digest, |digest, byte| digest.rotate_left(5) ^ u64::from(*byte));
        self.items.push(payload.clone());
        self.items.len() as u64
    }
    fn query(&self, (): &()) -> u64 {
        self.items.len() as u64
    }
    fn digest(&self) -> u64 {
        self.digest
    }
    fn head(&self) -> Bytes {
        Bytes::copy_from_slice(&self.digest.to_le_bytes())
    }
    fn item_count(&self) -> u64 {
        self.items.len() as u64
    }
    fn item(&self, number: u64) -> Option<Bytes> {
        self.items.get(number as usize).cloned()
    }
    fn restore(head: Bytes, items: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Keeping, RestoreError> {
        let digest = <[u8; 8]>::try_from(&head[..]).map_err(|why| RestoreError { why: why.to_string() })?;
        let items = items.map(|(_, item)| Bytes::copy_from_slice(&item)).collect();
        Ok(Keeping { items, digest: u64::from_le_bytes(digest) })
    }
}

/// Three members on free ports.
async fn members() -> (Vec<TcpListener>, Membership) {
    let mut listeners = Vec::new();
    let mut members = Vec::new();
    for id in 1..=3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut member = Member::voter(NodeId(id));
        member.peer_urls = vec![format!("http://{}", listener.local_addr().expect("bound"))];
        members.push(member);
        listeners.push(listener);
    }
    (listeners, Membership::new(members))
}

/// A node that keeps next to no log, and sends snapshots slowly.
fn run(me: u64, members: &Membership, listener: TcpListener, directory: &Path) -> Running<Keeping> {
    let raft = Config { keep_log_entries: 4, compact_after_entries: 4, compact_keep_entries: 0, ..Config::default() };
    let mut node = NodeConfig::new(raft);
    node.checkpoint.after_slots = 5;
    node.transfer.bytes_per_second = 2 << 20;
    node.transfer.chunk_bytes = 64 << 10;
    let (start, peer_urls) =
        (Start::Found(members.clone()), members.get(NodeId(me)).expect("a member").peer_urls.clone());
    start_node(me, start, peer_urls, node, listener, directory)
}

/// Sends appends of one entry, and no second one before the first is answered.
fn run_step_by_step(
    me: u64,
    founders: Option<&Membership>,
    listener: TcpListener,
    directory: &Path,
) -> Running<Keeping> {
    let raft = Config { append_entries: 1, window_messages: 1, ..Config::default() };
    let start = founders.map_or(Start::Join, |founders| Start::Found(founders.clone()));
    let peer_urls = vec![url_of(&listener)];
    start_node(me, start, peer_urls, NodeConfig::new(raft), listener, directory)
}

fn start_node(
    me: u64,
    entry: Start,
    peer_urls: Vec<String>,
    node: NodeConfig<Raft>,
    listener: TcpListener,
    directory: &Path,
) -> Running<Keeping> {
    let config = config_of(me, entry, peer_urls, node, directory);
    start(config, vec![listener], Box::new(|_| {})).expect("it starts")
}

fn config_of(
    me: u64,
    entry: Start,
    peer_urls: Vec<String>,
    node: NodeConfig<Raft>,
    directory: &Path,
) -> RuntimeConfig<Raft, Keeping> {
    RuntimeConfig::<Raft, Keeping> {
        cluster: ClusterId(7),
        me: NodeId(me),
        start: entry,
        node,
        duty: (),
        data_directory: directory.join(me.to_string()),
        name: me.to_string(),
        client_urls: Vec::new(),
        peer_urls,
        queued_requests_max: 1024,
        queued_messages_max: 1024,
        recorder: None,
    }
}

fn url_of(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().expect("bound"))
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// A member at this address, to vote as soon as it has caught up.
fn joining(id: u64, peer_url: String) -> MemberChange {
    let member = Member { role: MemberRole::Joining, peer_urls: vec![peer_url], ..Member::voter(NodeId(id)) };
    MemberChange::Add { member, learners_max: 1, strict: false }
}

async fn votes(handle: &NodeHandle<Keeping>, id: u64) {
    while !handle.status().await.expect("it runs").node.roster.members().is_voter(NodeId(id)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn write(handle: &NodeHandle<Keeping>, payload: Bytes) -> u64 {
    handle.write(payload).await.expect("a majority is there")
}

async fn check_backup(handle: &NodeHandle<Keeping>, bytes_min: usize) {
    let mut backup = handle.backup().await.expect("there is room");
    let announced = backup.remaining_bytes();
    let mut whole = Vec::new();
    while let Some(piece) = backup.next(10_000).await.expect("the state stays") {
        assert!(!piece.is_empty() && piece.len() <= 10_000);
        whole.extend_from_slice(&piece);
        assert_eq!(whole.len() as u64 + backup.remaining_bytes(), announced);
    }
    assert_eq!(whole.len() as u64, announced);
    let (body, checksum) = whole.split_at(whole.len() - 4);
    assert_eq!(crc32c::crc32c(body).to_le_bytes(), checksum);
    assert!(body.starts_with(b"QRTBCKUP") && body.len() > bytes_min);
}

async fn a_late_member(directory: &Path) {
    let (mut listeners, members) = members().await;
    let late = listeners.pop().expect("three");
    let early = (1..).zip(listeners);
    let mut running: Vec<_> = early.map(|(id, listener)| run(id, &members, listener, directory)).collect();
    let handle = running[0].handle.clone();
    for count in 1..=64u64 {
        assert_eq!(write(&handle, Bytes::from(vec![count as u8; 32 << 10])).await, count);
    }
    let era = handle.status().await.expect("it runs").node.protocol.era;
    running.push(run(3, &members, late, directory));
    let late = running[2].handle.clone();
    let mut receiving = 0;
    let status = loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let status = late.status().await.expect("it runs").node;
        receiving += u64::from(status.snapshots.receiving.is_some());
        if status.snapshots.installed > 0 && status.applied.0 >= 64 {
            break status;
        }
    };
    assert!(receiving > 5, "the transfer took its time: {receiving}");
    assert_eq!(status.protocol.era, era, "heartbeats did not wait behind chunks");
    assert_eq!(write(&late, Bytes::from_static(b"the last")).await, 65);
    assert_eq!(late.read((), Consistency::Linearizable).await, Ok(65));
    assert_eq!(late.errand(Bytes::new()).await, Ok(Bytes::new()), "a leader without a duty says nothing, and says it");
    check_backup(&late, 64 * (32 << 10)).await;
    for node in &running {
        node.handle.shut_down().await;
    }
    for node in running {
        node.ended.await.expect("it ends");
    }
}

/// The log begins with members that are all gone. Whoever takes it from its beginning hears of those first, and of the leader that
/// sends it only at the end.
async fn a_log_of_strangers(directory: &Path) {
    let listeners = [listen().await, listen().await, listen().await];
    let urls = listeners.each_ref().map(url_of);
    let [first, second, third] = listeners;
    let founders = Membership::new([Member { peer_urls: vec![urls[0].clone()], ..Member::voter(NodeId(1)) }]);
    let first = run_step_by_step(1, Some(&founders), first, directory);
    write(&first.handle, Bytes::from_static(b"one")).await;
    first.handle.change_members(joining(2, urls[1].clone())).await.expect("it is added");
    let second = run_step_by_step(2, None, second, directory);
    votes(&first.handle, 2).await;
    write(&second.handle, Bytes::from_static(b"two")).await;
    first.handle.move_leader(NodeId(2)).await.expect("it takes over");
    second.handle.change_members(MemberChange::Remove { id: NodeId(1), strict: false }).await.expect("it goes");
    first.ended.await.expect("it retires");
    second.handle.change_members(joining(3, urls[2].clone())).await.expect("it is added");
    let third = run_step_by_step(3, None, third, directory);
    votes(&second.handle, 3).await;
    assert_eq!(write(&third.handle, Bytes::from_static(b"three")).await, 3);
}

/// Nobody listens any more where a member was: the last word of that comes when it is reached elsewhere already.
async fn a_member_that_moved(directory: &Path) {
    let (listeners, members) = members().await;
    let mut listeners = listeners.into_iter();
    let mut next = || listeners.next().expect("three");
    let first = run_step_by_step(1, Some(&members), next(), directory);
    let second = run_step_by_step(2, Some(&members), next(), directory);
    drop(next());
    write(&second.handle, Bytes::from_static(b"one")).await;
    let elsewhere = listen().await;
    let peer_urls = vec![url_of(&elsewhere)];
    let third = run_step_by_step(3, Some(&members), elsewhere, directory);
    // By now it is dialled in vain every half second.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    first.handle.change_members(MemberChange::Relocate { id: NodeId(3), peer_urls }).await.expect("it moved");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    for node in [&first, &second] {
        let connected = node.handle.status().await.expect("it runs").connected;
        assert!(connected.contains_key(&NodeId(3)), "it is connected: {connected:?}");
    }
    assert_eq!(third.handle.read((), Consistency::Linearizable).await, Ok(1));
}

/// It is announced that a member is elsewhere, and it is not there yet. Until it is, it votes where it was.
async fn a_move_that_is_only_announced(directory: &Path) {
    let (listeners, members) = members().await;
    let mut listeners = listeners.into_iter();
    let mut next = || listeners.next().expect("three");
    let first = run_step_by_step(1, Some(&members), next(), directory);
    let second = run_step_by_step(2, Some(&members), next(), directory);
    drop(next());
    write(&first.handle, Bytes::from_static(b"one")).await;
    let elsewhere = listen().await;
    let peer_urls = vec![url_of(&elsewhere)];
    drop(elsewhere);
    first
        .handle
        .change_members(MemberChange::Relocate { id: NodeId(2), peer_urls: peer_urls.clone() })
        .await
        .expect("it is decided");
    let began = Instant::now();
    for _ in 0..10 {
        write(&first.handle, Bytes::from_static(b"more")).await;
    }
    assert!(began.elapsed() < Duration::from_secs(2), "its vote is needed all the while: {:?}", began.elapsed());
    second.handle.shut_down().await;
    second.ended.await.expect("it ends");
    let address = quorate_runtime::address_of(&peer_urls[0]).expect("a whole URL");
    let there = TcpListener::bind(address).await.expect("nobody took it meanwhile");
    let second = run_step_by_step(2, Some(&members), there, directory);
    write(&second.handle, Bytes::from_static(b"there")).await;
    assert!(first.handle.status().await.expect("it runs").connected.contains_key(&NodeId(2)));
}

/// A node's only member, with leases that last this long, or none. When its loop takes its first round.
async fn started_with(lease: Option<Duration>, directory: &Path) -> (Running<Keeping>, Duration) {
    let listener = listen().await;
    let timeout = lease.unwrap_or(Duration::from_millis(50));
    let raft = Config {
        election_timeout: timeout,
        heartbeat_interval: timeout / 10,
        lease_reads: lease.map(|_| LeaseReads { clock_rate_error_ppm: 500 }),
        ..Config::default()
    };
    let (told, mut first_round) = tokio::sync::mpsc::unbounded_channel();
    let config =
        config_of(1, Start::Found(Membership::of_voters(1)), vec![url_of(&listener)], NodeConfig::new(raft), directory);
    // Only the first is waited for; nobody hears the others.
    let observer = Box::new(move |_: &quorate_runtime::Observation<'_, Keeping>| {
        let _ = told.send(Instant::now());
    });
    let running = start(config, vec![listener], observer).expect("it starts");
    let began = Instant::now();
    let status = running.handle.status().await;
    let first = first_round.recv().await.expect("it runs");
    let waited = first.duration_since(began);
    assert!(
        status.is_some() || waited >= Duration::from_millis(600),
        "it answers nobody only while it waits: {waited:?}"
    );
    (running, waited)
}

async fn promises_of_other_settings(directory: &Path) {
    let long = Duration::from_millis(600);
    // What it starts with, and whether it has to wait for what it was started with before.
    let starts = [
        (None, false),
        (Some(long), false),
        (Some(long), false),
        (None, true),
        (None, false),
        (Some(long), false),
        (Some(long / 2), true),
        (Some(long), false),
    ];
    for (number, (lease, waits)) in starts.into_iter().enumerate() {
        let (running, waited) = started_with(lease, directory).await;
        assert_eq!(waited >= long, waits, "start {number} waited {waited:?}");
        running.handle.shut_down().await;
        running.ended.await.expect("it ends");
    }
    // And it can be stopped meanwhile, which keeps the debt.
    for lease in [None, None] {
        let listener = listen().await;
        let raft = Config { lease_reads: lease, ..Config::default() };
        let config = config_of(
            1,
            Start::Found(Membership::of_voters(1)),
            vec![url_of(&listener)],
            NodeConfig::new(raft),
            directory,
        );
        let running = start(config, vec![listener], Box::new(|_| panic!("no round is taken"))).expect("it starts");
        running.handle.shut_down().await;
        assert_eq!(running.ended.await.expect("it ends"), quorate_runtime::StopCause::Requested);
    }
}

fn within_a_minute<F: Future<Output = ()>>(scene: impl FnOnce(std::path::PathBuf) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let scene = scene(directory.path().to_owned());
        tokio::time::timeout(Duration::from_secs(60), scene).await.expect("a minute is enough");
    });
}

#[test]
fn a_member_that_comes_late_gets_a_snapshot_over_its_own_connection_and_a_backup_is_whole() {
    within_a_minute(|directory| async move { a_late_member(&directory).await });
}

#[test]
fn a_newcomer_can_answer_a_leader_that_the_beginning_of_the_log_does_not_know() {
    within_a_minute(|directory| async move { a_log_of_strangers(&directory).await });
}

#[test]
fn a_member_that_moved_is_not_taken_for_gone_because_nobody_listens_where_it_was() {
    within_a_minute(|directory| async move { a_member_that_moved(&directory).await });
}

#[test]
fn a_member_that_is_to_move_is_spoken_to_where_it_was_until_it_answers_elsewhere() {
    within_a_minute(|directory| async move { a_move_that_is_only_announced(&directory).await });
}

#[test]
fn a_node_started_with_other_settings_waits_until_what_it_promised_before_is_over() {
    within_a_minute(|directory| async move { promises_of_other_settings(&directory).await });
}
