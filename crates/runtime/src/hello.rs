//! Who may talk to whom: the check of the hello that opens every peer connection.

use crate::acquaintance::Acquaintance;
use crate::known_disks::KnownDisks;
use quorate_wire::{Agreement, Hello, Reader, Wire, WireError};
use std::collections::BTreeSet;
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
    /// The caller's data do not go on from the start that it was seen in.
    #[error(
        "member {node:x} comes with data that know nothing of its start number {known}, in which it was seen: its directory was put back \
         from a copy, which forgets what it has promised since, or runs twice; put the newest data back"
    )]
    OtherHistory {
        /// The caller.
        node: u64,
        /// The start it was seen in.
        known: u64,
    },
    /// The caller no longer remembers what it told this node so long ago.
    #[error(
        "member {node:x} remembers its starts from number {oldest} on, and was last seen here in its start number {known}: if the data \
         directory of this node was put back from a copy, or that member's, put the newest data back"
    )]
    ForgottenHistory {
        /// The caller.
        node: u64,
        /// The oldest start that it speaks of; its own if it speaks of none.
        oldest: u64,
        /// The start it was seen in.
        known: u64,
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
    /// What the caller must do.
    pub(crate) fn end(&self) -> RefusalEnd {
        match self {
            HelloRefusal::OlderData { .. } | HelloRefusal::OtherHistory { .. } => RefusalEnd::PutBack,
            HelloRefusal::OtherDisk { .. } | HelloRefusal::Removed { .. } => RefusalEnd::Stop,
            _ => RefusalEnd::Retry,
        }
    }
}

/// What whoever is refused must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalEnd {
    /// Try again: what is in the way may pass.
    Retry,
    /// Stop: no retry can help.
    Stop,
    /// Stop, and do not start again with these data: they were put back from a copy. It is proved by two starts with one number, or by
    /// a number that went back; not by somebody's having forgotten something.
    PutBack,
}

/// The answer to a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloAnswer {
    /// Welcome; the answerer's own hello.
    Accepted(Box<Hello>),
    /// No, in words.
    Refused {
        /// In words.
        why: String,
        /// What the caller must do.
        end: RefusalEnd,
    },
}

impl Wire for RefusalEnd {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            RefusalEnd::Retry => 0,
            RefusalEnd::Stop => 1,
            RefusalEnd::PutBack => 2,
        });
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("end of a refusal")? {
            0 => Ok(RefusalEnd::Retry),
            1 => Ok(RefusalEnd::Stop),
            2 => Ok(RefusalEnd::PutBack),
            kind => Err(WireError::UnknownKind { what: "end of a refusal", kind }),
        }
    }
}

impl Wire for HelloAnswer {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            HelloAnswer::Accepted(hello) => {
                out.push(0);
                hello.encode(out);
            }
            HelloAnswer::Refused { why, end } => {
                out.push(1);
                why.encode(out);
                end.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("hello answer")? {
            0 => Ok(HelloAnswer::Accepted(Box::new(Hello::decode(input)?))),
            1 => Ok(HelloAnswer::Refused { why: String::decode(input)?, end: RefusalEnd::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "hello answer", kind }),
        }
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
    use quorate_types::{ClusterId, DiskId, Incarnation, NodeId, Slot};
    use quorate_wire::{NodeStart, WIRE_VERSION, WIRE_VERSION_OLDEST};

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
            told_starts: vec![NodeStart { number: Incarnation(1), name: 77 }],
            known_start: None,
        }
    }

    /// Member 2 as it comes to member 1 in the last of these starts.
    fn in_start(starts: &[(u64, u64)]) -> Hello {
        let told_starts: Vec<_> =
            starts.iter().map(|(number, name)| NodeStart { number: Incarnation(*number), name: *name }).collect();
        let this = told_starts.last().copied().unwrap();
        Hello { incarnation: this.number, start: this.name, told_starts, ..hello(2, 1, 200) }
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
        let later = in_start(&[(1, 11), (2, 12), (3, 13)]);
        assert_eq!(judge(&ours, &later, &mut known), Ok(()));
        assert_eq!(judge(&ours, &later, &mut known), Ok(()), "it may come back without a restart");
        let refusal = judge(&ours, &in_start(&[(1, 11), (2, 12)]), &mut known).unwrap_err();
        assert!(refusal.to_string().contains("put back from a copy"), "{refusal}");
        assert_eq!(refusal.end(), RefusalEnd::PutBack);
    }

    #[test]
    fn a_copy_is_refused_however_often_it_was_started_since() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("known-disks");
        let ours = hello(1, 0, 100);
        let mut known = KnownDisks::load(&path).unwrap();
        assert_eq!(judge(&ours, &in_start(&[(1, 11), (2, 12)]), &mut known), Ok(()));
        let mut copy = vec![(1, 11)];
        for number in 2..9 {
            copy.push((number, 100 + number));
            let mut known = KnownDisks::load(&path).unwrap();
            let refusal = judge(&ours, &in_start(&copy), &mut known).unwrap_err();
            assert_eq!(refusal, HelloRefusal::OtherHistory { node: 2, known: 2 });
            assert_eq!(refusal.end(), RefusalEnd::PutBack);
        }
        let newest = [(1, 11), (2, 12), (3, 13)];
        assert_eq!(judge(&ours, &in_start(&newest), &mut KnownDisks::load(&path).unwrap()), Ok(()), "put back in time");
    }

    #[test]
    fn who_was_started_without_being_seen_goes_on_from_where_it_was_seen() {
        let directory = tempfile::tempdir().unwrap();
        let mut known = KnownDisks::load(&directory.path().join("known-disks")).unwrap();
        let ours = hello(1, 0, 100);
        assert_eq!(judge(&ours, &in_start(&[(2, 12)]), &mut known), Ok(()), "the first that this node hears of it");
        // Starts 3 to 5 were not written down: they ended before they told anybody.
        assert_eq!(judge(&ours, &in_start(&[(2, 12), (6, 16), (7, 17)]), &mut known), Ok(()));
        assert_eq!(judge(&ours, &in_start(&[(7, 17), (8, 18)]), &mut known), Ok(()));
        assert_eq!(known.start_of(NodeId(2)), Some(NodeStart { number: Incarnation(8), name: 18 }));
    }

    #[test]
    fn who_forgot_its_start_proves_nothing_and_is_kept_out_without_being_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let mut known = KnownDisks::load(&directory.path().join("known-disks")).unwrap();
        let ours = hello(1, 0, 100);
        assert_eq!(judge(&ours, &in_start(&[(2, 12)]), &mut known), Ok(()));
        // Member 1 may be the one that was put back: member 2 knows that it knew start 7 already.
        let refusal = judge(&ours, &in_start(&[(7, 17), (8, 18)]), &mut known).unwrap_err();
        assert_eq!(refusal, HelloRefusal::ForgottenHistory { node: 2, oldest: 7, known: 2 });
        assert_eq!(refusal.end(), RefusalEnd::Retry);
    }

    #[test]
    fn a_start_that_its_node_could_not_write_down_is_admitted_and_not_expected_later() {
        let directory = tempfile::tempdir().unwrap();
        let mut known = KnownDisks::load(&directory.path().join("known-disks")).unwrap();
        let ours = hello(1, 0, 100);
        assert_eq!(judge(&ours, &in_start(&[(2, 12)]), &mut known), Ok(()));
        let on_a_full_disk = Hello { incarnation: Incarnation(3), start: 13, ..in_start(&[(2, 12)]) };
        assert_eq!(judge(&ours, &on_a_full_disk, &mut known), Ok(()));
        assert_eq!(judge(&ours, &in_start(&[(2, 12), (4, 14)]), &mut known), Ok(()));
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
        assert_eq!(refusal.end(), RefusalEnd::Retry, "the other one may be the one to change");
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
