//! Machine to machine: forwarded writes and their refusals.

use bytes::Bytes;
use quorate_types::{NodeId, Session};
use quorate_wire::{Reader, Wire, WireError};

/// Node to node, beside the protocol. Nothing here needs to be durable first: both messages are wishes, and either may be
/// lost, repeated or late.
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
            kind => Err(WireError::UnknownKind { what: "machine message", kind }),
        }
    }
}
