//! What a client's session says through the log: open me, do this once, close me.

use bytes::Bytes;
use quorate_types::ClusterId;
use quorate_wire::{Reader, Wire, WireError, decode_exact, put_u64};

/// The first byte of every client command. It begins no text and no protobuf message. A state machine that keeps replies must
/// not let its own commands begin with it.
const CLIENT_COMMAND: u8 = 0xff;

const KIND_OPEN: u8 = 1;
const KIND_CALL: u8 = 2;
const KIND_CLOSE: u8 = 3;
/// A kind of its own: what opens a session without order stays, byte for byte, what it was before there was any.
const KIND_OPEN_IN_ORDER: u8 = 4;

/// A client's session: a number that was drawn for it, and the cluster that opened it. Nothing that a cluster comes to again names
/// one, such as a place in its log: one that was restored under its old id would take sessions of its former life for new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId {
    /// Whose.
    pub cluster: ClusterId,
    /// Drawn at random by whoever passes the client's wish on, anew for every wish.
    pub nonce: u64,
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
    /// Bytes of all replies. For more, sessions lose replies, whoever keeps most first; of those only the fact is kept as well.
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
    /// Open a session. A client that asks twice has two, of which it uses one; but this command, twice, opens one.
    Open {
        /// Its name.
        client: ClientId,
        /// What is in force from here on.
        bounds: ClientBounds,
        /// Whether its calls are applied in the order of their sequences, and none before those below it that are still wanted.
        in_order: bool,
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

    /// The state machine's command in a payload, for looking at a log: the payload itself, or what a client's session calls. Nothing where
    /// a session is opened or closed, or the payload cannot be read.
    #[must_use]
    pub fn called(payload: &Bytes) -> Option<Bytes> {
        if !ClientCommand::is_claimed_by(payload) {
            return Some(payload.clone());
        }
        match decode_exact(payload.clone()) {
            Ok(ClientCommand::Call { payload, .. }) => Some(payload),
            _ => None,
        }
    }
}

impl Wire for ClientId {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(self.cluster.0, out);
        put_u64(self.nonce, out);
    }

    fn decode(input: &mut Reader) -> Result<ClientId, WireError> {
        let cluster = ClusterId(input.u64("cluster of a client's session")?);
        Ok(ClientId { cluster, nonce: input.u64("number of a client's session")? })
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
            ClientCommand::Open { client, bounds, in_order } => {
                out.push(if *in_order { KIND_OPEN_IN_ORDER } else { KIND_OPEN });
                client.encode(out);
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
            kind @ (KIND_OPEN | KIND_OPEN_IN_ORDER) => Ok(ClientCommand::Open {
                client: ClientId::decode(input)?,
                bounds: ClientBounds::decode(input)?,
                in_order: kind == KIND_OPEN_IN_ORDER,
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
    use quorate_wire::encode_to_bytes;

    #[test]
    fn commands_survive_their_encoding_and_nothing_else_decodes() {
        let client = ClientId { cluster: ClusterId(u64::MAX), nonce: 7 };
        let payload = Bytes::from_static(b"\xffanything");
        for command in [
            ClientCommand::Open { client, bounds: ClientBounds::default(), in_order: false },
            ClientCommand::Open { client, bounds: ClientBounds::default(), in_order: true },
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

    #[test]
    fn what_is_called_is_found_within_a_call_and_a_plain_payload_is_itself() {
        let client = ClientId { cluster: ClusterId(1), nonce: 2 };
        let plain = Bytes::from_static(b"plain");
        let call = ClientCommand::Call { client, sequence: 1, acked_below: 1, payload: plain.clone() };
        assert_eq!(ClientCommand::called(&plain), Some(plain.clone()));
        assert_eq!(ClientCommand::called(&encode_to_bytes(&call)), Some(plain));
        assert_eq!(ClientCommand::called(&encode_to_bytes(&ClientCommand::Close { client })), None);
        assert_eq!(ClientCommand::called(&Bytes::from_static(b"\xff")), None);
    }
}
