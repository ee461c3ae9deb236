//! Whole nodes on real files and sockets.

use bytes::Bytes;
use quorate_machine::{ApplyContext, Consistency, RestoreError, StateMachine};
use quorate_node::NodeConfig;
use quorate_protocol::Start;
use quorate_raft::{Config, Raft};
use quorate_runtime::{NodeHandle, Running, RuntimeConfig, start};
use quorate_types::{ClusterId, Member, Membership, NodeId};
use std::path::Path;
use std::time::Duration;
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
    let config = RuntimeConfig::<Raft, Keeping> {
        cluster: ClusterId(7),
        me: NodeId(me),
        start: Start::Found(members.clone()),
        node,
        duty: (),
        data_directory: directory.join(me.to_string()),
        name: me.to_string(),
        client_urls: Vec::new(),
        peer_urls: members.get(NodeId(me)).expect("a member").peer_urls.clone(),
        queued_requests_max: 1024,
        queued_messages_max: 1024,
    };
    start(config, vec![listener], Box::new(|_| {})).expect("it starts")
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

#[test]
fn a_member_that_comes_late_gets_a_snapshot_over_its_own_connection_and_a_backup_is_whole() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let scene = a_late_member(directory.path());
        tokio::time::timeout(Duration::from_secs(60), scene).await.expect("a minute is enough");
    });
}
