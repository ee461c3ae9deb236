//! What a replica can ask for.

use crate::{Event, ReadToken, Replica, RequestId, SnapshotId};
use bytes::Bytes;
use quorate_types::{Membership, NodeId, Slot, Ticket};
use std::time::Duration;

/// What a slot was decided to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// A batch of commands, as proposed.
    Commands(Bytes),
    /// A membership change that took effect in the log here.
    Members(Membership),
    /// Nothing to apply: a no-op or the protocol's own entry.
    Nothing,
}

/// What is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// A proposal, membership change or transfer.
    Request(RequestId),
    /// A read.
    Read(ReadToken),
}

/// Why. A refusal is definite: the request never entered a log here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Somebody else leads, if anyone is known to.
    NotLeader {
        /// The one believed to lead.
        hint: Option<NodeId>,
    },
    /// Leadership changed while a read waited; it had no effect and may be tried again.
    LeaderChanged,
    /// Too much is undecided already.
    Overloaded,
    /// This version cannot do it.
    Unsupported(&'static str),
    /// The one slot of a single-decree protocol is decided.
    AlreadyDecided,
    /// Not now, for this reason, which passes by itself: try again soon.
    NotReady(&'static str),
    /// The membership a change was based on is not the one in force: look at it and wish again.
    MembershipChanged,
    /// It makes no sense, for this reason, and never will.
    Invalid(&'static str),
}

/// [`Refusal::NotReady`] of a wish that makes a voter of a learner that has not caught up, or is not heard of.
pub const LEARNER_NOT_IN_SYNC: &str = "the learner to be made a voter is not in sync with the leader";

/// [`Refusal::NotReady`] of a transfer whose target was asked to lead and did not take over in time. It may yet.
pub const TRANSFER_IN_VAIN: &str = "the one chosen did not take over within an election timeout";

/// Why the membership in force on this replica changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MembersChange {
    /// In force since the replica opened.
    Opened,
    /// Its entry was appended.
    Appended,
    /// The entry that brought the previous one was truncated.
    RolledBack,
    /// It came with a snapshot.
    Installed,
    /// The membership is the same; who is to be reached besides changed.
    Reach,
}

/// Everything a replica can ask of its driver. The duties are on the crate's first page.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output<R: Replica> {
    /// Write these records behind all earlier ones, durably.
    Persist {
        /// Names the write.
        ticket: Ticket,
        /// In order.
        records: Vec<R::Record>,
    },
    /// Write the baseline behind all earlier records, durably; afterwards everything written under tickets
    /// before `drop_before` may be forgotten. The baseline repeats whatever of that is still needed.
    Compact {
        /// Names the write of the baseline.
        ticket: Ticket,
        /// Still needed, though older than `drop_before`.
        baseline: Vec<R::Record>,
        /// First ticket to keep.
        drop_before: Ticket,
    },
    /// Send once `after` is durable.
    Send {
        /// Receiver; never the sender itself.
        to: NodeId,
        /// What.
        message: R::Message,
        /// What must be durable first; [`Ticket::NONE`] for nothing.
        after: Ticket,
    },
    /// (Re)start a timer; its deadline is drawn by the driver within the bounds.
    SetTimer {
        /// Which.
        timer: R::Timer,
        /// Not before this long from now.
        at_least: Duration,
        /// Not after this long from now.
        at_most: Duration,
    },
    /// Stop a timer.
    CancelTimer(R::Timer),
    /// Slots are decided in order, without gaps, once per incarnation, starting behind `Durable::applied`; each
    /// is locally durable when it is handed out.
    Decide {
        /// Which slot.
        slot: Slot,
        /// What it is.
        decision: Decision,
    },
    /// Answer this read from any state with everything up to `slot` applied.
    ReadAt {
        /// Which read.
        token: ReadToken,
        /// How far must be applied.
        slot: Slot,
    },
    /// A definite no.
    Refuse {
        /// To what.
        refused: Refused,
        /// Why.
        why: Refusal,
    },
    /// Who is believed to lead, for forwarding. `ready` is this replica's own readiness to take proposals: a leader may
    /// cease to be ready, and become it again, within its era.
    Lead {
        /// Term, ballot, view or epoch.
        era: u64,
        /// The leader, if known. A protocol without leaders names the replica itself.
        who: Option<NodeId>,
        /// Whether proposals handed to this replica now would be taken.
        ready: bool,
        /// This replica leads and has decided something of its own era: its state machine, once it has applied what is
        /// decided, has everything that any earlier leader acknowledged. What only a leader with the whole past may do,
        /// such as letting client leases expire, starts here. False where nobody leads.
        settled: bool,
    },
    /// Whom this replica may have to speak to: keep connections with exactly these. It is the membership in force, and
    /// while that changes also those who leave, until they need not be told any more. The membership itself, for showing
    /// and for basing changes on, is the last one decided ([`Decision::Members`]), or in [`crate::Status`].
    Members {
        /// They. Of a member that changes, as it will be.
        members: Membership,
        /// Why they changed.
        change: MembersChange,
    },
    /// Pin a view of the state machine at its applied mark, for sending. Answered with
    /// [`crate::Input::SnapshotPinned`], or with [`crate::Input::SnapshotSent`] that failed, under any name, where
    /// that cannot be done.
    SendSnapshot {
        /// Receiver.
        to: NodeId,
        /// The view must cover this slot.
        at_least: Slot,
        /// Whether the receiver stores data. To one that does not, a state machine without any is sent in the view's place, as of
        /// the same slot.
        with_data: bool,
    },
    /// What the pinned view describes: send both, in the driver's own way, and answer with
    /// [`crate::Input::SnapshotSent`] in the end.
    SnapshotAnchor {
        /// The view.
        id: SnapshotId,
        /// Receiver.
        to: NodeId,
        /// Goes with the bytes and comes out in the receiver's [`crate::Input::SnapshotArrived`].
        anchor: R::Anchor,
    },
    /// Once `after` is durable, replace the state machine's state, in one durable step, by this snapshot that arrived;
    /// then say [`crate::Input::Applied`] with its last slot, durable that far. Until then no slot is decided;
    /// afterwards they go on behind it. One is under way at a time. From `after` on the bytes are needed until the
    /// state that replaces them is durable: a crash in between makes [`Replica::open`] ask for the same again.
    InstallSnapshot {
        /// Which.
        id: SnapshotId,
        /// What it describes.
        anchor: R::Anchor,
        /// The write that names it.
        after: Ticket,
    },
    /// This snapshot serves nothing: let go of the pinned view, or delete what arrived and tell its sender that it
    /// failed.
    DropSnapshot {
        /// Which.
        id: SnapshotId,
    },
    /// This replica is no longer needed and must be stopped for good: it is no member any more, and that is decided. Said
    /// an election timeout or so after it learnt that, so that what it owes to others and to its clients can leave; and
    /// again, if it is not stopped.
    Retire {
        /// In words.
        why: &'static str,
    },
    /// Two messages that no correct member could have sent both.
    Evidence {
        /// The member they convict.
        against: NodeId,
        /// The first.
        first: R::Message,
        /// The second.
        second: R::Message,
    },
    /// Why something was or was not done.
    Trace(Event),
}
