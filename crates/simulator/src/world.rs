//! A whole cluster on virtual time.

mod acts;
mod boot;
mod clients;
mod config;
mod control;
mod damage;
mod delivery;
mod disks;
mod doorman;
mod event;
mod free_space;
mod host;
mod processing;
mod promises;
mod steering;
mod traffic;

pub use clients::{OperationId, OperationResult, Outcome};
pub use config::{Batching, Checks, DiskModel, WorldConfig};
pub use processing::GuardCounts;
pub use promises::BrokenPromise;
pub use traffic::{Sent, Traffic};

use crate::act::{Deed, Moment};
use crate::marks::{Mark, Marks};
use crate::network::{Filters, Flight, Network};
use crate::queue::EventQueue;
use crate::random::Random;
use crate::transcript::Transcript;
use clients::Clients;
use delivery::Delivered;
use doorman::Doorman;
use event::WorldEvent;
use host::Host;
use promises::Promises;
use quorate_machine::{DutyConfig, StateMachine};
use quorate_narrator::{Happening, What};
use quorate_node::{Node, NodeInput, NodeOutput};
use quorate_protocol::{Replica, Start, Status};
use quorate_types::{NodeId, Time};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use steering::Steering;

/// A cluster of whole nodes with their disks, clocks, network and clients, on one queue of events. Nothing in it depends on
/// anything but its configuration, its seed and the calls made on it.
///
/// Whoever drives it calls [`World::step`] or one of the `run` methods, and between them anything else: clients'
/// requests, crashes, cuts, filters. The first broken promise stops the world ([`World::broken_promise`]).
pub struct World<R: Replica, S: StateMachine> {
    config: WorldConfig<R>,
    duty: DutyConfig<S>,
    now: Time,
    queue: EventQueue<WorldEvent<R::Timer>>,
    /// Events in the queue that are neither timers nor alarms.
    busy: u64,
    events: u64,
    /// How often a node worked, started or ended: what a node is changes only there.
    changes: u64,
    hosts: BTreeMap<NodeId, Host<R, S>>,
    network: Network,
    filters: Filters,
    held: Vec<Flight>,
    flights: u64,
    /// What was delivered last on each directed link.
    last_delivered: BTreeMap<(NodeId, NodeId), Delivered>,
    /// What waits at each clogged directed link.
    clogged: BTreeMap<(NodeId, NodeId), Vec<Flight>>,
    /// Messages of long ago on each directed link, oldest first.
    archive: BTreeMap<(NodeId, NodeId), VecDeque<Flight>>,
    doorman: Doorman,
    clients: Clients<S::Reply>,
    /// At which moment of a node who crashes, and for how long.
    traps: BTreeMap<NodeId, (Moment, Vec<(NodeId, Duration)>)>,
    /// What was done to this world while that was remembered.
    deeds: Vec<(Time, Deed)>,
    is_recording: bool,
    /// How often traps were forgotten.
    traps_forgotten: u64,
    alarms: Vec<u64>,
    /// Who found last that more is decided, and who came last to lead, if nobody was told yet.
    committed_last: Option<NodeId>,
    elected_last: Option<NodeId>,
    manual_timers: bool,
    transcript: Transcript,
    promises: Promises,
    steering: Steering,
    marks: Marks,
    traffic: Traffic,
    /// Empty between events: kept for their memory.
    inputs: Vec<NodeInput<R, S>>,
    /// Whose messages were among the inputs that a node handles just now.
    heard_from: Vec<NodeId>,
    outputs: Vec<NodeOutput<R, S>>,
    payload: Vec<u8>,
    /// How often each guard gave each verdict, while tracing is on.
    guards: BTreeMap<&'static str, GuardCounts>,
    crash_random: Random,
    schedule_random: Random,
    check_random: Random,
    seed: u64,
}

impl<R: Replica, S: StateMachine> World<R, S> {
    /// A founded cluster of the configured members, all started, at time zero.
    #[must_use]
    pub fn new(config: WorldConfig<R>, seed: u64) -> World<R, S> {
        World::with_duty(config, DutyConfig::<S>::default(), seed)
    }

    /// The same, whose leaders' duty has these settings.
    #[must_use]
    pub fn with_duty(config: WorldConfig<R>, duty: DutyConfig<S>, seed: u64) -> World<R, S> {
        let mut network = Network::new(config.usual_link, Random::stream(seed, "network", 0));
        for (from, to, link) in &config.links {
            network.set_link(*from, *to, *link);
        }
        let mut world = World {
            now: Time::ZERO,
            queue: EventQueue::new(),
            busy: 0,
            events: 0,
            changes: 0,
            hosts: BTreeMap::new(),
            network,
            filters: Filters::default(),
            held: Vec::new(),
            flights: 0,
            last_delivered: BTreeMap::new(),
            clogged: BTreeMap::new(),
            archive: BTreeMap::new(),
            doorman: Doorman::default(),
            clients: Clients::new(),
            traps: BTreeMap::new(),
            deeds: Vec::new(),
            is_recording: false,
            traps_forgotten: 0,
            alarms: Vec::new(),
            committed_last: None,
            elected_last: None,
            manual_timers: false,
            transcript: Transcript::new(config.keep),
            promises: Promises::default(),
            steering: Steering::default(),
            marks: Marks::default(),
            traffic: Traffic::default(),
            inputs: Vec::new(),
            heard_from: Vec::new(),
            outputs: Vec::new(),
            payload: Vec::new(),
            guards: BTreeMap::new(),
            crash_random: Random::stream(seed, "crash", 0),
            schedule_random: Random::stream(seed, "schedule", 0),
            check_random: Random::stream(seed, "check", 0),
            seed,
            config,
            duty,
        };
        let members = world.config.members.clone();
        for member in members.members() {
            world.add_node(member.id, Start::Found(members.clone()));
        }
        world
    }

    /// Adds and starts a node. One that exists already is left alone.
    pub fn add_node(&mut self, id: NodeId, start: Start) {
        if self.hosts.contains_key(&id) {
            return;
        }
        let host = Host::new(id, start, &self.config, self.seed);
        self.hosts.insert(id, host);
        self.restart(id);
    }

    /// The world's time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Lets the next event happen. `false` when nothing is left to happen or a promise is broken.
    pub fn step(&mut self) -> bool {
        if self.broken_promise().is_some() {
            return false;
        }
        let Some((at, event)) = self.queue.pop() else { return false };
        self.now = at;
        if event.is_busy() {
            self.busy -= 1;
        }
        // A deadline counts once it is known not to be void: most timers are set again before they come due.
        self.events += u64::from(!matches!(event, WorldEvent::Deadline { .. }));
        self.happen(event);
        true
    }

    /// Runs everything that happens up to `until`, then sets the time to it. Stops early at a broken promise.
    pub fn run_until(&mut self, until: Time) {
        while self.queue.next_at().is_some_and(|next| next <= until) {
            if !self.step() {
                return;
            }
        }
        self.now = self.now.max(until);
    }

    /// Runs for this long.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Runs until no message is under way, no disk and no node works, or `limit` has passed. Timers that come due meanwhile
    /// fire; timers alone do not make a world busy, nor do messages and disks that are held. Says whether it is quiet.
    pub fn run_until_quiet(&mut self, limit: Duration) -> bool {
        let end = self.now + limit;
        while self.busy > 0 && self.queue.next_at().is_some_and(|next| next <= end) {
            if !self.step() {
                return false;
            }
        }
        self.busy == 0
    }

    /// Runs until `done` says so, looking after every event, or `limit` has passed. Says whether it is done.
    pub fn run_until_true(&mut self, limit: Duration, mut done: impl FnMut(&World<R, S>) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if self.queue.next_at().is_none_or(|next| next > end) || !self.step() {
                return false;
            }
        }
        true
    }

    /// Asks for `token` to be in [`World::take_alarms`] once `at` has come: how a driver does things at set times.
    pub fn set_alarm(&mut self, at: Time, token: u64) {
        self.schedule(at, WorldEvent::Alarm(token));
    }

    /// The alarms that went off since the last call.
    pub fn take_alarms(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.alarms)
    }

    /// When the next event happens, if any.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.queue.next_at()
    }

    /// The node that found more decided in the last event, if one did; once.
    pub(crate) fn take_committed(&mut self) -> Option<NodeId> {
        self.committed_last.take()
    }

    /// The node that came to lead in the last event, if one did; once.
    pub(crate) fn take_elected(&mut self) -> Option<NodeId> {
        self.elected_last.take()
    }

    /// When the last message arrives that is on its way from a life that is over, if there is any.
    pub(crate) fn last_words_arrive_at(&self) -> Option<Time> {
        let is_from_the_dead = |flight: &Flight| {
            self.hosts
                .get(&flight.from)
                .is_none_or(|sender| !self.is_running(flight.from) || sender.life != flight.life)
        };
        let arrivals = self.queue.iter().filter_map(|(at, event)| match event {
            WorldEvent::Arrive(flight) if is_from_the_dead(flight) => Some(at),
            _ => None,
        });
        arrivals.max()
    }

    /// All ids, ascending.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.hosts.keys().copied()
    }

    /// A running node; `None` if it is down or there is none of this id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node<R, S>> {
        self.hosts.get(&id)?.node.as_ref()
    }

    /// Which of its lives a node is in, counting its starts and crashes.
    #[must_use]
    pub fn life(&self, id: NodeId) -> Option<u64> {
        self.hosts.get(&id).map(|host| host.life)
    }

    /// A running node's protocol status.
    #[must_use]
    pub fn status(&self, id: NodeId) -> Option<Status> {
        Some(self.node(id)?.replica().status())
    }

    /// Whether this node is running. Paused nodes are.
    #[must_use]
    pub fn is_running(&self, id: NodeId) -> bool {
        self.node(id).is_some()
    }

    /// Whether this node is suspended.
    #[must_use]
    pub fn is_paused(&self, id: NodeId) -> bool {
        self.hosts.get(&id).is_some_and(|host| host.paused)
    }

    /// The running node that takes proposals itself in the highest era, if any does.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.reign().map(|(_, leader)| leader)
    }

    /// What a running node's own clock shows; `None` if it does not run or stands still.
    pub(crate) fn clock_of(&self, id: NodeId) -> Option<Time> {
        let host = self.hosts.get(&id).filter(|host| host.node.is_some())?;
        Some(host.clock.read(self.now))
    }

    /// The newest era in which a running node takes proposals, and that node.
    pub(crate) fn reign(&self) -> Option<(u64, NodeId)> {
        let ready = self.hosts.values().filter(|host| host.node.is_some());
        let reigns = ready.filter_map(|host| host.lead.filter(|lead| lead.ready).map(|lead| (lead.era, host.id)));
        reigns.max_by_key(|(era, _)| *era)
    }

    /// What happened, as far as kept, and its hash.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// What happened, as far as kept, oldest first.
    pub fn happenings(&self) -> impl DoubleEndedIterator<Item = &Happening> + ExactSizeIterator {
        self.transcript.kept()
    }

    /// The first promise that was broken.
    #[must_use]
    pub fn broken_promise(&self) -> Option<&BrokenPromise> {
        self.promises.broken.as_ref()
    }

    /// Which rare things happened.
    #[must_use]
    pub fn marks(&self) -> Marks {
        let mut marks = self.marks.clone();
        for node in self.hosts.values().filter_map(|host| host.node.as_ref()) {
            let status = node.status();
            marks.hit_times(Mark::DuplicateSkipped, status.machine.skipped_commands);
            marks.hit_times(Mark::SnapshotInstalled, status.snapshots.installed);
        }
        let joiners = self.hosts.values().filter(|host| host.start == Start::Join);
        let installed = joiners.filter_map(|host| Some(host.node.as_ref()?.snapshots_installed())).sum();
        marks.hit_times(Mark::SnapshotToJoiner, installed);
        marks
    }

    /// What was sent and flushed so far.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// How often each rule gave each verdict. Empty unless nodes trace.
    #[must_use]
    pub fn guards(&self) -> &BTreeMap<&'static str, GuardCounts> {
        &self.guards
    }

    /// How many events have happened: messages at their receiver's door, batches that a node worked on, steps of a disk,
    /// timers that came due (not those set again or cancelled before), starts, crashes, ends of pauses, alarms.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Grows whenever a node works, starts or ends. While it stands still, so do all nodes: whoever looks at them after every event
    /// need not look again.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Adds a remark to the transcript.
    pub fn remark(&mut self, text: impl Into<String>) {
        self.note(None, What::Note { text: text.into() });
    }

    /// Reports a promise that somebody outside found broken; the world stops.
    pub fn report_broken(&mut self, property: &'static str, node: Option<NodeId>, detail: String) {
        if self.promises.broken.is_none() {
            self.note(node, What::Violated { property, detail: detail.clone() });
            self.promises.broken = Some(BrokenPromise { property, detail, at: self.now, node });
        }
    }

    fn happen(&mut self, event: WorldEvent<R::Timer>) {
        match event {
            WorldEvent::Arrive(flight) => self.arrive(flight),
            WorldEvent::Work { node, life } => self.work(node, life),
            WorldEvent::DiskStep { node, life, lane } => self.disk_step(node, life, lane),
            WorldEvent::Deadline { node, life, timer, turn } => self.deadline(node, life, timer, turn),
            WorldEvent::Hint { node, peer, state } => self.hint(node, peer, state),
            WorldEvent::PowerFailure { victims, traps } => self.power_failure(victims, traps),
            WorldEvent::Restart { node, traps } => {
                if traps.is_none_or(|traps| traps == self.traps_forgotten) {
                    self.restart(node);
                }
            }
            WorldEvent::Resume { node, pause } => self.resume_after(node, pause),
            WorldEvent::LookAtSpace { node, life } => self.look_at_space(node, life),
            WorldEvent::Alarm(token) => self.alarms.push(token),
        }
    }

    fn schedule(&mut self, at: Time, event: WorldEvent<R::Timer>) {
        if event.is_busy() {
            self.busy += 1;
        }
        self.queue.schedule(at.max(self.now), event);
    }

    fn note(&mut self, node: Option<NodeId>, what: What) {
        self.transcript.note(Happening { at: self.now, node, what });
    }

    fn mark(&mut self, mark: Mark) {
        self.marks.hit(mark);
    }
}
