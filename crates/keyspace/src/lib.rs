//! etcd's data model as a deterministic state machine.
//!
//! Every write takes the next *revision* of the whole store; every change it makes is kept for ever as an immutable
//! [`Change`]. What a key is, at any revision, follows from the changes up to it. Nothing here knows a protocol,
//! a disk, a clock or a socket: commands come in decided order through [`quorate_machine::StateMachine::apply`],
//! questions through [`quorate_machine::StateMachine::query`].
//!
//! Words: a *change* is one put or one tombstone of one key; its *number* counts changes from 0 and is also its item
//! number in the durable image; its *revision* is (main, sub): main counts writes, the fresh store being at 1, and sub
//! orders the changes of one write from 0.
//!
//! Behaviour is that of etcd's `Put`, `DeleteRange` and `Range`, with its error texts ([`KeyspaceError`]).
//! There is no compaction yet, so every revision stays readable, and there are no leases yet, so every lease id but 0
//! is unknown.
//!
//! | file | what it holds |
//! |---|---|
//! | `command.rs` | [`Request`], [`Query`], [`Reply`]: what is asked and answered; the codec of requests |
//! | `error.rs` | why a request or query is refused, in etcd's words |
//! | `revision.rs` | [`Revision`] |
//! | `change.rs` | [`Change`], the unit of history, and its bytes |
//! | `change_log.rs` | all changes, packed in memory, by number |
//! | `key_index.rs` | key -> the numbers of its changes |
//! | `interval.rs` | etcd's `key`/`range_end` rules |
//! | `apply.rs` | requests become changes |
//! | `range.rs`, `sort.rs` | range queries |
//! | `image.rs` | the durable image: head and items, and back |
//! | `digest.rs` | the rolling hash that replicas are compared by |
//! | `keyspace.rs` | [`Keyspace`], which joins them |
//!
//! Invariants, checked whenever an image is restored and by the tests:
//! 1. Changes are in strictly ascending order of revision, and main revisions have no gaps, from 2 up.
//! 2. A put of a live key keeps its create revision and adds one to its version; any other put starts at version 1
//!    with its own main revision as create revision. Only live keys get tombstones.
//! 3. The index names every change exactly once, under its key.

mod alarm;
mod apply;
mod change;
mod change_log;
mod chunk;
mod compaction;
mod digest;
mod error;
mod events;
mod hash_kv;
mod image;
mod interval;
mod key_index;
mod keyspace;
mod lease_request;
mod lease_table;
mod query;
mod range;
mod range_request;
mod reply;
mod request;
mod revision;
mod sort;
mod txn;
mod txn_request;

pub use alarm::{Alarm, AlarmAction, AlarmKind, AlarmRequest};
pub use change::{Change, ChangeKind};
pub use error::KeyspaceError;
pub use events::EventBatch;
pub use keyspace::Keyspace;
pub use lease_request::{LEASE_TTL_SECONDS_MAX, LeaseAnswer, LeaseCheckpoint, LeaseErrand, LogPlace};
pub use lease_table::Lease;
pub use query::Query;
pub use range_request::{RangeRequest, SortOrder, SortTarget};
pub use reply::{KeyValue, Reply};
pub use request::{DeleteRangeRequest, PutRequest, Request};
pub use revision::{FIRST_REVISION, Revision};
pub use txn_request::{Compare, CompareOperator, CompareTarget, Operation, TXN_DEPTH_MAX, TxnRequest};
