//! The beginning of a cluster whose state was not made by its own log.

use crate::entry::Entries;
use crate::record::{Anchor, Record};
use crate::view::{Configuration, View};
use quorate_types::{Membership, Slot};

/// What the journal of a founding member holds before its first start, in a cluster that begins with a state it was given:
/// everything up to and with `slot` is decided, and the log begins behind it, in the first view of `epoch`. All members must be given the
/// same state, the same `slot`, the same members and the same `epoch`: 1, or, behind a log whose epochs were known, a later one than
/// theirs.
///
/// A log that began at slot 1 would be sent to a member that joins later, which does not have the state: so the state stands
/// behind an anchor like any other, and whoever lacks it gets a snapshot. `slot` must not be 0.
pub(crate) fn founded_behind(membership: &Membership, slot: Slot, epoch: u64) -> (Vec<Record>, Anchor) {
    let anchor = Anchor { slot, configuration: Configuration { epoch, members: membership.clone() } };
    let view = View::first_of(epoch);
    let records = vec![
        Record::Founded { membership: membership.clone() },
        Record::Entered { view, first: slot.next(), entries: Entries::default() },
        Record::Anchor(anchor.clone()),
    ];
    (records, anchor)
}
