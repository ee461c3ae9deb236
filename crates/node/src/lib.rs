//! One node as a deterministic value: replica, gate, journal, machine and store, joined.
//!
//! The production runtime and the simulator drive this same type; neither contains a second copy of how the parts are
//! joined. A driver feeds [`NodeInput`]s, calls settle, and carries out [`NodeOutput`]s.

mod interface;

pub use interface::{ClientTag, Consistency, Lane, NodeInput, NodeMessage, NodeOutput, NodeTimer, RequestError, StopReason};
