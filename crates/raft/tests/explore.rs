//! Bounded exhaustive exploration: every schedule within each bound. Larger bounds take longer than a test may;
//! `quorate explore` has them.

use quorate_explorer::{Bounds, Disks, Explorer, Report, targets};
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Input, RequestId};
use quorate_raft::{Config, Raft, Timer};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot};

fn explorer(voters: u64, config: Config, proposals: &[(NodeId, &'static str)], bounds: Bounds<Raft>) -> Explorer<Raft> {
    targets::raft(Membership::of_voters(voters), config, proposals, bounds)
}

fn covers(report: &Report<Raft>, marks: &[&str]) {
    assert!(report.complete && report.violation.is_none(), "{report}");
    for mark in marks {
        assert!(report.happened(mark), "{mark} never happened: {report}");
    }
}

fn stalling() -> Bounds<Raft> {
    Bounds { disks: Disks::StallBeforeCrash, ..Bounds::default() }
}

/// Two voters, one candidate, one proposal; one message may arrive twice.
#[test]
fn two_voters_and_a_message_that_arrives_twice() {
    let bounds = Bounds { max_duplicates: 1, ..stalling() }.with_timer_at(NodeId(1), Timer::Election, 1);
    covers(&explorer(2, Config::default(), &[(NodeId(1), "x")], bounds).explore(), &["a leader", "a command decided"]);
}

/// Two voters, both candidates once, no proposal; any node crashes at any moment and loses any unfinished write.
#[test]
fn two_candidates_of_two_and_a_crash_of_either_at_any_moment() {
    let bounds = Bounds { max_crashes: 1, ..stalling() }.with_timer_at(NodeId(1), Timer::Election, 1).with_timer_at(
        NodeId(2),
        Timer::Election,
        1,
    );
    covers(&explorer(2, Config::default(), &[], bounds).explore(), &["a leader"]);
}

/// Node 1 leads term 1 and was answered often; those answers are still under way. Meanwhile node 2 was elected and decided
/// "x" with node 3. A read now comes at node 1, which knows nothing of this. In every schedule of up to twelve actions,
/// whichever of those answers come late, it is never released below "x".
#[test]
fn a_deposed_leader_that_gets_late_answers_releases_no_stale_read() {
    let (deposed, next) = (NodeId(1), NodeId(2));
    let mut cluster = Testbed::<Raft>::new(3, Config::default()).merging_equal_disks();
    cluster.run(1_000, |_| true);
    cluster.expire(deposed, Timer::Election);
    cluster.run(1_000, |_| true);
    for _ in 0..2 {
        cluster.expire(deposed, Timer::Heartbeat);
        cluster.run(1_000, |flight| flight.to != deposed);
    }
    for id in [next, NodeId(3)] {
        cluster.expire(id, Timer::Stickiness);
    }
    cluster.expire(next, Timer::Election);
    cluster.run(1_000, |flight| flight.to != deposed);
    cluster.propose(next, 1, "x");
    cluster.run(1_000, |flight| flight.to != deposed);
    let decided = *cluster.chosen().keys().next_back().expect("x is decided");
    assert!(decided == Slot(3) && cluster.replica(deposed).is_leader() && cluster.replica(next).is_leader());
    let bounds = Bounds { max_depth: 12, ..stalling() }.with_timer_at(deposed, Timer::ReadRetry, 1);
    let report = Explorer::new(cluster, bounds)
        .settled()
        .remembering_refusals()
        .read(deposed)
        .always("no read below what was decided before it came", move |cluster| {
            let stale = cluster.node(deposed).reads().iter().find(|(_, slot)| *slot < decided);
            stale.map_or(Ok(()), |(token, slot)| Err(format!("{token:?} at {slot}")))
        })
        .sometimes("read released", move |cluster| !cluster.node(deposed).reads().is_empty())
        .sometimes("read refused", move |cluster| !cluster.node(deposed).refusals().is_empty())
        .explore();
    assert!(report.violation.is_none(), "{report}");
    assert!(report.happened("read released") && report.happened("read refused"), "{report}");
}

/// Three voters, two of them candidates, one message that arrives twice and a crash of any node at any moment: the million
/// states nearest to the beginning, which are all schedules of up to nine actions.
#[test]
fn two_candidates_of_three_with_a_crash_and_a_repeated_message() {
    let bounds = Bounds { max_crashes: 1, max_duplicates: 1, max_states: 1_000_000, threads: 2, ..stalling() }
        .with_timer_at(NodeId(1), Timer::Election, 1)
        .with_timer_at(NodeId(2), Timer::Election, 1);
    let report = explorer(3, Config::default(), &[(NodeId(1), "x")], bounds).explore();
    assert!(report.violation.is_none(), "{report}");
    assert!(report.happened("a leader") && report.happened("a command decided") && report.max_depth > 9, "{report}");
}

/// A cluster of voters that node 1 leads; nobody sticks to it any more, so that others may stand at once.
fn led(voters: u64) -> Testbed<Raft> {
    let mut cluster = Testbed::<Raft>::new(voters, Config::default()).merging_equal_disks();
    cluster.run(1_000, |_| true);
    cluster.expire(NodeId(1), Timer::Election);
    cluster.run(1_000, |_| true);
    for id in cluster.ids().skip(1).collect::<Vec<_>>() {
        cluster.expire(id, Timer::Stickiness);
    }
    assert!(cluster.replica(NodeId(1)).is_leader());
    cluster
}

/// Node 1 leads and is asked, at any moment, to hand over to node 2; a proposal comes before, during or after that, the transfer may
/// run out of time, and any node crashes at any moment.
#[test]
fn leadership_is_handed_over_and_anybody_crashes_at_any_moment() {
    let (leader, next) = (NodeId(1), NodeId(2));
    let bounds = Bounds { max_crashes: 1, max_states: 400_000, ..stalling() }
        .with_timer_at(leader, Timer::Transfer, 1)
        .with_timer_at(leader, Timer::Heartbeat, 1);
    let explorer = targets::raft_from(led(3), &[(leader, "x")], bounds)
        .wish(leader, Input::Transfer { request: RequestId(1_000), to: next })
        .sometimes("the next one leads", move |cluster| {
            cluster.node(next).replica().is_some_and(|raft| raft.is_leader() && raft.term() == 2)
        });
    let report = targets::with_raft_marks(explorer).explore();
    assert!(report.violation.is_none(), "{report}");
    for mark in ["leadership is being handed over", "the next one leads", "two lead at once", "a command decided"] {
        assert!(report.happened(mark), "{mark} never happened: {report}");
    }
}

/// Node 1 leads and is asked, at any moment, to let node 3 leave, which takes a joint configuration; node 2 stands once, and any
/// node crashes at any moment.
#[test]
fn a_member_leaves_and_anybody_crashes_at_any_moment() {
    let leader = NodeId(1);
    let rest = Membership::of_voters(2);
    let bounds =
        Bounds { max_crashes: 1, max_states: 400_000, ..stalling() }.with_timer_at(NodeId(2), Timer::Election, 1);
    let wish = Input::Reconfigure { request: RequestId(1_000), based_on: Membership::of_voters(3), members: rest };
    let explorer = targets::raft_from(led(3), &[], bounds).wish(leader, wish);
    let report = targets::with_raft_marks(explorer).explore();
    assert!(report.violation.is_none(), "{report}");
    for mark in ["a joint configuration", "a change decided", "two lead at once"] {
        assert!(report.happened(mark), "{mark} never happened: {report}");
    }
}

/// Two voters with data and a witness, both voters candidates once, one proposal, and a crash of anybody at any moment: the hundred
/// thousand states nearest to the beginning.
#[test]
fn two_candidates_and_a_witness_and_a_crash_of_anybody() {
    let witness = Member { role: MemberRole::Witness, ..Member::voter(NodeId(3)) };
    let members = Membership::new([Member::voter(NodeId(1)), Member::voter(NodeId(2)), witness]);
    let bounds = Bounds { max_crashes: 1, max_states: 100_000, ..stalling() }
        .with_timer_at(NodeId(1), Timer::Election, 1)
        .with_timer_at(NodeId(2), Timer::Election, 1);
    let report = targets::raft(members, Config::default(), &[(NodeId(1), "x")], bounds).explore();
    assert!(report.violation.is_none(), "{report}");
    assert!(report.happened("a leader") && report.happened("a command decided") && report.max_depth > 8, "{report}");
}

/// Node 1 leads and keeps nothing that node 3 needs. Every schedule of up to eleven actions with two heartbeats, a message that
/// arrives twice, and a crash of any node at any moment, so also between the record of a snapshot and its installation.
#[test]
fn a_member_that_needs_a_snapshot_and_a_crash_of_anybody_at_any_moment() {
    let (leader, behind) = (NodeId(1), NodeId(3));
    let config = Config {
        compact_after_entries: 1,
        compact_keep_entries: 0,
        keep_log_bytes: 1,
        snapshot_retry_heartbeats: 1,
        ..Config::default()
    };
    let mut cluster = Testbed::<Raft>::new(3, config).merging_equal_disks();
    cluster.run(1_000, |_| true);
    cluster.expire(leader, Timer::Election);
    cluster.run(1_000, |_| true);
    for request in 1..=2 {
        cluster.propose(leader, request, "x");
        cluster.run(1_000, |flight| flight.to != behind);
        cluster.lose_where(|_| true);
    }
    cluster.checkpoint(leader);
    cluster.run(1_000, |flight| flight.to != behind);
    let slot = cluster.replica(leader).commit();
    assert!(cluster.replica(leader).log().base() == slot && cluster.replica(behind).log().last() < slot);
    let bounds = Bounds { max_crashes: 1, max_duplicates: 1, max_depth: 11, ..Bounds::default() }.with_timer_at(
        leader,
        Timer::Heartbeat,
        2,
    );
    let report = targets::raft_from(cluster, &[], bounds)
        .sometimes("a record that waits for its installation", move |cluster| {
            cluster.node(behind).installing().is_some()
        })
        .sometimes("installed", move |cluster| cluster.node(behind).decided().contains_key(&slot))
        .explore();
    assert!(report.violation.is_none(), "{report}");
    for mark in ["a record that waits for its installation", "installed"] {
        assert!(report.happened(mark), "{mark} never happened: {report}");
    }
}

/// Members 1 and 2, of whom 1 leads, become 2 and 3: every schedule of up to eight actions with a candidate of either half and a
/// crash of anybody at any moment.
#[test]
fn a_leader_replaces_itself_and_anybody_crashes_at_any_moment() {
    let (leader, stays, comes) = (NodeId(1), NodeId(2), NodeId(3));
    let mut cluster = Testbed::<Raft>::new(2, Config::default()).merging_equal_disks();
    cluster.run(1_000, |_| true);
    cluster.expire(leader, Timer::Election);
    cluster.run(1_000, |_| true);
    cluster.join(comes);
    cluster.reconfigure(leader, 1, Membership::new([stays, comes].map(Member::voter)));
    for _ in 0..4 {
        cluster.complete_writes(comes, 1);
        let to_comes = |flight: &quorate_protocol::testbed::Flight<Raft>| flight.to == comes || flight.from == comes;
        cluster.run(1, to_comes);
    }
    for id in [stays, comes] {
        cluster.expire(id, Timer::Stickiness);
    }
    assert!(cluster.replica(leader).configuration().is_joint() && cluster.replica(comes).configuration().is_joint());
    let bounds = Bounds { max_crashes: 1, max_depth: 8, ..stalling() }
        .with_timer_at(stays, Timer::Election, 1)
        .with_timer_at(comes, Timer::Election, 1);
    let ended = move |cluster: &Testbed<Raft>, id: NodeId| {
        cluster.node(id).replica().is_some_and(|raft| !raft.configuration().is_joint() && raft.commit() >= Slot(3))
    };
    let report = targets::raft_from(cluster, &[], bounds)
        .sometimes("the leader ends the change", move |cluster| ended(cluster, leader))
        .sometimes("another leads", move |cluster| {
            [stays, comes].iter().any(|id| cluster.node(*id).replica().is_some_and(Raft::is_leader))
        })
        .explore();
    assert!(report.violation.is_none(), "{report}");
    for mark in ["the leader ends the change", "another leads"] {
        assert!(report.happened(mark), "{mark} never happened: {report}");
    }
}
