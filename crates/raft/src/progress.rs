//! What a leader knows of one peer's log, and what it may send there next.

use crate::config::Config;
use quorate_protocol::SnapshotId;
use quorate_types::Slot;
use std::collections::VecDeque;

/// One peer, as its leader sees it (dissertation, 10.2.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    /// Its log equals ours, durably, up to here. Never goes down.
    pub matched: Slot,
    /// The next slot to send. `matched < next`.
    pub next: Slot,
    /// How sure we are of `next`.
    pub pace: Pace,
    /// The greatest round it answered.
    pub answered_round: u64,
    /// The commit mark it was last told.
    pub told_commit: Slot,
    /// Something must be sent at the next occasion, entries or not.
    pub due: bool,
    /// It votes and stores no data (`witness.rs`).
    pub is_witness: bool,
}

/// How sure a leader is of where a peer's log ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pace {
    /// Not sure: one append at a time.
    Probe {
        /// The last slot and the weight of the one under way; only heartbeats follow until it is answered.
        under_way: Option<(Slot, u64)>,
    },
    /// Sure: appends follow each other without waiting, within a window.
    Replicate(Window),
    /// It needs what is no longer kept here: nothing but heartbeats until a snapshot got there, or shows to be needless.
    Snapshot(Transfer),
}

/// How far a snapshot for a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// To be asked for.
    Wanted,
    /// Asked for; the driver answers with a pinned view or a failure.
    Pinning,
    /// Described and on its way; the driver will say how it ended.
    Sending {
        /// The view.
        id: SnapshotId,
        /// The last slot in it.
        through: Slot,
    },
    /// Failed.
    Paused {
        /// After so many more heartbeats the peer is probed again, which also shows whether anybody is there.
        heartbeats: u32,
    },
}

/// Appends with entries that are not answered yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Window {
    /// For each, its last slot and its weight; slots ascend.
    pub(crate) unanswered: VecDeque<(Slot, u64)>,
    pub(crate) bytes: u64,
}

/// What to send to a peer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Nothing,
    /// Entries are waiting, and too much is unanswered.
    Full,
    /// An append without entries.
    Empty,
    /// An append with entries from `next` on.
    Entries,
}

impl Pace {
    /// Nothing is under way.
    pub const PROBE: Pace = Pace::Probe { under_way: None };
}

impl Window {
    /// How many appends are unanswered.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.unanswered.len()
    }

    /// How much they weigh.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the sum of the weights is right, and slots ascend.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let sum: u64 = self.unanswered.iter().map(|(_, bytes)| bytes).sum();
        sum == self.bytes && self.unanswered.iter().map(|(slot, _)| slot).is_sorted()
    }

    fn is_full(&self, config: &Config) -> bool {
        self.unanswered.len() >= config.window_messages || self.bytes >= config.window_bytes
    }

    fn sent(&mut self, last: Slot, bytes: u64) {
        self.unanswered.push_back((last, bytes));
        self.bytes += bytes;
    }

    fn answered(&mut self, matched: Slot) {
        while let Some((_, bytes)) = self.unanswered.front().filter(|(last, _)| *last <= matched) {
            self.bytes -= bytes;
            self.unanswered.pop_front();
        }
    }
}

impl Progress {
    /// A peer of which a new leader knows nothing: it guesses that the logs are equal.
    #[must_use]
    pub fn unknown(next: Slot) -> Progress {
        let (matched, told_commit) = (Slot::ZERO, Slot::ZERO);
        Progress { matched, next, pace: Pace::PROBE, answered_round: 0, told_commit, due: true, is_witness: false }
    }

    /// What to send, given the last slot it may have and the commit mark.
    #[must_use]
    pub fn plan(&self, last: Slot, commit: Slot, config: &Config) -> Plan {
        let entries_wait = self.next <= last;
        match &self.pace {
            Pace::Probe { under_way: None } if entries_wait => Plan::Entries,
            Pace::Probe { under_way: None } => Plan::Empty,
            Pace::Probe { under_way: Some(_) } if self.due => Plan::Empty,
            Pace::Probe { under_way: Some(_) } => Plan::Nothing,
            Pace::Replicate(window) if entries_wait && !window.is_full(config) => Plan::Entries,
            Pace::Replicate(_) if self.due || self.told_commit < commit => Plan::Empty,
            Pace::Replicate(_) if entries_wait => Plan::Full,
            Pace::Snapshot(_) if self.due => Plan::Empty,
            Pace::Replicate(_) | Pace::Snapshot(_) => Plan::Nothing,
        }
    }

    /// An append left, with this many entries of this weight.
    pub fn sent(&mut self, entries: u64, bytes: u64, commit: Slot) {
        self.due = false;
        self.told_commit = self.told_commit.max(commit);
        match &mut self.pace {
            Pace::Probe { under_way: Some(_) } => {}
            Pace::Probe { under_way } => *under_way = Some((Slot(self.next.previous().0 + entries), bytes)),
            Pace::Replicate(window) if entries > 0 => {
                self.next = Slot(self.next.0 + entries);
                window.sent(self.next.previous(), bytes);
            }
            Pace::Replicate(_) | Pace::Snapshot(_) => {}
        }
    }

    /// Its log is ours up to `matched`, durably; says whether that is news. Entries are kept here behind `base`.
    pub fn accepted(&mut self, matched: Slot, base: Slot) -> bool {
        let news = matched > self.matched;
        self.matched = self.matched.max(matched);
        match &mut self.pace {
            Pace::Probe { under_way } => {
                // What the probe carried is there already, if only in memory. If it is not, the next append is rejected.
                let (sent, bytes) = under_way.unwrap_or((self.matched, 0));
                let mut window = Window::default();
                if sent > self.matched {
                    window.sent(sent, bytes);
                }
                self.next = sent.max(self.matched).next();
                self.pace = Pace::Replicate(window);
            }
            Pace::Replicate(window) => {
                window.answered(self.matched);
                self.next = self.next.max(self.matched.next());
            }
            Pace::Snapshot(_) if self.matched >= base => {
                // Whatever brought it so far, it can follow from here.
                self.next = self.matched.next();
                self.pace = Pace::Replicate(Window::default());
            }
            Pace::Snapshot(_) => {}
        }
        news
    }

    /// Why a rejection of what follows `prev_slot` is old, if it is. The rejected slot decides and not the hint: a hint
    /// equal to `matched` is how a peer that lost an append on the way says so.
    #[must_use]
    pub fn stale_rejection(&self, prev_slot: Slot) -> Option<&'static str> {
        match self.pace {
            Pace::Probe { .. } if prev_slot != self.next.previous() => Some("it answers an earlier probe"),
            Pace::Replicate(_) if prev_slot <= self.matched => Some("it is known to hold that slot"),
            Pace::Snapshot(_) => Some("it needs a snapshot and is known to"),
            _ => None,
        }
    }

    /// Back to probing from `next` on, which never goes below what is known to match.
    pub fn probe_from(&mut self, next: Slot) {
        self.next = next.max(self.matched.next());
        self.pace = Pace::PROBE;
    }

    /// Appends kept here begin at `first`: nothing before it can be sent.
    pub fn start_at_least_at(&mut self, first: Slot) {
        if self.next >= first {
            return;
        }
        match self.pace {
            Pace::Probe { .. } | Pace::Replicate(_) => self.probe_from(first),
            Pace::Snapshot(_) => self.next = first,
        }
    }

    /// Heartbeats only, until it answers one of them.
    pub fn stall(&mut self) {
        self.pace = Pace::Probe { under_way: Some((self.next.previous(), 0)) };
    }

    /// Nothing that is kept here can help it.
    pub fn needs_snapshot(&mut self) {
        self.pace = Pace::Snapshot(Transfer::Wanted);
    }

    /// A heartbeat interval is over: a pause comes nearer to its end.
    pub fn heartbeat(&mut self) {
        if let Pace::Snapshot(Transfer::Paused { heartbeats }) = &mut self.pace {
            *heartbeats = heartbeats.saturating_sub(1);
            if *heartbeats == 0 {
                self.pace = Pace::PROBE;
            }
        }
    }

    /// One word.
    #[must_use]
    pub fn pace_name(&self) -> &'static str {
        match self.pace {
            Pace::Probe { .. } => "probe",
            Pace::Replicate(_) => "replicate",
            Pace::Snapshot(_) => "snapshot",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Entry, Payload};
    use crate::log::Log;

    fn log_of(count: u64) -> Log {
        let mut log = Log::behind(Slot::ZERO, 0);
        (0..count).for_each(|_| log.push(Entry { term: 1, payload: Payload::NoOp }));
        log
    }

    #[test]
    fn a_probe_goes_out_once_and_then_only_heartbeats_follow() {
        let (log, config) = (log_of(3), Config::default());
        let mut progress = Progress::unknown(Slot(2));
        assert_eq!(progress.plan(log.last(), Slot::ZERO, &config), Plan::Entries);
        progress.sent(2, 32, Slot::ZERO);
        assert_eq!(progress.next, Slot(2));
        assert_eq!(progress.plan(log.last(), Slot(1), &config), Plan::Nothing);
        progress.due = true;
        assert_eq!(progress.plan(log.last(), Slot(1), &config), Plan::Empty);
        progress.accepted(Slot(1), Slot::ZERO);
        assert_eq!((progress.next, progress.matched), (Slot(4), Slot(1)));
    }

    #[test]
    fn a_full_window_waits_and_an_answer_frees_it() {
        let log = log_of(9);
        let config = Config { window_messages: 2, ..Config::default() };
        let mut progress = Progress::unknown(Slot(1));
        progress.accepted(Slot::ZERO, Slot::ZERO);
        progress.sent(2, 10, Slot::ZERO);
        progress.sent(2, 10, Slot::ZERO);
        assert_eq!((progress.next, progress.plan(log.last(), Slot::ZERO, &config)), (Slot(5), Plan::Full));
        progress.due = true;
        assert_eq!(progress.plan(log.last(), Slot::ZERO, &config), Plan::Empty);
        progress.accepted(Slot(2), Slot::ZERO);
        assert_eq!(progress.plan(log.last(), Slot::ZERO, &config), Plan::Entries);
    }

    #[test]
    fn an_old_acceptance_takes_nothing_back() {
        let mut progress = Progress::unknown(Slot(1));
        assert!(progress.accepted(Slot(5), Slot::ZERO));
        assert!(!progress.accepted(Slot(3), Slot::ZERO));
        assert_eq!((progress.matched, progress.next), (Slot(5), Slot(6)));
    }

    #[test]
    fn staleness_of_a_rejection_is_told_by_the_rejected_slot() {
        let mut progress = Progress::unknown(Slot(7));
        assert!(progress.stale_rejection(Slot(5)).is_some());
        assert!(progress.stale_rejection(Slot(6)).is_none());
        progress.accepted(Slot(6), Slot::ZERO);
        assert!(progress.stale_rejection(Slot(6)).is_some());
        assert!(progress.stale_rejection(Slot(8)).is_none());
    }

    #[test]
    fn a_peer_that_needs_a_snapshot_gets_heartbeats_only_until_it_can_follow() {
        let (mut log, config) = (log_of(9), Config::default());
        log.drop_through(Slot(6));
        let mut progress = Progress::unknown(Slot(4));
        progress.start_at_least_at(log.first());
        assert_eq!((progress.next, progress.pace.clone()), (Slot(7), Pace::PROBE));
        progress.needs_snapshot();
        assert_eq!(progress.plan(log.last(), Slot(9), &config), Plan::Empty);
        progress.sent(0, 0, Slot(9));
        assert_eq!(progress.plan(log.last(), Slot(9), &config), Plan::Nothing);
        assert!(progress.stale_rejection(Slot(6)).is_some());
        progress.accepted(Slot(5), log.base());
        assert_eq!(progress.pace_name(), "snapshot");
        progress.accepted(Slot(6), log.base());
        assert_eq!((progress.pace_name(), progress.next), ("replicate", Slot(7)));
    }

    #[test]
    fn a_pause_ends_with_a_probe_after_its_heartbeats() {
        let mut progress = Progress::unknown(Slot(4));
        progress.pace = Pace::Snapshot(Transfer::Paused { heartbeats: 2 });
        progress.heartbeat();
        assert_eq!(progress.pace, Pace::Snapshot(Transfer::Paused { heartbeats: 1 }));
        progress.heartbeat();
        assert_eq!(progress.pace, Pace::PROBE);
    }
}
