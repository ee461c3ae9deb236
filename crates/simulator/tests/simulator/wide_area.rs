//! A zero-CPU run of a wide-area topology lands exactly on the latency that arithmetic predicts.

use quorate_keyspace::Keyspace;
use quorate_node::NodeConfig;
use quorate_raft::{Config, Raft};
use quorate_simulator::swarm::Judged;
use quorate_simulator::topology::{Site, wide_area};
use quorate_simulator::{Outcome, World, WorldConfig};
use quorate_types::NodeId;
use std::time::Duration;

type WideArea = World<Raft, Keyspace>;

/// These sites, led by the first.
fn led_by_the_first(sites: &[Site]) -> WideArea {
    let raft = Config {
        election_timeout: Duration::from_secs(3),
        heartbeat_interval: Duration::from_millis(300),
        ..Config::default()
    };
    let mut config = WorldConfig::perfect(sites.len() as u64, NodeConfig::new(raft), Duration::ZERO);
    config.links = wide_area(sites);
    let mut world = WideArea::new(config, 1);
    world.set_manual_timers(true);
    assert!(world.fire_timer(NodeId(1), "election"));
    assert!(world.run_until_quiet(Duration::from_secs(2)));
    assert_eq!(world.leader(), Some(NodeId(1)));
    world
}

/// How long a put takes for a client at this node.
fn put_latency(world: &mut WideArea, node: NodeId) -> Duration {
    let operation = world.submit(node, Keyspace::put(&"key".into(), &"value".into()));
    assert!(world.run_until_quiet(Duration::from_secs(2)));
    let results = world.take_results();
    let [result] = results.as_slice() else { panic!("one call, {} results", results.len()) };
    assert_eq!(result.operation, operation);
    assert!(matches!(result.outcome, Outcome::Reply(_)), "{:?}", result.outcome);
    result.returned_at.since(result.called_at)
}

fn put_latencies_in_tenths_of_ms(sites: &[Site]) -> Vec<u128> {
    let mut world = led_by_the_first(sites);
    let nodes: Vec<NodeId> = world.nodes().collect();
    let latencies = nodes.into_iter().map(|node| put_latency(&mut world, node).as_nanos()).collect::<Vec<_>>();
    assert_eq!(world.broken_promise(), None);
    assert!(latencies.iter().all(|nanos| nanos % 100_000 == 0), "not exact: {latencies:?} ns");
    latencies.into_iter().map(|nanos| nanos / 100_000).collect()
}

#[test]
fn three_sites_led_from_california() {
    assert_eq!(put_latencies_in_tenths_of_ms(&Site::THREE), [599, 1198, 2010]);
}

#[test]
fn five_sites_led_from_california() {
    assert_eq!(put_latencies_in_tenths_of_ms(&Site::FIVE), [599, 1198, 2010, 810, 1716]);
}
