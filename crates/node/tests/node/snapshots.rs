//! Snapshots between whole nodes under Raft: laggards catch up, whatever is lost, whoever crashes, and whoever leads.

use crate::cluster::{Cluster, NODES, Step, step};
use proptest::prelude::*;
use quorate_disk::{Disk, Operation};
use quorate_machine::transfer::TransferMessage;
use quorate_node::{BootError, ClientTag, Lane, NodeInput, NodeMessage, NodeTimer, RequestError};
use quorate_types::NodeId;

fn leader(cluster: &Cluster) -> u64 {
    let leads = |node: &u64| {
        let status = cluster.rigs[node].node().status().protocol;
        status.leader == Some(NodeId(*node))
    };
    let newest = (1..=NODES).filter(leads).max_by_key(|node| cluster.rigs[node].node().status().protocol.era);
    newest.expect("calm")
}

/// A cluster with a leader, a follower that keeps up, and one that needs a snapshot and is still cut off.
fn with_a_laggard() -> (Cluster, u64, u64) {
    let mut cluster = Cluster::forgetful(3);
    cluster.calm(1_000);
    let leader = leader(&cluster);
    let laggard = leader % NODES + 1;
    cluster.cut_off(laggard);
    for _ in 0..30 {
        cluster.ask(leader, false);
        cluster.calm(20);
    }
    cluster.condemn(leader);
    for _ in 0..5 {
        cluster.ask(leader, false);
        cluster.calm(20);
    }
    assert_eq!(cluster.installed(), 0);
    (cluster, leader, laggard)
}

fn is_transfer(message: &(NodeId, NodeId, NodeMessage<quorate_raft::Raft>)) -> bool {
    matches!(message.2, NodeMessage::Transfer(_))
}

#[test]
fn a_laggard_catches_up_by_a_snapshot_and_goes_on_from_there() {
    let (mut cluster, leader, laggard) = with_a_laggard();
    cluster.cut_off(laggard);
    cluster.calm(3_000);
    assert_eq!(cluster.rigs[&laggard].node().status().snapshots.installed, 1);
    let (theirs, ours) = (cluster.rigs[&leader].node().status(), cluster.rigs[&laggard].node().status());
    assert_eq!((ours.applied, ours.machine.digest), (theirs.applied, theirs.machine.digest));
    assert_eq!(theirs.snapshots.sending, []);
    cluster.ask(laggard, false);
    cluster.ask(laggard, true);
    cluster.calm(1_000);
    cluster.check_end();
    // And it comes back as what it became.
    cluster.crash(laggard, &[0]);
    cluster.calm(1_000);
    cluster.ask(laggard, false);
    cluster.calm(1_000);
    cluster.check_end();
}

#[test]
fn everything_but_the_transfer_goes_on_while_it_runs_and_reads_see_the_one_or_the_other() {
    let (mut cluster, leader, laggard) = with_a_laggard();
    cluster.cut_off(laggard);
    let before = cluster.rigs[&laggard].node().status().applied;
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..400 {
        cluster.calm(5);
        seen.insert(cluster.rigs[&laggard].node().status().applied);
        if round % 10 == 0 {
            cluster.ask(leader, false);
            cluster.ask(leader, true);
        }
        let digest = cluster.rigs[&laggard].node().status().machine.digest;
        assert_ne!(digest, 0);
    }
    assert!(seen.contains(&before), "it served its own state until the other was there");
    cluster.calm(3_000);
    cluster.check_end();
    assert!(cluster.answers.values().all(|(_, result)| result.is_ok()));
}

#[test]
fn a_lost_chunk_is_sent_again_from_where_the_receiver_is() {
    for lost in 0..40 {
        let (mut cluster, _, laggard) = with_a_laggard();
        cluster.cut_off(laggard);
        let mut seen = 0;
        for _ in 0..4_000 {
            if let Some(at) = cluster.messages.iter().position(is_transfer) {
                seen += 1;
                if seen % 40 == lost {
                    cluster.messages.remove(at);
                    continue;
                }
            }
            if cluster.messages.is_empty() {
                cluster.calm(1);
                if cluster.installed() == 1 {
                    break;
                }
            } else {
                cluster.deliver(0, false);
                for node in 1..=NODES {
                    while cluster.rig(node).complete(Lane::Journal) || cluster.rig(node).complete(Lane::Store) {}
                    cluster.collect(node);
                }
            }
        }
        cluster.calm(4_000);
        assert!(cluster.installed() >= 1, "transfer message {lost} of each 40 lost");
        cluster.check_end();
    }
}

#[test]
fn a_receiver_may_crash_at_any_moment_of_it_and_comes_up_right() {
    let mut installed_after = 0;
    for (moment, fate) in (0..40).flat_map(|moment| (0..4).map(move |fate| (moment, fate))) {
        let (mut cluster, _, laggard) = with_a_laggard();
        cluster.cut_off(laggard);
        // Every step is a message, or one write of the receiver.
        for _ in 0..moment {
            if cluster.rigs[&laggard].is_under_way(Lane::Journal) {
                cluster.step(Step::Complete(laggard, Lane::Journal));
            } else if cluster.rigs[&laggard].is_under_way(Lane::Store) {
                cluster.step(Step::Complete(laggard, Lane::Store));
            } else if cluster.messages.is_empty() {
                let next = cluster.rigs.values().flat_map(|rig| rig.timers.values().min().copied()).min();
                let rig = cluster.rig(laggard);
                let wait = next.map_or(1, |next| next.since(rig.now).as_millis() as u64 + 1);
                for rig in cluster.rigs.values_mut() {
                    rig.advance(wait);
                }
                for node in 1..=NODES {
                    let now = cluster.rigs[&node].now;
                    let due: Vec<_> =
                        cluster.rigs[&node].timers.iter().filter(|at| *at.1 <= now).map(|at| *at.0).collect();
                    for timer in due {
                        cluster.rig(node).expire(timer);
                    }
                    cluster.collect(node);
                }
            } else {
                cluster.deliver(0, false);
            }
            for node in (1..=NODES).filter(|node| *node != laggard) {
                while cluster.rig(node).complete(Lane::Journal) || cluster.rig(node).complete(Lane::Store) {}
                cluster.collect(node);
            }
        }
        let installed_before = cluster.rigs[&laggard].node().status().snapshots.installed;
        cluster.crash(laggard, &[fate, 1, moment + fate, fate / 2, 2, fate * 3]);
        installed_after += u64::from(installed_before == 0);
        cluster.calm(4_000);
        cluster.check_end();
        let files = cluster.rigs[&laggard].store.list().expect("a model disk lists");
        assert!(files.iter().all(|file| !file.starts_with("incoming-")), "{files:?}");
    }
    assert!(installed_after > 60, "many crashes must come before the end: {installed_after}");
}

#[test]
fn a_new_leader_sends_its_own_when_the_first_is_gone_in_the_middle() {
    let (mut cluster, leader, laggard) = with_a_laggard();
    cluster.cut_off(laggard);
    while cluster.rigs[&laggard].node().status().snapshots.receiving.is_none_or(|(_, bytes)| bytes == 0) {
        cluster.calm(1);
    }
    assert_eq!(cluster.rigs[&laggard].node().status().snapshots.installed, 0);
    cluster.cut_off(leader);
    cluster.calm(8_000);
    assert_eq!(cluster.rigs[&laggard].node().status().snapshots.installed, 1);
    cluster.connect_all();
    cluster.calm(4_000);
    cluster.check_end();
    assert!(cluster.rigs.values().all(|rig| rig.node().status().snapshots.sending.is_empty()));
}

#[test]
fn a_write_whose_fate_came_by_snapshot_ends_as_unknown_and_is_there_once() {
    let mut cluster = Cluster::forgetful(3);
    cluster.calm(1_000);
    let leader = leader(&cluster);
    let laggard = leader % NODES + 1;
    cluster.cut_off(laggard);
    // Its forward arrives; what becomes of it does not.
    let tag = ClientTag(9_999);
    cluster.rig(laggard).inputs([NodeInput::Write { tag, payload: "9999".into() }]);
    let forwards: Vec<_> = std::mem::take(&mut cluster.rig(laggard).sent);
    assert_eq!(forwards.len(), 1);
    for (to, message) in forwards {
        assert_eq!(to.0, leader);
        cluster.rig(leader).inputs([NodeInput::Message { from: NodeId(laggard), message }]);
    }
    cluster.collect(leader);
    for _ in 0..30 {
        cluster.calm(20);
        cluster.ask(leader, false);
    }
    cluster.cut_off(laggard);
    cluster.calm(3_000);
    assert_eq!(cluster.installed(), 1);
    assert_eq!(cluster.answers.get(&9_999), Some(&(laggard, Err(RequestError::Unknown))));
    let times = cluster.rigs[&laggard].items().iter().filter(|item| *item == "9999").count();
    assert_eq!(times, 1, "the sessions came with the snapshot, so a late copy does nothing");
}

#[test]
fn a_journal_that_names_a_snapshot_that_is_gone_refuses_the_start_and_says_what_to_do() {
    let (mut cluster, _, laggard) = with_a_laggard();
    cluster.cut_off(laggard);
    // Until the record is durable and the store has not switched.
    for _ in 0..5_000 {
        let rig = cluster.rig(laggard);
        let installing = rig.under_way.iter().any(|write| {
            write.lane == Lane::Store
                && write.operations.iter().any(
                    |operation| matches!(operation, Operation::Rename { from, .. } if from.starts_with("checkpoint-")),
                )
        });
        let arrived =
            rig.store.list().unwrap().iter().any(|file| file.starts_with("incoming-") && !file.ends_with(".new"));
        if arrived && installing {
            break;
        }
        if let Some(at) = rig.under_way.iter().position(|write| write.lane == Lane::Journal) {
            assert_eq!(rig.under_way[at].lane, Lane::Journal);
            cluster.step(Step::Complete(laggard, Lane::Journal));
        } else if rig.is_under_way(Lane::Store) {
            cluster.step(Step::Complete(laggard, Lane::Store));
        } else if cluster.messages.is_empty() {
            for rig in cluster.rigs.values_mut() {
                rig.advance(5);
            }
            for node in 1..=NODES {
                let now = cluster.rigs[&node].now;
                let due: Vec<_> = cluster.rigs[&node].timers.iter().filter(|at| *at.1 <= now).map(|at| *at.0).collect();
                for timer in due {
                    cluster.rig(node).expire(timer);
                }
                cluster.collect(node);
            }
        } else {
            cluster.deliver(0, false);
        }
        for node in (1..=NODES).filter(|node| *node != laggard) {
            while cluster.rig(node).complete(Lane::Journal) || cluster.rig(node).complete(Lane::Store) {}
            cluster.collect(node);
        }
    }
    let rig = cluster.rig(laggard);
    let mut lost = rig.clone();
    lost.under_way.clear();
    lost.crash(&mut |_| 0);
    let name = lost.store.list().unwrap().into_iter().find(|file| file.starts_with("incoming-")).expect("the scene");
    let whole = lost.clone();
    lost.store.perform_all(&[Operation::Unlink { file: name }, Operation::FlushDirectory]).unwrap();
    let files = lost.store.list().unwrap();
    let error = lost.start().expect_err("the state is nowhere");
    assert!(matches!(error, BootError::SnapshotMissing { .. }), "{error}");
    assert!(error.to_string().contains("put the store's directory back"), "{error}");
    assert_eq!(lost.store.list().unwrap(), files, "nothing that could be evidence is touched");
    let mut whole = whole;
    whole.start().expect("with its snapshot it starts");
    assert!(whole.node().status().applied > quorate_types::Slot(20), "and has installed it");
}

#[test]
fn what_a_broken_peer_sends_of_transfers_changes_nothing() {
    let mut cluster = Cluster::forgetful(3);
    cluster.calm(1_000);
    let leader = leader(&cluster);
    let strange = [
        TransferMessage::Stopped { number: 1 },
        TransferMessage::Received { number: 1, offset: 9 },
        TransferMessage::Forgotten { number: 1 },
        TransferMessage::Chunk { number: 1, offset: 0, bytes: "x".into(), checksum: 3, is_last: true },
        TransferMessage::Begin {
            number: 1,
            header: quorate_machine::transfer::TransferHeader {
                anchor: "garbage".into(),
                applied: quorate_types::Slot(1_000),
                digest: 5,
                item_count: 2,
            },
        },
        TransferMessage::Chunk { number: 1, offset: 0, bytes: "\0\0".into(), checksum: 0xf16177d2, is_last: true },
    ];
    for message in strange {
        let bytes = quorate_wire::encode_to_bytes(&message);
        assert_eq!(quorate_wire::decode_exact::<TransferMessage>(bytes).as_ref(), Ok(&message));
        let input = NodeInput::Message { from: NodeId(leader % NODES + 1), message: NodeMessage::Transfer(message) };
        cluster.rig(leader).inputs([input]);
        cluster.collect(leader);
    }
    cluster.ask(leader, false);
    cluster.calm(2_000);
    cluster.check_end();
    assert_eq!(cluster.installed(), 0);
}

#[test]
fn condemned_items_go_in_slices_and_their_space_comes_back() {
    let mut cluster = Cluster::with(|config| {
        config.checkpoint.after_slots = 20;
        config.store.slice_bytes = 200;
        config.store.file_bytes = 1500;
    });
    cluster.calm(1_000);
    let leader = leader(&cluster);
    let mut highest = 0;
    for round in 1..=12 {
        for _ in 0..60 {
            cluster.ask(leader, false);
            cluster.calm(2);
        }
        cluster.condemn(leader);
        cluster.calm(2);
        if round == 1 {
            assert!(cluster.rigs[&leader].node().state().undropped() > 30, "not all at once");
            assert!(cluster.rigs[&leader].node().status().tidying);
        }
        cluster.calm(3_000);
        for rig in cluster.rigs.values() {
            assert_eq!(rig.node().state().undropped(), 0, "it goes on when nobody stirs");
            highest = highest.max(rig.node().status().store_garbage_bytes);
            let bytes: u64 = rig.store.list().unwrap().iter().map(|file| rig.store.length(file).unwrap()).sum();
            let lives: u64 = rig.items().iter().map(|item| item.len() as u64 + 24).sum();
            assert!(bytes <= 2 * lives + 12 * 1024, "round {round}: {bytes} bytes for {lives}");
        }
    }
    cluster.check_end();
    for node in 1..=NODES {
        cluster.crash(node, &[0]);
    }
    cluster.calm(3_000);
    cluster.check_end();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_answers_tell_the_truth_and_laggards_catch_up(
        steps in proptest::collection::vec(step(), 0..400),
        checkpoint_slots in 1u64..10,
    ) {
        let mut cluster = Cluster::forgetful(checkpoint_slots);
        cluster.calm(600);
        for step in steps {
            cluster.step(step);
        }
        cluster.connect_all();
        cluster.calm(12_000);
        cluster.check_end();
        for rig in cluster.rigs.values() {
            prop_assert!(!rig.timers.contains_key(&NodeTimer::Tidy), "everything condemned is gone");
        }
    }
}
