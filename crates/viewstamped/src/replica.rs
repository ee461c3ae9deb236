//! The replica: its state, and a `step` that only dispatches.

use crate::config::Config;
use crate::durability::DiskMarks;
use crate::epoch::Farewell;
use crate::log::Log;
use crate::message::Message;
use crate::normal::{Backup, Leadership};
use crate::record::{Anchor, Record};
use crate::rules;
use crate::snapshot::Transfer;
use crate::view::{Configuration, View};
use crate::view_change::Change;
use quorate_protocol::{
    AskedReads, Durable, Env, Event, Input, LedReads, LinkState, OpenError, Outbox, Replica, Role, Setup, SnapshotId,
    Status, Violation,
};
use quorate_types::{NodeId, Slot};
use std::collections::BTreeMap;

/// Names of timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Nothing was heard of the primary for T to 2T.
    Primary,
    /// A primary's sign of life is due.
    Heartbeat,
    /// What was said in a view change, or asked, and got no answer is said again.
    Resend,
    /// The view that this replica is going to did not begin in time.
    Patience,
    /// Reads forwarded to the primary are asked again.
    ReadRetry,
}

impl Timer {
    fn name(self) -> &'static str {
        Viewstamped::TIMERS.iter().find(|(_, timer)| *timer == self).map_or("unknown", |(name, _)| name)
    }
}

/// What this replica is doing; the paper's status.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Normal, and the primary of its view.
    Primary(Leadership),
    /// Normal, and a backup or learner; or a newcomer that knows of no epoch yet.
    Backup(Backup),
    /// Between views, or going to a later epoch.
    Changing(Change),
    /// No member of the epoch it is in: it hands on what it has until it need not any more.
    Leaving(Farewell),
}

/// What `Lead` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ToldLead {
    pub(crate) view: View,
    pub(crate) primary: Option<NodeId>,
    pub(crate) ready: bool,
    pub(crate) settled: bool,
}

/// One member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Viewstamped {
    pub(crate) me: NodeId,
    pub(crate) config: Config,
    /// The view it is in, or is going to. Never goes down.
    pub(crate) view: View,
    /// The last view that was normal here: the log is that view's.
    pub(crate) last_normal: View,
    /// Who takes part in the epoch of `view`.
    pub(crate) configuration: Configuration,
    pub(crate) stage: Stage,
    pub(crate) log: Log,
    pub(crate) disk: DiskMarks,
    /// Known committed up to here. `applied <= decided <= commit <= log.last()`; `log.base() <= applied` but for `installing`.
    pub(crate) commit: Slot,
    /// Handed to the machine up to here. Never past what is durable here.
    pub(crate) decided: Slot,
    pub(crate) applied: Slot,
    pub(crate) applied_durable: Slot,
    /// The weight of the entries behind `decided`.
    pub(crate) undecided_bytes: u64,
    /// Every member has this much durably: said by the primary, or known as one.
    pub(crate) everyone_has: Slot,
    /// The log begins behind this snapshot and the state machine does not have it yet: nothing is decided until it does.
    pub(crate) installing: Option<SnapshotId>,
    /// Snapshots on their way to others.
    pub(crate) transfers: BTreeMap<NodeId, Transfer>,
    /// Reads of this node that the primary was asked about.
    pub(crate) asked_reads: AskedReads,
    /// The last `Lead` told.
    pub(crate) told_lead: Option<ToldLead>,
    /// A promise seen broken from outside, for the next check to report.
    pub(crate) broken: Option<Violation>,
}

impl Replica for Viewstamped {
    type Message = Message;
    type Record = Record;
    type Anchor = Anchor;
    type Timer = Timer;
    type Config = Config;

    const PROTOCOL: &'static str = "viewstamped";

    const TIMERS: &'static [(&'static str, Timer)] = &[
        ("primary", Timer::Primary),
        ("heartbeat", Timer::Heartbeat),
        ("resend", Timer::Resend),
        ("patience", Timer::Patience),
        ("read-retry", Timer::ReadRetry),
    ];

    fn open(
        setup: &Setup,
        config: &Config,
        found: Durable<Viewstamped>,
        out: &mut Outbox<Viewstamped>,
    ) -> Result<Viewstamped, OpenError> {
        config.validate()?;
        crate::recovery::open(setup, config, found, out)
    }

    fn step(&mut self, _: &mut dyn Env, input: Input<Viewstamped>, out: &mut Outbox<Viewstamped>) {
        match input {
            Input::Receive { from, message } => self.receive(from, message, out),
            Input::Expired(timer) => self.expired(timer, out),
            Input::Persisted(ticket) => self.persisted(ticket, out),
            Input::Propose { request, batch } => self.propose(request, batch.commands, out),
            Input::Read { token, .. } => self.read_wanted(token, out),
            Input::Applied { through, durable, .. } => self.machine_applied(through, durable, out),
            Input::Link { peer, state } => self.link(peer, state, out),
            Input::Reconfigure { request, based_on, members } => self.reconfigure(request, &based_on, members, out),
            Input::Transfer { request, to } => self.transfer(request, to, out),
            Input::SnapshotPinned { id, to, through } => self.snapshot_pinned(id, to, through, out),
            Input::SnapshotSent { to, id, outcome } => self.snapshot_sent(id, to, outcome, out),
            Input::SnapshotArrived { id, anchor } => self.snapshot_arrived(id, anchor, out),
        }
    }

    fn settle(&mut self, _: &mut dyn Env, out: &mut Outbox<Viewstamped>) {
        self.write_log(out);
        self.start_view_if_possible(out);
        self.advance_commit(out);
        self.advance_epoch(out);
        self.decide(out);
        self.serve_reads(out);
        self.replicate(out);
        self.answer_primary(out);
        self.compact(out);
        self.tell_lead(out);
        self.retire(out);
    }

    fn check_invariants(&self) -> Result<(), Violation> {
        crate::invariants::check(self)
    }

    fn check_deep(&self) -> Result<(), Violation> {
        crate::invariants::check_deep(self)
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

    fn vouches(&self, _: NodeId, message: &Message) -> bool {
        crate::durability::vouches(self, message)
    }
}

impl Viewstamped {
    /// The view it is in, or is going to.
    #[must_use]
    pub fn view(&self) -> View {
        self.view
    }

    /// The last view that was normal here.
    #[must_use]
    pub fn last_normal(&self) -> View {
        self.last_normal
    }

    /// The log in memory.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Known committed up to here.
    #[must_use]
    pub fn commit(&self) -> Slot {
        self.commit
    }

    /// The log is durable here up to this slot.
    #[must_use]
    pub fn durable(&self) -> Slot {
        self.disk.durable
    }

    /// Who takes part in its epoch.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Whether it leads its view.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        matches!(self.stage, Stage::Primary(_))
    }

    /// Whether its view is normal here.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        crate::durability::is_normal(&self.stage)
    }

    pub(crate) fn votes(&self) -> bool {
        self.configuration.members.is_voter(self.me)
    }

    /// Who leads the present view, where that has begun as far as this replica knows.
    pub(crate) fn primary(&self) -> Option<NodeId> {
        self.view.primary(&self.configuration.members).filter(|_| self.is_normal())
    }

    fn receive(&mut self, from: NodeId, message: Message, out: &mut Outbox<Viewstamped>) {
        let (kind, view) = (message.kind(), message.view());
        if from == self.me {
            return self.drop_stale(kind, from, "it claims to come from itself", out);
        }
        if view.epoch != self.view.epoch && !self.hears_other_epoch(from, &message, out) {
            return;
        }
        match message {
            Message::Prepare { view, first, entries, commit, everyone_has, round } => {
                if self.recognise_primary(from, kind, view, out) {
                    self.prepare(from, first, &entries, (commit, everyone_has), round, out);
                }
            }
            Message::PrepareOk { view, through, round } => self.prepare_ok(from, view, through, round, out),
            Message::StartViewChange { view, commit } => self.start_view_change(from, view, commit, out),
            Message::DoViewChange { view, last_normal, last, commit, first, entries } => {
                let offer = crate::view_change::Offer { last_normal, last, commit, first, entries };
                self.do_view_change(from, view, offer, out);
            }
            Message::StartView { view, commit, first, entries } => {
                self.start_view(from, view, commit, first, &entries, out);
            }
            Message::GetState { view, have, joins } => self.get_state(from, view, have, joins, out),
            Message::NewState { view, asked, commit, first, entries, last } => {
                let state = crate::state_transfer::State { view, asked, commit, first, entries, last };
                self.new_state(from, &state, out);
            }
            Message::StartEpoch { view, configuration, begun } => {
                self.start_epoch(from, view, &configuration, begun, out);
            }
            Message::EpochStarted { view } => self.epoch_started(from, view, out),
            Message::ReadIndex { token, .. } => self.read_asked(from, token, out),
            Message::ReadIndexResponse { token, slot, .. } => self.read_answered(from, token, slot, out),
        }
    }

    fn expired(&mut self, timer: Timer, out: &mut Outbox<Viewstamped>) {
        match timer {
            Timer::Primary => self.primary_is_silent(out),
            Timer::Heartbeat => self.heartbeat(out),
            Timer::Resend => self.resend(out),
            Timer::Patience => self.patience_is_over(out),
            Timer::ReadRetry if self.retry_reads(out) => {}
            Timer::ReadRetry => self.drop_timer(timer, "no read waits", out),
        }
    }

    fn link(&mut self, peer: NodeId, state: LinkState, out: &mut Outbox<Viewstamped>) {
        let follows = self.primary() == Some(peer) && self.votes();
        let effect = match (state, &mut self.stage) {
            (LinkState::Up, Stage::Primary(leadership)) => leadership.peers.get_mut(&peer).map(|progress| {
                progress.due = true;
                "sends a sign of life at once"
            }),
            (LinkState::Refused, Stage::Backup(_)) if follows => {
                let soon = self.config.heartbeat_interval;
                out.set_timer(Timer::Primary, soon / 2, soon);
                Some("will soon change views: the process of its primary is gone")
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

    /// Says who leads, when that changed. A primary takes proposals at once, before what it began with is committed: they
    /// wait behind that; none behind a reconfiguration, which ends its epoch.
    pub(crate) fn tell_lead(&mut self, out: &mut Outbox<Viewstamped>) {
        let (ready, settled) = match &self.stage {
            Stage::Primary(leadership) => (!self.is_closing(), self.decided >= leadership.inherited),
            _ => (false, false),
        };
        let awaited = matches!(&self.stage, Stage::Backup(backup) if backup.awaits_primary);
        let lead = ToldLead { view: self.view, primary: self.primary().filter(|_| !awaited), ready, settled };
        if self.told_lead != Some(lead) {
            self.told_lead = Some(lead);
            out.lead(self.view.era(), lead.primary, ready, settled);
        }
    }

    /// Reports a message that means nothing any more.
    pub(crate) fn drop_stale(
        &self,
        kind: &'static str,
        from: NodeId,
        why: &'static str,
        out: &mut Outbox<Viewstamped>,
    ) {
        out.trace(|| Event::refused(&rules::STALE).with("kind", kind).with("from", from).with("why", why));
    }

    pub(crate) fn drop_timer(&self, timer: Timer, why: &'static str, out: &mut Outbox<Viewstamped>) {
        out.trace(|| Event::refused(&rules::STALE_TIMER).with("timer", timer.name()).with("why", why));
    }

    /// The part this node plays, as others name it.
    pub(crate) fn role(&self) -> Role {
        match &self.stage {
            Stage::Primary(_) => Role::Leader,
            Stage::Changing(_) if self.votes() => Role::Candidate,
            _ if self.votes() => Role::Follower,
            _ if self.configuration.members.contains(self.me) => Role::Learner,
            _ => Role::Outsider,
        }
    }
}
