//! The keys that a watcher watches.

use bytes::Bytes;

/// The first key after a range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RangeLimit {
    /// Keys less than this one.
    Before(Bytes),
    /// Every key. Greatest in the order: it must stay the last variant.
    Unlimited,
}

impl RangeLimit {
    pub(crate) fn admits(&self, key: &[u8]) -> bool {
        match self {
            RangeLimit::Before(limit) => key < &limit[..],
            RangeLimit::Unlimited => true,
        }
    }
}

/// One key or a range of them, which is not empty. Owns its bytes: the request's are a slice of a network buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WatchedKeys {
    One(Bytes),
    Range(Bytes, RangeLimit),
}

impl WatchedKeys {
    /// By etcd's rules; nothing if no key could ever match.
    pub(crate) fn new(key: &[u8], range_end: &[u8]) -> Option<WatchedKeys> {
        let key = if key.is_empty() { &[0] } else { key };
        let start = Bytes::copy_from_slice(key);
        match range_end {
            [] => Some(WatchedKeys::One(start)),
            [0] => Some(WatchedKeys::Range(start, RangeLimit::Unlimited)),
            _ if key < range_end => {
                Some(WatchedKeys::Range(start, RangeLimit::Before(Bytes::copy_from_slice(range_end))))
            }
            _ => None,
        }
    }

    pub(crate) fn contain(&self, key: &[u8]) -> bool {
        match self {
            WatchedKeys::One(one) => key == &one[..],
            WatchedKeys::Range(start, limit) => &start[..] <= key && limit.admits(key),
        }
    }
}
