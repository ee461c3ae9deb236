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
    /// Every write completes the moment it is asked for. Far fewer states, and **incomplete**: never explored are crashes that
    /// lose a write, and whatever arrives while one is under way. For finding flaws of another kind faster.
    pub instant_disks: bool,
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
            instant_disks: false,
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
}

impl Spent {
    pub(crate) fn nothing<R: Replica>(bounds: &Bounds<R>) -> Spent {
        Spent { crashes: 0, duplicates: 0, drops: 0, firings: vec![0; bounds.timers.len()], wishes: 0 }
    }
}
