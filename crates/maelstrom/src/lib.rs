//! A node for [Maelstrom](https://github.com/jepsen-io/maelstrom), Jepsen's workbench for toy distributed systems: it reads
//! JSON messages as lines from standard input and writes them to standard output, and Maelstrom is the network, the clients
//! and the judge.
//!
//! What answers is the [`quorate_node::Node`] that the server runs, around the same replica. This crate is nothing but a
//! driver for it, and a small state machine that speaks Maelstrom's workloads:
//!
//! | workload | requests | answered |
//! |---|---|---|
//! | echo, unique-ids | `echo`, `generate` | by the node itself |
//! | lin-kv | `read` (with a key), `write`, `cas` | linearizable |
//! | txn-list-append, txn-rw-register | `txn` of `r`, `append`, `w` | linearizable, so strictly serializable |
//! | kafka | `send`, `poll`, `commit_offsets`, `list_committed_offsets` | linearizable |
//! | broadcast, g-set, g-counter, pn-counter | `topology`, `broadcast`, `add` | through the log |
//! | | `read` (without a key) | from what the node has: these workloads ask for no more than convergence |
//!
//! Any node takes any request; what must be agreed on goes to the leader, and the node that was asked answers. The last four
//! workloads have a `read` of the same form and each wants another answer. Which of them is meant, a node learns from what has
//! been written; before that, a `read` is refused.
//!
//! # Errors
//! An error is definite (11: it did not happen and never will) only where the node knows that. A request that may have got
//! into a log and got no answer within [`REQUEST_TIMEOUT`] is answered 0 (time-out), and one that the node could not finish because
//! it stopped 13 (crash); both are indefinite. See [`ErrorCode`].
//!
//! # What a crash does
//! Disks are kept in memory, and every write to them is durable at once. That fits a world in which a process that dies stays
//! dead, as in Maelstrom's tests with its default nemeses (`partition`, or none). A process that is killed and started again under its
//! old name has forgotten its vote and its log, which no protocol here survives: do not run Maelstrom's `kill` nemesis
//! against it. `pause` is fine.
//!
//! # Map
//! `line`: envelopes and errors. `request`: what clients ask. `workloads`: the state machine. `participant`: one node as a
//! deterministic value, without a clock. `serve`: standard input, standard output and the clock.

mod chance;
mod line;
mod participant;
mod request;
mod serve;
mod workloads;

pub use line::{ErrorCode, Failure};
pub use participant::{Participant, Word};
pub use request::{MicroOperation, Request};
pub use serve::{REQUEST_TIMEOUT, ServeError, raft_settings, serve};
pub use workloads::Workloads;
