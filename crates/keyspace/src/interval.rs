//! etcd's rules for `key` and `range_end`.

use std::ops::Bound;

/// The keys that a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interval<'a> {
    /// This key alone.
    Key(&'a [u8]),
    /// Every key from this one on.
    From(&'a [u8]),
    /// From the first up to but without the second, which is greater.
    Between(&'a [u8], &'a [u8]),
    /// No key.
    Empty,
}

impl<'a> Interval<'a> {
    pub(crate) fn new(key: &'a [u8], range_end: &'a [u8]) -> Interval<'a> {
        match range_end {
            [] => Interval::Key(key),
            [0] => Interval::From(key),
            _ if key < range_end => Interval::Between(key, range_end),
            _ => Interval::Empty,
        }
    }

    pub(crate) fn contains(self, key: &[u8]) -> bool {
        match self {
            Interval::Key(only) => key == only,
            Interval::From(first) => key >= first,
            Interval::Between(first, end) => key >= first && key < end,
            Interval::Empty => false,
        }
    }

    /// The same for an ordered map. Maps refuse a start after the end, so an empty interval is between the empty key
    /// and itself: no key is empty.
    pub(crate) fn bounds(self) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
        match self {
            Interval::Key(key) => (Bound::Included(key), Bound::Included(key)),
            Interval::From(key) => (Bound::Included(key), Bound::Unbounded),
            Interval::Between(key, end) => (Bound::Included(key), Bound::Excluded(end)),
            Interval::Empty => (Bound::Included(&[]), Bound::Excluded(&[])),
        }
    }
}
