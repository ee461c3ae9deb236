//! One simulated machine: a node's process, its disks, clock, timers and inbox.

use super::config::{DiskModel, WorldConfig};
use super::damage::Trouble;
use crate::clock::Clock;
use crate::latency::Latency;
use crate::random::{Random, nanos};
use quorate_disk::Operation;
use quorate_disk::model::ModelDisk;
use quorate_machine::StateMachine;
use quorate_node::{Lane, Node, NodeInput, NodeTimer};
use quorate_protocol::{Env, Replica, Start};
use quorate_types::{Membership, NodeId, Slot, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What waits for the node's attention.
#[derive(Debug)]
pub(super) enum Waiting<R: Replica, S: StateMachine> {
    /// An input.
    Input(NodeInput<R, S>),
    /// A timer came due; void if it was set again or cancelled before the node gets here.
    Expired { timer: NodeTimer<R::Timer>, generation: u64 },
}

/// A timer that is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Armed {
    /// Tells it from the same timer set before: its turn in the queue.
    pub(super) generation: u64,
    /// On the node's own clock.
    pub(super) due: Time,
    /// On the world's.
    pub(super) at: Time,
}

/// A write under way: everything before `next` was handed to the disk.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) id: u64,
    pub(super) operations: Vec<Operation>,
    pub(super) next: usize,
}

/// The node's latest `Lead` output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) era: u64,
    pub(super) who: Option<NodeId>,
    pub(super) ready: bool,
}

/// What was seen of the running incarnation, for checking that nothing goes backwards.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) era: u64,
    /// The last era in which it led.
    pub(super) led: Option<u64>,
    pub(super) committed: Slot,
    pub(super) applied: Slot,
    pub(super) last: Slot,
    pub(super) forwarded: u64,
    /// Snapshots that were installed when it was last asked for what slots it applies ...
    pub(super) snapshots: u64,
    /// ... and when it last worked.
    pub(super) installs: u64,
}

/// One machine.
#[derive(Debug)]
pub(super) struct Host<R: Replica, S: StateMachine> {
    pub(super) id: NodeId,
    pub(super) start: Start,
    pub(super) node: Option<Node<R, S>>,
    pub(super) journal: ModelDisk,
    pub(super) store: ModelDisk,
    /// Grows with every start and crash.
    pub(super) life: u64,
    pub(super) inbox: VecDeque<Waiting<R, S>>,
    pub(super) work_scheduled: bool,
    pub(super) paused: bool,
    /// Counts pauses, so that the end of one does not end the next.
    pub(super) pauses: u64,
    pub(super) timers: BTreeMap<NodeTimer<R::Timer>, Armed>,
    /// When the queue's event for each timer comes, and its turn. Most timers are set again long before they come due:
    /// they get a new event only when the one in the queue comes, or if that would come too late.
    pub(super) awaited: BTreeMap<NodeTimer<R::Timer>, (Time, u64)>,
    pub(super) clock: Clock,
    pub(super) processing: Latency,
    pub(super) disk: DiskModel,
    pub(super) journal_write: Option<Write>,
    pub(super) store_write: Option<Write>,
    /// From the start of a journal write until the node hears that it is done: what is queued meanwhile is not durable.
    pub(super) journal_busy: bool,
    pub(super) disk_held: bool,
    pub(super) held_lanes: Vec<Lane>,
    /// What is wrong with its disks, or was done to them.
    pub(super) trouble: Trouble,
    /// Counts flushes, starts and crashes: what is durable changes only there.
    pub(super) flushes: u64,
    /// The replica that the synced disks open, as of so many flushes.
    pub(super) ghost: Option<(u64, R)>,
    pub(super) lead: Option<Lead>,
    /// Whom it may have to speak to, as it said last.
    pub(super) reach: Membership,
    pub(super) seen: Seen,
    /// The highest era known to be durable here, over all incarnations.
    pub(super) durable_era: u64,
    /// The last checkpoint known to be durable here, over all incarnations.
    pub(super) checkpointed: Slot,
    /// The incarnation of the last start.
    pub(super) incarnation: u64,
    /// Which of its starts its directory remembers having told whom.
    pub(super) told_starts: BTreeMap<NodeId, BTreeSet<u64>>,
    /// The first message that can be sent in this life, for noticing older ones.
    pub(super) first_flight: u64,
    /// The first message number since its disks are these.
    pub(super) first_flight_to_disks: u64,
    pub(super) choices: Random,
    pub(super) timer_random: Random,
    pub(super) disk_random: Random,
    pub(super) work_random: Random,
}

impl<R: Replica, S: StateMachine> Host<R, S> {
    /// A machine that was never switched on.
    pub(super) fn new(id: NodeId, start: Start, config: &WorldConfig<R>, seed: u64) -> Host<R, S> {
        let mut random = Random::stream(seed, "host", id.0);
        let offset = Duration::from_nanos(random.between(0, nanos(config.clock_offset_max)));
        let drift = draw_drift_ppm(&mut random, i64::from(config.clock_drift_ppm_max));
        Host {
            id,
            start,
            node: None,
            journal: ModelDisk::new(),
            store: ModelDisk::new(),
            life: 0,
            inbox: VecDeque::new(),
            work_scheduled: false,
            paused: false,
            pauses: 0,
            timers: BTreeMap::new(),
            awaited: BTreeMap::new(),
            clock: Clock::new(offset, i32::try_from(drift).unwrap_or(0)),
            processing: config.processing,
            disk: config.disk,
            journal_write: None,
            store_write: None,
            journal_busy: false,
            disk_held: false,
            held_lanes: Vec::new(),
            trouble: Trouble::default(),
            flushes: 0,
            ghost: None,
            lead: None,
            reach: Membership::default(),
            seen: Seen::default(),
            durable_era: 0,
            checkpointed: Slot::ZERO,
            incarnation: 0,
            told_starts: BTreeMap::new(),
            first_flight: 0,
            first_flight_to_disks: 0,
            choices: Random::stream(seed, "choices", id.0),
            timer_random: Random::stream(seed, "timers", id.0),
            disk_random: Random::stream(seed, "disk", id.0),
            work_random: Random::stream(seed, "work", id.0),
        }
    }

    /// Forgets everything that only a running process has.
    pub(super) fn lose_memory(&mut self) {
        self.trouble.process_ends(self.journal_write.take());
        self.node = None;
        self.life += 1;
        self.flushes += 1;
        self.ghost = None;
        self.inbox.clear();
        self.work_scheduled = false;
        self.paused = false;
        self.timers.clear();
        self.awaited.clear();
        self.store_write = None;
        self.journal_busy = false;
        self.held_lanes.clear();
        self.lead = None;
        self.reach = Membership::default();
        self.seen = Seen::default();
    }

    /// Which write is under way in a lane.
    pub(super) fn write_mut(&mut self, lane: Lane) -> &mut Option<Write> {
        match lane {
            Lane::Journal => &mut self.journal_write,
            Lane::Store => &mut self.store_write,
        }
    }

    /// The disk of a lane.
    pub(super) fn disk_mut(&mut self, lane: Lane) -> &mut ModelDisk {
        match lane {
            Lane::Journal => &mut self.journal,
            Lane::Store => &mut self.store,
        }
    }
}

/// Time and chance as one node sees them.
pub(super) struct HostEnv<'a> {
    pub(super) now: Time,
    pub(super) choices: &'a mut Random,
}

impl Env for HostEnv<'_> {
    fn now(&self) -> Time {
        self.now
    }

    fn choose(&mut self, bound: u64) -> u64 {
        self.choices.below(bound)
    }
}

/// A lane's name in transcripts.
pub(super) fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Journal => "journal",
        Lane::Store => "store",
    }
}

/// By how much a clock is wrong: in half of all cases by as much as any may be, for what rests on clocks breaks there first.
fn draw_drift_ppm(random: &mut Random, most: i64) -> i64 {
    let between = i64::try_from(random.between(0, 2 * most.unsigned_abs())).unwrap_or(0) - most;
    match random.below(4) {
        0 => -most,
        1 => most,
        _ => between,
    }
}
