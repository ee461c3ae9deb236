//! Bounded exhaustive exploration: every schedule within each bound, and the beginning of larger searches.

use quorate_explorer::{Bounds, Disks, Report, targets};
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Input, RequestId};
use quorate_types::{Member, Membership, NodeId};
use quorate_viewstamped::{Config, Timer, Viewstamped};

fn explore(voters: u64, proposals: &[(NodeId, &'static str)], bounds: Bounds<Viewstamped>) -> Report<Viewstamped> {
    targets::viewstamped(Membership::of_voters(voters), Config::default(), proposals, bounds).explore()
}

fn holds_and_reaches(report: &Report<Viewstamped>, marks: &[&str]) {
    println!("{report}");
    assert!(report.violation.is_none(), "{report}");
    for mark in marks {
        assert!(report.happened(mark), "{mark} never happened: {report}");
    }
}

/// One view change.
fn one_change(bounds: Bounds<Viewstamped>) -> Bounds<Viewstamped> {
    bounds.with_timer_at(NodeId(2), Timer::Primary, 1)
}

fn stalling(max_states: usize) -> Bounds<Viewstamped> {
    Bounds { disks: Disks::StallBeforeCrash, max_states, ..Bounds::default() }
}

/// Two voters, a proposal and a view change; every write completes at any time: all schedules to their end.
#[test]
fn two_voters_a_proposal_and_a_view_change_with_disks_of_any_delay() {
    let report = explore(2, &[(NodeId(1), "x")], one_change(Bounds::default()));
    assert!(report.complete, "{report}");
    holds_and_reaches(&report, &["a command decided", "a second view began", "decided in a later view"]);
}

/// Three voters and a view change: all schedules to their end, two million states.
#[test]
fn three_voters_and_a_view_change() {
    let report = explore(3, &[], one_change(stalling(3_000_000)));
    assert!(report.complete, "{report}");
    holds_and_reaches(&report, &["a second view began"]);
}

/// Two voters, a proposal, a view change, and any node crashes at any moment: the states nearest to the beginning.
#[test]
fn two_voters_a_proposal_a_view_change_and_a_crash_at_any_moment() {
    let bounds = Bounds { max_crashes: 1, ..stalling(300_000) };
    let report = explore(2, &[(NodeId(1), "x")], one_change(bounds));
    holds_and_reaches(&report, &["a command decided", "a second view began", "decided in a later view"]);
}

/// The same with three voters.
#[test]
fn three_voters_a_proposal_a_view_change_and_a_crash_at_any_moment() {
    let bounds = Bounds { max_crashes: 1, ..stalling(300_000) };
    let report = explore(3, &[(NodeId(1), "x")], one_change(bounds));
    holds_and_reaches(&report, &["a command decided", "a second view began", "decided in a later view"]);
}

/// Node 1 leads 1 and 2 and wishes for 2 and 3 instead, with a view change in the old epoch and a crash of any of the three at any
/// moment: the states nearest to the beginning.
#[test]
fn a_primary_that_replaces_itself_a_view_change_and_a_crash_at_any_moment() {
    let (old, new) = ([1, 2].map(NodeId), [2, 3].map(NodeId));
    let mut cluster = Testbed::<Viewstamped>::new(2, Config::default()).merging_equal_disks();
    cluster.join(NodeId(3));
    let [based_on, members] = [old, new].map(|ids| Membership::new(ids.map(Member::voter)));
    let wish = Input::Reconfigure { request: RequestId(1), based_on, members };
    let bounds = Bounds { max_crashes: 1, ..stalling(300_000) };
    let report = targets::viewstamped_from(cluster, &[], one_change(bounds))
        .wish(NodeId(1), wish)
        .sometimes("epoch 2 is normal at its newcomer", |cluster| {
            cluster.node(NodeId(3)).replica().is_some_and(|replica| replica.last_normal().epoch == 2)
        })
        .explore();
    holds_and_reaches(&report, &["a change decided", "a second view began", "epoch 2 is normal at its newcomer"]);
}
