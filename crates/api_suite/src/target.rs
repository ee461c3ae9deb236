//! What a case works on: a cluster, one of its members as the home of the case, and a key prefix of its own.

use crate::expect::Failure;
use crate::proto::etcdserverpb::cluster_client::ClusterClient;
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::etcdserverpb::lease_client::LeaseClient;
use crate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp,
    ResponseHeader, StatusRequest, TxnRequest, TxnResponse,
};
use crate::proto::mvccpb::KeyValue;
use crate::proto::v3electionpb::election_client::ElectionClient;
use crate::proto::v3lockpb::lock_client::LockClient;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Which implementation answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// etcd itself.
    Etcd,
    /// Quorate, known by its own part of the status.
    Quorate,
}

/// A cluster seen by one case. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Target {
    channels: Arc<Vec<Channel>>,
    system: System,
    home: usize,
    prefix: Vec<u8>,
}

impl Target {
    /// Connects to all members; asks the first which implementation it is.
    ///
    /// # Errors
    /// An endpoint is no address, or nobody answers there.
    pub async fn connect(endpoints: &[String]) -> Result<Target, Failure> {
        let mut channels = Vec::new();
        for endpoint in endpoints {
            let url = if endpoint.contains("://") { endpoint.clone() } else { format!("http://{endpoint}") };
            let channel = Endpoint::from_shared(url)
                .map_err(|error| Failure(format!("{endpoint} is no endpoint: {error}")))?
                .connect_timeout(CONNECT_TIMEOUT)
                .connect()
                .await
                .map_err(|error| Failure(format!("nobody answers at {endpoint}: {error:?}")))?;
            channels.push(channel);
        }
        let first = channels.first().cloned().ok_or_else(|| Failure("no endpoints are given".to_owned()))?;
        let status = MaintenanceClient::new(first).status(StatusRequest {}).await?.into_inner();
        let system = if status.quorate.is_some() { System::Quorate } else { System::Etcd };
        Ok(Target { channels: Arc::new(channels), system, home: 0, prefix: b"api-suite/".to_vec() })
    }

    /// The same cluster for one more case: another home, keys of its own.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn for_case(&self, count: usize) -> Result<Target, Failure> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| Failure(format!("no random bytes: {error}")))?;
        let prefix = format!("api-suite/{:016x}/", u64::from_be_bytes(random)).into_bytes();
        Ok(Target { home: count % self.channels.len(), prefix, ..self.clone() })
    }

    /// Which implementation answers.
    pub fn system(&self) -> System {
        self.system
    }

    /// What is expected here, where the implementations differ on purpose.
    pub fn differing<T>(&self, _argued: &crate::differences::Difference, on_etcd: T, on_quorate: T) -> T {
        match self.system {
            System::Etcd => on_etcd,
            System::Quorate => on_quorate,
        }
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.channels.len()
    }

    /// The same case, asking another member: the `step`-th after its home.
    pub fn elsewhere(&self, step: usize) -> Target {
        Target { home: (self.home + step) % self.channels.len(), ..self.clone() }
    }

    /// The connection to the home.
    pub fn channel(&self) -> Channel {
        self.channels[self.home].clone()
    }

    /// A key of this case's own.
    pub fn key(&self, name: &str) -> Bytes {
        self.key_of_bytes(name.as_bytes())
    }

    /// A key of this case's own, of any bytes.
    pub fn key_of_bytes(&self, name: &[u8]) -> Bytes {
        [&self.prefix, name].concat().into()
    }

    /// Where the case's own keys end.
    pub fn end(&self) -> Bytes {
        let mut end = self.prefix.clone();
        if let Some(last) = end.last_mut() {
            *last += 1; // It is a slash.
        }
        end.into()
    }

    /// A key without the case's prefix, for people.
    pub fn name(&self, key: &[u8]) -> String {
        String::from_utf8_lossy(key.strip_prefix(self.prefix.as_slice()).unwrap_or(key)).into_owned()
    }

    /// Keys without prefixes, in order.
    pub fn names(&self, pairs: &[KeyValue]) -> Vec<String> {
        pairs.iter().map(|pair| self.name(&pair.key)).collect()
    }

    /// Each `key=value`, without prefixes, in order.
    pub fn shown(&self, pairs: &[KeyValue]) -> Vec<String> {
        pairs.iter().map(|pair| format!("{}={}", self.name(&pair.key), String::from_utf8_lossy(&pair.value))).collect()
    }

    /// The key-value service at the home.
    pub fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel()).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX)
    }

    /// The lease service at the home.
    pub fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel())
    }

    /// The maintenance service at the home.
    pub fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel()).max_decoding_message_size(usize::MAX)
    }

    /// The cluster service at the home.
    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel())
    }

    /// The lock service at the home.
    pub fn lock(&self) -> LockClient<Channel> {
        LockClient::new(self.channel())
    }

    /// The election service at the home.
    pub fn election(&self) -> ElectionClient<Channel> {
        ElectionClient::new(self.channel())
    }

    /// Asks for a range.
    ///
    /// # Errors
    /// The refusal.
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Status> {
        self.kv().range(request).await.map(tonic::Response::into_inner)
    }

    /// Puts a pair.
    ///
    /// # Errors
    /// The refusal.
    pub async fn put(&self, request: PutRequest) -> Result<PutResponse, Status> {
        self.kv().put(request).await.map(tonic::Response::into_inner)
    }

    /// Deletes a range.
    ///
    /// # Errors
    /// The refusal.
    pub async fn delete(&self, request: DeleteRangeRequest) -> Result<DeleteRangeResponse, Status> {
        self.kv().delete_range(request).await.map(tonic::Response::into_inner)
    }

    /// Performs a transaction.
    ///
    /// # Errors
    /// The refusal.
    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Status> {
        self.kv().txn(request).await.map(tonic::Response::into_inner)
    }

    /// Puts a pair; returns its revision.
    ///
    /// # Errors
    /// The refusal.
    pub async fn write(&self, name: &str, value: &str) -> Result<i64, Status> {
        self.put(self.put_request(name, value)).await.map(|answer| revision(answer.header.as_ref()))
    }

    /// Puts several pairs; returns their revisions.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn write_all(&self, pairs: &[(&str, &str)]) -> Result<Vec<i64>, Status> {
        let mut revisions = Vec::new();
        for (name, value) in pairs {
            revisions.push(self.write(name, value).await?);
        }
        Ok(revisions)
    }

    /// Deletes a key; returns the revision answered.
    ///
    /// # Errors
    /// The refusal.
    pub async fn remove(&self, name: &str) -> Result<i64, Status> {
        self.delete(self.delete_request(name)).await.map(|answer| revision(answer.header.as_ref()))
    }

    /// The pair under a key, if there is one.
    ///
    /// # Errors
    /// The refusal.
    pub async fn read(&self, name: &str) -> Result<Option<KeyValue>, Status> {
        self.range(self.get_request(name)).await.map(|answer| answer.kvs.into_iter().next())
    }

    /// The value under a key, as text.
    ///
    /// # Errors
    /// The refusal.
    pub async fn value(&self, name: &str) -> Result<Option<String>, Status> {
        Ok(self.read(name).await?.map(|pair| String::from_utf8_lossy(&pair.value).into_owned()))
    }

    /// The store's revision now.
    ///
    /// # Errors
    /// The refusal.
    pub async fn revision(&self) -> Result<i64, Status> {
        self.range(self.get_request("any")).await.map(|answer| revision(answer.header.as_ref()))
    }

    /// A range of one key.
    pub fn get_request(&self, name: &str) -> RangeRequest {
        RangeRequest { key: self.key(name), ..RangeRequest::default() }
    }

    /// A range of all keys of the case.
    pub fn all_request(&self) -> RangeRequest {
        RangeRequest { key: self.key(""), range_end: self.end(), ..RangeRequest::default() }
    }

    /// A put of one pair.
    pub fn put_request(&self, name: &str, value: &str) -> PutRequest {
        PutRequest { key: self.key(name), value: value.to_owned().into(), ..PutRequest::default() }
    }

    /// A deletion of one key.
    pub fn delete_request(&self, name: &str) -> DeleteRangeRequest {
        DeleteRangeRequest { key: self.key(name), ..DeleteRangeRequest::default() }
    }

    /// A deletion of all keys of the case.
    pub fn delete_all_request(&self) -> DeleteRangeRequest {
        DeleteRangeRequest { key: self.key(""), range_end: self.end(), ..DeleteRangeRequest::default() }
    }

    /// A read as a step of a transaction.
    pub fn get_op(&self, name: &str) -> RequestOp {
        range_op(self.get_request(name))
    }

    /// A put as a step of a transaction.
    pub fn put_op(&self, name: &str, value: &str) -> RequestOp {
        put_op(self.put_request(name, value))
    }

    /// A deletion as a step of a transaction.
    pub fn delete_op(&self, name: &str) -> RequestOp {
        delete_op(self.delete_request(name))
    }

    /// A comparison of one key.
    pub fn compare(&self, name: &str, result: CompareResult, against: TargetUnion) -> Compare {
        let target = match against {
            TargetUnion::Version(_) => CompareTarget::Version,
            TargetUnion::CreateRevision(_) => CompareTarget::Create,
            TargetUnion::ModRevision(_) => CompareTarget::Mod,
            TargetUnion::Value(_) => CompareTarget::Value,
            TargetUnion::Lease(_) => CompareTarget::Lease,
        };
        Compare {
            result: result.into(),
            target: target.into(),
            key: self.key(name),
            range_end: Bytes::new(),
            target_union: Some(against),
        }
    }
}

/// A read as a step of a transaction.
pub fn range_op(request: RangeRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestRange(request)) }
}

/// A put as a step of a transaction.
pub fn put_op(request: PutRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestPut(request)) }
}

/// A deletion as a step of a transaction.
pub fn delete_op(request: DeleteRangeRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestDeleteRange(request)) }
}

/// A transaction as a step of a transaction.
pub fn txn_op(request: TxnRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestTxn(request)) }
}

/// A transaction that always does these steps.
pub fn always(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { success, ..TxnRequest::default() }
}

/// The revision a header tells, 0 without one.
pub fn revision(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}
