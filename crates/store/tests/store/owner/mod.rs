//! The owner of a store in a test: a growing list of items, checkpoints of it, and a disk that may crash.
use bytes::Bytes;
use quorate_disk::model::ModelDisk;
use quorate_disk::{Disk, Operation};
use quorate_store::{Completed, Items, Outline, Store, StoreConfig, StoreError, Write};
use quorate_types::Slot;
use std::ops::Range;

/// A small generator, so that a seed names a run.
#[derive(Clone)]
pub struct Chance(pub u64);

impl Chance {
    /// Below `count`.
    pub fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % count
    }

    /// Mostly short, sometimes empty, sometimes longer than a few sectors; never two alike by design.
    pub fn item(&mut self) -> Bytes {
        let length = match self.below(8) {
            0 => 0,
            1 => 300 + self.below(1500),
            _ => self.below(60),
        };
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

/// A disk that crashes before the operation after its budget.
pub struct CrashingDisk {
    pub disk: ModelDisk,
    pub operations_left: u64,
}

impl CrashingDisk {
    pub fn new(disk: ModelDisk, operations_left: u64) -> CrashingDisk {
        CrashingDisk { disk, operations_left }
    }

    /// False: it came to the crash.
    pub fn perform(&mut self, operations: &[Operation]) -> bool {
        for operation in operations {
            if self.operations_left == 0 {
                return false;
            }
            self.operations_left -= 1;
            self.disk.perform(operation).expect("the store asks only for what a healthy disk can do");
        }
        true
    }
}

/// A whole image in memory; no item is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub applied: Slot,
    pub meta: Bytes,
    pub head: Bytes,
    pub items: Vec<Bytes>,
}

impl Items for Image {
    fn item(&self, number: u64) -> Option<Bytes> {
        self.items.get(number as usize).cloned()
    }
    fn live_items(&self, numbers: Range<u64>) -> u64 {
        numbers.end.min(self.items.len() as u64).saturating_sub(numbers.start)
    }
}

#[derive(Debug)]
pub struct Opened {
    pub store: Store,
    pub operations: Vec<Operation>,
    pub image: Option<Image>,
}

/// Opens and reads everything.
pub fn open(disk: &ModelDisk, config: StoreConfig) -> Result<Opened, StoreError> {
    let opened = Store::open(disk, config)?;
    let image = opened.image.map(read_whole).transpose()?;
    Ok(Opened { store: opened.store, operations: opened.operations, image })
}

fn read_whole(mut found: quorate_store::Image<'_>) -> Result<Image, StoreError> {
    let items: Vec<(u64, Bytes)> = found.items.by_ref().collect();
    found.items.finish()?;
    assert!((0..found.item_count).eq(items.iter().map(|(number, _)| *number)), "nothing is missing");
    let items = items.into_iter().map(|(_, item)| item).collect();
    Ok(Image { applied: found.applied, meta: found.meta, head: found.head, items })
}

/// Opens a disk that has nothing wrong, and repairs it.
pub fn open_whole(disk: &mut ModelDisk, config: StoreConfig) -> (Store, Option<Image>) {
    let Opened { store, operations, image } = open(disk, config).expect("the disk is whole");
    disk.perform_all(&operations).expect("repairs are possible");
    (store, image)
}

/// The image of these items at this slot, with a meta and a head that no other slot has.
pub fn image_of(slot: u64, items: &[Bytes]) -> Image {
    Image {
        applied: Slot(slot),
        meta: Bytes::from(format!("meta of {slot}")),
        head: Bytes::from(format!("head of {slot}").repeat(slot as usize % 7)),
        items: items.to_vec(),
    }
}

pub fn outline(image: &Image) -> Outline {
    let Image { applied, meta, head, items } = image.clone();
    Outline { applied, meta, head, item_count: items.len() as u64 }
}

pub fn begin(store: &mut Store, image: &Image) -> bool {
    store.begin(outline(image))
}

pub fn next_write(store: &mut Store, image: &Image) -> Option<Write> {
    store.next_write(image)
}

/// A whole checkpoint, without a crash. Returns every write.
pub fn checkpoint(store: &mut Store, disk: &mut ModelDisk, image: &Image) -> Vec<Write> {
    assert!(begin(store, image));
    let mut writes = Vec::new();
    while let Some(write) = next_write(store, image) {
        disk.perform_all(&write.operations).expect("the disk is healthy");
        let done = store.completed(write.id);
        assert_eq!(done.is_some(), !store.is_checkpointing());
        writes.push(write);
        if let Some(done) = done {
            assert_eq!(done, Completed::Checkpoint(image.applied));
            return writes;
        }
    }
    panic!("a running checkpoint with nothing in flight has a next write");
}
