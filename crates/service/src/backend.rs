//! The store behind the etcd front: its requests in the keyspace's terms, and the errors in the front's.

use super::plan::Plan;
use quorate_keyspace::{self as keyspace, Keyspace, KeyspaceError, Query, Reply, Request};
use quorate_node::{Consistency, RequestError};
use quorate_protocol::Replica;
use quorate_raft::Raft;
use quorate_runtime::{NodeHandle, Observer, RuntimeStatus};
use quorate_server::{
    Backend, BackendError, DeleteAnswer, DeleteCommand, Header, KeyValue, LocalView, Member, MemberList, NodeCounts,
    NodeDetail, NodeStatus, PeerDetail, PutAnswer, PutCommand, RangeAnswer, RangeQuery, SortOrder, SortTarget,
};
use quorate_wire::encode_to_bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What the loop tells the front without being asked.
#[derive(Debug, Default)]
struct Live {
    revision: AtomicI64,
    term: AtomicU64,
    leader: AtomicU64,
    leader_changes: AtomicU64,
}

/// The front's way to the node of this process.
pub struct KeyspaceBackend {
    cluster: u64,
    me: u64,
    name: String,
    live: Arc<Live>,
    handle: NodeHandle<Keyspace>,
}

/// A backend that does not know its node yet.
pub struct Unconnected {
    cluster: u64,
    me: u64,
    name: String,
    live: Arc<Live>,
}

impl Unconnected {
    /// Connects it.
    pub fn with_handle(self, handle: NodeHandle<Keyspace>) -> KeyspaceBackend {
        KeyspaceBackend { cluster: self.cluster, me: self.me, name: self.name, live: self.live, handle }
    }
}

impl KeyspaceBackend {
    /// A backend, and the observer by which the node's loop keeps it up to date.
    pub fn prepare(plan: &Plan) -> (Unconnected, Observer<Keyspace>) {
        let live = Arc::new(Live::default());
        let seen = Arc::clone(&live);
        let observer = Box::new(move |state: &Keyspace, term: u64, leader: Option<quorate_types::NodeId>, _| {
            let leader = leader.map_or(0, |leader| leader.0);
            seen.revision.store(state.revision(), Ordering::Relaxed);
            seen.term.store(term, Ordering::Relaxed);
            if seen.leader.swap(leader, Ordering::Relaxed) != leader && leader != 0 {
                seen.leader_changes.fetch_add(1, Ordering::Relaxed);
            }
        });
        (Unconnected { cluster: plan.cluster.0, me: plan.me.0, name: plan.name.clone(), live }, observer)
    }

    fn header(&self, revision: i64) -> Header {
        Header {
            cluster_id: self.cluster,
            member_id: self.me,
            revision,
            raft_term: self.live.term.load(Ordering::Relaxed),
        }
    }

    async fn write(&self, request: &Request) -> Result<Reply, BackendError> {
        let reply = self.handle.write(encode_to_bytes(request)).await.map_err(backend_error)?;
        refused_by_the_keyspace(reply)
    }

    async fn runtime_status(&self) -> Result<RuntimeStatus, BackendError> {
        self.handle.status().await.ok_or(BackendError::ServerStopped)
    }
}

impl Backend for KeyspaceBackend {
    fn local(&self) -> LocalView {
        LocalView {
            header: self.header(self.live.revision.load(Ordering::Relaxed)),
            leader_id: self.live.leader.load(Ordering::Relaxed),
            is_learner: false,
        }
    }

    async fn range(&self, query: RangeQuery) -> Result<RangeAnswer, BackendError> {
        let consistency = if query.serializable { Consistency::Local } else { Consistency::Linearizable };
        let reply = self.handle.read(Query::Range(range_request(query)), consistency).await.map_err(backend_error)?;
        match refused_by_the_keyspace(reply)? {
            Reply::Range { revision, kvs, more, count } => {
                let pairs = kvs.into_iter().map(pair).collect();
                Ok(RangeAnswer { header: self.header(revision), pairs, more, count })
            }
            other => Err(mismatch(&other)),
        }
    }

    async fn put(&self, command: PutCommand) -> Result<PutAnswer, BackendError> {
        let request = Request::Put(keyspace::PutRequest {
            key: command.key,
            value: command.value,
            lease: command.lease,
            prev_kv: command.prev_kv,
            ignore_value: command.ignore_value,
            ignore_lease: command.ignore_lease,
        });
        match self.write(&request).await? {
            Reply::Put { revision, prev_kv } => {
                Ok(PutAnswer { header: self.header(revision), previous: prev_kv.map(pair) })
            }
            other => Err(mismatch(&other)),
        }
    }

    async fn delete_range(&self, command: DeleteCommand) -> Result<DeleteAnswer, BackendError> {
        let request = Request::DeleteRange(keyspace::DeleteRangeRequest {
            key: command.key,
            range_end: command.range_end,
            prev_kv: command.prev_kv,
        });
        match self.write(&request).await? {
            Reply::Delete { revision, deleted, prev_kvs } => {
                let previous = prev_kvs.into_iter().map(pair).collect();
                Ok(DeleteAnswer { header: self.header(revision), deleted, previous })
            }
            other => Err(mismatch(&other)),
        }
    }

    async fn members(&self, linearizable: bool) -> Result<MemberList, BackendError> {
        if linearizable {
            // A read of nothing: it proves that a quorum still agrees on who leads, and so on who belongs.
            self.handle.read(Query::Revision, Consistency::Linearizable).await.map_err(backend_error)?;
        }
        let status = self.runtime_status().await?;
        let members = status.node.protocol.membership.members().iter();
        let members = members
            .map(|member| Member {
                id: member.id.0,
                name: member.name.clone(),
                peer_urls: member.peer_urls.clone(),
                client_urls: status.client_urls.get(&member.id).cloned().unwrap_or_default(),
                is_learner: !member.counts(),
            })
            .collect();
        Ok(MemberList { header: self.header(self.live.revision.load(Ordering::Relaxed)), members })
    }

    async fn status(&self) -> Result<NodeStatus, BackendError> {
        let status = self.runtime_status().await?;
        let view = self.local();
        let protocol = &status.node.protocol;
        Ok(NodeStatus {
            header: view.header,
            leader_id: view.leader_id,
            is_learner: false,
            db_size_bytes: status.node.store_bytes,
            db_size_in_use_bytes: status.node.store_bytes,
            committed_index: protocol.committed.0,
            applied_index: status.node.applied.0,
            errors: Vec::new(),
            counts: NodeCounts {
                leader_changes_seen: Some(self.live.leader_changes.load(Ordering::Relaxed)),
                proposals_pending: Some(status.node.machine.outstanding_writes as u64),
                ..NodeCounts::default()
            },
            detail: self.detail(&status),
        })
    }
}

impl KeyspaceBackend {
    fn detail(&self, status: &RuntimeStatus) -> NodeDetail {
        let protocol = &status.node.protocol;
        let peers = protocol.peers.iter().map(|peer| PeerDetail {
            id: peer.id.0,
            state: peer.state.to_owned(),
            matched_index: peer.matched.0,
            active: peer.active,
        });
        NodeDetail {
            name: self.name.clone(),
            protocol: Raft::PROTOCOL.to_owned(),
            role: protocol.role.name().to_owned(),
            incarnation: status.node.incarnation.0,
            first_index: protocol.first.0,
            last_index: protocol.last.0,
            durable_index: protocol.durable.0,
            checkpointed_index: status.node.checkpointed.0,
            journal_bytes: status.node.journal_bytes,
            writes_outstanding: status.node.machine.outstanding_writes as u64,
            messages_dropped: status.messages_dropped,
            peers: peers.collect(),
        }
    }
}

fn range_request(query: RangeQuery) -> keyspace::RangeRequest {
    keyspace::RangeRequest {
        key: query.key,
        range_end: query.range_end,
        limit: query.limit,
        revision: query.revision,
        sort_order: match query.sort_order {
            SortOrder::Ascending => keyspace::SortOrder::Ascend,
            SortOrder::Descending => keyspace::SortOrder::Descend,
        },
        sort_target: match query.sort_target {
            SortTarget::Key => keyspace::SortTarget::Key,
            SortTarget::Version => keyspace::SortTarget::Version,
            SortTarget::CreateRevision => keyspace::SortTarget::Create,
            SortTarget::ModRevision => keyspace::SortTarget::Mod,
            SortTarget::Value => keyspace::SortTarget::Value,
        },
        keys_only: query.keys_only,
        count_only: query.count_only,
        min_mod_revision: query.min_mod_revision,
        max_mod_revision: query.max_mod_revision,
        min_create_revision: query.min_create_revision,
        max_create_revision: query.max_create_revision,
    }
}

fn pair(pair: keyspace::KeyValue) -> KeyValue {
    KeyValue {
        key: pair.key,
        value: pair.value,
        create_revision: pair.create_revision,
        mod_revision: pair.mod_revision,
        version: pair.version,
        lease: pair.lease,
    }
}

fn backend_error(error: RequestError) -> BackendError {
    match error {
        RequestError::TooManyRequests => BackendError::TooManyRequests,
        RequestError::TooLarge => BackendError::RequestTooLarge,
        RequestError::NoLeader => BackendError::NoLeader,
        RequestError::TimedOut | RequestError::Unknown => BackendError::TimedOut,
        RequestError::Stopped => BackendError::ServerStopped,
        RequestError::Unsupported(what) => BackendError::Unsupported(what.to_owned()),
        RequestError::AlreadyDecided => BackendError::Unsupported("a single decree is no store".to_owned()),
    }
}

fn refused_by_the_keyspace(reply: Reply) -> Result<Reply, BackendError> {
    let Reply::Error(error) = reply else { return Ok(reply) };
    Err(match error {
        KeyspaceError::KeyNotProvided => BackendError::KeyNotProvided,
        KeyspaceError::KeyNotFound => BackendError::KeyNotFound,
        KeyspaceError::ValueProvided => BackendError::ValueProvided,
        KeyspaceError::LeaseProvided => BackendError::LeaseProvided,
        KeyspaceError::LeaseNotFound => BackendError::LeaseNotFound,
        KeyspaceError::Compacted => BackendError::Compacted,
        KeyspaceError::FutureRevision => BackendError::FutureRevision,
        KeyspaceError::InvalidSortOption => BackendError::InvalidSortOption,
        other => BackendError::Unsupported(other.to_string()),
    })
}

/// The keyspace answered something else than it was asked: a defect, told as one.
fn mismatch(reply: &Reply) -> BackendError {
    BackendError::Unsupported(format!("the keyspace gave an answer to another question: {reply:?}"))
}
