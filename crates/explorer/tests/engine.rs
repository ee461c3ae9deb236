//! The search itself: that it tries everything, that its reductions lose nothing, and that a way it reports is one.

use quorate_explorer::{Bounds, Disks, Explorer, Report, targets};
use quorate_paxos::{Config, Paxos, Timer};
use quorate_protocol::testbed::Testbed;
use quorate_types::{Membership, NodeId};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

fn one_proposer(bounds: Bounds<Paxos>) -> Explorer<Paxos> {
    Explorer::new(Testbed::new(3, Config::default()), bounds).settled().propose(NodeId(1), "x")
}

/// What acceptors and learners of all nodes hold, over every state reached.
fn reached(explorer: Explorer<Paxos>) -> BTreeSet<String> {
    let states = Arc::new(Mutex::new(BTreeSet::new()));
    let collected = Arc::clone(&states);
    let report = explorer
        .always("collected", move |cluster| {
            let of = |id| {
                let paxos = cluster.replica(id);
                (paxos.promised(), paxos.accepted().cloned(), paxos.chosen().cloned(), paxos.last_round())
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
fn a_broken_property_comes_with_a_shortest_way_there() {
    let report = one_proposer(Bounds::default())
        .always("NobodyDecides", |cluster| match cluster.chosen().is_empty() {
            true => Ok(()),
            false => Err("somebody decided".to_owned()),
        })
        .explore();
    let found = report.violation.expect("x can be decided");
    assert!(!report.complete);
    assert_eq!((found.property.as_str(), found.detail.as_str()), ("NobodyDecides", "somebody decided"));
    // Proposed, round written, prepare, promise written, promise; accept, acceptance written, accepted, own acceptance
    // written (the quorum), decision written.
    assert_eq!(found.actions.len(), 10, "{found}");
    assert!(found.actions[0].starts_with("n1: a client asks: Propose"), "{found}");
    assert!(found.text.contains("  1. n1: a client asks"), "{found}");
    assert!(found.text.contains("n1 starts ballot (1,n1)"), "the guards are told: {found}");
    assert!(found.text.ends_with("invariant NobodyDecides is violated: somebody decided\n"), "{found}");
}

#[test]
fn two_threads_see_the_same_states_as_one() {
    let bounds = |threads| Bounds { max_crashes: 1, max_duplicates: 1, threads, ..Bounds::default() };
    let alone = one_proposer(bounds(1)).explore();
    let together = one_proposer(bounds(2)).explore();
    assert!(alone.complete && together.complete);
    let counts = |report: Report<Paxos>| (report.unique_states, report.transitions, report.max_depth);
    assert_eq!(counts(alone), counts(together));
}

#[test]
fn a_way_that_two_threads_found_is_as_short_as_that_of_one() {
    let way = |threads| {
        let report = one_proposer(Bounds { max_crashes: 1, threads, ..Bounds::default() })
            .always("NobodyKnowsAndHasCrashed", |cluster| {
                let knows = |id| !cluster.node(id).decided().is_empty() && cluster.node(id).records().count() > 4;
                cluster.ids().find(|id| knows(*id)).map_or(Ok(()), |id| Err(format!("{id} knows")))
            })
            .explore();
        report.violation.map(|found| found.actions.len())
    };
    assert_eq!(way(1), way(2));
}

#[test]
fn a_bound_on_depth_ends_the_search_and_says_so() {
    let report = one_proposer(Bounds { max_depth: 9, ..Bounds::default() }).explore();
    assert!(!report.complete && report.max_depth == 9, "there is more beyond: {report}");
    let all = one_proposer(Bounds::default()).explore();
    let exactly = one_proposer(Bounds { max_depth: all.max_depth, ..Bounds::default() }).explore();
    assert!(exactly.complete && exactly.unique_states == all.unique_states, "{exactly}");
}

#[test]
fn a_bound_on_states_ends_the_search_and_says_so() {
    let report = one_proposer(Bounds { max_states: 100, ..Bounds::default() }).explore();
    assert!(!report.complete && report.violation.is_none());
    assert!((100..200).contains(&report.unique_states), "{report}");
}

#[test]
fn losing_messages_reaches_nothing_that_leaving_them_does_not() {
    let lossless = reached(one_proposer(Bounds { max_crashes: 1, ..Bounds::default() }));
    let lossy = reached(one_proposer(Bounds { max_crashes: 1, max_drops: 2, ..Bounds::default() }));
    assert_eq!(lossless, lossy);
}

#[test]
fn stalling_disks_reach_the_same_states_as_disks_of_any_delay() {
    for bounds in [
        Bounds { max_duplicates: 1, ..Bounds::default() },
        Bounds { max_crashes: 1, ..Bounds::default() },
        Bounds { max_crashes: 1, ..Bounds::default() }.with_timer_at(NodeId(1), Timer::Resend, 1),
    ] {
        let any_delay = reached(one_proposer(bounds.clone()));
        let stalling = reached(one_proposer(Bounds { disks: Disks::StallBeforeCrash, ..bounds }));
        assert!(any_delay.len() > 20);
        assert_eq!(any_delay, stalling);
    }
}

#[test]
fn forgetting_and_merging_lose_nothing() {
    let bounds = Bounds { max_crashes: 1, disks: Disks::StallBeforeCrash, ..Bounds::default() };
    for (nodes, proposals) in [(3, &[(NodeId(1), "x")][..]), (2, &[(NodeId(1), "x"), (NodeId(2), "y")])] {
        let plain = Explorer::new(Testbed::<Paxos>::new(nodes, Config::default()), bounds.clone()).settled();
        let plain = proposals.iter().fold(plain, |explorer, (node, value)| explorer.propose(*node, *value));
        let members = Membership::of_voters(nodes);
        let reduced = targets::paxos(members, Config::default(), proposals, bounds.clone());
        assert_eq!(reached(plain), reached(reduced));
    }
}

#[test]
fn progress_is_told() {
    let told = Arc::new(Mutex::new(0));
    let count = Arc::clone(&told);
    let report = one_proposer(Bounds::default()).on_progress(100, move |_| *count.lock().unwrap() += 1).explore();
    assert_eq!(*told.lock().unwrap(), report.unique_states / 100);
}

#[test]
fn messages_that_are_cut_off_make_a_search_incomplete() {
    let report = one_proposer(Bounds::default())
        .only_messages(|flight| flight.to != NodeId(3) && flight.from != NodeId(3))
        .sometimes("n3 knows", |cluster| !cluster.node(NodeId(3)).decided().is_empty())
        .sometimes("decided", |cluster| !cluster.chosen().is_empty())
        .explore();
    assert!(!report.complete && report.happened("decided") && !report.happened("n3 knows"), "{report}");
}
