//! The single things that can happen.

use quorate_protocol::testbed::{Flight, Testbed};
use quorate_protocol::{Input, Replica};
use quorate_types::NodeId;
use std::collections::BTreeSet;

/// One thing that happens to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<R: Replica> {
    /// A message arrives.
    Deliver(Flight<R>),
    /// A copy of a message arrives; another is still under way.
    DeliverCopy(Flight<R>),
    /// A message is lost.
    Lose(Flight<R>),
    /// A timer's deadline passes.
    Expire(NodeId, R::Timer),
    /// The oldest so many writes of a node complete in one flush.
    Complete(NodeId, usize),
    /// A node crashes; the oldest so many writes under way survive; it starts again.
    Crash(NodeId, usize),
    /// What a client wants of a node reaches it.
    Wish(NodeId, Input<R>),
}

/// Something a client wants of a node, once, at any moment.
#[derive(Clone, Debug)]
pub(crate) struct Wish<R: Replica> {
    pub(crate) node: NodeId,
    pub(crate) input: Input<R>,
}

/// One action with everything drawn about it: what a schedule consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<R: Replica> {
    /// What happens.
    pub action: Action<R>,
    /// Answers to `Env::choose`, then 0.
    pub choices: Vec<u64>,
    /// Under [`crate::Disks::StallBeforeCrash`]: so many writes complete at once, then the disk stalls. `None`: all complete.
    pub stalls_after: Option<u32>,
}

impl<R: Replica> Step<R> {
    pub(crate) fn plain(action: Action<R>) -> Step<R> {
        Step { action, choices: Vec::new(), stalls_after: None }
    }
}

/// What came of a step.
pub(crate) struct Outcome {
    /// The bounds asked of `Env::choose`.
    pub(crate) asked: Vec<u64>,
    /// How many writes completed at once.
    pub(crate) completed: u32,
    /// Whose disk stalls from now on.
    pub(crate) stalls: Option<NodeId>,
}

/// Makes it happen. `stalled` are the nodes whose disk stalls, or `None` where writes complete at any later time. Messages
/// in flight are the caller's to keep: what arrives is not taken out of flight here, and what is sent is added.
pub(crate) fn perform<R: Replica>(
    testbed: &mut Testbed<R>,
    step: &Step<R>,
    stalled: Option<&mut BTreeSet<NodeId>>,
) -> Outcome {
    testbed.script_choices(step.choices.iter().copied());
    let mut restarted = None;
    match &step.action {
        Action::Deliver(flight) | Action::DeliverCopy(flight) => {
            testbed.input(flight.to, Input::Receive { from: flight.from, message: flight.message.clone() });
        }
        Action::Lose(_) => {}
        Action::Expire(id, timer) => {
            testbed.expire(*id, *timer);
        }
        Action::Complete(id, count) => testbed.complete_writes(*id, *count),
        Action::Crash(id, surviving) => {
            testbed.crash(*id, *surviving);
            testbed.restart(*id);
            restarted = Some(*id);
        }
        Action::Wish(id, input) => testbed.input(*id, input.clone()),
    }
    let (completed, stalls) = match stalled {
        None => (0, None),
        Some(stalled) => {
            restarted.map(|id| stalled.remove(&id));
            complete_until_stall(testbed, stalled, step.stalls_after)
        }
    };
    Outcome { asked: testbed.take_asked(), completed, stalls }
}

/// Completes writes one by one on every disk that does not stall; the one whose turn it is after `stalls_after` of them
/// stalls from now on.
fn complete_until_stall<R: Replica>(
    testbed: &mut Testbed<R>,
    stalled: &mut BTreeSet<NodeId>,
    stalls_after: Option<u32>,
) -> (u32, Option<NodeId>) {
    let (mut completed, mut stalls) = (0, None);
    let ids: Vec<NodeId> = testbed.ids().collect();
    let busy = |testbed: &Testbed<R>, stalled: &BTreeSet<NodeId>| {
        ids.iter().copied().find(|id| testbed.node(*id).outstanding() > 0 && !stalled.contains(id))
    };
    while let Some(id) = busy(testbed, stalled) {
        if stalls_after == Some(completed) && stalls.is_none() {
            stalled.insert(id);
            stalls = Some(id);
        } else {
            testbed.complete_writes(id, 1);
            completed += 1;
        }
    }
    (completed, stalls)
}

/// The same action with other luck: together with the step just made, every outcome of every choice and, where disks may stall,
/// every moment for that is tried once.
pub(crate) fn variants<R: Replica>(step: &Step<R>, outcome: &Outcome, disks_stall: bool) -> Vec<Step<R>> {
    let mut variants: Vec<Step<R>> = other_choices(&step.choices, &outcome.asked)
        .into_iter()
        .map(|choices| Step { choices, ..step.clone() })
        .collect();
    if step.stalls_after.is_none() && disks_stall {
        let stall = |completed| Step { stalls_after: Some(completed), ..step.clone() };
        variants.extend((0..outcome.completed).map(stall));
    }
    variants
}

/// The scripts that differ from one just played in a later choice: together with it, every outcome of every
/// choice is tried once.
fn other_choices(played: &[u64], asked: &[u64]) -> Vec<Vec<u64>> {
    let mut scripts = Vec::new();
    for (at, bound) in asked.iter().enumerate().skip(played.len()) {
        for choice in 1..*bound {
            let mut script = played.to_vec();
            script.resize(at, 0);
            script.push(choice);
            scripts.push(script);
        }
    }
    scripts
}

/// Completes every write, and those that follow from that.
pub(crate) fn complete_all<R: Replica>(testbed: &mut Testbed<R>) {
    let ids: Vec<NodeId> = testbed.ids().collect();
    while ids.iter().any(|id| testbed.node(*id).outstanding() > 0) {
        for id in &ids {
            testbed.complete_writes(*id, usize::MAX);
        }
    }
}

/// The action in words, in the state before it.
pub(crate) fn describe<R: Replica>(testbed: &Testbed<R>, action: &Action<R>) -> String {
    let flight = |flight: &Flight<R>| format!("from {} to {}: {:?}", flight.from, flight.to, flight.message);
    match action {
        Action::Deliver(message) => format!("deliver {}", flight(message)),
        Action::DeliverCopy(message) => format!("deliver a copy {}", flight(message)),
        Action::Lose(message) => format!("lose {}", flight(message)),
        Action::Expire(id, timer) => format!("{id}: timer {} fires", timer_name::<R>(*timer)),
        Action::Complete(id, count) => {
            let of = testbed.node(*id).outstanding();
            format!("{id}: {count} of {of} writes become durable")
        }
        Action::Crash(id, surviving) => {
            let of = testbed.node(*id).outstanding();
            format!("{id}: crash and restart; {surviving} of {of} writes under way survive")
        }
        Action::Wish(id, input) => format!("{id}: a client asks: {input:?}"),
    }
}

/// What scenarios call a timer.
pub(crate) fn timer_name<R: Replica>(timer: R::Timer) -> String {
    let named = R::TIMERS.iter().find(|(_, known)| *known == timer);
    named.map_or_else(|| format!("{timer:?}"), |(name, _)| (*name).to_owned())
}
