//! The protocols that a member can run, and the only place where one is chosen by its name.

use crate::entry::Identity;
use crate::member::{MemberError, open};
use crate::plan::Plan;
use crate::restore::{RestoreError, write_founder};
use crate::served::{Served, Unsupported};
use quorate_disk::Disk;
use quorate_journal::Survey;
use quorate_keyspace::Keyspace;
use quorate_machine::Staged;
use quorate_multi_paxos::MultiPaxos;
use quorate_node::{Boot, BootError, Restoration, StoredState, read_records, read_store};
use quorate_protocol::{SnapshotId, StoredLog};
use quorate_raft::Raft;
use quorate_runtime::{Observer, Running};
use quorate_types::{ClusterId, DiskId, Membership, NodeId};
use quorate_viewstamped::Viewstamped;
use quorate_zab::Zab;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;
use tokio::net::TcpListener;

/// What replicates the store. All members of a cluster run the same one, for life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Raft, with everything that `quorate serve` knows.
    #[default]
    Raft,
    /// Multi-Paxos; its members change by stop-sign.
    MultiPaxos,
    /// Viewstamped Replication.
    Viewstamped,
    /// Zab, ZooKeeper's; its members change by stop-sign.
    Zab,
}

/// A name that is no protocol's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name}: a store can be served over {}", Protocol::ALL.map(Protocol::name).join(", "))]
pub struct UnknownProtocol {
    /// The name.
    pub name: String,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 4] = [Protocol::Raft, Protocol::MultiPaxos, Protocol::Viewstamped, Protocol::Zab];

    /// Its name in journals, in hellos and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.ways().name
    }

    /// Whether a leader that is removed leaves nobody who stands in the next configuration before a timeout.
    pub(crate) fn leaves_no_heir(self) -> bool {
        self == Protocol::MultiPaxos
    }

    /// Does something with this protocol's own type.
    pub fn on<D: OnProtocol>(self, doing: D) -> D::Output {
        match self {
            Protocol::Raft => doing.run::<Raft>(),
            Protocol::MultiPaxos => doing.run::<MultiPaxos>(),
            Protocol::Viewstamped => doing.run::<Viewstamped>(),
            Protocol::Zab => doing.run::<Zab>(),
        }
    }

    /// What a member does with the protocol's own type, each for this one.
    pub(crate) fn ways(self) -> Ways {
        self.on(FindWays)
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(name: &str) -> Result<Protocol, UnknownProtocol> {
        let found = Protocol::ALL.into_iter().find(|protocol| protocol.name() == name);
        found.ok_or_else(|| UnknownProtocol { name: name.to_owned() })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Something that is done with a protocol's own type, which only its name is known of.
pub trait OnProtocol {
    /// What comes of it.
    type Output;

    /// Does it.
    fn run<R: Served>(self) -> Self::Output;
}

struct FindWays;

impl OnProtocol for FindWays {
    type Output = Ways;

    fn run<R: Served>(self) -> Ways {
        Ways::of::<R>()
    }
}

type Restore = fn(&Plan, &Boot, &Membership, &Staged<Keyspace>, u64) -> Result<(), RestoreError>;
type ReadState = fn(&dyn Disk, Option<SnapshotId>) -> Result<Option<OwnedState>, BootError>;
type Open = fn(&Plan, Identity, Vec<TcpListener>, Observer<Keyspace>) -> Result<Running<Keyspace>, MemberError>;

/// The doors from code that knows a protocol by name to code that knows it by type.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    name: &'static str,
    /// Whether the protocol can do what the plan says.
    pub(crate) check: fn(&Plan) -> Result<(), Unsupported>,
    /// Opens and runs the node.
    pub(crate) open: Open,
    /// Writes the data directory of a founding member that begins with a state it was given, in this generation.
    pub(crate) restore: Restore,
    /// The log of a stopped member.
    pub(crate) read_log: fn(NodeId, &Survey) -> Result<StoredLog, String>,
    /// The state of a stopped member, and whose it is.
    pub(crate) read_state: ReadState,
}

/// A state with the cluster, node and disk that it was written for.
pub(crate) type OwnedState = ((ClusterId, NodeId, DiskId), Staged<Keyspace>);

impl Ways {
    fn of<R: Served>() -> Ways {
        let check = |plan: &Plan| R::settings(plan).map(|_| ());
        Ways {
            name: R::PROTOCOL,
            check,
            open: open::<R>,
            restore: restore::<R>,
            read_log: read_log::<R>,
            read_state: read_state::<R>,
        }
    }
}

fn restore<R: Served>(
    plan: &Plan,
    boot: &Boot,
    members: &Membership,
    state: &Staged<Keyspace>,
    generation: u64,
) -> Result<(), RestoreError> {
    let (records, anchor) = R::founded_behind(&R::settings(plan)?, members, state.applied(), generation);
    write_founder::<R>(plan, &Restoration { boot, state, records: &records, anchor: &anchor })
}

fn read_log<R: Served>(me: NodeId, survey: &Survey) -> Result<StoredLog, String> {
    let records = read_records::<R>(survey).map_err(|why| why.to_string())?;
    // Whoever joined and was stopped before it heard anything has no record.
    R::stored_log(me, records).map_err(|why| why.to_string())
}

fn read_state<R: Served>(disk: &dyn Disk, arrived: Option<SnapshotId>) -> Result<Option<OwnedState>, BootError> {
    let found: Option<StoredState<R, Keyspace>> = read_store(disk, arrived)?;
    Ok(found.map(|found| (found.owner, found.state)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_is_found_by_its_name_and_no_other_name_is() {
        for protocol in Protocol::ALL {
            assert_eq!(protocol.name().parse(), Ok(protocol));
        }
        let unknown = "pbft".parse::<Protocol>().unwrap_err().to_string();
        assert_eq!(unknown, "pbft: a store can be served over raft, multi-paxos, viewstamped, zab");
    }
}
