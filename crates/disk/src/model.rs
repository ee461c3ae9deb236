//! A disk in memory that crashes like a real one.
//!
//! [`ModelDisk`] keeps, for every file, what is durable and every write that is not flushed yet, and in
//! the directory every create, rename and unlink that is not. Reads see all of it. [`ModelDisk::crash`]
//! then takes exactly the freedom that the crate's documentation gives a disk, and nothing beyond it.
//!
//! Names and contents are separate, as on a real file system: flushing a file does not make its name
//! durable, and flushing the directory does not make a file's bytes (nor its reserved length) durable.

mod crash;
mod damage;
mod image;
mod synced;

use crate::operation::{Disk, DiskError, DiskErrorKind, Operation};
use bytes::Bytes;
use image::Image;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub use damage::{Harm, Place};
pub use synced::Synced;

/// Names one file's contents whatever it is called; a rename moves the name only.
type FileId = u64;

/// A directory of files in memory, with everything that a crash may still take away.
///
/// Cloning is cheap (pages are shared until written), so a test can fork the disk at every operation.
#[derive(Clone, Debug, Default)]
pub struct ModelDisk {
    contents: BTreeMap<FileId, Contents>,
    next_file: FileId,
    /// What the running system sees.
    names: BTreeMap<String, FileId>,
    /// What a crash is sure to leave.
    synced_names: BTreeMap<String, FileId>,
    /// How `synced_names` became `names`, in order. A crash need not keep to that order.
    pending_names: Vec<NameChange>,
    faults: Faults,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create { file: String, id: FileId },
    Rename { from: String, to: String, id: FileId },
    Unlink { file: String, id: FileId },
}

impl NameChange {
    /// A change happens as a whole or not, whatever became of those before it: a rename takes the old name from its
    /// file and from no other, even if the file's creation under that name was lost.
    /// Answers which file lost a name for good.
    fn apply(&self, names: &mut BTreeMap<String, FileId>) -> Option<FileId> {
        match self {
            NameChange::Create { file, id } => names.insert(file.clone(), *id),
            NameChange::Rename { from, to, id } => {
                remove_name_of(names, from, *id);
                names.insert(to.clone(), *id)
            }
            NameChange::Unlink { file, id } => remove_name_of(names, file, *id),
        }
    }
}

impl NameChange {
    fn id(&self) -> FileId {
        match self {
            NameChange::Create { id, .. } | NameChange::Rename { id, .. } | NameChange::Unlink { id, .. } => *id,
        }
    }
}

fn remove_name_of(names: &mut BTreeMap<String, FileId>, file: &str, id: FileId) -> Option<FileId> {
    if names.get(file) == Some(&id) { names.remove(file) } else { None }
}

/// One file's bytes: `current` is `durable` with `pending` applied in order.
#[derive(Clone, Debug, Default)]
struct Contents {
    current: Image,
    durable: Image,
    pending: Vec<Pending>,
    /// Sectors that cannot be read until they are written again, by number.
    lost_sectors: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
struct Pending {
    change: Change,
    /// A flush covering it has failed. The system may now believe the page clean, so a later flush that
    /// succeeds does not make it durable (Rebello et al., "Can Applications Recover from fsync Failures?").
    abandoned: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Reserve { length: u64 },
    Write { offset: u64, bytes: Bytes },
}

impl Change {
    fn apply(&self, image: &mut Image) {
        match self {
            Change::Reserve { length } => image.grow(*length),
            Change::Write { offset, bytes } => image.write(*offset, bytes),
        }
    }
}

impl Contents {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        if let Change::Write { offset, bytes } = &change
            && !self.lost_sectors.is_empty()
        {
            self.find_sectors_again(*offset, bytes.len() as u64);
        }
        self.pending.push(Pending { change, abandoned: false });
    }

    /// What was written since the last flush is durable, and stands over what a failed flush abandoned before it: of
    /// an abandoned write only the bytes that no later write replaced are still in doubt.
    fn flush(&mut self) {
        let mut abandoned: Vec<Pending> = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            if pending.abandoned {
                abandoned.push(pending);
                continue;
            }
            pending.change.apply(&mut self.durable);
            if let Change::Write { offset, bytes } = &pending.change
                && !abandoned.is_empty()
            {
                let flushed = *offset..*offset + bytes.len() as u64;
                abandoned = abandoned.into_iter().flat_map(|earlier| earlier.without(&flushed)).collect();
            }
        }
        self.pending = abandoned;
    }
}

impl Contents {
    /// What a failed flush left in the cache alone is gone from there too.
    fn forget(&mut self) {
        if self.pending.iter().any(|pending| pending.abandoned) {
            self.pending.retain(|pending| !pending.abandoned);
            self.current = self.durable.clone();
            self.pending.iter().for_each(|pending| pending.change.apply(&mut self.current));
        }
    }
}

impl Pending {
    /// What is left of the change outside these bytes of the file.
    fn without(self, covered: &Range<u64>) -> Vec<Pending> {
        let Change::Write { offset, bytes } = &self.change else { return vec![self] };
        let (start, end) = (*offset, *offset + bytes.len() as u64);
        let pieces = [start..end.min(covered.start), start.max(covered.end)..end];
        let left = pieces.into_iter().filter(|piece| piece.start < piece.end).map(|piece| {
            let within = |at: u64| usize::try_from(at - start).expect("a place within bytes in memory");
            let bytes = bytes.slice(within(piece.start)..within(piece.end));
            Pending { change: Change::Write { offset: piece.start, bytes }, abandoned: self.abandoned }
        });
        left.collect()
    }
}

/// What goes wrong on purpose. Faults outlive a crash; set them to the default to end them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// No create or write may bring the sum of file lengths over this many bytes: it fails as
    /// [`DiskErrorKind::Full`]. `None` is a disk without end.
    pub capacity_bytes: Option<u64>,
    /// Let this many operations pass, then fail one with this kind, once.
    pub fail_after: Option<(u64, DiskErrorKind)>,
    /// Files whose every read fails as [`DiskErrorKind::Medium`].
    pub unreadable: BTreeSet<String>,
    /// The next write is reported as done and is not.
    pub lose_next_write: bool,
    /// The next write lands so many sectors further on, around the end of its file to its start.
    pub misdirect_next_write: Option<u64>,
    /// How many writes were lost or misdirected so far.
    pub faulted_writes: u64,
}

/// What a crash at this moment could take away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsynced {
    /// Unflushed written bytes of each file that has unflushed changes, under its present name. A file
    /// whose reservation alone is unflushed has 0.
    pub bytes_by_file: BTreeMap<String, u64>,
    /// Creates, renames and unlinks since the directory was last flushed.
    pub name_changes: usize,
}

impl Unsynced {
    /// Whether a crash would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes_by_file.is_empty() && self.name_changes == 0
    }
}

impl ModelDisk {
    /// An empty directory, without faults.
    #[must_use]
    pub fn new() -> ModelDisk {
        ModelDisk::default()
    }

    /// Exactly what is guaranteed to survive a crash now: every unflushed change lost.
    #[must_use]
    pub fn synced_image(&self) -> ModelDisk {
        let mut image = self.clone();
        image.lose_everything_unsynced();
        image
    }

    /// To read exactly what is guaranteed to survive a crash now, without copying it.
    #[must_use]
    pub fn synced(&self) -> Synced<'_> {
        Synced::new(self)
    }

    /// What a crash at this moment could take away.
    #[must_use]
    pub fn unsynced(&self) -> Unsynced {
        let mut unsynced = Unsynced { name_changes: self.pending_names.len(), ..Unsynced::default() };
        for (file, id) in &self.names {
            let Some(contents) = self.contents.get(id).filter(|contents| !contents.pending.is_empty()) else {
                continue;
            };
            let bytes = contents.pending.iter().map(|pending| match &pending.change {
                Change::Reserve { .. } => 0,
                Change::Write { bytes, .. } => bytes.len() as u64,
            });
            unsynced.bytes_by_file.insert(file.clone(), bytes.sum());
        }
        unsynced
    }

    /// Flips one bit (bit 0 is the lowest of byte 0) on the medium and in the cache, as rot would.
    ///
    /// # Errors
    /// [`DiskErrorKind::Name`] when the file is missing or shorter.
    pub fn flip_bit(&mut self, file: &str, bit: u64) -> Result<(), DiskError> {
        let contents = self.contents_mut("flip a bit of", file)?;
        if bit / 8 >= contents.current.length() {
            return Err(failure("flip a bit of", file, "the file is shorter", DiskErrorKind::Name));
        }
        contents.current.flip_bit(bit);
        contents.durable.flip_bit(bit);
        Ok(())
    }

    /// Cuts a file to `length` bytes, durably, as a damaged file system would. A longer length changes nothing.
    ///
    /// # Errors
    /// [`DiskErrorKind::Name`] when the file is missing.
    pub fn truncate(&mut self, file: &str, length: u64) -> Result<(), DiskError> {
        let contents = self.contents_mut("truncate", file)?;
        contents.current.truncate(length);
        contents.durable.truncate(length);
        Ok(())
    }

    /// Makes the next operation fail.
    pub fn fail_next(&mut self, kind: DiskErrorKind) {
        self.faults.fail_after = Some((0, kind));
    }

    /// The faults in force, to read or change.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// The sum of the lengths of all files, reserved space included.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.names.values().filter_map(|id| self.contents.get(id)).map(|contents| contents.current.length()).sum()
    }

    fn id_of(&self, what: &'static str, file: &str) -> Result<FileId, DiskError> {
        self.names.get(file).copied().ok_or_else(|| missing(what, file))
    }

    fn contents_of(&self, what: &'static str, file: &str) -> Result<&Contents, DiskError> {
        self.names.get(file).and_then(|id| self.contents.get(id)).ok_or_else(|| missing(what, file))
    }

    fn contents_mut(&mut self, what: &'static str, file: &str) -> Result<&mut Contents, DiskError> {
        self.names.get(file).and_then(|id| self.contents.get_mut(id)).ok_or_else(|| missing(what, file))
    }

    fn rename_now(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    fn lose_everything_unsynced(&mut self) {
        for contents in self.contents.values_mut() {
            contents.pending.clear();
            contents.current = contents.durable.clone();
        }
        self.pending_names.clear();
        self.names = self.synced_names.clone();
        self.forget_nameless_files();
    }

    /// A file without a name may still come back as long as the change that took its name is pending.
    fn forget_nameless_files(&mut self) {
        let named: BTreeSet<FileId> = self.names.values().chain(self.synced_names.values()).copied().collect();
        self.contents.retain(|id, _| named.contains(id));
    }

    fn check_capacity(&self, what: &'static str, file: &str, grows_by: u64) -> Result<(), DiskError> {
        match self.faults.capacity_bytes {
            Some(capacity) if grows_by > 0 && self.used_bytes().saturating_add(grows_by) > capacity => {
                Err(failure(what, file, "no space left on device", DiskErrorKind::Full))
            }
            _ => Ok(()),
        }
    }

    fn create(&mut self, file: &str, reserve_bytes: u64) -> Result<(), DiskError> {
        if self.names.contains_key(file) {
            return Err(failure("create", file, "the file exists", DiskErrorKind::Name));
        }
        self.check_capacity("create", file, reserve_bytes)?;
        let id = self.next_file;
        self.next_file += 1;
        let mut contents = Contents::default();
        contents.change(Change::Reserve { length: reserve_bytes });
        self.contents.insert(id, contents);
        self.rename_now(NameChange::Create { file: file.to_owned(), id });
        Ok(())
    }

    fn write(&mut self, file: &str, offset: u64, parts: &[Bytes]) -> Result<(), DiskError> {
        let written: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let Some(end) = offset.checked_add(written) else {
            return Err(failure("write", file, "the offset is out of range", DiskErrorKind::Medium));
        };
        let length = self.contents_of("write", file)?.current.length();
        self.check_capacity("write", file, end.saturating_sub(length))?;
        let Some(mut offset) = self.faults.divert(offset, written, length) else { return Ok(()) };
        let contents = self.contents_mut("write", file)?;
        for part in parts.iter().filter(|part| !part.is_empty()) {
            contents.change(Change::Write { offset, bytes: part.clone() });
            offset += part.len() as u64;
        }
        Ok(())
    }

    fn flush_directory(&mut self) {
        let pending = std::mem::take(&mut self.pending_names);
        // Only these can be without a name now: whatever lost its name in `names` did so by a change that was pending.
        let replaced: Vec<FileId> = pending.iter().filter_map(|change| change.apply(&mut self.synced_names)).collect();
        for id in replaced.into_iter().chain(pending.iter().map(NameChange::id)) {
            let is_named = |names: &BTreeMap<String, FileId>| names.values().any(|named| *named == id);
            if !is_named(&self.names) && !is_named(&self.synced_names) {
                self.contents.remove(&id);
            }
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let id = self.id_of("rename", from)?;
        self.rename_now(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), id });
        Ok(())
    }

    fn unlink(&mut self, file: &str) -> Result<(), DiskError> {
        let id = self.id_of("unlink", file)?;
        self.rename_now(NameChange::Unlink { file: file.to_owned(), id });
        Ok(())
    }

    /// What is left of an operation that fails: a write may have come half way, a failed flush leaves
    /// what it covered in limbo, anything else has not happened.
    fn perform_badly(&mut self, operation: &Operation, kind: DiskErrorKind) -> DiskError {
        let (what, file) = match operation {
            Operation::Create { file, .. } => ("create", file.as_str()),
            Operation::Write { file, offset, parts } => {
                let half: Vec<Bytes> = parts.iter().take(1).map(|part| part.slice(..part.len() / 2)).collect();
                if let Err(error) = self.write(file, *offset, &half) {
                    return error;
                }
                ("write", file.as_str())
            }
            Operation::Flush { file } => {
                if let Ok(contents) = self.contents_mut("flush", file) {
                    contents.pending.iter_mut().for_each(|pending| pending.abandoned = true);
                }
                ("flush", file.as_str())
            }
            Operation::Forget { file } => ("forget", file.as_str()),
            Operation::FlushDirectory => ("flush", "the directory"),
            Operation::Rename { from, .. } => ("rename", from.as_str()),
            Operation::Unlink { file } => ("unlink", file.as_str()),
        };
        failure(what, file, "injected fault", kind)
    }
}

impl Disk for ModelDisk {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        Ok(self.names.keys().cloned().collect())
    }

    fn length(&self, file: &str) -> Result<u64, DiskError> {
        Ok(self.contents_of("measure", file)?.current.length())
    }

    fn read(&self, file: &str, offset: u64, length: usize) -> Result<Bytes, DiskError> {
        let contents = self.contents_of("read", file)?;
        if self.faults.unreadable.contains(file) || contents.has_lost_sector(offset, length) {
            return Err(failure("read", file, "injected fault", DiskErrorKind::Medium));
        }
        Ok(contents.current.read(offset, length))
    }

    fn perform(&mut self, operation: &Operation) -> Result<(), DiskError> {
        match &mut self.faults.fail_after {
            Some((0, kind)) => {
                let kind = *kind;
                self.faults.fail_after = None;
                return Err(self.perform_badly(operation, kind));
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        match operation {
            Operation::Create { file, reserve_bytes } => self.create(file, *reserve_bytes),
            Operation::Write { file, offset, parts } => self.write(file, *offset, parts),
            Operation::Flush { file } => {
                self.contents_mut("flush", file)?.flush();
                Ok(())
            }
            Operation::Forget { file } => {
                self.contents_mut("forget", file)?.forget();
                Ok(())
            }
            Operation::FlushDirectory => {
                self.flush_directory();
                Ok(())
            }
            Operation::Rename { from, to } => self.rename(from, to),
            Operation::Unlink { file } => self.unlink(file),
        }
    }
}

fn failure(what: &'static str, file: &str, why: &str, kind: DiskErrorKind) -> DiskError {
    DiskError { what, file: file.to_owned(), why: why.to_owned(), kind }
}

fn missing(what: &'static str, file: &str) -> DiskError {
    failure(what, file, "no such file", DiskErrorKind::Name)
}
