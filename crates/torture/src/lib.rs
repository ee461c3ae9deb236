//! Torture: a cluster of real `quorate serve` processes on this machine, under faults that are drawn from a seed, with clients,
//! watchers and holders of leases whose every call is recorded and judged in the end.
//!
//! The simulator finds more, faster, and always again; this finds what is left: what the system, its sockets, files, clocks and
//! signals do to the very program that serves. A run is as reproducible as processes are: the schedule, the workload and the
//! members' settings are drawn from the seed, what happens in between is not.
//!
//! | file | what it holds |
//! |---|---|
//! | `settings.rs`, `schedule.rs`, `chance.rs` | what is asked for, and what is drawn from it |
//! | `cluster.rs`, `process.rs` | members as processes that never outlive this one |
//! | `proxy.rs` | the network between members, harmed link by link |
//! | `preload.rs`, `small_disk.rs` | failing flushes, jumping clocks, full disks |
//! | `nemesis.rs` | does what the schedule says, and takes it back |
//! | `client.rs`, `request.rs`, `workload.rs`, `watcher.rs` | what clients do, and what their errors mean |
//! | `record.rs`, `ledger.rs`, `lease_life.rs` | what was asked, answered and seen |
//! | `settle.rs` | heals, and waits until all members have the same |
//! | `judge.rs` | whether it was all as promised |
//! | `run.rs`, `report.rs` | one run, and what came of it |
//!
//! # What is judged
//! 1. Every revision was asked for, once, by a call that was not refused; every acknowledged write is there at its revision.
//! 2. Every answer is what the state of its revision says, and real time agrees with the order of revisions.
//! 3. There is an order of all calls that explains every answer, found without knowing any revision.
//! 4. Every watcher of all keys was told each revision once, whole, in order, none left out; other watchers the same of theirs.
//! 5. No lease ended before its time, and none was said to be gone before.
//! 6. No member ended by itself unless its disk failed; one whose flush failed did end.
//! 7. Healed, all members come to have the same.

mod chance;
mod client;
mod cluster;
mod judge;
mod lease_life;
mod ledger;
mod nemesis;
mod preload;
mod process;
mod proxy;
mod record;
mod report;
mod request;
mod run;
mod schedule;
mod settings;
mod settle;
mod shared;
mod small_disk;
mod watcher;
mod workload;

pub use report::{Counts, Harm, Report, Verdict};
pub use run::run;
pub use settings::{FaultKind, Settings};
pub use small_disk::way_to_mount;
