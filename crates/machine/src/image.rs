//! The durable form of a machine.

use crate::client_table::ClientTable;
use crate::roster::Roster;
use crate::sessions::Sessions;
use crate::state_machine::RestoreError;
use bytes::Bytes;
use quorate_types::Slot;
use quorate_wire::{Reader, Wire, WireError};
use thiserror::Error;

/// The newest version of [`MachineImage::meta`] that this build writes.
const META_VERSION: u64 = 4;
/// Without the order of clients' sessions. Written as long as none has any, so that whoever knows none can read it.
const META_VERSION_WITHOUT_ORDERS: u64 = 3;
/// Without sessions of clients, for there were none then.
const META_VERSION_WITHOUT_CLIENTS: u64 = 2;
/// The oldest that it reads: without a roster too, for no member had ever changed then.
const META_VERSION_OLDEST: u64 = 1;

/// A machine as of one slot, as it comes back from a store or from another node.
pub struct MachineImage<'a> {
    /// Everything up to here is in it.
    pub applied: Slot,
    /// The machine's own part: the tables of sessions and the roster.
    pub meta: Bytes,
    /// The state machine's part that changes in place.
    pub head: Bytes,
    /// The state machine's items, in ascending order of number. Taken one by one, so that an image need not be in memory beside
    /// the state that is made from it.
    pub items: &'a mut dyn Iterator<Item = (u64, Bytes)>,
}

/// Why a machine cannot be opened from an image. The node does not start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenMachineError {
    /// The session table cannot be read.
    #[error("the stored session table cannot be read: {0}")]
    Sessions(WireError),
    /// The session table has a version that this build does not know.
    #[error(
        "the stored session table has version {found}; this build reads versions {META_VERSION_OLDEST} to {META_VERSION}"
    )]
    Version {
        /// The version found.
        found: u64,
    },
    /// It reads well, and is not what its sender had.
    #[error("the state has digest {found:016x} and its sender had {expected:016x}")]
    Digest {
        /// What came of it.
        found: u64,
        /// What the sender said.
        expected: u64,
    },
    /// The state machine refuses its part.
    #[error(transparent)]
    State(#[from] RestoreError),
}

pub(crate) fn encode_meta(sessions: &Sessions, roster: &Roster) -> Bytes {
    let mut out = Vec::new();
    let has_orders = sessions.clients.has_orders();
    if has_orders { META_VERSION } else { META_VERSION_WITHOUT_ORDERS }.encode(&mut out);
    sessions.encode(&mut out);
    roster.encode(&mut out);
    sessions.clients.encode(&mut out);
    if has_orders {
        sessions.clients.encode_orders(&mut out);
    }
    Bytes::from(out)
}

pub(crate) fn decode_meta(meta: Bytes) -> Result<(Sessions, Roster), OpenMachineError> {
    let mut reader = Reader::new(meta);
    let found = reader.u64("session table version").map_err(OpenMachineError::Sessions)?;
    if !(META_VERSION_OLDEST..=META_VERSION).contains(&found) {
        return Err(OpenMachineError::Version { found });
    }
    let mut sessions = Sessions::decode(&mut reader).map_err(OpenMachineError::Sessions)?;
    let roster = match found {
        META_VERSION_OLDEST => Roster::default(),
        _ => Roster::decode(&mut reader).map_err(OpenMachineError::Sessions)?,
    };
    if found > META_VERSION_WITHOUT_CLIENTS {
        sessions.clients = ClientTable::decode(&mut reader).map_err(OpenMachineError::Sessions)?;
    }
    if found > META_VERSION_WITHOUT_ORDERS {
        sessions.clients.decode_orders(&mut reader).map_err(OpenMachineError::Sessions)?;
    }
    match reader.remaining() {
        0 => Ok((sessions, roster)),
        count => Err(OpenMachineError::Sessions(WireError::Trailing { count })),
    }
}
