//! What a machine asks of whoever joins it with a replica.

use crate::change::AskError;
use crate::message::MachineMessage;
use crate::request::{ClientTag, RequestError};
use bytes::Bytes;
use quorate_protocol::{Batch, ReadToken, RequestId};
use quorate_types::{Membership, NodeId, Slot};
use quorate_wire::WireError;
use std::time::Duration;
use thiserror::Error;

/// What a machine wants done, in order. `Reply` is the state machine's.
#[derive(Clone, Debug)]
pub enum MachineOutput<Reply> {
    /// Hand this to the replica of this node.
    Propose {
        /// For refusing it.
        request: RequestId,
        /// The commands.
        batch: Batch,
    },
    /// Ask the replica of this node for a read round.
    Read {
        /// Covers every read that waited.
        token: ReadToken,
    },
    /// Send to another node's machine. May be lost.
    Send {
        /// Receiver.
        to: NodeId,
        /// What.
        message: MachineMessage,
    },
    /// Answer a client.
    Reply {
        /// Which request.
        tag: ClientTag,
        /// The answer.
        result: Result<Reply, RequestError>,
    },
    /// Answer a client's errand.
    Answer {
        /// Which request.
        tag: ClientTag,
        /// The duty's answer.
        result: Result<Bytes, RequestError>,
    },
    /// Answer what a client asked about the cluster itself.
    Asked {
        /// Which request.
        tag: ClientTag,
        /// Done, and to be seen in what this node has applied; or why not.
        result: Result<(), AskError>,
    },
    /// Ask the replica of this node to change the members.
    Reconfigure {
        /// For refusing it.
        request: RequestId,
        /// The members this is based on.
        based_on: Membership,
        /// The members as they are to be.
        members: Membership,
    },
    /// Ask the replica of this node to hand leadership over.
    Transfer {
        /// For refusing it.
        request: RequestId,
        /// To whom.
        to: NodeId,
    },
    /// A slot was applied.
    Applied {
        /// Which.
        slot: Slot,
        /// Rolling hash of state and sessions behind it: equal on all replicas.
        digest: u64,
    },
    /// Call [`crate::Machine::expired`] once after this long.
    SetTimer(Duration),
    /// Call [`crate::Machine::duty_expired`] once after this long; replaces the one asked for before.
    SetDutyTimer(Duration),
    /// Call [`crate::Machine::batch_expired`] once after this long.
    SetBatchTimer(Duration),
}

/// Why a machine cannot go on: serving on could give wrong answers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MachineError {
    /// Decided bytes are no commands.
    #[error("slot {slot} was decided to be something that is no batch of commands: {why}")]
    Undecodable {
        /// Where.
        slot: Slot,
        /// How they fail.
        why: WireError,
    },
    /// A slot was left out or repeated.
    #[error("slot {decided} was handed out where slot {expected} comes next")]
    OutOfOrder {
        /// The slot handed out.
        decided: Slot,
        /// The slot behind the applied mark.
        expected: Slot,
    },
}

/// A machine as people and metrics see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineStatus {
    /// Applied up to here.
    pub applied: Slot,
    /// Rolling hash behind it.
    pub digest: u64,
    /// Writes of own clients without an answer.
    pub outstanding_writes: usize,
    /// Their payloads together.
    pub outstanding_bytes: usize,
    /// Reads of own clients without an answer.
    pub outstanding_reads: usize,
    /// Errands of own clients without an answer.
    pub outstanding_errands: usize,
    /// Errands of all nodes that wait here, at the leader, for an answer.
    pub held_errands: usize,
    /// Whether the duty of this leader has begun.
    pub on_duty: bool,
    /// Commands of other nodes that wait to be proposed here.
    pub forwarded_commands: usize,
    /// Batches proposed here and undecided.
    pub proposals_in_flight: usize,
    /// Nodes with a session.
    pub sessions: usize,
    /// Clients with a session.
    pub client_sessions: usize,
    /// Bytes of replies kept for them.
    pub kept_reply_bytes: u64,
    /// Sessions of clients that ended since the log began because others needed the room.
    pub expired_sessions: u64,
    /// Clients' repetitions that were applied before and answered with the kept reply, while this node ran.
    pub recalled_replies: u64,
    /// Clients' commands that their session did not let through, while this node ran.
    pub refused_by_sessions: u64,
    /// Messages dropped because they could not be meant: a forward of somebody else's session, or of a settled sequence.
    pub dropped_messages: u64,
    /// Decided commands that changed nothing because they, or a later incarnation of their session, had been applied already.
    pub skipped_commands: u64,
}
