//! Every revision of the store, as watchers of all keys were told of it. All must be told the same: each revision once, whole, in
//! order, and none left out. As every revision has an event, that can be checked by counting.

use crate::request::Pair;
use std::collections::BTreeMap;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key was written.
    Put(Pair),
    /// A key was removed.
    Delete(String),
}

impl Event {
    /// Of which key.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Event::Put(pair) => &pair.key,
            Event::Delete(key) => key,
        }
    }
}

/// All changes of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// In their order.
    pub events: Vec<Event>,
    /// When the first watcher was told.
    pub first_seen_ns: u64,
    /// What watchers were told was there before, by key: a change of a key that was not there has `None`.
    pub before: BTreeMap<String, Option<Pair>>,
}

/// The revision of a store in which nothing was written.
pub const FIRST_REVISION: i64 = 1;

/// Everything that watchers were told.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    revisions: BTreeMap<i64, Revision>,
    /// How far each watcher is.
    reached: Vec<i64>,
    /// The greatest revision that was asked to be compacted, whatever came of it.
    compaction_asked: i64,
    /// What was wrong.
    findings: Vec<String>,
    deliveries: u64,
}

/// Words of violations; one defect may break a rule many times.
const FINDINGS_MAX: usize = 20;

impl Ledger {
    /// For so many watchers.
    #[must_use]
    pub fn new(watchers: usize) -> Ledger {
        Ledger { reached: vec![FIRST_REVISION; watchers], ..Ledger::default() }
    }

    /// How far a watcher is.
    #[must_use]
    pub fn reached(&self, watcher: usize) -> i64 {
        self.reached.get(watcher).copied().unwrap_or(FIRST_REVISION)
    }

    /// How far all are.
    #[must_use]
    pub fn reached_by_all(&self) -> i64 {
        self.reached.iter().copied().min().unwrap_or(FIRST_REVISION)
    }

    /// All revisions.
    #[must_use]
    pub fn revisions(&self) -> &BTreeMap<i64, Revision> {
        &self.revisions
    }

    /// The last revision anybody was told of.
    #[must_use]
    pub fn last(&self) -> i64 {
        self.revisions.keys().next_back().copied().unwrap_or(FIRST_REVISION)
    }

    /// Violations.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// How many revisions were told, over all watchers.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// The greatest revision asked to be compacted.
    #[must_use]
    pub fn compaction_asked(&self) -> i64 {
        self.compaction_asked
    }

    /// Notes that a compaction is asked for.
    pub fn ask_compaction(&mut self, revision: i64) {
        self.compaction_asked = self.compaction_asked.max(revision);
    }

    /// Adds a violation.
    pub fn find(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    /// A watcher is told all events of one response that are of this revision.
    pub fn deliver(&mut self, watcher: usize, revision: i64, told: Revision) {
        let expected = self.reached(watcher) + 1;
        self.deliveries += 1;
        if revision > expected {
            self.find(format!(
                "watcher {watcher} was told of revision {revision} after revision {}: {} are missing",
                expected - 1,
                revision - expected
            ));
        } else if revision < expected {
            self.find(format!(
                "watcher {watcher} was told of revision {revision} after revision {}: again, in parts, or out of order",
                expected - 1
            ));
        }
        if let Some(reached) = self.reached.get_mut(watcher) {
            *reached = revision.max(*reached);
        }
        match self.revisions.get_mut(&revision) {
            None => _ = self.revisions.insert(revision, told),
            Some(known) if known.events != told.events => {
                let words = format!(
                    "watcher {watcher} was told {:?} of revision {revision}, another one {:?}",
                    told.events, known.events
                );
                self.find(words);
            }
            Some(known) => {
                known.first_seen_ns = known.first_seen_ns.min(told.first_seen_ns);
                known.before.extend(told.before);
            }
        }
    }

    /// A watcher is told that it has everything up to a revision.
    pub fn bookmark(&mut self, watcher: usize, revision: i64) {
        let reached = self.reached(watcher);
        if revision > reached {
            self.find(format!(
                "watcher {watcher} was told that it has everything up to revision {revision}, and it had up to {reached}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(key: &str) -> Revision {
        Revision { events: vec![Event::Delete(key.to_owned())], first_seen_ns: 5, before: BTreeMap::new() }
    }

    fn found(deliveries: &[(usize, i64, &str)]) -> Vec<String> {
        let mut ledger = Ledger::new(2);
        for (watcher, revision, key) in deliveries {
            ledger.deliver(*watcher, *revision, told(key));
        }
        ledger.findings().to_vec()
    }

    #[test]
    fn watchers_that_are_told_everything_once_in_order_are_content() {
        assert_eq!(found(&[(0, 2, "a"), (1, 2, "a"), (0, 3, "b"), (0, 4, "c"), (1, 3, "b")]), [""; 0]);
    }

    #[test]
    fn what_is_missing_told_twice_or_told_otherwise_is_found() {
        assert!(found(&[(0, 2, "a"), (0, 4, "c")])[0].contains("1 are missing"));
        assert!(found(&[(0, 2, "a"), (0, 2, "a")])[0].contains("again"));
        assert!(found(&[(0, 2, "a"), (1, 2, "b")])[0].contains("another one"));
    }

    #[test]
    fn a_bookmark_ahead_of_what_was_told_is_found() {
        let mut ledger = Ledger::new(1);
        ledger.deliver(0, 2, told("a"));
        ledger.bookmark(0, 2);
        assert!(ledger.findings().is_empty());
        ledger.bookmark(0, 3);
        assert!(ledger.findings()[0].contains("everything up to revision 3"));
    }

    #[test]
    fn the_slowest_watcher_says_how_far_all_are() {
        let mut ledger = Ledger::new(2);
        ledger.deliver(0, 2, told("a"));
        assert_eq!((ledger.reached_by_all(), ledger.last()), (FIRST_REVISION, 2));
        ledger.deliver(1, 2, told("a"));
        assert_eq!(ledger.reached_by_all(), 2);
    }
}
