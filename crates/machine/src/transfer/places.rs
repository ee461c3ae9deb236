//! Who waits for a place among the images that are sent, and since when.

use quorate_types::{NodeId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Whether an image may be sent now, beside what is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// There is a place.
    Free,
    /// It takes the place of this one, which was given up: the receiver says nothing.
    InPlaceOf(u64, NodeId),
    /// Every place is taken, or will go to somebody who has waited longer.
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: Time,
    asked_at: Time,
}

/// Receivers that were refused. Their replica asks again when it likes, in whatever order: a place goes to who has waited longest.
#[derive(Clone, Debug, Default)]
pub(super) struct WaitingList(BTreeMap<NodeId, Waiting>);

impl WaitingList {
    /// How many have waited longer than this one. A place is not kept for one that has not asked for as long as `asks_within`.
    pub(super) fn ahead_of(&self, now: Time, to: NodeId, asks_within: Duration) -> usize {
        let since = self.0.get(&to).map_or(now, |waiting| waiting.since);
        let is_ahead = |(id, waiting): &(&NodeId, &Waiting)| {
            **id != to && (waiting.since, **id) < (since, to) && now < waiting.asked_at + asks_within
        };
        self.0.iter().filter(is_ahead).count()
    }

    /// This one was refused; who has not asked for as long as `forgotten_after` has found what it wanted elsewhere.
    pub(super) fn refused(&mut self, now: Time, to: NodeId, forgotten_after: Duration) {
        self.0.retain(|_, waiting| now < waiting.asked_at + forgotten_after);
        self.0.entry(to).or_insert(Waiting { since: now, asked_at: now }).asked_at = now;
    }

    /// This one has a place.
    pub(super) fn admitted(&mut self, to: NodeId) {
        self.0.remove(&to);
    }
}
