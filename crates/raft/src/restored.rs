//! The beginning of a cluster whose state was not made by its own log.

use crate::entry::Configuration;
use crate::record::{Anchor, Record};
use quorate_types::{Membership, Slot};

/// What the journal of a founding member holds before its first start, in a cluster that begins with a state it was given:
/// everything up to and with `slot` is decided, and the log begins behind it. `term` stands for the log that made the state; the first
/// election is in a later one. All members must be given the same state, the same `slot`, the same members and the same `term`.
///
/// A log that began at slot 1 would be sent to a member that joins later, which does not have the state: so the state stands
/// behind an anchor like any other, and whoever lacks it gets a snapshot. `slot` must not be 0.
pub(crate) fn founded_behind(membership: &Membership, slot: Slot, term: u64) -> (Vec<Record>, Anchor) {
    let anchor = Anchor { slot, term, configuration: Configuration::of(membership.clone()) };
    let records = vec![
        Record::Founded { membership: membership.clone() },
        Record::TermVote { term, voted_for: None },
        Record::Anchor(anchor.clone()),
    ];
    (records, anchor)
}
