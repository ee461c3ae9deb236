//! Machine to machine: forwarded writes and their refusals, errands and their answers, asks about the cluster itself.

use crate::change::{Ask, AskError};
use bytes::Bytes;
use quorate_types::{NodeId, Session};
use quorate_wire::{Reader, Wire, WireError};

/// Node to node, beside the protocol. Nothing here needs to be durable first: all are wishes, or answers out of memory, and any may
/// be lost, repeated or late.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MachineMessage {
    /// A node with clients to the leader: please propose these. Sent again, under the same sequences, until applied.
    Forward {
        /// The sender's session.
        session: Session,
        /// The sender waits for nothing below this sequence any more.
        acked_below: u64,
        /// Sequences and payloads.
        commands: Vec<(u64, Bytes)>,
    },
    /// The answer to a forward, if the receiver did not take some of it. Not definite for the command: another copy of the same
    /// forward may have been taken.
    ForwardRefused {
        /// The session of the forward.
        session: Session,
        /// What was not taken.
        sequences: Vec<u64>,
        /// Who is believed to lead. The refusing node itself if it leads and has no room.
        hint: Option<NodeId>,
    },
    /// A node with clients to the leader: please have these seen to. An errand that seems lost comes again under another number.
    Errands {
        /// The sender's session.
        session: Session,
        /// Numbers of the tries, and payloads.
        errands: Vec<(u64, Bytes)>,
    },
    /// The leader to a node with clients: the duty's answers.
    ErrandAnswers {
        /// The session that asked.
        session: Session,
        /// Numbers of the tries, and answers.
        answers: Vec<(u64, Bytes)>,
    },
    /// These errands were not taken, or given up with the leadership. Their effects may have begun.
    ErrandsRefused {
        /// The session that asked.
        session: Session,
        /// Numbers of the tries.
        numbers: Vec<u64>,
        /// Who is believed to lead. The refusing node itself if it leads and has no room.
        hint: Option<NodeId>,
    },
    /// A node with clients to the leader: please see to these. Sent again, under the same numbers, until done or refused.
    Asks {
        /// The sender's session.
        session: Session,
        /// Numbers and asks.
        asks: Vec<(u64, Ask)>,
    },
    /// The leader to a node with clients: these will not be done.
    AsksRefused {
        /// The session that asked.
        session: Session,
        /// Numbers and reasons.
        refused: Vec<(u64, AskError)>,
    },
    /// The receiver of these asks does not lead, or does not any more.
    AsksNotTaken {
        /// The session that asked.
        session: Session,
        /// Their numbers.
        numbers: Vec<u64>,
        /// Who is believed to lead.
        hint: Option<NodeId>,
    },
}

impl Wire for MachineMessage {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            MachineMessage::Forward { session, acked_below, commands } => {
                out.push(0);
                session.encode(out);
                acked_below.encode(out);
                commands.encode(out);
            }
            MachineMessage::ForwardRefused { session, sequences, hint } => {
                out.push(1);
                session.encode(out);
                sequences.encode(out);
                hint.encode(out);
            }
            MachineMessage::Errands { session, errands } => {
                out.push(2);
                session.encode(out);
                errands.encode(out);
            }
            MachineMessage::ErrandAnswers { session, answers } => {
                out.push(3);
                session.encode(out);
                answers.encode(out);
            }
            MachineMessage::ErrandsRefused { session, numbers, hint } => {
                out.push(4);
                session.encode(out);
                numbers.encode(out);
                hint.encode(out);
            }
            MachineMessage::Asks { session, asks } => {
                out.push(5);
                session.encode(out);
                asks.encode(out);
            }
            MachineMessage::AsksRefused { session, refused } => {
                out.push(6);
                session.encode(out);
                refused.encode(out);
            }
            MachineMessage::AsksNotTaken { session, numbers, hint } => {
                out.push(7);
                session.encode(out);
                numbers.encode(out);
                hint.encode(out);
            }
        }
    }

    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("machine message")? {
            0 => Ok(MachineMessage::Forward {
                session: Session::decode(input)?,
                acked_below: input.u64("acknowledged mark")?,
                commands: Vec::decode(input)?,
            }),
            1 => Ok(MachineMessage::ForwardRefused {
                session: Session::decode(input)?,
                sequences: Vec::decode(input)?,
                hint: Option::decode(input)?,
            }),
            2 => Ok(MachineMessage::Errands { session: Session::decode(input)?, errands: Vec::decode(input)? }),
            3 => Ok(MachineMessage::ErrandAnswers { session: Session::decode(input)?, answers: Vec::decode(input)? }),
            4 => Ok(MachineMessage::ErrandsRefused {
                session: Session::decode(input)?,
                numbers: Vec::decode(input)?,
                hint: Option::decode(input)?,
            }),
            5 => Ok(MachineMessage::Asks { session: Session::decode(input)?, asks: Vec::decode(input)? }),
            6 => Ok(MachineMessage::AsksRefused { session: Session::decode(input)?, refused: Vec::decode(input)? }),
            7 => Ok(MachineMessage::AsksNotTaken {
                session: Session::decode(input)?,
                numbers: Vec::decode(input)?,
                hint: Option::decode(input)?,
            }),
            kind => Err(WireError::UnknownKind { what: "machine message", kind }),
        }
    }
}
