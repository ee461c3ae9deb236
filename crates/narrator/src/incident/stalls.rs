//! Waits, found by their times.

use super::{LifeSpan, Reign};
use quorate_types::{NodeId, Slot, Time};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Shorter waits are no stalls.
const LEAST: Duration = Duration::from_millis(20);
/// No more are kept of one kind and node than this: under a long stall every slot waits.
const KEPT_MOST: usize = 4096;

/// A wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// From here.
    pub from: Time,
    /// To here.
    pub to: Time,
    /// Who waited; `None` for everybody.
    pub node: Option<NodeId>,
    /// For what.
    pub kind: StallKind,
}

/// What was waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StallKind {
    /// No recorded member led.
    NobodyLed,
    /// Slots in a leader's log were not committed.
    Commit {
        /// The first that waited.
        first: Slot,
        /// The last.
        last: Slot,
        /// They were committed in the end, by this leader.
        committed: bool,
    },
    /// A durable write was under way.
    Write {
        /// `journal` or `store`.
        lane: &'static str,
        /// How much, in bytes.
        bytes: u64,
        /// It completed.
        completed: bool,
    },
    /// The process did nothing, though its timers were due.
    StoodStill,
}

impl Stall {
    /// How long.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.to.since(self.from)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Stalls {
    found: Vec<Stall>,
    writes: BTreeMap<(NodeId, &'static str, u64), (Time, u64)>,
    /// At each leader: its log reached this slot then, and that is not committed yet.
    waiting: BTreeMap<NodeId, VecDeque<(Slot, Time)>>,
}

impl Stalls {
    pub(crate) fn marks(&mut self, node: NodeId, at: Time, leads: bool, last: Slot, committed: Slot) {
        let mut waiting = self.waiting.remove(&node).unwrap_or_default();
        if !leads {
            self.give_up(node, at, &waiting);
            return;
        }
        while let Some((slot, since)) = waiting.front().copied().filter(|(slot, _)| *slot <= committed) {
            waiting.pop_front();
            self.add_commit(node, since, at, slot, true);
        }
        if last > committed && waiting.back().is_none_or(|(slot, _)| *slot < last) {
            waiting.push_back((last, at));
        }
        self.waiting.insert(node, waiting);
    }

    pub(crate) fn write_begun(&mut self, node: NodeId, lane: &'static str, write: u64, bytes: u64, at: Time) {
        self.writes.insert((node, lane, write), (at, bytes));
    }

    pub(crate) fn write_done(&mut self, node: NodeId, lane: &'static str, write: u64, at: Time) {
        if let Some((since, bytes)) = self.writes.remove(&(node, lane, write)) {
            self.add(Stall {
                from: since,
                to: at,
                node: Some(node),
                kind: StallKind::Write { lane, bytes, completed: true },
            });
        }
    }

    pub(crate) fn stood_still(&mut self, node: NodeId, from: Time, to: Time) {
        let overlaps = |stall: &Stall| {
            stall.node == Some(node) && stall.kind == StallKind::StoodStill && stall.to >= from && stall.from <= to
        };
        match self.found.iter_mut().rev().take(64).find(|stall| overlaps(stall)) {
            Some(stall) => (stall.from, stall.to) = (stall.from.min(from), stall.to.max(to)),
            None => self.add(Stall { from, to, node: Some(node), kind: StallKind::StoodStill }),
        }
    }

    pub(crate) fn life_ended(&mut self, node: NodeId, at: Time) {
        let waiting = self.waiting.remove(&node).unwrap_or_default();
        self.give_up(node, at, &waiting);
        let open: Vec<_> = self.writes.keys().filter(|(owner, _, _)| *owner == node).copied().collect();
        for key in open {
            if let Some((since, bytes)) = self.writes.remove(&key) {
                let kind = StallKind::Write { lane: key.1, bytes, completed: false };
                self.add(Stall { from: since, to: at, node: Some(node), kind });
            }
        }
    }

    fn give_up(&mut self, node: NodeId, at: Time, waiting: &VecDeque<(Slot, Time)>) {
        for (slot, since) in waiting {
            self.add_commit(node, *since, at, *slot, false);
        }
    }

    /// Waits of one leader that overlap are one stall.
    fn add_commit(&mut self, node: NodeId, from: Time, to: Time, slot: Slot, committed: bool) {
        if to.since(from) < LEAST {
            return;
        }
        for stall in self.found.iter_mut().rev().take(8) {
            if let StallKind::Commit { last, committed: same, .. } = &mut stall.kind
                && stall.node == Some(node)
                && *same == committed
                && stall.to >= from
            {
                *last = (*last).max(slot);
                stall.to = stall.to.max(to);
                return;
            }
        }
        self.add(Stall { from, to, node: Some(node), kind: StallKind::Commit { first: slot, last: slot, committed } });
    }

    fn add(&mut self, stall: Stall) {
        if stall.duration() < LEAST {
            return;
        }
        self.found.push(stall);
        if self.found.len() > 2 * KEPT_MOST {
            self.found.sort_by_key(|stall| std::cmp::Reverse(stall.duration()));
            self.found.truncate(KEPT_MOST);
        }
    }

    pub(crate) fn longest(
        &self,
        reigns: &[Reign],
        lives: &[LifeSpan],
        window: (Time, Time),
        most: usize,
    ) -> Vec<Stall> {
        let nobody = without_leader(reigns, lives).into_iter().filter(|stall| stall.duration() >= LEAST);
        let inside = |stall: &Stall| stall.from <= window.1 && stall.to >= window.0;
        let mut all: Vec<Stall> = self.found.iter().cloned().chain(nobody).filter(inside).collect();
        all.sort_by_key(|stall| (std::cmp::Reverse(stall.duration()), stall.from));
        all.truncate(most);
        all
    }
}

/// When some member was recorded and none of those led.
fn without_leader(reigns: &[Reign], lives: &[LifeSpan]) -> Vec<Stall> {
    let begin = lives.iter().map(|life| life.from).min();
    let end = lives.iter().map(|life| life.to).max();
    let (Some(begin), Some(end)) = (begin, end) else { return Vec::new() };
    let mut covered = begin;
    let mut stalls = Vec::new();
    for reign in reigns {
        if reign.from > covered {
            stalls.push(Stall { from: covered, to: reign.from, node: None, kind: StallKind::NobodyLed });
        }
        covered = covered.max(reign.to.min(end));
    }
    if covered < end {
        stalls.push(Stall { from: covered, to: end, node: None, kind: StallKind::NobodyLed });
    }
    stalls
}
