//! Leaders whose disk stands still (ours).

use crate::cluster::*;
use quorate_protocol::{Input, Output, Verdict};
use quorate_raft::{Config, Message, Raft, Timer};
use quorate_types::{NodeId, Ticket};
use std::time::Duration;

/// Heartbeats with answers of all of `peers`, so that the leader knows who lives. Its disk finishes nothing.
fn heartbeats(cluster: &mut Cluster, peers: &[u64]) {
    for _ in 0..3 {
        cluster.expire(1, Timer::Heartbeat);
        exchange(cluster, peers);
    }
}

/// Everything between node 1 and its peers, whose disks work.
fn exchange(cluster: &mut Cluster, peers: &[u64]) {
    loop {
        peers.iter().for_each(|peer| cluster.complete(*peer));
        let flights = cluster.bed.flights();
        let among = |id: NodeId| id.0 == 1 || peers.contains(&id.0);
        let Some(index) = flights.iter().position(|flight| among(flight.from) && among(flight.to)) else { break };
        cluster.bed.deliver(index);
    }
    cluster.bed.lose_where(|_| true);
}

fn disk_timers(outputs: &[Output<Raft>]) -> Vec<Option<Duration>> {
    let of = |output: &Output<Raft>| match output {
        Output::SetTimer { timer: Timer::Disk, at_least, at_most } if at_least == at_most => Some(Some(*at_least)),
        Output::CancelTimer(Timer::Disk) => Some(None),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}

#[test]
fn a_leaders_timer_runs_while_a_write_is_under_way_and_anew_when_one_completes() {
    let config = Config { disk_stall_timeout: Some(Duration::from_millis(40)), ..Config::default() };
    let patience = Some(config.disk_patience());
    let mut lone = Lone::leading(3, &config);
    assert_eq!(disk_timers(&lone.complete()), [None], "nothing is under way");
    let propose = || Input::Propose {
        request: quorate_protocol::RequestId(1),
        batch: quorate_protocol::Batch::new(bytes::Bytes::from_static(b"x")),
    };
    let first = lone.batch(vec![propose()]);
    assert_eq!(disk_timers(&first), [patience]);
    let Some(Output::Persist { ticket: Ticket(first), .. }) =
        first.iter().find(|output| matches!(output, Output::Persist { .. }))
    else {
        panic!("it is written")
    };
    assert_eq!(disk_timers(&lone.batch(vec![propose()])), [], "it runs already");
    assert_eq!(disk_timers(&lone.batch(vec![Input::Persisted(Ticket(*first))])), [patience]);
    assert_eq!(disk_timers(&lone.complete()), [None]);
}

#[test]
fn the_default_patience_is_half_an_election_timeout() {
    assert_eq!(Config::default().disk_patience() * 2, Config::default().election_timeout);
}

#[test]
fn a_leader_whose_disk_stands_still_hands_over_to_whoever_is_furthest_of_those_that_answer() {
    let mut cluster = Cluster::led(5);
    heartbeats(&mut cluster, &[2, 3, 4, 5]);
    cluster.propose(1, "x");
    exchange(&mut cluster, &[3, 4]);
    cluster.propose(1, "y");
    exchange(&mut cluster, &[3]);
    heartbeats(&mut cluster, &[2, 4]);
    cluster.expire(1, Timer::Disk);
    assert!(cluster.node(1).is_leader());
    let to = cluster.node(1).handing_over_to();
    assert!(to == Some(NodeId(2)) || to == Some(NodeId(4)), "{to:?}: node 3 is further and answered nothing lately");
    assert!(cluster.saw(1, "raft.disk", Verdict::Waiting));
    cluster.bed.lose_where(|_| true);

    let mut cluster = Cluster::led(3);
    heartbeats(&mut cluster, &[2, 3]);
    cluster.propose(1, "x");
    exchange(&mut cluster, &[3]);
    cluster.say(2, 1, accepted(1, 1, 6));
    cluster.expire(1, Timer::Disk);
    assert_eq!(cluster.node(1).handing_over_to(), Some(NodeId(3)));
    exchange(&mut cluster, &[2, 3]);
    assert!(cluster.node(3).is_leader() && cluster.node(3).term() == 2, "the sick disk's vote is not needed");
    assert_eq!(
        cluster.node(3).log().last(),
        quorate_types::Slot(3),
        "what only the sick disk did not finish is not lost"
    );
    cluster.assert_sound();
}

#[test]
fn if_nobody_takes_over_the_leader_steps_down_when_an_election_timeout_is_over() {
    let config = Config::default();
    let mut lone = Lone::leading(3, &config);
    let expired = || vec![Input::Expired(Timer::Disk)];
    let rest = config.election_timeout - config.disk_patience();
    assert_eq!(disk_timers(&lone.batch(expired())), [Some(rest)]);
    assert!(lone.raft.is_leader());
    lone.batch(expired());
    assert!(!lone.raft.is_leader());
}

#[test]
fn a_disk_that_goes_on_keeps_its_leader() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "x");
    cluster.expire(1, Timer::Disk);
    cluster.bed.complete_writes(NodeId(1), 1);
    assert!(!cluster.bed.expire(NodeId(1), Timer::Disk), "nothing is under way");
    cluster.propose(1, "y");
    cluster.expire(1, Timer::Disk);
    assert!(cluster.node(1).is_leader(), "the count begins anew");
}

#[test]
fn a_completion_in_the_same_batch_makes_the_timer_void() {
    let config = Config::default();
    let mut lone = Lone::leading(3, &config);
    let outputs = lone.batch(vec![Input::Persisted(Ticket(u64::MAX)), Input::Expired(Timer::Disk)]);
    assert!(lone.raft.is_leader() && lone.raft.handing_over_to().is_none());
    assert!(!outputs.iter().any(|output| matches!(output, Output::Send { message: Message::TimeoutNow { .. }, .. })));
}

#[test]
fn followers_do_not_watch_their_disks() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "x");
    cluster.complete(1);
    while let Some(index) = cluster.bed.flights().iter().position(|flight| flight.to == NodeId(2)) {
        cluster.bed.deliver(index);
    }
    assert!(cluster.bed.node(NodeId(2)).outstanding() > 0);
    assert!(!cluster.bed.node(NodeId(2)).armed().contains(&Timer::Disk));
}
