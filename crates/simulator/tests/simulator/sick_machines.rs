//! Machines that are worse than a crash: what they do, seen from outside, and that the rest can bear it.

use quorate_keyspace::Keyspace;
use quorate_narrator::What;
use quorate_node::{Lane, NodeConfig};
use quorate_raft::{Config, Raft};
use quorate_simulator::swarm::Judged;
use quorate_simulator::{Act, DiskModel, Latency, Mark, Moment, World, WorldConfig};
use quorate_types::NodeId;
use std::time::Duration;

type Cluster = World<Raft, Keyspace>;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn cluster(change: impl FnOnce(&mut WorldConfig<Raft>)) -> Cluster {
    let mut config = WorldConfig::perfect(3, NodeConfig::new(Config::default()), ms(1));
    config.disk = DiskModel { write: Latency::ZERO, flush: Latency::exactly(ms(1)) };
    config.archive = true;
    change(&mut config);
    let mut world = Cluster::new(config, 11);
    assert!(world.run_until_quiet(ms(1000)));
    assert!(world.fire_timer(N1, "election"));
    assert!(world.run_until_true(ms(1000), |world| world.leader() == Some(N1)));
    world
}

fn write(world: &mut Cluster, node: NodeId, value: &'static str) -> bool {
    let operation = world.submit(node, Keyspace::put(&"key".into(), &value.into()));
    world.run_until_true(ms(5000), |world| world.results().iter().any(|result| result.operation == operation))
}

/// n1 and n2 acknowledge a write that n3 never hears of; then n2 loses its disks, and stands against n1 with n3.
fn forget_an_acknowledged_write(doorman: bool) -> Cluster {
    let mut world = cluster(|config| config.doorman = doorman);
    world.partition(&[vec![N1, N2], vec![N3]]);
    assert!(write(&mut world, N1, "acknowledged"));
    world.crash(N1);
    world.crash(N2);
    world.wipe(N2);
    world.heal();
    world.restart(N2);
    world.run_for(ms(3000));
    write(&mut world, N3, "instead of it");
    world.restart(N1);
    world.run_for(ms(3000));
    world
}

#[test]
fn a_wiped_node_that_is_let_in_gives_away_what_it_acknowledged_and_one_that_is_refused_does_not() {
    let let_in = forget_an_acknowledged_write(false);
    assert!(let_in.broken_promise().is_some(), "the check can fail");
    let refused = forget_an_acknowledged_write(true);
    assert_eq!(refused.broken_promise(), None);
    assert!(refused.is_out_of_service(N2));
    assert!(refused.leader().is_some(), "the other two serve");
    assert_eq!(refused.marks().count(Mark::WipedRefused), 1);
}

#[test]
fn a_copy_that_is_put_back_is_refused_once_all_others_have_met_a_start_since() {
    let mut world = cluster(|_| {});
    world.copy_disks(N3);
    world.crash(N3);
    world.put_back(N3);
    world.restart(N3);
    assert!(world.is_running(N3), "nobody could tell: nothing is put back");
    world.run_for(ms(50));
    world.crash(N3);
    world.put_back(N3);
    world.restart(N3);
    world.run_for(ms(50));
    assert!(world.is_out_of_service(N3));
    assert_eq!(world.marks().count(Mark::CopyRefused), 1);
    assert_eq!(world.broken_promise(), None);
}

/// Seed 2000840: by starting, a copy counts as far as its peers have seen the original count.
#[test]
fn a_copy_is_refused_however_often_it_has_started_where_nobody_saw_it() {
    let mut world = cluster(|_| {});
    world.copy_disks(N3);
    world.crash(N3);
    world.restart(N3);
    world.run_for(ms(50));
    world.crash(N3);
    world.put_back(N3);
    world.act(&Act::Partition(vec![vec![N3], vec![N1, N2]]));
    for _ in 0..3 {
        world.restart(N3);
        world.run_for(ms(50));
        assert!(world.is_running(N3), "nobody sees it");
        world.crash(N3);
    }
    world.act(&Act::Heal);
    world.restart(N3);
    world.run_for(ms(50));
    assert!(world.is_out_of_service(N3));
    assert_eq!(world.marks().count(Mark::CopyRefused), 1);
    assert_eq!(world.broken_promise(), None);
}

#[test]
fn a_full_disk_ends_the_process_and_room_brings_it_back() {
    let mut world = cluster(|config| config.node.journal.segment_bytes = 4096);
    world.fill(N3, Lane::Journal, 0);
    for round in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        assert!(write(&mut world, N1, round));
    }
    assert!(!world.is_running(N3));
    assert!(world.marks().count(Mark::DiskFull) > 0);
    world.mend_disks(N3);
    world.restart(N3);
    world.run_for(ms(500));
    assert_eq!(world.node(N3).map(|node| node.status().machine.applied), Some(world.highest_applied()));
    assert_eq!(world.broken_promise(), None);
}

#[test]
fn a_crash_comes_at_the_very_moment_that_was_named() {
    for moment in [Moment::Send, Moment::Sent, Moment::Flushed(Lane::Journal), Moment::Write(Lane::Journal)] {
        let mut world = cluster(|_| {});
        world.crash_at(N2, moment, vec![(N2, ms(20))]);
        let sent_before = sent_by(&world, N2);
        world.submit(N1, Keyspace::put(&"key".into(), &"value".into()));
        assert!(world.run_until_true(ms(1000), |world| !world.is_running(N2)), "{moment:?}");
        let sent = sent_by(&world, N2) - sent_before;
        assert_eq!(sent, usize::from(moment == Moment::Sent), "{moment:?}");
        assert!(world.run_until_true(ms(1000), |world| world.is_running(N2)), "it starts again by itself");
        assert_eq!(world.broken_promise(), None);
    }
}

fn sent_by(world: &Cluster, node: NodeId) -> usize {
    let sent = |what: &What| matches!(what, What::MessageSent { .. });
    world.happenings().filter(|happening| happening.node == Some(node) && sent(&happening.what)).count()
}

#[test]
fn what_queues_up_at_a_clogged_link_arrives_at_once_and_in_order() {
    let mut world = cluster(|_| {});
    world.clog(N1, N3);
    world.run_for(ms(2));
    let was_under_way = delivered_to(&world, N3, N1);
    world.run_for(ms(200));
    assert_eq!(delivered_to(&world, N3, N1), was_under_way);
    let before = world.now();
    world.unclog(N1, N3);
    world.run_for(ms(2));
    assert!(delivered_to(&world, N3, N1) >= was_under_way + 8);
    assert!(world.now().since(before) <= ms(2));
    assert_eq!(world.marks().count(Mark::Burst), 1);
    assert_eq!(world.marks().count(Mark::Reordered), 0);
}

/// Since the link was clogged.
fn delivered_to(world: &Cluster, node: NodeId, sender: NodeId) -> usize {
    let clogged = |what: &What| matches!(what, What::Note { text } if text.contains("queue up"));
    let since = world.happenings().position(|happening| clogged(&happening.what)).expect("the link was clogged");
    let from_sender = |what: &What| matches!(what, What::MessageDelivered { from, .. } if *from == sender);
    let later = world.happenings().skip(since);
    later.filter(|happening| happening.node == Some(node) && from_sender(&happening.what)).count()
}

#[test]
fn a_frozen_machine_has_not_noticed_the_time_and_one_whose_clock_jumps_has_noticed_too_much() {
    let mut world = cluster(|_| {});
    world.freeze(N3, ms(5000));
    let timers = |world: &Cluster| {
        let fired = |what: &What| matches!(what, What::TimerFired { .. });
        world.happenings().filter(|happening| happening.node == Some(N3) && fired(&happening.what)).count()
    };
    let before = timers(&world);
    world.run_for(ms(5000));
    assert_eq!(timers(&world), before);
    world.run_for(ms(300));
    let at_rest = timers(&world);
    world.step_clock(N3, Duration::from_secs(3600));
    world.run_for(Duration::from_micros(10));
    assert!(timers(&world) > at_rest, "what was to come due within the hour comes due now");
    assert_eq!(world.broken_promise(), None);
}

#[test]
fn messages_of_an_earlier_term_arrive_again_and_change_nothing() {
    let mut world = cluster(|_| {});
    assert!(write(&mut world, N1, "early"));
    world.crash(N1);
    assert!(world.run_until_true(ms(3000), |world| world.leader().is_some_and(|leader| leader != N1)));
    world.restart(N1);
    assert!(write(&mut world, N2, "late"));
    for back in 0..50 {
        world.replay(N1, N3, back);
        world.replay(N3, N1, back);
    }
    assert!(world.marks().count(Mark::OldReplayed) >= 50);
    world.run_for(ms(500));
    assert!(write(&mut world, N3, "after"));
    assert_eq!(world.broken_promise(), None);
}
