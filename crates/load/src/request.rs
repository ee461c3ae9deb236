//! One request of each unary workload.

use crate::keys::Keys;
use crate::settings::{Settings, Workload};
use anyhow::{Context, Result};
use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, compare, request_op,
};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

/// Keys of one range.
const RANGE_KEYS: u64 = 100;
/// Most puts of one filling transaction: etcd takes 128 operations by default.
const FILL_OPERATIONS: u64 = 100;
/// Most bytes of one: etcd takes 1.5 MiB by default.
const FILL_BYTES: u64 = 1 << 20;
/// Filling transactions in flight.
const FILL_IN_FLIGHT: usize = 32;

/// One client's way to the servers, and the requests it makes.
pub(crate) struct Requester {
    client: KvClient<Channel>,
    workload: Workload,
    read_percent: u64,
    pub(crate) keys: Keys,
}

impl Requester {
    pub(crate) fn new(settings: &Settings, channels: &[Channel], client: usize) -> Requester {
        let channel = channels[client % channels.len()].clone();
        Requester {
            client: KvClient::new(channel).max_decoding_message_size(64 << 20),
            workload: settings.workload,
            read_percent: u64::from(settings.read_percent),
            keys: Keys::new(settings, client as u64),
        }
    }

    /// Sends one request and waits for its answer.
    pub(crate) async fn request(&mut self) -> Result<(), Status> {
        match self.workload {
            Workload::Get => self.get(false).await,
            Workload::SerializableGet => self.get(true).await,
            Workload::Range => self.range().await,
            Workload::Mixed if self.keys.next_random() % 100 < self.read_percent => self.get(false).await,
            Workload::Txn => self.create_or_update().await,
            Workload::Put | Workload::Mixed | Workload::Watch | Workload::Lease | Workload::Failover => {
                let (key, value) = (self.keys.next_key(), self.keys.value());
                self.client.put(PutRequest { key, value, ..PutRequest::default() }).await.map(drop)
            }
        }
    }

    async fn get(&mut self, serializable: bool) -> Result<(), Status> {
        let key = self.keys.next_key();
        self.client.range(RangeRequest { key, serializable, ..RangeRequest::default() }).await.map(drop)
    }

    async fn range(&mut self) -> Result<(), Status> {
        let first = self.keys.next_random();
        let first = first % self.keys.key_space();
        let (key, range_end) = (self.keys.key(first), self.keys.key(first.saturating_add(RANGE_KEYS)));
        self.client.range(RangeRequest { key, range_end, ..RangeRequest::default() }).await.map(drop)
    }

    /// Puts the key in either branch, by whether it exists: one compare and one write, whatever the state.
    async fn create_or_update(&mut self) -> Result<(), Status> {
        let (key, value) = (self.keys.next_key(), self.keys.value());
        let exists = Compare {
            result: compare::CompareResult::Greater.into(),
            target: compare::CompareTarget::Version.into(),
            key: key.clone(),
            target_union: Some(compare::TargetUnion::Version(0)),
            range_end: bytes::Bytes::new(),
        };
        let put = PutRequest { key, value, ..PutRequest::default() };
        let put = RequestOp { request: Some(request_op::Request::RequestPut(put)) };
        let request = TxnRequest { compare: vec![exists], success: vec![put.clone()], failure: vec![put] };
        self.client.txn(request).await.map(drop)
    }
}

/// Writes every key once, if that is asked for.
pub(crate) async fn prepare(settings: &Settings, channels: &[Channel]) -> Result<()> {
    if !settings.fill {
        return Ok(());
    }
    let mut tasks = JoinSet::new();
    let mut first = 0;
    while first < settings.key_space {
        if tasks.len() >= FILL_IN_FLIGHT {
            finished(tasks.join_next().await)?;
        }
        let pair_bytes = (settings.key_bytes + settings.value_bytes + 16) as u64;
        let operations = (FILL_BYTES / pair_bytes).clamp(1, FILL_OPERATIONS);
        let last = (first + operations).min(settings.key_space);
        let requester = Requester::new(settings, channels, tasks.len());
        tasks.spawn(fill(requester, first, last));
        first = last;
    }
    while let Some(done) = tasks.join_next().await {
        finished(Some(done))?;
    }
    Ok(())
}

type Filled = Option<Result<Result<(), Status>, tokio::task::JoinError>>;

fn finished(done: Filled) -> Result<()> {
    match done {
        Some(done) => done.context("a filling task ended")?.context("the keys cannot be written"),
        None => Ok(()),
    }
}

async fn fill(mut requester: Requester, first: u64, last: u64) -> Result<(), Status> {
    let (keys, client) = (&requester.keys, &mut requester.client);
    let put = |number| {
        let put = PutRequest { key: keys.key(number), value: keys.value(), ..PutRequest::default() };
        RequestOp { request: Some(request_op::Request::RequestPut(put)) }
    };
    let request = TxnRequest { success: (first..last).map(put).collect(), ..TxnRequest::default() };
    client.txn(request).await.map(drop)
}
