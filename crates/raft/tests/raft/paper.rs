//! The rules of the paper, one by one.

mod durability;
mod elections;
mod learners;
mod leases;
mod membership;
mod priorities;
mod reads;
mod recovery;
mod replication;
mod sick_disks;
mod snapshots;
mod snapshots_under_way;
mod transfers;
mod witnesses;
