//! Protocols side by side: one workload, one fault, one network, and what each made of it.
//!
//! Everything happens in the simulator, on virtual time, and a seed decides what is left to chance; so two protocols differ in
//! nothing but themselves. Nothing here reads a clock or a file: tables of round trips come in as text, figures go out as text.
//!
//! With instant nodes and disks a latency is a sum of half round trips, and [`commit_latency`] says which. That every protocol
//! lands on it to the nanosecond is a test of this crate, and so a test of each protocol: a hop or a wait too many shows.
//!
//! # What is the same for all
//! The network ([`Matrix`]), who leads first ([`Setting`], `seats.rs`), what clients ask ([`Workload`]), what goes wrong ([`Fault`]), the
//! patience ([`Setting::patience`]) and all other times, which are the protocols' defaults stretched alike ([`Contender`]).
//!
//! # How a site comes to lead
//! Where whoever campaigns first leads (Raft, Multi-Paxos), the timer of the wanted node is fired before any other comes due. Where ids
//! decide (Viewstamped Replication takes turns, Zab prefers the greatest), the wanted site's node is given the id. Nothing is
//! asked of a protocol that it would not do by itself, so one that cannot hand over leadership can be placed like the others.
//!
//! # Map
//! `matrix.rs` round trips, `expected.rs` the arithmetic, `workload.rs` clients, `faults.rs` what goes wrong, `contender.rs` what a
//! protocol says about itself, `protocol_name.rs` all of them by name, `seats.rs` and `stage.rs` the cluster, `run.rs` one run, `alone.rs` single
//! writes in an idle cluster, `summary.rs` figures, `plot.rs` and `plot/` pictures. `data/` has the tables.
//!
//! # What is absent
//! Single-decree Paxos, which decides once; protocols without one leader, whose arithmetic is another.

mod alone;
mod contender;
mod expected;
mod faults;
mod matrix;
pub mod plot;
mod protocol_name;
mod run;
mod seats;
mod stage;
mod summary;
mod workload;

pub use alone::{Alone, alone};
pub use contender::{Contender, FirstLeader};
pub use expected::commit_latency;
pub use faults::{AFTERWARDS_PATIENCES, Fault, LASTS_PATIENCES};
pub use matrix::{Matrix, MatrixError, Site};
pub use protocol_name::ProtocolName;
pub use run::{Call, Kind, Reign, Run, run};
pub use seats::Seats;
pub use stage::{Costs, RunError, Setting};
pub use summary::{Gap, Percentiles, Phase, Summary};
pub use workload::{Pace, Workload};
