//! What a node is told, what it asks for, and what it says to other nodes.

use bytes::Bytes;
use quorate_disk::Operation;
use quorate_machine::transfer::TransferMessage;
use quorate_machine::{
    AskError, ClientTag, Consistency, MachineMessage, MemberChange, MemberFacts, RequestError, StateMachine,
};
use quorate_protocol::{Event, LinkState, Replica};
use quorate_types::{Membership, NodeId, Slot};
use quorate_wire::{Reader, Wire, WireError};
use std::time::Duration;
use thiserror::Error;

/// Which directory a disk write goes to. Each lane has at most one write under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The journal: everything waits for it.
    Journal,
    /// The store: in the background.
    Store,
}

/// Timers of the whole node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeTimer<T> {
    /// One of the protocol's.
    Protocol(T),
    /// Retries and time-outs of requests.
    Requests,
    /// The leader's duty wants to be called.
    Duty,
    /// A batch has gathered commands for long enough.
    Batch,
    /// Rate, repetitions and time-outs of snapshot transfers.
    Transfers,
    /// The next slice of what commands have condemned.
    Tidy,
    /// The next checkpoint.
    Checkpoint,
    /// The journal has been quiet for a while: time for its housekeeping.
    JournalIdle,
}

/// Node to node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NodeMessage<R: Replica> {
    /// The protocol's.
    Protocol(R::Message),
    /// The machine's: forwarded commands, errands, and what comes back.
    Machine(MachineMessage),
    /// A piece of a snapshot, or word of one.
    Transfer(TransferMessage),
}

impl<R: Replica> NodeMessage<R> {
    /// Whether it is one of many large ones that can wait: it must not travel in front of the others.
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        matches!(self, NodeMessage::Transfer(_))
    }
}

impl<R: Replica> Wire for NodeMessage<R> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            NodeMessage::Protocol(message) => {
                out.push(0);
                message.encode(out);
            }
            NodeMessage::Machine(message) => {
                out.push(1);
                message.encode(out);
            }
            NodeMessage::Transfer(message) => {
                out.push(2);
                message.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("node message")? {
            0 => Ok(NodeMessage::Protocol(R::Message::decode(input)?)),
            1 => Ok(NodeMessage::Machine(MachineMessage::decode(input)?)),
            2 => Ok(NodeMessage::Transfer(TransferMessage::decode(input)?)),
            kind => Err(WireError::UnknownKind { what: "node message", kind }),
        }
    }
}

/// What can happen to a node.
#[derive(Clone, Debug)]
pub enum NodeInput<R: Replica, S: StateMachine> {
    /// A message arrived from an authenticated member.
    Message {
        /// Sender.
        from: NodeId,
        /// What.
        message: NodeMessage<R>,
    },
    /// A timer fired.
    Expired(NodeTimer<R::Timer>),
    /// All operations of a write were performed. A failure is not an input: the driver stops the node.
    DiskDone {
        /// Where.
        lane: Lane,
        /// Which, as [`NodeOutput::Disk`] named it.
        write: u64,
    },
    /// A client wants a command applied.
    Write {
        /// For the reply. `u64::MAX` is the node's own, for what it writes itself.
        tag: ClientTag,
        /// The command.
        payload: Bytes,
    },
    /// A client asks.
    Read {
        /// For the reply.
        tag: ClientTag,
        /// What.
        query: S::Query,
        /// How fresh.
        consistency: Consistency,
    },
    /// A client has an errand for the leader's duty.
    Errand {
        /// For the answer.
        tag: ClientTag,
        /// What, in the duty's own codec. It may be carried out more than once.
        payload: Bytes,
    },
    /// A client wants the members changed. Any node may be asked.
    ChangeMembers {
        /// For the answer.
        tag: ClientTag,
        /// How.
        change: MemberChange,
    },
    /// A client wants another leader. Any node may be asked.
    MoveLeader {
        /// For the answer.
        tag: ClientTag,
        /// Whom.
        to: NodeId,
    },
    /// A member, perhaps this one, said this of itself. While this node leads, it sees to it that the members show it.
    Met(MemberFacts),
    /// What the disk has left, as far as the driver knows; to be told at start and then every second or so.
    FreeSpace {
        /// What the process may still write to the disk with the least, in bytes.
        free_bytes: u64,
    },
    /// News of a connection.
    Link {
        /// Peer.
        peer: NodeId,
        /// News.
        state: LinkState,
    },
}

/// Why a node must stop for good in this incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StopReason {
    /// An invariant is broken: serving on could give wrong answers.
    #[error("{0}")]
    Violation(quorate_protocol::Violation),
    /// Decided bytes are no commands, or a durable part contradicts another.
    #[error("{0}")]
    Inconsistent(String),
    /// No longer a member.
    #[error("this node is retired: {0}")]
    Retired(&'static str),
}

/// What a node wants done, in order.
#[derive(Clone, Debug)]
pub enum NodeOutput<R: Replica, S: StateMachine> {
    /// Send now; the gate inside has done its part. May be lost.
    Send {
        /// Receiver.
        to: NodeId,
        /// What.
        message: NodeMessage<R>,
    },
    /// (Re)start a timer; the driver draws the deadline.
    SetTimer {
        /// Which.
        timer: NodeTimer<R::Timer>,
        /// Not before.
        at_least: Duration,
        /// Not after.
        at_most: Duration,
    },
    /// Stop a timer.
    CancelTimer(NodeTimer<R::Timer>),
    /// Perform these in order, then say [`NodeInput::DiskDone`].
    Disk {
        /// Where.
        lane: Lane,
        /// Names it.
        write: u64,
        /// What.
        operations: Vec<Operation>,
    },
    /// Answer a client.
    Reply {
        /// Which request.
        tag: ClientTag,
        /// The answer.
        result: Result<S::Reply, RequestError>,
    },
    /// Answer a client's errand.
    Answer {
        /// Which request.
        tag: ClientTag,
        /// The duty's answer.
        result: Result<Bytes, RequestError>,
    },
    /// Answer a client's change of the members, or of the leader.
    Asked {
        /// Which request.
        tag: ClientTag,
        /// Done, and to be seen in [`crate::Node::roster`], or in the leader; or why not.
        result: Result<(), AskError>,
    },
    /// Who leads, as far as known here.
    Lead {
        /// Term, ballot, view or epoch.
        era: u64,
        /// Who.
        who: Option<NodeId>,
        /// Whether this node takes proposals itself.
        ready: bool,
    },
    /// Whom this node may have to speak to: the driver keeps connections with exactly these, and with whoever speaks to it
    /// and knows more than it.
    Members(Membership),
    /// A slot was applied here; `digest` is the machine's rolling hash behind it. Checkers compare it between nodes.
    Applied {
        /// Which.
        slot: Slot,
        /// Rolling hash.
        digest: u64,
    },
    /// Why something was or was not done.
    Trace(Event),
    /// Stop this incarnation.
    Stop(StopReason),
}
