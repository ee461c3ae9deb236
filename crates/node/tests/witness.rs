//! Whole nodes under Raft, one of which votes and stores no data.

mod cluster;
mod rig;

use cluster::{Cluster, Step, step};
use proptest::prelude::*;
use quorate_node::{ClientTag, MemberChange, NodeInput, RequestError};
use quorate_types::{Member, MemberRole, Membership, NodeId};

const WITNESS: u64 = 3;

fn members() -> Membership {
    let witness = Member { role: MemberRole::Witness, ..Member::voter(NodeId(WITNESS)) };
    Membership::new([Member::voter(NodeId(1)), Member::voter(NodeId(2)), witness])
}

fn led() -> (Cluster, u64, u64) {
    let mut cluster = Cluster::forgetful_of(&members(), 3);
    cluster.calm(1_000);
    let status = cluster.rigs[&1].node().status().protocol;
    let leader = status.leader.expect("calm").0;
    assert_ne!(leader, WITNESS);
    (cluster, leader, 3 - leader)
}

/// The leader keeps a handful of entries, and the witness is given none while both others keep up: it lives on images of a state that
/// no command has touched.
#[test]
fn a_witness_catches_up_by_the_image_of_an_empty_state() {
    let (mut cluster, leader, other) = led();
    for _ in 0..30 {
        cluster.ask(leader, false);
        cluster.calm(50);
    }
    cluster.calm(1_000);
    let witness = cluster.rigs[&WITNESS].node();
    assert!(witness.is_witness() && witness.status().snapshots.installed > 0);
    let (applied, base) = (witness.status().applied, cluster.rigs[&leader].node().replica().log().base());
    assert!(applied >= base, "it follows the base: {applied}, {base}");
    cluster.check_end();
    // It comes back as what it became, and takes the place of the voter that is missing.
    cluster.crash(WITNESS, &[0]);
    assert!(cluster.rigs[&WITNESS].node().is_witness());
    cluster.cut_off(other);
    for _ in 0..30 {
        cluster.ask(leader, false);
        cluster.calm(50);
    }
    cluster.calm(1_000);
    assert!(cluster.answers.values().all(|(_, result)| result.is_ok()), "{:?}", cluster.answers);
    cluster.connect_all();
    cluster.calm(3_000);
    cluster.check_end();
}

#[test]
fn a_witness_refuses_clients_at_once() {
    let (mut cluster, leader, _) = led();
    cluster.ask(WITNESS, false);
    cluster.ask(WITNESS, true);
    let refused = Err(RequestError::Witness);
    assert_eq!([cluster.answers[&1].1.clone(), cluster.answers[&2].1.clone()], [refused.clone(), refused]);
    let tag = ClientTag(77);
    let change = MemberChange::Remove { id: NodeId(leader), strict: false };
    let rig = cluster.rig(WITNESS);
    rig.inputs([NodeInput::ChangeMembers { tag, change }, NodeInput::Errand { tag, payload: bytes::Bytes::new() }]);
    let words = "this member is a witness: it votes and stores no data; ask another member".to_owned();
    assert_eq!(rig.refused, [(tag, words.clone()), (tag, words)]);
    let now = rig.now;
    assert_eq!(rig.node.as_mut().expect("it runs").open_backup(now), None);
    assert!(cluster.rig(leader).node.as_mut().expect("it runs").open_backup(now).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_nodes_with_data_agree_and_the_witness_has_none(
        steps in proptest::collection::vec(step(), 1..250),
        forgetful: bool,
    ) {
        let mut cluster = match forgetful {
            true => Cluster::forgetful_of(&members(), 3),
            false => Cluster::of(&members(), |config| config.checkpoint.after_slots = 3),
        };
        for step in steps {
            match step {
                // To write through it is refused, and nothing else happens.
                Step::Condemn(WITNESS) => cluster.condemn(1),
                step => cluster.step(step),
            }
        }
        cluster.connect_all();
        cluster.calm(20_000);
        cluster.check_end();
    }
}
