//! All cases, by the part of the API they are about.

mod alarm;
mod compaction;
mod delete;
mod election;
mod lease;
mod limits;
mod lock;
mod maintenance;
mod members;
mod membership;
mod put;
mod range;
mod revisions;
mod sort;
mod txn;
mod txn_compare;
mod txn_limits;
mod watch;
mod watch_events;

use crate::case::Case;

/// Every case there is.
pub fn cases() -> Vec<Case> {
    let groups: [Vec<Case>; 19] = [
        range::cases(),
        sort::cases(),
        put::cases(),
        delete::cases(),
        txn::cases(),
        txn_compare::cases(),
        txn_limits::cases(),
        watch::cases(),
        watch_events::cases(),
        lease::cases(),
        lock::cases(),
        election::cases(),
        limits::cases(),
        members::cases(),
        membership::cases(),
        maintenance::cases(),
        revisions::cases(),
        compaction::cases(),
        alarm::cases(),
    ];
    groups.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_case_has_a_name_of_its_own_that_says_its_group_and_rule() {
        let names: Vec<&str> = cases().iter().map(Case::name).collect();
        assert!(names.len() > 150, "{}", names.len());
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for name in names {
            let (group, rule) = name.split_once("::").unwrap();
            assert!(!group.is_empty() && rule.contains('_') && !rule.contains("::"), "{name}");
        }
    }
}
