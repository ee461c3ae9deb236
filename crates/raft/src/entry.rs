//! What fills a slot of the log.

use bytes::Bytes;
use quorate_protocol::Decision;
use quorate_quorum::Quorum;
use quorate_types::{Member, Membership, NodeId};
use quorate_wire::{Reader, Wire, WireError, put_bytes};
use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

/// What an entry costs besides its commands, in the budgets that are counted in bytes.
const ENTRY_OVERHEAD_BYTES: u64 = 16;

/// One slot of the log (Raft §5.3). The slot's number is its place in the log and is not repeated here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The term of the leader that first appended it.
    pub term: u64,
    /// What it says.
    pub payload: Payload,
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

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// A batch of commands, shared with the proposal it came in.
    Command(Bytes),
    /// What a leader appends first, so that it soon has an entry of its own term to commit (Raft §8).
    NoOp,
    /// A change of the members, in force from the moment it is appended (dissertation, 4.1).
    Members(Box<Configuration>),
}

/// Who must agree: the members, and while the membership changes jointly also those going out.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Configuration {
    /// The old half of a joint configuration.
    pub outgoing: Option<Membership>,
    /// The members, or the new half of a joint configuration.
    pub members: Membership,
}

impl Entry {
    /// Its weight in every budget that is counted in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.payload {
            Payload::Command(commands) => ENTRY_OVERHEAD_BYTES + commands.len() as u64,
            Payload::NoOp | Payload::Members(_) => ENTRY_OVERHEAD_BYTES,
        }
    }
}

impl Entry {
    /// The same entry with its batch, if it is one, changed.
    #[must_use]
    pub(crate) fn with_batch(self, change: &mut dyn FnMut(Bytes) -> Bytes) -> Entry {
        match self.payload {
            Payload::Command(commands) => Entry { payload: Payload::Command(change(commands)), ..self },
            Payload::NoOp | Payload::Members(_) => self,
        }
    }
}

impl Entries {
    /// The same entries with their batches changed.
    #[must_use]
    pub(crate) fn with_batches(&self, change: &mut dyn FnMut(Bytes) -> Bytes) -> Entries {
        Entries::from(self.0.iter().map(|entry| entry.clone().with_batch(change)).collect::<Vec<_>>())
    }
}

impl Payload {
    /// What the machine is told when it is decided. A joint configuration is a step on the way and tells it nothing.
    #[must_use]
    pub fn decision(&self) -> Decision {
        match self {
            Payload::Command(commands) => Decision::Commands(commands.clone()),
            Payload::Members(configuration) if configuration.outgoing.is_none() => {
                Decision::Members(configuration.members.clone())
            }
            Payload::NoOp | Payload::Members(_) => Decision::Nothing,
        }
    }
}

impl Configuration {
    /// A configuration of one half.
    #[must_use]
    pub fn of(members: Membership) -> Configuration {
        Configuration { outgoing: None, members }
    }

    /// Whether the old members and the new must both agree.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.outgoing.is_some()
    }

    /// Whether this one may directly follow `before` in a log: any two quorums of the two meet.
    #[must_use]
    pub fn may_follow(&self, before: &Configuration) -> bool {
        match (&before.outgoing, &self.outgoing) {
            (Some(_), _) => *self == Configuration::of(before.members.clone()),
            (None, Some(outgoing)) => *outgoing == before.members,
            (None, None) => self.members.voters().eq(before.members.voters()),
        }
    }

    /// Every member of every half. Of one in both, as it is in the new half.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        let outgoing = self.outgoing.iter().flat_map(|outgoing| outgoing.members());
        outgoing.chain(self.members.members())
    }

    /// Who must agree on anything.
    #[must_use]
    pub fn quorum(&self) -> Quorum {
        match &self.outgoing {
            Some(outgoing) => Quorum::joint(outgoing.voters(), self.members.voters()),
            None => Quorum::of(&self.members),
        }
    }

    /// Whether `id` counts in any half.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.members.is_voter(id) || self.outgoing.as_ref().is_some_and(|outgoing| outgoing.is_voter(id))
    }

    /// Whether `id` belongs to any half, in any role.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.members.contains(id) || self.outgoing.as_ref().is_some_and(|outgoing| outgoing.contains(id))
    }

    /// Every member of every half but `me`.
    #[must_use]
    pub fn others(&self, me: NodeId) -> BTreeSet<NodeId> {
        let outgoing = self.outgoing.iter().flat_map(|outgoing| outgoing.others(me));
        outgoing.chain(self.members.others(me)).collect()
    }
}

impl Wire for Configuration {
    fn encode(&self, out: &mut Vec<u8>) {
        self.outgoing.encode(out);
        self.members.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Configuration { outgoing: Option::decode(input)?, members: Membership::decode(input)? })
    }
}

impl Wire for Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        self.term.encode(out);
        match &self.payload {
            Payload::Command(commands) => {
                out.push(0);
                put_bytes(commands, out);
            }
            Payload::NoOp => out.push(1),
            Payload::Members(configuration) => {
                out.push(2);
                configuration.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        let term = input.u64("entry term")?;
        let payload = match input.byte("entry kind")? {
            0 => Payload::Command(input.bytes("commands")?),
            1 => Payload::NoOp,
            2 => Payload::Members(Box::new(Configuration::decode(input)?)),
            kind => return Err(WireError::UnknownKind { what: "entry", kind }),
        };
        Ok(Entry { term, payload })
    }
}
