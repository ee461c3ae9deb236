//! Damage to what was flushed, and writes that do not do what they say: what no disk promises not to do.

use super::crash::garbage_byte;
use super::{Contents, Faults, ModelDisk, failure};
use crate::operation::{DiskError, DiskErrorKind, SECTOR_BYTES};

const SECTOR: u64 = SECTOR_BYTES as u64;

/// One sector of one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file's present name.
    pub file: String,
    /// Counted from the file's start, in units of [`SECTOR_BYTES`].
    pub sector: u64,
}

/// What becomes of a sector that was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Harm {
    /// One of its bits flips, counted from its first, modulo its length.
    Flip {
        /// Which.
        bit: u64,
    },
    /// It holds something else, decided by this number.
    Garbage {
        /// Which garbage.
        seed: u64,
    },
    /// It holds zeros.
    Zeros,
    /// It cannot be read until it is written again.
    Lost,
}

impl ModelDisk {
    /// Every sector of every file whose name and contents are durable and that holds anything but zeros, in order.
    #[must_use]
    pub fn durable_places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for (file, id) in &self.names {
            if self.synced_names.get(file) != Some(id) {
                continue;
            }
            let Some(contents) = self.contents.get(id) else { continue };
            let sectors = contents.durable.sectors_in_use();
            places.extend(sectors.into_iter().map(|sector| Place { file: file.clone(), sector }));
        }
        places
    }

    /// Damages a sector on the medium and in the cache. A part of it that waits to be flushed is not spared.
    ///
    /// # Errors
    /// [`DiskErrorKind::Name`] when the file is missing or ends before the sector.
    pub fn harm(&mut self, place: &Place, harm: Harm) -> Result<(), DiskError> {
        let contents = self.contents_mut("harm", &place.file)?;
        let start = place.sector.saturating_mul(SECTOR);
        let length = contents.current.length().saturating_sub(start).min(SECTOR);
        if length == 0 {
            return Err(failure("harm", &place.file, "the file is shorter", DiskErrorKind::Name));
        }
        match harm {
            Harm::Flip { bit } => {
                let bit = start * 8 + bit % (length * 8);
                contents.current.flip_bit(bit);
                contents.durable.flip_bit(bit);
            }
            Harm::Garbage { seed } => {
                let mut state = seed;
                contents.overwrite(start, &(0..length).map(|_| garbage_byte(&mut state)).collect::<Vec<u8>>());
            }
            Harm::Zeros => contents.overwrite(start, &vec![0; usize::try_from(length).unwrap_or(SECTOR_BYTES)]),
            Harm::Lost => {
                contents.lost_sectors.insert(place.sector);
            }
        }
        Ok(())
    }
}

impl Contents {
    /// Changes both what is durable and what is seen. What is durable of a file may be shorter.
    fn overwrite(&mut self, start: u64, bytes: &[u8]) {
        self.current.write(start, bytes);
        let durable = usize::try_from(self.durable.length().saturating_sub(start)).unwrap_or(usize::MAX);
        let bytes = &bytes[..durable.min(bytes.len())];
        if !bytes.is_empty() {
            self.durable.write(start, bytes);
        }
    }

    pub(super) fn has_lost_sector(&self, offset: u64, length: usize) -> bool {
        let end = offset.saturating_add(length as u64);
        !self.lost_sectors.is_empty()
            && length > 0
            && self.lost_sectors.range(offset / SECTOR..end.div_ceil(SECTOR)).next().is_some()
    }

    /// A sector that is written as a whole is replaced by a spare one.
    pub(super) fn find_sectors_again(&mut self, offset: u64, length: u64) {
        let whole = offset.div_ceil(SECTOR)..offset.saturating_add(length) / SECTOR;
        self.lost_sectors.retain(|sector| !whole.contains(sector));
    }
}

impl Faults {
    /// Where a write of so many bytes lands in a file of this length; `None` if nowhere. Uses the fault up.
    pub(super) fn divert(&mut self, offset: u64, written: u64, length: u64) -> Option<u64> {
        if written == 0 {
            return Some(offset);
        }
        if std::mem::take(&mut self.lose_next_write) {
            self.faulted_writes += 1;
            return None;
        }
        let Some(sectors) = self.misdirect_next_write.take() else { return Some(offset) };
        self.faulted_writes += 1;
        let room = (length.saturating_sub(written) / SECTOR).max(1);
        Some((offset / SECTOR).wrapping_add(sectors) % room * SECTOR + offset % SECTOR)
    }
}
