//! Opening: what is on disk, checked, and what is to be repaired.

use crate::error::StoreError;
use crate::item_file::{HEADER_BYTES, Header, read_items};
use crate::manifest::{FileExtent, Manifest};
use crate::names::FileKind;
use crate::store::{Store, StoreConfig};
use bytes::Bytes;
use quorate_disk::{Disk, DiskErrorKind, Operation};
use quorate_types::Slot;

/// A store and what it found.
#[derive(Clone, Debug)]
pub struct Opened {
    /// To go on with.
    pub store: Store,
    /// To be performed before anything else: make durable what was found, then remove what an unfinished checkpoint
    /// left behind. Opening again instead finds the same.
    pub operations: Vec<Operation>,
    /// The newest durable checkpoint; nothing if none was ever completed.
    pub image: Option<Image>,
}

/// One checkpoint's contents, exactly as they were given to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The slot it is the state of.
    pub applied: Slot,
    /// The caller's own.
    pub meta: Bytes,
    /// The part of the state that changes in place.
    pub head: Bytes,
    /// All items, from number 0. They share the memory of the files that they were read from: copy what is to be kept.
    pub items: Vec<Bytes>,
}

/// The store's files, by what they are, each ascending.
#[derive(Default)]
struct Directory {
    manifests: Vec<u64>,
    unfinished_manifests: Vec<u64>,
    item_files: Vec<u64>,
}

pub(crate) fn open(disk: &dyn Disk, config: StoreConfig) -> Result<Opened, StoreError> {
    let directory = Directory::read(disk)?;
    let newest = directory.manifests.last().copied();
    directory.check_for_lost_manifest(disk, newest.unwrap_or(0))?;
    let (store, image, files_in_use) = match newest {
        None => (Store::empty(config), None, 0),
        Some(number) => {
            let (manifest, manifest_bytes) = read_manifest(disk, number)?;
            let items = directory.read_image_items(disk, &manifest)?;
            let store = Store::from_manifest(config, &manifest, manifest_bytes);
            let Manifest { applied, meta, head, files, .. } = manifest;
            (store, Some(Image { applied, meta, head, items }), files.len() as u64)
        }
    };
    let operations = directory.repairs(newest, files_in_use);
    Ok(Opened { store, operations, image })
}

fn read_manifest(disk: &dyn Disk, number: u64) -> Result<(Manifest, u64), StoreError> {
    let file = FileKind::Manifest(number).name();
    let length = disk.length(&file)?;
    let manifest = Manifest::decode(&file, &read_start(disk, &file, length)?)?;
    if manifest.number != number {
        return Err(StoreError::corrupt(&file, 0, format!("it holds checkpoint {}", manifest.number)));
    }
    if number == u64::MAX || manifest.applied == Slot(u64::MAX) {
        let why = format!("no checkpoint can follow number {number} at slot {}", manifest.applied);
        return Err(StoreError::corrupt(&file, 0, why));
    }
    Ok((manifest, length))
}

fn read_start(disk: &dyn Disk, file: &str, length: u64) -> Result<Bytes, StoreError> {
    let wanted = usize::try_from(length);
    let wanted = wanted.map_err(|_| StoreError::corrupt(file, 0, format!("{length} bytes do not fit in memory")))?;
    let bytes = disk.read(file, 0, wanted)?;
    if bytes.len() < wanted {
        let why = format!("it ends there and {length} bytes are expected");
        return Err(StoreError::corrupt(file, bytes.len() as u64, why));
    }
    Ok(bytes)
}

impl Directory {
    fn read(disk: &dyn Disk) -> Result<Directory, StoreError> {
        let mut directory = Directory::default();
        for name in disk.list()? {
            match FileKind::of(&name) {
                Some(FileKind::Items(number)) => directory.item_files.push(number),
                Some(FileKind::Manifest(number)) => directory.manifests.push(number),
                Some(FileKind::UnfinishedManifest(number)) => directory.unfinished_manifests.push(number),
                None => {}
            }
        }
        for numbers in [&mut directory.manifests, &mut directory.unfinished_manifests, &mut directory.item_files] {
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

    /// Every item of the image, in order.
    fn read_image_items(&self, disk: &dyn Disk, manifest: &Manifest) -> Result<Vec<Bytes>, StoreError> {
        let mut items = Vec::new();
        for (file_number, extent) in (1..).zip(&manifest.files) {
            let file = FileKind::Items(file_number).name();
            if self.item_files.binary_search(&file_number).is_err() {
                let why = format!("it is missing and checkpoint {} needs it", manifest.number);
                return Err(StoreError::corrupt(&file, 0, why));
            }
            read_item_file(disk, &file, extent, &mut items)?;
        }
        if items.len() as u64 != manifest.item_count {
            let why = format!("it counts {} items and its files hold {}", manifest.item_count, items.len());
            return Err(StoreError::corrupt(&FileKind::Manifest(manifest.number).name(), 0, why));
        }
        Ok(items)
    }

    /// First what was found becomes durable: a killed process may have left the newest name in the system's cache only,
    /// and the older manifest must not go before that. Then litter is removed, durably, so that nothing of it can come
    /// back under a name that is given again.
    fn repairs(&self, newest: Option<u64>, files_in_use: u64) -> Vec<Operation> {
        let unfinished = self.unfinished_manifests.iter().map(|number| FileKind::UnfinishedManifest(*number));
        let older = self.manifests.iter().filter(|number| Some(**number) != newest);
        let older = older.map(|number| FileKind::Manifest(*number));
        let unnamed = self.item_files.iter().filter(|number| **number > files_in_use);
        let unnamed = unnamed.map(|number| FileKind::Items(*number));
        let unlinks = unfinished.chain(older).chain(unnamed).map(|kind| Operation::Unlink { file: kind.name() });

        let mut operations = vec![Operation::FlushDirectory];
        operations.extend(unlinks);
        if operations.len() > 1 {
            operations.push(Operation::FlushDirectory);
        }
        operations
    }
}

fn read_item_file(disk: &dyn Disk, file: &str, extent: &FileExtent, items: &mut Vec<Bytes>) -> Result<(), StoreError> {
    let contents = read_start(disk, file, extent.end)?;
    let header = Header::decode(file, &contents)?;
    let next_item = items.len() as u64;
    if header.first_item != next_item || extent.first_item != next_item {
        let why = format!("it starts with item {} and item {next_item} is next", header.first_item);
        return Err(StoreError::corrupt(file, 0, why));
    }
    read_items(file, &contents, next_item, items)?;
    if crc32c::crc32c(&contents) != extent.checksum {
        let why = format!("its first {} bytes do not have the checksum that the checkpoint names", extent.end);
        return Err(StoreError::corrupt(file, 0, why));
    }
    Ok(())
}
