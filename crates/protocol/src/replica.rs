//! The trait itself, and what a replica is opened with.

use crate::{Input, Outbox, Status};
use quorate_types::{ClusterId, DiskId, Incarnation, Membership, NodeId, Slot, Ticket, Time};
use quorate_wire::{Agreement, Reader, Wire, WireError};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;
use thiserror::Error;

/// Time and chance, as given for one call.
pub trait Env {
    /// This node's monotonic clock, read after the inputs at hand were dequeued. For leases only.
    fn now(&self) -> Time;

    /// One of `0..bound`; `bound` is at least 1.
    fn choose(&mut self, bound: u64) -> u64;
}

/// How a node came to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// A founding member of a new cluster with these members. Ignored when durable state is found.
    Found(Membership),
    /// Added to a running cluster: knows nobody until it is spoken to.
    Join,
}

/// Who this replica is. Fixed for one incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Setup {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub me: NodeId,
    /// Its disk.
    pub disk: DiskId,
    /// How often its journal was opened, this time included.
    pub incarnation: Incarnation,
    /// How it came to be.
    pub start: Start,
}

impl Wire for Setup {
    fn encode(&self, out: &mut Vec<u8>) {
        self.cluster.encode(out);
        self.me.encode(out);
        self.disk.encode(out);
        self.incarnation.encode(out);
        let founders = match &self.start {
            Start::Found(members) => Some(members.clone()),
            Start::Join => None,
        };
        founders.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Setup, WireError> {
        Ok(Setup {
            cluster: ClusterId::decode(input)?,
            me: NodeId::decode(input)?,
            disk: DiskId::decode(input)?,
            incarnation: Incarnation::decode(input)?,
            start: Option::decode(input)?.map_or(Start::Join, Start::Found),
        })
    }
}

/// What survived: read from the journal and the store before opening.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Durable<R: Replica> {
    /// Every record still kept, in the order written, with its ticket.
    pub records: Vec<(Ticket, R::Record)>,
    /// What the store's state describes, where it came by snapshot: checked against the records.
    pub anchor: Option<R::Anchor>,
    /// The store's durable applied mark: slots up to here are not decided again.
    pub applied: Slot,
}

impl<R: Replica> Durable<R> {
    /// A fresh node's: nothing.
    #[must_use]
    pub fn nothing() -> Durable<R> {
        Durable { records: Vec::new(), anchor: None, applied: Slot::ZERO }
    }
}

/// Why a replica cannot be opened from what was found. The node does not start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The records contradict each other or the store.
    #[error("the durable records contradict each other: {why}")]
    Inconsistent {
        /// In words.
        why: String,
    },
    /// The settings make no sense.
    #[error("the protocol's settings make no sense: {why}")]
    Settings {
        /// In words.
        why: String,
    },
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
#[error("invariant {invariant} is violated: {detail}")]
pub struct Violation {
    /// Its name as the protocol's first page numbers it.
    pub invariant: &'static str,
    /// With which values.
    pub detail: String,
}

/// A consensus protocol as a deterministic value. The crate's first page has the contract for both sides.
pub trait Replica: Clone + Debug + Eq + Hash + Sized + 'static {
    /// Replica to replica.
    type Message: Clone + Debug + Eq + Hash + Wire;
    /// What must survive a crash.
    type Record: Clone + Debug + Eq + Hash + Wire;
    /// Describes a decided prefix that a snapshot replaces.
    type Anchor: Clone + Debug + Eq + Hash + Wire;
    /// Names of timers. Deadlines live in the driver.
    type Timer: Copy + Debug + Ord + Hash + 'static;
    /// Settings.
    type Config: Clone + Debug;

    /// The protocol's name, as journals and hellos carry it.
    const PROTOCOL: &'static str;

    /// Whether what a former leader proposed may be decided behind what its settled successor decides. So it is where slots are chosen one by
    /// one: of a slot that the successor's quorum had not accepted and that it does not use, a later leader may find the old proposal.
    const LATE_PROPOSALS: bool = false;

    /// Every timer with its name in scenarios.
    const TIMERS: &'static [(&'static str, Self::Timer)];

    /// Becomes the replica that `found` describes: the only constructor. Emits its first timers, the leader it knows
    /// (`Lead`) and its membership (`Members`), and decides whatever is known decided behind `found.applied`.
    ///
    /// Where the last record that stands for a prefix names a snapshot beyond `found.applied`, the crash came between that
    /// record and the installation: opening succeeds, emits [`crate::Output::InstallSnapshot`] of that name, after no write, and
    /// holds decisions back until it is applied, just as the replica before the crash did. A driver that no longer has the
    /// bytes must stop the node and say which are missing.
    ///
    /// # Errors
    /// When the records contradict each other or the store, or when slots between the applied mark and the log are
    /// nowhere. Nothing may be sent then.
    fn open(
        setup: &Setup,
        config: &Self::Config,
        found: Durable<Self>,
        out: &mut Outbox<Self>,
    ) -> Result<Self, OpenError>;

    /// Takes one input. Total.
    fn step(&mut self, env: &mut dyn Env, input: Input<Self>, out: &mut Outbox<Self>);

    /// Ends a batch of inputs: replication, commit news and read rounds leave here.
    fn settle(&mut self, env: &mut dyn Env, out: &mut Outbox<Self>);

    /// The cheap invariants; called after every settle, in production too.
    ///
    /// # Errors
    /// The first that does not hold.
    fn check_invariants(&self) -> Result<(), Violation>;

    /// All invariants, for simulator and explorer.
    ///
    /// # Errors
    /// The first that does not hold.
    fn check_deep(&self) -> Result<(), Violation> {
        self.check_invariants()
    }

    /// For people and metrics.
    fn status(&self) -> Status;

    /// What only this protocol has to say of itself, for people: names with values in words.
    fn particulars(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The settings that all members must have alike to be safe. Drivers keep members apart that differ in one: no message of one
    /// may reach the other.
    #[must_use]
    fn agreements(_config: &Self::Config) -> Vec<Agreement> {
        Vec::new()
    }

    /// For how long, on its own clock, what this replica promised others may bind it after it stops; a replica opened with these
    /// same settings sees to that itself. Before one is opened with settings for which this is less, drivers let so long pass.
    #[must_use]
    fn promises_last(_config: &Self::Config) -> Duration {
        Duration::ZERO
    }

    /// The last slot of the prefix that an anchor describes.
    fn anchored(anchor: &Self::Anchor) -> Slot;

    /// What a message is called in scenarios and traces, such as `append`.
    fn kind(message: &Self::Message) -> &'static str;

    /// The era in which the entry in this slot was made; nothing where the protocol keeps none, or no longer knows. Of a decided
    /// slot the same on all replicas, whether they store its commands or not.
    fn era_at(&self, _slot: Slot) -> Option<u64> {
        None
    }

    /// The durability ghost: whether this replica, just opened from nothing but what is durable, stands by the claim
    /// that `message` to `to` makes (a vote, an acknowledgement, a promise). Messages that claim nothing are `true`.
    fn vouches(&self, to: NodeId, message: &Self::Message) -> bool;
}
