//! Whole clusters on virtual time: network, disks, clocks and faults from one seed.

mod clock;
mod latency;
mod marks;
mod network;
mod queue;
mod random;
pub mod scenario;
pub mod swarm;
pub mod topology;
mod transcript;
mod world;

pub use clock::Clock;
pub use latency::Latency;
pub use marks::{Mark, Marks};
pub use network::{Fate, FilterRule, Flight, Link};
pub use queue::EventQueue;
pub use random::{Chance, Random};
pub use transcript::{Keep, Transcript};
pub use world::{
    Batching, BrokenPromise, Checks, DiskModel, GuardCounts, OperationId, OperationResult, Outcome, World, WorldConfig,
};
