//! What a replica can be told.

use crate::Replica;
use bytes::Bytes;
use quorate_types::{Incarnation, Membership, NodeId, Slot, Ticket};
use quorate_wire::{Reader, Wire, WireError};
use std::fmt;

/// Names a request of this node's machine, for refusing it. Fresh for every try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names one read round. Unique over nodes, restarts and retries, so that a delayed answer can never
/// serve another read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadToken {
    /// The node that reads.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Counts up within the incarnation.
    pub number: u64,
}

impl fmt::Display for ReadToken {
    /// As people read it: node, incarnation, number.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.node, self.incarnation.0, self.number)
    }
}

impl Wire for ReadToken {
    fn encode(&self, out: &mut Vec<u8>) {
        self.node.encode(out);
        self.incarnation.encode(out);
        self.number.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(ReadToken {
            node: NodeId::decode(input)?,
            incarnation: Incarnation::decode(input)?,
            number: input.u64("read number")?,
        })
    }
}

/// Names a snapshot on this node: a view pinned for sending, or one received. Given by the driver. A name is never used
/// twice, over restarts neither: the journal may still name a received one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub u64);

impl Wire for RequestId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(RequestId(input.u64("request")?))
    }
}

impl Wire for SnapshotId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(SnapshotId(input.u64("snapshot")?))
    }
}

/// Which keys a command or read touches. Protocols that order everything ignore it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Footprint {
    /// Interferes with everything.
    Everything,
    /// Touches just these keys.
    Keys {
        /// Keys read.
        reads: Vec<Bytes>,
        /// Keys written.
        writes: Vec<Bytes>,
    },
}

/// What fills one slot: commands in a form only the machine reads. Built once and shared by the log, the
/// journal record and every message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    /// The commands. Opaque to protocols, never empty.
    pub commands: Bytes,
    /// What they touch.
    pub footprint: Footprint,
}

impl Batch {
    /// A batch that interferes with everything.
    #[must_use]
    pub fn new(commands: Bytes) -> Batch {
        Batch { commands, footprint: Footprint::Everything }
    }
}

/// News of a connection. A hint for liveness; safety never rests on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkState {
    /// Connected.
    Up,
    /// Lost, reason unknown.
    Down,
    /// The peer's machine answers that nobody listens: its process is gone.
    Refused,
}

/// How sending a snapshot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransferOutcome {
    /// The receiver has it durably and installed.
    Installed,
    /// It could not be pinned, did not arrive, or was dropped there; try again later.
    Failed,
}

/// Everything that can happen to a replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input<R: Replica> {
    /// A message arrived. It may be old, repeated or out of order.
    Receive {
        /// The sender, as authenticated by the driver.
        from: NodeId,
        /// What it says.
        message: R::Message,
    },
    /// A timer's deadline passed.
    Expired(R::Timer),
    /// The durable write of this ticket, and of every earlier one, completed.
    Persisted(Ticket),
    /// Please decide this batch.
    Propose {
        /// For refusing it.
        request: RequestId,
        /// What to decide.
        batch: Batch,
    },
    /// Please name a slot such that a state with everything up to it applied reflects every write acknowledged
    /// anywhere before now. One token covers all reads waiting.
    Read {
        /// Comes back in `ReadAt` or `Refuse`.
        token: ReadToken,
        /// What will be read.
        footprint: Footprint,
    },
    /// The machine has applied.
    Applied {
        /// Everything up to here is applied in memory.
        through: Slot,
        /// Everything up to here survives a crash without the log.
        durable: Slot,
        /// Rolling hash of all that was applied up to `through`.
        digest: u64,
    },
    /// Please change the members. The answer is a refusal, or the decision of just these members; where the leader changes
    /// meanwhile neither may come.
    Reconfigure {
        /// For refusing it.
        request: RequestId,
        /// The membership the requester saw. Another current one is a refusal.
        based_on: Membership,
        /// The wish: all members as they shall be, whatever the number of changes.
        members: Membership,
    },
    /// Please hand leadership over.
    Transfer {
        /// For refusing it.
        request: RequestId,
        /// To whom.
        to: NodeId,
    },
    /// News of a connection.
    Link {
        /// The peer.
        peer: NodeId,
        /// Its news.
        state: LinkState,
    },
    /// The machine holds a view of the applied prefix, as [`crate::Output::SendSnapshot`] asked.
    SnapshotPinned {
        /// Its name.
        id: SnapshotId,
        /// For whom.
        to: NodeId,
        /// The last slot in it.
        through: Slot,
    },
    /// Sending a snapshot ended.
    SnapshotSent {
        /// The receiver.
        to: NodeId,
        /// Which.
        id: SnapshotId,
        /// How.
        outcome: TransferOutcome,
    },
    /// A snapshot is complete, verified and durable on this node, and not yet installed. Answered with
    /// [`crate::Output::InstallSnapshot`] or [`crate::Output::DropSnapshot`].
    SnapshotArrived {
        /// Its name here.
        id: SnapshotId,
        /// What it describes.
        anchor: R::Anchor,
    },
}
