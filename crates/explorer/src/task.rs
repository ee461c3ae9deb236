//! What a search is to do: the same for all its threads, and never changed by them.

use crate::action::Wish;
use crate::bounds::{Bounds, Disks, Spending};
use crate::catalogue::{Decided, Deed, DeedKind};
use quorate_protocol::testbed::{Flight, TestNode, Testbed};
use quorate_protocol::{Replica, Violation};
use quorate_types::NodeId;
use std::sync::Arc;

/// A replica that threads can share: every protocol of plain values.
pub trait Explorable:
    Replica<Message: Send + Sync, Record: Send + Sync, Anchor: Send + Sync, Timer: Send + Sync, Config: Send + Sync>
    + Send
    + Sync
{
}

impl<R> Explorable for R where
    R: Replica<Message: Send + Sync, Record: Send + Sync, Anchor: Send + Sync, Timer: Send + Sync, Config: Send + Sync>
        + Send
        + Sync
{
}

pub(crate) type Property<R> = Box<dyn Fn(&Testbed<R>) -> Result<(), String> + Send + Sync>;
pub(crate) type Predicate<R> = Box<dyn Fn(&Testbed<R>) -> bool + Send + Sync>;
pub(crate) type Filter<R> = Box<dyn Fn(&Flight<R>) -> bool + Send + Sync>;
/// Of the receiver and the message.
pub(crate) type Forgetting<R> = Box<dyn Fn(&TestNode<R>, &<R as Replica>::Message) -> bool + Send + Sync>;
/// Of the receiver, the sender if there is such a node, and the message.
pub(crate) type ForgettingBetween<R> =
    Box<dyn Fn(&TestNode<R>, Option<&TestNode<R>>, &<R as Replica>::Message) -> bool + Send + Sync>;

/// What a search is to do.
pub(crate) struct Task<R: Replica> {
    /// Settings; its nodes are those of the root.
    pub(crate) testbed: Testbed<R>,
    /// By place.
    pub(crate) ids: Vec<NodeId>,
    pub(crate) bounds: Bounds<R>,
    pub(crate) wishes: Vec<Wish<R>>,
    /// Of nodes and decisions.
    pub(crate) properties: Vec<(&'static str, Property<R>)>,
    /// Of messages too.
    pub(crate) message_properties: Vec<(&'static str, Property<R>)>,
    pub(crate) sometimes: Vec<(&'static str, Predicate<R>)>,
    pub(crate) passes: Option<Filter<R>>,
    pub(crate) forgetting: Option<Forgetting<R>>,
    pub(crate) forgetting_between: Option<ForgettingBetween<R>>,
    pub(crate) keeps_refusals: bool,
    /// Everything that can be spent; deeds name positions here.
    pub(crate) spendings: Vec<Spending<R::Timer>>,
}

impl<R: Replica> Task<R> {
    pub(crate) const DUPLICATE: u32 = 0;
    pub(crate) const DROP: u32 = 1;
    pub(crate) const CRASH: u32 = 2;

    /// Everything that can be spent within the bounds.
    pub(crate) fn all_spendings(ids: &[NodeId], bounds: &Bounds<R>, wishes: &[Wish<R>]) -> Vec<Spending<R::Timer>> {
        let timers = ids.iter().flat_map(|id| {
            let bounded = |timer: &R::Timer| bounds.timers.iter().any(|bound| bound.speaks_of(*id, *timer));
            let timers = R::TIMERS.iter().map(|(_, timer)| *timer).filter(bounded);
            timers.map(|timer| Spending::Firing(*id, timer)).collect::<Vec<_>>()
        });
        let wishes = (0..wishes.len() as u32).map(Spending::Wish);
        [Spending::Duplicate, Spending::Drop, Spending::Crash].into_iter().chain(timers).chain(wishes).collect()
    }

    /// Whether messages are taken out of flight that can change nothing any more.
    pub(crate) fn forgets(&self) -> bool {
        self.forgetting.is_some() || self.forgetting_between.is_some()
    }

    pub(crate) fn place(&self, id: NodeId) -> Option<usize> {
        self.ids.iter().position(|known| *known == id)
    }

    /// Whether a disk may stall until its node crashes.
    pub(crate) fn disks_stall(&self) -> bool {
        self.bounds.disks == Disks::StallBeforeCrash && self.bounds.max_crashes > 0
    }

    /// What may happen to a node besides messages.
    pub(crate) fn deeds(&self, id: NodeId, node: &TestNode<R>, stalled: bool) -> Vec<Deed<R::Timer>> {
        let mut deeds = Vec::new();
        let outstanding = node.outstanding();
        match self.bounds.disks {
            Disks::AnyDelay => {
                deeds.extend((1..=outstanding).map(|count| Deed { what: DeedKind::Complete(count), spending: None }));
                let crash = |surviving| Deed { what: DeedKind::Crash(surviving), spending: Some(Self::CRASH) };
                deeds.extend((0..=outstanding).map(crash));
            }
            // The crash was spent when the disk began to stall.
            Disks::StallBeforeCrash => {
                let spending = (!stalled).then_some(Self::CRASH);
                deeds.push(Deed { what: DeedKind::Crash(0), spending });
            }
        }
        for (spending, what) in self.spendings.iter().enumerate() {
            let what = match what {
                Spending::Firing(at, timer) if *at == id && node.armed().contains(timer) => DeedKind::Expire(*timer),
                Spending::Wish(number) if self.wishes[*number as usize].node == id => DeedKind::Wish(*number),
                _ => continue,
            };
            deeds.push(Deed { what, spending: Some(spending as u32) });
        }
        deeds
    }

    /// A cluster of these nodes, by place.
    pub(crate) fn assembled(
        &self,
        nodes: impl Iterator<Item = Arc<TestNode<R>>>,
        decided: Decided,
        flights: Vec<Flight<R>>,
    ) -> Testbed<R> {
        self.testbed.assembled(self.ids.iter().copied().zip(nodes), decided, flights)
    }

    /// The first of the properties of nodes and decisions that does not hold.
    pub(crate) fn broken(properties: &[(&'static str, Property<R>)], testbed: &Testbed<R>) -> Option<Violation> {
        let broken = |(invariant, check): &(&'static str, Property<R>)| {
            check(testbed).err().map(|detail| Violation { invariant, detail })
        };
        properties.iter().find_map(broken)
    }
}
