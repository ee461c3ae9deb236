//! Raft through the seam: its rules, known runs, random schedules, virtual time, and every schedule within a bound.

mod cluster;
mod conformance;
mod explore;
mod golden;
mod leases;
mod liveness;
mod paper;
mod random;
mod survivors;
mod timed;
mod wire;
