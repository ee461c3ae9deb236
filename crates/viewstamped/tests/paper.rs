//! The rules of Viewstamped Replication Revisited, one by one, and the errata to it.

#[path = "paper/errata.rs"]
mod errata;
#[path = "paper/normal.rs"]
mod normal;
#[path = "paper/reconfiguration.rs"]
mod reconfiguration;
#[path = "paper/recovery.rs"]
mod recovery;
#[path = "paper/state_transfer.rs"]
mod state_transfer;
#[path = "paper/view_change.rs"]
mod view_change;

mod cluster;
