//! What short-lived watchers of a prefix were told, held against everything there was.

use super::add;
use crate::ledger::{Event, Ledger};
use crate::watcher::Browse;

/// Violations: something left out, told twice, out of order, or otherwise than it was.
#[must_use]
pub fn judge_browses(ledger: &Ledger, browses: &[Browse]) -> Vec<String> {
    let mut findings = Vec::new();
    for browse in browses {
        if let Some(wrong) = wrong(ledger, browse) {
            let Browse { member, prefix, from, .. } = browse;
            add(&mut findings, format!("a watcher of {prefix} from revision {from} on, at {member}, {wrong}"));
        }
    }
    findings
}

fn wrong(ledger: &Ledger, browse: &Browse) -> Option<String> {
    if let Some(compacted_at) = browse.compacted_at {
        let asked = ledger.compaction_asked();
        if browse.from > compacted_at || compacted_at > asked {
            return Some(format!(
                "was cancelled as compacted at {compacted_at}; the last compaction asked for is {asked}"
            ));
        }
        return None;
    }
    let matching = |events: &[Event]| -> Vec<Event> {
        events.iter().filter(|event| event.key().starts_with(&browse.prefix)).cloned().collect()
    };
    let mut should = ledger
        .revisions()
        .range(browse.from..)
        .map(|(&revision, told)| (revision, matching(&told.events)))
        .filter(|(_, events)| !events.is_empty());
    for (revision, events) in &browse.told {
        match should.next() {
            Some((next, all)) if next == *revision && all == *events => {}
            Some((next, all)) => {
                return Some(format!(
                    "was told {events:?} of revision {revision}, when revision {next}, {all:?}, was next"
                ));
            }
            None => return Some(format!("was told {events:?} of revision {revision}, which there is not")),
        }
    }
    let (missing, _) = should.next().filter(|(next, _)| *next <= browse.has_up_to)?;
    Some(format!("was told that it has everything up to {}, and it never had revision {missing}", browse.has_up_to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Revision;
    use std::collections::BTreeMap;

    fn ledger(keys: &[&str]) -> Ledger {
        let mut ledger = Ledger::new(1);
        for (revision, key) in (2..).zip(keys) {
            let told =
                Revision { events: vec![Event::Delete((*key).to_owned())], first_seen_ns: 0, before: BTreeMap::new() };
            ledger.deliver(0, revision, told);
        }
        ledger
    }

    fn browse(from: i64, told: &[(i64, &str)], has_up_to: i64) -> Browse {
        let told = told.iter().map(|(revision, key)| (*revision, vec![Event::Delete((*key).to_owned())])).collect();
        Browse { member: "node1".to_owned(), prefix: "r/".to_owned(), from, told, has_up_to, compacted_at: None }
    }

    #[test]
    fn a_watcher_that_left_early_and_one_that_saw_all_are_content() {
        let ledger = ledger(&["r/1", "b/1", "r/2", "r/3"]);
        let good = [
            browse(2, &[(2, "r/1")], 3),
            browse(3, &[(4, "r/2"), (5, "r/3")], 5),
            browse(2, &[], 0),
            browse(5, &[], 4),
        ];
        assert_eq!(judge_browses(&ledger, &good), [""; 0]);
    }

    #[test]
    fn what_is_left_out_told_twice_or_promised_too_much_is_found() {
        let ledger = ledger(&["r/1", "b/1", "r/2", "r/3"]);
        let found = |browse: Browse| judge_browses(&ledger, &[browse]).join(";");
        assert!(found(browse(2, &[(4, "r/2")], 0)).contains("revision 2"));
        assert!(found(browse(2, &[(2, "r/1"), (2, "r/1")], 0)).contains("revision 4"));
        assert!(found(browse(2, &[(2, "r/x")], 0)).contains("was next"));
        assert!(found(browse(2, &[(2, "r/1")], 4)).contains("never had revision 4"));
        assert!(found(browse(5, &[(5, "r/3"), (6, "r/4")], 0)).contains("which there is not"));
    }

    #[test]
    fn to_be_cancelled_as_compacted_takes_a_compaction_that_was_asked_for() {
        let mut ledger = ledger(&["r/1", "r/2", "r/3"]);
        let cancelled = |from, at| Browse { compacted_at: Some(at), ..browse(from, &[], 0) };
        assert_eq!(judge_browses(&ledger, &[cancelled(2, 3)]).len(), 1);
        ledger.ask_compaction(3);
        assert_eq!(judge_browses(&ledger, &[cancelled(2, 3)]), [""; 0]);
        assert_eq!(judge_browses(&ledger, &[cancelled(4, 3)]).len(), 1);
    }
}
