//! The smallest store the front can stand on: one map of the newest pairs, in memory, with switches for what can go wrong.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use quorate_server::{
    Backend, BackendError, DeleteAnswer, DeleteCommand, Header, KeyValue, LocalView, Member, MemberList, NodeCounts,
    NodeDetail, NodeStatus, PutAnswer, PutCommand, RangeAnswer, RangeQuery, SortOrder, SortTarget,
};
use tokio::sync::Semaphore;

pub const CLUSTER_ID: u64 = 0xC0FFEE;
pub const MEMBER_ID: u64 = 0xA1;
pub const TERM: u64 = 7;

pub struct MemoryBackend {
    store: Mutex<Store>,
    /// 0 for none.
    pub leader_id: AtomicU64,
    pub is_learner: AtomicBool,
    /// What every read and write is refused with, while set.
    pub refuse_with: Mutex<Option<BackendError>>,
    /// Writes wait here for a permit while `stalled`.
    pub stalled: AtomicBool,
    pub write_permits: Semaphore,
    /// Writes that reached the backend, answered or not.
    pub writes_begun: AtomicU64,
}

#[derive(Default)]
struct Store {
    revision: i64,
    pairs: BTreeMap<Bytes, KeyValue>,
    puts: u64,
}

impl MemoryBackend {
    pub fn new() -> Self {
        Self {
            store: Mutex::new(Store { revision: 1, ..Store::default() }),
            leader_id: AtomicU64::new(MEMBER_ID),
            is_learner: AtomicBool::new(false),
            refuse_with: Mutex::new(None),
            stalled: AtomicBool::new(false),
            write_permits: Semaphore::new(0),
            writes_begun: AtomicU64::new(0),
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("no test panics while it holds the store")
    }

    fn refusal(&self) -> Result<(), BackendError> {
        self.refuse_with.lock().expect("no test panics while it holds this").clone().map_or(Ok(()), Err)
    }

    async fn begin_write(&self) -> Result<(), BackendError> {
        self.writes_begun.fetch_add(1, Ordering::SeqCst);
        self.refusal()?;
        if self.stalled.load(Ordering::SeqCst) {
            self.write_permits.acquire().await.expect("never closed").forget();
        }
        Ok(())
    }
}

impl Store {
    fn header(&self) -> Header {
        Header { cluster_id: CLUSTER_ID, member_id: MEMBER_ID, revision: self.revision, raft_term: TERM }
    }

    fn pairs_in(&self, key: &Bytes, range_end: &Bytes) -> Vec<KeyValue> {
        let end = match range_end.as_ref() {
            [] => Bound::Included(key.clone()),
            [0] => Bound::Unbounded,
            end if end <= key.as_ref() => return Vec::new(),
            _ => Bound::Excluded(range_end.clone()),
        };
        self.pairs.range((Bound::Included(key.clone()), end)).map(|(_, pair)| pair.clone()).collect()
    }
}

impl Backend for MemoryBackend {
    fn local(&self) -> LocalView {
        LocalView {
            header: self.store().header(),
            leader_id: self.leader_id.load(Ordering::SeqCst),
            is_learner: self.is_learner.load(Ordering::SeqCst),
        }
    }

    async fn range(&self, query: RangeQuery) -> Result<RangeAnswer, BackendError> {
        self.refusal()?;
        if !query.serializable && self.local().leader_id == 0 {
            return Err(BackendError::NoLeader);
        }
        let store = self.store();
        if query.revision > store.revision {
            return Err(BackendError::FutureRevision);
        }
        if query.revision != 0 && query.revision != store.revision {
            return Err(BackendError::Unsupported("a read of the past".into()));
        }
        let mut pairs = store.pairs_in(&query.key, &query.range_end);
        let count = i64::try_from(pairs.len()).expect("a test has few pairs");
        pairs.retain(|pair| passes_filters(&query, pair));
        sort(&mut pairs, query.sort_order, query.sort_target);
        let limit = usize::try_from(query.limit).expect("the front lets no negative limit through");
        let more = limit != 0 && pairs.len() > limit;
        if more {
            pairs.truncate(limit);
        }
        if query.count_only {
            return Ok(RangeAnswer { header: store.header(), pairs: Vec::new(), more: false, count });
        }
        if query.keys_only {
            pairs.iter_mut().for_each(|pair| pair.value = Bytes::new());
        }
        Ok(RangeAnswer { header: store.header(), pairs, more, count })
    }

    async fn put(&self, command: PutCommand) -> Result<PutAnswer, BackendError> {
        self.begin_write().await?;
        let mut store = self.store();
        let previous = store.pairs.get(&command.key).cloned();
        let old = match (&previous, command.ignore_value || command.ignore_lease) {
            (None, true) => return Err(BackendError::KeyNotFound),
            _ => previous.clone().unwrap_or_default(),
        };
        store.revision += 1;
        store.puts += 1;
        let mod_revision = store.revision;
        let create_revision = if old.version == 0 { mod_revision } else { old.create_revision };
        let value = if command.ignore_value { old.value } else { command.value };
        let lease = if command.ignore_lease { old.lease } else { command.lease };
        let key = command.key;
        let pair = KeyValue { key: key.clone(), value, create_revision, mod_revision, version: old.version + 1, lease };
        store.pairs.insert(key, pair);
        Ok(PutAnswer { header: store.header(), previous: previous.filter(|_| command.prev_kv) })
    }

    async fn delete_range(&self, command: DeleteCommand) -> Result<DeleteAnswer, BackendError> {
        self.begin_write().await?;
        let mut store = self.store();
        let previous = store.pairs_in(&command.key, &command.range_end);
        store.revision += i64::from(!previous.is_empty());
        for pair in &previous {
            store.pairs.remove(&pair.key);
        }
        let deleted = i64::try_from(previous.len()).expect("a test has few pairs");
        let previous = if command.prev_kv { previous } else { Vec::new() };
        Ok(DeleteAnswer { header: store.header(), deleted, previous })
    }

    async fn members(&self, linearizable: bool) -> Result<MemberList, BackendError> {
        if linearizable && self.local().leader_id == 0 {
            return Err(BackendError::NoLeader);
        }
        let member = Member {
            id: MEMBER_ID,
            name: "memory".into(),
            peer_urls: vec!["http://127.0.0.1:2380".into()],
            client_urls: vec!["http://127.0.0.1:2379".into()],
            is_learner: self.local().is_learner,
        };
        Ok(MemberList { header: self.store().header(), members: vec![member] })
    }

    async fn status(&self) -> Result<NodeStatus, BackendError> {
        self.refusal()?;
        let LocalView { header, leader_id, is_learner } = self.local();
        let store = self.store();
        let counts = NodeCounts { puts: Some(store.puts), ..NodeCounts::default() };
        Ok(NodeStatus {
            header,
            leader_id,
            is_learner,
            db_size_bytes: 20_480,
            db_size_in_use_bytes: 16_384,
            committed_index: 42,
            applied_index: 41,
            errors: Vec::new(),
            counts,
            detail: NodeDetail { name: "memory".to_owned(), role: "leader".to_owned(), ..NodeDetail::default() },
        })
    }
}

fn passes_filters(query: &RangeQuery, pair: &KeyValue) -> bool {
    let within = |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    within(pair.mod_revision, query.min_mod_revision, query.max_mod_revision)
        && within(pair.create_revision, query.min_create_revision, query.max_create_revision)
}

fn sort(pairs: &mut [KeyValue], order: SortOrder, target: SortTarget) {
    pairs.sort_by(|left, right| {
        let ordering = match target {
            SortTarget::Key => left.key.cmp(&right.key),
            SortTarget::Version => left.version.cmp(&right.version),
            SortTarget::CreateRevision => left.create_revision.cmp(&right.create_revision),
            SortTarget::ModRevision => left.mod_revision.cmp(&right.mod_revision),
            SortTarget::Value => left.value.cmp(&right.value),
        };
        if order == SortOrder::Descending { ordering.reverse() } else { ordering }
    });
}
