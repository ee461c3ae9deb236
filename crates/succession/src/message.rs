//! What goes between nodes. Every message carries the newest configuration that its sender has open.

use crate::heir::Heir;
use quorate_types::{Membership, Slot};
use quorate_wire::{Reader, Wire, WireError};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message<P: Heir> {
    /// The sender's newest configuration; 0 where it knows none.
    pub configuration: u64,
    /// What it says.
    pub body: Body<P>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body<P: Heir> {
    /// A message of the protocol, in the configuration named. Durable first: what the protocol demands, and the record that
    /// opens the configuration.
    Within(P::Message),
    /// From whoever knows, to members of the configuration named and to those who left: every earlier one is closed. Durable
    /// first: the record of that.
    Closed {
        /// Everything up to here is decided; the stop-sign is not behind it.
        behind: Slot,
        /// The members of the configuration named.
        members: Membership,
        /// From a node that decided the stop-sign in this incarnation: how a peer of the configuration before that has it all
        /// learns that it is decided.
        last_word: Option<P::Message>,
    },
    /// The answer: the sender has that configuration open, or knows that it left with it. Durable first: the record of that.
    Known,
    /// To whoever spoke in a higher configuration: the sender has not got there. Claims nothing.
    Behind,
    /// To whoever said that a configuration is closed: please send a snapshot that reaches the one behind. Claims nothing.
    Fetch,
}

impl<P: Heir> Body<P> {
    /// What it is called in scenarios and traces.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Body::Within(message) => P::kind(message),
            Body::Closed { .. } => "closed",
            Body::Known => "known",
            Body::Behind => "behind",
            Body::Fetch => "fetch",
        }
    }
}

impl<P: Heir> Wire for Message<P> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.configuration.encode(out);
        match &self.body {
            Body::Within(message) => {
                out.push(0);
                message.encode(out);
            }
            Body::Closed { behind, members, last_word } => {
                out.push(1);
                behind.encode(out);
                members.encode(out);
                last_word.encode(out);
            }
            Body::Known => out.push(2),
            Body::Behind => out.push(3),
            Body::Fetch => out.push(4),
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        let configuration = input.u64("configuration")?;
        let body = match input.byte("succession message kind")? {
            0 => Body::Within(P::Message::decode(input)?),
            1 => Body::Closed {
                behind: Slot::decode(input)?,
                members: Membership::decode(input)?,
                last_word: Option::decode(input)?,
            },
            2 => Body::Known,
            3 => Body::Behind,
            4 => Body::Fetch,
            kind => return Err(WireError::UnknownKind { what: "succession message", kind }),
        };
        Ok(Message { configuration, body })
    }
}
