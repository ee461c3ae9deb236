//! Opening a node on real files and sockets.

use crate::acquaintance::Acquaintance;
use crate::disk_thread::DiskLane;
use crate::file_disk::{DirectoryLock, FileDisk};
use crate::free_space::tell_free_space;
use crate::handle::NodeHandle;
use crate::known_disks::{KnownDisks, Seen};
use crate::node_loop::{NodeLoop, StopCause, address_of};
use crate::own_starts::OwnStarts;
use crate::peers::{PeerContext, accept_peers};
use crate::promises::Promises;
use crate::put_back;
use crate::recording::{Recorder, Recording};
use quorate_disk::DiskError;
use quorate_journal::Journal;
use quorate_machine::{DutyConfig, StateMachine};
use quorate_node::{Boot, BootError, Lane, Node, NodeConfig, NodeOutput, NodeStatus};
use quorate_protocol::{Replica, Start};
use quorate_types::{ClusterId, DiskId, NodeId, Time};
use quorate_wire::{Hello, NodeStart, WIRE_VERSION, WIRE_VERSION_OLDEST};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What a node needs to run.
#[derive(Debug)]
pub struct RuntimeConfig<R: Replica, S: StateMachine> {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Itself.
    pub me: NodeId,
    /// How it came to be, where there is no data yet.
    pub start: Start,
    /// Its settings.
    pub node: NodeConfig<R>,
    /// The settings of its state machine's duty.
    pub duty: DutyConfig<S>,
    /// Where its data is: `journal/`, `store/`, `LOCK`, `known-disks`, `starts` and, where it ever promised anything, `promises`;
    /// and `put-back`, where it was refused for that.
    pub data_directory: PathBuf,
    /// Its name for people; told to the other members, like the URLs, for their member lists.
    pub name: String,
    /// Where clients reach this node.
    pub client_urls: Vec<String>,
    /// Where the other members reach this node.
    pub peer_urls: Vec<String>,
    /// Client requests that may wait for the loop; more are refused at once.
    pub queued_requests_max: usize,
    /// News from peers and disks that may wait; more push back on the sockets.
    pub queued_messages_max: usize,
    /// Writes the run down, where it is to be.
    pub recorder: Option<Recorder<R>>,
}

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("cannot use the data directory: {0}")]
    Directory(#[from] DiskError),
    /// What is in it is damaged or somebody else's.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The journal is gone, and with it everything this node promised. Most likely it is only not mounted.
    #[error(
        "{directory} has no journal any more: {journal} is empty, although {evidence}. If it is on a disk that is not mounted, or was \
         moved, mount it or put it back, and start again. Only if it is lost for good, and with it what this node promised, it comes \
         back as a new member, never under its old name: replace it (`quorate member replace`), with an empty data directory"
    )]
    JournalLost {
        /// The data directory.
        directory: String,
        /// Where the journal was.
        journal: String,
        /// What says that there was one.
        evidence: String,
    },
    /// Another member has proved that the directory was put back from a copy.
    #[error(
        "{why}. That was said of {directory} when it was last started, and it is not started again: put the newest data back in its \
         place, or replace the member. Only where it is certain that the other member is mistaken, remove the file {file} and start again"
    )]
    PutBack {
        /// What was said.
        why: String,
        /// The data directory.
        directory: String,
        /// The mark.
        file: String,
    },
    /// The journal is from before a start that the rest of the directory knows.
    #[error(
        "{directory}/journal was put back from a copy: it comes to its start number {journal}, and the file known-disks beside it knows \
         start number {known}; a copy forgets what this node has promised since. Put the newest journal back, or replace the member"
    )]
    JournalPutBack {
        /// The data directory.
        directory: String,
        /// The journal's.
        journal: u64,
        /// The greatest known.
        known: u64,
    },
    /// A file or thread could not be had.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
}

/// What an [`Observer`] is shown.
#[derive(Debug)]
pub struct Observation<'a, S> {
    /// The state as applied so far.
    pub state: &'a S,
    /// Term, ballot, view or epoch.
    pub era: u64,
    /// The leader, if known.
    pub leader: Option<NodeId>,
    /// Whether this node learns and does not count, as far as it knows: as a learner, or since it knows no members yet. One that was
    /// removed does not learn any more; it stops.
    pub learns: bool,
    /// Whether this node votes and stores no data, as far as it knows. Its state is one that no command has touched.
    pub is_witness: bool,
    /// The node's clock.
    pub now: Time,
}

/// Called after every round of the loop in which something may have changed: how a front keeps what it must know at once. Must be
/// cheap. [`NodeHandle::wake`] has it called soon.
pub type Observer<S> = Box<dyn FnMut(&Observation<'_, S>)>;

/// A node that runs.
pub struct Running<S: StateMachine> {
    /// The way in.
    pub handle: NodeHandle<S>,
    /// Ends with the node.
    pub ended: JoinHandle<StopCause>,
    /// Its disk's id.
    pub disk: DiskId,
}

/// Opens the node and starts it. Must be called inside a `LocalSet`.
///
/// # Errors
/// When the data directory is in use, unusable, damaged, or another cluster's, node's or protocol's.
pub fn start<R, S>(
    config: RuntimeConfig<R, S>,
    peer_listeners: Vec<TcpListener>,
    observer: Observer<S>,
) -> Result<Running<S>, StartError>
where
    R: Replica,
    R::Message: Send,
    S: StateMachine,
{
    let lock = DirectoryLock::take(&config.data_directory)?;
    let [mut journal_disk, mut store_disk] = open_disks(&config.data_directory)?;
    let system = |what| move |source| StartError::System { what, source };
    let mut known_disks =
        KnownDisks::load(&config.data_directory.join("known-disks")).map_err(system("cannot read known-disks"))?;
    refuse_unfit(&config, &journal_disk, &known_disks)?;
    let new_disk = DiskId(draw("cannot draw a disk id")?);
    let (seed, start) = (draw("cannot draw a seed")?, draw("cannot draw a name for this start")?);
    let (addresses, agreements) = (addresses_of(&config.start), R::agreements(&config.node.protocol));
    let promises = Promises::load(&config.data_directory.join("promises"), R::promises_last(&config.node.protocol))
        .map_err(system("cannot keep the file promises"))?;
    let boot = Boot { cluster: config.cluster, me: config.me, start: config.start, new_disk };
    let opened_at = std::time::Instant::now();
    let booted = Node::<R, S>::boot(boot, config.node, &config.duty, &mut journal_disk, &mut store_disk);
    let (mut node, outputs) = booted.map_err(|why| refusal(&config.data_directory, why))?;
    let status = node.status();
    let this = NodeStart { number: status.incarnation, name: start };
    let own_starts =
        enter(&config.data_directory, config.me, Seen { disk: status.disk, start: this }, &mut known_disks)?;
    announce(&status, seed, opened_at.elapsed());

    let recording = Recording::start(config.recorder, &mut node).map_err(system("cannot record"))?;
    let (events, internal) = mpsc::channel(config.queued_messages_max);
    let (requests, clients) = mpsc::channel(config.queued_requests_max);
    let journal = DiskLane::spawn(Lane::Journal, journal_disk, events.clone())
        .map_err(system("cannot start the journal thread"))?;
    let store =
        DiskLane::spawn(Lane::Store, store_disk, events.clone()).map_err(system("cannot start the store thread"))?;
    let hello = Hello {
        cluster: config.cluster,
        node: config.me,
        to: config.me,
        disk: status.disk,
        incarnation: status.incarnation,
        start,
        protocol: R::PROTOCOL.to_owned(),
        version_oldest: WIRE_VERSION_OLDEST,
        version_newest: WIRE_VERSION,
        name: config.name,
        client_urls: config.client_urls,
        peer_urls: config.peer_urls,
        members_decided_at: node.roster().decided_at(),
        agreements,
        told_starts: Vec::new(),
        known_start: None,
    };
    let sampler = tokio::task::spawn_local(tell_free_space(config.data_directory.clone(), events.clone()));
    let context = Rc::new(PeerContext {
        hello,
        known_disks: RefCell::new(known_disks),
        own_starts: RefCell::new(own_starts),
        complaints: RefCell::default(),
        data_directory: config.data_directory,
        acquaintance: RefCell::new(Acquaintance::default()),
        events,
    });
    let node_loop = NodeLoop { node, internal, clients, journal, store, context, addresses, seed, observer, recording };
    let ended = tokio::task::spawn_local(live(node_loop, outputs, promises, peer_listeners, sampler, lock));
    Ok(Running { handle: NodeHandle::new(requests), ended, disk: status.disk })
}

/// The life of an open node, from what it may owe to the end of its disks' work, with the directory locked.
async fn live<R: Replica, S: StateMachine>(
    mut node_loop: NodeLoop<R, S>,
    outputs: Vec<NodeOutput<R, S>>,
    promises: Promises,
    peer_listeners: Vec<TcpListener>,
    sampler: JoinHandle<()>,
    lock: DirectoryLock,
) -> StopCause {
    let cause = match node_loop.keep_promises(promises).await {
        Some(cause) => {
            node_loop.close();
            cause
        }
        None => {
            let accept = |listener| tokio::task::spawn_local(accept_peers(listener, Rc::clone(&node_loop.context)));
            let acceptors: Vec<_> = peer_listeners.into_iter().map(accept).collect();
            let cause = node_loop.run(outputs).await;
            acceptors.iter().for_each(JoinHandle::abort);
            cause
        }
    };
    sampler.abort();
    drop(lock);
    cause
}

fn announce(opened: &NodeStatus, seed: u64, took: Duration) {
    tracing::info!(node = %opened.me, incarnation = opened.incarnation.0, seed, applied = opened.applied.0,
        opened_in_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "node open");
}

/// The cluster and the node that the data in this directory belong to, or nothing where there are none yet.
///
/// # Errors
/// When the directory is in use or cannot be used, or the journal in it says nothing of itself.
pub fn founded_as(data_directory: &Path) -> Result<Option<(ClusterId, NodeId)>, StartError> {
    // One that is in use is refused for that, whatever it holds.
    let _lock = DirectoryLock::take(data_directory)?;
    let disk = FileDisk::open(&data_directory.join("journal"))?;
    let identity = Journal::identity_on(&disk).map_err(BootError::Journal)?;
    Ok(identity.map(|identity| (identity.cluster, identity.node)))
}

/// The journal's and the store's.
fn open_disks(data_directory: &Path) -> Result<[FileDisk; 2], DiskError> {
    Ok([FileDisk::open(&data_directory.join("journal"))?, FileDisk::open(&data_directory.join("store"))?])
}

fn draw(what: &'static str) -> Result<u64, StartError> {
    let failed =
        |error: getrandom::Error| StartError::System { what, source: std::io::Error::other(error.to_string()) };
    getrandom::u64().map_err(failed)
}

/// Before the node is opened, which would count one more start.
fn refuse_unfit<R: Replica, S: StateMachine>(
    config: &RuntimeConfig<R, S>,
    journal: &FileDisk,
    known: &KnownDisks,
) -> Result<(), StartError> {
    refuse_put_back(&config.data_directory)?;
    refuse_lost_journal(config, journal, known)?;
    let Some(recorder) = &config.recorder else { return Ok(()) };
    let noted = known.start_of(config.me).map(|start| start.number);
    let refused =
        recorder.refuse_inside(&config.data_directory).and_then(|()| recorder.refuse_later_starts(config.me, noted));
    refused.map_err(|source| StartError::System { what: "cannot record", source })
}

/// Notes the start that the node is in.
fn enter(data_directory: &Path, me: NodeId, seen: Seen, known: &mut KnownDisks) -> Result<OwnStarts, StartError> {
    let system = |what| move |source| StartError::System { what, source };
    refuse_journal_put_back(data_directory, seen.start, known.start_of(me))?;
    known.note(me, seen).map_err(system("cannot write known-disks"))?;
    OwnStarts::load(&data_directory.join("starts"), seen.start).map_err(system("cannot read the file starts"))
}

fn refuse_put_back(data_directory: &Path) -> Result<(), StartError> {
    let file = data_directory.join(put_back::FILE);
    let directory = data_directory.display().to_string();
    match put_back::reason(data_directory) {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(StartError::PutBack { why, directory, file: file.display().to_string() }),
        Err(source) => Err(StartError::System { what: "the data directory is marked as put back from a copy", source }),
    }
}

/// Every start is noted behind the journal's own count of it.
fn refuse_journal_put_back(data_directory: &Path, this: NodeStart, known: Option<NodeStart>) -> Result<(), StartError> {
    match known {
        Some(known) if known.number >= this.number => Err(StartError::JournalPutBack {
            directory: data_directory.display().to_string(),
            journal: this.number.0,
            known: known.number.0,
        }),
        _ => Ok(()),
    }
}

/// A node that once had a journal and has none now would found itself anew under its old name and vote a second time.
fn refuse_lost_journal<R: Replica, S: StateMachine>(
    config: &RuntimeConfig<R, S>,
    journal: &FileDisk,
    known: &KnownDisks,
) -> Result<(), StartError> {
    match known.get(config.me) {
        Some(seen) if !Journal::exists(journal)? => {
            let evidence = format!("by the file known-disks this node had one on disk {:x}", seen.disk.0);
            Err(journal_lost(&config.data_directory, evidence))
        }
        _ => Ok(()),
    }
}

/// The node knows its disks and not where they are.
fn refusal(data_directory: &Path, why: BootError) -> StartError {
    match why {
        BootError::JournalLost => {
            let evidence = "there is a store beside it (if a restore into this directory was interrupted, remove the directory and restore again)";
            journal_lost(data_directory, evidence.to_owned())
        }
        why => StartError::Boot(why),
    }
}

fn journal_lost(data_directory: &Path, evidence: String) -> StartError {
    let directory = data_directory.display().to_string();
    StartError::JournalLost { directory, journal: data_directory.join("journal").display().to_string(), evidence }
}

fn addresses_of(start: &Start) -> BTreeMap<NodeId, String> {
    let Start::Found(members) = start else { return BTreeMap::new() };
    let address = |urls: &[String]| urls.first().and_then(|url| address_of(url));
    members.members().iter().filter_map(|member| Some((member.id, address(&member.peer_urls)?))).collect()
}
