//! Multi-Paxos as a deterministic value.
