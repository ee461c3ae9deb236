//! Ready-made networks.

use crate::latency::Latency;
use crate::network::Link;
use quorate_types::NodeId;
use std::time::Duration;

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// California.
    California,
    /// Virginia.
    Virginia,
    /// Ireland.
    Ireland,
    /// Oregon.
    Oregon,
    /// Japan.
    Japan,
}

impl Site {
    /// The three sites of the EPaxos paper's smaller deployment.
    pub const THREE: [Site; 3] = [Site::California, Site::Virginia, Site::Ireland];
    /// The five sites of the EPaxos paper.
    pub const FIVE: [Site; 5] = [Site::California, Site::Virginia, Site::Ireland, Site::Oregon, Site::Japan];

    /// Its short name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Site::California => "CA",
            Site::Virginia => "VA",
            Site::Ireland => "EU",
            Site::Oregon => "OR",
            Site::Japan => "JP",
        }
    }

    /// The mean round trip between two sites: public cloud pings of 2020-06-05. Inside a site it counts as nothing.
    #[must_use]
    pub fn round_trip(self, other: Site) -> Duration {
        let tenths_of_ms = match (self.min(other), self.max(other)) {
            (Site::California, Site::Virginia) => 599,
            (Site::California, Site::Ireland) => 1411,
            (Site::California, Site::Oregon) => 211,
            (Site::California, Site::Japan) => 1117,
            (Site::Virginia, Site::Ireland) => 705,
            (Site::Virginia, Site::Oregon) => 725,
            (Site::Virginia, Site::Japan) => 1524,
            (Site::Ireland, Site::Oregon) => 1273,
            (Site::Ireland, Site::Japan) => 2044,
            (Site::Oregon, Site::Japan) => 1009,
            _ => 0,
        };
        Duration::from_micros(tenths_of_ms * 100)
    }
}

/// Links between sites, the first being node 1's, without jitter or faults: half a round trip per hop.
#[must_use]
pub fn wide_area(sites: &[Site]) -> Vec<(NodeId, NodeId, Link)> {
    let placed = || (1..).map(NodeId).zip(sites);
    placed()
        .flat_map(|(from, here)| placed().map(move |(to, there)| (from, to, here.round_trip(*there) / 2)))
        .filter(|(from, to, _)| from != to)
        .map(|(from, to, hop)| (from, to, Link::perfect(Latency::exactly(hop))))
        .collect()
}

/// A local network without faults: this one-way latency on every link.
#[must_use]
pub fn local(one_way: Duration) -> Link {
    Link::perfect(Latency::exactly(one_way))
}
