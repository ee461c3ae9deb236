//! A disk that fills up: it is said through the log in time, once, a leader hands its lead on, and what was reserved ahead outlasts it.

mod cluster;
mod rig;

use cluster::{Cluster, NODES};
use quorate_node::{Lane, NodeInput};
use quorate_protocol::Role;
use rig::Rig;
use rig::solo::{Solo, SoloConfig};

const LOW_WATER: u64 = 1_000;

fn rig() -> Rig<Solo> {
    let mut rig = Rig::off(1, SoloConfig::default());
    rig.config.low_space_bytes = LOW_WATER;
    rig.start().expect("empty disks boot");
    rig.complete_all();
    rig
}

fn tell(rig: &mut Rig<Solo>, free_bytes: u64) {
    rig.inputs([NodeInput::FreeSpace { free_bytes }]);
}

#[test]
fn a_disk_below_the_mark_is_told_through_the_log_once_and_no_client_hears_of_it() {
    let mut rig = rig();
    tell(&mut rig, LOW_WATER);
    rig.complete_all();
    assert_eq!(rig.items(), [""; 0], "at the mark there is room");
    tell(&mut rig, LOW_WATER - 1);
    tell(&mut rig, LOW_WATER - 1);
    rig.complete_all();
    tell(&mut rig, 0);
    rig.complete_all();
    assert_eq!(rig.items(), ["low 1"]);
    assert_eq!(rig.replies, []);
    assert_eq!(rig.node().status().free_bytes, Some(0));
}

#[test]
fn an_alarm_that_was_cleared_while_space_is_still_short_is_raised_again() {
    let mut rig = rig();
    tell(&mut rig, 0);
    rig.complete_all();
    rig.write(1, "room");
    rig.complete_all();
    tell(&mut rig, LOW_WATER + 1);
    rig.complete_all();
    assert_eq!(rig.items(), ["low 1", "room"], "there is room: nothing to say");
    tell(&mut rig, 0);
    rig.complete_all();
    assert_eq!(rig.items(), ["low 1", "room", "low 1"]);
}

#[test]
fn without_a_low_water_mark_nothing_is_ever_said() {
    let mut rig = Rig::off(1, SoloConfig::default());
    rig.config.low_space_bytes = 0;
    rig.start().expect("empty disks boot");
    tell(&mut rig, 0);
    rig.complete_all();
    assert_eq!(rig.items(), [""; 0]);
}

#[test]
fn a_full_disk_still_takes_what_fits_the_segment_that_was_reserved_ahead() {
    let mut rig = Rig::off(1, SoloConfig::default());
    rig.config.journal.segment_bytes = 16 * 1024;
    rig.start().expect("empty disks boot");
    rig.complete_all();
    tell(&mut rig, 1 << 30);
    rig.complete_all();
    let reserved = rig.node().status().journal_bytes;
    let journal = rig.disk(Lane::Journal);
    journal.faults_mut().capacity_bytes = Some(reserved);
    tell(&mut rig, 0);
    rig.complete_all();
    assert_eq!(rig.items(), ["low 1"]);
    // More than is left of the first segment.
    for _ in 0..8 {
        rig.write(1, "drop");
        rig.complete_all();
    }
    assert_eq!(rig.replies.len(), 8);
    assert_eq!(rig.node().status().journal_bytes, reserved, "it rolled into what was reserved");
}

/// Three nodes under Raft with a low-water mark, led by somebody.
fn led_cluster() -> Cluster {
    let mut cluster = Cluster::with(|config| config.low_space_bytes = LOW_WATER);
    cluster.calm(1_000);
    cluster
}

fn leader_of(cluster: &Cluster) -> u64 {
    let leads = |node: &u64| cluster.rigs[node].node().status().protocol.role == Role::Leader;
    (1..=NODES).find(leads).expect("somebody leads")
}

/// The node's driver samples its disk, and then nothing happens for a while.
fn sample(cluster: &mut Cluster, node: u64, free_bytes: u64) {
    cluster.rig(node).inputs([NodeInput::FreeSpace { free_bytes }]);
    cluster.collect(node);
    cluster.calm(1_000);
}

#[test]
fn a_leader_whose_disk_is_low_hands_its_lead_to_a_voter_that_has_room() {
    let mut cluster = led_cluster();
    let leader = leader_of(&cluster);
    let other = leader % NODES + 1;
    sample(&mut cluster, other, 0);
    sample(&mut cluster, leader, 0);
    assert_eq!(leader_of(&cluster), leader, "first it is said");
    assert!(cluster.rigs[&leader].items().contains(&format!("low {leader}")));
    sample(&mut cluster, leader, 0);
    let heir = leader_of(&cluster);
    assert!(heir != leader && heir != other, "{heir} leads; {other} has said that it is low too");
    cluster.ask(leader, false);
    cluster.calm(100);
    assert_eq!(cluster.answers.len(), 1, "clients of the old leader are served on");
}

#[test]
fn where_no_voter_has_room_the_lead_stays() {
    let mut cluster = led_cluster();
    for node in 1..=NODES {
        sample(&mut cluster, node, 0);
    }
    let (leader, era) = (leader_of(&cluster), cluster.rigs[&1].node().status().protocol.era);
    for node in (1..=NODES).cycle().take(9) {
        sample(&mut cluster, node, 0);
    }
    assert_eq!((leader_of(&cluster), cluster.rigs[&1].node().status().protocol.era), (leader, era));
}

#[test]
fn a_lead_that_comes_back_is_handed_on_again_after_growing_pauses() {
    let mut cluster = led_cluster();
    let low = leader_of(&cluster);
    sample(&mut cluster, low, 0);
    let mut handed_on_at = Vec::new();
    for second in 0..200 {
        sample(&mut cluster, low, 0);
        let leader = leader_of(&cluster);
        if leader == low {
            continue;
        }
        handed_on_at.push(second);
        // An operator, or a priority, wants it back.
        cluster
            .rig(leader)
            .inputs([NodeInput::MoveLeader { tag: quorate_node::ClientTag(0), to: quorate_types::NodeId(low) }]);
        cluster.collect(leader);
        cluster.calm(1_000);
        assert_eq!(leader_of(&cluster), low);
    }
    let pauses: Vec<u64> = handed_on_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() >= 2 && pauses.is_sorted() && pauses[0] >= 14, "seconds between, of two each: {pauses:?}");
}
