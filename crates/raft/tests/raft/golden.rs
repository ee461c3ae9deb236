//! Stories of whole clusters, told by the guards that decided them. `BLESS=1 cargo test` rewrites the files in
//! `tests/traces`.

use crate::cluster::*;
use quorate_narrator::sentence;
use quorate_protocol::{Event, Replica};
use quorate_raft::{Config, Message, Raft, Timer};
use quorate_types::NodeId;
use std::fmt::Write;
use std::path::Path;

/// A cluster and what was told of it.
struct Story {
    cluster: Cluster,
    text: String,
}

impl Story {
    fn new(count: u64, config: Config) -> Story {
        let mut story = Story { cluster: Cluster::with(count, config), text: String::new() };
        story.tell_events();
        story
    }

    fn heading(&mut self, words: &str) {
        writeln!(self.text, "\n== {words}").expect("text can be written");
    }

    fn act(&mut self, words: &str, act: impl FnOnce(&mut Cluster)) {
        writeln!(self.text, "> {words}").expect("text can be written");
        act(&mut self.cluster);
        self.tell_events();
    }

    fn tell_events(&mut self) {
        for id in self.cluster.bed.ids().collect::<Vec<_>>() {
            for event in self.cluster.bed.take_events(id) {
                let sentence = sentence(id, &event);
                assert!(!sentence.contains('{'), "a name without a value: {sentence}");
                writeln!(self.text, "    {sentence}").expect("text can be written");
            }
        }
    }

    /// Completes all writes, then delivers what passes, oldest first, until nothing that passes is left.
    fn deliver(&mut self, passes: impl Fn(u64, u64, &Message) -> bool) {
        loop {
            self.complete_writes();
            let position = self
                .cluster
                .bed
                .flights()
                .iter()
                .position(|flight| passes(flight.from.0, flight.to.0, &flight.message));
            let Some(index) = position else { return };
            let flight = &self.cluster.bed.flights()[index];
            let words = format!("{} from {} reaches {}", Raft::kind(&flight.message), flight.from, flight.to);
            self.act(&words, |cluster| cluster.bed.deliver(index));
        }
    }

    fn deliver_among(&mut self, ids: &[u64]) {
        self.deliver(|from, to, _| ids.contains(&from) && ids.contains(&to));
    }

    fn complete_writes(&mut self) {
        for id in self.cluster.bed.ids().collect::<Vec<_>>() {
            if self.cluster.bed.node(id).outstanding() > 0 {
                self.act(&format!("the disk of {id} finishes"), |cluster| cluster.complete(id.0));
            }
        }
    }

    fn lose_rest(&mut self) {
        let lost = self.cluster.bed.lose_where(|_| true);
        if lost > 0 {
            writeln!(self.text, "> {lost} messages are lost").expect("text can be written");
        }
    }

    /// `id` campaigns; only vote traffic with `voters` is delivered, and they have heard from no leader lately.
    fn campaign(&mut self, id: u64, voters: &[u64]) {
        for voter in voters {
            if self.cluster.bed.node(NodeId(*voter)).armed().contains(&Timer::Stickiness) {
                self.act(&format!("the stickiness timer of n{voter} runs out"), |cluster| {
                    cluster.expire(*voter, Timer::Stickiness);
                });
            }
        }
        self.act(&format!("the election timer of n{id} runs out"), |cluster| cluster.expire(id, Timer::Election));
        let ids: Vec<u64> = voters.iter().copied().chain([id]).collect();
        self.deliver(|from, to, message| {
            ids.contains(&from) && ids.contains(&to) && !matches!(message, Message::Append(_))
        });
    }

    fn crash(&mut self, id: u64) {
        self.act(&format!("n{id} crashes"), |cluster| cluster.crash(id));
        self.lose_rest();
    }

    fn restart(&mut self, id: u64) {
        self.act(&format!("n{id} opens again"), |cluster| cluster.restart(id));
    }

    /// Delivers appends and their answers between two nodes until the second has `count` entries.
    fn copy_until(&mut self, leader: u64, follower: u64, count: usize) {
        for _ in 0..20 {
            if self.cluster.terms(follower).len() == count {
                break;
            }
            if !self.deliver_one(leader, follower) && !self.deliver_one(follower, leader) {
                self.heartbeat(leader);
            }
        }
        assert_eq!(self.cluster.terms(follower).len(), count);
        self.deliver_one(follower, leader);
    }

    fn heartbeat(&mut self, leader: u64) {
        let words = format!("the heartbeat timer of n{leader} runs out");
        self.act(&words, |cluster| cluster.expire(leader, Timer::Heartbeat));
    }

    /// Delivers the oldest message between two nodes, if there is one.
    fn deliver_one(&mut self, from: u64, to: u64) -> bool {
        let found =
            |flight: &quorate_protocol::testbed::Flight<Raft>| flight.from == NodeId(from) && flight.to == NodeId(to);
        let Some(index) = self.cluster.bed.flights().iter().position(found) else { return false };
        let words = format!("{} from n{from} reaches n{to}", Raft::kind(&self.cluster.bed.flights()[index].message));
        self.act(&words, |cluster| cluster.bed.deliver(index));
        self.complete_writes();
        true
    }

    /// One line per node: its term, its log as terms, a bar behind what is committed.
    fn draw(&mut self) {
        for id in self.cluster.bed.ids().collect::<Vec<_>>() {
            let Some(raft) = self.cluster.bed.node(id).replica() else {
                writeln!(self.text, "  {id}  down").expect("text can be written");
                continue;
            };
            let mut log = String::new();
            for (at, entry) in raft.log().iter().enumerate() {
                let bar = if at as u64 + 1 == raft.commit().0 { " |" } else { "" };
                write!(log, " {}{bar}", entry.term).expect("text can be written");
            }
            let role = raft.status().role.name();
            writeln!(self.text, "  {id}  {role:9} term {}  log{log}", raft.term()).expect("text can be written");
        }
    }

    fn finish(self, name: &str) {
        self.cluster.assert_sound();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces").join(name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &self.text).expect("the story can be kept");
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            self.text == expected,
            "the story is another one than {}; BLESS=1 accepts it:\n{}",
            path.display(),
            self.text
        );
    }
}

/// Raft, Figure 8, up to the point where slot 2 of term 2 is on three nodes of five under a leader of term 4.
fn figure_8(config: Config) -> Story {
    let mut story = Story::new(5, config);
    story.heading("All have slot 1 of term 1");
    story.campaign(1, &[2, 3, 4, 5]);
    story.deliver_among(&[1, 2, 3, 4, 5]);
    story.act("the store of n1 makes slot 1 durable", |cluster| cluster.bed.checkpoint(NodeId(1)));
    story.crash(1);
    story.restart(1);
    story.heading("n1 leads term 2 and copies slot 2 to n2 only");
    story.campaign(1, &[2, 3, 4, 5]);
    story.copy_until(1, 2, 2);
    story.draw();
    story.crash(1);
    story.heading("n5 leads term 3 with n3 and n4, and has slot 2 of term 3 alone");
    story.campaign(5, &[3, 4]);
    story.crash(5);
    story.restart(5);
    story.draw();
    story.restart(1);
    story.heading("n1 leads term 4 with n2 and n3, and copies slot 2 to n3: three of five have it");
    story.campaign(1, &[2, 3]);
    assert_eq!(story.cluster.node(1).term(), 3, "it only learned of term 3");
    story.campaign(1, &[2, 3]);
    assert_eq!(story.cluster.node(1).term(), 4);
    story.copy_until(1, 3, 2);
    story.lose_rest();
    story.heartbeat(1);
    story.deliver_one(1, 2);
    story.deliver_one(2, 1);
    story.lose_rest();
    story.draw();
    assert_eq!(story.cluster.node(1).commit().0, 1);
    story
}

fn one_entry_per_append() -> Config {
    Config { append_entries: 1, ..Config::default() }
}

#[test]
fn figure_8_an_entry_of_an_earlier_term_on_a_majority_may_still_be_overwritten() {
    let mut story = figure_8(one_entry_per_append());
    story.crash(1);
    story.heading("n5 leads term 5 with n2, n3 and n4 and overwrites slot 2: legal, for nobody took it as decided");
    story.campaign(5, &[2, 3, 4]);
    if !story.cluster.node(5).is_leader() {
        story.campaign(5, &[2, 3, 4]);
    }
    story.deliver_among(&[2, 3, 4, 5]);
    story.draw();
    assert!((2..=5).all(|id| story.cluster.terms(id) == [1, 3, 5]));
    story.finish("figure_8_overwritten.txt");
}

#[test]
fn figure_8_an_entry_of_the_present_term_above_it_makes_it_safe() {
    let mut story = figure_8(one_entry_per_append());
    story.heading("n1 gets slot 3, of its own term, to n2 and n3 before it crashes");
    story.copy_until(1, 2, 3);
    story.copy_until(1, 3, 3);
    story.draw();
    assert_eq!(story.cluster.node(1).commit().0, 3);
    story.crash(1);
    story.heading("n5 cannot win any more");
    story.campaign(5, &[2, 3, 4]);
    story.lose_rest();
    assert!(!story.cluster.node(5).is_leader());
    story.heading("n2 can");
    story.campaign(2, &[3, 4, 5]);
    story.deliver_among(&[2, 3, 4, 5]);
    story.draw();
    assert!((2..=5).all(|id| story.cluster.terms(id)[..3] == [1, 2, 4]));
    story.finish("figure_8_committed.txt");
}

/// One rejection finds where the logs meet.
#[test]
fn hints_skip_whole_terms_on_both_sides() {
    let mut story = Story::new(3, Config::default());
    story.heading("n1 has what leaders of terms 1, 4, 5 and 6 wrote, n2 what others of terms 1, 2 and 3 wrote");
    story.cluster.say(3, 1, append(6, (0, 0), &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6], 0));
    story.cluster.say(3, 2, append(3, (0, 0), &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], 0));
    story.cluster.complete_all();
    story.cluster.bed.lose_where(|_| true);
    story.cluster.bed.take_events(NodeId(1));
    story.cluster.bed.take_events(NodeId(2));
    story.draw();
    story.heading("n1 leads term 7");
    story.campaign(1, &[3]);
    story.lose_where_vote();
    story.heading("n2 is brought up to date");
    story.deliver_among(&[1, 2]);
    story.draw();
    assert_eq!(story.text.matches("rejects what").count(), 1);
    story.finish("hints.txt");
}

impl Story {
    fn lose_where_vote(&mut self) {
        self.cluster.bed.lose_where(|flight| !matches!(flight.message, Message::Append(_)));
    }
}

/// Nodes 1, 2 and 3 see each other, 4 sees only 2, and 5 only 3. Without pre-vote and stickiness 4 and 5, who cannot hear
/// leader 1, would depose it again and again; without check-quorum a leader that hears nobody would stay.
#[test]
fn partial_links_do_not_unseat_a_leader() {
    let linked = |one: u64, other: u64| {
        let (low, high) = (one.min(other), one.max(other));
        high <= 3 || (low, high) == (2, 4) || (low, high) == (3, 5)
    };
    let mut story = Story::new(5, Config::default());
    story.heading("n1 leads; n4 reaches only n2, and n5 only n3");
    story.campaign(1, &[2, 3]);
    story.lose_where_vote();
    for round in 1..=10 {
        if round == 2 {
            story.heading("the same ten times over, without the words");
        }
        let told = story.text.len();
        story.deliver(|from, to, _| linked(from, to));
        story.lose_rest();
        for cut_off in [4, 5] {
            let timer = format!("the election timer of n{cut_off} runs out");
            story.act(&timer, |cluster| cluster.expire(cut_off, Timer::Election));
        }
        story.heartbeat(1);
        story.cluster.propose(1, "x");
        story.act("the leader n1 counts who answered", |cluster| cluster.expire(1, Timer::CheckQuorum));
        if round > 1 {
            story.text.truncate(told);
        }
        assert!(story.cluster.node(1).is_leader());
        assert_eq!(story.cluster.node(1).term(), 1);
    }
    assert!(story.cluster.node(1).commit().0 >= 9, "and it gets work done");
    story.draw();
    story.finish("partial_links.txt");
}

/// A rule has words for exactly the verdicts it gives.
#[test]
fn every_rule_has_a_name_a_source_and_words() {
    let mut ids: Vec<&str> = quorate_raft::rules::ALL.iter().map(|rule| rule.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), quorate_raft::rules::ALL.len());
    for rule in quorate_raft::rules::ALL {
        assert!(rule.id.starts_with("raft.") && !rule.source.is_empty());
        let words = [Event::allowed(rule), Event::refused(rule), Event::waiting(rule)];
        assert!(words.iter().any(|event| !sentence(NodeId(1), event).is_empty()), "{}", rule.id);
    }
}
