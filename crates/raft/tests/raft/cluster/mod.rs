//! A testbed of Raft nodes with the words that tests and golden traces are written in.
use bytes::Bytes;
use quorate_protocol::testbed::{Flight, Testbed};
use quorate_protocol::{Durable, Env, Input, Outbox, Output, ReadToken, Refusal, Refused, Replica, RequestId};
use quorate_protocol::{Setup, Start, Verdict};
use quorate_raft::{Append, AppendOutcome, Config, Entry, Message, Payload, Raft, Record, Timer};
use quorate_types::{ClusterId, DiskId, Incarnation, Membership, NodeId, Slot, Ticket, Time};

/// More deliveries than any test needs.
pub const ENOUGH: usize = 10_000;

/// The cluster.
pub struct Cluster {
    /// The nodes.
    pub bed: Testbed<Raft>,
}

/// What elections are made of.
fn is_vote(message: &Message) -> bool {
    matches!(message, Message::PreVote { .. } | Message::RequestVote { .. } | Message::VoteResponse { .. })
}

impl Cluster {
    /// Voters 1 to `count`, just opened.
    pub fn of(count: u64) -> Cluster {
        Cluster::with(count, Config::default())
    }

    /// With other settings.
    pub fn with(count: u64, config: Config) -> Cluster {
        let mut cluster = Cluster { bed: Testbed::new(count, config) };
        cluster.complete_all();
        cluster
    }

    /// Node 1 leads term 1, and everybody has its no-op and knows it committed.
    pub fn led(count: u64) -> Cluster {
        Cluster::led_with(count, Config::default())
    }

    /// With other settings.
    pub fn led_with(count: u64, config: Config) -> Cluster {
        let mut cluster = Cluster::with(count, config);
        let others: Vec<u64> = (2..=count).collect();
        cluster.elect(1, &others);
        cluster.run();
        cluster
    }

    /// A running replica.
    pub fn node(&self, id: u64) -> &Raft {
        self.bed.replica(NodeId(id))
    }

    /// Hands a message to `to` as if `from` had sent it.
    pub fn say(&mut self, from: u64, to: u64, message: Message) {
        self.bed.input(NodeId(to), Input::Receive { from: NodeId(from), message });
    }

    /// Takes everything that `from` has in flight.
    pub fn take_sent(&mut self, from: u64) -> Vec<(u64, Message)> {
        let mut sent = Vec::new();
        self.bed.lose_where(|flight| {
            let picked = flight.from == NodeId(from);
            if picked {
                sent.push((flight.to.0, flight.message.clone()));
            }
            picked
        });
        sent
    }

    /// Fires a timer, which must be armed.
    pub fn expire(&mut self, id: u64, timer: Timer) {
        assert!(self.bed.expire(NodeId(id), timer), "{timer:?} is armed at {id}");
    }

    /// Completes all writes of one node.
    pub fn complete(&mut self, id: u64) {
        self.bed.complete_writes(NodeId(id), usize::MAX);
    }

    /// Completes all writes of all nodes.
    pub fn complete_all(&mut self) {
        for id in self.bed.ids().collect::<Vec<_>>() {
            self.bed.complete_writes(id, usize::MAX);
        }
    }

    /// Completes writes and delivers everything until nothing is left.
    pub fn run(&mut self) {
        self.bed.run(ENOUGH, |_| true);
    }

    /// Completes writes and delivers what is sent among these nodes; the rest stays in flight.
    pub fn run_among(&mut self, ids: &[u64]) {
        self.bed.run(ENOUGH, |flight| among(ids, flight));
    }

    /// Completes writes and delivers what is sent among these nodes; the rest is lost.
    pub fn run_only(&mut self, ids: &[u64]) {
        self.run_among(ids);
        self.bed.lose_where(|_| true);
    }

    /// `id` campaigns with these voters, who have heard from no leader lately, and wins. Of what it sends as a leader
    /// nothing is delivered yet; the rest of the vote traffic is lost.
    pub fn elect(&mut self, id: u64, voters: &[u64]) {
        for bound in voters.iter().chain([&id]) {
            self.bed.expire(NodeId(*bound), Timer::Stickiness);
        }
        self.expire(id, Timer::Election);
        let ids: Vec<u64> = voters.iter().copied().chain([id]).collect();
        self.bed.run(ENOUGH, |flight| is_vote(&flight.message) && among(&ids, flight));
        self.bed.lose_where(|flight| is_vote(&flight.message));
        assert!(self.node(id).is_leader(), "{id} wins");
    }

    /// Crashes a node; nothing that is on its way to disk survives.
    pub fn crash(&mut self, id: u64) {
        self.bed.crash(NodeId(id), 0);
        self.bed.lose_where(|flight| flight.to == NodeId(id));
    }

    /// Opens a crashed node.
    pub fn restart(&mut self, id: u64) {
        self.bed.restart(NodeId(id));
    }

    /// Proposes at a node.
    pub fn propose(&mut self, id: u64, commands: &'static str) {
        self.bed.propose(NodeId(id), 0, commands);
    }

    /// Reads at a node.
    pub fn read(&mut self, id: u64, number: u64) -> ReadToken {
        let token = ReadToken { node: NodeId(id), incarnation: Incarnation(1), number };
        let footprint = quorate_protocol::Footprint::Everything;
        self.bed.input(NodeId(id), Input::Read { token, footprint });
        token
    }

    /// Asks a node to hand leadership over.
    pub fn transfer(&mut self, id: u64, request: u64, to: u64) {
        self.bed.input(NodeId(id), Input::Transfer { request: RequestId(request), to: NodeId(to) });
    }

    /// What a node refused so far, but for reads: request and reason.
    pub fn refused_requests(&self, id: u64) -> Vec<(u64, Refusal)> {
        let of = |(refused, why): &(Refused, Refusal)| match refused {
            Refused::Request(request) => Some((request.0, why.clone())),
            Refused::Read(_) => None,
        };
        self.bed.node(NodeId(id)).refusals().iter().filter_map(of).collect()
    }

    /// The terms in a node's log, from the first slot kept.
    pub fn terms(&self, id: u64) -> Vec<u64> {
        self.node(id).log().iter().map(|entry| entry.term).collect()
    }

    /// Term, vote, last slot, durable and committed.
    pub fn marks(&self, id: u64) -> (u64, Option<u64>, u64, u64, u64) {
        let node = self.node(id);
        let vote = node.voted_for().map(|vote| vote.0);
        (node.term(), vote, node.log().last().0, node.durable().0, node.commit().0)
    }

    /// Whether this rule gave this verdict at a node since the last question.
    pub fn saw(&mut self, id: u64, rule: &str, verdict: Verdict) -> bool {
        let events = self.bed.take_events(NodeId(id));
        events.iter().any(|event| event.rule.id == rule && event.verdict == verdict)
    }

    /// Nothing promised was broken.
    pub fn assert_sound(&self) {
        assert_eq!(self.bed.violation(), None);
    }
}

fn among(ids: &[u64], flight: &Flight<Raft>) -> bool {
    ids.contains(&flight.from.0) && ids.contains(&flight.to.0)
}

/// Entries of these terms without commands.
pub fn entries(terms: &[u64]) -> Vec<Entry> {
    terms.iter().map(|term| Entry { term: *term, payload: Payload::NoOp }).collect()
}

/// One entry with commands.
pub fn command(term: u64, commands: &'static str) -> Entry {
    Entry { term, payload: Payload::Command(Bytes::from_static(commands.as_bytes())) }
}

/// An append of entries of these terms behind (slot, term).
pub fn append(term: u64, (prev_slot, prev_term): (u64, u64), terms: &[u64], commit: u64) -> Message {
    append_round(term, (prev_slot, prev_term), terms, commit, 0)
}

/// The same in a round.
pub fn append_round(term: u64, (prev_slot, prev_term): (u64, u64), terms: &[u64], commit: u64, round: u64) -> Message {
    Message::Append(Append {
        term,
        prev_slot: Slot(prev_slot),
        prev_term,
        entries: entries(terms).into(),
        commit: Slot(commit),
        everyone_has: Slot::ZERO,
        round,
    })
}

/// A heartbeat of this round behind (slot, term).
pub fn heartbeat(term: u64, prev: (u64, u64), commit: u64, round: u64) -> Message {
    append_round(term, prev, &[], commit, round)
}

/// An acceptance.
pub fn accepted(term: u64, matched: u64, round: u64) -> Message {
    Message::AppendResponse { term, outcome: AppendOutcome::Accepted { matched: Slot(matched), round } }
}

/// A rejection with its hint (slot, term).
pub fn rejected(term: u64, prev_slot: u64, (hint_slot, hint_term): (u64, u64), round: u64) -> Message {
    let outcome = AppendOutcome::Rejected { prev_slot: Slot(prev_slot), hint_slot: Slot(hint_slot), hint_term, round };
    Message::AppendResponse { term, outcome }
}

/// "Vote for me", with a log that ends at (slot, term).
pub fn request_vote(term: u64, (last_slot, last_term): (u64, u64)) -> Message {
    Message::RequestVote { term, last_slot: Slot(last_slot), last_term, transfer: false }
}

/// "Vote for me: the leader wished it."
pub fn request_vote_by_transfer(term: u64, (last_slot, last_term): (u64, u64)) -> Message {
    Message::RequestVote { term, last_slot: Slot(last_slot), last_term, transfer: true }
}

/// "Stand now": the leader's log ends at (slot, term).
pub fn timeout_now(term: u64, (last_slot, last_term): (u64, u64)) -> Message {
    Message::TimeoutNow { term, last_slot: Slot(last_slot), last_term }
}

/// "Could I win?"
pub fn pre_vote(term: u64, (last_slot, last_term): (u64, u64)) -> Message {
    Message::PreVote { term, last_slot: Slot(last_slot), last_term }
}

/// A vote.
pub fn vote(term: u64, granted: bool) -> Message {
    Message::VoteResponse { term, granted, pre: false }
}

/// The answer to a pre-vote.
pub fn would_vote(term: u64, granted: bool) -> Message {
    Message::VoteResponse { term, granted, pre: true }
}

/// The entries of the appends among these messages, with the slot before them.
pub fn appends(sent: &[(u64, Message)]) -> Vec<(u64, u64, Vec<u64>)> {
    let of = |(to, message): &(u64, Message)| match message {
        Message::Append(append) => {
            Some((*to, append.prev_slot.0, append.entries.iter().map(|entry| entry.term).collect()))
        }
        _ => None,
    };
    sent.iter().filter_map(of).collect()
}

/// One replica alone with its outputs, for what a testbed does not show: timers' bounds, batches, tickets.
pub struct Lone {
    /// The replica.
    pub raft: Raft,
    outbox: Outbox<Raft>,
    opened: Vec<Output<Raft>>,
    config: Config,
    /// Everything ever asked of the disk.
    written: Vec<(Ticket, Record)>,
}

struct Still;

impl Env for Still {
    fn now(&self) -> Time {
        Time::ZERO
    }
    fn choose(&mut self, _: u64) -> u64 {
        0
    }
}

impl Lone {
    /// Node 1 of a founded cluster of `count`.
    pub fn of(count: u64, config: &Config) -> Lone {
        let setup = setup(1, Start::Found(Membership::of_voters(count)));
        let mut outbox = Outbox::new(Ticket::NONE, false);
        let raft = Raft::open(&setup, config, Durable::nothing(), &mut outbox).expect("a fresh node opens");
        let opened = outbox.take();
        let written = records_of(&opened);
        Lone { raft, outbox, opened, config: config.clone(), written }
    }

    /// What opening asked for.
    pub fn opened(&self) -> &[Output<Raft>] {
        &self.opened
    }

    /// Steps these inputs and settles once.
    pub fn batch(&mut self, inputs: Vec<Input<Raft>>) -> Vec<Output<Raft>> {
        for input in inputs {
            self.raft.step(&mut Still, input, &mut self.outbox);
        }
        self.raft.settle(&mut Still, &mut self.outbox);
        self.raft.check_deep().expect("the invariants hold");
        let outputs = self.outbox.take();
        self.written.extend(records_of(&outputs));
        outputs
    }

    /// What would open from everything written, with a store that has applied so much.
    pub fn reopen(&self, applied: Slot) -> Raft {
        let found = Durable { records: self.written.clone(), anchor: None, applied };
        let mut outbox = Outbox::new(self.outbox.last_ticket(), false);
        Raft::open(&setup(1, Start::Join), &self.config, found, &mut outbox).expect("undamaged records open")
    }

    /// Everything asked of the disk so far is durable.
    pub fn complete(&mut self) -> Vec<Output<Raft>> {
        let last = self.outbox.last_ticket();
        self.batch(vec![Input::Persisted(last)])
    }

    /// A message arrives.
    pub fn hear(&mut self, from: u64, message: Message) -> Vec<Output<Raft>> {
        self.batch(vec![Input::Receive { from: NodeId(from), message }])
    }

    /// Leads term 1 with the votes of a majority of `count`.
    pub fn leading(count: u64, config: &Config) -> Lone {
        let mut lone = Lone::of(count, config);
        lone.batch(vec![Input::Expired(Timer::Election)]);
        let majority = 2..=count / 2 + 1;
        majority.clone().for_each(|voter| drop(lone.hear(voter, would_vote(1, true))));
        lone.complete();
        majority.for_each(|voter| drop(lone.hear(voter, vote(1, true))));
        assert!(lone.raft.is_leader());
        lone
    }
}

fn records_of(outputs: &[Output<Raft>]) -> Vec<(Ticket, Record)> {
    let of = |output: &Output<Raft>| match output {
        Output::Persist { ticket, records } => records.iter().map(|record| (*ticket, record.clone())).collect(),
        _ => Vec::new(),
    };
    outputs.iter().flat_map(of).collect()
}

/// A node's setup.
pub fn setup(id: u64, start: Start) -> Setup {
    Setup { cluster: ClusterId(1), me: NodeId(id), disk: DiskId(id), incarnation: Incarnation(1), start }
}
