//! What a client's session says through the log: open me, do this once, close me.

use bytes::Bytes;
use quorate_types::{ClusterId, Slot};
use quorate_wire::{Reader, Wire, WireError, put_u64};

/// The first byte of every client command. It begins no text and no protobuf message. A state machine that keeps replies must
/// not let its own commands begin with it.
const CLIENT_COMMAND: u8 = 0xff;

const KIND_OPEN: u8 = 1;
const KIND_CALL: u8 = 2;
const KIND_CLOSE: u8 = 3;

/// A client's session: the place in the log where it was opened, so none is ever named twice, and the cluster of that log. A
/// cluster that was recovered or restored may use the places of its former life again; its id is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId {
    /// Whose log.
    pub cluster: ClusterId,
    /// The slot that opened it.
    pub slot: Slot,
    /// The place within that slot's batch, from 0.
    pub index: u32,
}

/// How much all replicas keep for clients' sessions. Each [`ClientCommand::Open`] brings its node's bounds along, and those of the
/// latest are in force: bounds are decided with the log and so the same everywhere. A 0 is taken as 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientBounds {
    /// Sessions. One more ends the session that was idle for longest.
    pub sessions_max: u64,
    /// How far a session's sequences may run ahead of its acknowledged mark: no more replies are kept of it.
    pub window: u64,
    /// Bytes of one reply. Of a longer one only the fact is kept that its command was applied.
    pub reply_bytes_max: u64,
    /// Bytes of all replies. More end the sessions that were idle for longest.
    pub kept_bytes_max: u64,
}

/// A put's reply takes some ten bytes: room for those of every session's whole window. Every checkpoint writes them all, so they must
/// be few.
impl Default for ClientBounds {
    fn default() -> ClientBounds {
        ClientBounds { sessions_max: 10_000, window: 64, reply_bytes_max: 64 << 10, kept_bytes_max: 4 << 20 }
    }
}

/// A command of a client's session. Goes through the log as a payload of whichever node the client asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientCommand {
    /// Open a session. Sent twice it opens two, of which the client uses one.
    Open {
        /// The cluster of the node that was asked.
        cluster: ClusterId,
        /// What is in force from here on.
        bounds: ClientBounds,
    },
    /// Apply a command once, however often and through however many nodes this arrives.
    Call {
        /// The session.
        client: ClientId,
        /// The client's number for the command. Every repetition has the same number and the same payload.
        sequence: u64,
        /// The client has the replies of all sequences below, or has given them up.
        acked_below: u64,
        /// The state machine's command.
        payload: Bytes,
    },
    /// Forget a session. One that is gone already is none the worse.
    Close {
        /// The session.
        client: ClientId,
    },
}

impl ClientCommand {
    /// Whether a payload is one of these, or claims to be.
    #[must_use]
    pub fn is_claimed_by(payload: &[u8]) -> bool {
        payload.first() == Some(&CLIENT_COMMAND)
    }
}

impl Wire for ClientId {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(self.cluster.0, out);
        put_u64(self.slot.0, out);
        put_u64(u64::from(self.index), out);
    }

    fn decode(input: &mut Reader) -> Result<ClientId, WireError> {
        let cluster = ClusterId(input.u64("cluster of a client's session")?);
        let slot = Slot(input.u64("slot of a client's session")?);
        let what = "index of a client's session";
        let index = u32::try_from(input.u64(what)?).map_err(|_| WireError::Malformed { what })?;
        Ok(ClientId { cluster, slot, index })
    }
}

impl Wire for ClientBounds {
    fn encode(&self, out: &mut Vec<u8>) {
        for bound in [self.sessions_max, self.window, self.reply_bytes_max, self.kept_bytes_max] {
            put_u64(bound, out);
        }
    }

    fn decode(input: &mut Reader) -> Result<ClientBounds, WireError> {
        Ok(ClientBounds {
            sessions_max: input.u64("clients' sessions at most")?,
            window: input.u64("window of a client's session")?,
            reply_bytes_max: input.u64("bytes of a kept reply at most")?,
            kept_bytes_max: input.u64("bytes of kept replies at most")?,
        })
    }
}

impl Wire for ClientCommand {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(CLIENT_COMMAND);
        match self {
            ClientCommand::Open { cluster, bounds } => {
                out.push(KIND_OPEN);
                put_u64(cluster.0, out);
                bounds.encode(out);
            }
            ClientCommand::Call { client, sequence, acked_below, payload } => {
                out.push(KIND_CALL);
                client.encode(out);
                put_u64(*sequence, out);
                put_u64(*acked_below, out);
                payload.encode(out);
            }
            ClientCommand::Close { client } => {
                out.push(KIND_CLOSE);
                client.encode(out);
            }
        }
    }

    fn decode(input: &mut Reader) -> Result<ClientCommand, WireError> {
        let claim = input.byte("client command")?;
        if claim != CLIENT_COMMAND {
            return Err(WireError::UnknownKind { what: "client command", kind: claim });
        }
        match input.byte("client command")? {
            KIND_OPEN => Ok(ClientCommand::Open {
                cluster: ClusterId(input.u64("cluster of a client's session")?),
                bounds: ClientBounds::decode(input)?,
            }),
            KIND_CALL => Ok(ClientCommand::Call {
                client: ClientId::decode(input)?,
                sequence: input.u64("a client's sequence")?,
                acked_below: input.u64("a client's acknowledged mark")?,
                payload: Bytes::decode(input)?,
            }),
            KIND_CLOSE => Ok(ClientCommand::Close { client: ClientId::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "client command", kind }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_wire::{decode_exact, encode_to_bytes};

    #[test]
    fn commands_survive_their_encoding_and_nothing_else_decodes() {
        let client = ClientId { cluster: ClusterId(u64::MAX), slot: Slot(7), index: u32::MAX };
        let payload = Bytes::from_static(b"\xffanything");
        for command in [
            ClientCommand::Open { cluster: ClusterId(3), bounds: ClientBounds::default() },
            ClientCommand::Call { client, sequence: 9, acked_below: u64::MAX, payload },
            ClientCommand::Close { client },
        ] {
            let bytes = encode_to_bytes(&command);
            assert!(ClientCommand::is_claimed_by(&bytes));
            assert_eq!(decode_exact::<ClientCommand>(bytes.clone()).as_ref(), Ok(&command));
            for length in 0..bytes.len() {
                assert!(decode_exact::<ClientCommand>(bytes.slice(..length)).is_err(), "{length} bytes of {command:?}");
            }
        }
        assert!(decode_exact::<ClientCommand>(Bytes::from_static(&[CLIENT_COMMAND, 9])).is_err());
        assert!(decode_exact::<ClientCommand>(Bytes::from_static(&[1, 1])).is_err());
        assert!(!ClientCommand::is_claimed_by(b""));
    }
}
