//! Bounded exhaustive search over a protocol's own replicas.
//!
//! The explorer takes a `Testbed` (the very replicas that serve production, with their gates, disks and messages
//! in flight) and tries *every* order of everything that can happen to it within stated [`Bounds`]: each message delivered
//! or repeated or lost, each armed timer fired, each prefix of the writes under way completed, each crash with each prefix
//! of them surviving, each wish of a client at each moment, each outcome of every choice. After every single action the
//! replicas' invariants, agreement, the order of decisions, the durability ghost and the caller's own properties are checked.
//!
//! ```
//! use quorate_explorer::{Bounds, Explorer};
//! use quorate_paxos::{Config, Paxos};
//! use quorate_protocol::testbed::Testbed;
//! use quorate_types::NodeId;
//!
//! let cluster: Testbed<Paxos> = Testbed::new(1, Config::default());
//! let report = Explorer::new(cluster, Bounds { max_crashes: 2, ..Bounds::default() })
//!     .propose(NodeId(1), "x")
//!     .sometimes("decided", |cluster| !cluster.chosen().is_empty())
//!     .explore();
//! assert!(report.complete && report.violation.is_none());
//! assert!(report.happened("decided"));
//! ```
//!
//! # What a complete report says, and what it does not
//! `complete` means: no reachable state within the bounds was left out. It rests on 128-bit fingerprints; with 10^8
//! states, the chance that two different ones share one is about one in 10^22.
//!
//! Actions are modelled like this, and nothing is lost for safety by it:
//! - **A lost message is one that is never delivered.** A message in flight changes nothing by being there, so a schedule that loses
//!   it and one that leaves it forever show the same replicas. Hence `max_drops` is 0 by default and costs nothing.
//! - **A message that changes nothing when it arrives is as good as one that never arrives.** The state behind it is this one
//!   with a message fewer, or with less left of the bounds: whatever can follow from that, of replicas, can follow from this. It
//!   is not visited, and a timer that changes nothing neither.
//! - **A crash includes the restart.** A node that is down is one that nothing happens to; what is sent to it meanwhile
//!   is still in flight, or lost, which is covered. Hence one action, not two.
//! - **Time does not pass.** Any armed timer may fire, the later ones first. Leases, which are about clocks, are for the simulator.
//! - **Every input is settled at once**, as are decisions applied. Batches are drawn by the conformance suite and the simulator.
//! - **Identical messages** in flight are one action.
//!
//! Three reductions rest on the protocol and are switched on by a caller who answers for them: [`Disks::StallBeforeCrash`],
//! [`Explorer::forgetting`] (and [`Explorer::forgetting_between`]) and `Testbed::merging_equal_disks`. The first two are
//! named in the report. No symmetry between nodes is used.
//!
//! # How it is done
//! A state is a row of numbers (`state.rs`) that name its parts: the states of single nodes, messages, decisions, what is spent of the
//! bounds, each kept once (`catalogue.rs`). Replicas are deterministic, so a step of a node is carried out once, on that node alone, and
//! then looked up (`book.rs`); the few steps that take several nodes at once, those of snapshots, are carried out on the
//! whole cluster each time. A state's fingerprint is the sum of its parts', so that a successor's is known before it is
//! built, and of states seen nothing else is kept (`seen.rs`). Levels are searched one after another, by one
//! thread or several (`search.rs`); where a state came from is a number and an ordinal, and a way is told by going it again.
//!
//! A violation comes with the shortest way there as a [`Counterexample`]: numbered actions, each with what the
//! replicas said about the guards they evaluated; and as a scenario script, on which the simulator's whole nodes break the same promise.

mod action;
mod book;
mod bounds;
mod catalogue;
mod counterexample;
mod explorer;
mod report;
mod script;
mod search;
mod seen;
mod state;
pub mod targets;
mod task;

pub use action::{Action, Step};
pub use bounds::{Bounds, Disks, TimerBound};
pub use counterexample::Counterexample;
pub use explorer::Explorer;
pub use report::{Progress, Report, Size};
pub use task::Explorable;
