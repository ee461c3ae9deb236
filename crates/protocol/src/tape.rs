//! What one replica was told and what it said, in order: enough to run it again.
//!
//! A replica is a function of its state, its inputs, the clock readings and the choices it is given. So a [`Picture`] of
//! its state and the [`Taped`] calls behind it are the whole run: the same code, given them, says the same again.

use crate::{Env, Event, Gate, Input, Outbox, Output, Replica, Setup};
use bytes::Bytes;
use quorate_types::{Ticket, Time};
use quorate_wire::Wire;

/// A protocol whose replicas can be written down whole, so that a run can begin in its middle.
pub trait Recordable: Replica + Wire {
    /// The same replica with every batch of commands in it changed. What it decides next, and when, depends on the length of
    /// a batch and on nothing else of it.
    #[must_use]
    fn with_batches(self, change: &mut dyn FnMut(Bytes) -> Bytes) -> Self;

    /// The same message with its batches changed.
    #[must_use]
    fn message_with_batches(message: Self::Message, change: &mut dyn FnMut(Bytes) -> Bytes) -> Self::Message;

    /// The same record with its batches changed.
    #[must_use]
    fn record_with_batches(record: Self::Record, change: &mut dyn FnMut(Bytes) -> Bytes) -> Self::Record;

    /// Whether this guard speaks in every round of messages while all is well, so that an outline leaves it out.
    fn is_routine(event: &Event) -> bool;
}

/// One call of a replica, or what it said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Taped<R: Replica> {
    /// [`Replica::step`] was called.
    Step {
        /// What [`Env::now`] answered.
        now: Time,
        /// What [`Env::choose`] answered, in order.
        choices: Vec<u64>,
        /// With what.
        input: Input<R>,
    },
    /// [`Replica::settle`] was called.
    Settle {
        /// What [`Env::now`] answered.
        now: Time,
        /// What [`Env::choose`] answered, in order.
        choices: Vec<u64>,
    },
    /// The outbox was emptied, and this was in it; traces, which depend on who listens, are left out.
    Said(Vec<Output<R>>),
}

/// A replica with what its driver keeps for it, between two calls and with an empty outbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Picture<R: Replica> {
    /// Who it is.
    pub setup: Setup,
    /// It.
    pub replica: R,
    /// What it said and must not leave yet.
    pub gate: Gate<R::Message>,
    /// The last ticket it was given.
    pub last_ticket: Ticket,
}

/// Writes down what a replica is told and says. Whoever owns the replica makes its calls through this, and takes what is on
/// the tape before it grows long.
#[derive(Clone, Debug)]
pub struct Tape<R: Replica> {
    /// `None` while nobody listens.
    taped: Option<Vec<Taped<R>>>,
}

impl<R: Replica> Default for Tape<R> {
    fn default() -> Tape<R> {
        Tape { taped: None }
    }
}

impl<R: Replica> Tape<R> {
    /// From now on everything is written down.
    pub fn start(&mut self) {
        self.taped.get_or_insert_default();
    }

    /// Nobody listens any more.
    pub fn stop(&mut self) {
        self.taped = None;
    }

    /// What was written down since the last call.
    pub fn take(&mut self) -> Vec<Taped<R>> {
        self.taped.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Steps the replica.
    pub fn step(&mut self, replica: &mut R, env: &mut dyn Env, input: Input<R>, out: &mut Outbox<R>) {
        let Some(taped) = &mut self.taped else { return replica.step(env, input, out) };
        let mut noted = NotedEnv { env, choices: Vec::new() };
        let copy = input.clone();
        replica.step(&mut noted, input, out);
        let (now, choices) = (noted.env.now(), noted.choices);
        taped.push(Taped::Step { now, choices, input: copy });
    }

    /// Settles the replica.
    pub fn settle(&mut self, replica: &mut R, env: &mut dyn Env, out: &mut Outbox<R>) {
        let Some(taped) = &mut self.taped else { return replica.settle(env, out) };
        let mut noted = NotedEnv { env, choices: Vec::new() };
        replica.settle(&mut noted, out);
        let (now, choices) = (noted.env.now(), noted.choices);
        taped.push(Taped::Settle { now, choices });
    }

    /// The outbox was emptied of these.
    pub fn said(&mut self, outputs: &[Output<R>]) {
        let Some(taped) = &mut self.taped else { return };
        let words: Vec<_> = outputs.iter().filter(|output| !matches!(output, Output::Trace(_))).cloned().collect();
        if !words.is_empty() {
            taped.push(Taped::Said(words));
        }
    }
}

/// Passes everything on and notes what was chosen.
struct NotedEnv<'a> {
    env: &'a mut dyn Env,
    choices: Vec<u64>,
}

impl Env for NotedEnv<'_> {
    fn now(&self) -> Time {
        self.env.now()
    }
    fn choose(&mut self, bound: u64) -> u64 {
        let chosen = self.env.choose(bound);
        self.choices.push(chosen);
        chosen
    }
}
