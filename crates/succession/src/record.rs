//! What must survive a crash, and why.

use crate::heir::Heir;
use quorate_protocol::SnapshotId;
use quorate_wire::{Reader, Wire, WireError};

/// A decided prefix, and the configuration that its last slot belongs to.
///
/// A prefix that ends with a stop-sign belongs to the configuration behind it: whoever has it can open that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Anchor<P: Heir> {
    /// The configuration.
    pub configuration: u64,
    /// The prefix, in the protocol's own words.
    pub prefix: P::Anchor,
}

/// How this node came to a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// It founded the cluster, or decided the stop-sign itself: its records say everything decided before.
    Decided,
    /// It jumped: this snapshot stands for everything before, and all earlier records are void.
    Snapshot(SnapshotId),
    /// It was told, is no member, and needs to know no more than that.
    Told,
}

/// One durable record. They are replayed in the order written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record<P: Heir> {
    /// Every earlier configuration is closed and this one is open: written once, before anything is said in it, together with
    /// its first records. A node that forgot it would vote on in a configuration that others have counted as closed.
    Configuration {
        /// What it begins behind, and its members.
        anchor: Anchor<P>,
        /// How this node came to it.
        way: Way,
    },
    /// A record of the protocol, in a configuration.
    Within {
        /// Which.
        configuration: u64,
        /// The record.
        record: P::Record,
    },
}

impl<P: Heir> Wire for Anchor<P> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.configuration.encode(out);
        self.prefix.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Anchor { configuration: input.u64("configuration")?, prefix: P::Anchor::decode(input)? })
    }
}

impl Wire for Way {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Way::Decided => out.push(0),
            Way::Snapshot(id) => {
                out.push(1);
                id.0.encode(out);
            }
            Way::Told => out.push(2),
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("way to a configuration")? {
            0 => Ok(Way::Decided),
            1 => Ok(Way::Snapshot(SnapshotId(input.u64("snapshot")?))),
            2 => Ok(Way::Told),
            kind => Err(WireError::UnknownKind { what: "way to a configuration", kind }),
        }
    }
}

impl<P: Heir> Wire for Record<P> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Record::Configuration { anchor, way } => {
                out.push(0);
                anchor.encode(out);
                way.encode(out);
            }
            Record::Within { configuration, record } => {
                out.push(1);
                configuration.encode(out);
                record.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("succession record kind")? {
            0 => Ok(Record::Configuration { anchor: Anchor::decode(input)?, way: Way::decode(input)? }),
            1 => {
                let configuration = input.u64("configuration")?;
                Ok(Record::Within { configuration, record: P::Record::decode(input)? })
            }
            kind => Err(WireError::UnknownKind { what: "succession record", kind }),
        }
    }
}
