//! Viewstamped Replication through the seam: its rules, known runs, one that is gone for good, and every schedule within a bound.

mod cluster;
mod conformance;
mod explore;
mod golden;
mod one_is_gone;
mod paper;
mod picture;
mod survivors;
mod timed;
mod wire;
