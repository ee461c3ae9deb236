//! The rules of the paper, one by one.

#[path = "paper/durability.rs"]
mod durability;
#[path = "paper/elections.rs"]
mod elections;
#[path = "paper/learners.rs"]
mod learners;
#[path = "paper/membership.rs"]
mod membership;
#[path = "paper/reads.rs"]
mod reads;
#[path = "paper/recovery.rs"]
mod recovery;
#[path = "paper/replication.rs"]
mod replication;
#[path = "paper/snapshots.rs"]
mod snapshots;

mod cluster;
