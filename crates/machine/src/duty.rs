//! What only the leader does for a state machine, from its own memory and clock: deadlines of leases, first of all.

use crate::state_machine::StateMachine;
use bytes::Bytes;
use quorate_types::Time;
use std::fmt::Debug;

/// Names an errand within one node's incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrandId(pub u64);

/// What a duty wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DutyOutput {
    /// Propose this command here, as leader of this era: never forwarded, and never tried again in a later era.
    Propose(Bytes),
    /// Answer an errand that was confirmed. Answered or given up exactly once.
    Answer {
        /// Which.
        errand: ErrandId,
        /// The answer, in the duty's own codec.
        answer: Bytes,
    },
}

/// The leader's memory beside a replicated state: volatile, never part of the state, gone with the leadership.
///
/// It exists from [`Duty::begin`] (this node leads, and everything that may have been decided before is applied here) to
/// [`Duty::end`]. An *errand* is a request that only this memory can answer, such as a lease's renewal: it comes from any
/// node's client, and is carried to the leader. Its effects begin at arrival, its answer must wait for
/// [`Duty::confirmed`]: a read round that began after the errand arrived has proved that this node still led. Without
/// that a deposed leader promises what its successor does not know.
pub trait Duty<S: StateMachine>: Clone + Debug {
    /// Settings.
    type Config: Clone + Debug + Default;

    /// At rest.
    fn new(config: &Self::Config) -> Self;

    /// Leadership of a new era begins, with this state. With `late_proposals`, what a former leader's duty proposed and is not applied here may
    /// still be decided, at any time: a promise that it would break needs a command first which makes it void.
    fn begin(&mut self, state: &S, now: Time, late_proposals: bool);

    /// Leadership is over. Every errand not yet answered is given up by the caller.
    fn end(&mut self);

    /// Nobody waits for this errand's answer any more, though this node leads on: what is kept for it is to be let go, or
    /// it would stay until the leadership ends. What it has begun may go on. It may never have been confirmed.
    fn given_up(&mut self, errand: ErrandId);

    /// A command was applied, and `state` is the state behind it. `reply` is what it answered.
    fn applied(&mut self, state: &S, reply: &S::Reply, now: Time);

    /// An errand arrived.
    fn arrived(&mut self, state: &S, errand: ErrandId, payload: &Bytes, now: Time);

    /// The errand may be answered, now or after something it waits for.
    fn confirmed(&mut self, state: &S, errand: ErrandId, now: Time, out: &mut Vec<DutyOutput>);

    /// Does what is due by now. Called at the end of every batch of inputs, and when the time that it answered has come.
    /// Answers when it wants to be called again, if nothing happens before.
    fn work(&mut self, state: &S, now: Time, out: &mut Vec<DutyOutput>) -> Option<Time>;
}

/// The settings of a state machine's duty.
pub type DutyConfig<S> = <<S as StateMachine>::Duty as Duty<S>>::Config;

/// No duty: every errand is answered with nothing.
impl<S: StateMachine> Duty<S> for () {
    type Config = ();

    fn new((): &()) {}

    fn begin(&mut self, _: &S, _: Time, _: bool) {}

    fn end(&mut self) {}

    fn given_up(&mut self, _: ErrandId) {}

    fn applied(&mut self, _: &S, _: &S::Reply, _: Time) {}

    fn arrived(&mut self, _: &S, _: ErrandId, _: &Bytes, _: Time) {}

    fn confirmed(&mut self, _: &S, errand: ErrandId, _: Time, out: &mut Vec<DutyOutput>) {
        out.push(DutyOutput::Answer { errand, answer: Bytes::new() });
    }

    fn work(&mut self, _: &S, _: Time, _: &mut Vec<DutyOutput>) -> Option<Time> {
        None
    }
}
