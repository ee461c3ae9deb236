//! The store through its public door, on a disk that crashes and rots.

mod checkpoints;
mod crashes;
mod damage;
mod garbage;
mod orders;
mod owner;
