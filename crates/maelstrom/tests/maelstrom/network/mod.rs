//! Maelstrom in small, on virtual time: a network that delays, reorders, loses and parts, clients that ask one thing at
//! a time, and a record of what they asked and heard. One seed decides everything.

use quorate_maelstrom::{Participant, Word, raft_settings};
use quorate_raft::Raft;
use quorate_simulator::{Chance, Random};
use quorate_types::Time;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub const NODES: usize = 5;

/// Maelstrom's clients wait so long.
const CLIENT_PATIENCE: Duration = Duration::from_secs(5);

/// One request with what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Who asked: a new number after every request whose fate stayed unknown.
    pub client: u64,
    /// Which node.
    pub node: String,
    pub asked_at: Time,
    /// `None`: no answer in time.
    pub answered_at: Option<Time>,
    pub request: Value,
    pub answer: Value,
}

impl Exchange {
    pub fn is_ok(&self) -> bool {
        self.answered_at.is_some() && self.answer["type"] != "error"
    }

    pub fn code(&self) -> Option<u64> {
        self.answer["code"].as_u64()
    }

    /// After Maelstrom's table of errors.
    pub fn certainly_did_not_happen(&self) -> bool {
        self.code().is_some_and(|code| code != 0 && code != 13)
    }
}

#[derive(Debug)]
enum Event {
    Deliver(String),
    Wake(usize),
    Ask(usize),
    GiveUp(usize, u64),
    Nemesis,
}

struct Client {
    number: u64,
    /// Goes on asking when it has its answer.
    goes_on: bool,
    waiting: Option<Exchange>,
    last_msg_id: u64,
}

/// How a run goes wrong, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    pub length: Duration,
    pub clients: usize,
    /// Each message between nodes is lost with this chance.
    pub loss: Chance,
    pub partitions: bool,
    /// Latencies are exponential around this.
    pub mean_latency: Duration,
}

impl Default for Storm {
    fn default() -> Storm {
        let (length, mean_latency) = (Duration::from_secs(40), Duration::from_millis(10));
        Storm { length, clients: 10, loss: Chance::percent(1), partitions: true, mean_latency }
    }
}

pub struct Network {
    random: Random,
    storm: Storm,
    now: Time,
    events: BTreeMap<(Time, u64), Event>,
    last_event: u64,
    participants: Vec<Participant<Raft>>,
    /// The earliest wake-up under way of each node.
    wakes: Vec<Option<Time>>,
    clients: Vec<Client>,
    last_client: u64,
    parted: BTreeSet<(usize, usize)>,
    pub exchanges: Vec<Exchange>,
    pub remarks: Vec<String>,
    /// How many messages of each kind nodes sent to each other.
    pub kinds: BTreeMap<String, u64>,
    /// Answers that nobody had asked for, or no longer waited for.
    pub late_answers: u64,
}

pub fn name(node: usize) -> String {
    format!("n{}", node + 1)
}

fn place(name: &str, letter: char) -> Option<usize> {
    name.strip_prefix(letter)?.parse::<usize>().ok()?.checked_sub(1)
}

/// What a client asks next, given chance and how many it has asked.
type NextRequest<'a> = &'a mut dyn FnMut(&mut Random, u64) -> Value;

impl Network {
    pub fn new(seed: u64, storm: Storm) -> Network {
        // Half of the runs keep so little of the log that whoever was cut off needs a snapshot.
        let forgets = seed.is_multiple_of(2);
        let settings = || {
            let mut settings = raft_settings(Duration::from_millis(500));
            if forgets {
                settings.checkpoint.after_slots = 20;
                settings.protocol.compact_after_entries = 20;
                settings.protocol.compact_keep_entries = 0;
                settings.protocol.keep_log_entries = 20;
            }
            settings
        };
        let mut network = Network {
            random: Random::new(seed),
            storm,
            now: Time::ZERO,
            events: BTreeMap::new(),
            last_event: 0,
            participants: (0..NODES as u64).map(|node| Participant::new(settings(), seed * 100 + node)).collect(),
            wakes: vec![None; NODES],
            clients: Vec::new(),
            last_client: 0,
            parted: BTreeSet::new(),
            exchanges: Vec::new(),
            remarks: Vec::new(),
            kinds: BTreeMap::new(),
            late_answers: 0,
        };
        let names: Vec<String> = (0..NODES).map(name).collect();
        for node in &names {
            network.send(json!({ "src": "c0", "dest": node, "body":
                { "type": "init", "msg_id": 1, "node_id": node, "node_ids": names } }));
        }
        // Maelstrom's clients come when every node is ready.
        network.run(Duration::from_secs(1));
        network
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.last_event += 1;
        self.events.insert((self.now + after, self.last_event), event);
    }

    /// Exponential, so that one in a hundred takes nearly five times the mean and overtakes happen all the time.
    fn latency(&mut self) -> Duration {
        let uniform = (self.random.bits() >> 11) as f64 / (1u64 << 53) as f64;
        self.storm.mean_latency.mul_f64(-(1.0 - uniform).ln())
    }

    pub fn send(&mut self, envelope: Value) {
        let after = self.latency();
        self.schedule(after, Event::Deliver(envelope.to_string()));
    }

    fn part(&mut self, groups: &[&[usize]]) {
        self.parted.clear();
        let group_of = |node: usize| groups.iter().position(|group| group.contains(&node));
        for from in 0..NODES {
            for to in 0..NODES {
                if group_of(from) != group_of(to) {
                    self.parted.insert((from, to));
                }
            }
        }
    }

    pub fn cut_off(&mut self, nodes: &[usize]) {
        let others: Vec<usize> = (0..NODES).filter(|node| !nodes.contains(node)).collect();
        self.part(&[nodes, &others]);
    }

    pub fn heal(&mut self) {
        self.parted.clear();
    }

    fn nemesis(&mut self) {
        let mut nodes: Vec<usize> = (0..NODES).collect();
        self.random.shuffle(&mut nodes);
        match self.random.below(5) {
            0 => self.heal(),
            1 => self.part(&[&nodes[..1], &nodes[1..]]),
            2 => self.part(&[&nodes[..2], &nodes[2..]]),
            // Everybody sees a majority, and no two the same.
            3 => {
                self.parted.clear();
                for at in 0..NODES {
                    for distance in [2, 3] {
                        self.parted.insert((nodes[at], nodes[(at + distance) % NODES]));
                    }
                }
            }
            // One way only.
            _ => self.parted = nodes[1..].iter().map(|to| (nodes[0], *to)).collect(),
        }
        let after = self.random.duration(Duration::from_secs(1), Duration::from_secs(8));
        self.schedule(after, Event::Nemesis);
    }

    /// Lets clients ask what `next` says, under faults; then heals.
    pub fn storm(&mut self, mut next: impl FnMut(&mut Random, u64) -> Value) {
        let end = self.now + self.storm.length;
        for _ in 0..self.storm.clients {
            let client = self.new_client(true);
            self.schedule(Duration::from_millis(50), Event::Ask(client));
        }
        if self.storm.partitions {
            self.schedule(Duration::from_secs(3), Event::Nemesis);
        }
        while self.now < end && self.step(&mut Some(&mut next)) {}
        self.events.retain(|_, event| !matches!(event, Event::Nemesis));
        self.heal();
        self.storm.loss = Chance::NEVER;
        self.run(Duration::from_secs(10));
        assert!(self.clients.iter().all(|client| client.waiting.is_none()));
    }

    /// Lets time pass.
    pub fn run(&mut self, length: Duration) {
        let end = self.now + length;
        while self.events.keys().next().is_some_and(|(at, _)| *at <= end) && self.step(&mut None) {}
        self.now = end;
    }

    /// Asks every node the same and waits for the answers.
    pub fn ask_all(&mut self, body: &Value) -> Vec<Exchange> {
        (0..NODES).map(|node| self.ask_and_wait(node, body)).collect()
    }

    pub fn ask_and_wait(&mut self, node: usize, body: &Value) -> Exchange {
        let client = self.new_client(false);
        self.ask(client, node, body.clone());
        let already = self.exchanges.len();
        while self.exchanges.len() == already {
            assert!(self.step(&mut None));
        }
        self.exchanges.pop().expect("an exchange ended just now")
    }

    fn new_client(&mut self, goes_on: bool) -> usize {
        self.last_client += 1;
        self.clients.push(Client { number: self.last_client, goes_on, waiting: None, last_msg_id: 0 });
        self.clients.len() - 1
    }

    fn ask(&mut self, client: usize, node: usize, request: Value) {
        let asked_at = self.now;
        let asking = &mut self.clients[client];
        asking.last_msg_id += 1;
        let (number, msg_id) = (asking.number, asking.last_msg_id);
        let exchange = Exchange {
            client: number,
            node: name(node),
            asked_at,
            answered_at: None,
            request: request.clone(),
            answer: Value::Null,
        };
        asking.waiting = Some(exchange);
        let mut body = request;
        body["msg_id"] = json!(msg_id);
        self.send(json!({ "src": format!("c{}", client + 1), "dest": name(node), "body": body }));
        self.schedule(CLIENT_PATIENCE, Event::GiveUp(client, msg_id));
    }

    /// Does the next thing. Says whether there was one.
    fn step(&mut self, next: &mut Option<NextRequest>) -> bool {
        let Some(((at, _), event)) = self.events.pop_first() else { return false };
        self.now = at;
        match event {
            Event::Nemesis => self.nemesis(),
            Event::Deliver(line) => self.deliver(&line),
            Event::Wake(node) => {
                if self.wakes[node].is_some_and(|wake| wake <= at) {
                    self.wakes[node] = None;
                    self.settle(node);
                }
            }
            Event::Ask(client) => {
                if let Some(next) = next {
                    let node = self.random.below(NODES as u64) as usize;
                    let request = next(&mut self.random, self.clients[client].number);
                    self.ask(client, node, request);
                }
            }
            Event::GiveUp(client, msg_id) => {
                let waiting = &self.clients[client];
                if waiting.last_msg_id == msg_id && waiting.waiting.is_some() {
                    self.complete(client, None, Value::Null);
                }
            }
        }
        true
    }

    fn complete(&mut self, client: usize, answered_at: Option<Time>, answer: Value) {
        let Some(exchange) = self.clients[client].waiting.take() else { return };
        let exchange = Exchange { answered_at, answer, ..exchange };
        if !exchange.is_ok() && !exchange.certainly_did_not_happen() {
            self.last_client += 1;
            self.clients[client].number = self.last_client;
        }
        self.exchanges.push(exchange);
        if self.clients[client].goes_on {
            let pause = self.random.duration(Duration::ZERO, Duration::from_millis(150));
            self.schedule(pause, Event::Ask(client));
        }
    }

    fn deliver(&mut self, line: &str) {
        let envelope: Value = serde_json::from_str(line).expect("lines are JSON");
        let (src, dest) = (envelope["src"].as_str().expect("a name"), envelope["dest"].as_str().expect("a name"));
        if let Some(client) = place(dest, 'c') {
            let body = envelope["body"].clone();
            let waits = body["in_reply_to"] == json!(self.clients[client].last_msg_id);
            match waits && self.clients[client].waiting.is_some() {
                true => self.complete(client, Some(self.now), body),
                false => self.late_answers += 1,
            }
            return;
        }
        // The test's own voice hears nothing but that the nodes are ready.
        let Some(node) = place(dest, 'n') else {
            assert_eq!(envelope["body"]["type"], "init_ok", "{line}");
            return;
        };
        if let Some(from) = place(src, 'n')
            && (self.parted.contains(&(from, node)) || self.random.happens(self.storm.loss))
        {
            return;
        }
        self.participants[node].receive(self.now, line);
        self.settle(node);
    }

    fn settle(&mut self, node: usize) {
        self.participants[node].settle(self.now);
        assert_eq!(self.participants[node].stopped(), None);
        for word in self.participants[node].take_words() {
            match word {
                Word::Line(line) => {
                    assert!(!line.contains('\n'));
                    let envelope: Value = serde_json::from_str(&line).expect("a line is JSON");
                    if let Some(kind) = envelope["body"]["kind"].as_str() {
                        *self.kinds.entry(kind.to_owned()).or_default() += 1;
                    }
                    self.send(envelope);
                }
                Word::Remark(remark) => self.remarks.push(remark),
            }
        }
        if let Some(deadline) = self.participants[node].deadline()
            && self.wakes[node].is_none_or(|wake| deadline < wake)
        {
            self.wakes[node] = Some(deadline);
            self.schedule(deadline.since(self.now), Event::Wake(node));
        }
    }
}

/// How many were answered well.
pub fn answered(exchanges: &[Exchange]) -> usize {
    exchanges.iter().filter(|exchange| exchange.is_ok()).count()
}
