//! A real keyspace in memory behind the front, without a cluster, with switches for what can go wrong.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use bytes::Bytes;
use quorate_keyspace::{Keyspace, LeaseAnswer, LeaseErrand, LogPlace, Query, Reply, Request};
use quorate_machine::{ClientId, Consistency, StateMachine};
use quorate_server::{
    Backend, BackendError, Backup, Header, LocalView, Member, MemberList, MembershipChange, NewPart, NodeCounts,
    NodeDetail, NodeStatus, ServerConfig, SessionAnswer, SessionCall, WatchDesk, WatchEntrance,
};
use quorate_types::{Slot, Time};
use tokio::sync::{Semaphore, mpsc};

pub const CLUSTER_ID: u64 = 0xC0FFEE;
pub const MEMBER_ID: u64 = 0xA1;
pub const ADDED_ID: u64 = 0xA2;
pub const TERM: u64 = 7;

pub struct KeyspaceBackend {
    store: Mutex<Store>,
    watches: WatchEntrance,
    /// 0 for none.
    pub leader_id: AtomicU64,
    pub is_learner: AtomicBool,
    pub is_witness: AtomicBool,
    /// What every read and write is refused with, while set.
    pub refuse_with: Mutex<Option<BackendError>>,
    /// Writes wait here for a permit while `stalled`.
    pub stalled: AtomicBool,
    pub write_permits: Semaphore,
    /// Writes that reached the backend, answered or not.
    pub writes_begun: AtomicU64,
    /// The bytes of a backup.
    pub backup: Mutex<Vec<u8>>,
}

struct Store {
    keyspace: Keyspace,
    desk: WatchDesk,
    slot: u64,
    origin: Instant,
}

impl Store {
    /// A round of the loop.
    fn round(&mut self) {
        let nanos = u64::try_from(self.origin.elapsed().as_nanos()).unwrap();
        self.desk.advance(&self.keyspace, Time(nanos));
    }
}

impl KeyspaceBackend {
    /// Serves its watchers on a task of its own for as long as anybody holds it.
    pub fn start(config: &ServerConfig) -> Arc<Self> {
        let (desk, watches) = WatchDesk::new(config);
        let store = Store { keyspace: Keyspace::empty(), desk, slot: 0, origin: Instant::now() };
        let backend = Arc::new(Self {
            store: Mutex::new(store),
            watches: watches.clone(),
            leader_id: AtomicU64::new(MEMBER_ID),
            is_learner: AtomicBool::new(false),
            is_witness: AtomicBool::new(false),
            refuse_with: Mutex::new(None),
            stalled: AtomicBool::new(false),
            write_permits: Semaphore::new(0),
            writes_begun: AtomicU64::new(0),
            backup: Mutex::new(Vec::new()),
        });
        let served = Arc::downgrade(&backend);
        tokio::spawn(async move {
            loop {
                watches.wanted().await;
                let Some(backend) = served.upgrade() else { return };
                backend.store().round();
            }
        });
        backend
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("no test panics while it holds the store")
    }

    fn refusal(&self) -> Result<(), BackendError> {
        self.refuse_with.lock().expect("no test panics while it holds this").clone().map_or(Ok(()), Err)
    }

    fn header(&self) -> Header {
        let revision = self.store().keyspace.revision();
        Header { cluster_id: CLUSTER_ID, member_id: MEMBER_ID, revision, raft_term: TERM }
    }
}

fn answered(reply: Reply) -> Result<Reply, BackendError> {
    match reply {
        Reply::Error(error) => Err(error.into()),
        reply => Ok(reply),
    }
}

impl Backend for KeyspaceBackend {
    fn local(&self) -> LocalView {
        LocalView {
            header: self.header(),
            leader_id: self.leader_id.load(Ordering::SeqCst),
            is_learner: self.is_learner.load(Ordering::SeqCst),
            is_witness: self.is_witness.load(Ordering::SeqCst),
        }
    }

    async fn write(&self, request: Request) -> Result<Reply, BackendError> {
        self.writes_begun.fetch_add(1, Ordering::SeqCst);
        self.refusal()?;
        if self.stalled.load(Ordering::SeqCst) {
            self.write_permits.acquire().await.expect("never closed").forget();
        }
        let mut store = self.store();
        store.slot += 1;
        let place = LogPlace { slot: Slot(store.slot), index: 0 };
        let reply = store.keyspace.apply_request(place, &request);
        store.round();
        answered(reply)
    }

    async fn read(&self, query: Query, consistency: Consistency) -> Result<Reply, BackendError> {
        self.refusal()?;
        if consistency == Consistency::Linearizable && self.leader_id.load(Ordering::SeqCst) == 0 {
            return Err(BackendError::NoLeader);
        }
        // What a loop does when it has nothing else to do.
        while self.store().keyspace.tidy() {}
        answered(self.store().keyspace.query(&query))
    }

    /// Time stands still: a lease has always all of its own.
    async fn lease(&self, errand: LeaseErrand) -> Result<LeaseAnswer, BackendError> {
        let store = self.store();
        let (LeaseErrand::KeepAlive { id } | LeaseErrand::TimeToLive { id }) = errand;
        let Some(lease) = store.keyspace.lease(id) else { return Ok(LeaseAnswer::Unknown) };
        let ttl_seconds = lease.ttl_seconds;
        Ok(match errand {
            LeaseErrand::KeepAlive { .. } => LeaseAnswer::Renewed { ttl_seconds },
            LeaseErrand::TimeToLive { .. } => {
                LeaseAnswer::Remaining { remaining_seconds: ttl_seconds, granted_seconds: ttl_seconds }
            }
        })
    }

    /// What keeps replies is the machine around a keyspace, and there is none here.
    async fn open_session(&self, _: bool) -> Result<(ClientId, u64), BackendError> {
        Err(BackendError::Unsupported("Session.Open without a machine".to_owned()))
    }

    async fn call_in_session(&self, _: SessionCall) -> Result<SessionAnswer, BackendError> {
        Err(BackendError::Unsupported("Session.Call without a machine".to_owned()))
    }

    async fn close_session(&self, _: ClientId) -> Result<(), BackendError> {
        Err(BackendError::Unsupported("Session.Close without a machine".to_owned()))
    }

    fn watches(&self) -> &WatchEntrance {
        &self.watches
    }

    async fn backup(&self) -> Result<Backup, BackendError> {
        let bytes = Bytes::from(self.backup.lock().unwrap().clone());
        let (sender, pieces) = mpsc::channel(1);
        sender.try_send(bytes.clone()).expect("there is room for one");
        Ok(Backup { total_bytes: bytes.len() as u64, pieces })
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
            is_witness: self.local().is_witness,
        };
        Ok(MemberList { header: self.header(), members: vec![member] })
    }

    async fn change_members(&self, change: MembershipChange) -> Result<(u64, MemberList), BackendError> {
        let (id, added) = match change {
            MembershipChange::Add { part, .. } => (ADDED_ID, Some(part)),
            MembershipChange::Remove { id }
            | MembershipChange::Promote { id, .. }
            | MembershipChange::Update { id, .. } => (id, None),
        };
        let mut list = self.members(true).await?;
        match added {
            Some(part) => {
                let (is_learner, is_witness) = (part == NewPart::Learner, part == NewPart::Witness);
                list.members.push(Member { id, is_learner, is_witness, ..Member::default() });
            }
            None if id != MEMBER_ID => return Err(BackendError::MemberNotFound),
            None => {}
        }
        Ok((id, list))
    }

    async fn move_leader(&self, to: u64) -> Result<(), BackendError> {
        if to == MEMBER_ID { Ok(()) } else { Err(BackendError::BadLeaderTransferee) }
    }

    async fn status(&self) -> Result<NodeStatus, BackendError> {
        self.refusal()?;
        let LocalView { header, leader_id, is_learner, .. } = self.local();
        let counts = NodeCounts { keys: Some(self.store().keyspace.live_keys()), ..NodeCounts::default() };
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
