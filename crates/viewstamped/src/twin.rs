//! Negative twins: the protocol as the paper has it where ours departs from it, to show that the departures are needed and that our
//! checks would notice. They are wrappers, not switches: the product has no code for them.
//!
//! - [`diskless`]: recovery with a nonce (VRR §4.3) loses what was committed.
//! - [`cuts_first`]: state transfer that cuts its log first (VRR §5.2) loses what was committed.
//!
//! Each story is played on the twin, which ends in disagreement, and, step by step the same, on ours, which does not.

mod cuts_first;
mod diskless;

use crate::{Config, Message, Record, Timer};
use quorate_protocol::testbed::{Flight, Testbed};
use quorate_protocol::{Decision, Outbox, Output, Replica};
use quorate_types::{NodeId, Slot};

const R0: NodeId = NodeId(1);
const R1: NodeId = NodeId(2);
const R2: NodeId = NodeId(3);

/// Three replicas, R0 the primary of view 0, and what a story does to them. What is not delivered stays in flight.
struct Story<R: Replica<Config = Config, Timer = Timer>> {
    bed: Testbed<R>,
}

impl<R: Replica<Config = Config, Timer = Timer>> Story<R> {
    /// The durability ghost is off: it would stop the flaw long before anybody disagrees.
    fn new() -> Story<R> {
        let mut bed = Testbed::new(3, Config::default()).without_ghost();
        bed.run(1_000, |_| true);
        Story { bed }
    }

    /// The oldest message of this kind arrives, if there is one, and what it makes its receiver write is done.
    fn deliver(&mut self, kind: &str, from: NodeId, to: NodeId) -> bool {
        let wanted = |flight: &Flight<R>| flight.from == from && flight.to == to && R::kind(&flight.message) == kind;
        let at = self.bed.flights().iter().position(wanted);
        if let Some(at) = at {
            self.bed.deliver(at);
            self.finish_writes(to);
        }
        at.is_some()
    }

    fn finish_writes(&mut self, id: NodeId) {
        while self.bed.node(id).outstanding() > 0 {
            self.bed.complete_writes(id, usize::MAX);
        }
    }

    fn expire(&mut self, id: NodeId, timer: Timer) {
        self.bed.expire(id, timer);
        self.finish_writes(id);
    }

    fn propose(&mut self, id: NodeId, commands: &'static str) {
        self.bed.propose(id, 1, commands);
        self.finish_writes(id);
    }

    fn crash(&mut self, id: NodeId) {
        self.bed.crash(id, 0);
    }

    /// Comes back; whatever it asks others then is answered.
    fn recover(&mut self, id: NodeId) {
        self.bed.restart(id);
        self.bed.run(1_000, |flight| R::kind(&flight.message).starts_with("recovery"));
    }

    fn lose(&mut self, lost: impl Fn(&Flight<R>) -> bool) {
        self.bed.lose_where(|flight| lost(flight));
    }

    fn run_among(&mut self, ids: [NodeId; 2]) {
        self.bed.run(1_000, |flight| ids.contains(&flight.from) && ids.contains(&flight.to));
    }

    /// What slot 1 was decided to be, where it was decided first.
    fn first_decision(&self) -> Option<String> {
        match self.bed.chosen().get(&Slot(1))? {
            Decision::Commands(commands) => Some(String::from_utf8_lossy(commands).into_owned()),
            Decision::Members(_) | Decision::Nothing => None,
        }
    }

    fn broken(&self) -> Option<&'static str> {
        self.bed.violation().map(|violation| violation.invariant)
    }
}

/// Repeats what the replica within asked for, in order, so that tickets stay what they were.
fn pass_on<W>(mut inner: Outbox<crate::Viewstamped>, out: &mut Outbox<W>, wrap: impl Fn(Message) -> W::Message)
where
    W: Replica<Record = Record, Timer = Timer>,
{
    for output in inner.take() {
        match output {
            Output::Persist { records, .. } => drop(out.persist(records)),
            Output::Send { to, message, after } => out.send_after(after, to, wrap(message)),
            Output::SetTimer { timer, at_least, at_most } => out.set_timer(timer, at_least, at_most),
            Output::CancelTimer(timer) => out.cancel_timer(timer),
            Output::Decide { slot, decision } => out.decide(slot, decision),
            Output::Refuse { refused, why } => out.refuse(refused, why),
            Output::Lead { era, who, ready, settled } => out.lead(era, who, ready, settled),
            Output::Members { members, change } => out.members(members, change),
            Output::Trace(event) => out.trace(|| event),
            other => panic!("the stories have no {other:?}"),
        }
    }
}
