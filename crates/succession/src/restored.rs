//! The beginning of a cluster whose state was not made by its own log.

use crate::heir::Heir;
use crate::inside::within;
use crate::record::{Anchor, Record, Way};
use quorate_types::{Membership, Slot};

/// What the journal of a founding member holds before its first start, in a cluster that begins with a state it was given:
/// everything up to and with `slot` is decided, and the log begins behind it. All members must be given the same state, the
/// same `slot`, the same members and the same `configuration`, the number of the first one: 1, or, behind a log whose configurations were
/// known, one above theirs, so that an era never means two things to whoever compares what both clusters said.
///
/// A log that began at slot 1 would be sent to a member that joins later, which does not have the state: so the state stands
/// behind an anchor like any other, and whoever lacks it gets a snapshot. Neither `slot` nor `configuration` may be 0.
pub(crate) fn founded_behind<P: Heir>(
    config: &P::Config,
    members: &Membership,
    slot: Slot,
    configuration: u64,
) -> (Vec<Record<P>>, Anchor<P>) {
    let anchor = Anchor { configuration, prefix: P::founding(config, members, slot) };
    let mut records = vec![Record::Configuration { anchor: anchor.clone(), way: Way::Decided }];
    records.extend(within(configuration, P::opening(&anchor.prefix, None)));
    (records, anchor)
}
