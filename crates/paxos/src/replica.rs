//! The replica: its state, and a `step` that only dispatches.

use crate::acceptor::Acceptor;
use crate::ballot::{Ballot, Proposal};
use crate::learner::Learner;
use crate::proposer::{Phase, Proposer};
use crate::{Config, Message, NoAnchor, Record, invariants, recovery, rules};
use bytes::Bytes;
use quorate_protocol::{
    Durable, Env, Event, Input, LinkState, OpenError, Outbox, PeerStatus, Pending, Refusal, Refused, Replica, Role,
    Setup, Status, Violation,
};
use quorate_quorum::Flexible;
use quorate_types::{Membership, NodeId, Slot, Ticket};
use std::hash::{Hash, Hasher};

/// Names of timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A refused or timed-out ballot has been backed off from: try a higher one.
    Retry,
    /// Requests of the current ballot may be lost: repeat them.
    Resend,
    /// The decision is not known here: ask around.
    Inquire,
}

/// What will be true once a write completes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Claim {
    /// This proposer's round cannot be used again.
    Round(u64),
    /// This acceptor has promised, having accepted that before.
    Promise { ballot: Ballot, accepted: Option<Proposal> },
    /// This acceptor has accepted.
    Accepted(Proposal),
    /// The decision can be handed out.
    Chosen,
}

/// How long the journal is. Bookkeeping and not protocol state, so all counts are equal and hash alike: two replicas
/// that got to the same promises by different numbers of writes are in the same state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordCount(pub(crate) usize);

impl PartialEq for RecordCount {
    fn eq(&self, _: &RecordCount) -> bool {
        true
    }
}

impl Eq for RecordCount {}

impl Hash for RecordCount {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// One node of single-decree Paxos: proposer, acceptor and learner in one. The crate's first page has rules,
/// invariants and the map of files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Paxos {
    pub(crate) me: NodeId,
    pub(crate) config: Config,
    /// Fixed at founding. Empty on a node that joined: it has no part but to be told.
    pub(crate) members: Membership,
    /// `None` exactly if there are no members.
    pub(crate) quorums: Option<Flexible>,
    pub(crate) acceptor: Acceptor,
    pub(crate) proposer: Proposer,
    pub(crate) learner: Learner,
    /// Writes under way.
    pub(crate) written: Pending<Claim>,
    /// Records in the journal or on their way there, since the last baseline.
    pub(crate) records_kept: RecordCount,
    pub(crate) applied: Slot,
}

impl Paxos {
    /// The one slot.
    pub const SLOT: Slot = Slot(1);

    /// What this acceptor has promised: it accepts nothing below.
    #[must_use]
    pub fn promised(&self) -> Ballot {
        self.acceptor.promised
    }

    /// What this acceptor accepted last.
    #[must_use]
    pub fn accepted(&self) -> Option<&Proposal> {
        self.acceptor.accepted.as_ref()
    }

    /// The decision, if it is known here.
    #[must_use]
    pub fn chosen(&self) -> Option<&Bytes> {
        self.learner.chosen.as_ref()
    }

    /// The last round this proposer used.
    #[must_use]
    pub fn last_round(&self) -> u64 {
        self.proposer.last_round
    }

    /// The ballot that promises are being collected for.
    #[must_use]
    pub fn preparing(&self) -> Option<Ballot> {
        match &self.proposer.phase {
            Phase::Preparing { ballot, .. } => Some(*ballot),
            Phase::Proposing { .. } | Phase::Idle | Phase::BackingOff => None,
        }
    }

    /// The proposal that acceptances are being collected for.
    #[must_use]
    pub fn proposing(&self) -> Option<&Proposal> {
        match &self.proposer.phase {
            Phase::Proposing { proposal } => Some(proposal),
            Phase::Preparing { .. } | Phase::Idle | Phase::BackingOff => None,
        }
    }

    /// The sizes of both quorums; nothing on a node without members.
    #[must_use]
    pub fn quorums(&self) -> Option<Flexible> {
        self.quorums
    }

    pub(crate) fn is_acceptor(&self) -> bool {
        self.members.is_voter(self.me)
    }

    /// Every acceptor but this node.
    pub(crate) fn other_acceptors(&self) -> Vec<NodeId> {
        self.members.voters().filter(|id| *id != self.me).collect()
    }

    /// Every member but this node.
    pub(crate) fn other_members(&self) -> Vec<NodeId> {
        self.members.others(self.me).collect()
    }

    /// Asks for a durable write and notes what it will make true.
    pub(crate) fn persist(&mut self, records: Vec<Record>, claims: Vec<Claim>, out: &mut Outbox<Paxos>) -> Ticket {
        self.records_kept.0 += records.len();
        let ticket = out.persist(records);
        for claim in claims {
            self.written.push(ticket, claim);
        }
        ticket
    }

    pub(crate) fn drop_input(&self, what: &str, why: impl Into<String>, out: &mut Outbox<Paxos>) {
        out.trace(|| Event::refused(&rules::DROPPED).with("what", what).with("why", why.into()));
    }

    fn receive(&mut self, from: NodeId, message: Message, out: &mut Outbox<Paxos>) {
        if from == self.me {
            return self.drop_input(message.kind(), "a replica never sends to itself", out);
        }
        // The decision is good news from anyone in the cluster: a node that joined knows no members.
        if !self.members.contains(from) && !matches!(message, Message::Chosen { .. }) {
            return self.drop_input(message.kind(), format!("{from} is no member"), out);
        }
        match message {
            Message::Prepare { ballot } => self.on_prepare(from, ballot, out),
            Message::Promise { ballot, accepted } => self.on_promise(from, ballot, accepted, out),
            Message::Accept { ballot, value } => self.on_accept(from, Proposal { ballot, value }, out),
            Message::Accepted { ballot, value } => self.on_accepted(from, Proposal { ballot, value }, out),
            Message::Nack { ballot, promised } => self.on_nack(from, ballot, promised, out),
            Message::Chosen { value } => self.on_chosen(from, value, out),
        }
    }

    fn expired(&mut self, timer: Timer, out: &mut Outbox<Paxos>) {
        match timer {
            Timer::Retry => self.on_retry(out),
            Timer::Resend => self.on_resend(out),
            Timer::Inquire => self.on_inquire(out),
        }
    }

    fn persisted(&mut self, ticket: Ticket, out: &mut Outbox<Paxos>) {
        for claim in self.written.settle(ticket) {
            match claim {
                Claim::Round(_) => {}
                Claim::Promise { ballot, accepted } => self.count_own_promise(ballot, accepted),
                Claim::Accepted(proposal) => self.count_own_acceptance(&proposal, out),
                Claim::Chosen => self.hand_out_decision(out),
            }
        }
    }

    /// Compaction: the latest record of each kind stands for all.
    fn compact_if_long(&mut self, out: &mut Outbox<Paxos>) {
        if self.records_kept.0 < self.config.compact_after_records {
            return;
        }
        let baseline = self.baseline();
        out.trace(|| {
            Event::allowed(&rules::COMPACT)
                .with("records", self.records_kept.0 as u64)
                .with("baseline", baseline.len() as u64)
        });
        self.records_kept = RecordCount(baseline.len());
        let drop_before = Ticket(out.last_ticket().0 + 1);
        out.compact(baseline, drop_before);
    }

    /// Everything durable, writes under way included: they come first in the one ordered stream.
    fn baseline(&self) -> Vec<Record> {
        let mut records = Vec::new();
        if let Some(quorums) = self.quorums {
            let (phase1, phase2) = (quorums.phase1() as u64, quorums.phase2() as u64);
            records.push(Record::Founded { members: self.members.clone(), phase1, phase2 });
        }
        if self.proposer.last_round > 0 {
            records.push(Record::Round(self.proposer.last_round));
        }
        records.extend(self.acceptor.accepted.clone().map(Record::Accepted));
        if self.acceptor.promised != Ballot::NONE {
            records.push(Record::Promised(self.acceptor.promised));
        }
        records.extend(self.learner.chosen.clone().map(Record::Chosen));
        records
    }

    fn refuse_unsupported(&self, refused: Refused, out: &mut Outbox<Paxos>) {
        let why = "single-decree Paxos has fixed members and no leader";
        self.drop_input("a membership change or leadership transfer", why, out);
        out.refuse(refused, Refusal::Unsupported(why));
    }
}

impl Replica for Paxos {
    type Message = Message;
    type Record = Record;
    type Anchor = NoAnchor;
    type Timer = Timer;
    type Config = Config;

    const PROTOCOL: &'static str = "paxos";

    const TIMERS: &'static [(&'static str, Timer)] =
        &[("retry", Timer::Retry), ("resend", Timer::Resend), ("inquire", Timer::Inquire)];

    fn open(
        setup: &Setup,
        config: &Config,
        found: Durable<Paxos>,
        out: &mut Outbox<Paxos>,
    ) -> Result<Paxos, OpenError> {
        recovery::open(setup, config, found, out)
    }

    fn step(&mut self, _: &mut dyn Env, input: Input<Paxos>, out: &mut Outbox<Paxos>) {
        match input {
            Input::Receive { from, message } => self.receive(from, message, out),
            Input::Expired(timer) => self.expired(timer, out),
            Input::Persisted(ticket) => self.persisted(ticket, out),
            Input::Propose { request, batch } => self.on_propose(request, batch.commands, out),
            Input::Read { token, .. } => self.on_read(token, out),
            Input::Applied { through, .. } => self.applied = self.applied.max(through.min(Paxos::SLOT)),
            Input::Reconfigure { request, .. } | Input::Transfer { request, .. } => {
                self.refuse_unsupported(Refused::Request(request), out);
            }
            Input::Link { peer, state } => match state {
                LinkState::Up => self.on_link_up(peer, out),
                LinkState::Down | LinkState::Refused => {}
            },
            Input::SnapshotPinned { .. } | Input::SnapshotSent { .. } => {
                self.drop_input("news of a snapshot", "one slot needs none", out);
            }
            Input::SnapshotArrived { anchor, .. } => match anchor {},
        }
    }

    fn settle(&mut self, _: &mut dyn Env, out: &mut Outbox<Paxos>) {
        self.conclude_phase2(out);
        self.conclude_phase1(out);
        self.start_ballot_if_wanted(out);
        self.compact_if_long(out);
    }

    fn check_invariants(&self) -> Result<(), Violation> {
        invariants::check(self)
    }

    fn status(&self) -> Status {
        let role = match self.members.get(self.me) {
            None => Role::Outsider,
            Some(_) if self.proposer.is_active() => Role::Candidate,
            Some(member) if member.counts() => Role::Follower,
            Some(_) => Role::Learner,
        };
        let last =
            if self.learner.chosen.is_some() || self.acceptor.accepted.is_some() { Paxos::SLOT } else { Slot::ZERO };
        let decided = if self.learner.handed_out { Paxos::SLOT } else { Slot::ZERO };
        Status {
            role,
            era: self.acceptor.promised.round.max(self.proposer.last_round),
            leader: None,
            first: Paxos::SLOT,
            last,
            durable: decided,
            committed: decided,
            applied: self.applied,
            membership: self.members.clone(),
            peers: Vec::<PeerStatus>::new(),
        }
    }

    fn anchored(anchor: &NoAnchor) -> Slot {
        match *anchor {}
    }

    fn kind(message: &Message) -> &'static str {
        message.kind()
    }

    fn vouches(&self, _: NodeId, message: &Message) -> bool {
        recovery::vouches(self, message)
    }
}
