//! etcd's data model as a deterministic state machine.
//!
//! Every write takes the next *revision* of the whole store; every change it makes is kept as an immutable [`Change`],
//! until a compaction condemns it. What a key is, at any revision from the compaction *mark* on, follows from the changes
//! up to it. Nothing here knows a protocol, a disk, a clock or a socket: commands come in decided order through
//! [`quorate_machine::StateMachine::apply`], questions through [`quorate_machine::StateMachine::query`]. What only a
//! leader can know, the leases' deadlines, is kept by [`KeyspaceDuty`] on readings of time that it is given.
//!
//! Words: a *change* is one put or one tombstone of one key; its *number* counts changes from 0, is never used again, and
//! is also its item number in the durable image; its *revision* is (main, sub): main counts writes, the fresh store being
//! at 1, and sub orders the changes of one write from 0. The *mark* is the least revision that can be read. A change is
//! *condemned* when no read from the mark on needs it, and *dropped* when a slice of tidying has taken it out.
//!
//! Behaviour is that of etcd's `Put`, `DeleteRange`, `Range`, `Txn`, `Compact`, `HashKV`, `Alarm` and of its leases, with
//! its error texts ([`KeyspaceError`]). Where etcd's checks of a transaction miss a double write (a put, and a delete of
//! every key from one on), this one refuses it.
//!
//! | file | what it holds |
//! |---|---|
//! | `request.rs`, `txn_request.rs`, `range_request.rs`, `lease_request.rs`, `alarm.rs` | what is asked, its stateless checks and its bytes |
//! | `query.rs`, `reply.rs`, `error.rs` | questions, answers, and refusals in etcd's words |
//! | `reply_codec.rs` | answers as bytes, kept for clients that ask again |
//! | `revision.rs`, `change.rs` | the unit of history, and its bytes |
//! | `change_log.rs`, `chunk.rs` | the kept changes, packed in memory, by number |
//! | `key_index.rs`, `leaf_directory.rs`, `key_leaf.rs`, `packed_keys.rs`, `key_history.rs` | key -> the numbers of its changes |
//! | `interval.rs` | etcd's `key`/`range_end` rules |
//! | `apply.rs`, `txn.rs` | requests become changes |
//! | `range.rs`, `sort.rs`, `events.rs`, `hash_kv.rs` | reading: ranges, what watchers are told, the hash of it all |
//! | `compaction.rs` | the mark, and dropping in slices |
//! | `lease_table.rs` | leases in the replicated state |
//! | `duty.rs`, `lessor.rs` | the leader's part: deadlines, renewals, checkpoints, the quota |
//! | `image.rs` | the durable image: head and items, and back |
//! | `digest.rs` | the rolling hash that replicas are compared by |
//! | `keyspace.rs` | [`Keyspace`], which joins them |
//!
//! Invariants, checked whenever an image is restored and by the tests:
//! 1. Changes are in strictly ascending order of revision. From the mark on main revisions have no gaps, and numbers
//!    neither.
//! 2. A put of a live key keeps its create revision and adds one to its version; any other put starts at version 1
//!    with its own main revision as create revision. Only live keys get tombstones.
//! 3. The index names every kept change exactly once, under its key.
//! 4. Every lease that a live key names exists.

mod alarm;
mod apply;
mod change;
mod change_log;
mod chunk;
mod compaction;
mod digest;
mod duty;
mod error;
mod events;
mod hash_kv;
mod image;
mod interval;
mod key_history;
mod key_index;
mod key_leaf;
mod keyspace;
mod leaf_directory;
mod lease_request;
mod lease_table;
mod lessor;
mod packed_keys;
mod query;
mod range;
mod range_request;
mod reply;
mod reply_codec;
mod request;
mod revision;
mod revision_bump;
mod sort;
mod txn;
mod txn_request;

pub use alarm::{Alarm, AlarmAction, AlarmKind, AlarmRequest};
pub use change::{Change, ChangeKind};
pub use duty::{KeyspaceDuty, KeyspaceDutyConfig};
pub use error::KeyspaceError;
pub use events::EventBatch;
pub use keyspace::{AppliedCounts, Keyspace};
pub use lease_request::{LEASE_TTL_SECONDS_MAX, LeaseAnswer, LeaseCheckpoint, LeaseErrand, LogPlace};
pub use lease_table::Lease;
pub use query::Query;
pub use range_request::{RangeRequest, SortOrder, SortTarget};
pub use reply::{KeyValue, Reply};
pub use request::{DeleteRangeRequest, PutRequest, Request};
pub use revision::{FIRST_REVISION, Revision};
pub use txn_request::{Compare, CompareOperator, CompareTarget, Operation, TXN_DEPTH_MAX, TxnRequest};
