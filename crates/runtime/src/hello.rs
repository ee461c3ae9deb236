//! Who may talk to whom: the check of the hello that opens every peer connection.

use crate::acquaintance::Acquaintance;
use crate::durable_file;
use quorate_types::{DiskId, Incarnation, NodeId};
use quorate_wire::{Agreement, Hello, Reader, Wire, WireError};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a connection is refused. Every text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HelloRefusal {
    /// Another cluster.
    #[error(
        "it belongs to cluster {theirs:x}, this node to {ours:x}: check --initial-cluster and its token; a member that was added to \
         a cluster that runs is started with --initial-cluster-state existing and an empty data directory"
    )]
    OtherCluster {
        /// The caller's.
        theirs: u64,
        /// The answerer's.
        ours: u64,
    },
    /// Another protocol.
    #[error("it speaks {theirs}, this node {ours}: all members of a cluster run one protocol")]
    OtherProtocol {
        /// The caller's.
        theirs: String,
        /// The answerer's.
        ours: String,
    },
    /// No version in common.
    #[error(
        "it reads wire versions {theirs_oldest} to {theirs_newest}, this node {ours_oldest} to {ours_newest}: upgrade one release at a time"
    )]
    NoCommonVersion {
        /// Caller's oldest.
        theirs_oldest: u64,
        /// Caller's newest.
        theirs_newest: u64,
        /// Answerer's oldest.
        ours_oldest: u64,
        /// Answerer's newest.
        ours_newest: u64,
    },
    /// Settings that must be alike are not.
    #[error("{}: all members must have these alike; set them alike and restart those that have them otherwise", differences(.differ))]
    OtherSettings {
        /// Each that differs.
        differ: Vec<Difference>,
    },
    /// The caller dialled a wrong address, or this node's.
    #[error("it wants to reach {wanted:x}, this node is {ours:x}: check the peer addresses")]
    WrongNode {
        /// Whom the caller wants.
        wanted: u64,
        /// The answerer.
        ours: u64,
    },
    /// The caller was a member once.
    #[error(
        "member {node:x} was removed: the member has been permanently removed from the cluster; empty its data directory and add \
         it again as a new member, or leave it stopped"
    )]
    Removed {
        /// The caller.
        node: u64,
    },
    /// The caller is not known, perhaps not yet.
    #[error("member {node:x} is not known here (yet): add it to the cluster first (`quorate member add`)")]
    Unknown {
        /// The caller.
        node: u64,
    },
    /// The caller's data is older than what it has been seen with.
    #[error(
        "member {node:x} comes with data from its start number {theirs}, but it was seen after start number {known}: its directory was \
         put back from a copy, which forgets what it has promised since; put the newest data back"
    )]
    OlderData {
        /// The caller.
        node: u64,
        /// Its incarnation now.
        theirs: u64,
        /// The greatest seen.
        known: u64,
    },
    /// The caller was seen with the same count of starts, in another start.
    #[error(
        "member {node:x} was seen in another start number {incarnation}: its directory was put back from a copy, which forgets what it \
         has promised since, or runs twice; put the newest data back"
    )]
    SecondStart {
        /// The caller.
        node: u64,
        /// Its incarnation, then and now.
        incarnation: u64,
    },
    /// The caller's disk is not the one this member had.
    #[error(
        "member {node:x} comes with another disk than before ({theirs:x} instead of {known:x}): its data was lost or replaced, \
         and a wiped node must not vote under its old identity; remove the member and add it again as a new one"
    )]
    OtherDisk {
        /// The caller.
        node: u64,
        /// Its disk now.
        theirs: u64,
        /// Its disk as known.
        known: u64,
    },
}

/// A setting that must be alike and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which.
    pub setting: String,
    /// The caller's, if it has it.
    pub theirs: Option<String>,
    /// The answerer's, if it has it.
    pub ours: Option<String>,
}

fn differences(differ: &[Difference]) -> String {
    let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
    let one = |difference: &Difference| {
        format!("it has {} {}, this node {}", difference.setting, said(&difference.theirs), said(&difference.ours))
    };
    differ.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn compare(theirs: &[Agreement], ours: &[Agreement]) -> Result<(), HelloRefusal> {
    let value_in = |list: &[Agreement], setting: &str| {
        list.iter().find(|agreement| agreement.setting == setting).map(|agreement| agreement.value.clone())
    };
    let settings: BTreeSet<&String> = ours.iter().chain(theirs).map(|agreement| &agreement.setting).collect();
    let compared = settings.into_iter().map(|setting| Difference {
        setting: setting.clone(),
        theirs: value_in(theirs, setting),
        ours: value_in(ours, setting),
    });
    let differ: Vec<Difference> = compared.filter(|difference| difference.theirs != difference.ours).collect();
    if differ.is_empty() { Ok(()) } else { Err(HelloRefusal::OtherSettings { differ }) }
}

impl HelloRefusal {
    /// Whether no retry can help: the caller must stop.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(
            self,
            HelloRefusal::OtherDisk { .. }
                | HelloRefusal::OlderData { .. }
                | HelloRefusal::SecondStart { .. }
                | HelloRefusal::Removed { .. }
        )
    }
}

/// The answer to a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloAnswer {
    /// Welcome; the answerer's own hello.
    Accepted(Hello),
    /// No, in words. `fatal` means that no retry can help: the caller must stop.
    Refused {
        /// In words.
        why: String,
        /// Whether the caller must stop.
        fatal: bool,
    },
}

impl Wire for HelloAnswer {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            HelloAnswer::Accepted(hello) => {
                out.push(0);
                hello.encode(out);
            }
            HelloAnswer::Refused { why, fatal } => {
                out.push(1);
                why.encode(out);
                fatal.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("hello answer")? {
            0 => Ok(HelloAnswer::Accepted(Hello::decode(input)?)),
            1 => Ok(HelloAnswer::Refused { why: String::decode(input)?, fatal: bool::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "hello answer", kind }),
        }
    }
}

/// What a member was seen with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    disk: DiskId,
    /// The greatest so far: a lower one is a copy of older data.
    incarnation: Incarnation,
    /// What was drawn at that start: another one with the same incarnation is a copy too.
    start: u64,
}

/// Which disk each member was first seen with, and after how many starts, kept in a file of the data directory so that a
/// restart does not forget it.
#[derive(Debug)]
pub(crate) struct KnownDisks {
    path: PathBuf,
    disks: BTreeMap<NodeId, Seen>,
}

impl KnownDisks {
    pub(crate) fn load(path: &Path) -> io::Result<KnownDisks> {
        let text = durable_file::read(path)?;
        let mut disks = BTreeMap::new();
        for line in text.lines() {
            let mut fields = line.split_whitespace().map(|field| u64::from_str_radix(field, 16));
            let (Some(Ok(node)), Some(Ok(disk)), Some(Ok(incarnation)), Some(Ok(start)), None) =
                (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
            else {
                let why =
                    format!("{}: `{line}` is not a node, a disk, a count of starts and a start in hex", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            };
            let seen = Seen { disk: DiskId(disk), incarnation: Incarnation(incarnation), start };
            disks.insert(NodeId(node), seen);
        }
        Ok(KnownDisks { path: path.to_owned(), disks })
    }

    /// The disk this member was seen with.
    pub(crate) fn get(&self, node: NodeId) -> Option<DiskId> {
        self.disks.get(&node).map(|seen| seen.disk)
    }

    /// Remembers, durably, which disk a member has, and in which incarnation it was seen.
    pub(crate) fn note(&mut self, node: NodeId, disk: DiskId, incarnation: Incarnation, start: u64) -> io::Result<()> {
        let seen = Seen { disk, incarnation, start };
        if self.disks.insert(node, seen) == Some(seen) {
            return Ok(());
        }
        let line = |(node, seen): (&NodeId, &Seen)| {
            format!("{:016x} {:016x} {:x} {:016x}\n", node.0, seen.disk.0, seen.incarnation.0, seen.start)
        };
        let text: String = self.disks.iter().map(line).collect();
        durable_file::replace(&self.path, &text)
    }

    /// Checks the caller's disk; notes it, durably, at first contact. A note that cannot be written is only logged: it costs
    /// the protection against a swap, and the journal will meet the sick disk itself.
    fn check(&mut self, theirs: &Hello) -> Result<(), HelloRefusal> {
        let Hello { node, disk, incarnation, start, .. } = *theirs;
        match self.disks.get(&node) {
            Some(known) if known.disk != disk => {
                return Err(HelloRefusal::OtherDisk { node: node.0, theirs: disk.0, known: known.disk.0 });
            }
            Some(known) if known.incarnation > incarnation => {
                return Err(HelloRefusal::OlderData {
                    node: node.0,
                    theirs: incarnation.0,
                    known: known.incarnation.0,
                });
            }
            Some(known) if known.incarnation == incarnation && known.start != start => {
                return Err(HelloRefusal::SecondStart { node: node.0, incarnation: incarnation.0 });
            }
            _ => {}
        }
        if let Err(error) = self.note(node, disk, incarnation, start) {
            tracing::warn!(%error, file = %self.path.display(), "cannot note a peer's disk");
        }
        Ok(())
    }
}

/// Whether the sender of `theirs` may talk to the sender of `ours`.
pub(crate) fn judge(
    ours: &Hello,
    theirs: &Hello,
    acquaintance: &Acquaintance,
    known: &mut KnownDisks,
) -> Result<(), HelloRefusal> {
    if theirs.cluster != ours.cluster {
        return Err(HelloRefusal::OtherCluster { theirs: theirs.cluster.0, ours: ours.cluster.0 });
    }
    if theirs.protocol != ours.protocol {
        return Err(HelloRefusal::OtherProtocol { theirs: theirs.protocol.clone(), ours: ours.protocol.clone() });
    }
    if theirs.version_newest < ours.version_oldest || ours.version_newest < theirs.version_oldest {
        return Err(HelloRefusal::NoCommonVersion {
            theirs_oldest: theirs.version_oldest,
            theirs_newest: theirs.version_newest,
            ours_oldest: ours.version_oldest,
            ours_newest: ours.version_newest,
        });
    }
    if theirs.to != ours.node {
        return Err(HelloRefusal::WrongNode { wanted: theirs.to.0, ours: ours.node.0 });
    }
    compare(&theirs.agreements, &ours.agreements)?;
    acquaintance.check(theirs)?;
    known.check(theirs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{ClusterId, Slot};
    use quorate_wire::{WIRE_VERSION, WIRE_VERSION_OLDEST};

    fn hello(node: u64, to: u64, disk: u64) -> Hello {
        Hello {
            cluster: ClusterId(7),
            node: NodeId(node),
            to: NodeId(to),
            disk: DiskId(disk),
            incarnation: Incarnation(1),
            start: 77,
            protocol: "raft".to_owned(),
            version_oldest: WIRE_VERSION_OLDEST,
            version_newest: WIRE_VERSION,
            name: String::new(),
            client_urls: Vec::new(),
            peer_urls: Vec::new(),
            members_decided_at: Slot::ZERO,
            agreements: Vec::new(),
        }
    }

    fn judge(ours: &Hello, theirs: &Hello, known: &mut KnownDisks) -> Result<(), HelloRefusal> {
        super::judge(ours, theirs, &Acquaintance::default(), known)
    }

    #[test]
    fn a_wiped_node_is_refused_by_name_also_after_a_restart_of_the_one_who_knew_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("known-disks");
        let ours = hello(1, 0, 100);
        let mut known = KnownDisks::load(&path).unwrap();
        assert_eq!(judge(&ours, &hello(2, 1, 200), &mut known), Ok(()));
        let mut known = KnownDisks::load(&path).unwrap();
        assert_eq!(judge(&ours, &hello(2, 1, 200), &mut known), Ok(()));
        let refusal = judge(&ours, &hello(2, 1, 201), &mut known).unwrap_err();
        assert!(refusal.to_string().contains("remove the member and add it again"), "{refusal}");
    }

    #[test]
    fn a_node_put_back_from_a_copy_is_refused_because_it_has_forgotten_what_it_promised_since() {
        let directory = tempfile::tempdir().unwrap();
        let mut known = KnownDisks::load(&directory.path().join("known-disks")).unwrap();
        let ours = hello(1, 0, 100);
        let later = Hello { incarnation: Incarnation(3), ..hello(2, 1, 200) };
        assert_eq!(judge(&ours, &later, &mut known), Ok(()));
        assert_eq!(judge(&ours, &later, &mut known), Ok(()), "it may come back without a restart");
        let refusal = judge(&ours, &Hello { incarnation: Incarnation(2), ..later }, &mut known).unwrap_err();
        assert!(refusal.to_string().contains("put back from a copy"), "{refusal}");
    }

    #[test]
    fn a_copy_that_was_started_once_since_is_refused_although_it_counts_as_many_starts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("known-disks");
        let mut known = KnownDisks::load(&path).unwrap();
        let ours = hello(1, 0, 100);
        let first = Hello { incarnation: Incarnation(3), start: 1, ..hello(2, 1, 200) };
        assert_eq!(judge(&ours, &first, &mut known), Ok(()));
        let mut known = KnownDisks::load(&path).unwrap();
        let copy = Hello { start: 2, ..first.clone() };
        let refusal = judge(&ours, &copy, &mut known).unwrap_err();
        assert!(refusal.to_string().contains("put back from a copy"), "{refusal}");
        assert_eq!(judge(&ours, &Hello { incarnation: Incarnation(4), ..copy }, &mut known), Ok(()), "its next start");
    }

    #[test]
    fn whoever_has_a_setting_otherwise_that_must_be_alike_is_told_which_and_may_come_back_with_it_corrected() {
        let directory = tempfile::tempdir().unwrap();
        let mut known = KnownDisks::load(&directory.path().join("known-disks")).unwrap();
        let with = |hello: Hello, agreements: &[(&str, &str)]| {
            let agreements = agreements.iter().map(|(setting, value)| Agreement::new(setting, *value)).collect();
            Hello { agreements, ..hello }
        };
        let ours = with(hello(1, 0, 100), &[("lease-reads", "true"), ("election-timeout", "1s")]);
        let off = with(hello(2, 1, 200), &[("lease-reads", "false")]);
        let refusal = judge(&ours, &off, &mut known).unwrap_err();
        assert!(!refusal.is_fatal(), "the other one may be the one to change");
        let words = refusal.to_string();
        assert!(
            words.starts_with("it has election-timeout not set, this node 1s; it has lease-reads false"),
            "{words}"
        );
        let hasty = with(hello(2, 1, 200), &[("lease-reads", "true"), ("election-timeout", "500ms")]);
        let words = judge(&ours, &hasty, &mut known).unwrap_err().to_string();
        assert!(words.starts_with("it has election-timeout 500ms, this node 1s:"), "{words}");
        let same = with(hello(2, 1, 200), &[("election-timeout", "1s"), ("lease-reads", "true")]);
        assert_eq!(judge(&ours, &same, &mut known), Ok(()), "whatever their order");
        let before = Hello { version_oldest: 1, version_newest: 1, ..hello(2, 1, 200) };
        assert!(matches!(judge(&ours, &before, &mut known), Err(HelloRefusal::NoCommonVersion { .. })));
    }

    #[test]
    fn strangers_are_refused_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let mut known = KnownDisks::load(&directory.path().join("known-disks")).unwrap();
        let ours = hello(1, 0, 100);
        let other_cluster = Hello { cluster: ClusterId(8), ..hello(2, 1, 200) };
        assert!(matches!(judge(&ours, &other_cluster, &mut known), Err(HelloRefusal::OtherCluster { .. })));
        let other_protocol = Hello { protocol: "zab".to_owned(), ..hello(2, 1, 200) };
        assert!(matches!(judge(&ours, &other_protocol, &mut known), Err(HelloRefusal::OtherProtocol { .. })));
        let newer = Hello { version_oldest: 9, version_newest: 9, ..hello(2, 1, 200) };
        assert!(matches!(judge(&ours, &newer, &mut known), Err(HelloRefusal::NoCommonVersion { .. })));
        assert!(matches!(judge(&ours, &hello(2, 3, 200), &mut known), Err(HelloRefusal::WrongNode { .. })));
    }
}
