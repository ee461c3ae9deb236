//! Nodes as Maelstrom runs them, on a network in memory and virtual time.

mod honesty;
mod network;
mod workloads;
