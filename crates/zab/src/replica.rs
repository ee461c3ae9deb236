//! The replica of one configuration: its state, and a `step` that only dispatches.

use crate::config::Config;
use crate::election::Election;
use crate::following::{Following, Stage};
use crate::leading::{LeaderStage, Leadership};
use crate::log::Log;
use crate::message::Message;
use crate::record::{Anchor, Record};
use crate::rules;
use quorate_protocol::{
    AskedReads, Durable, Env, Event, Input, LedReads, LinkState, OpenError, Outbox, Pending, Refusal, Refused, Replica,
    Role, Setup, SnapshotId, Status, Violation,
};
use quorate_types::{Membership, NodeId, Slot};
use std::collections::BTreeMap;

/// Names of timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Phase 0: nobody answered for a while, the vote is told again.
    Notify,
    /// Phase 0: no better vote came while the wait lasted.
    Finalize,
    /// A leader's ping is due; a follower asks again for what was not answered.
    Tick,
    /// `initLimit` or `syncLimit` is over.
    Limit,
    /// Reads forwarded to the leader are asked again.
    ReadRetry,
    /// Belongs to the succession of configurations.
    Succession,
}

/// What a write under way will prove.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Claim {
    /// The epoch is promised.
    Accepted(u32),
    /// The epoch's history is taken.
    Current(u32),
    /// The history is durable up to here. Falls when it is truncated before that.
    History(Slot),
    /// The record of a snapshot.
    Snapshot,
}

/// What it is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Position {
    /// Phase 0.
    Looking(Election),
    /// Phases 1 to 3 with a leader.
    Following(Box<Following>),
    /// Phases 1 to 3 as the leader.
    Leading(Box<Leadership>),
}

/// A snapshot on its way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Serving {
    Pinning,
    Sending {
        id: SnapshotId,
        through: Slot,
    },
    /// It failed; so many ticks until the next try.
    Paused(u32),
}

/// What `Lead` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ToldLead {
    pub(crate) era: u64,
    pub(crate) leader: Option<NodeId>,
    pub(crate) ready: bool,
    pub(crate) settled: bool,
}

/// One member of one configuration of a Zab cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Broadcast {
    pub(crate) me: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) config: Config,
    pub(crate) members: Membership,
    /// `acceptedEpoch`: no leader of an earlier one is followed. Never goes down.
    pub(crate) accepted_epoch: u32,
    /// `currentEpoch`: whose history was taken last. Never goes down; `current_epoch <= accepted_epoch`.
    pub(crate) current_epoch: u32,
    pub(crate) log: Log,
    /// The history is durable up to here.
    pub(crate) flushed: Slot,
    /// Known committed up to here, and in the history.
    pub(crate) committed: Slot,
    /// Handed to the machine up to here. `applied <= decided <= committed`.
    pub(crate) decided: Slot,
    pub(crate) applied: Slot,
    pub(crate) applied_durable: Slot,
    /// Every member has this much durably.
    pub(crate) everyone_has: Slot,
    /// The lowest slot that the records at hand say was ever given up: what was claimed of it once need not hold.
    pub(crate) given_up_from: Option<Slot>,
    /// The state machine does not have this snapshot yet: nothing is decided until it does.
    pub(crate) installing: Option<SnapshotId>,
    /// The stop-sign is decided.
    pub(crate) stopped: bool,
    /// Of elections.
    pub(crate) round: u64,
    /// How many connections it opened in this incarnation.
    pub(crate) connections: u64,
    pub(crate) position: Position,
    pub(crate) pending: Pending<Claim>,
    pub(crate) asked_reads: AskedReads,
    pub(crate) serving: BTreeMap<NodeId, Serving>,
    pub(crate) told_lead: Option<ToldLead>,
}

impl Replica for Broadcast {
    type Message = Message;
    type Record = Record;
    type Anchor = Anchor;
    type Timer = Timer;
    type Config = Config;

    const PROTOCOL: &'static str = "zab";

    const TIMERS: &'static [(&'static str, Timer)] = &[
        ("notify", Timer::Notify),
        ("finalize", Timer::Finalize),
        ("tick", Timer::Tick),
        ("limit", Timer::Limit),
        ("read-retry", Timer::ReadRetry),
        ("succession", Timer::Succession),
    ];

    fn open(
        setup: &Setup,
        config: &Config,
        found: Durable<Broadcast>,
        out: &mut Outbox<Broadcast>,
    ) -> Result<Broadcast, OpenError> {
        config.validate()?;
        crate::recovery::open(setup, config, found, out)
    }

    fn step(&mut self, _: &mut dyn Env, input: Input<Broadcast>, out: &mut Outbox<Broadcast>) {
        match input {
            Input::Receive { from, message } => self.receive(from, message, out),
            Input::Expired(timer) => self.expired(timer, out),
            Input::Persisted(ticket) => self.persisted(ticket),
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

    fn settle(&mut self, _: &mut dyn Env, out: &mut Outbox<Broadcast>) {
        self.propose_epoch(out);
        self.win_epoch(out);
        self.synchronise(out);
        self.establish(out);
        self.commit(out);
        self.decide(out);
        self.send_proposals(out);
        self.send_commits(out);
        self.serve_laggards(out);
        self.serve_reads(out);
        self.compact(out);
        self.log.commit_through(self.committed);
        self.hand_over(out);
        self.renew_epoch(out);
        self.tell_lead(out);
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
        vec![
            ("phase", self.phase().to_owned()),
            ("accepted epoch", self.accepted_epoch.to_string()),
            ("current epoch", self.current_epoch.to_string()),
            ("last zxid", format!("{:#x}", self.log.last().zxid.number())),
        ]
    }

    fn anchored(anchor: &Anchor) -> Slot {
        anchor.slot
    }

    fn kind(message: &Message) -> &'static str {
        message.kind()
    }

    fn era_at(&self, slot: Slot) -> Option<u64> {
        self.log.get(slot).map(|txn| u64::from(txn.zxid.epoch))
    }

    fn vouches(&self, _: NodeId, message: &Message) -> bool {
        self.stands_by(message)
    }
}

impl Broadcast {
    fn receive(&mut self, from: NodeId, message: Message, out: &mut Outbox<Broadcast>) {
        if from == self.me || !self.members.contains(from) {
            return drop_message(message.kind(), from, "it is from nobody else in this configuration", out);
        }
        match message {
            Message::Notification { vote, round, standing } => self.notified(from, vote, round, standing, out),
            Message::Up { connection, word } => self.hear_follower(from, connection, word, out),
            Message::Down { connection, sequence, word } => self.hear_leader(from, connection, sequence, word, out),
            Message::Closed { connection } => self.connection_closed(from, connection, out),
            Message::Committed { through } => self.learn_committed(through, out),
            Message::Confirm { connection, round } => self.confirm(from, connection, round, out),
            Message::ReadIndex { token } => self.read_asked(from, token, out),
            Message::ReadAnswer { token, slot } => self.read_answered(from, token, slot, out),
        }
    }

    fn expired(&mut self, timer: Timer, out: &mut Outbox<Broadcast>) {
        match timer {
            Timer::Notify => self.notify_again(out),
            Timer::Finalize => self.finalize(out),
            Timer::Tick => match &self.position {
                Position::Looking(_) => {}
                Position::Following(_) => self.ask_again(out),
                Position::Leading(_) => self.ping_due(out),
            },
            Timer::Limit => match &self.position {
                Position::Looking(_) => {}
                Position::Following(_) => self.look("its leader is silent", out),
                Position::Leading(_) => self.check_quorum(out),
            },
            Timer::ReadRetry => {
                self.retry_reads(out);
            }
            Timer::Succession => {}
        }
    }

    /// A refused connection to the leader: its process is gone, so there is no use in waiting long.
    fn link(&mut self, peer: NodeId, state: LinkState, out: &mut Outbox<Broadcast>) {
        if state == LinkState::Refused && matches!(&self.position, Position::Following(it) if it.leader == peer) {
            out.trace(|| Event::allowed(&rules::DEAD_LEADER).with("leader", peer));
            out.set_timer(Timer::Limit, self.config.tick, self.config.tick * 2);
        }
    }

    pub(crate) fn is_voter(&self) -> bool {
        self.members.is_voter(self.me)
    }

    /// Whether so many voters are a quorum.
    pub(crate) fn is_quorum(&self, count: usize) -> bool {
        count > self.members.voters().count() / 2
    }

    /// Whom it follows, or itself where it leads or is about to.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        match &self.position {
            Position::Looking(_) => None,
            Position::Following(following) => Some(following.leader),
            Position::Leading(_) => Some(self.me),
        }
    }

    /// Whom it knows to lead, itself included. Somebody elected may still fail to establish its epoch: that is a candidate.
    fn established_leader(&self) -> Option<NodeId> {
        match &self.position {
            Position::Looking(_) => None,
            Position::Following(following) => (following.stage == Stage::Broadcasting).then_some(following.leader),
            Position::Leading(_) => self.established().map(|_| self.me),
        }
    }

    /// The leadership of an established epoch.
    pub(crate) fn established(&self) -> Option<&Leadership> {
        match &self.position {
            Position::Leading(leadership) if leadership.stage == LeaderStage::Broadcasting => Some(leadership),
            _ => None,
        }
    }

    pub(crate) fn role(&self) -> Role {
        match &self.position {
            Position::Leading(_) if self.established().is_some() => Role::Leader,
            Position::Looking(_) | Position::Leading(_) if self.is_voter() => Role::Candidate,
            Position::Following(_) if self.is_voter() => Role::Follower,
            _ => Role::Learner,
        }
    }

    /// What it is doing, in the words of the papers.
    fn phase(&self) -> &'static str {
        match &self.position {
            Position::Looking(_) => "election",
            Position::Following(following) => following.stage.phase(),
            Position::Leading(leadership) => leadership.stage.phase(),
        }
    }

    pub(crate) fn tell_lead(&mut self, out: &mut Outbox<Broadcast>) {
        let (ready, settled) = match self.established() {
            Some(leadership) => {
                let is_open = leadership.stop_at.is_none() && leadership.handover.is_none();
                let may_propose = is_open && leadership.counter < self.config.counter_most;
                (may_propose, self.decided >= leadership.initial)
            }
            None => (false, false),
        };
        let told = ToldLead { era: u64::from(self.accepted_epoch), leader: self.established_leader(), ready, settled };
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
}

pub(crate) fn drop_message(kind: &'static str, from: NodeId, why: &'static str, out: &mut Outbox<Broadcast>) {
    out.trace(|| Event::refused(&rules::STALE).with("kind", kind).with("from", from).with("why", why));
}
