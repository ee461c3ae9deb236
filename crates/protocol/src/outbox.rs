//! Where a replica puts what it wants done.

use crate::output::{Decision, MembersChange, Output, Refusal, Refused};
use crate::{Event, ReadToken, Replica, SnapshotId};
use quorate_types::{Membership, NodeId, Slot, Ticket};
use std::time::Duration;

/// Collects outputs in order and hands out tickets. Owned by the driver, which empties it after each settle.
#[derive(Clone, Debug)]
pub struct Outbox<R: Replica> {
    outputs: Vec<Output<R>>,
    last_ticket: Ticket,
    tracing: bool,
}

impl<R: Replica> Outbox<R> {
    /// An empty outbox that goes on counting behind `last_ticket`. With `tracing` off, events are not even built.
    #[must_use]
    pub fn new(last_ticket: Ticket, tracing: bool) -> Outbox<R> {
        Outbox { outputs: Vec::new(), last_ticket, tracing }
    }

    /// Asks for a durable write and names it.
    pub fn persist(&mut self, records: Vec<R::Record>) -> Ticket {
        let ticket = self.next_ticket();
        self.outputs.push(Output::Persist { ticket, records });
        ticket
    }

    /// Asks for compaction; see [`Output::Compact`].
    pub fn compact(&mut self, baseline: Vec<R::Record>, drop_before: Ticket) -> Ticket {
        let ticket = self.next_ticket();
        self.outputs.push(Output::Compact { ticket, baseline, drop_before });
        ticket
    }

    /// Sends at once.
    pub fn send(&mut self, to: NodeId, message: R::Message) {
        self.send_after(Ticket::NONE, to, message);
    }

    /// Sends when `after` is durable.
    pub fn send_after(&mut self, after: Ticket, to: NodeId, message: R::Message) {
        self.outputs.push(Output::Send { to, message, after });
    }

    /// (Re)starts a timer with a drawn deadline.
    pub fn set_timer(&mut self, timer: R::Timer, at_least: Duration, at_most: Duration) {
        self.outputs.push(Output::SetTimer { timer, at_least, at_most });
    }

    /// Stops a timer.
    pub fn cancel_timer(&mut self, timer: R::Timer) {
        self.outputs.push(Output::CancelTimer(timer));
    }

    /// Hands out a decided slot.
    pub fn decide(&mut self, slot: Slot, decision: Decision) {
        self.outputs.push(Output::Decide { slot, decision });
    }

    /// Releases a read.
    pub fn read_at(&mut self, token: ReadToken, slot: Slot) {
        self.outputs.push(Output::ReadAt { token, slot });
    }

    /// Refuses for certain.
    pub fn refuse(&mut self, refused: Refused, why: Refusal) {
        self.outputs.push(Output::Refuse { refused, why });
    }

    /// Says who leads.
    pub fn lead(&mut self, era: u64, who: Option<NodeId>, ready: bool, settled: bool) {
        self.outputs.push(Output::Lead { era, who, ready, settled });
    }

    /// Says who the members are.
    pub fn members(&mut self, members: Membership, change: MembersChange) {
        self.outputs.push(Output::Members { members, change });
    }

    /// Asks for a snapshot to be sent, whole or without data.
    pub fn send_snapshot(&mut self, to: NodeId, at_least: Slot, with_data: bool) {
        self.outputs.push(Output::SendSnapshot { to, at_least, with_data });
    }

    /// Says what a pinned view describes.
    pub fn snapshot_anchor(&mut self, id: SnapshotId, to: NodeId, anchor: R::Anchor) {
        self.outputs.push(Output::SnapshotAnchor { id, to, anchor });
    }

    /// Asks for a snapshot to be installed.
    pub fn install_snapshot(&mut self, id: SnapshotId, anchor: R::Anchor, after: Ticket) {
        self.outputs.push(Output::InstallSnapshot { id, anchor, after });
    }

    /// Says that a snapshot serves nothing.
    pub fn drop_snapshot(&mut self, id: SnapshotId) {
        self.outputs.push(Output::DropSnapshot { id });
    }

    /// Hands out proof against a member: two messages that no correct one could have sent both.
    pub fn evidence(&mut self, against: NodeId, first: R::Message, second: R::Message) {
        self.outputs.push(Output::Evidence { against, first, second });
    }

    /// Says that this replica is done for good.
    pub fn retire(&mut self, why: &'static str) {
        self.outputs.push(Output::Retire { why });
    }

    /// Reports a guard. The closure runs only when somebody listens; it must not change anything.
    pub fn trace(&mut self, event: impl FnOnce() -> Event) {
        if self.tracing {
            self.outputs.push(Output::Trace(event()));
        }
    }

    /// The last ticket handed out. A message sent after it waits for everything asked so far.
    #[must_use]
    pub fn last_ticket(&self) -> Ticket {
        self.last_ticket
    }

    /// Whether events are collected: for a replica that hands inputs on to another one inside.
    #[must_use]
    pub fn tracing(&self) -> bool {
        self.tracing
    }

    /// Whether a timer was set or cancelled in this batch. A deadline that passed while the batch was gathered is of the time before, and
    /// the driver, which moves timers when the batch is settled, must not deliver it any more.
    #[must_use]
    pub fn has_moved(&self, timer: R::Timer) -> bool {
        self.outputs.iter().any(|output| match output {
            Output::SetTimer { timer: moved, .. } | Output::CancelTimer(moved) => *moved == timer,
            _ => false,
        })
    }

    /// Takes everything collected, in order.
    pub fn take(&mut self) -> Vec<Output<R>> {
        std::mem::take(&mut self.outputs)
    }

    /// Whether nothing is collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket = Ticket(self.last_ticket.0 + 1);
        self.last_ticket
    }
}
