//! The search: that it tries everything, loses nothing, and what it says of real protocols.

mod choices;
mod engine;
mod naive;
mod raft;
