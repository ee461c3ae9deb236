//! What the data directory of a stopped member holds, read without changing anything, on a read-only mount too.

use crate::protocol::{OwnedState, Protocol, UnknownProtocol};
use quorate_disk::{Disk, DiskError};
use quorate_journal::{Identity, Journal, JournalError, Survey};
use quorate_keyspace::Keyspace;
use quorate_machine::{MachineError, Staged, StateMachine};
use quorate_node::BootError;
use quorate_protocol::{SnapshotId, Stateless, StoredLog};
use quorate_runtime::{DirectoryLock, FileDisk};
use quorate_types::{NodeId, Slot};
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
    /// One's that this release does not know.
    #[error("{directory} holds the records of another protocol than this release knows: {unknown}")]
    Protocol {
        /// Which.
        directory: String,
        /// Whose records.
        unknown: UnknownProtocol,
    },
}

/// A stopped member, as its disks have it. No node can open the directory while this is held.
#[derive(Debug)]
pub struct DeadMember {
    /// Where it lies.
    pub directory: PathBuf,
    /// Its journal, segment by segment.
    pub survey: Survey,
    /// What it ran; the default one if nothing says so.
    pub protocol: Protocol,
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
    /// When there is no member's data, somebody uses it, or its protocol is not known.
    pub fn read(directory: &Path) -> Result<DeadMember, InspectError> {
        let lock = DirectoryLock::share(directory)?;
        let journal = directory.join("journal");
        let survey = Journal::survey(&FileDisk::read_only(&journal))
            .map_err(|why| InspectError::NoMember { directory: directory.display().to_string(), why })?;
        let named = |found: &Identity| match found.protocol.parse() {
            Ok(protocol) => Ok((protocol, found.node)),
            Err(unknown) => Err(InspectError::Protocol { directory: directory.display().to_string(), unknown }),
        };
        let owner: Option<(Protocol, NodeId)> = survey.identity.as_ref().map(named).transpose()?;
        let mut problems: Vec<String> = survey.damage.iter().map(JournalError::to_string).collect();
        // A journal that does not say whose it is has no record that can be read.
        let log =
            owner.map_or_else(|| Ok(StoredLog::default()), |(protocol, me)| (protocol.ways().read_log)(me, &survey));
        let log = log.unwrap_or_else(|why| {
            problems.push(why);
            StoredLog::default()
        });
        let store = FileDisk::read_only(&directory.join("store"));
        let mut member = DeadMember {
            directory: directory.to_owned(),
            protocol: owner.map(|(protocol, _)| protocol).unwrap_or_default(),
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
        let ways = self.protocol.ways();
        let read = |arrived: Option<SnapshotId>| -> Result<Option<OwnedState>, String> {
            (ways.read_state)(store, arrived).map_err(|why| why.to_string())
        };
        let mut found = read(None)?;
        let base = self.log.base;
        let applied = found.as_ref().map_or(Slot::ZERO, |(_, state)| state.applied());
        if let Some(id) = self.log.snapshot.filter(|_| applied < base) {
            found = read(Some(id))?;
            if found.is_none() {
                return Err(BootError::SnapshotMissing { id: id.0 }.to_string());
            }
        }
        let was_told = matches!(self.log.stateless, Some(Stateless::Told(_)));
        let Some(((cluster, node, disk), state)) = found else {
            if base > Slot::ZERO && !was_told {
                return Err(format!("there is no checkpoint, and the log begins behind slot {base}"));
            }
            // A node that was stopped before its first checkpoint: its state is what its log makes of nothing.
            self.state = Some(Staged::of_new_cluster(Keyspace::empty(), Slot::ZERO));
            return Ok(());
        };
        let applied = state.applied();
        self.checkpoint_is_of = Some((cluster.0, node.0, disk.0));
        self.state = Some(state);
        let is_foreign = |found: &Identity| (found.cluster, found.node, found.disk) != (cluster, node, disk);
        if self.survey.identity.as_ref().is_some_and(is_foreign) {
            return Err(BootError::ForeignStore { found: (cluster, node, disk) }.to_string());
        }
        if was_told { Ok(()) } else { self.check_checkpoint(applied) }
    }

    /// Whether the log reaches the checkpoint and goes on from it.
    fn check_checkpoint(&self, applied: Slot) -> Result<(), String> {
        let (base, last) = (self.log.base, self.log.last());
        if applied < base || applied > last {
            return Err(format!("the checkpoint is of slot {applied}, and the log goes from slot {base} to {last}"));
        }
        match (base.0 + 1..=applied.0).map(Slot).find(|slot| self.log.entry(*slot).is_none()) {
            Some(gap) => Err(format!("the checkpoint is of slot {applied}, and slot {gap} is not in the log")),
            None => Ok(()),
        }
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
        self.log.stateless == Some(Stateless::Witness)
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

    /// How far it is: of those that store data the greatest is the one to recover from. Where slots stand alone, a new history takes
    /// each of whoever has it in the latest ballot, and the rest of the state that is the furthest.
    #[must_use]
    pub fn rank(&self) -> (&[u64], Slot) {
        let decided = if self.log.slots_stand_alone { self.certainly_decided() } else { Slot::ZERO };
        (&self.log.rank, decided)
    }

    /// The same in words, such as `its log ends in term 3 at slot 7`.
    #[must_use]
    pub fn rank_words(&self) -> String {
        match self.log.slots_stand_alone {
            true => format!("its log {}, decided for certain through slot {}", self.log.end, self.certainly_decided()),
            false => format!("its log {}", self.log.end),
        }
    }

    /// Its log as if all of it were decided, as far as one log alone can tell.
    #[must_use]
    pub fn whole_log(&self) -> StoredLog {
        self.log.inherit([], self.certainly_decided())
    }

    /// The state behind a slot that is not before the checkpoint: the checkpoint with the whole log's entries applied.
    ///
    /// # Errors
    /// In words, when an entry cannot be read or is not there, or no state can be made of what this member has.
    pub fn state_through(&self, through: Slot) -> Result<Staged<Keyspace>, String> {
        self.state_by(&self.whole_log(), through)
    }

    /// The same, with the entries of this log.
    ///
    /// # Errors
    /// As [`DeadMember::state_through`].
    pub fn state_by(&self, log: &StoredLog, through: Slot) -> Result<Staged<Keyspace>, String> {
        if let Some(why) = &self.log.stateless {
            return Err(format!("this member {why}"));
        }
        let Some(mut state) = self.state.clone() else { return Err("there is no state that can be read".to_owned()) };
        if through < state.applied() {
            return Err(format!("the checkpoint is of slot {} already", state.applied()));
        }
        while state.applied() < through {
            let slot = state.applied().next();
            let Some(decision) = log.decision(slot) else { return Err(format!("the log has no slot {slot}")) };
            state.decide(slot, decision).map_err(|why: MachineError| why.to_string())?;
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

/// The quorum sizes that the data in this directory were founded with, in words; nothing where they say none, or cannot be read.
pub(crate) fn founded_quorums(directory: &Path) -> Option<String> {
    let member = DeadMember::read(directory).ok()?;
    let said = member.log.standing.into_iter().find(|(what, _)| *what == "quorum sizes");
    said.map(|(_, sizes)| sizes)
}

fn bytes_in(disk: &FileDisk) -> u64 {
    disk.list().unwrap_or_default().iter().filter_map(|file| disk.length(file).ok()).sum()
}

fn last_written(directory: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(directory).ok()?;
    entries.filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok()).max()
}
