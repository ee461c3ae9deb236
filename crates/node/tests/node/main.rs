//! Whole nodes on model disks, alone and three of them under Raft.

mod cluster;
mod crashes;
mod node;
mod raft;
mod rig;
mod snapshots;
mod space;
mod witness;
