//! What a protocol must say about itself to be simulated at random.

use crate::random::Random;
use quorate_protocol::Replica;
use std::time::Duration;

/// How fast a drawn world is, for choosing timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The patience of the cluster: how long silence lasts before somebody else takes over. Everything else in a plan is
    /// drawn relative to it.
    pub patience: Duration,
}

/// A protocol that can be run by random seeds.
pub trait Subject: Replica {
    /// The protocol promises that at most one node takes proposals in each era.
    const ONE_LEADER_PER_ERA: bool;

    /// How many slots it ever decides; `None` for a log.
    const SLOTS: Option<u64>;

    /// Settings for a cluster of this pace: legal ones, tiny limits and bad ratios included.
    fn draw_config(random: &mut Random, pace: Pace) -> Self::Config;
}
