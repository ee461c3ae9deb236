//! Why a journal cannot be used.

use quorate_disk::DiskError;
use quorate_types::{ClusterId, DiskId, NodeId, Ticket};
use thiserror::Error;

/// Why a journal could not be created or opened. The node does not start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JournalError {
    /// There is nothing to open.
    #[error("there is no journal here: start a new cluster or join one to create it")]
    Missing,
    /// There is a journal already, and creating another would forget its promises.
    #[error("there is a journal here already ({file}): open it, or use an empty directory")]
    Exists {
        /// One of its files.
        file: String,
    },
    /// Durable bytes are not what was written: not a crash, a fault of the medium or of an operator.
    #[error(
        "{file} is damaged at byte {offset}: {what}; what this node promised is no longer certain, so restore it \
         from the others: remove the member, wipe its directory and let it join as a new member; never truncate \
         or delete this file to make the node start"
    )]
    Corrupt {
        /// The damaged file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A newer release wrote this.
    #[error(
        "{file} holds at byte {offset} a {what} of version {version}, and this release knows versions up to \
         {known}: run the release that wrote it"
    )]
    UnknownVersion {
        /// The file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What has the version: segment, flush, mark or record kind.
        what: &'static str,
        /// The version found.
        version: u32,
        /// The newest version this release knows.
        known: u32,
    },
    /// It is another cluster's.
    #[error("{file} belongs to cluster {found:x}, not to cluster {expected:x}", found = found.0, expected = expected.0)]
    WrongCluster {
        /// The file.
        file: String,
        /// The cluster in the file.
        found: ClusterId,
        /// The cluster asked for.
        expected: ClusterId,
    },
    /// It is another node's.
    #[error("{file} belongs to node {found}, not to node {expected}")]
    WrongNode {
        /// The file.
        file: String,
        /// The node in the file.
        found: NodeId,
        /// The node asked for.
        expected: NodeId,
    },
    /// It was created for another disk, or its segments come from two journals.
    #[error("{file} belongs to disk {found:x}, not to disk {expected:x}", found = found.0, expected = expected.0)]
    WrongDisk {
        /// The file.
        file: String,
        /// The disk in the file.
        found: DiskId,
        /// The disk asked for, or that of the other segments.
        expected: DiskId,
    },
    /// Its records are another protocol's.
    #[error("{file} holds records of the protocol {found}, not of {expected}")]
    WrongProtocol {
        /// The file.
        file: String,
        /// The protocol in the file.
        found: String,
        /// The protocol asked for.
        expected: String,
    },
    /// The protocol's name does not fit a segment header.
    #[error("the protocol's name has {length} bytes and at most 255 fit")]
    ProtocolName {
        /// Its length.
        length: usize,
    },
    /// The disk could not be read.
    #[error("the journal cannot be read: {0}")]
    Disk(#[from] DiskError),
}

/// Why a write was not queued. Nothing changed; the driver or the replica has a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// Tickets grow by one.
    #[error("ticket {got} was appended where ticket {expected} was due", got = got.0, expected = expected.0)]
    OutOfOrder {
        /// The ticket that was due.
        expected: Ticket,
        /// The ticket that came.
        got: Ticket,
    },
    /// A record longer than its length field allows.
    #[error("a record of {bytes} bytes is longer than {bytes_max}")]
    RecordTooLong {
        /// Its length.
        bytes: usize,
        /// The longest possible.
        bytes_max: usize,
    },
    /// A compaction that would drop its own baseline.
    #[error(
        "the compaction of ticket {ticket} would drop everything before {drop_before}, its own baseline included",
        ticket = ticket.0, drop_before = drop_before.0
    )]
    DropsItsBaseline {
        /// The compaction's ticket.
        ticket: Ticket,
        /// What it asked to drop.
        drop_before: Ticket,
    },
}

/// A completion of a write that is not under way. Nothing changed; the driver has a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("write {completed} was reported complete while the write under way is {under_way:?}")]
pub struct CompletionError {
    /// The write reported.
    pub completed: u64,
    /// The write under way.
    pub under_way: Option<u64>,
}
