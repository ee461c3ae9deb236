//! What a seed says about who leads, who belongs, and what reads rest on: drawn from a stream of its own.

use crate::random::{Chance, Random};
use quorate_types::NodeId;
use std::time::Duration;

/// Settings that nodes have one by one, or all alike, beside those drawn for the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guidance {
    /// Of node 1, 2 and so on; whoever is not named has 0.
    pub priorities: Vec<u8>,
    /// For how many heartbeats a leader leads before it hands over to somebody preferred.
    pub tenure_heartbeats: u32,
    /// Leaders answer reads without asking, trusting all clocks to be wrong by at most so many parts per million.
    pub lease_clock_error_ppm: Option<u32>,
}

impl Guidance {
    /// Of this node.
    #[must_use]
    pub fn priority(&self, node: NodeId) -> u8 {
        let at = node.0.checked_sub(1).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.priorities.get(at)).copied().unwrap_or(0)
    }
}

/// What clients ask about the cluster itself during the storm, as the mean time between two asks of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    /// Settings.
    pub guidance: Guidance,
    /// Another leader.
    pub transfers: Option<Duration>,
    /// Other members.
    pub members: Option<Duration>,
    /// How many nodes there are that may join, behind the founders.
    pub spares: u64,
    /// Whether the last of them votes and stores no data: a node is of one kind for life.
    pub last_spare_is_witness: bool,
}

impl Steering {
    /// What is drawn for a cluster of so many founders. `clocks` is by how many parts per million its clocks are wrong already; `None`
    /// if they jump, so that nothing may rest on them.
    pub(super) fn draw(random: &mut Random, founders: u64, patience: Duration, clocks: Option<u32>) -> Steering {
        let mut gap = |percent| {
            let gap = patience * u32::try_from(random.log_uniform(1, 20)).unwrap_or(1);
            random.happens(Chance::percent(percent)).then_some(gap)
        };
        let (transfers, members) = (gap(35), gap(35));
        let spares = random.between(1, 4);
        let with_priorities = random.happens(Chance::percent(30));
        let priorities = (0..founders + spares).map(|_| u8::try_from(random.below(3)).unwrap_or(0)).collect();
        let tenure_heartbeats = u32::try_from(random.log_uniform(1, 64)).unwrap_or(1);
        let error = *random.pick(&[100, 500, 20_000, 100_000]).unwrap_or(&500);
        let with_leases = random.happens(Chance::percent(40));
        Steering {
            guidance: Guidance {
                priorities: if with_priorities { priorities } else { Vec::new() },
                tenure_heartbeats,
                lease_clock_error_ppm: clocks.filter(|_| with_leases).map(|drift| drift.max(error)),
            },
            transfers,
            members,
            spares: if members.is_some() { spares } else { 0 },
            last_spare_is_witness: false,
        }
    }

    /// What is steered, for people.
    pub(super) fn classes(&self) -> impl Iterator<Item = &'static str> {
        let priorities = !self.guidance.priorities.is_empty();
        let leases = self.guidance.lease_clock_error_ppm.is_some();
        let all = [
            ("transfer", self.transfers.is_some()),
            ("members", self.members.is_some()),
            ("priorities", priorities),
            ("lease-reads", leases),
        ];
        all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name)
    }
}
