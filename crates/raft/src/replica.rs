//! The replica: its state, and a `step` that only dispatches.

use crate::config::Config;
use crate::durability::DiskMarks;
use crate::election::Position;
use crate::entry::Configuration;
use crate::following::Following;
use crate::log::{Configurations, Log};
use crate::message::{Append, Message, ReadAnswer};
use crate::priority::Priorities;
use crate::progress::Progress;
use crate::record::{Anchor, Record};
use crate::{rules, status};
use quorate_protocol::{
    AskedReads, Durable, Env, Event, Input, LedReads, LinkState, OpenError, Outbox, Replica, Role, Setup, SnapshotId,
    Status, Violation,
};
use quorate_types::{NodeId, Slot};
use quorate_wire::Agreement;
use std::collections::BTreeMap;
use std::time::Duration;

/// Names of timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// No leader was heard for T to 2T: time to campaign.
    Election,
    /// A leader's sign of life is due.
    Heartbeat,
    /// T is over since a leader was heard: candidates are listened to again.
    Stickiness,
    /// T is over since a leader last counted who answered.
    CheckQuorum,
    /// Reads forwarded to the leader are asked again.
    ReadRetry,
    /// The one that leadership is handed over to did not take over for T.
    Transfer,
    /// Writes of a leader are under way and none completed for long.
    Disk,
    /// A preferred leader's priority is told again.
    Priority,
}

impl Timer {
    fn name(self) -> &'static str {
        Raft::TIMERS.iter().find(|(_, timer)| *timer == self).map_or("unknown", |(name, _)| name)
    }
}

/// What `Lead` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ToldLead {
    pub(crate) term: u64,
    pub(crate) leader: Option<NodeId>,
    pub(crate) ready: bool,
    pub(crate) settled: bool,
}

/// One member of a Raft cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    pub(crate) me: NodeId,
    pub(crate) config: Config,
    /// The latest term seen. Never goes down.
    pub(crate) term: u64,
    /// Whom this node voted for in `term`. Once set it stays until the term rises.
    pub(crate) voted_for: Option<NodeId>,
    pub(crate) log: Log,
    pub(crate) configurations: Configurations,
    /// What of all this is on disk, or on its way there.
    pub(crate) disk: DiskMarks,
    /// Known decided up to here. `applied <= decided <= commit <= log.last()`; `log.base() <= applied` but for `installing`.
    pub(crate) commit: Slot,
    /// Handed to the machine up to here. Never past what is durable here.
    pub(crate) decided: Slot,
    pub(crate) applied: Slot,
    pub(crate) applied_durable: Slot,
    /// Every member has this much durably: said by the leader, or known as one.
    pub(crate) everyone_has: Slot,
    /// The log begins behind this snapshot and the state machine does not have it yet: nothing is decided until it does,
    /// and `decided < log.base()`.
    pub(crate) installing: Option<SnapshotId>,
    pub(crate) position: Position,
    /// Who leads `term`, if that is known.
    pub(crate) leader: Option<NodeId>,
    /// A leader of `term` was heard and the stickiness timer has not run out since; where leases are on, a leader of any term,
    /// or the node was just opened and does not know.
    pub(crate) sticky: bool,
    pub(crate) following: Following,
    pub(crate) asked_reads: AskedReads,
    /// Who should rather lead.
    pub(crate) priorities: Priorities,
    /// The last `Lead` told.
    pub(crate) told_lead: Option<ToldLead>,
    /// What a leadership that is over was sending, and goes on until the driver says that it ended: begun anew at every election it might
    /// never get there.
    pub(crate) still_sending: BTreeMap<NodeId, (SnapshotId, Slot)>,
    /// More than the members in force were last said to be reached.
    pub(crate) reaches_further: bool,
    /// A promise seen broken from outside, for the next check to report.
    pub(crate) broken: Option<Violation>,
}

impl Replica for Raft {
    type Message = Message;
    type Record = Record;
    type Anchor = Anchor;
    type Timer = Timer;
    type Config = Config;

    const PROTOCOL: &'static str = "raft";

    const TIMERS: &'static [(&'static str, Timer)] = &[
        ("election", Timer::Election),
        ("heartbeat", Timer::Heartbeat),
        ("stickiness", Timer::Stickiness),
        ("check-quorum", Timer::CheckQuorum),
        ("read-retry", Timer::ReadRetry),
        ("transfer", Timer::Transfer),
        ("disk", Timer::Disk),
        ("priority", Timer::Priority),
    ];

    fn open(setup: &Setup, config: &Config, found: Durable<Raft>, out: &mut Outbox<Raft>) -> Result<Raft, OpenError> {
        config.validate()?;
        crate::recovery::open(setup, config, found, out)
    }

    fn step(&mut self, _: &mut dyn Env, input: Input<Raft>, out: &mut Outbox<Raft>) {
        match input {
            Input::Receive { from, message } => self.receive(from, message, out),
            Input::Expired(timer) => self.expired(timer, out),
            Input::Persisted(ticket) => self.persisted(ticket, out),
            Input::Propose { request, batch } => self.propose(request, batch.commands, out),
            Input::Read { token, .. } => self.read(token, out),
            Input::Applied { through, durable, .. } => self.machine_applied(through, durable, out),
            Input::Link { peer, state } => self.link(peer, state, out),
            Input::Reconfigure { request, based_on, members } => self.reconfigure(request, &based_on, members, out),
            Input::Transfer { request, to } => self.transfer(request, to, out),
            Input::SnapshotPinned { id, to, through } => self.snapshot_pinned(id, to, through, out),
            Input::SnapshotSent { to, id, outcome } => self.snapshot_sent(id, to, outcome, out),
            Input::SnapshotArrived { id, anchor } => self.snapshot_arrived(id, anchor, out),
        }
    }

    fn settle(&mut self, env: &mut dyn Env, out: &mut Outbox<Raft>) {
        self.save_vote(out);
        let new = self.write_log(out);
        self.advance_commit(out);
        let new = self.advance_change(out).or(new);
        self.decide(out);
        self.settle_reads(env, out);
        self.ask_for_snapshots(out);
        self.replicate(new, out);
        self.note_round_sent(env);
        self.continue_transfer(out);
        self.end_change(out);
        self.answer_leader(out);
        self.watch_leader(out);
        self.compact(out);
        self.watch_disk(out);
        self.tell_lead(out);
    }

    fn check_invariants(&self) -> Result<(), Violation> {
        crate::invariants::check(self)
    }

    fn check_deep(&self) -> Result<(), Violation> {
        crate::invariants::check_deep(self)
    }

    fn particulars(&self) -> Vec<(&'static str, String)> {
        status::particulars_of(self)
    }

    fn agreements(config: &Config) -> Vec<Agreement> {
        config.agreements()
    }

    fn promises_last(config: &Config) -> Duration {
        config.lease_reads.map_or(Duration::ZERO, |_| config.election_timeout)
    }

    fn status(&self) -> Status {
        crate::status::of(self)
    }

    fn anchored(anchor: &Anchor) -> Slot {
        anchor.slot
    }

    fn kind(message: &Message) -> &'static str {
        message.kind()
    }

    fn era_at(&self, slot: Slot) -> Option<u64> {
        self.log.term_at(slot)
    }

    fn vouches(&self, to: NodeId, message: &Message) -> bool {
        crate::durability::vouches(self, to, message)
    }
}

impl Raft {
    /// The latest term seen.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Whom this node voted for in its term.
    #[must_use]
    pub fn voted_for(&self) -> Option<NodeId> {
        self.voted_for
    }

    /// The log in memory.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Known decided up to here.
    #[must_use]
    pub fn commit(&self) -> Slot {
        self.commit
    }

    /// The log is durable here up to this slot.
    #[must_use]
    pub fn durable(&self) -> Slot {
        self.disk.durable
    }

    /// Who must agree now.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        self.configurations.in_force()
    }

    /// The slot of the entry that brought it; 0 if the log does not have it.
    #[must_use]
    pub fn configured_at(&self) -> Slot {
        self.configurations.appended().last().map_or(Slot::ZERO, |(_, slot)| slot)
    }

    /// The configuration that was in force behind `slot`, or the earliest known, and every later one in the log.
    pub fn configurations_since(&self, slot: Slot) -> impl Iterator<Item = &Configuration> {
        let later = self.configurations.appended().filter(move |(_, at)| *at > slot);
        std::iter::once(self.configurations.at(slot)).chain(later.map(|(configuration, _)| configuration))
    }

    /// While this node leads: up to where it takes the log of each peer to be its own. For whoever can see both.
    pub fn matched(&self) -> impl Iterator<Item = (NodeId, Slot)> {
        self.progress().map(|(id, progress)| (id, progress.matched))
    }

    /// While this node leads: whose answers of this term it goes by.
    pub fn answered(&self) -> impl Iterator<Item = NodeId> {
        let has_answered = |progress: &Progress| progress.answered_round > 0 || progress.matched > Slot::ZERO;
        self.progress().filter(move |(_, progress)| has_answered(progress)).map(|(id, _)| id)
    }

    fn progress(&self) -> impl Iterator<Item = (NodeId, &Progress)> {
        let leadership = match &self.position {
            Position::Leader(leadership) => Some(leadership),
            _ => None,
        };
        leadership.into_iter().flat_map(|leadership| leadership.peers.iter().map(|(id, progress)| (*id, progress)))
    }

    /// Whether it leads its term.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        matches!(self.position, Position::Leader(_))
    }

    fn receive(&mut self, from: NodeId, message: Message, out: &mut Outbox<Raft>) {
        let kind = message.kind();
        if from == self.me {
            self.drop_stale(kind, from, "it claims to come from itself", out);
            return;
        }
        if message.term() > self.term && message.announces_term() {
            if let Message::RequestVote { term, transfer: false, .. } = message
                && self.ignores_candidates(from, term, out)
            {
                return;
            }
            self.adopt_term(message.term(), from, out);
        }
        match message {
            Message::PreVote { term, last_slot, last_term } => self.pre_vote(from, term, (last_term, last_slot), out),
            Message::RequestVote { term, last_slot, last_term, transfer } => {
                self.request_vote(from, term, (last_term, last_slot), transfer, out);
            }
            Message::VoteResponse { term, granted, pre } => self.vote_response(from, term, granted, pre, out),
            Message::Append(append) => self.append(from, append, out),
            Message::AppendResponse { term, outcome } => self.append_response(from, term, outcome, out),
            Message::ReadIndex { token, .. } => self.read_index(from, token, out),
            Message::ReadIndexResponse { token, answer, .. } => {
                let slot = match answer {
                    ReadAnswer::At(slot) => Some(slot),
                    ReadAnswer::NotLeading => None,
                };
                self.read_answered(from, token, slot, out);
            }
            Message::TimeoutNow { term, last_slot, last_term } => {
                self.asked_to_stand(from, term, (last_term, last_slot), out);
            }
            Message::Priority { term, priority } => self.priority_told(from, term, priority, out),
        }
    }

    fn expired(&mut self, timer: Timer, out: &mut Outbox<Raft>) {
        match timer {
            Timer::Election => self.election_expired(out),
            Timer::Heartbeat => self.heartbeat_expired(out),
            Timer::Stickiness => self.stickiness_expired(out),
            Timer::CheckQuorum => self.check_quorum(out),
            Timer::ReadRetry if self.retry_reads(out) => {}
            Timer::ReadRetry => self.drop_timer(timer, "no read waits", out),
            Timer::Transfer => self.transfer_expired(out),
            Timer::Disk => self.disk_expired(out),
            Timer::Priority => self.priority_expired(out),
        }
    }

    fn link(&mut self, peer: NodeId, state: LinkState, out: &mut Outbox<Raft>) {
        let effect = match (state, &mut self.position) {
            (LinkState::Up, Position::Leader(leadership)) => leadership.peers.get_mut(&peer).map(|progress| {
                progress.due = true;
                "sends a sign of life at once"
            }),
            (LinkState::Refused, Position::Leader(leadership)) => {
                leadership.attendance.doubt(peer).then_some("no longer counts on it in place of a witness")
            }
            (LinkState::Refused, Position::Follower) if self.leader == Some(peer) => {
                self.leader_is_gone(out);
                Some("will soon campaign: the process of its leader is gone")
            }
            _ => None,
        };
        out.trace(|| {
            let state = match state {
                LinkState::Up => "up",
                LinkState::Down => "down",
                LinkState::Refused => "refused",
            };
            let event = match effect {
                Some(effect) => Event::allowed(&rules::LINK).with("effect", effect),
                None => Event::refused(&rules::LINK),
            };
            event.with("peer", peer).with("state", state)
        });
    }

    /// Says who leads, when that changed. A leader takes proposals at once, before anything of its own term is
    /// committed: they wait behind its no-op; none while it hands over. Once that is decided, so is everything that any earlier leader committed.
    pub(crate) fn tell_lead(&mut self, out: &mut Outbox<Raft>) {
        let (term, leader) = (self.term, self.leader);
        let (ready, settled) = match &self.position {
            Position::Leader(leadership) => (!leadership.is_handing_over(), self.decided >= leadership.first_of_term),
            _ => (false, false),
        };
        let lead = ToldLead { term, leader, ready, settled };
        if self.told_lead != Some(lead) {
            self.told_lead = Some(lead);
            out.lead(term, leader, ready, settled);
        }
    }

    /// Reports a message that means nothing any more.
    pub(crate) fn drop_stale(&self, kind: &'static str, from: NodeId, why: &'static str, out: &mut Outbox<Raft>) {
        out.trace(|| Event::refused(&rules::STALE).with("kind", kind).with("from", from).with("why", why));
    }

    pub(crate) fn drop_timer(&self, timer: Timer, why: &'static str, out: &mut Outbox<Raft>) {
        out.trace(|| Event::refused(&rules::STALE_TIMER).with("timer", timer.name()).with("why", why));
    }

    /// The part this node plays, as others name it.
    pub(crate) fn role(&self) -> Role {
        let in_force = self.configurations.in_force();
        match self.position {
            Position::Leader(_) => Role::Leader,
            Position::PreCandidate(_) | Position::Candidate(_) => Role::Candidate,
            Position::Follower if in_force.contains(self.me) && self.is_witness() => Role::Witness,
            Position::Follower if in_force.is_voter(self.me) => Role::Follower,
            Position::Follower if in_force.contains(self.me) => Role::Learner,
            Position::Follower => Role::Outsider,
        }
    }

    fn append(&mut self, from: NodeId, append: Append, out: &mut Outbox<Raft>) {
        if append.term < self.term {
            self.answer_stale_leader(from, out);
        } else if self.recognise_leader(from, out) {
            self.take_append(from, append, out);
        }
    }
}

/// An entry's place and term in words.
pub(crate) fn log_end((term, slot): (u64, Slot)) -> String {
    match slot {
        Slot::ZERO => "the beginning".to_owned(),
        slot => format!("slot {slot} of term {term}"),
    }
}
