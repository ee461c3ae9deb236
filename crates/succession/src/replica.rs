//! The replica around: its state, and a `step` that only dispatches.

use crate::heir::Heir;
use crate::message::{Body, Message};
use crate::record::{Anchor, Record, Way};
use crate::rules;
use quorate_protocol::{
    Durable, Env, Event, Input, OpenError, Outbox, Pending, Refusal, Refused, Replica, Role, Setup, SnapshotId, Status,
    Violation,
};
use quorate_types::{Member, Membership, NodeId, Slot};
use quorate_wire::Agreement;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A view on its way to a node. There is one for each: a driver that is asked for a second one lets go of the first without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Serving {
    /// The machine was asked for it, for a node that missed a configuration.
    Pinning,
    /// The driver sends it, to a node that missed a configuration.
    Sending(SnapshotId),
    /// The replica inside asked for it; its name, once the driver sends it.
    Inside(Option<SnapshotId>),
}

/// A former member that is told, and that asks who knows before it goes: an answer can only reach whom the driver is still told to reach.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leaver {
    pub(crate) member: Member,
    /// It is told, or at least answered, for so many intervals more; then it is let go, until it speaks.
    pub(crate) tellings_left: u32,
    /// It said that it knows, and is told no more.
    pub(crate) knows: bool,
}

/// One node of a cluster whose members change by stop-sign.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Succession<P: Heir> {
    pub(crate) setup: Setup,
    pub(crate) config: P::Config,
    /// The newest configuration known here to be open, with the prefix it begins behind; `None` where none is known.
    pub(crate) present: Option<Anchor<P>>,
    /// How this node came to it.
    pub(crate) way: Way,
    /// The replica of that configuration, where this node is a member of it.
    pub(crate) inside: Option<P>,
    /// The write of the record that opens the configuration, while under way.
    pub(crate) opening: Pending<u64>,
    /// Who has the configuration open durably, or a later one.
    pub(crate) known_at: BTreeSet<NodeId>,
    /// Members of earlier configurations, which are none of this one.
    pub(crate) leavers: BTreeMap<NodeId, Leaver>,
    /// Of the configuration before, if its stop-sign was decided here in this incarnation.
    pub(crate) last_word: Option<P::Message>,
    /// Somebody spoke in a configuration later than this one, of which this node is no member.
    pub(crate) superseded: bool,
    /// The last word of the configuration before this one was handed in here; the next news of it is followed by a fetch.
    pub(crate) last_word_taken: bool,
    pub(crate) serving: BTreeMap<NodeId, Serving>,
    /// A snapshot that the machine is to install.
    pub(crate) installing: Option<(SnapshotId, Slot)>,
    pub(crate) decided: Slot,
    pub(crate) applied: Slot,
    /// The stop-sign that was decided inside, until the configuration is closed for it.
    pub(crate) stopped: Option<(Slot, Membership)>,
    /// A promise seen broken, for the next check to report.
    pub(crate) broken: Option<Violation>,
}

impl<P: Heir> Replica for Succession<P> {
    type Message = Message<P>;
    type Record = Record<P>;
    type Anchor = Anchor<P>;
    type Timer = P::Timer;
    type Config = P::Config;

    const PROTOCOL: &'static str = P::PROTOCOL;

    const LATE_PROPOSALS: bool = P::LATE_PROPOSALS;

    const TIMERS: &'static [(&'static str, P::Timer)] = P::TIMERS;

    fn open(
        setup: &Setup,
        config: &P::Config,
        found: Durable<Self>,
        out: &mut Outbox<Self>,
    ) -> Result<Self, OpenError> {
        crate::recovery::open(setup, config, found, out)
    }

    fn step(&mut self, env: &mut dyn Env, input: Input<Self>, out: &mut Outbox<Self>) {
        match input {
            Input::Receive { from, message } => self.receive(env, from, message, out),
            Input::Expired(timer) if timer == P::SUCCESSION => self.succession_due(out),
            Input::Expired(timer) => self.hand_in(env, Input::Expired(timer), out),
            Input::Persisted(ticket) => {
                self.opening.settle(ticket);
                self.hand_in(env, Input::Persisted(ticket), out);
            }
            Input::Propose { request, batch } if self.inside.is_some() => {
                self.hand_in(env, Input::Propose { request, batch }, out);
            }
            Input::Propose { request, .. } => self.refuse(Refused::Request(request), out),
            Input::Read { token, footprint } if self.inside.is_some() => {
                self.hand_in(env, Input::Read { token, footprint }, out);
            }
            Input::Read { token, .. } => self.refuse(Refused::Read(token), out),
            Input::Applied { through, durable, digest } => self.machine_applied(env, through, durable, digest, out),
            Input::Reconfigure { request, based_on, members } => {
                self.reconfigure(request, &based_on, members, out);
            }
            Input::Transfer { request, to } if self.inside.is_some() => {
                self.hand_in(env, Input::Transfer { request, to }, out);
            }
            Input::Transfer { request, .. } => self.refuse(Refused::Request(request), out),
            Input::Link { peer, state } => self.hand_in(env, Input::Link { peer, state }, out),
            Input::SnapshotPinned { id, to, through } => self.snapshot_pinned(env, id, to, through, out),
            Input::SnapshotSent { to, id, outcome } => self.snapshot_sent(env, to, id, outcome, out),
            Input::SnapshotArrived { id, anchor } => self.snapshot_arrived(env, id, anchor, out),
        }
    }

    fn settle(&mut self, env: &mut dyn Env, out: &mut Outbox<Self>) {
        // A configuration of one voter may even close in the settle that opened it, but never without a write in between.
        self.settle_inside(env, out);
        if self.stopped.is_some() {
            self.succeed(out);
            self.settle_inside(env, out);
        }
    }

    fn check_invariants(&self) -> Result<(), Violation> {
        self.check_own()?;
        self.inside.as_ref().map_or(Ok(()), Replica::check_invariants)
    }

    fn check_deep(&self) -> Result<(), Violation> {
        self.check_own()?;
        self.inside.as_ref().map_or(Ok(()), Replica::check_deep)
    }

    fn status(&self) -> Status {
        match &self.inside {
            Some(inside) => {
                let status = inside.status();
                Status { era: self.era(status.era), applied: self.applied.min(status.applied), ..status }
            }
            None => Status {
                role: Role::Outsider,
                era: self.era(0),
                leader: None,
                first: self.decided.next(),
                last: self.decided,
                durable: self.decided,
                // Whoever was told that it left knows that all of that is decided, if not what it is.
                committed: self.decided.max(self.begins_behind()),
                applied: self.applied,
                membership: self.members(),
                peers: Vec::new(),
            },
        }
    }

    fn particulars(&self) -> Vec<(&'static str, String)> {
        let mut said = vec![("configuration", self.configuration().to_string())];
        if let Some(inside) = &self.inside {
            said.extend(inside.particulars());
        }
        said
    }

    fn agreements(config: &P::Config) -> Vec<Agreement> {
        P::agreements(config)
    }

    fn promises_last(config: &P::Config) -> Duration {
        P::promises_last(config)
    }

    /// Only of the present configuration: of earlier ones that is forgotten.
    fn era_at(&self, slot: Slot) -> Option<u64> {
        let inside = self.inside.as_ref().filter(|_| slot > self.begins_behind())?;
        inside.era_at(slot).map(|era| self.era(era))
    }

    fn anchored(anchor: &Anchor<P>) -> Slot {
        P::anchored(&anchor.prefix)
    }

    fn kind(message: &Message<P>) -> &'static str {
        message.body.kind()
    }

    /// What was said in a configuration that this node has closed binds it no more: it never answers in it again.
    fn vouches(&self, to: NodeId, message: &Message<P>) -> bool {
        let present = self.configuration();
        match &message.body {
            Body::Within(_) if message.configuration < present => true,
            Body::Within(inner) => {
                message.configuration == present && self.inside.as_ref().is_some_and(|inside| inside.vouches(to, inner))
            }
            Body::Closed { .. } | Body::Known => message.configuration <= present,
            Body::Behind | Body::Fetch => true,
        }
    }
}

impl<P: Heir> Succession<P> {
    /// The newest configuration known here; 0 where none is.
    #[must_use]
    pub fn configuration(&self) -> u64 {
        self.present.as_ref().map_or(0, |anchor| anchor.configuration)
    }

    /// Its members.
    #[must_use]
    pub fn members(&self) -> Membership {
        self.present.as_ref().map(|anchor| P::members(&anchor.prefix).clone()).unwrap_or_default()
    }

    /// The replica of that configuration, where this node is a member.
    #[must_use]
    pub fn inside(&self) -> Option<&P> {
        self.inside.as_ref()
    }

    /// The prefix that the newest configuration begins behind, as this node came to it.
    #[must_use]
    pub fn present(&self) -> Option<&Anchor<P>> {
        self.present.as_ref()
    }

    pub(crate) fn me(&self) -> NodeId {
        self.setup.me
    }

    pub(crate) fn begins_behind(&self) -> Slot {
        self.present.as_ref().map_or(Slot::ZERO, |anchor| P::anchored(&anchor.prefix))
    }

    /// An era of the replica inside, as the driver is told.
    pub(crate) fn era(&self, inner: u64) -> u64 {
        (self.configuration() << 32) | inner.min(u64::from(u32::MAX))
    }

    fn refuse(&self, refused: Refused, out: &mut Outbox<Self>) {
        out.refuse(refused, Refusal::NotLeader { hint: None });
    }

    fn check_own(&self) -> Result<(), Violation> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let is_member = self.members().contains(self.me());
        if is_member != self.inside.is_some() {
            let detail = format!("configuration {}: member {is_member}, and the opposite runs", self.configuration());
            return Err(Violation { invariant: "OneConfiguration", detail });
        }
        if self.inside.is_some() && self.installing.is_none() && self.decided < self.begins_behind() {
            let detail = format!("decided up to {}, and it begins behind {}", self.decided, self.begins_behind());
            return Err(Violation { invariant: "DecidedBehind", detail });
        }
        Ok(())
    }

    pub(crate) fn violate(&mut self, invariant: &'static str, detail: String) {
        self.broken.get_or_insert(Violation { invariant, detail });
    }

    pub(crate) fn drop_stale(&self, kind: &'static str, why: &'static str, out: &mut Outbox<Self>) {
        out.trace(|| Event::refused(&rules::STALE).with("kind", kind).with("why", why));
    }
}
