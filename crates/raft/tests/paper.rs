//! The rules of the paper, one by one.

#[path = "paper/durability.rs"]
mod durability;
#[path = "paper/elections.rs"]
mod elections;
#[path = "paper/learners.rs"]
mod learners;
#[path = "paper/leases.rs"]
mod leases;
#[path = "paper/membership.rs"]
mod membership;
#[path = "paper/priorities.rs"]
mod priorities;
#[path = "paper/reads.rs"]
mod reads;
#[path = "paper/recovery.rs"]
mod recovery;
#[path = "paper/replication.rs"]
mod replication;
#[path = "paper/sick_disks.rs"]
mod sick_disks;
#[path = "paper/snapshots.rs"]
mod snapshots;
#[path = "paper/transfers.rs"]
mod transfers;
#[path = "paper/witnesses.rs"]
mod witnesses;

mod cluster;
