//! The single things that can happen.

use crate::bounds::{Bounds, Disks, Spent};
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Input, Replica};
use quorate_types::NodeId;

/// One thing that happens to a cluster; `T` names timers. Indexes are positions in `Testbed::flights` at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<T> {
    /// A message arrives.
    Deliver(u32),
    /// A copy of a message arrives; another is still under way.
    DeliverCopy(u32),
    /// A message is lost.
    Lose(u32),
    /// A timer's deadline passes.
    Expire(NodeId, T),
    /// The oldest so many writes of a node complete in one flush.
    Complete(NodeId, u32),
    /// A node crashes; the oldest so many writes under way survive; it starts again.
    Crash(NodeId, u32),
    /// The client's wish of this number reaches its node.
    Wish(u32),
}

/// Something a client wants of a node, once, at any moment.
#[derive(Clone, Debug)]
pub(crate) struct Wish<R: Replica> {
    pub(crate) node: NodeId,
    pub(crate) input: Input<R>,
}

/// Everything that can happen now, within the bounds.
pub(crate) fn possible<R: Replica>(
    testbed: &Testbed<R>,
    bounds: &Bounds<R>,
    spent: &Spent,
    wishes: &[Wish<R>],
) -> Vec<Action<R::Timer>> {
    let mut actions = Vec::new();
    for (at, flight) in testbed.flights().iter().enumerate() {
        if testbed.flights()[..at].contains(flight) {
            continue;
        }
        let index = at as u32;
        actions.push(Action::Deliver(index));
        if spent.duplicates < bounds.max_duplicates {
            actions.push(Action::DeliverCopy(index));
        }
        if spent.drops < bounds.max_drops {
            actions.push(Action::Lose(index));
        }
    }
    for id in testbed.ids() {
        let outstanding = testbed.node(id).outstanding() as u32;
        let may_crash = spent.leaves_a_crash(bounds);
        match bounds.disks {
            Disks::AnyDelay => {
                actions.extend((1..=outstanding).map(|count| Action::Complete(id, count)));
                actions.extend((0..=outstanding).filter(|_| may_crash).map(|surviving| Action::Crash(id, surviving)));
            }
            Disks::StallBeforeCrash if may_crash || spent.stalled.contains(&id) => actions.push(Action::Crash(id, 0)),
            Disks::StallBeforeCrash => {}
        }
        let armed = testbed.node(id).armed().iter();
        let allowed = armed.filter(|timer| timer_bound(bounds, spent, id, **timer).is_some());
        actions.extend(allowed.map(|timer| Action::Expire(id, *timer)));
    }
    let open = (0..wishes.len() as u32).filter(|number| spent.wishes & (1 << number) == 0);
    actions.extend(open.map(Action::Wish));
    actions
}

/// The first bound that still lets this timer fire here.
fn timer_bound<R: Replica>(bounds: &Bounds<R>, spent: &Spent, id: NodeId, timer: R::Timer) -> Option<usize> {
    bounds.timers.iter().enumerate().position(|(at, bound)| {
        bound.timer == timer && bound.node.is_none_or(|node| node == id) && spent.firings[at] < bound.most
    })
}

/// Notes what the action uses of the bounds.
fn spend<R: Replica>(action: Action<R::Timer>, bounds: &Bounds<R>, spent: &mut Spent) {
    match action {
        Action::Deliver(_) | Action::Complete(..) => {}
        Action::DeliverCopy(_) => spent.duplicates += 1,
        Action::Lose(_) => spent.drops += 1,
        Action::Expire(id, timer) => {
            if let Some(at) = timer_bound(bounds, spent, id, timer) {
                spent.firings[at] += 1;
            }
        }
        Action::Crash(id, _) => {
            spent.crashes += 1;
            spent.stalled.retain(|stalled| *stalled != id);
        }
        Action::Wish(number) => spent.wishes |= 1 << number,
    }
}

/// One action with everything drawn about it: what a schedule consists of.
#[derive(Clone, Debug)]
pub(crate) struct Step<R: Replica> {
    pub(crate) action: Action<R::Timer>,
    /// Answers to `Env::choose`, then 0.
    pub(crate) choices: Vec<u64>,
    /// Under [`Disks::StallBeforeCrash`]: so many writes complete at once, then the disk stalls. `None`: all complete.
    pub(crate) stalls_after: Option<u32>,
}

/// What came of a step.
pub(crate) struct Outcome {
    /// The bounds asked of `Env::choose`.
    pub(crate) asked: Vec<u64>,
    /// How many writes completed at once.
    pub(crate) completed: u32,
}

/// Makes it happen, and notes what it uses of the bounds.
pub(crate) fn perform<R: Replica>(
    testbed: &mut Testbed<R>,
    spent: &mut Spent,
    step: &Step<R>,
    wishes: &[Wish<R>],
    bounds: &Bounds<R>,
) -> Outcome {
    spend(step.action, bounds, spent);
    testbed.script_choices(step.choices.iter().copied());
    match step.action {
        Action::Deliver(index) => testbed.deliver(index as usize),
        Action::DeliverCopy(index) => testbed.deliver_copy(index as usize),
        Action::Lose(index) => testbed.lose(index as usize),
        Action::Expire(id, timer) => {
            testbed.expire(id, timer);
        }
        Action::Complete(id, count) => testbed.complete_writes(id, count as usize),
        Action::Crash(id, surviving) => {
            testbed.crash(id, surviving as usize);
            testbed.restart(id);
        }
        Action::Wish(number) => {
            let wish = &wishes[number as usize];
            testbed.input(wish.node, wish.input.clone());
        }
    }
    let completed = match bounds.disks {
        Disks::AnyDelay => 0,
        Disks::StallBeforeCrash => complete_until_stall(testbed, spent, step.stalls_after),
    };
    Outcome { asked: testbed.take_asked(), completed }
}

/// Completes writes one by one on every disk that does not stall; the one whose turn it is after `stalls_after` of them
/// stalls from now on.
fn complete_until_stall<R: Replica>(testbed: &mut Testbed<R>, spent: &mut Spent, stalls_after: Option<u32>) -> u32 {
    let mut completed = 0;
    let ids: Vec<NodeId> = testbed.ids().collect();
    let busy = |testbed: &Testbed<R>, spent: &Spent| {
        ids.iter().copied().find(|id| testbed.node(*id).outstanding() > 0 && !spent.stalled.contains(id))
    };
    while let Some(id) = busy(testbed, spent) {
        if stalls_after == Some(completed) {
            spent.stalled.push(id);
            spent.stalled.sort_unstable();
        } else {
            testbed.complete_writes(id, 1);
            completed += 1;
        }
    }
    completed
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
pub(crate) fn describe<R: Replica>(testbed: &Testbed<R>, action: Action<R::Timer>, wishes: &[Wish<R>]) -> String {
    let flight = |index: u32| {
        let flight = &testbed.flights()[index as usize];
        format!("from {} to {}: {:?}", flight.from, flight.to, flight.message)
    };
    match action {
        Action::Deliver(index) => format!("deliver {}", flight(index)),
        Action::DeliverCopy(index) => format!("deliver a copy {}", flight(index)),
        Action::Lose(index) => format!("lose {}", flight(index)),
        Action::Expire(id, timer) => format!("{id}: timer {} fires", timer_name::<R>(timer)),
        Action::Complete(id, count) => {
            let of = testbed.node(id).outstanding();
            format!("{id}: {count} of {of} writes become durable")
        }
        Action::Crash(id, surviving) => {
            let of = testbed.node(id).outstanding();
            format!("{id}: crash and restart; {surviving} of {of} writes under way survive")
        }
        Action::Wish(number) => {
            let wish = &wishes[number as usize];
            format!("{}: a client asks: {:?}", wish.node, wish.input)
        }
    }
}

fn timer_name<R: Replica>(timer: R::Timer) -> String {
    let named = R::TIMERS.iter().find(|(_, known)| *known == timer);
    named.map_or_else(|| format!("{timer:?}"), |(name, _)| (*name).to_owned())
}
