//! What fills a slot of the log.

use crate::view::Configuration;
use bytes::Bytes;
use quorate_protocol::Decision;
use quorate_wire::{Reader, Wire, WireError, put_bytes};
use std::ops::Deref;
use std::sync::Arc;

/// What an entry costs besides its commands, in the budgets that are counted in bytes.
const ENTRY_OVERHEAD_BYTES: u64 = 16;

/// One slot of the log; the paper's op. Its number is its place in the log and is not repeated here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A batch of commands, shared with the proposal it came in.
    Commands(Bytes),
    /// The end of an epoch: once this is committed, these members go on in the next (section 7).
    Reconfiguration(Box<Configuration>),
}

impl Entry {
    /// Its weight in every budget that is counted in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Entry::Commands(commands) => ENTRY_OVERHEAD_BYTES + commands.len() as u64,
            Entry::Reconfiguration(_) => ENTRY_OVERHEAD_BYTES,
        }
    }

    /// What the machine is told when it is decided.
    #[must_use]
    pub fn decision(&self) -> Decision {
        match self {
            Entry::Commands(commands) => Decision::Commands(commands.clone()),
            Entry::Reconfiguration(next) => Decision::Members(next.members.clone()),
        }
    }
}

impl Wire for Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Entry::Commands(commands) => {
                out.push(0);
                put_bytes(commands, out);
            }
            Entry::Reconfiguration(next) => {
                out.push(1);
                next.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("entry kind")? {
            0 => Ok(Entry::Commands(input.bytes("commands")?)),
            1 => Ok(Entry::Reconfiguration(Box::new(Configuration::decode(input)?))),
            kind => Err(WireError::UnknownKind { what: "entry", kind }),
        }
    }
}

/// Consecutive entries, taken from the log once and shared by the journal's record and every message that carries them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Entries(Arc<Vec<Entry>>);

impl From<Vec<Entry>> for Entries {
    fn from(entries: Vec<Entry>) -> Entries {
        Entries(Arc::new(entries))
    }
}

impl Deref for Entries {
    type Target = [Entry];
    fn deref(&self) -> &[Entry] {
        &self.0
    }
}

impl Wire for Entries {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Entries::from(Vec::decode(input)?))
    }
}
