//! A testbed of Zab nodes with the words that tests and golden traces are written in.
#![allow(dead_code, reason = "each test binary uses its own part")]

use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Decision, Footprint, Input, ReadToken, Replica, Verdict};
use quorate_succession::{Body, Message as Outer};
use quorate_types::{Incarnation, Member, MemberRole, Membership, NodeId, Slot};
use quorate_zab::{
    Broadcast, Config, FollowerWord, LeaderWord, Mark, Message, Payload, Standing, Timer, Vote, Zab, Zxid,
};

/// The cluster.
pub struct Cluster {
    /// The nodes.
    pub bed: Testbed<Zab>,
}

/// A zxid.
pub fn zxid(epoch: u32, counter: u32) -> Zxid {
    Zxid { epoch, counter }
}

/// A place in the history.
pub fn mark(slot: u64, epoch: u32, counter: u32) -> Mark {
    Mark { slot: Slot(slot), zxid: zxid(epoch, counter) }
}

/// A vote.
pub fn vote(current_epoch: u32, last: Zxid, candidate: u64) -> Vote {
    Vote { current_epoch, last, candidate: NodeId(candidate) }
}

/// What a looking node says.
pub fn looks(vote: Vote, round: u64) -> Message {
    Message::Notification { vote: Some(vote), round, standing: Standing::Looking }
}

/// Three voters and one more member.
pub fn three_and(id: u64, role: MemberRole) -> Membership {
    let voters = Membership::of_voters(3);
    Membership::new(voters.members().iter().cloned().chain([Member { role, ..Member::voter(NodeId(id)) }]))
}

impl Cluster {
    /// Voters 1 to `count`, just opened, with everything written. They look for a leader, and nobody has heard of it.
    pub fn of(count: u64) -> Cluster {
        Cluster::with(Membership::of_voters(count), Config::default())
    }

    /// These members.
    pub fn with(members: Membership, config: Config) -> Cluster {
        let mut cluster = Cluster { bed: Testbed::with_members(members, config) };
        cluster.complete_all();
        cluster.lose_all();
        cluster
    }

    /// These members, among whom snapshots take their time.
    pub fn with_slow_snapshots(members: Membership, config: Config) -> Cluster {
        let mut cluster = Cluster { bed: Testbed::with_members(members, config).with_slow_snapshots() };
        cluster.complete_all();
        cluster.lose_all();
        cluster
    }

    /// The last node leads epoch 1, established with all, and nothing is in flight.
    pub fn led(count: u64) -> Cluster {
        let mut cluster = Cluster::of(count);
        let others: Vec<u64> = (1..count).collect();
        cluster.establish(count, &others);
        cluster
    }

    /// The whole node.
    pub fn whole(&self, id: u64) -> &Zab {
        self.bed.replica(NodeId(id))
    }

    /// The replica of its present configuration.
    pub fn node(&self, id: u64) -> &Broadcast {
        self.whole(id).inside().expect("it is a member")
    }

    /// Accepted and current epoch.
    pub fn epochs(&self, id: u64) -> (u32, u32) {
        (self.node(id).accepted_epoch(), self.node(id).current_epoch())
    }

    /// What it calls its phase.
    pub fn phase(&self, id: u64) -> String {
        let particulars = self.node(id).particulars();
        particulars.into_iter().find(|(name, _)| *name == "phase").expect("it has one").1
    }

    /// Its history in words.
    pub fn history(&self, id: u64) -> Vec<String> {
        let word = |payload: &Payload| words(&payload.decision());
        self.node(id).log().from(Slot(1)).map(|(_, txn)| word(&txn.payload)).collect()
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

    /// Hands a message of the sender's configuration to `to` as if `from` had sent it.
    pub fn say(&mut self, from: u64, to: u64, message: Message) {
        let message = Outer { configuration: self.whole(from).configuration(), body: Body::Within(message) };
        self.bed.input(NodeId(to), Input::Receive { from: NodeId(from), message });
    }

    /// What `from` has in flight to `to`, by kind.
    pub fn in_flight(&self, kind: &str, from: u64, to: u64) -> Option<usize> {
        self.bed.flights().iter().position(|flight| {
            (flight.from, flight.to) == (NodeId(from), NodeId(to)) && Zab::kind(&flight.message) == kind
        })
    }

    fn index(&self, kind: &str, from: u64, to: u64) -> usize {
        self.in_flight(kind, from, to).unwrap_or_else(|| panic!("a {kind} is in flight from {from} to {to}"))
    }

    /// The kinds of all that `from` has in flight to `to`, oldest first.
    pub fn kinds(&self, from: u64, to: u64) -> Vec<&'static str> {
        let flights = self.bed.flights().iter();
        let between = flights.filter(|flight| (flight.from, flight.to) == (NodeId(from), NodeId(to)));
        between.map(|flight| Zab::kind(&flight.message)).collect()
    }

    /// The message of this kind in flight.
    pub fn sent(&self, kind: &str, from: u64, to: u64) -> &Message {
        match &self.bed.flights()[self.index(kind, from, to)].message.body {
            Body::Within(message) => message,
            other => panic!("{other:?} is no message of a configuration"),
        }
    }

    /// The follower's word of this kind in flight.
    pub fn word_up(&self, kind: &str, from: u64, to: u64) -> &FollowerWord {
        match self.sent(kind, from, to) {
            Message::Up { word, .. } => word,
            other => panic!("{other:?} is of no connection"),
        }
    }

    /// The leader's word of this kind in flight.
    pub fn word_down(&self, kind: &str, from: u64, to: u64) -> &LeaderWord {
        match self.sent(kind, from, to) {
            Message::Down { word, .. } => word,
            other => panic!("{other:?} is of no connection"),
        }
    }

    /// Delivers the oldest message of this kind, and completes no write.
    pub fn hand_over(&mut self, kind: &str, from: u64, to: u64) {
        let index = self.index(kind, from, to);
        self.bed.deliver(index);
    }

    /// The same, and completes the receiver's writes.
    pub fn deliver(&mut self, kind: &str, from: u64, to: u64) {
        self.hand_over(kind, from, to);
        self.complete(to);
    }

    /// Delivers these in turn.
    pub fn deliver_all(&mut self, kinds: &[&str], from: u64, to: u64) {
        kinds.iter().for_each(|kind| self.deliver(kind, from, to));
    }

    /// Loses what is in flight.
    pub fn lose_all(&mut self) {
        self.bed.lose_where(|_| true);
    }

    /// Loses what is in flight to a node.
    pub fn lose_to(&mut self, to: u64) {
        self.bed.lose_where(|flight| flight.to == NodeId(to));
    }

    /// Delivers everything.
    pub fn run(&mut self) {
        self.bed.run(10_000, |_| true);
    }

    /// Delivers what goes among these, and loses the rest.
    pub fn run_among(&mut self, ids: &[u64]) {
        self.bed.run(10_000, |flight| ids.contains(&flight.from.0) && ids.contains(&flight.to.0));
        self.lose_all();
    }

    /// A node gives up what it does and looks for a leader, if it does not yet.
    pub fn look(&mut self, id: u64) {
        // A leader that was heard since it last looked gets a second chance.
        for _ in 0..2 {
            self.bed.expire(NodeId(id), Timer::Limit);
        }
    }

    /// Phase 0 among these, all of whom look: `leader` is elected, and the others have sent CEPOCH.
    pub fn elect(&mut self, leader: u64, others: &[u64]) {
        let among: Vec<u64> = others.iter().copied().chain([leader]).collect();
        for id in &among {
            self.look(*id);
        }
        self.lose_all();
        for id in &among {
            self.expire(*id, Timer::Notify);
        }
        let ids = |flight: &quorate_protocol::testbed::Flight<Zab>| {
            let inside = among.contains(&flight.from.0) && among.contains(&flight.to.0);
            inside && Zab::kind(&flight.message) == "notification"
        };
        self.bed.run(1_000, ids);
        self.lose_all();
        for id in [leader].iter().chain(others) {
            self.bed.expire(NodeId(*id), Timer::Finalize);
        }
        self.lose_all();
        assert_eq!(self.phase(leader), "discovery", "{leader} is elected");
        for other in others {
            assert_eq!(self.node(*other).status().leader, Some(NodeId(leader)));
            self.expire(*other, Timer::Tick);
        }
    }

    /// Phases 0 to 2 among these: `leader` has an established epoch, and nothing is in flight.
    pub fn establish(&mut self, leader: u64, others: &[u64]) {
        self.elect(leader, others);
        let among: Vec<u64> = others.iter().copied().chain([leader]).collect();
        self.run_among(&among);
        assert!(self.node(leader).is_established(), "{leader} has an established epoch");
    }

    /// Discovery with one follower is over, and the leader has begun to synchronise it: what it said is in flight.
    pub fn discover(&mut self, leader: u64, follower: u64) {
        if self.in_flight("cepoch", follower, leader).is_none() {
            self.expire(follower, Timer::Tick);
        }
        self.deliver("cepoch", follower, leader);
        self.complete(leader);
        self.deliver("new-epoch", leader, follower);
        self.deliver("ack-epoch", follower, leader);
        self.complete(leader);
    }

    /// A node joins the leader that these already follow.
    pub fn join(&mut self, id: u64, leader: u64, others: &[u64]) {
        self.look(id);
        self.lose_all();
        self.expire(id, Timer::Notify);
        let asked: Vec<u64> = others.iter().copied().chain([leader]).collect();
        for other in &asked {
            self.deliver("notification", id, *other);
            self.deliver("notification", *other, id);
        }
        assert_eq!(self.node(id).status().leader, Some(NodeId(leader)));
    }

    /// Timers of elections and pings fire everywhere and everything gets through, so many times.
    pub fn go_on(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for id in self.bed.ids().collect::<Vec<_>>() {
                for timer in [Timer::Notify, Timer::Finalize, Timer::Tick] {
                    self.bed.expire(id, timer);
                    self.run();
                }
            }
        }
    }

    /// Proposes.
    pub fn propose(&mut self, id: u64, words: &str) {
        self.bed.propose(NodeId(id), 1, words.to_owned());
    }

    /// A read comes to a node.
    pub fn read(&mut self, id: u64, number: u64) -> ReadToken {
        let token = ReadToken { node: NodeId(id), incarnation: Incarnation(1), number };
        self.bed.input(NodeId(id), Input::Read { token, footprint: Footprint::Everything });
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

    /// Nothing promised was broken.
    pub fn holds(&self) {
        assert_eq!(self.bed.violation(), None);
    }
}

/// A decision in words.
pub fn words(decision: &Decision) -> String {
    match decision {
        Decision::Commands(commands) => String::from_utf8_lossy(commands).into_owned(),
        Decision::Nothing => "nothing".to_owned(),
        Decision::Members(members) => {
            let ids: Vec<String> = members.members().iter().map(|member| member.id.to_string()).collect();
            format!("stop: {}", ids.join(" "))
        }
    }
}
