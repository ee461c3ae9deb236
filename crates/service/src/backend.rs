//! What the front asks, put to the node of this process.

use crate::entry::Identity;
use crate::membership::{MembershipRules, member_list, reaches};
use crate::plan::Plan;
use bytes::Bytes;
use quorate_keyspace::{AlarmKind, Keyspace, KeyspaceError, LeaseAnswer, LeaseErrand, Query, Reply, Request};
use quorate_machine::{ClientBounds, ClientCommand, ClientId};
use quorate_node::{AskError, Consistency, MemberChange, RequestError};
use quorate_protocol::Role;
use quorate_runtime::{NodeHandle, Observation, Observer, RuntimeStatus};
use quorate_server::{
    Backend, BackendError, Backup, Header, LocalView, MemberList, MembershipChange, NodeCounts, NodeDetail, NodeStatus,
    PeerDetail, SessionAnswer, SessionCall, WatchDesk, WatchEntrance,
};
use quorate_types::{ClusterId, MemberRole, NodeId};
use quorate_wire::{decode_exact, encode_to_bytes};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// A member that keeps up takes over in milliseconds.
const HEIR_PATIENCE: Duration = Duration::from_millis(500);
/// A piece of a backup, about.
const BACKUP_PIECE_BYTES: usize = 256 * 1024;

/// How often a session's request that came before its turn is brought to the log once more before its client is told. Requests that a client
/// sends together overtake each other on the way through this process, and by then the others are there.
const MORE_TURNS: usize = 8;

/// What the loop tells the front without being asked. Relaxed throughout: each is read alone.
#[derive(Debug, Default)]
struct Live {
    revision: AtomicI64,
    compact_revision: AtomicI64,
    history_bytes: AtomicU64,
    keys: AtomicU64,
    term: AtomicU64,
    leader: AtomicU64,
    leader_changes: AtomicU64,
    learns: AtomicBool,
    is_witness: AtomicBool,
    leases: AtomicU64,
    alarms: AtomicU64,
    is_out_of_space: AtomicBool,
    puts: AtomicU64,
    deletes: AtomicU64,
    transactions: AtomicU64,
    /// Counted where they are asked for: they leave no trace in the state.
    ranges: AtomicU64,
}

impl Live {
    fn note(&self, seen: &Observation<'_, Keyspace>) {
        let Observation { state, era: term, leader, learns, is_witness, .. } = *seen;
        let leader = leader.map_or(0, |leader| leader.0);
        self.learns.store(learns, Ordering::Relaxed);
        // A part for life: the cluster told it before this node's own log does.
        self.is_witness.fetch_or(is_witness, Ordering::Relaxed);
        self.revision.store(state.revision(), Ordering::Relaxed);
        self.compact_revision.store(state.compact_revision(), Ordering::Relaxed);
        self.history_bytes.store(state.history_bytes(), Ordering::Relaxed);
        self.keys.store(state.live_keys(), Ordering::Relaxed);
        self.term.store(term, Ordering::Relaxed);
        self.leases.store(state.lease_count(), Ordering::Relaxed);
        self.alarms.store(state.alarms().count() as u64, Ordering::Relaxed);
        self.is_out_of_space.store(state.is_out_of_space(), Ordering::Relaxed);
        let applied = state.applied_counts();
        self.puts.store(applied.puts, Ordering::Relaxed);
        self.deletes.store(applied.deletes, Ordering::Relaxed);
        self.transactions.store(applied.transactions, Ordering::Relaxed);
        if self.leader.swap(leader, Ordering::Relaxed) != leader && leader != 0 {
            self.leader_changes.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The front's way to the node of this process.
pub(crate) struct KeyspaceBackend {
    cluster: u64,
    me: u64,
    name: String,
    protocol: &'static str,
    quota_backend_bytes: u64,
    rules: MembershipRules,
    live: Arc<Live>,
    watches: WatchEntrance,
    handle: NodeHandle<Keyspace>,
}

/// A backend that does not know its node yet.
pub(crate) struct Unconnected {
    cluster: u64,
    me: u64,
    name: String,
    protocol: &'static str,
    quota_backend_bytes: u64,
    rules: MembershipRules,
    live: Arc<Live>,
    watches: WatchEntrance,
}

impl Unconnected {
    /// Connects it.
    pub(crate) fn with_handle(self, handle: NodeHandle<Keyspace>) -> KeyspaceBackend {
        let Unconnected { cluster, me, name, protocol, quota_backend_bytes, rules, live, watches } = self;
        KeyspaceBackend { cluster, me, name, protocol, quota_backend_bytes, rules, live, watches, handle }
    }
}

impl KeyspaceBackend {
    /// Each heir is tried once, by the member that was asked for the change and not by the leader: leaders that are all to leave would hand the
    /// lead to each other without end. In vain, the change goes on all the same.
    async fn move_lead_before(&self, change: &MemberChange, status: &RuntimeStatus) {
        let leader = NodeId(self.live.leader.load(Ordering::Relaxed));
        for heir in self.rules.heirs(change, leader, status) {
            if let Ok(Ok(())) = tokio::time::timeout(HEIR_PATIENCE, self.handle.move_leader(heir)).await {
                return;
            }
        }
    }

    /// A session's request. One that came before its turn, as in a session in order, was not applied and is repeated.
    async fn write_in_turn(&self, command: Bytes) -> Result<Reply, RequestError> {
        let mut result = self.handle.write(command.clone()).await;
        for _ in 0..MORE_TURNS {
            if result.as_ref().err() != Some(&RequestError::BeforeItsTurn) {
                break;
            }
            result = self.handle.write(command.clone()).await;
        }
        result
    }

    /// A backend, and the observer by which the node's loop keeps it up to date and serves its watchers.
    pub(crate) fn prepare(plan: &Plan, identity: &Identity) -> (Unconnected, Observer<Keyspace>) {
        let live = Arc::new(Live { is_witness: AtomicBool::new(identity.joins_as_witness), ..Live::default() });
        let seen = Arc::clone(&live);
        let (mut desk, watches) = WatchDesk::new(&plan.server);
        let observer = Box::new(move |observation: &Observation<'_, Keyspace>| {
            seen.note(observation);
            desk.advance(observation.state, observation.now);
        });
        let backend = Unconnected {
            cluster: identity.cluster.0,
            me: identity.me.0,
            name: plan.name.clone(),
            protocol: plan.protocol.name(),
            quota_backend_bytes: plan.quota_backend_bytes,
            rules: MembershipRules {
                learners_max: plan.learners_max,
                strict: plan.strict_reconfiguration,
                leads_move_first: plan.protocol.leaves_no_heir(),
            },
            live,
            watches,
        };
        (backend, observer)
    }

    /// Has the node's loop take a round whenever watchers want one. Never ends.
    pub(crate) async fn keep_watchers_served(&self) {
        loop {
            self.watches.wanted().await;
            self.handle.wake();
        }
    }

    fn header(&self, revision: i64) -> Header {
        Header {
            cluster_id: self.cluster,
            member_id: self.me,
            revision,
            raft_term: self.live.term.load(Ordering::Relaxed),
        }
    }

    fn is_witness(&self) -> bool {
        self.live.is_witness.load(Ordering::Relaxed)
    }

    /// Without space, every replica would refuse what grows; but on its way there it would take space in every journal. This member
    /// may be behind: that there is room again was perhaps said elsewhere already.
    async fn check_space(&self, request: &Request) -> Result<(), BackendError> {
        if !request.grows() || !self.live.is_out_of_space.load(Ordering::Relaxed) {
            return Ok(());
        }
        let found = self.handle.read(Query::Alarms, Consistency::Linearizable).await.map_err(backend_error)?;
        match found {
            Reply::Alarms { alarms, .. } if alarms.iter().all(|alarm| alarm.kind != AlarmKind::NoSpace) => Ok(()),
            _ => Err(KeyspaceError::NoSpace.into()),
        }
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
            is_learner: self.live.learns.load(Ordering::Relaxed) && !self.is_witness(),
            is_witness: self.is_witness(),
        }
    }

    async fn write(&self, request: Request) -> Result<Reply, BackendError> {
        self.check_space(&request).await?;
        let reply = self.handle.write(encode_to_bytes(&request)).await.map_err(backend_error)?;
        refused_by_the_keyspace(reply)
    }

    async fn read(&self, query: Query, consistency: Consistency) -> Result<Reply, BackendError> {
        if matches!(query, Query::Range(_)) {
            self.live.ranges.fetch_add(1, Ordering::Relaxed);
        }
        refused_by_the_keyspace(self.handle.read(query, consistency).await.map_err(backend_error)?)
    }

    async fn lease(&self, errand: LeaseErrand) -> Result<LeaseAnswer, BackendError> {
        let answer: Bytes = self.handle.errand(encode_to_bytes(&errand)).await.map_err(backend_error)?;
        // A leader of another version may know other answers.
        Ok(decode_exact(answer).unwrap_or(LeaseAnswer::Malformed))
    }

    async fn open_session(&self, in_order: bool) -> Result<(ClientId, u64), BackendError> {
        let nonce = getrandom::u64()
            .map_err(|error| BackendError::Other(format!("no number can be drawn for a session: {error}")))?;
        let client = ClientId { cluster: ClusterId(self.cluster), nonce };
        let open = ClientCommand::Open { client, bounds: ClientBounds::default(), in_order };
        match self.handle.write(encode_to_bytes(&open)).await.map_err(backend_error)? {
            Reply::SessionOpened { client, window } => Ok((client, window)),
            other => Err(BackendError::Other(format!("opening a session was answered with {other:?}"))),
        }
    }

    async fn call_in_session(&self, call: SessionCall) -> Result<SessionAnswer, BackendError> {
        let SessionCall { client, sequence, acked_below, is_retry, request } = call;
        if !is_retry {
            self.check_space(&request).await?;
        }
        let payload = encode_to_bytes(&request);
        let command = ClientCommand::Call { client, sequence, acked_below, payload };
        match self.write_in_turn(encode_to_bytes(&command)).await {
            Ok(reply) => Ok(SessionAnswer::Reply(reply)),
            Err(RequestError::SessionExpired) => Ok(SessionAnswer::Expired),
            Err(RequestError::Acknowledged) => Ok(SessionAnswer::Acknowledged),
            Err(RequestError::ReplyNotKept) => Ok(SessionAnswer::NotKept),
            Err(error) => Err(backend_error(error)),
        }
    }

    async fn close_session(&self, client: ClientId) -> Result<(), BackendError> {
        let close = ClientCommand::Close { client };
        self.handle.write(encode_to_bytes(&close)).await.map_err(backend_error).map(|_| ())
    }

    fn watches(&self) -> &WatchEntrance {
        &self.watches
    }

    async fn backup(&self) -> Result<Backup, BackendError> {
        if self.is_witness() {
            return Err(BackendError::Witness);
        }
        let mut taken = self.handle.backup().await.map_err(backend_error)?;
        let total_bytes = taken.remaining_bytes();
        let (sender, pieces) = mpsc::channel(1);
        // At the pace of whoever takes it. One that breaks off ends short of what was announced.
        tokio::spawn(async move {
            while let Ok(Some(piece)) = taken.next(BACKUP_PIECE_BYTES).await {
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Ok(Backup { total_bytes, pieces })
    }

    async fn members(&self, linearizable: bool) -> Result<MemberList, BackendError> {
        if linearizable {
            // A read of nothing: it proves that a quorum still agrees on who leads, and so on who belongs.
            self.handle.read(Query::Revision, Consistency::Linearizable).await.map_err(backend_error)?;
        }
        let status = self.runtime_status().await?;
        Ok(MemberList { header: self.local().header, members: member_list(&status) })
    }

    async fn change_members(&self, change: MembershipChange) -> Result<(u64, MemberList), BackendError> {
        // A read of nothing, so that what is refused below is refused for how the members are now.
        self.handle.read(Query::Revision, Consistency::Linearizable).await.map_err(backend_error)?;
        let status = self.runtime_status().await?;
        let (id, change) = self.rules.command(change, &status)?;
        self.move_lead_before(&change, &status).await;
        self.handle.change_members(change).await.map_err(ask_error)?;
        let status = self.runtime_status().await?;
        Ok((id, MemberList { header: self.local().header, members: member_list(&status) }))
    }

    async fn move_leader(&self, to: u64) -> Result<(), BackendError> {
        let view = self.local();
        if view.leader_id != self.me {
            return Err(BackendError::NotLeader);
        }
        let status = self.runtime_status().await?;
        let may_lead = |member: &quorate_server::Member| member.id == to && !member.is_learner && !member.is_witness;
        if !member_list(&status).iter().any(may_lead) {
            return Err(BackendError::BadLeaderTransferee);
        }
        if !reaches(&status, NodeId(to)) {
            // It could not take over; finding out by trying would stop all writes for an election timeout.
            return Err(BackendError::TimedOutLeaderTransfer);
        }
        self.handle.move_leader(NodeId(to)).await.map_err(ask_error)
    }

    async fn status(&self) -> Result<NodeStatus, BackendError> {
        let status = self.runtime_status().await?;
        let view = self.local();
        let protocol = &status.node.protocol;
        let history_bytes = self.live.history_bytes.load(Ordering::Relaxed);
        Ok(NodeStatus {
            header: view.header,
            leader_id: view.leader_id,
            is_learner: view.is_learner,
            // What is not checkpointed yet will be: the store on disk is behind the one in memory.
            db_size_bytes: status.node.store_bytes.max(history_bytes),
            db_size_in_use_bytes: history_bytes,
            committed_index: protocol.committed.0,
            applied_index: status.node.applied.0,
            errors: Vec::new(),
            counts: NodeCounts {
                leader_changes_seen: Some(self.live.leader_changes.load(Ordering::Relaxed)),
                proposals_pending: Some(status.node.machine.outstanding_writes as u64),
                keys: Some(self.live.keys.load(Ordering::Relaxed)),
                compact_revision: u64::try_from(self.live.compact_revision.load(Ordering::Relaxed)).ok(),
                quota_backend_bytes: Some(self.quota_backend_bytes),
                ranges: Some(self.live.ranges.load(Ordering::Relaxed)),
                puts: Some(self.live.puts.load(Ordering::Relaxed)),
                deletes: Some(self.live.deletes.load(Ordering::Relaxed)),
                transactions: Some(self.live.transactions.load(Ordering::Relaxed)),
                leases: Some(self.live.leases.load(Ordering::Relaxed)),
                alarms: Some(self.live.alarms.load(Ordering::Relaxed)),
                client_sessions: Some(status.node.machine.client_sessions as u64),
                kept_reply_bytes: Some(status.node.machine.kept_reply_bytes),
                expired_sessions: Some(status.node.machine.expired_sessions),
                recalled_replies: Some(status.node.machine.recalled_replies),
                disk_free_bytes: status.node.free_bytes,
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
        let said = status.particulars.iter();
        let said = said.map(|(name, value)| ((*name).to_owned(), value.clone()));
        let particulars = said.chain(crate::membership::not_written_down(status));
        NodeDetail {
            name: self.name.clone(),
            protocol: self.protocol.to_owned(),
            role: role_of(&status.node).to_owned(),
            incarnation: status.node.incarnation.0,
            first_index: protocol.first.0,
            last_index: protocol.last.0,
            durable_index: protocol.durable.0,
            checkpointed_index: status.node.checkpointed.0,
            journal_bytes: status.node.journal_bytes,
            writes_outstanding: status.node.machine.outstanding_writes as u64,
            messages_dropped: status.messages_dropped,
            peers: peers.collect(),
            particulars: particulars.collect(),
        }
    }
}

/// One that is on its way to belong is not called an outsider, nor a learner, which it is not to stay.
fn role_of(node: &quorate_node::NodeStatus) -> &'static str {
    let role = node.protocol.role;
    match (role, node.protocol.membership.get(node.me).map(|member| member.role)) {
        (Role::Learner, Some(MemberRole::Joining)) => "joining",
        (Role::Outsider, _) if !node.roster.is_removed(node.me) => "joining",
        _ => role.name(),
    }
}

fn backend_error(error: RequestError) -> BackendError {
    match error {
        RequestError::TooManyRequests => BackendError::TooManyRequests,
        RequestError::TooLarge => BackendError::RequestTooLarge,
        RequestError::BeforeItsTurn => BackendError::BeforeItsTurn,
        RequestError::NoLeader => BackendError::NoLeader,
        RequestError::TimedOut | RequestError::Unknown => BackendError::TimedOut,
        RequestError::Stopped => BackendError::ServerStopped,
        RequestError::Unsupported(what) => BackendError::Unsupported(what.to_owned()),
        error @ (RequestError::SessionExpired | RequestError::Acknowledged | RequestError::ReplyNotKept) => {
            BackendError::Other(error.to_string())
        }
        RequestError::Witness => BackendError::Witness,
        RequestError::AlreadyDecided => BackendError::Unsupported("a single decree is no store".to_owned()),
    }
}

fn ask_error(error: AskError) -> BackendError {
    match error {
        AskError::Request(error) => backend_error(error),
        AskError::NotFound => BackendError::MemberNotFound,
        AskError::IdTaken => BackendError::MemberExists,
        AskError::PeerUrlTaken => BackendError::PeerUrlExists,
        AskError::NotLearner => BackendError::MemberNotLearner,
        AskError::NotInSync => BackendError::LearnerNotReady,
        AskError::TooManyLearners => BackendError::TooManyLearners,
        AskError::NotEnoughStarted => BackendError::NotEnoughStartedMembers,
        AskError::BadTransferee => BackendError::BadLeaderTransferee,
        AskError::TransferInVain => BackendError::TimedOutLeaderTransfer,
        AskError::Senseless(why) => BackendError::Other(why),
    }
}

fn refused_by_the_keyspace(reply: Reply) -> Result<Reply, BackendError> {
    match reply {
        Reply::Error(error) => Err(error.into()),
        reply => Ok(reply),
    }
}
