//! Wrong code on purpose, wrapped around right code: what the simulator must find.

use bytes::Bytes;
use quorate_machine::{ApplyContext, RestoreError, StateMachine};
use quorate_protocol::{Durable, Env, Input, OpenError, Outbox, Output, ReadToken, Replica, Setup, Status, Violation};
use quorate_simulator::swarm::{Judged, Meaning, Pace, Subject, Versioned};
use quorate_simulator::{Mark, Random};
use quorate_types::{NodeId, Slot, Ticket};
use std::any::Any;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

/// One wrong thing to do with what a replica is told and says.
pub trait Flaw: Clone + Debug + Eq + Hash + 'static {
    /// After what a message is sent, instead of `after`.
    fn send_after(after: Ticket) -> Ticket {
        after
    }
    /// Mishears a message; a protocol's own flaw looks whether it is one of that protocol.
    fn hear(_message: &mut dyn Any) {}
    /// Whether a read is answered at once from what is applied here.
    const READS_AT_ONCE: bool = false;
}

/// Sends every claim before it is durable (RE1, PX2 of the zoo: a vote, promise or acknowledgement that a crash takes back).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SendsTooEarly;

impl Flaw for SendsTooEarly {
    fn send_after(_: Ticket) -> Ticket {
        Ticket::NONE
    }
}

/// Answers linearizable reads from its own state without asking anybody (RD1: stale reads of an isolated leader).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadsAlone;

impl Flaw for ReadsAlone {
    const READS_AT_ONCE: bool = true;
}

/// Nothing wrong: the control. Whatever the wrapper itself breaks shows here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flawless;

impl Flaw for Flawless {}

/// A replica with a flaw.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flawed<R: Replica, F: Flaw> {
    inner: R,
    applied: Slot,
    flaw: PhantomData<F>,
}

impl<R: Replica, F: Flaw> Flawed<R, F> {
    fn pass_on(inner: &mut Outbox<R>, out: &mut Outbox<Self>) {
        for output in inner.take() {
            match output {
                Output::Persist { ticket, records } => assert_eq!(out.persist(records), ticket),
                Output::Compact { ticket, baseline, drop_before } => {
                    assert_eq!(out.compact(baseline, drop_before), ticket);
                }
                Output::Send { to, message, after } => out.send_after(F::send_after(after), to, message),
                Output::SetTimer { timer, at_least, at_most } => out.set_timer(timer, at_least, at_most),
                Output::CancelTimer(timer) => out.cancel_timer(timer),
                Output::Decide { slot, decision } => out.decide(slot, decision),
                Output::ReadAt { token, slot } => out.read_at(token, slot),
                Output::Refuse { refused, why } => out.refuse(refused, why),
                Output::Lead { era, who, ready, settled } => out.lead(era, who, ready, settled),
                Output::Members { members, change } => out.members(members, change),
                Output::SendSnapshot { to, at_least, with_data } => out.send_snapshot(to, at_least, with_data),
                Output::SnapshotAnchor { id, to, anchor } => out.snapshot_anchor(id, to, anchor),
                Output::InstallSnapshot { id, anchor, after } => out.install_snapshot(id, anchor, after),
                Output::DropSnapshot { id } => out.drop_snapshot(id),
                Output::Retire { why } => out.retire(why),
                Output::Trace(event) => out.trace(|| event),
                Output::Evidence { .. } => panic!("no protocol here convicts anybody"),
            }
        }
    }

    fn inner_outbox(out: &Outbox<Self>) -> Outbox<R> {
        Outbox::new(out.last_ticket(), true)
    }

    fn read_at_once(&self, token: ReadToken, out: &mut Outbox<Self>) {
        out.read_at(token, self.applied);
    }
}

impl<R: Replica, F: Flaw> Replica for Flawed<R, F> {
    type Message = R::Message;
    type Record = R::Record;
    type Anchor = R::Anchor;
    type Timer = R::Timer;
    type Config = R::Config;
    const PROTOCOL: &'static str = R::PROTOCOL;
    const LATE_PROPOSALS: bool = R::LATE_PROPOSALS;

    const TIMERS: &'static [(&'static str, R::Timer)] = R::TIMERS;

    fn open(
        setup: &Setup,
        config: &R::Config,
        found: Durable<Self>,
        out: &mut Outbox<Self>,
    ) -> Result<Self, OpenError> {
        let mut inner_out = Self::inner_outbox(out);
        let applied = found.applied;
        let found = Durable { records: found.records, anchor: found.anchor, applied };
        let inner = R::open(setup, config, found, &mut inner_out)?;
        Self::pass_on(&mut inner_out, out);
        Ok(Flawed { inner, applied, flaw: PhantomData })
    }

    fn step(&mut self, env: &mut dyn Env, input: Input<Self>, out: &mut Outbox<Self>) {
        let input = match input {
            Input::Receive { from, mut message } => {
                F::hear(&mut message);
                Input::Receive { from, message }
            }
            Input::Expired(timer) => Input::Expired(timer),
            Input::Persisted(ticket) => Input::Persisted(ticket),
            Input::Propose { request, batch } => Input::Propose { request, batch },
            Input::Read { token, .. } if F::READS_AT_ONCE => return self.read_at_once(token, out),
            Input::Read { token, footprint } => Input::Read { token, footprint },
            Input::Applied { through, durable, digest } => {
                self.applied = through;
                Input::Applied { through, durable, digest }
            }
            Input::Reconfigure { request, based_on, members } => Input::Reconfigure { request, based_on, members },
            Input::Transfer { request, to } => Input::Transfer { request, to },
            Input::Link { peer, state } => Input::Link { peer, state },
            Input::SnapshotPinned { id, to, through } => Input::SnapshotPinned { id, to, through },
            Input::SnapshotSent { to, id, outcome } => Input::SnapshotSent { to, id, outcome },
            Input::SnapshotArrived { id, anchor } => Input::SnapshotArrived { id, anchor },
        };
        let mut inner_out = Self::inner_outbox(out);
        self.inner.step(env, input, &mut inner_out);
        Self::pass_on(&mut inner_out, out);
    }

    fn settle(&mut self, env: &mut dyn Env, out: &mut Outbox<Self>) {
        let mut inner_out = Self::inner_outbox(out);
        self.inner.settle(env, &mut inner_out);
        Self::pass_on(&mut inner_out, out);
    }

    fn check_invariants(&self) -> Result<(), Violation> {
        self.inner.check_invariants()
    }

    fn check_deep(&self) -> Result<(), Violation> {
        self.inner.check_deep()
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn anchored(anchor: &R::Anchor) -> Slot {
        R::anchored(anchor)
    }

    fn kind(message: &R::Message) -> &'static str {
        R::kind(message)
    }

    fn vouches(&self, to: NodeId, message: &R::Message) -> bool {
        self.inner.vouches(to, message)
    }
}

impl<R: Subject, F: Flaw> Subject for Flawed<R, F> {
    const SLOTS: Option<u64> = R::SLOTS;
    const IMPOSSIBLE_MARKS: &'static [Mark] = R::IMPOSSIBLE_MARKS;

    fn draw_config(random: &mut Random, pace: Pace) -> R::Config {
        R::draw_config(random, pace)
    }
}

/// A state machine that lets every command take effect twice (EO: a retry that is applied again looks the same).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliesTwice<S>(S);

impl<S: StateMachine> StateMachine for AppliesTwice<S> {
    type Query = S::Query;
    type Reply = S::Reply;
    type Duty = ();

    fn empty() -> Self {
        AppliesTwice(S::empty())
    }
    fn apply(&mut self, context: &ApplyContext, payload: &Bytes) -> S::Reply {
        let reply = self.0.apply(context, payload);
        self.0.apply(context, payload);
        reply
    }
    fn query(&self, query: &S::Query) -> S::Reply {
        self.0.query(query)
    }
    fn digest(&self) -> u64 {
        self.0.digest()
    }
    fn head(&self) -> Bytes {
        self.0.head()
    }
    fn item_count(&self) -> u64 {
        self.0.item_count()
    }
    fn item(&self, number: u64) -> Option<Bytes> {
        self.0.item(number)
    }
    fn restore(head: Bytes, items: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Self, RestoreError> {
        Ok(AppliesTwice(S::restore(head, items)?))
    }
}

impl<S: Judged> Judged for AppliesTwice<S> {
    fn put(key: &Bytes, value: &Bytes) -> Bytes {
        S::put(key, value)
    }
    fn delete(key: &Bytes) -> Bytes {
        S::delete(key)
    }
    fn get(key: Option<&Bytes>) -> S::Query {
        S::get(key)
    }
    fn meaning(reply: &S::Reply) -> Meaning {
        S::meaning(reply)
    }
    fn revision(&self) -> u64 {
        self.0.revision()
    }
    fn contents_at(&self, revision: u64) -> Result<Vec<Versioned>, String> {
        self.0.contents_at(revision)
    }
}
