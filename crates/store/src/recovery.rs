//! Opening: what is on disk, checked, and what is to be repaired.

use crate::error::StoreError;
use crate::item_file::{HEADER_BYTES, Header};
use crate::manifest::{FileExtent, Manifest};
use crate::names::FileKind;
use crate::reader::ItemReader;
use crate::store::{Store, StoreConfig};
use bytes::Bytes;
use quorate_disk::{Disk, DiskErrorKind, Operation};
use quorate_types::Slot;
use std::collections::{BTreeMap, BTreeSet};

/// A store and what it found.
pub struct Opened<'d> {
    /// To go on with.
    pub store: Store,
    /// To be performed before anything else: make durable what was found, then remove what an unfinished checkpoint
    /// left behind. Opening again instead finds the same.
    pub operations: Vec<Operation>,
    /// The newest durable checkpoint; nothing if none was ever completed.
    pub image: Option<Image<'d>>,
    disk: &'d dyn Disk,
    incoming: BTreeMap<u64, Manifest>,
}

/// One checkpoint's contents, exactly as they were given to the store; of items that were missing then some may be there.
pub struct Image<'d> {
    /// The slot it is the state of.
    pub applied: Slot,
    /// The caller's own.
    pub meta: Bytes,
    /// The part of the state that changes in place.
    pub head: Bytes,
    /// How many items the state counted: their numbers are below this.
    pub item_count: u64,
    /// The items, not yet read.
    pub items: ItemReader<'d>,
}

impl<'d> Image<'d> {
    fn of(disk: &'d dyn Disk, manifest: &Manifest) -> Image<'d> {
        Image {
            applied: manifest.applied,
            meta: manifest.meta.clone(),
            head: manifest.head.clone(),
            item_count: manifest.item_count,
            items: ItemReader::new(disk, manifest),
        }
    }
}

impl<'d> Opened<'d> {
    /// The complete image from elsewhere with this id, if there is one.
    #[must_use]
    pub fn incoming(&self, id: u64) -> Option<Image<'d>> {
        self.incoming.get(&id).map(|manifest| Image::of(self.disk, manifest))
    }
}

/// The store's files, by what they are, each ascending.
#[derive(Default)]
struct Directory {
    manifests: Vec<u64>,
    incoming: Vec<u64>,
    unfinished: Vec<FileKind>,
    item_files: Vec<u64>,
}

pub(crate) fn open(disk: &dyn Disk, config: StoreConfig) -> Result<Opened<'_>, StoreError> {
    let directory = Directory::read(disk)?;
    let newest = directory.manifests.last().copied();
    directory.check_for_lost_manifest(disk, newest.unwrap_or(0))?;
    let mut in_use = BTreeSet::new();
    let mut incoming = BTreeMap::new();
    for id in &directory.incoming {
        let (manifest, _) = read_manifest(disk, FileKind::Incoming(*id), *id)?;
        // One whose files are gone was being dropped.
        if directory.check_files(&FileKind::Incoming(*id).name(), &manifest).is_ok() {
            in_use.extend(manifest.files.iter().map(|file| file.number));
            incoming.insert(*id, manifest);
        }
    }
    let found = match newest {
        None => None,
        Some(number) => {
            let (manifest, bytes) = read_manifest(disk, FileKind::Manifest(number), number)?;
            refuse_last_numbers(&manifest)?;
            directory.check_files(&FileKind::Manifest(number).name(), &manifest)?;
            in_use.extend(manifest.files.iter().map(|file| file.number));
            Some((manifest, bytes))
        }
    };
    // Numbers are not given again while their files may still be there.
    let last_file_number = directory.item_files.last().copied().unwrap_or(0);
    let store = Store::empty(config, last_file_number).with_incoming(incoming.clone());
    let operations = directory.repairs(newest, &incoming, &in_use);
    let (store, image) = match found {
        None => (store, None),
        Some((manifest, bytes)) => (store.holding(&manifest, bytes), Some(Image::of(disk, &manifest))),
    };
    Ok(Opened { store, operations, image, disk, incoming })
}

fn read_manifest(disk: &dyn Disk, kind: FileKind, number: u64) -> Result<(Manifest, u64), StoreError> {
    let file = kind.name();
    let length = disk.length(&file)?;
    let wanted = usize::try_from(length);
    let wanted = wanted.map_err(|_| StoreError::corrupt(&file, 0, format!("{length} bytes do not fit in memory")))?;
    let manifest = Manifest::decode(&file, &disk.read(&file, 0, wanted)?)?;
    if manifest.number != number {
        return Err(StoreError::corrupt(&file, 0, format!("it holds checkpoint {}", manifest.number)));
    }
    check_order(&file, &manifest)?;
    Ok((manifest, length))
}

fn refuse_last_numbers(manifest: &Manifest) -> Result<(), StoreError> {
    let Manifest { number, applied, .. } = *manifest;
    if number == u64::MAX || applied == Slot(u64::MAX) {
        let why = format!("no checkpoint can follow number {number} at slot {applied}");
        return Err(StoreError::corrupt(&FileKind::Manifest(number).name(), 0, why));
    }
    Ok(())
}

/// Files must not overlap, and must lie within the count.
fn check_order(file: &str, manifest: &Manifest) -> Result<(), StoreError> {
    let mut next = 0;
    for FileExtent { number, first_item, next_item, .. } in &manifest.files {
        if *first_item < next || next_item <= first_item || *next_item > manifest.item_count {
            let count = manifest.item_count;
            let why = format!("item file {number} holds items {first_item} to {next_item} behind {next}, of {count}");
            return Err(StoreError::corrupt(file, 0, why));
        }
        next = *next_item;
    }
    Ok(())
}

impl Directory {
    fn read(disk: &dyn Disk) -> Result<Directory, StoreError> {
        let mut directory = Directory::default();
        for name in disk.list()? {
            match FileKind::of(&name) {
                Some(FileKind::Items(number)) => directory.item_files.push(number),
                Some(FileKind::Manifest(number)) => directory.manifests.push(number),
                Some(FileKind::Incoming(id)) => directory.incoming.push(id),
                Some(kind @ (FileKind::UnfinishedManifest(_) | FileKind::UnfinishedIncoming(_))) => {
                    directory.unfinished.push(kind);
                }
                None => {}
            }
        }
        for numbers in [&mut directory.manifests, &mut directory.incoming, &mut directory.item_files] {
            numbers.sort_unstable();
        }
        Ok(directory)
    }

    /// Invariant 6 of the crate. Says nothing about an item file whose header is damaged or cannot be read: the newest
    /// manifest tells whether that matters. One of another release refuses the start even if no manifest names it: this
    /// release does not know what it stands for, and would remove it as litter.
    fn check_for_lost_manifest(&self, disk: &dyn Disk, newest: u64) -> Result<(), StoreError> {
        for number in &self.item_files {
            let file = FileKind::Items(*number).name();
            let start = match disk.read(&file, 0, HEADER_BYTES) {
                Ok(start) => start,
                Err(error) if error.kind == DiskErrorKind::Medium => continue,
                Err(error) => return Err(error.into()),
            };
            let header = match Header::decode(&file, &start) {
                Ok(header) => header,
                Err(StoreError::Corrupt { .. }) => continue,
                Err(error) => return Err(error),
            };
            let known = header.after_checkpoint;
            if known > newest {
                let why = format!("it is missing, with every later one, and {file} was made when it was durable");
                return Err(StoreError::corrupt(&FileKind::Manifest(known).name(), 0, why));
            }
        }
        Ok(())
    }

    /// Every file that a manifest names must be there. Whether it is whole is found out while it is read.
    fn check_files(&self, manifest_file: &str, manifest: &Manifest) -> Result<(), StoreError> {
        for extent in &manifest.files {
            if self.item_files.binary_search(&extent.number).is_err() {
                let why = format!("it is missing and {manifest_file} needs it");
                return Err(StoreError::corrupt(&FileKind::Items(extent.number).name(), 0, why));
            }
        }
        Ok(())
    }

    /// First what was found becomes durable: a killed process may have left the newest name in the system's cache only,
    /// and the older manifest must not go before that. Then litter is removed, durably, so that nothing of it can come
    /// back under a name that is given again.
    fn repairs(
        &self,
        newest: Option<u64>,
        incoming: &BTreeMap<u64, Manifest>,
        in_use: &BTreeSet<u64>,
    ) -> Vec<Operation> {
        let older = self.manifests.iter().filter(|number| Some(**number) != newest);
        let older = older.map(|number| FileKind::Manifest(*number));
        let given_up = self.incoming.iter().filter(|id| !incoming.contains_key(id));
        let given_up = given_up.map(|id| FileKind::Incoming(*id));
        let unnamed = self.item_files.iter().filter(|number| !in_use.contains(number));
        let unnamed = unnamed.map(|number| FileKind::Items(*number));
        let unlinks = self.unfinished.iter().copied().chain(older).chain(given_up).chain(unnamed);
        let unlinks = unlinks.map(|kind| Operation::Unlink { file: kind.name() });

        let mut operations = vec![Operation::FlushDirectory];
        operations.extend(unlinks);
        if operations.len() > 1 {
            operations.push(Operation::FlushDirectory);
        }
        operations
    }
}
