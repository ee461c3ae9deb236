//! What arithmetic says a write must take when nothing but links takes time.

use crate::matrix::{Matrix, Site};
use std::time::Duration;

/// How long a write of a client at `site` takes, from call to answer, where messages take half a round trip each and nothing else
/// takes time: at the leader the round trip to the farthest of the nearest peers that make a majority with it, elsewhere the
/// round trip to the leader besides. The same holds of a linearizable read, for which the leader hears a majority too.
///
/// Sites in `away` take no part. `None` where those that are left are no majority, or the leader or the site is among those away.
#[must_use]
pub fn commit_latency(matrix: &Matrix, leader: Site, site: Site, away: &[Site]) -> Option<Duration> {
    if away.contains(&leader) || away.contains(&site) {
        return None;
    }
    let peers_needed = matrix.count() / 2;
    let present = matrix.by_distance(leader).into_iter().filter(|peer| !away.contains(peer));
    let to_quorum = match peers_needed {
        0 => Duration::ZERO,
        _ => matrix.round_trip(leader, present.into_iter().nth(peers_needed - 1)?),
    };
    Some(to_quorum + matrix.round_trip(site, leader))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(matrix: &Matrix, leader: &str, away: &[Site]) -> Vec<Option<u128>> {
        let leader = matrix.site(leader).unwrap();
        let latency = |site| commit_latency(matrix, leader, site, away).map(|latency| latency.as_nanos() / 100_000);
        matrix.sites().map(latency).collect()
    }

    #[test]
    fn the_published_rows_of_a_leader_in_california() {
        let five = Matrix::shipped("public-cloud-2020").unwrap();
        let three = five.only(&["CA", "VA", "EU"]).unwrap();
        assert_eq!(row(&three, "CA", &[]), [599, 1198, 2010].map(Some));
        assert_eq!(row(&five, "CA", &[]), [599, 1198, 2010, 810, 1716].map(Some));
    }

    #[test]
    fn without_the_nearest_the_next_are_waited_for() {
        let five = Matrix::shipped("public-cloud-2020").unwrap();
        let away = ["OR", "VA"].map(|name| five.site(name).unwrap());
        assert_eq!(row(&five, "CA", &away), [Some(1411), None, Some(2822), None, Some(2528)]);
        let three_away = ["OR", "VA", "EU"].map(|name| five.site(name).unwrap());
        assert_eq!(row(&five, "CA", &three_away), [None; 5]);
    }

    #[test]
    fn an_even_number_of_sites_needs_half_of_them_besides_the_leader() {
        let five = Matrix::shipped("public-cloud-2020").unwrap();
        let four = five.only(&["CA", "OR", "VA", "JP"]).unwrap();
        assert_eq!(row(&four, "CA", &[])[0], Some(599));
        let alone = five.only(&["CA"]).unwrap();
        assert_eq!(row(&alone, "CA", &[]), [Some(0)]);
    }
}
