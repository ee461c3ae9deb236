//! Raft as a deterministic value.
