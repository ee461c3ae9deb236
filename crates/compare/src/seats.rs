//! Which node stands at which site.

use crate::contender::FirstLeader;
use crate::matrix::{Matrix, Site};
use quorate_types::NodeId;

/// One node at each site. Ids go round from the leader's site in the order of the table, upwards or downwards, so that the node
/// that leads first has the id that the protocol demands of it, and whoever's turn is next stands at the same site in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seats {
    /// By site.
    ids: Vec<NodeId>,
}

impl Seats {
    /// The seats that let `leader` lead first.
    #[must_use]
    pub fn of(matrix: &Matrix, leader: Site, first: FirstLeader) -> Seats {
        let count = matrix.count();
        let ids = matrix.sites().map(|site| {
            let turns = (site.0 + count - leader.0.min(count)) % count.max(1);
            let id = match first {
                FirstLeader::Campaigns { .. } | FirstLeader::LeastId => turns + 1,
                FirstLeader::GreatestId => count - turns,
            };
            NodeId(id as u64)
        });
        Seats { ids: ids.collect() }
    }

    /// Who stands at a site of the table.
    ///
    /// # Panics
    /// There is no such site in the table that the seats are of.
    #[must_use]
    pub fn node(&self, site: Site) -> NodeId {
        *self.ids.get(site.0).expect("a site of the table that these seats are of")
    }

    /// Where a node stands; `None` if it is none of these.
    #[must_use]
    pub fn site(&self, node: NodeId) -> Option<Site> {
        self.ids.iter().position(|id| *id == node).map(Site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_has_the_id_it_needs_and_the_next_stands_at_the_same_site() {
        let five = Matrix::shipped("public-cloud-2020").unwrap();
        for leader in five.sites() {
            let next = Site((leader.0 + 1) % 5);
            let upwards = Seats::of(&five, leader, FirstLeader::LeastId);
            assert_eq!((upwards.node(leader), upwards.node(next)), (NodeId(1), NodeId(2)));
            let downwards = Seats::of(&five, leader, FirstLeader::GreatestId);
            assert_eq!((downwards.node(leader), downwards.node(next)), (NodeId(5), NodeId(4)));
            assert!(five.sites().all(|site| downwards.site(downwards.node(site)) == Some(site)));
        }
    }
}
