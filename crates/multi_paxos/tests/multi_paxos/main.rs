//! Multi-Paxos through the seam: its rules, the succession around it, known runs, and every schedule within a bound.

mod cluster;
mod conformance;
mod explore;
mod golden;
mod handover;
mod leases;
mod paper;
mod picture;
mod succession;
mod survivors;
mod timed;
