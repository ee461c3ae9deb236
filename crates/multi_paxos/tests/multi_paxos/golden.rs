//! Stories of whole clusters, told by the guards that decided them. `BLESS=1 cargo test` rewrites the files in
//! `tests/traces`.

use crate::cluster::*;
use quorate_multi_paxos::Timer;
use quorate_narrator::sentence;
use quorate_types::{Member, Membership, NodeId};
use std::fmt::Write;
use std::path::Path;

/// A cluster and what was told of it.
struct Story {
    cluster: Cluster,
    text: String,
}

impl Story {
    fn of(count: u64) -> Story {
        let mut story = Story { cluster: Cluster::of(count), text: String::new() };
        story.tell("three nodes open", |_| ());
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

    /// One line per node: what it promised, what it has accepted, what it has decided.
    fn draw(&mut self) {
        for id in self.cluster.bed.ids().collect::<Vec<_>>() {
            let decided = self.cluster.decided(id.0).join(", ");
            let configuration = self.cluster.bed.node(id).replica().map(|whole| whole.configuration());
            let line = match configuration {
                Some(number) => format!("{id} in configuration {number} has decided: {decided}"),
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

#[test]
fn a_new_leader_fills_the_hole_and_proposes_again_what_may_be_chosen() {
    let mut story = Story::of(3);
    story.tell("n1 is elected by all", |cluster| {
        cluster.elect(1, &[2, 3]);
        cluster.run();
    });
    story.tell("slot 1 = a gets to all", |cluster| {
        cluster.propose(1, "a");
        cluster.deliver("accept", 1, 2);
        cluster.deliver("accept", 1, 3);
        cluster.lose_all();
    });
    story.tell("slot 2 = b gets to nobody, slot 3 = c to n2", |cluster| {
        cluster.propose(1, "b");
        cluster.lose_all();
        cluster.propose(1, "c");
        cluster.complete(1);
        cluster.deliver("accept", 1, 2);
        cluster.lose_all();
    });
    story.tell("n1 dies, n2 stands", |cluster| {
        cluster.bed.crash(NodeId(1), 0);
        cluster.elect(2, &[3]);
    });
    story.tell("d is proposed at n2", |cluster| {
        cluster.propose(2, "d");
        cluster.run_among(&[2, 3]);
    });
    story.tell("n1 is back", |cluster| {
        cluster.bed.restart(NodeId(1));
        for _ in 0..3 {
            cluster.expire(2, Timer::Heartbeat);
            cluster.run();
        }
    });
    for id in [1, 2, 3] {
        assert_eq!(story.cluster.decided(id), ["a", "no-op", "c", "d"]);
    }
    story.finish("hole.txt");
}

/// The pitfall of stop-signs: slots are chosen independently, so something can be chosen above one.
#[test]
fn what_was_chosen_above_a_stop_sign_is_void() {
    let mut story = Story::of(3);
    story.tell("n1 is elected by all, and all keep up", |cluster| {
        cluster.elect(1, &[2, 3]);
        cluster.run();
        cluster.expire(1, Timer::Heartbeat);
        cluster.run();
    });
    story.tell("the stop-sign for {n1, n3} gets to slot 1 of n1 only", |cluster| {
        let next = Membership::new([Member::voter(NodeId(1)), Member::voter(NodeId(3))]);
        cluster.bed.reconfigure(NodeId(1), 2, next);
        cluster.complete(1);
        cluster.lose_all();
    });
    story.tell("n2 is elected by n3 and does not find it", |cluster| cluster.elect(2, &[3]));
    story.tell("slot 1 = x gets to nobody, slot 2 = y to n3: chosen; n2 dies", |cluster| {
        cluster.propose(2, "x");
        cluster.lose_all();
        cluster.propose(2, "y");
        cluster.complete(2);
        cluster.deliver("accept", 2, 3);
        cluster.bed.crash(NodeId(2), 0);
        cluster.lose_all();
    });
    story.tell("n1 hears of the higher ballot", |cluster| {
        cluster.expire(1, Timer::Heartbeat);
        cluster.deliver("heartbeat", 1, 3);
        cluster.deliver("nack", 3, 1);
    });
    story.tell("n1 stands again, finds the stop-sign itself and y at n3", |cluster| cluster.elect(1, &[3]));
    story.tell("the stop-sign is decided, and n1 leads the next configuration", |cluster| {
        cluster.run_among(&[1, 3]);
    });
    story.tell("z takes the slot that y had", |cluster| {
        cluster.propose(1, "z");
        cluster.run_among(&[1, 3]);
    });
    assert_eq!(story.cluster.decided(3), ["stop: n1 n3", "z"]);
    story.finish("stop_sign.txt");
}

#[test]
fn every_rule_has_a_name_a_source_and_words() {
    let all = || quorate_multi_paxos::rules::ALL.iter().chain(quorate_succession::rules::ALL);
    let mut ids: Vec<&str> = all().map(|rule| rule.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all().count());
    for rule in all() {
        let words = [rule.allowed, rule.refused, rule.waiting];
        assert!(!rule.source.is_empty() && words.iter().any(|words| words.contains("{me}")), "{}", rule.id);
    }
}
