//! Three whole nodes under Raft: messages lost, repeated and reordered, timers at any moment, crashes with torn disks, checkpoints
//! all the while. What was acknowledged stays, reads are fresh, replicas agree, and after the faults everything is answered.

use crate::cluster::{Cluster, NODES, step};
use crate::rig::Rig;
use proptest::prelude::*;
use quorate_disk::model::ModelDisk;
use quorate_disk::{Disk, Operation};
use quorate_raft::Raft;
use quorate_types::Slot;

#[test]
fn a_calm_cluster_elects_writes_and_reads_from_every_node() {
    let mut cluster = Cluster::new(4);
    cluster.calm(1_000);
    for node in (1..=NODES).cycle().take(30) {
        cluster.ask(node, false);
        cluster.ask(node, true);
        cluster.calm(30);
    }
    cluster.calm(1_000);
    cluster.check_end();
    assert_eq!(cluster.rigs[&2].items().len(), 30);
    assert!(cluster.answers.values().all(|(_, result)| result.is_ok()), "{:?}", cluster.answers);
    assert!(cluster.rigs.values().all(|rig| rig.node().status().checkpointed > Slot::ZERO));
}

#[test]
fn writes_of_followers_outlive_their_leader() {
    let mut cluster = Cluster::new(1_000);
    cluster.calm(1_000);
    let leader = cluster.rigs[&1].node().status().protocol.leader.expect("calm").0;
    let follower = leader % NODES + 1;
    cluster.ask(follower, false);
    cluster.messages.clear();
    cluster.crash(leader, &[0]);
    cluster.calm(3_000);
    cluster.check_end();
    let answer = cluster.answers.values().next().cloned();
    assert_eq!(answer, Some((follower, Ok(1))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_answers_tell_the_truth(
        steps in proptest::collection::vec(step(), 0..400),
        checkpoint_slots in 1u64..10,
    ) {
        let mut cluster = Cluster::new(checkpoint_slots);
        cluster.calm(600);
        for step in steps {
            cluster.step(step);
        }
        cluster.connect_all();
        cluster.calm(8_000);
        cluster.check_end();
    }
}

/// A calm cluster whose journals were cut, all of it durable.
fn cut_cluster() -> Cluster {
    let mut cluster = Cluster::new(4);
    cluster.calm(1_000);
    for node in (1..=NODES).cycle().take(60) {
        cluster.ask(node, false);
        cluster.calm(30);
    }
    cluster.calm(1_000);
    let first_segment = |rig: &Rig<Raft>| rig.journal.list().expect("a model disk lists").first().cloned();
    let cut = |rig: &Rig<Raft>| first_segment(rig).is_some_and(|file| file != "journal-0000000000000000.seg");
    assert!(cluster.rigs.values().all(cut), "the scene needs compacted journals");
    cluster
}

#[test]
fn a_store_that_lost_what_the_journal_no_longer_holds_refuses_the_start_in_one_sentence() {
    let mut rig = cut_cluster().rigs.remove(&2).expect("one of ours");
    rig.crash(&mut |_| 0);
    let whole = rig.store.clone();
    // Everything, or only the manifest.
    let lost_manifest = |rig: &mut Rig<Raft>| {
        for file in rig.store.list().unwrap().into_iter().filter(|file| file.starts_with("checkpoint-")) {
            rig.store.perform_all(&[Operation::Unlink { file }, Operation::FlushDirectory]).unwrap();
        }
    };
    let lost_all = |rig: &mut Rig<Raft>| rig.store = ModelDisk::default();
    for lose in [&lost_manifest as &dyn Fn(&mut Rig<Raft>), &lost_all] {
        rig.store = whole.clone();
        lose(&mut rig);
        let left = rig.store.list().unwrap();
        let said = rig.start().expect_err("slots are missing").to_string();
        let names_the_gap = said.contains("applied") && said.contains("slot 0");
        assert!(names_the_gap || said.contains("it is missing"), "{said}");
        assert!(!said.contains('\n') && !said.contains("panic"), "{said}");
        assert_eq!(rig.store.list().unwrap(), left, "nothing that could be evidence is touched");
    }
    rig.store = whole;
    rig.start().expect("with its store it starts");
}
