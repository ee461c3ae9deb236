//! The machine around a protocol, told by hand what a replica decided.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod appending;
mod batches;
mod client_sessions;
mod duty;
mod members;
mod reads;
mod schedules;
mod seat;
mod transfer;
mod transfer_places;
mod turns;
mod writes;
