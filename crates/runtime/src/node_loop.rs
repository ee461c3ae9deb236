//! The loop: gather inputs, step each, settle once, carry out.

use crate::disk_thread::DiskLane;
use crate::era::era_for_people;
use crate::handle::{ClientArrival, RuntimeStatus};
use crate::peers::{PeerContext, PeerSender};
use crate::recording::Recording;
use crate::snapshot_log::SnapshotLog;
use crate::start::{Observation, Observer};
use crate::timers::Timers;
use bytes::Bytes;
use quorate_disk::DiskError;
use quorate_machine::StateMachine;
use quorate_node::{
    AskError, ClientTag, Lane, MemberFacts, Node, NodeInput, NodeMessage, NodeOutput, NodeTimer, RequestError,
    StopReason,
};
use quorate_protocol::{Env, LinkState, Replica};
use quorate_types::{Membership, NodeId, Slot, Time};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Inputs taken into one step/settle round, of each kind.
const ROUND_INPUTS_MAX: usize = 1024;

/// News from this process's own tasks and threads.
pub(crate) enum Internal<R: Replica> {
    Message { from: NodeId, message: NodeMessage<R> },
    Link { peer: NodeId, dialler: u64, state: LinkState },
    Met { facts: MemberFacts, peer_urls: Vec<String>, members_decided_at: Slot },
    DiskDone { lane: Lane, write: u64 },
    DiskFailed(DiskError),
    FreeSpace { free_bytes: u64 },
    Fatal(String),
}

/// Why a node ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StopCause {
    /// It was asked to.
    #[error("stopped on request")]
    Requested,
    /// Going on could give wrong answers.
    #[error("{0}")]
    Node(StopReason),
    /// The disk failed. What a failed flush left behind is unknown until it is read again from the medium.
    #[error(
        "the disk failed ({0}); the process stops so that nothing is claimed that is not durable. Check the disk, then start it again"
    )]
    Disk(DiskError),
    /// The other members refuse this node for good.
    #[error("{0}")]
    Refused(String),
}

/// The clock and a seeded generator.
struct RuntimeEnv {
    origin: Instant,
    now: Instant,
    random: u64,
}

impl RuntimeEnv {
    fn next_random(&mut self) -> u64 {
        // SplitMix64: seeded once at start, with the seed in the log.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fraction(&mut self) -> f64 {
        (self.next_random() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Env for RuntimeEnv {
    fn now(&self) -> Time {
        Time(u64::try_from(self.now.duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX))
    }

    fn choose(&mut self, bound: u64) -> u64 {
        self.next_random() % bound.max(1)
    }
}

/// One node with everything it needs to run.
pub(crate) struct NodeLoop<R: Replica, S: StateMachine> {
    pub(crate) node: Node<R, S>,
    pub(crate) internal: mpsc::Receiver<Internal<R>>,
    pub(crate) clients: mpsc::Receiver<ClientArrival<S>>,
    pub(crate) journal: DiskLane,
    pub(crate) store: DiskLane,
    pub(crate) context: Rc<PeerContext<R>>,
    /// Where peers are reached if the membership does not say.
    pub(crate) addresses: BTreeMap<NodeId, String>,
    pub(crate) seed: u64,
    pub(crate) observer: Observer<S>,
    pub(crate) recording: Recording<R>,
}

/// A node that said it knows of a change of the members which is not decided here yet. This node is told of the changes in between
/// one by one, and must be able to answer its guide all the while, also where those know nothing of it or of its address.
struct Guide {
    address: String,
    members_decided_at: Slot,
}

/// Who waits for what kind of answer.
enum Expecting<S: StateMachine> {
    Reply(Reply<S>),
    Answer(oneshot::Sender<Result<Bytes, RequestError>>),
    Asked(oneshot::Sender<Result<(), AskError>>),
}

type Reply<S> = oneshot::Sender<Result<<S as StateMachine>::Reply, RequestError>>;

/// What the loop keeps besides the node.
struct Driver<R: Replica, S: StateMachine> {
    env: RuntimeEnv,
    timers: Timers<NodeTimer<R::Timer>>,
    replies: HashMap<u64, Expecting<S>>,
    next_tag: u64,
    peers: BTreeMap<NodeId, PeerSender<R>>,
    /// New addresses of peers that are still connected at their old ones, until they answer there: who was told to move need not have
    /// moved yet, and its vote may be needed.
    moving: BTreeMap<NodeId, PeerSender<R>>,
    /// How many diallers there have been.
    diallers: u64,
    /// Those who know more of the members than this node, as they said themselves.
    guides: BTreeMap<NodeId, Guide>,
    /// What each member said of itself.
    met: BTreeMap<NodeId, MemberFacts>,
    /// Since when there is a connection to each.
    connected: BTreeMap<NodeId, Instant>,
    /// Era and leader, as last told.
    lead: (u64, Option<NodeId>),
    /// Whether this node learns, by those it was last told to reach.
    learns: bool,
    stop: Option<StopCause>,
}

impl<R: Replica, S: StateMachine> NodeLoop<R, S> {
    /// Runs until something ends the node, and until its disks are at rest. `boot_outputs` are what opening the node asked for.
    pub(crate) async fn run(mut self, boot_outputs: Vec<NodeOutput<R, S>>) -> StopCause {
        let cause = self.run_until_stopped(boot_outputs).await;
        self.close();
        cause
    }

    /// Waits until its disks are at rest.
    pub(crate) fn close(self) {
        // Nobody takes completions any more; a thread that waits to hand one over must not wait for ever.
        drop(self.internal);
        self.journal.close();
        self.store.close();
    }

    async fn run_until_stopped(&mut self, boot_outputs: Vec<NodeOutput<R, S>>) -> StopCause {
        let now = Instant::now();
        let mut driver = Driver {
            env: RuntimeEnv { origin: now, now, random: self.seed },
            timers: Timers::new(),
            replies: HashMap::new(),
            next_tag: 0,
            peers: BTreeMap::new(),
            moving: BTreeMap::new(),
            diallers: 0,
            guides: BTreeMap::new(),
            met: BTreeMap::new(),
            connected: BTreeMap::new(),
            lead: (0, None),
            learns: false,
            stop: None,
        };
        self.introduce_itself(&mut driver);
        let mut outputs = boot_outputs;
        let mut internal = Vec::new();
        let mut clients = Vec::new();
        let mut snapshot_log = SnapshotLog::default();
        let sleep = tokio::time::sleep_until(now);
        tokio::pin!(sleep);
        loop {
            self.carry_out(&mut driver, &mut outputs);
            self.recording.round(driver.env.now(), &mut self.node);
            let (era, leader) = driver.lead;
            self.note_roster();
            let (state, learns, now) = (self.node.state(), driver.learns, driver.env.now());
            let is_witness = self.node.is_witness();
            (self.observer)(&Observation { state, era, leader, learns, is_witness, now });
            snapshot_log.note(&self.node.snapshot_status());
            if let Some(cause) = driver.stop.take() {
                self.recording.end(driver.env.now(), &mut self.node, cause.to_string());
                return cause;
            }
            // A sleep that is too early only costs an empty round, so it is moved forward, not back on every reset.
            let earliest = driver.timers.earliest();
            if let Some(deadline) = earliest
                && (deadline < sleep.deadline() || sleep.is_elapsed())
            {
                sleep.as_mut().reset(deadline);
            }
            tokio::select! {
                _ = self.internal.recv_many(&mut internal, ROUND_INPUTS_MAX) => {}
                count = self.clients.recv_many(&mut clients, ROUND_INPUTS_MAX) => {
                    if count == 0 {
                        // Every handle is gone: nobody can ask or stop this node any more.
                        driver.stop.get_or_insert(StopCause::Requested);
                    }
                }
                () = &mut sleep, if earliest.is_some() => {}
            }
            drain_ready(&mut self.internal, &mut internal);
            drain_ready(&mut self.clients, &mut clients);
            driver.env.now = Instant::now();
            for news in internal.drain(..) {
                self.take_internal(&mut driver, news);
            }
            for arrival in clients.drain(..) {
                self.take_client(&mut driver, arrival);
            }
            for timer in driver.timers.take_expired(driver.env.now) {
                self.node.step(&mut driver.env, NodeInput::Expired(timer));
            }
            self.node.settle(&mut driver.env, &mut outputs);
        }
    }

    fn take_internal(&mut self, driver: &mut Driver<R, S>, news: Internal<R>) {
        let input = match news {
            Internal::Message { from, message } => NodeInput::Message { from, message },
            Internal::Link { peer, dialler, state } => {
                if state == LinkState::Up {
                    driver.finish_move(peer, dialler);
                }
                if driver.peers.get(&peer).is_none_or(|sender| sender.dialler() != dialler) {
                    return; // Of an address that is not dialled any more.
                }
                match state {
                    LinkState::Up => driver.connected.insert(peer, driver.env.now),
                    LinkState::Down | LinkState::Refused => driver.connected.remove(&peer),
                };
                NodeInput::Link { peer, state }
            }
            Internal::Met { facts, peer_urls, members_decided_at } => {
                self.dial_back(driver, facts.id, &peer_urls, members_decided_at);
                driver.met.insert(facts.id, facts.clone());
                NodeInput::Met(facts)
            }
            Internal::DiskDone { lane, write } => NodeInput::DiskDone { lane, write },
            Internal::FreeSpace { free_bytes } => NodeInput::FreeSpace { free_bytes },
            Internal::DiskFailed(error) => {
                driver.stop.get_or_insert(StopCause::Disk(error));
                return;
            }
            Internal::Fatal(why) => {
                driver.stop.get_or_insert(StopCause::Refused(why));
                return;
            }
        };
        self.recording.told(driver.env.now(), &input);
        self.node.step(&mut driver.env, input);
    }

    fn take_client(&mut self, driver: &mut Driver<R, S>, arrival: ClientArrival<S>) {
        let input = match arrival {
            ClientArrival::Write { payload, reply } => {
                NodeInput::Write { tag: driver.expect(Expecting::Reply(reply)), payload }
            }
            ClientArrival::Errand { payload, reply } => {
                NodeInput::Errand { tag: driver.expect(Expecting::Answer(reply)), payload }
            }
            ClientArrival::ChangeMembers { change, reply } => {
                NodeInput::ChangeMembers { tag: driver.expect(Expecting::Asked(reply)), change }
            }
            ClientArrival::MoveLeader { to, reply } => {
                NodeInput::MoveLeader { tag: driver.expect(Expecting::Asked(reply)), to }
            }
            ClientArrival::Wake => return,
            ClientArrival::OpenBackup { reply } => {
                let _ = reply.send(self.node.open_backup(driver.env.now()));
                return;
            }
            ClientArrival::NextOfBackup { id, bytes_max, reply } => {
                let _ = reply.send(self.node.next_of_backup(driver.env.now(), id, bytes_max));
                return;
            }
            ClientArrival::CloseBackup { id } => return self.node.close_backup(id),
            ClientArrival::Read { query, consistency, reply } => {
                NodeInput::Read { tag: driver.expect(Expecting::Reply(reply)), query, consistency }
            }
            ClientArrival::Status { reply } => {
                let messages_dropped = driver.peers.values().map(PeerSender::dropped).sum();
                // Nobody waiting any more is no fault.
                let now = driver.env.now;
                let connected = driver.connected.iter().map(|(peer, since)| (*peer, now.duration_since(*since)));
                let (connected, met) = (connected.collect(), driver.met.clone());
                let (node, particulars) = (self.node.status(), self.node.replica().particulars());
                let _ = reply.send(RuntimeStatus { node, particulars, messages_dropped, met, connected });
                return;
            }
            ClientArrival::Shutdown => {
                driver.stop.get_or_insert(StopCause::Requested);
                return;
            }
        };
        self.recording.told(driver.env.now(), &input);
        self.node.step(&mut driver.env, input);
    }

    fn carry_out(&mut self, driver: &mut Driver<R, S>, outputs: &mut Vec<NodeOutput<R, S>>) {
        for output in outputs.drain(..) {
            self.recording.said(driver.env.now(), &output);
            match output {
                NodeOutput::Send { to, message } => {
                    if let Some(peer) = driver.peers.get_mut(&to) {
                        peer.send(message);
                    }
                }
                NodeOutput::SetTimer { timer, at_least, at_most } => {
                    let fraction = driver.env.fraction();
                    driver.timers.set(timer, driver.env.now, at_least, at_most, fraction);
                }
                NodeOutput::CancelTimer(timer) => driver.timers.cancel(timer),
                NodeOutput::Disk { lane, write, operations } => match lane {
                    Lane::Journal => self.journal.perform(write, operations),
                    Lane::Store => self.store.perform(write, operations),
                },
                NodeOutput::Reply { tag, result } => {
                    if let Some(Expecting::Reply(reply)) = driver.replies.remove(&tag.0) {
                        // A client that went away does not want its answer.
                        let _ = reply.send(result);
                    }
                }
                NodeOutput::Answer { tag, result } => {
                    if let Some(Expecting::Answer(answer)) = driver.replies.remove(&tag.0) {
                        let _ = answer.send(result);
                    }
                }
                NodeOutput::Asked { tag, result } => {
                    if let Some(Expecting::Asked(asked)) = driver.replies.remove(&tag.0) {
                        let _ = asked.send(result);
                    }
                }
                NodeOutput::Lead { era, who, ready } => {
                    let (_, before) = std::mem::replace(&mut driver.lead, (era, who));
                    let leader = who.map_or_else(|| "nobody".to_owned(), |who| who.to_string());
                    // That there is still nobody, in yet another era, is no news.
                    match who.or(before) {
                        Some(_) => tracing::info!(era = era_for_people(era), leader, ready, "leadership"),
                        None => tracing::debug!(era = era_for_people(era), leader, ready, "leadership"),
                    }
                }
                NodeOutput::Members(members) => self.connect(driver, &members),
                NodeOutput::Applied { .. } => {}
                NodeOutput::Trace(event) => {
                    tracing::debug!(rule = event.rule.id, verdict = ?event.verdict, values = ?event.values, votes = ?event.votes);
                }
                NodeOutput::Stop(reason) => {
                    driver.stop.get_or_insert(StopCause::Node(reason));
                }
            }
        }
    }

    /// Dials the members that are new or moved, and lets go of those that are gone.
    fn connect(&mut self, driver: &mut Driver<R, S>, members: &Membership) {
        let me = self.context.hello.node;
        driver.learns = members.get(me).map_or(members.members().is_empty(), |member| !member.counts());
        let roster = self.node.roster();
        driver.guides.retain(|id, guide| match members.contains(*id) {
            true => guide.members_decided_at > roster.decided_at(),
            false => !roster.is_removed(*id),
        });
        let Driver { peers, moving, connected, guides, .. } = driver;
        let is_wanted = |id: NodeId| members.contains(id) || guides.contains_key(&id);
        peers.retain(|id, _| is_wanted(*id));
        moving.retain(|id, _| is_wanted(*id));
        connected.retain(|id, _| is_wanted(*id));
        for id in members.others(me) {
            let from_guide = driver.guides.get(&id).map(|guide| guide.address.clone());
            let from_membership =
                members.get(id).and_then(|member| member.peer_urls.first()).and_then(|url| address_of(url));
            match from_guide.or(from_membership).or_else(|| self.addresses.get(&id).cloned()) {
                Some(address) => self.dial(driver, id, address),
                None => tracing::warn!(peer = %id, "no peer URL is known for this member"),
            }
        }
        self.context.acquaintance.borrow_mut().reach = members.clone();
    }

    fn dial(&self, driver: &mut Driver<R, S>, id: NodeId, address: String) {
        if driver.peers.get(&id).is_some_and(|peer| peer.address() == address) {
            driver.moving.remove(&id);
            return;
        }
        if driver.moving.get(&id).is_some_and(|peer| peer.address() == address) {
            return;
        }
        driver.diallers += 1;
        let sender = PeerSender::spawn(Rc::clone(&self.context), id, address, driver.diallers);
        if driver.connected.contains_key(&id) {
            driver.moving.insert(id, sender);
        } else {
            driver.moving.remove(&id);
            driver.peers.insert(id, sender);
        }
    }

    /// Someone was met. If it knows more of the members, or is none as far as known here (this node is joining, or behind), then
    /// what it asks can only be answered where it says it is.
    fn dial_back(&self, driver: &mut Driver<R, S>, id: NodeId, peer_urls: &[String], members_decided_at: Slot) {
        let knows_more = members_decided_at > self.node.roster().decided_at();
        if driver.peers.contains_key(&id) && !knows_more {
            return;
        }
        if let Some(address) = peer_urls.first().and_then(|url| address_of(url)) {
            driver.guides.insert(id, Guide { address: address.clone(), members_decided_at });
            self.dial(driver, id, address);
        }
    }

    /// What others are told of this node in hellos is told to the node itself too.
    fn introduce_itself(&mut self, driver: &mut Driver<R, S>) {
        let hello = &self.context.hello;
        let (name, client_urls) = (hello.name.clone(), hello.client_urls.clone());
        let facts = MemberFacts { id: hello.node, disk: hello.disk, name, client_urls };
        driver.met.insert(facts.id, facts.clone());
        self.node.step(&mut driver.env, NodeInput::Met(facts));
    }

    /// Who comes is judged by what is decided by now.
    fn note_roster(&self) {
        let roster = self.node.roster();
        if self.context.acquaintance.borrow().roster.decided_at() != roster.decided_at() {
            self.context.acquaintance.borrow_mut().roster = roster.clone();
        }
    }
}

impl<R: Replica, S: StateMachine> Driver<R, S> {
    /// A peer answered at its new address: from now on it is spoken to there.
    fn finish_move(&mut self, peer: NodeId, dialler: u64) {
        if self.moving.get(&peer).is_some_and(|sender| sender.dialler() == dialler)
            && let Some(sender) = self.moving.remove(&peer)
        {
            self.peers.insert(peer, sender);
        }
    }

    fn expect(&mut self, reply: Expecting<S>) -> ClientTag {
        self.next_tag += 1;
        self.replies.insert(self.next_tag, reply);
        ClientTag(self.next_tag)
    }
}

/// Takes what else is there without waiting, so that one round serves all that came meanwhile.
fn drain_ready<T>(queue: &mut mpsc::Receiver<T>, into: &mut Vec<T>) {
    while into.len() < ROUND_INPUTS_MAX {
        match queue.try_recv() {
            Ok(arrival) => into.push(arrival),
            Err(_) => return,
        }
    }
}

/// `host:port` of a URL such as `http://10.0.0.1:2380`.
#[must_use]
pub fn address_of(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.contains(':').then(|| authority.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_url_gives_host_and_port() {
        assert_eq!(address_of("http://127.0.0.1:2380"), Some("127.0.0.1:2380".to_owned()));
        assert_eq!(address_of("http://[::1]:2380/x"), Some("[::1]:2380".to_owned()));
        assert_eq!(address_of("http://host"), None);
    }
}
