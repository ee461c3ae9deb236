//! What a slot's batch consists of.

use bytes::Bytes;
use quorate_types::{Session, Time};
use quorate_wire::{Reader, Wire, WireError};

/// One command as it lies in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    /// Who asked.
    pub session: Session,
    /// The asker's number for it, from 1 up. A retry keeps its number.
    pub sequence: u64,
    /// The asker will never again ask for, or about, sequences below this.
    pub acked_below: u64,
    /// The proposing leader's clock, for state machines that need a time all replicas agree on.
    pub stamp: Time,
    /// What the state machine is to do.
    pub payload: Bytes,
}

impl Wire for Command {
    fn encode(&self, out: &mut Vec<u8>) {
        self.session.encode(out);
        self.sequence.encode(out);
        self.acked_below.encode(out);
        self.stamp.encode(out);
        self.payload.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Command {
            session: Session::decode(input)?,
            sequence: input.u64("command sequence")?,
            acked_below: input.u64("acknowledged mark")?,
            stamp: Time::decode(input)?,
            payload: Bytes::decode(input)?,
        })
    }
}

/// One batch, built once and shared from here on.
#[must_use]
pub fn encode_batch(commands: &[Command]) -> Bytes {
    let mut out = Vec::with_capacity(commands.iter().map(|command| command.payload.len() + 24).sum());
    for command in commands {
        command.encode(&mut out);
    }
    Bytes::from(out)
}

/// The commands of a batch, sharing its memory.
///
/// # Errors
/// When the bytes are no batch: damage, or another version's.
pub fn decode_batch(batch: Bytes) -> Result<Vec<Command>, WireError> {
    let mut reader = Reader::new(batch);
    let mut commands = Vec::new();
    while reader.remaining() > 0 {
        commands.push(Command::decode(&mut reader)?);
    }
    Ok(commands)
}
