//! Bounded exhaustive exploration: three acceptors, two proposers, every schedule within each bound.
//!
//! Larger bounds take longer than a test may; `quorate explore` has them.

use quorate_explorer::{Bounds, Disks, Explorer, Report, targets};
use quorate_paxos::{AcceptedTo, Config, Paxos, QuorumSizes, Timer};
use quorate_protocol::testbed::Testbed;
use quorate_types::{Membership, NodeId, Slot};

const TWO_PROPOSERS: [(NodeId, &str); 2] = [(NodeId(1), "x"), (NodeId(2), "y")];

fn stalling() -> Bounds<Paxos> {
    Bounds { disks: Disks::StallBeforeCrash, ..Bounds::default() }
}

fn explore(proposals: &[(NodeId, &'static str)], config: Config, bounds: Bounds<Paxos>) -> Report<Paxos> {
    with_marks(targets::paxos(Membership::of_voters(3), config, proposals, bounds)).explore()
}

fn with_marks(explorer: Explorer<Paxos>) -> Explorer<Paxos> {
    let decided = |cluster: &Testbed<Paxos>, value: &str| match cluster.chosen().get(&Slot(1)) {
        Some(quorate_protocol::Decision::Commands(commands)) => commands == value,
        _ => false,
    };
    explorer
        .sometimes("x decided", move |cluster| decided(cluster, "x"))
        .sometimes("y decided", move |cluster| decided(cluster, "y"))
        .sometimes("two values accepted at once", |cluster| {
            let values: Vec<_> =
                cluster.ids().filter_map(|id| cluster.node(id).replica()?.accepted().cloned()).collect();
            values.iter().any(|one| values.iter().any(|other| one.value != other.value))
        })
        .sometimes("a value adopted", |cluster| {
            let proposing = |id| cluster.node(id).replica().and_then(|paxos| paxos.proposing()).cloned();
            proposing(NodeId(1)).is_some_and(|proposal| proposal.value == "y")
                || proposing(NodeId(2)).is_some_and(|proposal| proposal.value == "x")
        })
}

fn covers(report: &Report<Paxos>, marks: &[&str]) {
    assert!(report.complete && report.violation.is_none(), "{report}");
    for mark in marks {
        assert!(report.happened(mark), "{mark} never happened: {report}");
    }
}

#[test]
fn two_proposers_and_a_crash_of_any_node_at_any_moment() {
    let report = explore(&TWO_PROPOSERS, Config::default(), Bounds { max_crashes: 1, ..stalling() });
    covers(
        &report,
        &["x decided", "y decided", "two values accepted at once", "a value adopted", "decided everywhere"],
    );
}

#[test]
fn two_proposers_and_a_message_that_arrives_twice() {
    let report = explore(&TWO_PROPOSERS, Config::default(), Bounds { max_duplicates: 1, ..stalling() });
    covers(
        &report,
        &["x decided", "y decided", "two values accepted at once", "a value adopted", "decided everywhere"],
    );
}

/// Both at once among two acceptors, each of whom proposes: all schedules. (Two values are never accepted at once there: both must promise.)
#[test]
fn two_proposers_of_two_with_a_crash_and_a_message_that_arrives_twice() {
    let bounds = Bounds { max_crashes: 1, max_duplicates: 1, ..stalling() };
    let explorer = targets::paxos(Membership::of_voters(2), Config::default(), &TWO_PROPOSERS, bounds);
    let report = with_marks(explorer).explore();
    println!("{report}");
    covers(&report, &["x decided", "y decided", "a value adopted", "decided everywhere"]);
}

/// Both at once among three acceptors, of whom one proposes: all schedules.
#[test]
fn one_proposer_of_three_with_two_crashes_and_a_message_that_arrives_twice() {
    let bounds = Bounds { max_crashes: 2, max_duplicates: 1, ..stalling() };
    let report = explore(&TWO_PROPOSERS[..1], Config::default(), bounds);
    println!("{report}");
    covers(&report, &["x decided", "decided everywhere"]);
}

/// Both at once among three acceptors, of whom two propose: the quarter of a million states nearest to the beginning. All of them, some
/// twenty times as many, are a check in `e2e/checks.py` of the built program (docs/exploring.md).
#[test]
fn two_proposers_with_a_crash_and_a_message_that_arrives_twice() {
    let bounds = Bounds { max_crashes: 1, max_duplicates: 1, max_states: 250_000, threads: 2, ..stalling() };
    let report = explore(&TWO_PROPOSERS, Config::default(), bounds);
    assert!(report.violation.is_none(), "{report}");
    for mark in ["x decided", "y decided", "two values accepted at once", "a value adopted"] {
        assert!(report.happened(mark), "{mark} never happened: {report}");
    }
}

#[test]
fn two_proposers_one_of_which_tries_a_second_ballot() {
    let bounds = stalling().with_timer_at(NodeId(1), Timer::Retry, 1);
    let report = explore(&TWO_PROPOSERS, Config::default(), bounds);
    covers(
        &report,
        &["x decided", "y decided", "two values accepted at once", "a value adopted", "decided everywhere"],
    );
}

#[test]
fn acceptances_told_to_everybody() {
    let config = Config { accepted_to: AcceptedTo::Everybody, ..Config::default() };
    let report = explore(&TWO_PROPOSERS[..1], config, Bounds { max_crashes: 1, ..stalling() });
    covers(&report, &["x decided", "decided everywhere"]);
}

#[test]
fn unequal_quorums() {
    for (phase1, phase2) in [(3, 1), (1, 3)] {
        let config = Config { quorums: QuorumSizes::Flexible { phase1, phase2 }, ..Config::default() };
        let report = explore(&TWO_PROPOSERS, config, stalling());
        covers(&report, &["x decided", "y decided", "decided everywhere"]);
    }
}

/// No reduction but that of equal messages: writes take any time, alone or together, and any prefix survives.
#[test]
fn one_proposer_on_disks_of_any_delay_with_a_crash_and_a_duplicate() {
    let bounds = Bounds { max_crashes: 1, max_duplicates: 1, ..Bounds::default() };
    let report = Explorer::new(Testbed::<Paxos>::new(3, Config::default()), bounds)
        .settled()
        .propose(NodeId(1), "x")
        .sometimes("decided", |cluster| !cluster.chosen().is_empty())
        .explore();
    covers(&report, &["decided"]);
    assert!(report.assumptions.is_empty());
}

/// x is decided, and n1 may have told a client; n3 knows nothing. Whatever happens, a read at n3 sees it.
#[test]
fn a_read_that_comes_after_a_decision_never_misses_it() {
    let mut decided = Testbed::<Paxos>::new(3, Config::default()).merging_equal_disks();
    decided.propose(NodeId(1), 1, "x");
    decided.run(100, |flight| flight.to != NodeId(3) && flight.from != NodeId(3));
    assert_eq!(decided.node(NodeId(1)).decided().len(), 1);
    let report = Explorer::new(decided, Bounds { max_crashes: 1, ..stalling() })
        .settled()
        .read(NodeId(3))
        .propose(NodeId(3), "y")
        .always("Linearizable", |cluster| {
            let missed = cluster.node(NodeId(3)).reads().iter().find(|(_, slot)| *slot < Slot(1));
            missed.map_or(Ok(()), |(_, slot)| Err(format!("n3 reads at slot {slot}")))
        })
        .sometimes("read released", |cluster| !cluster.node(NodeId(3)).reads().is_empty())
        .explore();
    covers(&report, &["read released"]);
}

/// Nothing is decided when the read comes, and a proposal is under way: both answers are right, and both are given.
#[test]
fn a_read_beside_a_proposal_may_see_either() {
    let reads =
        |cluster: &Testbed<Paxos>, wanted| cluster.node(NodeId(3)).reads().iter().any(|(_, slot)| *slot == wanted);
    let report = targets::paxos(Membership::of_voters(3), Config::default(), &TWO_PROPOSERS[..1], stalling())
        .read(NodeId(3))
        .sometimes("nothing read", move |cluster| reads(cluster, Slot(0)))
        .sometimes("decision read", move |cluster| reads(cluster, Slot(1)))
        .explore();
    covers(&report, &["nothing read", "decision read"]);
}

/// Flexible Paxos with an even count: of four acceptors three promise and any two decide. Two phase-2 quorums need not meet, and
/// still only one value is ever chosen. Larger than the others, so up to sixteen actions.
#[test]
fn four_acceptors_of_which_two_decide() {
    let config = Config { quorums: QuorumSizes::Flexible { phase1: 3, phase2: 2 }, ..Config::default() };
    let bounds = Bounds { max_depth: 16, max_states: 60_000, ..stalling() };
    let explorer = targets::paxos(Membership::of_voters(4), config, &TWO_PROPOSERS, bounds);
    let report = with_marks(explorer).explore();
    assert!(report.violation.is_none(), "{report}");
    assert!(report.happened("x decided") && report.happened("y decided"), "{report}");
}
