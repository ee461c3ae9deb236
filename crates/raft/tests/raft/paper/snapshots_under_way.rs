//! A snapshot on its way, and elections meanwhile.

use super::snapshots::{in_step, pace, snapshot_under_way};
use quorate_protocol::{Replica, Role};
use quorate_raft::Timer;
use quorate_types::NodeId;

/// Begun anew at each election it might never get there.
#[test]
fn a_snapshot_goes_on_when_its_leader_is_elected_again_until_the_driver_says_that_it_ended() {
    let mut cluster = snapshot_under_way();
    cluster.expire(1, Timer::CheckQuorum);
    cluster.run_only(&[1]);
    cluster.expire(1, Timer::CheckQuorum);
    cluster.run_only(&[1]);
    assert_ne!(cluster.node(1).status().role, Role::Leader, "nobody answered");
    cluster.elect(1, &[2]);
    cluster.run();
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    assert_eq!(pace(&cluster, 1, 3), "snapshot");
    assert_eq!(cluster.bed.transfers().len(), 1, "it is on its way");
    cluster.bed.deliver_snapshot(0);
    cluster.complete(3);
    assert!(cluster.bed.install(NodeId(3)));
    cluster.run();
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    in_step(&cluster);
}
