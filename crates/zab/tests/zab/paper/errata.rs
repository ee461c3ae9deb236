//! Where texts and real servers lost something: the runs that ask for the stricter steps, and the errata.

use crate::cluster::*;
use quorate_protocol::Verdict::Allowed;
use quorate_types::{NodeId, Slot};
use quorate_zab::{LeaderWord, Timer};

/// b is only at node 1, which leads and gives it to node 2; both go, and nodes 3 to 5 go on without b. Had node 2 been told that b is
/// committed, it would have to undo it now.
#[test]
fn stricter_1_nobody_hears_of_commits_before_a_quorum_has_the_initial_history() {
    let mut cluster = Cluster::led(5);
    cluster.propose(5, "b");
    cluster.deliver("proposal", 5, 1);
    cluster.bed.crash(NodeId(5), 0);
    cluster.lose_all();
    cluster.elect(1, &[2, 3]);
    for follower in [2, 3] {
        cluster.deliver("cepoch", follower, 1);
    }
    cluster.complete(1);
    for follower in [2, 3] {
        cluster.deliver("new-epoch", 1, follower);
        cluster.deliver("ack-epoch", follower, 1);
    }
    cluster.complete(1);
    assert_eq!(cluster.kinds(1, 2), ["diff", "proposal", "new-leader"], "no commit, no up-to-date");
    cluster.deliver_all(&["diff", "proposal", "new-leader"], 1, 2);
    cluster.deliver("ack-new-leader", 2, 1);
    assert_eq!(cluster.kinds(1, 2), Vec::<&str>::new(), "two of five");
    assert_eq!((cluster.decided(1), cluster.decided(2)), (vec![], vec![]));
    for id in [1, 2] {
        cluster.bed.crash(NodeId(id), 0);
    }
    cluster.bed.restart(NodeId(5));
    cluster.lose_all();
    cluster.establish(5, &[3, 4]);
    cluster.propose(5, "c");
    cluster.run_among(&[3, 4, 5]);
    for id in [1, 2] {
        cluster.bed.restart(NodeId(id));
        cluster.lose_all();
        cluster.join(id, 5, &[3, 4]);
        cluster.run();
        assert_eq!(cluster.decided(id), ["c"]);
        assert!(cluster.told(id, "zab.truncate", Allowed));
    }
    cluster.holds();
}

/// (1, 2) is logged and acknowledged by node 1 while the leader's own write is under way; node 1 reconnects. Cut back to what is committed,
/// it would lack (1, 2) when the leader's write ends and commits it with the old acknowledgement.
#[test]
fn stricter_2_histories_part_in_the_whole_log_and_not_in_its_committed_part() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.run();
    cluster.propose(3, "b");
    cluster.deliver("proposal", 3, 1);
    cluster.hand_over("ack", 1, 3);
    cluster.lose_all();
    cluster.look(1);
    cluster.lose_all();
    cluster.expire(1, Timer::Notify);
    for other in [2, 3] {
        cluster.hand_over("notification", 1, other);
        cluster.hand_over("notification", other, 1);
    }
    for (kind, from, to) in [("cepoch", 1, 3), ("new-epoch", 3, 1), ("ack-epoch", 1, 3)] {
        cluster.hand_over(kind, from, to);
        cluster.complete(1);
    }
    assert_eq!(*cluster.word_down("diff", 3, 1), LeaderWord::Diff { from: mark(2, 1, 2) });
    cluster.complete(3);
    assert_eq!(cluster.node(3).committed(), Slot(1), "the old acknowledgement counts no more");
    cluster.deliver_all(&["diff", "new-leader"], 3, 1);
    cluster.deliver("ack-new-leader", 1, 3);
    assert_eq!(cluster.node(3).committed(), Slot(2), "it stands for (1, 2), which was outstanding");
    cluster.bed.crash(NodeId(3), 0);
    cluster.lose_all();
    cluster.establish(1, &[2]);
    assert_eq!(cluster.decided(2), ["a", "b"]);
    cluster.holds();
}

/// Node 1 logs (2, 2) while it synchronises. An acknowledgement of it would commit it, and a crash leave node 1 with epoch 1, whose vote
/// loses to somebody of epoch 2 without (2, 2).
#[test]
fn stricter_3_nothing_outstanding_is_acknowledged_before_the_epoch_is_durable() {
    let mut cluster = Cluster::led(3);
    cluster.establish(3, &[2]);
    cluster.propose(3, "a");
    cluster.run_among(&[2, 3]);
    assert_eq!(cluster.epochs(3), (2, 2));
    cluster.join(1, 3, &[2]);
    cluster.discover(3, 1);
    cluster.propose(3, "b");
    cluster.complete(3);
    for kind in ["diff", "proposal", "new-leader", "commit", "proposal"] {
        cluster.hand_over(kind, 3, 1);
    }
    assert_eq!(cluster.bed.node(NodeId(1)).outstanding(), 3, "a, then the epoch, then b");
    cluster.bed.complete_writes(NodeId(1), 1);
    assert_eq!(cluster.kinds(1, 3), ["received"]);
    cluster.expire(3, Timer::Tick);
    cluster.hand_over("ping", 3, 1);
    let pong = cluster.word_up("pong", 1, 3);
    assert!(matches!(pong, quorate_zab::FollowerWord::Pong { acked: None, .. }), "{pong:?}");
    cluster.bed.complete_writes(NodeId(1), 1);
    assert_eq!(cluster.kinds(1, 3), ["received", "pong", "ack-new-leader"]);
    cluster.complete(1);
    assert_eq!(cluster.kinds(1, 3), ["received", "pong", "ack-new-leader", "ack"]);
    cluster.deliver("ack", 1, 3);
    assert_eq!(cluster.node(3).committed(), Slot(2));
    cluster.bed.crash(NodeId(3), 0);
    cluster.bed.crash(NodeId(1), 0);
    cluster.bed.restart(NodeId(1));
    cluster.lose_all();
    cluster.establish(1, &[2]);
    assert_eq!(cluster.decided(2), ["a", "b"]);
    cluster.holds();
}

/// Models show that those who have acknowledged the epoch and not yet its history need the proposals too.
#[test]
fn erratum_proposals_go_to_whoever_is_offered_the_epoch() {
    let mut cluster = Cluster::of(5);
    cluster.elect(5, &[1, 2, 3]);
    for follower in [1, 2, 3] {
        cluster.deliver("cepoch", follower, 5);
    }
    for follower in [1, 2, 3] {
        cluster.deliver("new-epoch", 5, follower);
        cluster.deliver("ack-epoch", follower, 5);
    }
    for follower in [1, 2] {
        cluster.deliver_all(&["diff", "new-leader"], 5, follower);
        cluster.deliver("ack-new-leader", follower, 5);
    }
    assert!(cluster.node(5).is_established());
    cluster.propose(5, "a");
    assert_eq!(cluster.kinds(5, 3), ["diff", "new-leader", "proposal"]);
    cluster.deliver_all(&["diff", "new-leader", "proposal"], 5, 3);
    cluster.deliver_all(&["ack-new-leader", "ack"], 3, 5);
    cluster.run();
    assert_eq!(cluster.decided(3), ["a"]);
    cluster.holds();
}

/// The 2011 text names the end of the initial history there: who joins while something is committed would miss it.
#[test]
fn erratum_up_to_date_names_the_latest_commit() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.run_among(&[2, 3]);
    cluster.join(1, 3, &[2]);
    cluster.discover(3, 1);
    cluster.propose(3, "b");
    cluster.complete(3);
    cluster.deliver("proposal", 3, 2);
    cluster.deliver("ack", 2, 3);
    cluster.deliver_all(&["diff", "proposal", "new-leader"], 3, 1);
    cluster.deliver("ack-new-leader", 1, 3);
    assert_eq!(*cluster.word_down("up-to-date", 3, 1), LeaderWord::UpToDate { committed: mark(2, 1, 2) });
}

/// A real server kept its in-memory state over elections and applied what was never committed.
#[test]
fn bug_2845_nothing_beyond_what_is_committed_is_applied_over_an_election() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.run();
    cluster.propose(3, "lost");
    cluster.complete(3);
    cluster.lose_all();
    cluster.look(3);
    cluster.look(3);
    assert_eq!(cluster.history(3), ["a", "lost"]);
    assert_eq!(cluster.decided(3), ["a"]);
    cluster.bed.crash(NodeId(3), 0);
    cluster.lose_all();
    cluster.establish(2, &[1]);
    cluster.propose(2, "b");
    cluster.run_among(&[1, 2]);
    cluster.bed.restart(NodeId(3));
    cluster.lose_all();
    cluster.join(3, 2, &[1]);
    cluster.run();
    assert_eq!(cluster.decided(3), ["a", "b"]);
    cluster.holds();
}

/// A real server acknowledged a history of which it had logged nothing yet.
#[test]
fn bug_3911_what_was_synchronised_and_not_committed_survives_its_receivers_crash() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.deliver("proposal", 3, 1);
    cluster.bed.crash(NodeId(3), 0);
    cluster.lose_all();
    cluster.elect(1, &[2]);
    cluster.discover(1, 2);
    cluster.deliver_all(&["diff", "proposal", "new-leader"], 1, 2);
    cluster.deliver("ack-new-leader", 2, 1);
    assert_eq!(cluster.decided(1), ["a"], "committed with node 2's acknowledgement");
    cluster.bed.crash(NodeId(2), 0);
    cluster.bed.crash(NodeId(1), 0);
    cluster.bed.restart(NodeId(2));
    cluster.bed.restart(NodeId(3));
    cluster.lose_all();
    assert_eq!((cluster.history(2), cluster.history(3)), (vec!["a".to_owned()], vec![]), "node 3 never wrote it");
    cluster.establish(2, &[3]);
    assert_eq!(cluster.decided(3), ["a"]);
    cluster.holds();
}
