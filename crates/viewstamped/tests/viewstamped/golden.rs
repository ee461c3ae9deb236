//! A story of a whole cluster, told by the guards that decided it. `BLESS=1 cargo test` rewrites the file in `tests/traces`.

use crate::cluster::*;
use quorate_narrator::sentence;
use quorate_protocol::Replica;
use quorate_types::NodeId;
use quorate_viewstamped::{Message, Timer, Viewstamped};
use std::fmt::Write;
use std::path::Path;

/// A cluster and what was told of it.
struct Story {
    cluster: Cluster,
    text: String,
}

impl Story {
    fn new(title: &str) -> Story {
        let mut cluster = Cluster::of(3);
        for id in 1..=3 {
            cluster.bed.take_events(NodeId(id));
        }
        Story { cluster, text: format!("{title}\n") }
    }

    fn heading(&mut self, words: &str) {
        writeln!(self.text, "\n# {words}").expect("text can be written");
    }

    fn act(&mut self, words: &str, act: impl FnOnce(&mut Cluster)) {
        writeln!(self.text, "> {words}").expect("text can be written");
        act(&mut self.cluster);
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
            for id in 1..=3 {
                if self.cluster.bed.node(NodeId(id)).outstanding() > 0 {
                    self.act(&format!("the disk of n{id} finishes"), |cluster| cluster.complete(id));
                }
            }
            let flights = self.cluster.bed.flights();
            let Some(at) = flights.iter().position(|flight| passes(flight.from.0, flight.to.0, &flight.message)) else {
                return;
            };
            let (kind, from, to) = (Viewstamped::kind(&flights[at].message), flights[at].from, flights[at].to);
            self.act(&format!("{kind} from {from} reaches {to}"), |cluster| cluster.bed.deliver(at));
        }
    }

    /// Compares with the file of this name.
    fn matches(self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces").join(format!("{name}.txt"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, &self.text).expect("traces can be written");
            return;
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(expected == self.text, "{} differs (BLESS=1 rewrites it):\n{}", file.display(), self.text);
    }
}

/// Golden 1: op2 is on two of three when the primary, which told the client, dies; view 1 keeps it.
#[test]
fn golden_1_what_was_committed_outlives_its_primary() {
    let mut story = Story::new("Golden 1: what was committed outlives its primary");
    story.heading("a is committed everywhere");
    story.act("a client asks n1 for a", |cluster| cluster.propose(1, "a"));
    story.deliver(|_, _, _| true);
    story.heading("b reaches n2 alone; n1 commits it, tells its client, and dies");
    story.act("a client asks n1 for b", |cluster| cluster.propose(1, "b"));
    story.deliver(|from, to, message| from + to == 3 && message.kind() != "commit");
    assert_eq!((story.cluster.decided(1), story.cluster.chosen()), (2, "ab".into()));
    story.act("n1 crashes, and what it sent is lost", |cluster| {
        cluster.crash(1);
        cluster.lose_all();
    });
    story.heading("n2 and n3 change views");
    story.act("n2 hears nothing of its primary", |cluster| cluster.expire(2, Timer::Primary));
    story.deliver(|from, to, message| message.kind() == "start-view-change" && from + to == 5);
    assert_eq!(story.cluster.message("do-view-change", 3, 2), offer_of_n3());
    story.deliver(|_, to, _| to != 1);
    let cluster = &story.cluster;
    assert_eq!([cluster.views(2), cluster.views(3)], [(1, 1); 2]);
    assert_eq!([cluster.log(2), cluster.log(3)], ["ab", "ab"]);
    assert_eq!([cluster.decided(2), cluster.decided(3)], [2, 2]);
    cluster.assert_sound();
    story.matches("golden_1");
}

/// Last normal view 0, one entry, which it knows committed: so nothing of it need travel.
fn offer_of_n3() -> Message {
    use quorate_types::Slot;
    Message::DoViewChange {
        view: view(1),
        last_normal: view(0),
        last: Slot(1),
        commit: Slot(1),
        first: Slot(2),
        entries: entries(""),
    }
}
