//! Identifiers, slots, time and membership: the vocabulary every crate shares.
//!
//! Nothing here decides anything. Every type is plain data with a total order, so that a replica
//! built from them can be cloned, hashed, compared and printed.

mod identity;
mod membership;
mod time;

pub use identity::{ClusterId, DiskId, Incarnation, NodeId, Session, Slot, Ticket};
pub use membership::{Member, MemberRole, Membership};
pub use time::Time;
