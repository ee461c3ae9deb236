//! Linearizable reads: ours, in place of the lease of VRR §6.3.

use crate::cluster::*;
use quorate_protocol::{Refusal, Verdict};
use quorate_types::NodeId;
use quorate_viewstamped::{Config, Timer};

fn released(cluster: &Cluster, id: u64) -> Vec<(u64, u64)> {
    cluster.bed.node(NodeId(id)).reads().iter().map(|(token, slot)| (token.number, slot.0)).collect()
}

#[test]
fn a_read_begins_a_round_of_its_own_and_a_later_rounds_answer_confirms_earlier_ones() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    cluster.run();
    cluster.read(1, 1);
    cluster.read(1, 2);
    cluster.deliver("commit", 1, 2);
    cluster.deliver_copy("prepare-ok", 2, 1);
    assert_eq!(released(&cluster, 1), [(1, 1)], "the second came after that round began");
    cluster.deliver("prepare-ok", 2, 1);
    assert_eq!(released(&cluster, 1), [(1, 1)], "a repeated answer says nothing new");
    cluster.deliver("commit", 1, 2);
    cluster.deliver("prepare-ok", 2, 1);
    assert_eq!(released(&cluster, 1), [(1, 1), (2, 1)]);
    cluster.read(1, 3);
    cluster.lose_all();
    cluster.read(1, 4);
    cluster.deliver("commit", 1, 3);
    cluster.deliver("prepare-ok", 3, 1);
    assert_eq!(released(&cluster, 1).len(), 4, "the round of the third was lost");
    cluster.assert_sound();
}

#[test]
fn a_lost_round_is_made_up_for_by_the_next_sign_of_life() {
    let mut cluster = Cluster::with(3, Config { read_rounds: 1, ..Config::default() });
    cluster.read(1, 1);
    cluster.read(1, 2);
    cluster.lose_all();
    cluster.expire(1, Timer::Heartbeat);
    cluster.deliver("commit", 1, 2);
    cluster.deliver("prepare-ok", 2, 1);
    assert_eq!(released(&cluster, 1), [(1, 0)]);
    cluster.run();
    assert_eq!(released(&cluster, 1), [(1, 0), (2, 0)], "with room again, the other has its round");
}

#[test]
fn a_read_anywhere_is_served_there_as_of_the_primarys_commit() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    cluster.run();
    cluster.read(3, 1);
    cluster.lose_all();
    cluster.expire(3, Timer::ReadRetry);
    cluster.run();
    assert_eq!((released(&cluster, 1), released(&cluster, 3)), (vec![], vec![(1, 1)]));
}

#[test]
fn a_primary_that_was_succeeded_serves_no_read() {
    let mut cluster = Cluster::of(3);
    cluster.change_view(2, &[2, 3]);
    cluster.propose(2, "a");
    cluster.run_only(&[2, 3]);
    assert!(cluster.node(1).is_primary(), "it has not noticed");
    cluster.read(1, 1);
    cluster.read(1, 2);
    for backup in [2, 3] {
        cluster.deliver("commit", 1, backup);
        cluster.deliver("commit", 1, backup);
    }
    cluster.run();
    assert_eq!(released(&cluster, 1), []);
    cluster.expire(2, Timer::Heartbeat);
    cluster.run();
    let refused = cluster.bed.node(NodeId(1)).refusals().iter().filter(|(_, why)| *why == Refusal::LeaderChanged);
    assert_eq!(refused.count(), 2);
    assert!(cluster.saw(1, "viewstamped.read", Verdict::Refused));
    assert_eq!(cluster.commit(1), 1);
}
