//! Bounded exhaustive exploration: every schedule within each bound.
//!
//! Checked besides everything the testbed checks (invariants, agreement, the durability ghost): that one view has one primary, that normal
//! replicas of one view have logs of which one is a prefix of the other, and that what is decided is durable at a majority.
//!
//! Equal disks are merged: recovery is a fold over the records.

use quorate_explorer::{Bounds, Disks, Explorer, Report};
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Input, RequestId};
use quorate_types::{Member, Membership, NodeId, Slot};
use quorate_viewstamped::{Config, Timer, Viewstamped};

fn running(cluster: &Testbed<Viewstamped>) -> impl Iterator<Item = (NodeId, &Viewstamped)> {
    cluster.ids().filter_map(|id| Some((id, cluster.node(id).replica()?)))
}

fn normal_logs_agree(cluster: &Testbed<Viewstamped>) -> Result<(), String> {
    let normal: Vec<_> = running(cluster).filter(|(_, replica)| replica.is_normal()).collect();
    for (at, (one, replica)) in normal.iter().enumerate() {
        for (other, its) in normal[..at].iter().filter(|(_, its)| its.view() == replica.view()) {
            let differs = |slot: &Slot| {
                let (mine, theirs) = (replica.log().get(*slot), its.log().get(*slot));
                mine.is_some() && theirs.is_some() && mine != theirs
            };
            if let Some(slot) = (1..=replica.log().last().0).map(Slot).find(differs) {
                return Err(format!("{one} and {other} are normal in view {} and differ at {slot}", replica.view()));
            }
            if replica.is_primary() && its.is_primary() {
                return Err(format!("{one} and {other} both lead view {}", replica.view()));
            }
        }
    }
    Ok(())
}

fn decided_is_durable_at_a_majority(cluster: &Testbed<Viewstamped>) -> Result<(), String> {
    let Some((slot, decision)) = cluster.chosen().last_key_value() else { return Ok(()) };
    let holds = |id: &NodeId| {
        let entry = cluster.recovered(*id).ok().and_then(|opened| opened.log().get(*slot).cloned());
        entry.is_some_and(|entry| entry.decision() == *decision)
    };
    let holders: Vec<NodeId> = cluster.ids().filter(holds).collect();
    match holders.len() * 2 > cluster.ids().count() {
        true => Ok(()),
        false => Err(format!("slot {slot} is decided, and durable at {holders:?} only")),
    }
}

fn explore(voters: u64, proposals: &[(u64, &'static str)], bounds: Bounds<Viewstamped>) -> Report<Viewstamped> {
    let cluster = Testbed::<Viewstamped>::new(voters, Config::default()).merging_equal_disks();
    let explorer = Explorer::new(cluster, bounds).settled();
    let wish = |explorer: Explorer<Viewstamped>, (node, commands): &(u64, &'static str)| {
        explorer.propose(NodeId(*node), *commands)
    };
    checked(proposals.iter().fold(explorer, wish)).explore()
}

fn checked(explorer: Explorer<Viewstamped>) -> Explorer<Viewstamped> {
    explorer
        .always("NormalLogAgree", normal_logs_agree)
        .always("DurableQuorum", decided_is_durable_at_a_majority)
        .sometimes("decided", |cluster| !cluster.chosen().is_empty())
        .sometimes("view 1 began", |cluster| {
            running(cluster).any(|(_, replica)| replica.last_normal().number == 1 && replica.is_primary())
        })
        .sometimes("decided in view 1", |cluster| {
            running(cluster).any(|(_, replica)| replica.last_normal().number == 1 && replica.commit() > Slot::ZERO)
        })
}

fn holds_and_reaches(report: &Report<Viewstamped>, marks: &[&str]) {
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
    let report = explore(2, &[(1, "x")], one_change(Bounds::default()));
    assert!(report.complete, "{report}");
    holds_and_reaches(&report, &["decided", "view 1 began", "decided in view 1"]);
}

/// Three voters and a view change: all schedules to their end, two million states.
#[test]
fn three_voters_and_a_view_change() {
    let report = explore(3, &[], one_change(stalling(3_000_000)));
    assert!(report.complete, "{report}");
    holds_and_reaches(&report, &["view 1 began"]);
}

/// Two voters, a proposal, a view change, and any node crashes at any moment: the states nearest to the beginning.
#[test]
fn two_voters_a_proposal_a_view_change_and_a_crash_at_any_moment() {
    let bounds = Bounds { max_crashes: 1, ..stalling(300_000) };
    let report = explore(2, &[(1, "x")], one_change(bounds));
    holds_and_reaches(&report, &["decided", "view 1 began", "decided in view 1"]);
}

/// The same with three voters.
#[test]
fn three_voters_a_proposal_a_view_change_and_a_crash_at_any_moment() {
    let bounds = Bounds { max_crashes: 1, ..stalling(300_000) };
    let report = explore(3, &[(1, "x")], one_change(bounds));
    holds_and_reaches(&report, &["decided", "view 1 began", "decided in view 1"]);
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
    let explorer = Explorer::new(cluster, one_change(bounds)).settled().wish(NodeId(1), wish);
    let report = checked(explorer)
        .sometimes("epoch 2 is normal at its newcomer", |cluster| {
            running(cluster).any(|(id, replica)| id == NodeId(3) && replica.last_normal().epoch == 2)
        })
        .explore();
    holds_and_reaches(&report, &["decided", "view 1 began", "epoch 2 is normal at its newcomer"]);
}
