//! Stories of whole clusters, told by the guards that decided them. `BLESS=1 cargo test` rewrites the files in
//! `tests/traces`.

use crate::cluster::*;
use quorate_narrator::sentence;
use quorate_types::NodeId;
use quorate_zab::Timer;
use std::fmt::Write;
use std::path::Path;

/// A cluster and what was told of it.
struct Story {
    cluster: Cluster,
    text: String,
}

impl Story {
    /// The last of so many voters leads epoch 1.
    fn led(count: u64) -> Story {
        let mut story = Story { cluster: Cluster::of(count), text: String::new() };
        let others: Vec<u64> = (1..count).collect();
        story.tell(&format!("n{count} is elected, and established by all"), |cluster| {
            cluster.establish(count, &others);
        });
        story
    }

    fn tell(&mut self, words: &str, act: impl FnOnce(&mut Cluster)) {
        writeln!(self.text, "> {words}").expect("text can be written");
        act(&mut self.cluster);
        for id in self.cluster.bed.ids().collect::<Vec<_>>() {
            for event in self.cluster.bed.take_events(id) {
                let sentence = sentence(id, &event);
                assert!(!sentence.is_empty() && !sentence.contains('{'), "a name without a value: {event:?}");
                writeln!(self.text, "    {sentence}").expect("text can be written");
            }
        }
    }

    /// One line per node: its epochs, its history, what it has decided.
    fn draw(&mut self) {
        for id in self.cluster.bed.ids().collect::<Vec<_>>() {
            let line = match self.cluster.bed.node(id).replica() {
                Some(_) => {
                    let (accepted, current) = self.cluster.epochs(id.0);
                    let (history, decided) = (self.cluster.history(id.0), self.cluster.decided(id.0));
                    let (history, decided) = (history.join(", "), decided.join(", "));
                    format!("{id} accepted {accepted}, current {current}, history: {history}; decided: {decided}")
                }
                None => format!("{id} is down"),
            };
            writeln!(self.text, "  | {line}").expect("text can be written");
        }
    }

    fn finish(mut self, file: &str) {
        self.draw();
        self.cluster.holds();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces").join(file);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &self.text).expect("the trace can be written");
        }
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(known == self.text, "{} tells another story:\n{}", path.display(), self.text);
    }
}

/// a everywhere, b committed with node 1, d at node 3 only; node 3 dies, node 1 leads, node 3 comes back with a history that is better than
/// node 1's was, and gives up d.
#[test]
fn a_leader_comes_back_with_a_transaction_that_nobody_has() {
    let mut story = Story::led(3);
    story.tell("a gets everywhere", |cluster| {
        cluster.propose(3, "a");
        cluster.run();
    });
    story.tell("b gets to n1 and is committed at n3", |cluster| {
        cluster.propose(3, "b");
        cluster.complete(3);
        cluster.deliver("proposal", 3, 1);
        cluster.deliver("ack", 1, 3);
        cluster.lose_all();
    });
    story.tell("d gets nowhere, n3 dies", |cluster| {
        cluster.propose(3, "d");
        cluster.complete(3);
        cluster.bed.crash(NodeId(3), 0);
        cluster.lose_all();
    });
    story.tell("n1 and n2 look for a leader", |cluster| cluster.establish(1, &[2]));
    assert_eq!(story.cluster.decided(2), ["a", "b"]);
    story.tell("c is proposed at n1", |cluster| {
        cluster.propose(1, "c");
        cluster.run_among(&[1, 2]);
    });
    assert_eq!(story.cluster.node(1).log().last().zxid.number(), 0x2_0000_0001);
    story.tell("n3 is back", |cluster| {
        cluster.bed.restart(NodeId(3));
        cluster.lose_all();
    });
    assert_eq!(story.cluster.node(3).log().last(), mark(3, 1, 3));
    story.tell("n3 joins", |cluster| {
        cluster.join(3, 1, &[2]);
        cluster.run();
    });
    for id in [1, 2, 3] {
        assert_eq!(story.cluster.decided(id), ["a", "b", "c"]);
        assert_eq!(story.cluster.epochs(id), (2, 2));
    }
    story.finish("comes_back.txt");
}

/// Five nodes; b is at node 1 only, which gives it to node 2 before both die.
#[test]
fn nobody_hears_of_commits_before_the_epoch_is_established() {
    let mut story = Story::led(5);
    story.tell("b gets to n1, n5 dies and loses it", |cluster| {
        cluster.propose(5, "b");
        cluster.deliver("proposal", 5, 1);
        cluster.bed.crash(NodeId(5), 0);
        cluster.lose_all();
    });
    story.tell("n1 is elected by n2 and n3, and has n2 take its history", |cluster| {
        cluster.elect(1, &[2, 3]);
        for follower in [2, 3] {
            cluster.deliver("cepoch", follower, 1);
        }
        for follower in [2, 3] {
            cluster.deliver("new-epoch", 1, follower);
            cluster.deliver("ack-epoch", follower, 1);
        }
        cluster.deliver_all(&["diff", "proposal", "new-leader"], 1, 2);
        cluster.deliver("ack-new-leader", 2, 1);
    });
    story.tell("n1 and n2 die, n5 is back and leads n3 and n4", |cluster| {
        for id in [1, 2] {
            cluster.bed.crash(NodeId(id), 0);
        }
        cluster.bed.restart(NodeId(5));
        cluster.lose_all();
        cluster.establish(5, &[3, 4]);
    });
    story.tell("c is proposed at n5", |cluster| {
        cluster.propose(5, "c");
        cluster.run_among(&[3, 4, 5]);
    });
    story.tell("n2 is back", |cluster| {
        cluster.bed.restart(NodeId(2));
        cluster.lose_all();
        cluster.join(2, 5, &[3, 4]);
        cluster.run();
    });
    assert_eq!(story.cluster.decided(2), ["c"]);
    story.finish("commit_while_synchronising.txt");
}

/// b is acknowledged by node 1 while the leader still writes it, and node 1 reconnects.
#[test]
fn what_a_follower_acknowledged_is_not_cut_off_when_it_reconnects() {
    let mut story = Story::led(3);
    story.tell("a gets everywhere", |cluster| {
        cluster.propose(3, "a");
        cluster.run();
    });
    story.tell("b is written by n1 and not yet by n3", |cluster| {
        cluster.propose(3, "b");
        cluster.deliver("proposal", 3, 1);
        cluster.hand_over("ack", 1, 3);
        cluster.lose_all();
    });
    story.tell("n1 reconnects", |cluster| {
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
    });
    story.tell("n3 has written b: what n1 acknowledged before counts no more", |cluster| cluster.complete(3));
    story.tell("n1 takes the history of n3 again", |cluster| {
        cluster.deliver_all(&["diff", "new-leader"], 3, 1);
        cluster.deliver("ack-new-leader", 1, 3);
    });
    story.tell("n3 dies, and n1 leads n2", |cluster| {
        cluster.bed.crash(NodeId(3), 0);
        cluster.lose_all();
        cluster.establish(1, &[2]);
    });
    assert_eq!(story.cluster.decided(2), ["a", "b"]);
    story.finish("truncation_by_the_whole_history.txt");
}

/// Node 1 logs b while it synchronises, and crashes between writes.
#[test]
fn nothing_is_acknowledged_before_the_epoch_is_durable() {
    let mut story = Story::led(3);
    story.tell("n3 leads n2 in epoch 2, a is committed", |cluster| {
        cluster.establish(3, &[2]);
        cluster.propose(3, "a");
        cluster.run_among(&[2, 3]);
    });
    story.tell("n1 joins, b is proposed meanwhile", |cluster| {
        cluster.join(1, 3, &[2]);
        cluster.discover(3, 1);
        cluster.propose(3, "b");
        cluster.complete(3);
        for kind in ["diff", "proposal", "new-leader", "commit", "proposal"] {
            cluster.hand_over(kind, 3, 1);
        }
    });
    story.tell("n1 has written a, and crashes before it has written the epoch", |cluster| {
        cluster.bed.complete_writes(NodeId(1), 1);
        assert_eq!(cluster.kinds(1, 3), ["received"]);
        cluster.bed.crash(NodeId(1), 0);
        cluster.lose_all();
        cluster.bed.restart(NodeId(1));
        assert_eq!(cluster.epochs(1), (2, 1));
        cluster.lose_all();
    });
    story.tell("n3 dies; n2, of epoch 2, is elected by n1", |cluster| {
        cluster.bed.crash(NodeId(3), 0);
        cluster.lose_all();
        cluster.establish(2, &[1]);
    });
    assert_eq!(story.cluster.decided(1), ["a"], "b was never acknowledged by a quorum");
    story.finish("epoch_before_acknowledgement.txt");
}

/// Node 2 promised epoch 2 to itself in vain, while node 3 is established in epoch 1.
#[test]
fn a_leader_makes_way_for_a_follower_that_promised_more() {
    let mut story = Story::led(3);
    story.tell("n2 stands for epoch 2 with n1, and gives up", |cluster| {
        cluster.elect(2, &[1]);
        cluster.deliver("cepoch", 1, 2);
        cluster.complete(2);
        cluster.deliver("new-epoch", 2, 1);
        cluster.look(2);
        cluster.lose_all();
    });
    story.tell("n2 joins n3, which leads epoch 1", |cluster| {
        cluster.join(2, 3, &[]);
        cluster.deliver("cepoch", 2, 3);
    });
    story.tell("n3 is elected again", |cluster| cluster.establish(3, &[1, 2]));
    assert_eq!(story.cluster.epochs(2), (3, 3));
    story.finish("promised_more.txt");
}
