//! What goes wrong, by name. Every fault strikes once, lasts eight times the patience, and is then repaired.

use crate::matrix::{Matrix, Site};
use crate::seats::Seats;
use quorate_simulator::{Act, Chance, DiskModel, Latency, Link};
use std::time::Duration;

/// A fault lasts so many times the patience: longer than any protocol needs to find another leader.
pub const LASTS_PATIENCES: u32 = 8;
/// And clients go on for so many times the patience when it is repaired.
pub const AFTERWARDS_PATIENCES: u32 = 4;

/// One schedule of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing goes wrong.
    None,
    /// The leader crashes, and starts again in the end.
    LeaderDies,
    /// The leader and everybody else do not reach each other.
    LeaderCutOff,
    /// As many nodes as may die, those nearest to the leader.
    MinorityDies,
    /// Every flush of the leader's disk takes a twentieth of the patience.
    SlowDisk,
    /// Between the leader and the nearest node every message takes a twentieth of the patience more.
    SlowLink,
    /// Every link loses one message of twenty.
    LossyLinks,
    /// The leader reaches the nearest node only; all others reach each other.
    PartialLinks,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 8] = [
        Fault::None,
        Fault::LeaderDies,
        Fault::LeaderCutOff,
        Fault::MinorityDies,
        Fault::SlowDisk,
        Fault::SlowLink,
        Fault::LossyLinks,
        Fault::PartialLinks,
    ];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::None => "none",
            Fault::LeaderDies => "leader-dies",
            Fault::LeaderCutOff => "leader-cut-off",
            Fault::MinorityDies => "minority-dies",
            Fault::SlowDisk => "slow-disk",
            Fault::SlowLink => "slow-link",
            Fault::LossyLinks => "lossy-links",
            Fault::PartialLinks => "partial-links",
        }
    }

    /// The fault of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// How many sites there must be for it to leave a majority.
    #[must_use]
    pub fn sites_least(self) -> usize {
        match self {
            Fault::None | Fault::SlowDisk => 1,
            Fault::SlowLink | Fault::LossyLinks => 2,
            Fault::LeaderDies | Fault::LeaderCutOff | Fault::MinorityDies | Fault::PartialLinks => 3,
        }
    }

    /// The sites that take no part while it lasts, the leader being here.
    #[must_use]
    pub fn away(self, matrix: &Matrix, leader: Site) -> Vec<Site> {
        match self {
            Fault::LeaderDies | Fault::LeaderCutOff => vec![leader],
            Fault::MinorityDies => {
                let may_die = matrix.count().saturating_sub(1) / 2;
                matrix.by_distance(leader).into_iter().take(may_die).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What is done to the world when it strikes, while this site leads.
    #[must_use]
    pub(crate) fn acts(self, matrix: &Matrix, seats: &Seats, leader: Site, patience: Duration) -> Vec<Act> {
        let hop = |from: Site, to: Site| matrix.round_trip(from, to) / 2;
        let node = |site: Site| seats.node(site);
        let peers = matrix.by_distance(leader);
        match self {
            Fault::None => Vec::new(),
            Fault::LeaderDies => vec![Act::Crash(node(leader))],
            Fault::LeaderCutOff => vec![Act::Partition(vec![peers.into_iter().map(node).collect()])],
            Fault::MinorityDies => self.away(matrix, leader).into_iter().map(|site| Act::Crash(node(site))).collect(),
            Fault::SlowDisk => {
                let disk = DiskModel { write: Latency::ZERO, flush: Latency::exactly(patience / 20) };
                vec![Act::SetDisk { node: node(leader), disk }]
            }
            Fault::SlowLink => peers
                .into_iter()
                .take(1)
                .flat_map(|near| [(leader, near), (near, leader)])
                .map(|(from, to)| {
                    let link = Link::perfect(Latency::exactly(hop(from, to) + patience / 20));
                    Act::SetLink { from: node(from), to: node(to), link }
                })
                .collect(),
            Fault::LossyLinks => directions(matrix)
                .map(|(from, to)| {
                    let link = Link::perfect(Latency::exactly(hop(from, to)));
                    Act::SetLink { from: node(from), to: node(to), link: Link { loss: Chance::percent(5), ..link } }
                })
                .collect(),
            Fault::PartialLinks => peers
                .into_iter()
                .skip(1)
                .flat_map(|far| [(leader, far), (far, leader)])
                .map(|(from, to)| Act::Block { from: node(from), to: node(to) })
                .collect(),
        }
    }
}

/// Every ordered pair of different sites.
pub(crate) fn directions(matrix: &Matrix) -> impl Iterator<Item = (Site, Site)> {
    let sites = matrix.sites();
    sites.flat_map(|from| matrix.sites().map(move |to| (from, to))).filter(|(from, to)| from != to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::FirstLeader;

    #[test]
    fn every_fault_is_found_by_its_name() {
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
        }
        assert_eq!(Fault::named("flood"), None);
    }

    #[test]
    fn every_fault_leaves_a_majority_that_reach_each_other() {
        let five = Matrix::shipped("public-cloud-2020").unwrap();
        let leader = five.site("CA").unwrap();
        let seats = Seats::of(&five, leader, FirstLeader::LeastId);
        let acts = |fault: Fault| fault.acts(&five, &seats, leader, Duration::from_secs(2));
        assert_eq!(acts(Fault::None), []);
        assert_eq!(acts(Fault::LeaderDies).len(), 1);
        assert_eq!(acts(Fault::MinorityDies).len(), 2, "two of five may die");
        assert_eq!(acts(Fault::SlowLink).len(), 2, "both ways");
        assert_eq!(acts(Fault::LossyLinks).len(), 20);
        assert_eq!(acts(Fault::PartialLinks).len(), 6, "three of four peers, both ways");
        assert_eq!(Fault::MinorityDies.away(&five, leader), ["OR", "VA"].map(|name| five.site(name).unwrap()));
    }
}
