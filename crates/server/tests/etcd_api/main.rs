//! The front over a real loopback socket: generated gRPC clients and plain HTTP against a small store in memory.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod every_method;
mod http;
mod kv;
mod limits;
mod malformed;
mod members_and_status;
mod memory_backend;
mod server;
