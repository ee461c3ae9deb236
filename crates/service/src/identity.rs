//! Ids from words: every founder computes the same ids from the same names, URLs and token, so that nobody must hand them out.

use quorate_types::{ClusterId, Member, MemberRole, Membership, NodeId};

/// One founding member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Founder {
    /// Unique in the cluster.
    pub name: String,
    /// Where other members reach it, sorted.
    pub peer_urls: Vec<String>,
}

/// A member's id: drawn from its peer URLs, in whatever order, and the cluster's token.
#[must_use]
pub fn node_id(peer_urls: &[String], token: &str) -> NodeId {
    let mut sorted = peer_urls.to_vec();
    sorted.sort();
    NodeId(hash(sorted.iter().map(String::as_str).chain([token])))
}

/// An id for a member that is added: 64 random bits, so that it is nobody's and never was.
pub(crate) fn fresh_node_id(taken: impl Fn(NodeId) -> bool) -> Result<NodeId, getrandom::Error> {
    loop {
        let id = NodeId(getrandom::u64()?);
        if id.0 != 0 && !taken(id) {
            return Ok(id);
        }
    }
}

/// The cluster's id: drawn from its sorted founders and its token.
#[must_use]
pub fn cluster_id(founders: &[Founder], token: &str) -> ClusterId {
    let parts =
        founders.iter().flat_map(|founder| founder.peer_urls.iter().map(String::as_str).chain([founder.name.as_str()]));
    ClusterId(hash(parts.chain([token])))
}

/// All founders as voters. Client URLs are not known here: members tell each other theirs on connecting.
#[must_use]
pub fn founding_membership(founders: &[Founder], token: &str) -> Membership {
    Membership::new(founders.iter().map(|founder| Member {
        id: node_id(&founder.peer_urls, token),
        role: MemberRole::Voter,
        disk: None,
        name: founder.name.clone(),
        peer_urls: founder.peer_urls.clone(),
        client_urls: Vec::new(),
    }))
}

/// FNV-1a with a final mix: the same on any machine and in any version.
fn hash<'a>(parts: impl Iterator<Item = &'a str>) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325u64;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    state = (state ^ (state >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    state ^ (state >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_first_release() {
        let founder = Founder { name: "a".to_owned(), peer_urls: vec!["http://127.0.0.1:2380".to_owned()] };
        let id = node_id(&founder.peer_urls, "quorate-cluster");
        assert_eq!(founding_membership(std::slice::from_ref(&founder), "quorate-cluster").members()[0].id, id);
        let other = Founder { name: "b".to_owned(), ..founder.clone() };
        assert_ne!(cluster_id(&[founder], "quorate-cluster"), cluster_id(&[other], "quorate-cluster"));
    }
}
