//! The beginning of a cluster whose state was not made by its own log.

use crate::entry::Configuration;
use crate::record::{Anchor, Record};
use quorate_types::{Membership, Slot};

/// The term that stands for the log of the cluster that the state came from. The first election is in the next one.
const TERM_BEFORE: u64 = 1;

/// What the journal of a founding member holds before its first start, in a cluster that begins with a state it was given:
/// everything up to and with `slot` is decided, and the log begins behind it. All members must be given the same state, the
/// same `slot` and the same members.
///
/// A log that began at slot 1 would be sent to a member that joins later, which does not have the state: so the state stands
/// behind an anchor like any other, and whoever lacks it gets a snapshot. `slot` must not be 0.
#[must_use]
pub fn founded_behind(membership: &Membership, slot: Slot) -> (Vec<Record>, Anchor) {
    founded_behind_term(membership, slot, TERM_BEFORE)
}

/// The same, behind a log whose terms were known: the new cluster's are above `term`, so that a term never means two things to
/// whoever compares what both clusters said.
#[must_use]
pub fn founded_behind_term(membership: &Membership, slot: Slot, term: u64) -> (Vec<Record>, Anchor) {
    let anchor = Anchor { slot, term, configuration: Configuration::of(membership.clone()) };
    let records = vec![
        Record::Founded { membership: membership.clone() },
        Record::TermVote { term, voted_for: None },
        Record::Anchor(anchor.clone()),
    ];
    (records, anchor)
}
