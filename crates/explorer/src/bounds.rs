//! How far a search goes.

use quorate_protocol::Replica;
use quorate_types::NodeId;

/// In which order states are visited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Nearest first: the first counterexample is a shortest one. Keeps every state of the next depth in memory.
    #[default]
    BreadthFirst,
    /// Deepest first: little memory beyond the fingerprints, long counterexamples.
    DepthFirst,
}

/// How disks behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disks {
    /// A write completes at any later time, alone or in one flush with others; a crash keeps any prefix of those under way.
    #[default]
    AnyDelay,
    /// A write completes at once, unless the disk stalls: then that write and all later ones stay under way until the
    /// node crashes and loses them. Far fewer states.
    ///
    /// It covers every state of the replicas that matters for safety **if finishing a write early can be matched**: what a
    /// replica does when a write completes late, it or its peers can also do when the write completed early and the messages
    /// it released are still in flight. True where `Persisted` only counts the replica's own vote and hands
    /// out decisions, so that a late completion looks like a late message. The caller answers for it, and a report
    /// names it among its assumptions.
    StallBeforeCrash,
}

/// How often a timer may fire in one schedule. A timer without a bound never fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerBound<T> {
    /// Which.
    pub timer: T,
    /// At this node only, or at all nodes together.
    pub node: Option<NodeId>,
    /// How often.
    pub most: u8,
}

/// The bounds of one search. The default: no faults, no timers, no limit on depth, a million states.
#[derive(Clone, Debug)]
pub struct Bounds<R: Replica> {
    /// Crashes, each followed by a restart, over all nodes.
    pub max_crashes: u8,
    /// Deliveries that leave the message in flight.
    pub max_duplicates: u8,
    /// Messages taken out of flight. 0 loses nothing for safety; see the crate's first page.
    pub max_drops: u8,
    /// How often which timers may fire.
    pub timers: Vec<TimerBound<R::Timer>>,
    /// Actions in one schedule.
    pub max_depth: u32,
    /// Different states; the search stops there, incomplete.
    pub max_states: usize,
    /// How disks behave.
    pub disks: Disks,
    /// In which order.
    pub order: Order,
}

impl<R: Replica> Default for Bounds<R> {
    fn default() -> Bounds<R> {
        Bounds {
            max_crashes: 0,
            max_duplicates: 0,
            max_drops: 0,
            timers: Vec::new(),
            max_depth: u32::MAX,
            max_states: 1_000_000,
            disks: Disks::AnyDelay,
            order: Order::BreadthFirst,
        }
    }
}

impl<R: Replica> Bounds<R> {
    /// Lets a timer fire so often over all nodes together.
    #[must_use]
    pub fn with_timer(mut self, timer: R::Timer, most: u8) -> Bounds<R> {
        self.timers.push(TimerBound { timer, node: None, most });
        self
    }

    /// Lets a timer fire so often at one node.
    #[must_use]
    pub fn with_timer_at(mut self, node: NodeId, timer: R::Timer, most: u8) -> Bounds<R> {
        self.timers.push(TimerBound { timer, node: Some(node), most });
        self
    }
}

/// What a schedule has used of its bounds. Part of a state's identity: with more left, more can follow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spent {
    pub(crate) crashes: u8,
    pub(crate) duplicates: u8,
    pub(crate) drops: u8,
    /// By position in `Bounds::timers`.
    pub(crate) firings: Vec<u8>,
    /// Bit by bit, the wishes already given.
    pub(crate) wishes: u64,
    /// Nodes whose disk stalls until they crash, ascending. Each has a crash set aside.
    pub(crate) stalled: Vec<NodeId>,
}

impl Spent {
    pub(crate) fn nothing<R: Replica>(bounds: &Bounds<R>) -> Spent {
        Spent {
            crashes: 0,
            duplicates: 0,
            drops: 0,
            firings: vec![0; bounds.timers.len()],
            wishes: 0,
            stalled: Vec::new(),
        }
    }

    /// Whether one more node may crash.
    pub(crate) fn leaves_a_crash<R: Replica>(&self, bounds: &Bounds<R>) -> bool {
        usize::from(self.crashes) + self.stalled.len() < usize::from(bounds.max_crashes)
    }
}
