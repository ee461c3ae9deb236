//! The beginning of a cluster whose state was not made by its own log.

use crate::record::{Anchor, Record};
use crate::view::Configuration;
use quorate_types::{Membership, Slot};

/// The first epoch of any cluster.
const FIRST_EPOCH: u64 = 1;

/// What the journal of a founding member holds before its first start, in a cluster that begins with a state it was given:
/// everything up to and with `slot` is decided, and the log begins behind it. All members must be given the same state, the
/// same `slot` and the same members.
///
/// A log that began at slot 1 would be sent to a member that joins later, which does not have the state: so the state stands
/// behind an anchor like any other, and whoever lacks it gets a snapshot. `slot` must not be 0.
#[must_use]
pub fn founded_behind(membership: &Membership, slot: Slot) -> (Vec<Record>, Anchor) {
    let configuration = Configuration { epoch: FIRST_EPOCH, members: membership.clone() };
    let anchor = Anchor { slot, configuration };
    (vec![Record::Founded { membership: membership.clone() }, Record::Anchor(anchor.clone())], anchor)
}
