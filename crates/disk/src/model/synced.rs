//! A disk as a crash is sure to leave it, read in place.

use super::{ModelDisk, failure, missing};
use crate::operation::{Disk, DiskError, DiskErrorKind, Operation};
use bytes::Bytes;

/// What [`ModelDisk::synced_image`] would hold, without the copy. It can only be read: every operation fails.
#[derive(Clone, Copy, Debug)]
pub struct Synced<'a> {
    disk: &'a ModelDisk,
}

impl<'a> Synced<'a> {
    pub(super) fn new(disk: &'a ModelDisk) -> Synced<'a> {
        Synced { disk }
    }

    fn contents(&self, what: &'static str, file: &str) -> Result<&super::Contents, DiskError> {
        let contents = self.disk.synced_names.get(file).and_then(|id| self.disk.contents.get(id));
        contents.ok_or_else(|| missing(what, file))
    }
}

impl Disk for Synced<'_> {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        Ok(self.disk.synced_names.keys().cloned().collect())
    }

    fn length(&self, file: &str) -> Result<u64, DiskError> {
        Ok(self.contents("measure", file)?.durable.length())
    }

    fn read(&self, file: &str, offset: u64, length: usize) -> Result<Bytes, DiskError> {
        let contents = self.contents("read", file)?;
        if self.disk.faults.unreadable.contains(file) || contents.has_lost_sector(offset, length) {
            return Err(failure("read", file, "injected fault", DiskErrorKind::Medium));
        }
        Ok(contents.durable.read(offset, length))
    }

    fn perform(&mut self, _: &Operation) -> Result<(), DiskError> {
        Err(failure("change", "a synced view", "it can only be read", DiskErrorKind::Permission))
    }
}
