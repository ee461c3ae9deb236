//! One fault at a time: that each does what it says, seen from outside.

use quorate_keyspace::Keyspace;
use quorate_narrator::{Ending, Loss, What};
use quorate_node::{Consistency, Lane, NodeConfig};
use quorate_raft::{Config, Raft};
use quorate_simulator::swarm::{Judged, Meaning};
use quorate_simulator::{
    Chance, DiskModel, Fate, FilterRule, Latency, Link, OperationId, OperationResult, Outcome, World, WorldConfig,
};
use quorate_types::{NodeId, Slot};
use std::time::Duration;

type Cluster = World<Raft, Keyspace>;
type Result = OperationResult<quorate_keyspace::Reply>;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);
const HOP: Duration = Duration::from_millis(1);
const FLUSH: Duration = Duration::from_millis(2);

/// Three nodes, led by n1; everything takes exactly its time.
fn led_by_n1() -> Cluster {
    let mut config = WorldConfig::perfect(3, NodeConfig::new(Config::default()), HOP);
    config.disk = DiskModel { write: Latency::ZERO, flush: Latency::exactly(FLUSH) };
    config.node.tracing = true;
    let mut world = Cluster::new(config, 7);
    assert!(world.run_until_quiet(Duration::from_secs(1)));
    assert!(world.fire_timer(N1, "election"));
    assert!(world.run_until_true(Duration::from_millis(140), |world| world.leader() == Some(N1)));
    assert!(world.run_until_quiet(Duration::from_secs(1)));
    world
}

fn put(world: &mut Cluster, node: NodeId, value: &str) -> OperationId {
    world.submit(node, Keyspace::put(&"key".into(), &value.to_owned().into()))
}

fn read(world: &mut Cluster, node: NodeId, consistency: Consistency) -> OperationId {
    world.read(node, Keyspace::get(Some(&"key".into())), consistency)
}

fn result_of(world: &Cluster, operation: OperationId) -> Option<&Result> {
    world.results().iter().find(|result| result.operation == operation)
}

fn answer(world: &mut Cluster, operation: OperationId) -> Meaning {
    assert!(world.run_until_true(Duration::from_secs(10), |world| result_of(world, operation).is_some()));
    match &result_of(world, operation).expect("it has just ended").outcome {
        Outcome::Reply(reply) => Keyspace::meaning(reply),
        other => panic!("{other:?}"),
    }
}

fn value_read(world: &mut Cluster, node: NodeId, consistency: Consistency) -> Option<String> {
    let operation = read(world, node, consistency);
    match answer(world, operation) {
        Meaning::Found { entries, .. } => {
            entries.first().map(|entry| String::from_utf8(entry.value.to_vec()).expect("texts only"))
        }
        other => panic!("{other:?}"),
    }
}

fn assert_nothing_broken(world: &Cluster) {
    assert_eq!(world.broken_promise(), None);
}

#[test]
fn what_was_acknowledged_survives_a_power_failure_of_everyone() {
    let mut world = led_by_n1();
    let operation = put(&mut world, N2, "kept");
    assert_eq!(answer(&mut world, operation), Meaning::Put { revision: 2 });
    for node in [N1, N2, N3] {
        world.crash(node);
        assert!(!world.is_running(node));
    }
    for node in [N1, N2, N3] {
        world.restart(node);
        assert_eq!(world.node(node).unwrap().status().incarnation.0, 2);
    }
    assert_eq!(value_read(&mut world, N3, Consistency::Linearizable).as_deref(), Some("kept"));
    assert_nothing_broken(&world);
}

#[test]
fn a_call_at_a_crashed_node_is_refused_and_one_under_way_has_an_unknown_end() {
    let mut world = led_by_n1();
    let lost = put(&mut world, N2, "perhaps");
    world.run_for(HOP / 2);
    world.crash(N2);
    let refused = put(&mut world, N2, "never");
    assert_eq!(result_of(&world, lost).unwrap().outcome, Outcome::Lost);
    assert_eq!(result_of(&world, lost).unwrap().outcome.ending(), Ending::Unknown);
    assert_eq!(result_of(&world, refused).unwrap().outcome, Outcome::NotRunning);
    assert_eq!(result_of(&world, refused).unwrap().outcome.ending(), Ending::Refused);
}

#[test]
fn nothing_is_acknowledged_while_a_majority_of_disks_is_held() {
    let mut world = led_by_n1();
    world.hold_disk(N2);
    world.hold_disk(N3);
    let operation = put(&mut world, N1, "slow");
    world.run_for(Duration::from_millis(100));
    assert!(result_of(&world, operation).is_none());
    world.release_disk(N3);
    assert_eq!(answer(&mut world, operation), Meaning::Put { revision: 2 });
    assert_nothing_broken(&world);
}

#[test]
fn a_write_costs_one_round_trip_and_one_flush() {
    let mut world = led_by_n1();
    let operation = put(&mut world, N1, "timed");
    answer(&mut world, operation);
    let result = result_of(&world, operation).unwrap();
    assert_eq!(result.returned_at.since(result.called_at), HOP * 2 + FLUSH);
}

#[test]
fn an_isolated_leader_cannot_serve_and_the_others_go_on() {
    let mut world = led_by_n1();
    world.partition(&[vec![N1], vec![N2, N3]]);
    let alone = put(&mut world, N1, "alone");
    assert!(
        world.run_until_true(Duration::from_secs(3), |world| { world.leader().is_some_and(|leader| leader != N1) })
    );
    let together = put(&mut world, N2, "together");
    assert!(matches!(answer(&mut world, together), Meaning::Put { .. }));
    assert!(result_of(&world, alone).is_none());
    assert_eq!(value_read(&mut world, N1, Consistency::Local), None);
    world.heal();
    assert!(value_read(&mut world, N3, Consistency::Linearizable).is_some());
    assert_nothing_broken(&world);
}

#[test]
fn a_suspended_node_says_nothing_and_goes_on_where_it_was() {
    let mut world = led_by_n1();
    world.pause(N3, Some(Duration::from_millis(50)));
    let sent_before = sent_by(&world, N3);
    world.run_for(Duration::from_millis(49));
    assert!(world.is_paused(N3));
    assert_eq!(sent_by(&world, N3), sent_before);
    world.run_for(Duration::from_millis(20));
    assert!(!world.is_paused(N3));
    assert!(sent_by(&world, N3) > sent_before);
}

fn sent_by(world: &Cluster, node: NodeId) -> usize {
    let sent = |what: &What| matches!(what, What::MessageSent { .. });
    world.happenings().filter(|happening| happening.node == Some(node) && sent(&happening.what)).count()
}

#[test]
fn a_filter_loses_holds_or_delays_exactly_what_it_names() {
    let mut world = led_by_n1();
    world.add_filter(FilterRule::all(Fate::Lose).from(N1).to(N3).kind("append"));
    world.add_filter(FilterRule::all(Fate::Hold).from(N2).to(N1).kind("append-response"));
    let operation = put(&mut world, N1, "filtered");
    world.run_for(Duration::from_millis(10));
    assert!(result_of(&world, operation).is_none(), "one answer is held and one follower hears nothing");
    assert!(world.held().iter().all(|flight| flight.from == N2 && flight.kind == "append-response"));
    assert!(!world.held().is_empty());
    world.clear_filters();
    world.release_held();
    assert!(world.held().is_empty());
    assert!(matches!(answer(&mut world, operation), Meaning::Put { .. }));
    let lost = world.happenings().filter(|happening| {
        matches!(happening.what, What::MessageLost { to: N3, kind: "append", why: Loss::Filtered, .. })
    });
    assert!(lost.count() > 0);
}

#[test]
fn manual_timers_fire_only_by_hand() {
    let mut world = led_by_n1();
    world.set_manual_timers(true);
    world.crash(N1);
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.leader(), None);
    assert!(world.armed_timers(N2).contains(&"election"));
    assert!(!world.fire_timer(N2, "no-such-timer"));
    assert!(!world.fire_timer(N1, "election"), "it is down");
    assert!(world.fire_timer(N2, "stickiness"));
    assert!(world.fire_timer(N3, "stickiness"));
    assert!(world.fire_timer(N2, "election"));
    assert!(world.run_until_quiet(Duration::from_secs(1)));
    assert_eq!(world.leader(), Some(N2));
    world.set_manual_timers(false);
    let beats = sent_by(&world, N2);
    world.run_for(Duration::from_secs(1));
    assert!(sent_by(&world, N2) > beats, "heartbeats go by themselves again");
}

#[test]
fn a_node_that_crashes_while_it_recovers_comes_back_in_the_end() {
    let mut world = led_by_n1();
    for round in 0..20 {
        let operation = put(&mut world, N1, &format!("{round}"));
        answer(&mut world, operation);
    }
    let mut survived = 0;
    for operations in 0..30 {
        for lane in [Lane::Journal, Lane::Store] {
            world.crash(N3);
            if world.restart_crashing(N3, lane, operations) {
                survived += 1;
            } else {
                world.restart(N3);
            }
            assert!(world.is_running(N3));
            assert_nothing_broken(&world);
        }
    }
    assert!(survived > 0, "with enough operations allowed, recovery completes");
    assert_eq!(value_read(&mut world, N3, Consistency::Linearizable).as_deref(), Some("19"));
}

#[test]
fn damaged_frames_are_dropped_and_never_believed() {
    let mut world = led_by_n1();
    world.set_all_links(Link { damage: Chance::percent(30), ..Link::perfect(Latency::exactly(HOP)) });
    for round in 0..20 {
        let operation = put(&mut world, N1, &format!("{round}"));
        answer(&mut world, operation);
    }
    let dropped =
        world.happenings().filter(|happening| matches!(happening.what, What::MessageLost { why: Loss::Damaged, .. }));
    assert!(dropped.count() > 10);
    assert_nothing_broken(&world);
}

#[test]
fn all_nodes_apply_the_same_and_a_disagreement_would_be_seen() {
    let mut world = led_by_n1();
    for round in 0..5 {
        let operation = put(&mut world, N2, &format!("{round}"));
        answer(&mut world, operation);
    }
    world.run_for(Duration::from_millis(100));
    let last = world.highest_applied();
    assert!(last >= Slot(6));
    for node in [N1, N2, N3] {
        assert_eq!(world.node(node).unwrap().status().machine.applied, last);
    }
    world.report_broken("Example", Some(N1), "as a script would".to_owned());
    assert_eq!(world.broken_promise().unwrap().property, "Example");
    assert!(!world.step(), "a broken promise stops the world");
}
