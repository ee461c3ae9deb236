//! Scripts that write down what happened: every action, the guards each replica evaluated because of it, in words, and the
//! messages that left. Compared with a file under `tests/traces`; `BLESS=1` rewrites it.
use quorate_narrator::sentence;
use quorate_protocol::Replica;
use quorate_protocol::testbed::Testbed;
use quorate_types::NodeId;
use std::path::PathBuf;

pub struct Script<R: Replica> {
    pub testbed: Testbed<R>,
    /// People know nodes by the names of the story.
    names: Vec<(NodeId, &'static str)>,
    text: String,
}

impl<R: Replica> Script<R> {
    /// The story begins when the founding records are durable.
    pub fn new(title: &str, mut testbed: Testbed<R>, names: &[(u64, &'static str)]) -> Script<R> {
        let ids: Vec<NodeId> = testbed.ids().collect();
        for id in &ids {
            testbed.complete_writes(*id, usize::MAX);
            testbed.take_events(*id);
        }
        let names = names.iter().map(|(id, name)| (NodeId(*id), *name)).collect();
        Script { testbed, names, text: format!("{title}\n") }
    }

    pub fn say(&mut self, words: &str) {
        self.text.push_str(&format!("\n# {words}\n"));
    }

    fn name(&self, id: NodeId) -> String {
        let known = self.names.iter().find(|(known, _)| *known == id);
        known.map_or_else(|| id.to_string(), |(_, name)| (*name).to_owned())
    }

    fn id(&self, name: &str) -> NodeId {
        self.names.iter().find(|(_, known)| *known == name).expect("a name of the story").0
    }

    /// Performs an action and writes down what it led to.
    fn act(&mut self, words: String, action: impl FnOnce(&mut Testbed<R>)) {
        self.text.push_str(&format!("> {words}\n"));
        let before = self.testbed.flights().to_vec();
        action(&mut self.testbed);
        for id in self.testbed.ids().collect::<Vec<_>>() {
            for event in self.testbed.take_events(id) {
                self.text.push_str(&format!("    {}\n", self.renamed(&sentence(id, &event))));
            }
        }
        let mut old = before;
        for flight in self.testbed.flights() {
            match old.iter().position(|known| known == flight) {
                Some(at) => drop(old.remove(at)),
                None => {
                    let (from, to) = (self.name(flight.from), self.name(flight.to));
                    self.text.push_str(&format!("    {from} -> {to}: {}\n", R::kind(&flight.message)));
                }
            }
        }
    }

    /// Ids replaced by the names of the story.
    fn renamed(&self, sentence: &str) -> String {
        self.names.iter().fold(sentence.to_owned(), |text, (id, name)| text.replace(&id.to_string(), name))
    }

    pub fn propose(&mut self, at: &str, value: &'static str) {
        let id = self.id(at);
        self.act(format!("a client proposes {value} at {at}"), |testbed| {
            testbed.propose(id, 1, value);
            testbed.complete_writes(id, usize::MAX);
        });
    }

    pub fn deliver(&mut self, kind: &str, from: &str, to: &str) {
        let (source, target) = (self.id(from), self.id(to));
        self.act(format!("{kind} from {from} reaches {to}"), |testbed| {
            let wanted = |flight: &quorate_protocol::testbed::Flight<R>| {
                flight.from == source && flight.to == target && R::kind(&flight.message) == kind
            };
            let at = testbed.flights().iter().position(wanted);
            testbed.deliver(at.unwrap_or_else(|| panic!("no {kind} from {from} to {to} is in flight")));
            testbed.complete_writes(target, usize::MAX);
        });
    }

    pub fn expire(&mut self, at: &str, name: &'static str) {
        let id = self.id(at);
        let timer = R::TIMERS.iter().find(|(known, _)| *known == name).expect("a timer of the protocol").1;
        self.act(format!("timer {name} of {at} fires"), |testbed| {
            assert!(testbed.expire(id, timer), "timer {name} of {at} is not armed");
            testbed.complete_writes(id, usize::MAX);
        });
    }

    pub fn crash_and_restart(&mut self, at: &str) {
        let id = self.id(at);
        self.act(format!("{at} crashes and comes back"), |testbed| {
            testbed.crash(id, 0);
            testbed.restart(id);
        });
    }

    /// Loses whatever is in flight of a kind.
    pub fn lose_all(&mut self, kind: &str) {
        self.act(format!("every {kind} in flight is lost"), |testbed| {
            testbed.lose_where(|flight| R::kind(&flight.message) == kind);
        });
    }

    /// Hands over one input that the story needs and no client gives.
    pub fn told(&mut self, at: &str, words: &str, input: quorate_protocol::Input<R>) {
        let id = self.id(at);
        self.act(format!("{at} {words}"), |testbed| testbed.input(id, input));
    }

    /// One line for every node of the story.
    pub fn show(&mut self, state: impl Fn(&R) -> String) {
        for (id, name) in self.names.clone() {
            let line = self.renamed(&state(self.testbed.replica(id)));
            self.text.push_str(&format!("  {name}: {line}\n"));
        }
    }

    /// Compares with the file of this name.
    pub fn matches(self, name: &str) {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/traces").join(format!("{name}.txt"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, &self.text).expect("traces can be written");
            return;
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(expected == self.text, "{} differs (BLESS=1 rewrites it):\n{}", file.display(), self.text);
    }
}
