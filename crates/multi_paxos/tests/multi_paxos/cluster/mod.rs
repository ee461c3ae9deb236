//! A testbed of Multi-Paxos nodes with the words that tests and golden traces are written in.
#![allow(dead_code, reason = "each test binary uses its own part")]

use quorate_multi_paxos::{Ballot, Ballots, Config, Message, MultiPaxos, Payload, Timer};
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Decision, Input, ReadToken, Replica, Verdict};
use quorate_succession::{Body, Message as Outer};
use quorate_types::{Incarnation, Member, MemberRole, Membership, NodeId, Slot};

/// The cluster.
pub struct Cluster {
    /// The nodes.
    pub bed: Testbed<MultiPaxos>,
}

/// A ballot.
pub fn ballot(round: u64, node: u64) -> Ballot {
    Ballot { round, node: NodeId(node) }
}

/// These commands.
pub fn command(words: &str) -> Payload {
    Payload::Command(words.to_owned().into())
}

/// Three voters and one more member.
pub fn three_and(id: u64, role: MemberRole) -> Membership {
    let voters = Membership::of_voters(3);
    Membership::new(voters.members().iter().cloned().chain([Member { role, ..Member::voter(NodeId(id)) }]))
}

impl Cluster {
    /// Voters 1 to `count`, just opened, with everything written.
    pub fn of(count: u64) -> Cluster {
        Cluster::with(Membership::of_voters(count), Config::default())
    }

    /// These members.
    pub fn with(members: Membership, config: Config) -> Cluster {
        let mut cluster = Cluster { bed: Testbed::with_members(members, config) };
        cluster.complete_all();
        cluster
    }

    /// These members, among whom snapshots take their time.
    pub fn with_slow_snapshots(members: Membership, config: Config) -> Cluster {
        let mut cluster = Cluster { bed: Testbed::with_members(members, config).with_slow_snapshots() };
        cluster.complete_all();
        cluster
    }

    /// Node 1 leads in ballot (1, 1) on the promises of all, and nothing is in flight.
    pub fn led(count: u64) -> Cluster {
        let mut cluster = Cluster::of(count);
        cluster.elect(1, &(2..=count).collect::<Vec<_>>());
        cluster.run();
        cluster
    }

    /// The whole node.
    pub fn whole(&self, id: u64) -> &MultiPaxos {
        self.bed.replica(NodeId(id))
    }

    /// The replica of its present configuration.
    pub fn node(&self, id: u64) -> &Ballots {
        self.whole(id).inside().expect("it is a member")
    }

    /// Fires a timer, which must be armed.
    pub fn expire(&mut self, id: u64, timer: Timer) {
        assert!(self.bed.expire(NodeId(id), timer), "{timer:?} is armed at {id}");
    }

    /// Completes all writes of one node.
    pub fn complete(&mut self, id: u64) {
        while self.bed.node(NodeId(id)).outstanding() > 0 {
            self.bed.complete_writes(NodeId(id), usize::MAX);
        }
    }

    /// Completes all writes.
    pub fn complete_all(&mut self) {
        self.bed.ids().collect::<Vec<_>>().into_iter().for_each(|id| self.complete(id.0));
    }

    /// Hands a message of the first configuration to `to` as if `from` had sent it.
    pub fn say(&mut self, from: u64, to: u64, message: Message) {
        let message = Outer { configuration: self.whole(from).configuration(), body: Body::Within(message) };
        self.bed.input(NodeId(to), Input::Receive { from: NodeId(from), message });
    }

    /// What `from` has in flight to `to`, by kind.
    pub fn in_flight(&self, kind: &str, from: u64, to: u64) -> Option<usize> {
        self.bed.flights().iter().position(|flight| {
            (flight.from, flight.to) == (NodeId(from), NodeId(to)) && MultiPaxos::kind(&flight.message) == kind
        })
    }

    /// The message of this kind in flight.
    pub fn sent(&self, kind: &str, from: u64, to: u64) -> &Message {
        let index =
            self.in_flight(kind, from, to).unwrap_or_else(|| panic!("a {kind} is in flight from {from} to {to}"));
        match &self.bed.flights()[index].message.body {
            Body::Within(message) => message,
            other => panic!("{other:?} is no message of a configuration"),
        }
    }

    /// Takes the oldest message of this kind out of flight, to be handed in with others.
    pub fn take(&mut self, kind: &str, from: u64, to: u64) -> Input<MultiPaxos> {
        let index =
            self.in_flight(kind, from, to).unwrap_or_else(|| panic!("a {kind} is in flight from {from} to {to}"));
        let message = self.bed.flights()[index].message.clone();
        self.bed.lose(index);
        Input::Receive { from: NodeId(from), message }
    }

    /// Delivers the oldest message of this kind, and completes no write.
    pub fn hand_over(&mut self, kind: &str, from: u64, to: u64) {
        let index =
            self.in_flight(kind, from, to).unwrap_or_else(|| panic!("a {kind} is in flight from {from} to {to}"));
        self.bed.deliver(index);
    }

    /// The same, and completes the receiver's writes.
    pub fn deliver(&mut self, kind: &str, from: u64, to: u64) {
        self.hand_over(kind, from, to);
        self.complete(to);
    }

    /// Loses what is in flight.
    pub fn lose_all(&mut self) {
        self.bed.lose_where(|_| true);
    }

    /// Loses what is in flight to a node.
    pub fn lose_where_to(&mut self, to: u64) {
        self.bed.lose_where(|flight| flight.to == NodeId(to));
    }

    /// Delivers everything.
    pub fn run(&mut self) {
        self.bed.run(10_000, |_| true);
    }

    /// Delivers what goes among these.
    pub fn run_among(&mut self, ids: &[u64]) {
        self.bed.run(10_000, |flight| ids.contains(&flight.from.0) && ids.contains(&flight.to.0));
        self.lose_all();
    }

    /// `id` stands, and gets the promises of these; nothing it sends as leader is delivered yet.
    pub fn elect(&mut self, id: u64, voters: &[u64]) {
        self.expire(id, Timer::Election);
        self.complete(id);
        for voter in voters {
            self.deliver("prepare", id, *voter);
            self.deliver("promise", *voter, id);
        }
    }

    /// Proposes.
    pub fn propose(&mut self, id: u64, words: &str) {
        self.bed.propose(NodeId(id), 1, words.to_owned());
    }

    /// A read comes to a node.
    pub fn read(&mut self, id: u64, number: u64) -> ReadToken {
        let token = ReadToken { node: NodeId(id), incarnation: Incarnation(1), number };
        let footprint = quorate_protocol::Footprint::Everything;
        self.bed.input(NodeId(id), Input::Read { token, footprint });
        token
    }

    /// What a node has decided, in words.
    pub fn decided(&self, id: u64) -> Vec<String> {
        self.bed.node(NodeId(id)).decided().values().map(words).collect()
    }

    /// Whether a rule said this at a node since its events were last taken.
    pub fn told(&self, id: u64, rule: &str, verdict: Verdict) -> bool {
        self.bed.node(NodeId(id)).events().iter().any(|event| event.rule.id == rule && event.verdict == verdict)
    }

    /// What is accepted in a slot.
    pub fn accepted(&self, id: u64, slot: u64) -> Option<(Ballot, Payload)> {
        self.node(id).log().get(Slot(slot)).map(|entry| (entry.ballot, entry.payload.clone()))
    }

    /// Nothing promised was broken.
    pub fn holds(&self) {
        assert_eq!(self.bed.violation(), None);
    }
}

/// A decision in words.
pub fn words(decision: &Decision) -> String {
    match decision {
        Decision::Commands(commands) => String::from_utf8_lossy(commands).into_owned(),
        Decision::Nothing => "no-op".to_owned(),
        Decision::Members(members) => {
            let ids: Vec<String> = members.members().iter().map(|member| member.id.to_string()).collect();
            format!("stop: {}", ids.join(" "))
        }
    }
}
