//! A new cluster out of a snapshot: the data directory of one founding member.

use crate::plan::{Entry, Plan};
use crate::served::{Served, Unsupported};
use crate::snapshot_file::SnapshotFile;
use quorate_disk::DiskError;
use quorate_keyspace::Keyspace;
use quorate_machine::Staged;
use quorate_node::{Boot, BootError, NodeConfig, Restoration, write_restored};
use quorate_protocol::Start;
use quorate_runtime::{DirectoryLock, FileDisk};
use quorate_types::{ClusterId, DiskId, Membership, NodeId, Slot};
use std::num::NonZeroU64;
use thiserror::Error;

/// Of a cluster that begins with a state of whose log nothing is known.
const FIRST_GENERATION: u64 = 1;

/// Why a snapshot is not restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// There is something in the data directory.
    #[error("the data directory {directory} is not empty: a new cluster's member begins in a new one")]
    NotEmpty {
        /// Which.
        directory: String,
    },
    /// The data directory cannot be made or looked into.
    #[error("cannot use the data directory: {0}")]
    Directory(#[from] DiskError),
    /// No name could be drawn for the member's disk, or a directory could not be listed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
    /// The plan is one of a member that joins a cluster, and those get their state from it.
    #[error("a restored member founds a new cluster; --initial-cluster-state existing joins one")]
    Joins,
    /// The protocol cannot do what the plan wants of it.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The revision would leave its range.
    #[error("revision {revision} cannot be raised by {by}")]
    Revision {
        /// That of the snapshot.
        revision: i64,
        /// By how much.
        by: u64,
    },
    /// What was written does not open, or could not be written. The data directory is of no use.
    #[error("{0}; what was written to the data directory is of no use: remove it")]
    Write(BootError),
}

/// How far the revision is raised above the snapshot's, and compacted there: by more than the lost cluster can have written since,
/// so that clients that saw more than the snapshot holds are told that it is compacted.
pub type RevisionBump = NonZeroU64;

impl SnapshotFile {
    /// Writes the data directory of the member that the plan describes, as a founding member of a new cluster that begins with
    /// this snapshot's state. Every founding member is to be restored from the same file with the same bump. Sessions of
    /// the old cluster are left behind; keys, leases with their remaining time, and alarms are kept. Answers the revision.
    ///
    /// # Errors
    /// As the variants of [`RestoreError`] say.
    pub fn restore(self, plan: &Plan, bump: Option<RevisionBump>) -> Result<i64, RestoreError> {
        let Entry::Found { cluster, me, members } = &plan.entry else { return Err(RestoreError::Joins) };
        refuse_used(plan)?;
        let SnapshotFile { header, mut state, .. } = self;
        if let Some(by) = bump.map(NonZeroU64::get) {
            let revision = state.revision();
            state.bump_revision(by).ok_or(RestoreError::Revision { revision, by })?;
        }
        let revision = state.revision();
        // Leases are told apart by the slots of their grants: the new log goes on behind those.
        let applied = header.applied.max(Slot(1));
        let state = Staged::of_new_cluster(state, applied);
        let boot = boot_of(*cluster, *me, members)?;
        (plan.protocol.ways().restore)(plan, &boot, members, &state, FIRST_GENERATION)?;
        Ok(revision)
    }
}

/// A founder's first boot, on a disk of its own.
pub(crate) fn boot_of(cluster: ClusterId, me: NodeId, members: &Membership) -> Result<Boot, RestoreError> {
    let new_disk = getrandom::u64().map(DiskId).map_err(|error| RestoreError::System {
        what: "cannot draw a disk id",
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(Boot { cluster, me, start: Start::Found(members.clone()), new_disk })
}

/// Writes the plan's data directory, which must have been found empty.
pub(crate) fn write_founder<R: Served>(
    plan: &Plan,
    restoration: &Restoration<'_, R, Keyspace>,
) -> Result<(), RestoreError> {
    let config = NodeConfig::new(R::settings(plan)?);
    let _lock = DirectoryLock::take(&plan.data_directory)?;
    let mut journal = FileDisk::open(&plan.data_directory.join("journal"))?;
    let mut store = FileDisk::open(&plan.data_directory.join("store"))?;
    write_restored(restoration, &config, &mut journal, &mut store).map_err(RestoreError::Write)
}

pub(crate) fn refuse_used(plan: &Plan) -> Result<(), RestoreError> {
    let directory = &plan.data_directory;
    let mut entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(RestoreError::System { what: "cannot look into the data directory", source }),
    };
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(RestoreError::NotEmpty { directory: directory.display().to_string() }),
    }
}
