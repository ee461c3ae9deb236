//! A testbed of Viewstamped nodes with the words that tests are written in.
#![allow(dead_code, reason = "each test binary uses its own part")]

use bytes::Bytes;
use quorate_protocol::testbed::{Flight, Testbed};
use quorate_protocol::{Decision, Event, Input, ReadToken, Refusal, Refused, Replica, RequestId, Verdict};
use quorate_types::{Incarnation, Membership, NodeId, Slot};
use quorate_viewstamped::{Config, Configuration, Entries, Entry, Message, Record, Timer, View, Viewstamped};

/// More deliveries than any test needs.
pub const ENOUGH: usize = 10_000;

/// The cluster. Nodes are 1 to n; view `number` of the founding epoch is led by node `number % n + 1`.
pub struct Cluster {
    pub bed: Testbed<Viewstamped>,
}

impl Cluster {
    /// Voters 1 to `count`; node 1 leads view 0, and everybody has heard of it.
    pub fn of(count: u64) -> Cluster {
        Cluster::with(count, Config::default())
    }

    /// With other settings.
    pub fn with(count: u64, config: Config) -> Cluster {
        let mut cluster = Cluster { bed: Testbed::new(count, config) };
        cluster.run();
        cluster
    }

    pub fn node(&self, id: u64) -> &Viewstamped {
        self.bed.replica(NodeId(id))
    }

    /// Hands a message to `to` as if `from` had sent it.
    pub fn say(&mut self, from: u64, to: u64, message: Message) {
        self.bed.input(NodeId(to), Input::Receive { from: NodeId(from), message });
    }

    /// What `from` has in flight to `to`, by kind, oldest first.
    pub fn sent(&self, from: u64, to: u64) -> Vec<&'static str> {
        let between = |flight: &&Flight<Viewstamped>| flight.from == NodeId(from) && flight.to == NodeId(to);
        self.bed.flights().iter().filter(between).map(|flight| flight.message.kind()).collect()
    }

    /// The oldest message of this kind in flight from one to the other.
    pub fn message(&self, kind: &str, from: u64, to: u64) -> Message {
        self.bed.flights()[self.position(kind, from, to)].message.clone()
    }

    fn position(&self, kind: &str, from: u64, to: u64) -> usize {
        let wanted = |flight: &Flight<Viewstamped>| {
            flight.from == NodeId(from) && flight.to == NodeId(to) && flight.message.kind() == kind
        };
        let at = self.bed.flights().iter().position(wanted);
        at.unwrap_or_else(|| panic!("no {kind} from {from} to {to} in flight: {:?}", self.bed.flights()))
    }

    /// The oldest message of this kind arrives; what its receiver writes stays under way.
    pub fn deliver(&mut self, kind: &str, from: u64, to: u64) {
        let at = self.position(kind, from, to);
        self.bed.deliver(at);
    }

    /// A copy of it arrives.
    pub fn deliver_copy(&mut self, kind: &str, from: u64, to: u64) {
        let at = self.position(kind, from, to);
        self.bed.deliver_copy(at);
    }

    /// Everything in flight is lost.
    pub fn lose_all(&mut self) {
        self.bed.lose_where(|_| true);
    }

    /// Everything in flight to this node is lost.
    pub fn lose_to(&mut self, id: u64) {
        self.bed.lose_where(|flight| flight.to == NodeId(id));
    }

    /// Fires a timer, which must be armed.
    pub fn expire(&mut self, id: u64, timer: Timer) {
        assert!(self.bed.expire(NodeId(id), timer), "{timer:?} is armed at {id}");
    }

    /// Completes all writes of one node.
    pub fn complete(&mut self, id: u64) {
        self.bed.complete_writes(NodeId(id), usize::MAX);
    }

    /// Completes writes and delivers everything until nothing is left.
    pub fn run(&mut self) {
        self.bed.run(ENOUGH, |_| true);
    }

    /// Completes writes and delivers what is sent among these nodes; the rest is lost.
    pub fn run_only(&mut self, ids: &[u64]) {
        self.bed.run(ENOUGH, |flight| ids.contains(&flight.from.0) && ids.contains(&flight.to.0));
        self.lose_all();
    }

    /// `id` hears nothing of its primary; what follows among these nodes happens, the rest is lost.
    pub fn change_view(&mut self, id: u64, among: &[u64]) {
        self.expire(id, Timer::Primary);
        self.run_only(among);
    }

    /// Crashes a node; nothing that is on its way to disk or to it survives.
    pub fn crash(&mut self, id: u64) {
        self.bed.crash(NodeId(id), 0);
        self.lose_to(id);
    }

    pub fn restart(&mut self, id: u64) {
        self.bed.restart(NodeId(id));
    }

    pub fn propose(&mut self, id: u64, commands: &'static str) {
        self.bed.propose(NodeId(id), 0, commands);
    }

    pub fn read(&mut self, id: u64, number: u64) -> ReadToken {
        let token = ReadToken { node: NodeId(id), incarnation: Incarnation(1), number };
        let footprint = quorate_protocol::Footprint::Everything;
        self.bed.input(NodeId(id), Input::Read { token, footprint });
        token
    }

    pub fn reconfigure(&mut self, id: u64, voters: &[u64]) {
        self.bed.reconfigure(NodeId(id), 9, voters_of(voters));
    }

    /// What a node refused so far.
    pub fn refused(&self, id: u64) -> Vec<Refusal> {
        let of = |(refused, why): &(Refused, Refusal)| match refused {
            Refused::Request(RequestId(_)) => Some(why.clone()),
            Refused::Read(_) => None,
        };
        self.bed.node(NodeId(id)).refusals().iter().filter_map(of).collect()
    }

    /// A node's log in letters; a reconfiguration is `|`.
    pub fn log(&self, id: u64) -> String {
        let text = |entry: &Entry| match entry {
            Entry::Commands(commands) => String::from_utf8_lossy(commands).into_owned(),
            Entry::Reconfiguration(_) => "|".to_owned(),
        };
        self.node(id).log().iter().map(text).collect()
    }

    /// What was decided anywhere, in letters.
    pub fn chosen(&self) -> String {
        let text = |decision: &Decision| match decision {
            Decision::Commands(commands) => String::from_utf8_lossy(commands).into_owned(),
            Decision::Members(_) => "|".to_owned(),
            Decision::Nothing => String::new(),
        };
        self.bed.chosen().values().map(text).collect()
    }

    /// How far a node decided.
    pub fn decided(&self, id: u64) -> u64 {
        self.bed.node(NodeId(id)).decided().keys().next_back().map_or(0, |slot| slot.0)
    }

    pub fn commit(&self, id: u64) -> u64 {
        self.node(id).commit().0
    }

    /// View and last normal view, in the founding epoch.
    pub fn views(&self, id: u64) -> (u64, u64) {
        (self.node(id).view().number, self.node(id).last_normal().number)
    }

    pub fn last_record(&self, id: u64) -> Record {
        self.bed.node(NodeId(id)).records().last().expect("it wrote something").clone()
    }

    /// Whether this rule gave this verdict at a node since the last question.
    pub fn saw(&mut self, id: u64, rule: &str, verdict: Verdict) -> bool {
        let events = self.bed.take_events(NodeId(id));
        events.iter().any(|event: &Event| event.rule.id == rule && event.verdict == verdict)
    }

    /// Nothing promised was broken.
    pub fn assert_sound(&self) {
        assert_eq!(self.bed.violation(), None);
        for id in self.bed.ids() {
            if let Some(replica) = self.bed.node(id).replica() {
                assert_eq!(replica.check_deep(), Ok(()));
            }
        }
    }
}

/// A view of the founding epoch.
pub fn view(number: u64) -> View {
    View { epoch: 1, number }
}

/// Commands of one letter each.
pub fn entries(letters: &str) -> Entries {
    letters.chars().map(entry).collect::<Vec<_>>().into()
}

pub fn entry(letter: char) -> Entry {
    Entry::Commands(Bytes::from(letter.to_string()))
}

pub fn voters_of(ids: &[u64]) -> Membership {
    Membership::new(ids.iter().map(|id| quorate_types::Member::voter(NodeId(*id))))
}

pub fn configuration(epoch: u64, ids: &[u64]) -> Configuration {
    Configuration { epoch, members: voters_of(ids) }
}

pub fn start_view_change(number: u64) -> Message {
    Message::StartViewChange { view: view(number), commit: Slot::ZERO }
}

/// An offer of a whole log.
pub fn offer(number: u64, last_normal: u64, letters: &str, commit: u64) -> Message {
    Message::DoViewChange {
        view: view(number),
        last_normal: view(last_normal),
        last: Slot(letters.len() as u64),
        commit: Slot(commit),
        first: Slot(1),
        entries: entries(letters),
    }
}

pub fn start_view(number: u64, letters: &str, commit: u64) -> Message {
    Message::StartView { view: view(number), commit: Slot(commit), first: Slot(1), entries: entries(letters) }
}

pub fn prepare(number: u64, first: u64, letters: &str, commit: u64) -> Message {
    Message::Prepare {
        view: view(number),
        first: Slot(first),
        entries: entries(letters),
        commit: Slot(commit),
        everyone_has: Slot::ZERO,
        round: 0,
    }
}

/// The whole log of a view, or with `last` beyond the letters a part of it.
pub fn new_state(number: u64, asked: u64, letters: &str, last: u64) -> Message {
    Message::NewState {
        view: view(number),
        asked: view(asked),
        commit: Slot::ZERO,
        first: Slot(1),
        entries: entries(letters),
        last: Slot(last),
    }
}
