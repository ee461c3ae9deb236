//! The replica of one configuration: its state, and a `step` that only dispatches.

use crate::ballot::{Ballot, Payload};
use crate::config::Config;
use crate::leading::Leadership;
use crate::log::Log;
use crate::message::{Message, Reported};
use crate::record::{Anchor, Record};
use crate::rules;
use quorate_protocol::{
    AskedReads, Durable, Env, Event, Input, LedReads, LinkState, OpenError, Outbox, Pending, Refusal, Refused, Replica,
    Role, Setup, SnapshotId, Status, Violation,
};
use quorate_quorum::Flexible;
use quorate_types::{Membership, NodeId, Slot};
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
    /// T is over since a leader last counted who answered.
    CheckQuorum,
    /// Reads forwarded to the leader are asked again.
    ReadRetry,
    /// The one that leadership is handed over to does not lead T after that began.
    Transfer,
    /// T is over since a leader was answered that may rest a lease on that.
    Grant,
    /// Belongs to the succession of configurations.
    Succession,
}

/// What a write under way will prove.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Claim {
    Promised(Ballot),
    Accepted {
        ballot: Ballot,
        first: Slot,
        count: u64,
    },
    /// The record of a snapshot.
    Snapshot,
}

/// Phase 1 under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Candidacy {
    /// The first slot asked about.
    pub(crate) from: Slot,
    /// Who promised, and what it knew chosen.
    pub(crate) promised: BTreeMap<NodeId, Slot>,
    /// Of each slot, what was accepted in the highest ballot reported.
    pub(crate) found: BTreeMap<Slot, Reported>,
    /// Of whom the answers so far came in parts: from where on it was last asked, or would be.
    pub(crate) asked: BTreeMap<NodeId, Slot>,
}

/// What it is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Position {
    Follower,
    /// In the ballot it has promised, which is its own.
    Candidate(Candidacy),
    /// In the ballot it has promised, which is its own.
    Leader(Box<Leadership>),
}

/// A snapshot on its way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Serving {
    Pinning,
    Sending {
        id: SnapshotId,
        through: Slot,
    },
    /// It failed; so many heartbeats until the next try.
    Paused(u32),
}

/// Timers whose deadlines mean nothing until the next settle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct SetAnew {
    pub(crate) election: bool,
    pub(crate) grant: bool,
}

/// What `Lead` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ToldLead {
    pub(crate) era: u64,
    pub(crate) leader: Option<NodeId>,
    pub(crate) ready: bool,
    pub(crate) settled: bool,
}

/// One member of one configuration of a Multi-Paxos cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ballots {
    pub(crate) me: NodeId,
    pub(crate) config: Config,
    pub(crate) members: Membership,
    pub(crate) quorums: Flexible,
    /// Nothing is accepted below. Never goes down.
    pub(crate) promised: Ballot,
    /// The highest round heard of.
    pub(crate) seen_round: u64,
    pub(crate) log: Log,
    /// Known chosen up to here, and in the log or before it.
    pub(crate) chosen: Slot,
    /// A ballot in which the leader knew all of that chosen, if it came from a leader.
    pub(crate) chosen_in: Option<Ballot>,
    /// Everything behind `chosen` and up to here is accepted in `promised`.
    pub(crate) received: Slot,
    /// Up to here the same, durably.
    pub(crate) flushed: Slot,
    /// Handed to the machine up to here. `applied <= decided <= chosen`.
    pub(crate) decided: Slot,
    pub(crate) applied: Slot,
    pub(crate) applied_durable: Slot,
    /// Every member has this much durably.
    pub(crate) everyone_has: Slot,
    /// The state machine does not have this snapshot yet: nothing is decided until it does.
    pub(crate) installing: Option<SnapshotId>,
    /// The stop-sign is decided.
    pub(crate) stopped: bool,
    pub(crate) position: Position,
    /// Whose ballot `promised` is, if it was heard to lead.
    pub(crate) leader: Option<NodeId>,
    /// A leader was answered less than T ago that may rest a lease on that, or may have been. Only where leases are on.
    pub(crate) granted: bool,
    /// Of the leader it was granted to, that its process is gone: to be thought of when the grant is over.
    pub(crate) doubted: bool,
    /// Since the last settle these timers were set. A deadline that comes up in the same batch is of the time before: drivers hand in
    /// what came up while a batch was gathered, and set timers when it is settled.
    pub(crate) set_anew: SetAnew,
    pub(crate) pending: Pending<Claim>,
    pub(crate) asked_reads: AskedReads,
    pub(crate) serving: BTreeMap<NodeId, Serving>,
    pub(crate) told_lead: Option<ToldLead>,
}

impl Replica for Ballots {
    type Message = Message;
    type Record = Record;
    type Anchor = Anchor;
    type Timer = Timer;
    type Config = Config;

    const PROTOCOL: &'static str = "multi-paxos";

    const LATE_PROPOSALS: bool = true;

    const TIMERS: &'static [(&'static str, Timer)] = &[
        ("election", Timer::Election),
        ("heartbeat", Timer::Heartbeat),
        ("check-quorum", Timer::CheckQuorum),
        ("read-retry", Timer::ReadRetry),
        ("transfer", Timer::Transfer),
        ("grant", Timer::Grant),
        ("succession", Timer::Succession),
    ];

    fn open(
        setup: &Setup,
        config: &Config,
        found: Durable<Ballots>,
        out: &mut Outbox<Ballots>,
    ) -> Result<Ballots, OpenError> {
        config.validate()?;
        crate::recovery::open(setup, config, found, out)
    }

    fn step(&mut self, _: &mut dyn Env, input: Input<Ballots>, out: &mut Outbox<Ballots>) {
        match input {
            Input::Receive { from, message } => self.receive(from, message, out),
            Input::Expired(timer) => self.expired(timer, out),
            Input::Persisted(ticket) => self.persisted(ticket, out),
            Input::Propose { request, batch } => self.propose(request, batch.commands, out),
            Input::Read { token, .. } => self.read_wanted(token, out),
            Input::Applied { through, durable, .. } => self.machine_applied(through, durable, out),
            Input::Reconfigure { request, .. } => {
                out.refuse(Refused::Request(request), Refusal::Unsupported("its members are changed from outside"));
            }
            Input::Transfer { request, to } => self.transfer(request, to, out),
            Input::Link { peer, state } => self.link(peer, state, out),
            Input::SnapshotPinned { id, to, through } => self.snapshot_pinned(id, to, through, out),
            Input::SnapshotSent { to, id, outcome } => self.snapshot_sent(to, id, outcome, out),
            Input::SnapshotArrived { id, anchor } => self.snapshot_arrived(id, anchor, out),
        }
    }

    fn settle(&mut self, env: &mut dyn Env, out: &mut Outbox<Ballots>) {
        self.win_if_promised(out);
        self.choose(out);
        self.decide(out);
        self.send_accepts(out);
        self.continue_transfer(out);
        self.send_news(out);
        self.serve_laggards(out);
        self.settle_reads(env, out);
        self.compact(out);
        self.log.choose_through(self.chosen);
        self.note_round_sent(env);
        self.tell_lead(out);
        self.set_anew = SetAnew::default();
    }

    fn check_invariants(&self) -> Result<(), Violation> {
        self.check_cheap()
    }

    fn check_deep(&self) -> Result<(), Violation> {
        self.check_cheap()?;
        self.check_costly()
    }

    fn status(&self) -> Status {
        crate::status::of(self)
    }

    fn particulars(&self) -> Vec<(&'static str, String)> {
        crate::status::particulars(self)
    }

    fn agreements(config: &Config) -> Vec<Agreement> {
        config.agreements()
    }

    fn promises_last(config: &Config) -> Duration {
        config.lease_reads.map_or(Duration::ZERO, |_| config.election_timeout)
    }

    fn anchored(anchor: &Anchor) -> Slot {
        anchor.slot
    }

    fn kind(message: &Message) -> &'static str {
        message.kind()
    }

    fn vouches(&self, _: NodeId, message: &Message) -> bool {
        self.stands_by(message)
    }
}

impl Ballots {
    fn receive(&mut self, from: NodeId, message: Message, out: &mut Outbox<Ballots>) {
        if from == self.me || !self.members.contains(from) {
            return drop_message(&message, from, "it is from nobody else in this configuration", out);
        }
        match message {
            Message::Prepare { ballot, from: slot, asked_in } => self.prepare(from, ballot, slot, asked_in, out),
            Message::Promise { ballot, accepted, more, chosen, trim } => {
                self.promise(from, ballot, (accepted, more), (chosen, trim), out);
            }
            Message::Nack { refused, promised } => self.nack(refused, promised, out),
            Message::Accept { ballot, first, payloads, chosen, everyone } => {
                self.accept(from, ballot, (first, payloads), (chosen, everyone), out);
            }
            Message::Accepted { ballot, reach } => self.accepted(from, ballot, reach, out),
            Message::Heartbeat { ballot, round, chosen, everyone, sent } => {
                self.heartbeat(from, ballot, round, (chosen, everyone, sent), out);
            }
            Message::Alive { ballot, round, reach, lacks } => self.alive(from, ballot, round, reach, lacks, out),
            Message::Chosen { ballot, through } => self.learn(ballot, through, out),
            Message::NeedSnapshot => self.snapshot_needed(from, out),
            Message::ReadIndex { token } => self.read_asked(from, token, out),
            Message::ReadAnswer { token, slot } => self.read_answered(from, token, slot, out),
            Message::TakeOver { ballot } => self.take_over(from, ballot, out),
        }
    }

    fn expired(&mut self, timer: Timer, out: &mut Outbox<Ballots>) {
        match timer {
            Timer::Election => self.election_due(out),
            Timer::Heartbeat => self.heartbeat_due(out),
            Timer::CheckQuorum => self.check_quorum(out),
            Timer::ReadRetry => {
                self.retry_reads(out);
            }
            Timer::Transfer => self.transfer_failed(out),
            Timer::Grant => self.grant_expired(out),
            Timer::Succession => {}
        }
    }

    fn link(&mut self, peer: NodeId, state: LinkState, out: &mut Outbox<Ballots>) {
        if state == LinkState::Refused && self.leader == Some(peer) && matches!(self.position, Position::Follower) {
            self.leader_is_gone(peer, out);
        }
    }

    pub(crate) fn is_voter(&self) -> bool {
        self.members.is_voter(self.me)
    }

    /// So many confirmations meet every phase-1 quorum: no other leader got through its phase 1 before them.
    pub(crate) fn read_quorum(&self) -> usize {
        self.quorums.voters() - self.quorums.phase1() + 1
    }

    pub(crate) fn role(&self) -> Role {
        match &self.position {
            Position::Leader(_) => Role::Leader,
            Position::Candidate(_) => Role::Candidate,
            Position::Follower if self.is_voter() => Role::Follower,
            Position::Follower => Role::Learner,
        }
    }

    /// Ballots as numbers, in the same order.
    pub(crate) fn era(&self) -> u64 {
        let count = self.members.members().len() as u64;
        let place = self.members.members().iter().position(|member| member.id == self.promised.node).unwrap_or(0);
        self.promised.round.saturating_mul(count).saturating_add(place as u64)
    }

    pub(crate) fn tell_lead(&mut self, out: &mut Outbox<Ballots>) {
        let (ready, settled) = match &self.position {
            Position::Leader(leadership) => {
                let is_open = leadership.stop_at.is_none() && leadership.transfer.is_none();
                (is_open, self.decided >= leadership.inherited)
            }
            _ => (false, false),
        };
        let told = ToldLead { era: self.era(), leader: self.leader, ready, settled };
        if self.told_lead != Some(told) {
            self.told_lead = Some(told);
            if told.leader != Some(self.me) {
                // What is on its way goes on until the driver says that it ended, over candidacies too: begun anew at each of them it
                // might never get there.
                self.serving.retain(|_, serving| !matches!(serving, Serving::Paused(_)));
            }
            out.lead(told.era, told.leader, ready, settled);
        }
    }

    pub(crate) fn set_election_timer(&mut self, out: &mut Outbox<Ballots>) {
        self.set_anew.election = true;
        out.set_timer(Timer::Election, self.config.election_timeout, self.config.election_timeout * 2);
    }
}

pub(crate) fn drop_message(message: &Message, from: NodeId, why: &'static str, out: &mut Outbox<Ballots>) {
    out.trace(|| Event::refused(&rules::STALE).with("kind", message.kind()).with("from", from).with("why", why));
}

/// Whether it is the stop-sign.
pub(crate) fn is_stop(payload: &Payload) -> bool {
    matches!(payload, Payload::Stop(_))
}
