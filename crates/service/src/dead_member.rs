//! What the data directory of a stopped member holds, read without changing anything, on a read-only mount too.

use quorate_disk::{Disk, DiskError};
use quorate_journal::{Identity, Journal, JournalError, Survey};
use quorate_keyspace::Keyspace;
use quorate_machine::{MachineError, Staged, StateMachine};
use quorate_node::{BootError, StoredState, read_records, read_store};
use quorate_protocol::Replica;
use quorate_raft::{Raft, StoredLog};
use quorate_runtime::{DirectoryLock, FileDisk};
use quorate_types::Slot;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use thiserror::Error;

/// Why a directory cannot be looked into at all.
#[derive(Debug, Error)]
pub enum InspectError {
    /// A process is using it, or it cannot be read.
    #[error("cannot look into the data directory: {0}")]
    Directory(#[from] DiskError),
    /// There is no journal, so no member's data.
    #[error("{directory} is no member's data directory: {why}")]
    NoMember {
        /// Which.
        directory: String,
        /// What is not there.
        why: JournalError,
    },
    /// Another protocol's.
    #[error(
        "{directory} holds the records of {protocol}, and of a stopped member this release reads only those of raft; \
         a member that runs is looked at with `quorate status`, and saved with `etcdctl snapshot save`"
    )]
    Protocol {
        /// Which.
        directory: String,
        /// Whose records.
        protocol: String,
    },
}

/// A stopped member, as its disks have it. No node can open the directory while this is held.
#[derive(Debug)]
pub struct DeadMember {
    /// Where it lies.
    pub directory: PathBuf,
    /// Its journal, segment by segment.
    pub survey: Survey,
    /// Its log; empty if the records cannot be read.
    pub log: StoredLog,
    /// Cluster, node and disk that its checkpoint was written for, if there is one.
    pub checkpoint_is_of: Option<(u64, u64, u64)>,
    /// The bytes of all files in its store.
    pub store_bytes: u64,
    /// When its journal was last written to, as its file system says.
    pub last_written: Option<SystemTime>,
    /// Everything for which a node would refuse to start here, in words; the first is nearest to the cause.
    pub problems: Vec<String>,
    state: Option<Staged<Keyspace>>,
    _lock: Option<DirectoryLock>,
}

impl DeadMember {
    /// Reads all of it. Damage is told in [`DeadMember::problems`] and is no error.
    ///
    /// # Errors
    /// When there is no member's data, somebody uses it, or it is another protocol's.
    pub fn read(directory: &Path) -> Result<DeadMember, InspectError> {
        let lock = DirectoryLock::share(directory)?;
        let journal = directory.join("journal");
        let survey = Journal::survey(&FileDisk::read_only(&journal))
            .map_err(|why| InspectError::NoMember { directory: directory.display().to_string(), why })?;
        if let Some(Identity { protocol, .. }) =
            survey.identity.as_ref().filter(|found| found.protocol != Raft::PROTOCOL)
        {
            let (directory, protocol) = (directory.display().to_string(), protocol.clone());
            return Err(InspectError::Protocol { directory, protocol });
        }
        let mut problems: Vec<String> = survey.damage.iter().map(JournalError::to_string).collect();
        let log = read_log(&survey).unwrap_or_else(|why| {
            problems.push(why);
            StoredLog::read([]).expect("no records contradict each other")
        });
        let store = FileDisk::read_only(&directory.join("store"));
        let mut member = DeadMember {
            directory: directory.to_owned(),
            survey,
            log,
            checkpoint_is_of: None,
            store_bytes: bytes_in(&store),
            last_written: last_written(&journal),
            problems,
            state: None,
            _lock: lock,
        };
        if let Err(why) = member.read_state(&store) {
            member.problems.push(why);
        }
        Ok(member)
    }

    fn read_state(&mut self, store: &FileDisk) -> Result<(), String> {
        let words = |why: BootError| why.to_string();
        let mut found = read_store::<Raft, Keyspace>(store, None).map_err(words)?;
        let applied = found.as_ref().map_or(Slot::ZERO, |found| found.state.applied());
        if let Some(id) = self.log.snapshot.filter(|_| applied < self.log.base.slot) {
            found = read_store(store, Some(id)).map_err(words)?;
            if found.is_none() {
                return Err(BootError::SnapshotMissing { id: id.0 }.to_string());
            }
        }
        let Some(StoredState { owner: (cluster, node, disk), state, .. }) = found else {
            if self.log.base.slot > Slot::ZERO {
                return Err(format!("there is no checkpoint, and the log begins behind slot {}", self.log.base.slot));
            }
            // A node that was stopped before its first checkpoint: its state is what its log makes of nothing.
            self.state = Some(Staged::of_new_cluster(Keyspace::empty(), Slot::ZERO));
            return Ok(());
        };
        let (applied, last) = (state.applied(), self.log.last());
        self.checkpoint_is_of = Some((cluster.0, node.0, disk.0));
        self.state = Some(state);
        let is_foreign = |found: &Identity| (found.cluster, found.node, found.disk) != (cluster, node, disk);
        if self.survey.identity.as_ref().is_some_and(is_foreign) {
            return Err(BootError::ForeignStore { found: (cluster, node, disk) }.to_string());
        }
        if applied < self.log.base.slot || applied > last {
            let base = self.log.base.slot;
            return Err(format!("the checkpoint is of slot {applied}, and the log goes from slot {base} to {last}"));
        }
        Ok(())
    }

    /// The slot of the newest checkpoint.
    #[must_use]
    pub fn checkpointed(&self) -> Slot {
        self.state.as_ref().map_or(Slot::ZERO, Staged::applied)
    }

    /// The state of the newest checkpoint, if there is one that can be read.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Staged<Keyspace>> {
        self.state.as_ref()
    }

    /// Whether it voted and stored no data: its log has slots and terms and members, and there is nothing in its state.
    #[must_use]
    pub fn is_witness(&self) -> bool {
        self.survey.identity.as_ref().is_some_and(|identity| self.log.is_of_witness(identity.node))
    }

    /// The greatest slot of which its own disks prove that it is decided. The decided mark itself is never written, so more may be.
    #[must_use]
    pub fn certainly_decided(&self) -> Slot {
        let checkpointed = self.checkpointed();
        match &self.survey.identity {
            Some(identity) => self.log.certainly_decided(identity.node, checkpointed),
            None => checkpointed,
        }
    }

    /// The state behind a slot that is not before the checkpoint: the checkpoint with the log's entries applied.
    ///
    /// # Errors
    /// In words, when an entry cannot be read or is not there, or the member is a witness.
    pub fn state_through(&self, through: Slot) -> Result<Staged<Keyspace>, String> {
        if self.is_witness() {
            return Err("this member is a witness: it votes and stores no data".to_owned());
        }
        let Some(mut state) = self.state.clone() else { return Err("there is no state that can be read".to_owned()) };
        if through < state.applied() {
            return Err(format!("the checkpoint is of slot {} already", state.applied()));
        }
        while state.applied() < through {
            let slot = state.applied().next();
            let Some(entry) = self.log.entry(slot) else { return Err(format!("the log has no slot {slot}")) };
            state.decide(slot, entry.payload.decision()).map_err(|why: MachineError| why.to_string())?;
        }
        Ok(state)
    }

    /// For messages: its id if that can be read, and where it lies.
    #[must_use]
    pub fn label(&self) -> String {
        let directory = self.directory.display();
        match &self.survey.identity {
            Some(identity) => format!("member {:x} ({directory})", identity.node.0),
            None => format!("the member in {directory}"),
        }
    }
}

fn read_log(survey: &Survey) -> Result<StoredLog, String> {
    let records = read_records::<Raft>(survey).map_err(|why| why.to_string())?;
    // Whoever joined and was stopped before it heard anything has no record.
    StoredLog::read(records).map_err(|why| why.to_string())
}

fn bytes_in(disk: &FileDisk) -> u64 {
    disk.list().unwrap_or_default().iter().filter_map(|file| disk.length(file).ok()).sum()
}

fn last_written(directory: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(directory).ok()?;
    entries.filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok()).max()
}
