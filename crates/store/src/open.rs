//! From a disk to a store.

use crate::error::StoreError;
use crate::item_file;
use crate::manifest::{self, Manifest};
use crate::store::{Store, StoreConfig};
use bytes::Bytes;
use quorate_disk::{Disk, DiskErrorKind, Operation};
use quorate_types::Slot;

/// A state machine as of its last durable checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Everything up to here is in it.
    pub applied: Slot,
    /// As given to [`Store::begin`].
    pub meta: Bytes,
    /// As given to [`Store::begin`].
    pub head: Bytes,
    /// All items, from the first.
    pub items: Vec<Bytes>,
}

/// A store, and what was found in it.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Ready for checkpoints.
    pub store: Store,
    /// To be performed before anything else: leftovers go.
    pub operations: Vec<Operation>,
    /// The last durable checkpoint; `None` if there never was one.
    pub image: Option<Image>,
}

impl Store {
    /// Opens what is on the disk, or an empty store. Reads everything and checks every byte that counts; changes nothing: the
    /// operations do.
    ///
    /// # Errors
    /// When anything a durable checkpoint names is damaged, missing or of another version, or the disk fails.
    pub fn open(disk: &dyn Disk, config: StoreConfig) -> Result<Opened, StoreError> {
        let names = disk.list()?;
        let newest = names.iter().filter_map(|name| manifest::number(name)).max();
        let Some(newest) = newest else {
            let operations = leftovers(&names, None);
            return Ok(Opened { store: Store::new(config, None), operations, image: None });
        };
        let file = manifest::name(newest);
        let length = disk.length(&file)?;
        let content = disk.read(&file, 0, usize::try_from(length).unwrap_or(usize::MAX))?;
        let manifest = Manifest::decode(newest, &content)?;
        let items = read_all_items(disk, &manifest)?;
        let operations = leftovers(&names, Some(&manifest));
        let image =
            Image { applied: manifest.applied, meta: manifest.meta.clone(), head: manifest.head.clone(), items };
        Ok(Opened { store: Store::new(config, Some(&manifest)), operations, image: Some(image) })
    }
}

fn read_all_items(disk: &dyn Disk, manifest: &Manifest) -> Result<Vec<Bytes>, StoreError> {
    let mut items = Vec::new();
    let mut next_item = 0;
    for file in &manifest.files {
        let name = item_file::name(file.number);
        let corrupt = |offset, what| StoreError::Corrupt { file: name.clone(), offset, what };
        if file.first_item != next_item {
            return Err(corrupt(0, "its first item is not the one that comes next"));
        }
        let length = usize::try_from(file.end).unwrap_or(usize::MAX);
        let content = match disk.read(&name, 0, length) {
            Err(error) if error.kind == DiskErrorKind::Name => return Err(StoreError::Missing { file: name }),
            other => other?,
        };
        if content.len() < length {
            return Err(corrupt(content.len() as u64, "the file is shorter than the checkpoint says"));
        }
        next_item = item_file::read_items(file.number, file.first_item, &content, &mut items)?;
        if crc32c::crc32c(&content) != file.checksum {
            return Err(corrupt(0, "its content is not what the checkpoint says"));
        }
    }
    if next_item != manifest.item_count {
        let file = manifest::name(manifest.number);
        return Err(StoreError::Corrupt { file, offset: 0, what: "the item files hold another number of items" });
    }
    Ok(items)
}

/// Everything of ours that the newest manifest does not name: older manifests, drafts, item files of a checkpoint that a crash
/// ended.
fn leftovers(names: &[String], manifest: Option<&Manifest>) -> Vec<Operation> {
    let is_left_over = |name: &&String| {
        let name = name.as_str();
        if let Some(number) = manifest::number(name) {
            return manifest.is_none_or(|manifest| manifest.number != number);
        }
        if let Some(number) = item_file::number(name) {
            return manifest.is_none_or(|manifest| manifest.files.iter().all(|file| file.number != number));
        }
        name == manifest::DRAFT
    };
    let mut operations: Vec<Operation> =
        names.iter().filter(is_left_over).map(|name| Operation::Unlink { file: name.clone() }).collect();
    if !operations.is_empty() {
        operations.push(Operation::FlushDirectory);
    }
    operations
}
