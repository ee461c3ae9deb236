//! The protocols that a member can run, and the only place where one is chosen by its name.

use crate::entry::Identity;
use crate::member::{MemberError, open};
use crate::plan::Plan;
use crate::restore::{RestoreError, write_founder};
use crate::served::{Served, Unsupported};
use quorate_keyspace::Keyspace;
use quorate_machine::Staged;
use quorate_multi_paxos::MultiPaxos;
use quorate_node::{Boot, Restoration};
use quorate_raft::Raft;
use quorate_runtime::{Observer, Running};
use quorate_types::Membership;
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

    /// What a member does with the protocol's own type, each for this one.
    pub(crate) fn ways(self) -> Ways {
        match self {
            Protocol::Raft => Ways::of::<Raft>(),
            Protocol::MultiPaxos => Ways::of::<MultiPaxos>(),
            Protocol::Viewstamped => Ways::of::<Viewstamped>(),
            Protocol::Zab => Ways::of::<Zab>(),
        }
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

type Open = fn(&Plan, Identity, Vec<TcpListener>, Observer<Keyspace>) -> Result<Running<Keyspace>, MemberError>;

/// The doors from code that knows a protocol by name to code that knows it by type.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    name: &'static str,
    /// Whether the protocol can do what the plan says.
    pub(crate) check: fn(&Plan) -> Result<(), Unsupported>,
    /// Opens and runs the node.
    pub(crate) open: Open,
    /// Writes the data directory of a founding member that begins with a state it was given.
    pub(crate) restore: fn(&Plan, &Boot, &Membership, &Staged<Keyspace>) -> Result<(), RestoreError>,
}

impl Ways {
    fn of<R: Served>() -> Ways {
        let check = |plan: &Plan| R::settings(plan).map(|_| ());
        Ways { name: R::PROTOCOL, check, open: open::<R>, restore: restore::<R> }
    }
}

fn restore<R: Served>(
    plan: &Plan,
    boot: &Boot,
    members: &Membership,
    state: &Staged<Keyspace>,
) -> Result<(), RestoreError> {
    let (records, anchor) = R::founded_behind(members, state.applied());
    write_founder::<R>(plan, &Restoration { boot, state, records: &records, anchor: &anchor })
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
