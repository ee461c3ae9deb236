//! Where a change stands in the history of the whole store.

use std::fmt;

/// The store's revision before the first write.
pub const FIRST_REVISION: i64 = 1;

/// One change's place: which write, and which of its changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// The write, as etcd counts: the first one is 2. Clients see only this part.
    pub main: i64,
    /// The change within the write, from 0.
    pub sub: u32,
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.main, self.sub)
    }
}
