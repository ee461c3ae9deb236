//! Names of things: nodes, clusters, disks, slots, tickets, sessions.

use std::fmt;

/// A member's name for life. A node that lost its disk comes back under another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Production ids are 64 random bits and read best in hex; hand-made ones are small.
        if self.0 < 10_000 { write!(formatter, "n{}", self.0) } else { write!(formatter, "{:x}", self.0) }
    }
}

/// Which cluster a message, journal or client belongs to. Nothing crosses clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

/// Drawn at random when a journal is created, so that a wiped disk cannot pass for the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskId(pub u64);

/// How many times this node's journal has been opened: durable, and greater after every restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// A position in the decided sequence. The first is 1; 0 stands before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u64);

impl Slot {
    /// Before the first slot.
    pub const ZERO: Slot = Slot(0);

    /// The slot after this one.
    #[must_use]
    pub fn next(self) -> Slot {
        Slot(self.0 + 1)
    }

    /// The slot before this one; 0 stays 0.
    #[must_use]
    pub fn previous(self) -> Slot {
        Slot(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// Names one durable write. Tickets grow by one in the order the writes were asked for and go on
/// over restarts; "ticket 7 is durable" means that everything up to 7 is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Waits for nothing.
    pub const NONE: Ticket = Ticket(0);
}

/// Where a command comes from, for applying it once: a node in one of its incarnations. None is in incarnation 0. (A client with a
/// session of its own says who it is inside the payload.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    /// The node.
    pub owner: u64,
    /// The owner's incarnation. Of one owner only the greatest seen is alive.
    pub incarnation: Incarnation,
}
