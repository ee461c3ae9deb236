//! Whole members in this process, on real files and sockets, asked by real clients.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod members;
mod membership;
mod protocols;
mod recover;
mod restore;
mod sessions;
mod witness;
