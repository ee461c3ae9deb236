//! Raft, every schedule within small bounds, and that what is left out of a search loses nothing.

use quorate_explorer::{Bounds, Disks, Explorer, Report, targets};
use quorate_protocol::testbed::Testbed;
use quorate_raft::{Config, Raft, Timer};
use quorate_types::{Membership, NodeId};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

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

/// What all replicas hold, over every state reached.
fn reached(explorer: Explorer<Raft>) -> BTreeSet<String> {
    let states = Arc::new(Mutex::new(BTreeSet::new()));
    let collected = Arc::clone(&states);
    let report = explorer
        .always("collected", move |cluster| {
            let of = |id| {
                let raft = cluster.replica(id);
                (raft.term(), raft.voted_for(), raft.is_leader(), raft.log().clone(), raft.commit(), raft.durable())
            };
            collected
                .lock()
                .expect("no search panicked")
                .insert(format!("{:?}", cluster.ids().map(of).collect::<Vec<_>>()));
            Ok(())
        })
        .explore();
    assert!(report.complete, "{report}");
    Arc::into_inner(states).expect("the search is over").into_inner().expect("no search panicked")
}

#[test]
fn stale_answers_that_are_forgotten_and_equal_disks_that_are_merged_lose_nothing() {
    let stand_twice = |bounds: Bounds<Raft>| bounds.with_timer(Timer::Election, 2);
    let crash = stand_twice(Bounds { max_crashes: 1, disks: Disks::StallBeforeCrash, ..Bounds::default() });
    let copy = stand_twice(Bounds { max_duplicates: 1, disks: Disks::StallBeforeCrash, ..Bounds::default() });
    let alone = Bounds { max_crashes: 1, max_duplicates: 1, ..one_election() };
    for (voters, proposals, bounds) in [(2, 0, crash), (2, 1, copy), (3, 0, alone)] {
        let members = Membership::of_voters(voters);
        let proposals = &[(NodeId(1), "x")][..proposals];
        let plain = Explorer::new(Testbed::with_members(members.clone(), Config::default()), bounds.clone()).settled();
        let plain = proposals.iter().fold(plain, |explorer, (node, value)| explorer.propose(*node, *value));
        let reduced = targets::raft(members, Config::default(), proposals, bounds);
        let (plain, reduced) = (reached(plain), reached(reduced));
        assert!(plain.len() > 20 && plain == reduced, "{} and {}", plain.len(), reduced.len());
    }
}
