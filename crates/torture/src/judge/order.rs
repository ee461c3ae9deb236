//! Real time against the order of revisions: what was asked after something was answered, or shown to a watcher, is of a later
//! revision if it writes, and sees at least that one if it reads.

use super::add;
use super::replay::{Replayed, describe};
use crate::lease_life::seconds;
use crate::ledger::Ledger;
use crate::record::Call;
use crate::request::{Outcome, Request};

/// Something that was known at a time: the store had reached a revision.
struct Known {
    at_ns: u64,
    revision: i64,
    /// The call, or `None`: a watcher.
    by: Option<usize>,
}

/// Violations of real-time order. With [`super::replay`] this decides strict serializability of all calls whose revision is known;
/// scans that are serializable by their own word take no part.
#[must_use]
pub fn judge_order(ledger: &Ledger, calls: &[Call], replayed: &Replayed) -> Vec<String> {
    let mut known: Vec<Known> = ledger
        .revisions()
        .iter()
        .map(|(&revision, told)| Known { at_ns: told.first_seen_ns, revision, by: None })
        .collect();
    known.extend(calls.iter().enumerate().filter_map(|(at, call)| {
        let revision = answered_at(call)?;
        Some(Known { at_ns: call.ended_ns, revision, by: Some(at) })
    }));
    known.sort_by_key(|known| known.at_ns);
    // From here on each entry is the greatest revision known by then.
    for at in 1..known.len() {
        if known[at - 1].revision > known[at].revision {
            (known[at].revision, known[at].by) = (known[at - 1].revision, known[at - 1].by);
        }
    }
    let mut findings = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        let Some((revision, writes)) = revision_of(at, call, replayed) else { continue };
        let before = known.partition_point(|known| known.at_ns < call.called_ns);
        let Some(latest) = before.checked_sub(1).and_then(|before| known.get(before)) else { continue };
        if revision < latest.revision || (writes && revision == latest.revision) {
            let whom = latest.by.map_or_else(|| "a watcher".to_owned(), |by| describe(&calls[by]));
            add(
                &mut findings,
                format!(
                    "{} is of revision {revision}, and was asked when revision {} was known already, by {:.3} s, to {whom}",
                    describe(call),
                    latest.revision,
                    seconds(latest.at_ns)
                ),
            );
        }
    }
    findings
}

/// The revision that an answer told, unless it may be of an old state by its own word.
fn answered_at(call: &Call) -> Option<i64> {
    match (&call.outcome, &call.request) {
        (_, Request::Scan { serializable: true, .. }) => None,
        (Outcome::Done(answer), _) => Some(answer.revision),
        (Outcome::Failed(_) | Outcome::Unknown(_), _) => None,
    }
}

/// The revision of a call, and whether the revision is its own.
fn revision_of(at: usize, call: &Call, replayed: &Replayed) -> Option<(i64, bool)> {
    if let Some(&revision) = replayed.took_effect.get(&at) {
        return Some((revision, true));
    }
    let revision = answered_at(call)?;
    let Outcome::Done(answer) = &call.outcome else { return None };
    Some((revision, answer.deleted > 0 || !call.request.puts(answer.succeeded).is_empty()))
}
