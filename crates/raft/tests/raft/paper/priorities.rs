//! Preferred leaders (ours).

use crate::cluster::*;
use quorate_protocol::{Input, Output, Verdict};
use quorate_raft::{Config, Message, Raft, Timer};
use quorate_types::NodeId;
use std::time::Duration;

const TENURE: u32 = 4;

fn patient() -> Config {
    Config { tenure_heartbeats: TENURE, ..Config::default() }
}

fn priority(term: u64, priority: u8) -> Message {
    Message::Priority { term, priority }
}

/// A heartbeat of node 1, answered by everybody.
fn heartbeat_of_1(cluster: &mut Cluster) {
    cluster.expire(1, Timer::Heartbeat);
    cluster.bed.run(ENOUGH, |flight| !matches!(flight.message, Message::TimeoutNow { .. }));
}

fn elections_set(outputs: &[Output<Raft>]) -> Vec<(Duration, Duration)> {
    let of = |output: &Output<Raft>| match output {
        Output::SetTimer { timer: Timer::Election, at_least, at_most } => Some((*at_least, *at_most)),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}

#[test]
fn a_preferred_voter_says_so_to_everybody_when_it_begins_to_follow_and_every_election_timeout() {
    let config = Config { priority: 9, ..Config::default() };
    let mut lone = Lone::of(3, &config);
    let told = |outputs: &[Output<Raft>]| {
        let to = |output: &Output<Raft>| match output {
            Output::Send { to, message, .. } if *message == priority(1, 9) => Some(to.0),
            _ => None,
        };
        outputs.iter().filter_map(to).collect::<Vec<_>>()
    };
    let outputs = lone.hear(2, append(1, (0, 0), &[1], 0));
    assert_eq!(told(&outputs), [2, 3]);
    let after = config.election_timeout;
    let again = Output::SetTimer { timer: Timer::Priority, at_least: after, at_most: after };
    assert!(outputs.contains(&again), "{outputs:?}");
    assert_eq!(told(&lone.hear(2, heartbeat(1, (1, 1), 0, 2))), [], "not with every append");
    assert_eq!(told(&lone.batch(vec![Input::Expired(Timer::Priority)])), [2, 3]);
}

#[test]
fn where_nobody_is_preferred_nothing_is_said() {
    let mut cluster = Cluster::led(3);
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    assert!((1..=3).all(|id| !cluster.bed.node(NodeId(id)).armed().contains(&Timer::Priority)));
}

#[test]
fn a_leader_hands_over_to_the_most_preferred_that_keeps_up_once_it_led_for_its_tenure() {
    let mut cluster = Cluster::led_with(3, patient());
    cluster.say(2, 1, priority(1, 5));
    cluster.say(3, 1, priority(1, 9));
    for _ in 0..TENURE {
        heartbeat_of_1(&mut cluster);
        assert_eq!(cluster.node(1).handing_over_to(), None);
    }
    heartbeat_of_1(&mut cluster);
    assert_eq!(cluster.node(1).handing_over_to(), Some(NodeId(3)));
    assert!(cluster.saw(1, "raft.priority", Verdict::Allowed));
    cluster.run();
    assert!(cluster.node(3).is_leader());
    cluster.assert_sound();
}

#[test]
fn equal_priorities_move_nothing() {
    let mut cluster = Cluster::led_with(3, Config { priority: 5, ..patient() });
    cluster.say(2, 1, priority(1, 5));
    cluster.say(3, 1, priority(1, 4));
    for _ in 0..3 * TENURE {
        heartbeat_of_1(&mut cluster);
    }
    assert!(cluster.node(1).is_leader() && cluster.node(1).handing_over_to().is_none());
}

#[test]
fn a_preferred_voter_that_does_not_keep_up_is_not_waited_for_in_silence() {
    let mut cluster = Cluster::led_with(3, patient());
    cluster.say(2, 1, priority(1, 9));
    for _ in 0..3 * TENURE {
        cluster.expire(1, Timer::Heartbeat);
        cluster.run_only(&[1, 3]);
    }
    assert_eq!(cluster.node(1).handing_over_to(), None, "it answers nothing");
    cluster.propose(1, "x");
    cluster.run_only(&[1, 3]);
    for _ in 0..3 {
        cluster.expire(1, Timer::Heartbeat);
        let round = cluster.take_sent(1).iter().find_map(|(to, message)| match message {
            Message::Append(append) if *to == 2 => Some(append.round),
            _ => None,
        });
        cluster.say(2, 1, accepted(1, 1, round.expect("a heartbeat for node 2")));
    }
    assert_eq!(cluster.node(1).handing_over_to(), None, "it lacks what was committed two heartbeats ago");
    cluster.run();
    for _ in 0..3 {
        heartbeat_of_1(&mut cluster);
    }
    assert_eq!(cluster.node(1).handing_over_to(), Some(NodeId(2)));
}

#[test]
fn who_was_chosen_in_vain_is_left_alone_for_a_growing_while() {
    let mut cluster = Cluster::led_with(3, patient());
    cluster.say(2, 1, priority(1, 9));
    let mut chosen_at = Vec::new();
    for heartbeat in 1..=60 {
        cluster.expire(1, Timer::Heartbeat);
        if cluster.node(1).handing_over_to().is_some() {
            chosen_at.push(heartbeat);
            cluster.expire(1, Timer::Transfer);
        }
        cluster.bed.lose_where(|flight| matches!(flight.message, Message::TimeoutNow { .. }));
        cluster.run();
    }
    let pauses: Vec<u32> = chosen_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [TENURE, 2 * TENURE, 4 * TENURE], "chosen at heartbeats {chosen_at:?}");
}

#[test]
fn a_less_preferred_node_waits_somewhat_longer_before_it_campaigns_until_the_term_is_over() {
    let config = Config::default();
    let timeout = config.election_timeout;
    let mut lone = Lone::of(3, &config);
    let usual = (timeout, timeout * 2);
    assert_eq!(elections_set(&lone.hear(2, append(1, (0, 0), &[1], 0))), [usual]);
    lone.hear(3, priority(1, 1));
    let later = (timeout + timeout / 2, timeout * 2 + timeout / 2);
    assert_eq!(elections_set(&lone.hear(2, heartbeat(1, (1, 1), 0, 2))), [later]);
    let expired = lone.batch(vec![Input::Expired(Timer::Election)]);
    assert!(
        expired.iter().any(|output| matches!(output, Output::Send { message: Message::PreVote { .. }, .. })),
        "it campaigns all the same: {expired:?}"
    );
    lone.hear(2, would_vote(2, true));
    assert_eq!(elections_set(&lone.batch(vec![Input::Expired(Timer::Election)])), [usual], "a new term");
}

#[test]
fn priorities_of_strangers_and_of_earlier_terms_count_nothing() {
    let mut cluster = Cluster::led_with(3, patient());
    cluster.say(17, 1, priority(1, 9));
    cluster.say(2, 1, priority(0, 9));
    for _ in 0..3 * TENURE {
        heartbeat_of_1(&mut cluster);
    }
    assert_eq!(cluster.node(1).handing_over_to(), None);
}
