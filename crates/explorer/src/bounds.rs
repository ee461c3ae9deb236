//! How far a search goes.

use quorate_protocol::Replica;
use quorate_types::NodeId;

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

/// The bounds of one search. The default: no faults, no timers, no limit on depth, a million states, one thread.
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
    /// Threads that search. Which states are seen does not depend on it; which of several shortest ways to a broken
    /// property is told does, where there is more than one.
    pub threads: usize,
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
            threads: 1,
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
    /// Crashes, those set aside for disks that stall until their node crashes included.
    crashes: u8,
    duplicates: u8,
    drops: u8,
    /// By position in `Bounds::timers`.
    firings: Vec<u8>,
    /// Bit by bit, the wishes already given.
    wishes: u64,
}

/// What an action uses of the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spending<T> {
    Duplicate,
    Drop,
    /// A crash, or a disk that stalls until one.
    Crash,
    Firing(NodeId, T),
    Wish(u32),
}

impl Spent {
    pub(crate) fn nothing<R: Replica>(bounds: &Bounds<R>) -> Spent {
        Spent { crashes: 0, duplicates: 0, drops: 0, firings: vec![0; bounds.timers.len()], wishes: 0 }
    }

    /// With this spent too; `None` if the bounds do not leave it.
    pub(crate) fn with<R: Replica>(&self, spending: Spending<R::Timer>, bounds: &Bounds<R>) -> Option<Spent> {
        let mut spent = self.clone();
        let leaves = |used: &mut u8, most: u8| {
            *used += 1;
            *used <= most
        };
        let is_left = match spending {
            Spending::Duplicate => leaves(&mut spent.duplicates, bounds.max_duplicates),
            Spending::Drop => leaves(&mut spent.drops, bounds.max_drops),
            Spending::Crash => leaves(&mut spent.crashes, bounds.max_crashes),
            Spending::Firing(node, timer) => {
                let allows = |bound: &TimerBound<R::Timer>, used: u8| bound.speaks_of(node, timer) && used < bound.most;
                let bounds = bounds.timers.iter().zip(&mut spent.firings);
                let first = bounds.into_iter().find(|(bound, used)| allows(bound, **used));
                first.map(|(_, used)| *used += 1).is_some()
            }
            Spending::Wish(number) => {
                let bit = 1 << number;
                std::mem::replace(&mut spent.wishes, self.wishes | bit) & bit == 0
            }
        };
        is_left.then_some(spent)
    }
}

impl<T: PartialEq> TimerBound<T> {
    /// Whether it counts this timer at this node.
    pub(crate) fn speaks_of(&self, node: NodeId, timer: T) -> bool {
        self.timer == timer && self.node.is_none_or(|only| only == node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_paxos::{Paxos, Timer};

    #[test]
    fn a_timer_uses_the_first_bound_that_is_left_and_then_no_more() {
        let (one, two) = (NodeId(1), NodeId(2));
        let bounds = Bounds::<Paxos>::default().with_timer_at(one, Timer::Retry, 1).with_timer(Timer::Retry, 1);
        let fires = |spent: &Spent, node| spent.with(Spending::Firing(node, Timer::Retry), &bounds);
        let once = fires(&Spent::nothing(&bounds), one).expect("the first is of its own");
        let twice = fires(&once, two).expect("the second of all together");
        assert_eq!(fires(&twice, one), None);
        assert_eq!(once.with(Spending::Firing(one, Timer::Resend), &bounds), None, "a timer without a bound");
    }

    #[test]
    fn a_wish_is_given_once() {
        let bounds = Bounds::<Paxos>::default();
        let given = Spent::nothing(&bounds).with(Spending::Wish(3), &bounds).expect("it is not given yet");
        assert_eq!(given.with(Spending::Wish(3), &bounds), None);
        assert!(given.with(Spending::Wish(2), &bounds).is_some());
    }
}
