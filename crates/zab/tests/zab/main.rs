//! Zab through the seam: its rules, known runs, virtual time, and every schedule within a bound.

mod cluster;
mod conformance;
mod explore;
mod golden;
mod paper;
mod picture;
mod survivors;
mod timed;
