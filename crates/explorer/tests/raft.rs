//! Raft, three voters, every schedule within small bounds. Larger ones take longer than a test may.

use quorate_explorer::{Bounds, Disks, Report, targets};
use quorate_raft::{Config, Raft, Timer};
use quorate_types::{Membership, NodeId};

fn explore(proposals: &[(NodeId, &'static str)], bounds: Bounds<Raft>) -> Report<Raft> {
    targets::raft(Membership::of_voters(3), Config::default(), proposals, bounds).explore()
}

fn one_election() -> Bounds<Raft> {
    Bounds { disks: Disks::StallBeforeCrash, ..Bounds::default() }.with_timer_at(NodeId(1), Timer::Election, 1)
}

#[test]
fn one_election_and_one_proposal() {
    let report = explore(&[(NodeId(1), "x")], one_election());
    assert!(report.complete && report.violation.is_none(), "{report}");
    assert!(report.happened("a leader") && report.happened("a command decided"), "{report}");
}

#[test]
fn one_election_and_a_crash_of_any_node_at_any_moment() {
    let report = explore(&[], Bounds { max_crashes: 1, ..one_election() });
    assert!(report.complete && report.violation.is_none(), "{report}");
    assert!(report.happened("a leader"), "{report}");
}

/// Not complete: two candidates fill more than a million states. All schedules of up to twelve actions are covered.
#[test]
fn two_candidates_up_to_twelve_actions() {
    let bounds = Bounds { max_depth: 12, ..one_election() }.with_timer_at(NodeId(2), Timer::Election, 1);
    let report = explore(&[(NodeId(1), "x")], bounds);
    assert!(!report.complete && report.violation.is_none(), "{report}");
    assert!(report.happened("a leader") && report.max_depth == 12, "{report}");
}
