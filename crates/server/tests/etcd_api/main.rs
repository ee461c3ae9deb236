//! The front over a real loopback socket: generated gRPC clients and plain HTTP over a keyspace in memory.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod connections;
mod every_method;
mod http;
mod keyspace_backend;
mod kv;
mod leases_and_maintenance;
mod limits;
mod malformed;
mod members_and_status;
mod queues;
mod server;
mod watch;
